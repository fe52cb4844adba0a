"""The state of cameras on its way between the process that runs the graph and the copies on workers."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future

from flowedge.plane.transports.requests import Restore, Snapshot
from flowedge.runtime.workers.camera_states import CameraStates
from flowedge.runtime.workers.link import Link, WorkerDiedError
from flowedge.runtime.workers.placement import Copy

log = logging.getLogger("flowedge.run")


class Checkpointing:
    """Fetches states from an instance of the chain `place` into `states`, whose `lock` it takes, and back."""

    def __init__(self, place: str, instance: str, states: CameraStates, lock: threading.Lock) -> None:
        self._place = place
        self._instance = instance
        self._states = states
        self._lock = lock

    def fetch(self) -> None:
        """Ask for the state of every camera that has had frames since."""
        with self._lock:
            due = [(camera, copy, copy.link) for camera, copy in self._states.ask()]
        for camera, copy, link in due:
            assert link is not None
            self._fetch(camera, copy, link)

    def _fetch(self, camera: str, copy: Copy, link: Link) -> None:
        def keep(call: Future[bytes]) -> None:
            error = call.exception()
            with self._lock:
                arrived = error is None and copy.link is link
                self._states.answered(camera, copy, call.result() if arrived else None)
            if error is not None and not isinstance(error, WorkerDiedError):
                log.error("%s: no checkpoint of %s can be had: %s", self._place, camera, error)

        link.call(self._instance, Snapshot(camera)).add_done_callback(keep)

    def restore(self, link: Link, order: Restore, state: bytes) -> None:
        """Have a copy go on with the camera's last state."""

        def heed(call: Future[bytes]) -> None:
            error = call.exception()
            if error is not None and not isinstance(error, WorkerDiedError):
                log.error("%s: the state of %s is lost: %s", self._place, order.camera, error)

        link.call(self._instance, order, state).add_done_callback(heed)
