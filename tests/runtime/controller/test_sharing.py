"""Which graphs run where the cores are too few for all, second by second."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import pytest

from flowedge.runtime.controller.sharing import SETTLING_SECONDS, TURN_SECONDS, WINDOW, Sharing, Switch
from flowedge.runtime.demand import Demand


class Machine:
    """Plays a machine of two cores: graphs share it as they want, and do what `Sharing` says."""

    def __init__(self, wanted: Mapping[str, float], live: bool | Mapping[str, bool] = True) -> None:
        self.wanted = dict(wanted)
        self.live = {name: live if isinstance(live, bool) else live[name] for name in wanted}
        self.sharing = Sharing(list(wanted), 2, 0.0)
        self.running = set(wanted)
        self.now = 0
        self.ran: dict[str, int] = dict.fromkeys(wanted, 0)
        self.switches: list[tuple[int, Switch]] = []

    def play(self, seconds: int) -> list[tuple[int, Switch]]:
        """Go on for so long; what was switched meanwhile, and when."""
        before = len(self.switches)
        for _ in range(seconds):
            self.now += 1
            total = sum(self.wanted[name] for name in self.running)
            share = min(1.0, 2 / total) if total else 1.0
            measured = {}
            for name in self.running:
                self.ran[name] += 1
                measured[name] = Demand(share * self.wanted[name], self.wanted[name], self.live[name])
            for switch in self.sharing.look(float(self.now), measured):
                self.switches.append((self.now, switch))
                (self.running.add if switch.runs else self.running.discard)(switch.name)
        return self.switches[before:]

    def end(self, name: str) -> None:
        self.running.discard(name)
        self.sharing.ended(name)
        del self.wanted[name]


def test_all_run_while_there_is_room() -> None:
    assert Machine({"a": 0.9, "b": 0.7, "c": 0.4}).play(200) == []


def test_one_graph_is_never_preempted_whatever_it_wants() -> None:
    assert Machine({"a": 8.0}, live=False).play(200) == []


def test_a_burst_changes_nothing() -> None:
    machine = Machine({"a": 0.9, "b": 0.9})
    machine.play(20)
    machine.wanted["b"] = 2.0
    assert machine.play(2) == []
    machine.wanted["b"] = 0.9
    assert machine.play(60) == []


def test_what_comes_first_runs_first_and_others_wait() -> None:
    machine = Machine({"first": 1.8, "second": 1.5})
    [(at, switch)] = machine.play(15)
    assert at <= SETTLING_SECONDS + 2 * WINDOW
    assert switch == Switch("second", False, "the graphs want 3.3 cores and can have 2.0")


def test_graphs_take_turns_of_equal_service() -> None:
    machine = Machine({"a": 2.0, "b": 2.0, "c": 2.0})
    machine.play(600)
    assert len(machine.running) == 1
    assert max(machine.ran.values()) - min(machine.ran.values()) <= 2 * TURN_SECONDS
    turns = [(at, switch.name) for at, switch in machine.switches if switch.runs]
    assert all(
        TURN_SECONDS <= later - sooner <= TURN_SECONDS + 2 for (sooner, _), (later, _) in pairwise(turns)
    )
    assert "it is the turn of b, which had less of the cores" in {s.reason for _, s in machine.switches}


def test_a_small_graph_runs_beside_a_large_one() -> None:
    machine = Machine({"large": 1.5, "other": 1.4, "small": 0.5})
    machine.play(200)
    assert "small" in machine.running
    assert not any(switch.name == "small" for _, switch in machine.switches)
    assert machine.ran["large"] > 60 < machine.ran["other"]


def test_who_waits_goes_on_when_another_ends() -> None:
    machine = Machine({"a": 2.0, "b": 2.0}, live=False)
    machine.play(12)
    assert machine.running == {"a"}
    machine.end("a")
    assert machine.play(2) == [(13, Switch("b", True, "there is room for it"))]
    assert machine.play(200) == []


def test_who_waits_goes_on_when_there_is_room_again() -> None:
    machine = Machine({"a": 1.4, "b": 1.2})
    machine.play(12)
    assert machine.running == {"a"}
    machine.wanted["a"] = 0.4
    machine.play(150)  # until what was wanted together is forgotten
    assert machine.running == {"a", "b"}
    assert machine.play(100) == []


def test_a_file_that_takes_what_live_cameras_leave_fits_beside_them() -> None:
    """It uses all that it gets, and the camera has all that it wants."""
    machine = Machine({"camera": 0.6, "file": 1.4}, live={"camera": True, "file": False})
    assert machine.play(200) == []


def test_a_graph_that_loses_frames_on_a_machine_with_room_is_left_alone() -> None:
    sharing = Sharing(["slow", "other"], 2, 0.0)
    measured = {"slow": Demand(0.5, 2.0, True), "other": Demand(0.5, 0.5, True)}
    assert [switch for now in range(1, 60) for switch in sharing.look(float(now), measured)] == []


def test_what_other_programs_take_is_not_to_be_had() -> None:
    sharing = Sharing(["a", "b"], 2, 0.0)
    measured = {"a": Demand(0.5, 0.9, True), "b": Demand(0.5, 0.9, True)}
    assert [switch for now in range(1, 30) for switch in sharing.look(float(now), measured)] == []
    [switch] = [switch for now in range(30, 45) for switch in sharing.look(float(now), measured, 1.0)]
    assert switch == Switch("b", False, "the graphs want 1.8 cores and can have 1.0")


def test_what_a_graph_takes_while_it_loads_says_nothing() -> None:
    sharing = Sharing(["a", "b"], 2, 0.0)
    loading = {"a": Demand(1.0, 2.0, True), "b": Demand(1.0, 2.0, True)}
    for now in range(1, 30):
        sharing.began("a", float(now))
        assert sharing.look(float(now), loading) == []


@pytest.mark.parametrize("seconds", [40, 300])
def test_what_was_had_while_there_was_room_does_not_count(seconds: int) -> None:
    machine = Machine({"a": 0.9, "b": 0.9})
    machine.play(seconds)
    machine.wanted |= {"a": 2.0, "b": 2.0}
    machine.play(200)
    late = [(at - seconds, switch.name) for at, switch in machine.switches if switch.runs]
    assert late[0][0] <= TURN_SECONDS + 15
    assert {name for _, name in late} == {"a", "b"}
