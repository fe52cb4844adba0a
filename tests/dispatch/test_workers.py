import numpy as np
import pytest

from flowedge.dispatch.workers import Request, pressure, wait
from flowedge.errors import ConfigError
from tests.dispatch.fleets import fleet, twins


def test_budget_is_what_access_and_transmission_leave() -> None:
    request = Request(0, deadline=0.2, bytes=125_000, bitrate=10e6, access=0.01)
    assert request.budget == pytest.approx(0.2 - 0.02 - 0.1)


def test_a_column_of_another_length_is_named() -> None:
    workers = fleet()
    with pytest.raises(ConfigError, match=r"workers\.delay has shape \(2,\); with 4 workers it needs \(4,\)"):
        workers.seen_from(np.zeros(2), np.zeros(4))


def test_a_worker_without_capacity_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"workers\.capacity must be above 0"):
        twins(2, capacity=0.0)


def test_two_dispatchers_share_loads_and_not_the_network() -> None:
    here = fleet()
    there = here.seen_from(np.array([0.02, 0.02, 0.01, 0.001]), np.zeros(4))
    there.load[0] = 7.0
    there.up[1] = False
    assert here.load[0] == 7.0
    assert not here.up[1]
    assert here.reach[0].argmin() == 2
    assert there.reach[0].argmin() == 3


def test_refresh_follows_a_change_of_the_network() -> None:
    workers = fleet()
    workers.delay[2] = 0.1
    workers.deviation[2] = 0.01
    workers.refresh()
    assert workers.reach[0, 2] == pytest.approx(2 * (0.1 + 0.02) + 0.02)


def test_nobody_waits_while_a_slot_is_free() -> None:
    workers = twins(3)
    workers.slots[:] = 2
    workers.refresh()
    workers.in_flight[:] = [1, 2, 2]
    workers.waiting[:] = [0, 0, 3]
    assert wait(workers).tolist() == pytest.approx([0.0, 0.1, 0.4])


def test_pressure_adds_what_is_bound_and_what_is_present() -> None:
    workers = twins(2)
    workers.load[:] = [5.0, 0.0]
    workers.in_flight[:] = [0.0, 1.0]
    assert pressure(workers).tolist() == [0.5, 1.0]
    assert workers.in_flight.tolist() == [0.0, 1.0]
