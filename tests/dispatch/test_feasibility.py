import numpy as np
import pytest

from flowedge.dispatch import FEASIBILITIES, Request, compatible, nominal, timely
from tests.dispatch.fleets import fleet, stream, twins


def test_the_deadline_counts_network_access_transmission_and_service() -> None:
    # The times to an answer are 42, 62, 30 and 60 ms; access and transmission take 10 ms of the deadline.
    request = Request(0, deadline=0.055, bytes=7_500, bitrate=10e6, access=0.002)
    assert nominal(request, fleet()).tolist() == [True, False, True, False]
    assert compatible(request, fleet()).all()


def test_delay_deviates_twice_each_way() -> None:
    workers = fleet()
    workers.deviation[2] = 0.010
    workers.refresh()
    assert not nominal(stream(deadline=0.069), workers)[2]
    assert nominal(stream(deadline=0.071), workers)[2]


def test_a_stream_needs_room_for_its_weighted_rate() -> None:
    workers = twins(2)
    workers.load[:] = [4.0, 6.0]
    assert nominal(stream(rate=5.0), workers).tolist() == [True, False]
    assert nominal(stream(rate=5.0)._replace(weight=1.5), workers).tolist() == [False, False]
    assert compatible(stream(rate=5.0), workers).all()


def test_only_the_timely_filter_sees_the_queue() -> None:
    workers = twins(2)
    workers.waiting[1] = 5
    workers.in_flight[1] = 1
    assert nominal(stream(deadline=0.5), workers).all()
    assert timely(stream(deadline=0.5), workers).tolist() == [True, False]


@pytest.mark.parametrize("name", FEASIBILITIES)
def test_every_filter_wants_the_application_the_accuracy_and_a_worker_that_is_up(name: str) -> None:
    workers = twins(4, applications=2)
    workers.service[1, 0] = np.nan
    workers.refresh()
    workers.accuracy[1, 1] = 0.3
    workers.up[2] = False
    request = Request(1, deadline=float("inf"), accuracy=0.4)
    assert FEASIBILITIES[name](request, workers).tolist() == [False, False, False, True]
