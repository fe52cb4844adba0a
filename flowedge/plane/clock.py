"""The clock that waits and deadlines are measured by."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Clock: TypeAlias = Callable[[], float]
"""Seconds that never go back; `time.monotonic` unless a test brings its own."""
