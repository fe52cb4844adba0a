"""Settings that may be one value for all cameras, or a mapping of values by camera name.

A field of an operator is annotated with both, `float | Mapping[str, float]`, and named in the operator's
`per_camera`, so that names which the graph does not have are found when it is checked. A camera that a mapping
does not name has the field's default.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from flowedge.errors import ConfigError
from flowedge.graph.knobs import suggestion

T = TypeVar("T")


def of_camera(setting: T | Mapping[str, T], camera: str, default: T) -> T:
    """What a setting is for one camera.

    >>> of_camera({"north": 0.3}, "north", 0.25), of_camera({"north": 0.3}, "south", 0.25)
    (0.3, 0.25)
    """
    return setting.get(camera, default) if isinstance(setting, Mapping) else setting


def required(setting: T | Mapping[str, T], camera: str, field: str) -> T:
    """What a setting without a default is for one camera; raises `ValueError` naming the `field`.

    >>> required({"north": 5.0}, "north", "Sample.fps")
    5.0
    """
    if not isinstance(setting, Mapping):
        return setting
    if camera not in setting:
        raise ValueError(f"{field}: there is no value for the camera {camera}; it has {', '.join(setting)}")
    return setting[camera]


def values(setting: T | Mapping[str, T]) -> tuple[T, ...]:
    """All values of a setting.

    >>> values(0.5), values({"north": 0.3, "south": 0.5})
    ((0.5,), (0.3, 0.5))
    """
    return tuple(setting.values()) if isinstance(setting, Mapping) else (setting,)


def all_hold(setting: T | Mapping[str, T], holds: Callable[[T], bool]) -> bool:
    """Whether something holds for the values of all cameras.

    >>> all_hold({"north": 0.3, "south": 1.5}, lambda score: score <= 1)
    False
    """
    return all(map(holds, values(setting)))


def check_names(field: str, named: Mapping[str, object], cameras: Collection[str], *, complete: bool) -> None:
    """Raise `ConfigError` where a mapping names a camera that is not there or, if `complete`, leaves one out.

    >>> check_names("Detect.confidence", {"nroth": 0.3}, ["north", "south"], complete=False)
    Traceback (most recent call last):
    flowedge.errors.ConfigError: Detect.confidence: the graph has no camera "nroth"; did you mean "north"?
    """
    for camera in named:
        if camera not in cameras:
            raise ConfigError(f'{field}: the graph has no camera "{camera}"{suggestion(camera, cameras)}')
    if complete and (missing := sorted(set(cameras) - set(named))):
        raise ConfigError(f"{field}: there is no value for the camera {missing[0]}; it has {', '.join(named)}")
