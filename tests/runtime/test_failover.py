"""A live graph goes on without a machine that is gone, from the last checkpoint, and uses it again."""

from __future__ import annotations

import os

import pytest

from flowedge import Event, Graph
from flowedge.plane.remote import listen
from flowedge.runtime.failover import Failover
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from flowedge.runtime.workers.network import Network
from tests.runtime.fake_steps import SECONDS, Collect, Feed, assert_balanced, wait_until
from tests.runtime.worker_steps import Count, command
from tests.runtime.workers.test_network import dialled, endpoint

__all__ = ["endpoint"]


def test_work_goes_on_here_when_its_machine_is_gone_and_returns(
    endpoint: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flowedge.runtime.failover.RETURN_SECONDS", 0.0)
    monkeypatch.setattr("flowedge.runtime.workers.replicas.CHECKPOINT_SECONDS", 0.01)
    feed, came = Feed(), list[Event]()
    graph = Graph("far")
    graph.source(feed.source("north", live=True)) >> Count() >> Collect(came.append)
    plan = [(Configuration((), {"Count": ("gate/1",)}), None)]
    indices = iter(range(1 << 20))

    def counted(pid: int | None) -> Event:
        """What is counted of the next frames, once that is done in this process, or in another."""

        def comes() -> bool:
            before = len(came)
            feed.push("north", command(next(indices)))
            wait_until(lambda: len(came) > before or not run.report().cameras["north"].in_flight)
            return len(came) > before and (came[-1].data["pid"] == os.getpid()) == (pid is not None)

        wait_until(comes)
        return came[-1]

    with (
        Network(listen(endpoint)) as network,
        dialled(endpoint) as process,
        Run(graph, plan=plan, network=network) as run,
        Failover(run, network),
    ):
        there = [counted(None) for _ in range(5)][-1]
        process.kill()
        process.wait(SECONDS)
        here = counted(os.getpid())
        with dialled(endpoint):
            back = counted(None)
        feed.end("north")
        report = run.wait(SECONDS)
    assert there.data["count"] >= 5
    assert here.data["epoch"] > there.data["epoch"]  # some identities may have been given out and lost
    assert back.data["count"] > here.data["count"]
    assert_balanced(report)
    assert report.cameras["north"].delivered == len(came)
