"""What happens to a run: cameras that come and go, another program, a street that fills."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from flowedge.runtime.run import Run


@dataclass(frozen=True)
class Street:
    """The synthetic cameras of a scenario: pixels, frames a second, people about, and how many they are at
    first."""

    width: int = 1280
    height: int = 720
    fps: float = 3.0
    people: int = 12
    cameras: int = 4

    def address(self, seed: int, people: int | None = None) -> str:
        """The live camera of this seed."""
        about = self.people if people is None else people
        return (
            f"street://?live=1&width={self.width}&height={self.height}&fps={self.fps:g}"
            f"&people={about}&vehicles=5&seed={seed}"
        )


class Load:
    """Acts on a run: the cameras are named by their number, and another program keeps cores busy."""

    def __init__(self, run: Run, street: Street) -> None:
        self._run = run
        self._street = street
        self.usual = street.cameras
        self._programs: list[BaseProcess] = []
        self._last = 0

    def cameras(self, count: int, people: int | None = None, *, anew: bool = False) -> None:
        """Have so many cameras, all of them new ones if `anew`."""
        running = [camera for _, camera in self._run.cameras()]
        leaving = running if anew else running[count:]
        for _ in range(count - len(running) + len(leaving) if anew else count - len(running)):
            self._last += 1
            self._run.add_camera(f"c{self._last}", self._street.address(self._last, people))
        for camera in leaving:
            self._run.remove_camera(camera)

    def busy(self, cores: int) -> None:
        """Have another program keep so many cores busy."""
        while len(self._programs) > cores:
            program = self._programs.pop()
            program.kill()
            program.join()
        while len(self._programs) < cores:
            program = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
            program.start()
            self._programs.append(program)


def _burn() -> None:
    while True:
        pass


Step = tuple[float, str, Callable[[Load], None]]
"""What happens after which share (0..1) of the scenario, and how it is called in a picture."""

SCENARIOS: dict[str, tuple[Step, ...]] = {
    "steady": (),
    "cameras": (
        (1 / 3, "twice the cameras", lambda load: load.cameras(2 * load.usual)),
        (2 / 3, "as before", lambda load: load.cameras(load.usual)),
    ),
    "busy": (
        (1 / 3, "another program", lambda load: load.busy(1)),
        (2 / 3, "alone again", lambda load: load.busy(0)),
    ),
    "people": (
        (1 / 3, "60 people", lambda load: load.cameras(load.usual, 60, anew=True)),
        (2 / 3, "5 people", lambda load: load.cameras(load.usual, 5, anew=True)),
    ),
}
"""Each begins with the usual cameras and is cut in three parts of the same length."""
