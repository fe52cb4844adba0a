"""Which operators go to workers because of Python's global lock, by what they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from flowedge import Event, Graph, Operator, State
from flowedge.runtime.controller.placement import MOST_WORKERS, UTILISATION, Load, capacity, placement
from tests.runtime.fake_steps import Collect, Play, nothing


@dataclass
class Plain(Operator[Event, Event]):
    def process(self, value: Event, /) -> Event:
        return value


@dataclass
class Keyed(Plain):
    state: ClassVar[State] = State.PER_CAMERA

    def snapshot(self, camera: str) -> Any: ...

    def restore(self, camera: str, state: Any) -> None: ...


@dataclass
class Forgetful(Plain):
    """Keeps state that cannot move."""

    state: ClassVar[State] = State.PER_CAMERA


def chain(*steps: Operator[Event, Event]) -> Graph:
    graph = Graph("chain")
    stream: Any = graph.source(Play({"north": ""}, play=nothing))
    for step in steps:
        stream = stream >> step
    stream >> Collect()
    return graph


def plain(count: int) -> Graph:
    return chain(*(Plain(name=f"s{number}") for number in range(count)))


def python(seconds: float, rate: float = 30.0, **changes: Any) -> Load:
    return Load(rate, seconds, seconds, seconds, **changes)


def native(seconds: float, rate: float = 30.0, cores: float = 1.0) -> Load:
    """What releases the lock while it works on so many cores."""
    return Load(rate, seconds, cores * seconds, 0.02 * seconds)


def loads(*each: Load) -> dict[str, Load]:
    return {f"s{number}": load for number, load in enumerate(each)}


def gain(graph: Graph, given: dict[str, Load], cores: int) -> float:
    made = placement(graph, given, cores=cores)
    return made.serves / capacity(graph, given, {}, cores)


def test_three_equal_python_operators_use_both_cores():
    graph, given = plain(3), loads(*[python(0.01)] * 3)
    made = placement(graph, given, cores=2)
    assert made.workers == dict.fromkeys(given, ("python-1", "python-2"))
    assert 1.8 < gain(graph, given, 2) <= 2.0


def test_more_cores_are_used_by_more_workers():
    assert 3.5 < gain(plain(3), loads(*[python(0.01)] * 3), 4) <= 4.0


def test_nothing_moves_on_one_core():
    assert not placement(plain(3), loads(*[python(0.01)] * 3), cores=1).workers


def test_nothing_moves_that_releases_the_lock():
    assert not placement(plain(3), loads(*[native(0.01)] * 3), cores=4).workers


def test_nothing_moves_where_an_engine_needs_the_cores():
    given = loads(native(0.02, cores=2), python(0.01))
    assert not placement(plain(2), given, cores=2).workers


def test_an_engine_stays_while_python_beside_it_moves():
    given = loads(native(0.01), python(0.01), python(0.01))
    assert set(placement(plain(3), given, cores=4).workers) <= {"s1", "s2"}
    assert gain(plain(3), given, 4) > 1.8


def test_nothing_moves_where_hops_would_take_longer_than_the_work():
    assert not placement(plain(2), loads(*[python(0.0002, 2000.0)] * 2), cores=2).workers


def test_pictures_make_hops_dearer():
    given = loads(*[python(0.002, 200.0, pixels=2 * 1920 * 1080)] * 2)
    small = loads(*[python(0.002, 200.0)] * 2)
    assert gain(plain(2), given, 2) < gain(plain(2), small, 2)


def test_live_frames_that_are_served_well_leave_all_in_one_process():
    given = loads(*[python(0.01, rate=20.0)] * 3)  # 0.6 of the lock
    assert not placement(plain(3), given, cores=4, demand=1.0).workers
    assert placement(plain(3), given, cores=4, demand=1.5).workers


def test_live_frames_get_no_more_workers_than_they_need():
    given = loads(*[python(0.01, rate=30.0)] * 3)  # 0.9 of the lock
    made = placement(plain(3), given, cores=8, demand=1.0)
    assert made.serves >= 1 / UTILISATION
    assert len({name for at in made.workers.values() for name in at}) == 1


def test_state_of_a_camera_is_in_one_process():
    graph = chain(Keyed(name="s0"), Plain(name="s1"))
    given = loads(python(0.01, copies=1), python(0.01))
    made = placement(graph, given, cores=4)
    assert made.serves == pytest.approx(1 / (30 * 0.01), rel=0.1)


def test_cameras_share_the_workers_of_what_keeps_their_state():
    given = loads(python(0.01, copies=4))
    made = placement(chain(Keyed(name="s0")), given, cores=2)
    assert made.workers == {"s0": ("python-1", "python-2")}


@pytest.mark.parametrize("step", [Forgetful(name="s0"), Plain(name="s0")])
def test_what_cannot_move_stays(step: Operator[Event, Event]):
    moves = isinstance(step, Forgetful)
    given = loads(python(0.01, moves=moves), python(0.01))
    assert set(placement(chain(step, Plain(name="s1")), given, cores=4).workers) == {"s1"}


def test_many_operators_have_as_many_workers_as_are_sensible():
    made = placement(plain(8), loads(*[python(0.01)] * 8), cores=64)
    assert MOST_WORKERS - 1 <= len({name for at in made.workers.values() for name in at}) <= MOST_WORKERS
