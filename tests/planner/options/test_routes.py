"""Route options: their latency, and the plans made of them."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.planner.model.prediction import predict
from flowedge.planner.options.delays import path_delays
from flowedge.planner.options.offers import Offer, offers
from flowedge.planner.options.routes import Place, RouteOption, assemble, latency
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, SIZE, crossing, plan
from tools.planner_instances import instance

TRACK = offers(crossing(), CLOUD_TRACK)[0]


def column(offer: Offer) -> RouteOption:
    places = (Place("video", "pi"), Place("Detect", "server", offer), Place("Track", "server", TRACK))
    return RouteOption("north", SIZE, (*places, Place("Draw", "pi")))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_a_plan_of_columns_is_never_slower_than_they_are(seed: int) -> None:
    problem, planted = instance(seed)
    assert predict(problem, planted).latencies
    assert max(each.total for each in predict(problem, planted).latencies) <= problem.applications[0].latency


def test_a_plan_has_the_fewest_replicas_that_keep_the_offers() -> None:
    problem = crossing()
    full, _, single = offers(problem, CLOUD_DETECT)
    delays = path_delays(problem.cluster, problem.certainty)
    together = assemble(problem, "test", [(column(full), 1), (column(full), 1)])
    assert [(each.operator, each.replicas) for each in together.deployments] == [("Detect", 1), ("Track", 1)]
    assert [route.cameras for route in together.routes] == [2]
    assert together.value == plan().value
    apart = assemble(problem, "test", [(column(single), 2)])
    assert [each.replicas for each in apart.deployments] == [2, 1]
    for chosen, made in ((full, together), (single, apart)):
        (predicted,) = predict(problem, made).latencies
        assert predicted.total <= latency(problem, problem.applications[0], column(chosen), delays)
    mixed = assemble(problem, "test", [(column(full), 1), (column(single), 1)])
    assert len(mixed.deployments) == 3
