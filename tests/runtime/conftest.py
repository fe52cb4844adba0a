"""Runs of tests end soon, or fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.runtime.fake_steps import SECONDS


@pytest.fixture(autouse=True)
def _every_thread_ends() -> Iterator[None]:
    """What a test leaves running goes once the test lets it; what several tests share goes on."""
    shared = running()
    yield
    begun = [thread for thread in running() if thread not in shared]
    for thread in begun:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in begun)


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("flowedge-")]
