"""A graph whose operators work in other processes: the same results, whatever dies, and nothing is left."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flowedge import Graph
from flowedge.runtime.routes import Configuration, first_setting
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Collect, Play, event, index_of
from tests.runtime.worker_steps import Numbered, Tagged
