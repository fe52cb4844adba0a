"""A thread for what must not keep the threads waiting that read what workers say, or keep their processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Attendant:
    """Does tasks in the order in which they come, from `start` to `stop`, in a thread of its own.

    With `look` it calls that, too, about every `seconds`, which may change meanwhile. `on_error` is told of
    what a task raises.
    """

    def __init__(
        self,
        name: str,
        *,
        on_error: Callable[[Exception], None],
        look: Callable[[], None] | None = None,
        seconds: Callable[[], float] = lambda: 1.0,
    ) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._look = look
        self._seconds = seconds
        self._on_error = on_error
        self._thread = threading.Thread(target=self._attend, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def do(self, task: Callable[[], None]) -> None:
        """Let the thread do this after all before it."""
        self._tasks.put(task)

    def stop(self) -> None:
        """Return when all that was to do has been done."""
        if self._thread.ident is not None:
            self._tasks.put(None)
            self._thread.join()

    def _attend(self) -> None:
        due = time.monotonic()
        while True:
            task: Callable[[], None] | None
            try:
                task = self._tasks.get(timeout=max(0.0, due - time.monotonic()) if self._look else None)
            except Empty:
                task, due = self._look, time.monotonic() + self._seconds()
            if task is None:
                return
            try:
                task()
            except Exception as error:
                self._on_error(error)
