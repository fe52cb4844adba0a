"""How well settings see, by camera and hour of the day: a street at night is another one than at noon."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowedge.planner.model.profiles import Setting

WEIGHT = 0.5
"""Of the latest rehearsal in what is known of a setting's accuracy for a camera."""

ENOUGH = 3
"""Rehearsals in an hour of the day from which that hour is told from others: less is chance."""

ALL_DAY = -1
"""In place of an hour: what came last, at whatever hour."""


class Agreements:
    """The agreement (0..1) of each setting with the reference, as recent as known.

    >>> agreements, small = Agreements(), (("size", 416),)
    >>> for value in (0.6, 0.6, 0.6):
    ...     agreements.note(small, "gate", 22, value)
    >>> agreements.note(small, "gate", 12, 0.9)
    >>> agreements.mean(small, ["gate"], 22), agreements.mean(small, ["gate"], 9)
    (0.6, 0.75)
    """

    def __init__(self) -> None:
        self._known: dict[Setting, dict[str, dict[int, tuple[float, int]]]] = {}

    def note(self, setting: Setting, camera: str, hour: int, value: float) -> None:
        """Count what a rehearsal told of a camera at an hour (0..23)."""
        hours = self._known.setdefault(setting, {}).setdefault(camera, {})
        for key in (hour, ALL_DAY):
            before, count = hours.get(key, (value, 0))
            hours[key] = WEIGHT * value + (1 - WEIGHT) * before, count + 1

    def mean(self, setting: Setting, cameras: Iterable[str], hour: int) -> float | None:
        """The mean over cameras: of the hour where enough is known of it, else of what came last.

        None where nothing is known of any of them.
        """
        known = self._known.get(setting, {})
        values = []
        for hours in (known[camera] for camera in cameras if camera in known):
            value, count = hours.get(hour, (0.0, 0))
            values.append(value if count >= ENOUGH else hours[ALL_DAY][0])
        return sum(values) / len(values) if values else None

    def rows(self, setting: Setting) -> list[Sequence[Any]]:
        """All that is known of a setting, for JSON: camera, hour, value, count."""
        return [
            (camera, hour, value, count)
            for camera, hours in self._known.get(setting, {}).items()
            for hour, (value, count) in hours.items()
        ]

    @classmethod
    def of_rows(cls, rows: Mapping[Setting, Iterable[Sequence[Any]]]) -> Agreements:
        """What `rows` gave of every setting. Raises `ValueError` or `TypeError` for anything else."""
        made = cls()
        for setting, given in rows.items():
            for camera, hour, value, count in given:
                hours = made._known.setdefault(setting, {}).setdefault(str(camera), {})
                hours[int(hour)] = float(value), int(count)
        for cameras in made._known.values():
            if not all(ALL_DAY in hours for hours in cameras.values()):
                raise ValueError("a camera has hours and no whole")
        return made
