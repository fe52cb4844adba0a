from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.errors import ConfigError
from flowedge.runtime.controller.admission import (
    FairShare,
    Fifo,
    Job,
    LeastAttained,
    ShortestRemaining,
    Worker,
    admissible,
    advanced,
    decide,
    intrusiveness,
    placed,
    size,
    started,
    stopped,
    threshold_of,
)
from tools.papers.stlas_jobs import Simulation, Spec

PAIR = (Worker("a", (2.0,)), Worker("b", (2.0,)))
LAS = LeastAttained(threshold=5.0, patience=2.0)


def job(name: str, gpus: int, arrived: float = 0.0, **account) -> Job:
    return Job(name, ((1.0,),) * gpus, arrived, **account)


def test_a_gang_is_admitted_whole_or_not_at_all_and_room_behind_it_is_filled():
    jobs = [job("first", 2, 0), job("gang", 3, 1), job("small", 1, 2)]
    assert set(decide(Fifo(), jobs, PAIR)) == {"first"}
    assert set(decide(Fifo(backfills=True), jobs, PAIR)) == {"first", "small"}
    assert set(decide(LAS, jobs, PAIR)) == {"first", "small"}


def test_fifo_never_stops_what_runs():
    late = job("late", 4, 5, placement=(0, 0, 1, 1))
    assert decide(Fifo(), [job("early", 1, 0), late], PAIR) == {"late": (0, 0, 1, 1)}


def test_who_attained_least_preempts_and_no_more_than_needed_stop():
    jobs = [
        job("old", 2, 0, queue=2, placement=(0, 0)),
        job("older", 1, 0, queue=2, since=9, placement=(1,)),
        job("oldest", 1, 0, queue=2, since=10, placement=(1,)),
        job("new", 1, 20),
    ]
    assert decide(LAS, jobs, PAIR) == {"old": (0, 0), "older": (1,), "new": (1,)}
    pair = [job("gang", 2, 20) if each.name == "new" else each for each in jobs]
    assert decide(LAS, pair, PAIR) == {"old": (0, 0), "gang": (1, 1)}


def test_victims_that_need_not_go_stay():
    jobs = [
        job("one", 1, 0, queue=2, since=1, placement=(0,)),
        job("two", 2, 0, queue=2, since=2, placement=(1, 1)),
        job("three", 1, 0, queue=2, since=3, placement=(0,)),
        Job("pair", ((2.0,),), 5.0),
    ]
    # `three` is the last and goes first, but `two` leaves enough room alone
    assert decide(LAS, jobs, PAIR) == {"one": (0,), "three": (0,), "pair": (1,)}


def test_a_job_is_demoted_by_service_and_promoted_by_waiting():
    fresh = started(job("a", 2), (0, 0))
    share = size(fresh.parts, PAIR)
    assert share == 0.5
    assert LAS.due(fresh, share) == pytest.approx(10.0)  # 5 / 0.5
    ran = advanced(fresh, 10.0, share)
    assert (ran.executed, ran.attained) == (10.0, 5.0)
    demoted = LAS.reviewed(ran, now=10.0)
    assert (demoted.queue, demoted.since) == (2, 10.0)
    waiting = advanced(stopped(demoted, checkpoint=3.0), 19.0, share)
    assert LAS.reviewed(waiting, now=29.0).queue == 2
    assert LAS.due(waiting, share) == pytest.approx(1.0)  # twice 10 s have passed then
    again = LAS.reviewed(advanced(waiting, 1.0, share), now=30.0)
    assert (again.queue, again.since, again.executed, again.attained) == (1, 30.0, 0.0, 0.0)
    assert again.total == 5.0


def test_a_checkpoint_is_paid_before_progress_and_is_no_service():
    back = started(stopped(job("a", 4, remaining=10.0), 3.0), (0, 0, 1, 1))
    assert advanced(back, 2.0, 1.0).remaining == 10.0
    after = advanced(back, 5.0, 1.0)
    assert (after.remaining, after.attained, after.owed) == (8.0, 2.0, 0.0)


def test_shortest_remaining_counts_what_a_checkpoint_owes():
    jobs = [job("long", 4, 0, remaining=12), job("short", 4, 1, remaining=10)]
    assert set(decide(ShortestRemaining(), jobs, PAIR)) == {"short"}
    assert set(decide(ShortestRemaining(), [jobs[0], replace(jobs[1], owed=3.0)], PAIR)) == {"long"}


def test_fair_share_takes_turns():
    policy = FairShare(30)
    first, second = started(job("first", 4, 0), (0, 0, 1, 1)), job("second", 4, 1)
    assert policy.due(first, 1.0) == 30
    halfway = advanced(first, 29.0, 1.0)
    assert set(decide(policy, [halfway, second], PAIR)) == {"first"}
    had = policy.reviewed(advanced(first, 30.0, 1.0), now=30.0)
    assert set(decide(policy, [had, second], PAIR)) == {"second"}
    done = Simulation(PAIR, policy, 0.0).run([Spec("a", ((1.0,),) * 4, 0, 60), Spec("b", ((1.0,),) * 4, 0, 60)])
    assert [(each.spec.name, each.done) for each in done] == [("a", 90.0), ("b", 120.0)]


def test_intrusiveness_by_hand():
    # only the first resource passes its threshold: 0.7 x (0.5 + 0.4 - 0.8) / 0.2
    assert intrusiveness((0.5, 0.1), (0.4, 0.2), (0.8, 0.9), (0.7, 0.3)) == pytest.approx(0.35)
    assert intrusiveness((0.5,), (0.5,), (0.8,)) == pytest.approx(1.0)
    assert intrusiveness((0.1,), (0.1,), (0.8,)) == 0
    with pytest.raises(ConfigError, match="below 1"):
        intrusiveness((0.1,), (0.1,), (1.0,))


def test_parts_go_where_they_disturb_least_and_stay_together():
    workers = (Worker("busy", (10.0,)), Worker("idle", (10.0,)))
    assert placed(((3.0,),), [[4.0], [10.0]], workers) == (1,)
    assert placed(((1.0,),) * 4, [[10.0], [10.0]], workers) == (0, 0, 0, 0)
    assert placed(((6.0,), (6.0,)), [[10.0], [10.0]], workers) == (0, 1)
    assert not admissible(((6.0,),) * 3, workers)


def test_bad_values_are_named():
    with pytest.raises(ConfigError, match="patience: 0"):
        LeastAttained(1.0, patience=0)
    with pytest.raises(ConfigError, match=r"w\.capacity"):
        Worker("w", (0.0,))
    with pytest.raises(ConfigError, match="quantile"):
        threshold_of([], 0.5)


amounts = st.integers(1, 3)
accounts = st.builds(
    dict,
    queue=st.sampled_from((1, 2)),
    since=st.floats(0, 10),
    remaining=st.floats(1, 100),
    total=st.floats(0, 10),
)
policies = st.sampled_from([Fifo(), Fifo(backfills=True), ShortestRemaining(), FairShare(), LAS])


@given(
    policies, st.lists(st.tuples(st.lists(amounts, min_size=1, max_size=4), accounts), max_size=8), st.data()
)
def test_gangs_are_whole_and_capacity_is_never_exceeded(policy, drawn, data):
    workers = (Worker("a", (4.0, 4.0)), Worker("b", (3.0, 5.0)))
    jobs = [
        Job(f"j{at}", tuple((float(each), 1.0) for each in parts), float(at), **account)
        for at, (parts, account) in enumerate(drawn)
    ]
    before = data.draw(st.sets(st.sampled_from([each.name for each in jobs]))) if jobs else set()
    first = decide(LAS, [each for each in jobs if each.name in before], workers)
    jobs = [replace(each, placement=first.get(each.name, ())) for each in jobs]
    chosen = decide(policy, jobs, workers)
    used = {(at, kind): 0.0 for at in range(2) for kind in range(2)}
    for each in jobs:
        placement = chosen.get(each.name, ())
        assert len(placement) in (0, len(each.parts))
        if each.running and not policy.preempts:
            assert placement == each.placement
        for part, at in zip(each.parts, placement, strict=bool(placement)):
            for kind in range(2):
                used[at, kind] += part[kind]
    assert all(used[at, kind] <= workers[at].capacity[kind] + 1e-9 for at, kind in used)
    able = [each for each in jobs if admissible(each.parts, workers)]
    if able and policy.preempts:
        first = min(able, key=policy.rank)
        share = size(first.parts, workers)
        left_alone = [each for each in jobs if each.running and not policy.ousts(first, each, share)]
        assert first.name in chosen or left_alone


specs = st.lists(
    st.tuples(st.integers(1, 4), st.floats(0, 200), st.floats(1, 60)), min_size=1, max_size=12
).map(
    lambda rows: [
        Spec(str(at), ((1.0,),) * gpus, arrival, seconds) for at, (gpus, arrival, seconds) in enumerate(rows)
    ]
)


@settings(max_examples=60, deadline=None)
@given(policies, specs, st.sampled_from((0.0, 7.0)))
def test_every_job_ends_and_none_sooner_than_alone(policy, some, checkpoint):
    done = Simulation(PAIR, policy, checkpoint).run(some, until=1e7)
    assert len(done) == len(some)
    assert all(each.completion >= each.spec.seconds - 1e-6 for each in done)
    work = sum(len(spec.parts) * spec.seconds for spec in some)
    assert max(each.done for each in done) - min(spec.arrival for spec in some) >= work / 4 - 1e-6


def stream(seconds: float) -> list[Spec]:
    """A gang that takes everything for a minute, and small jobs that alone would keep all busy."""
    small = [Spec(f"s{at}", ((1.0,),), 1.0 + 2.5 * at, 10.0) for at in range(int(seconds / 2.5))]
    return [Spec("gang", ((1.0,),) * 4, 0.0, 60.0), *small]


@pytest.mark.parametrize(
    ("policy", "starves"),
    [(LAS, False), (LeastAttained(5.0, math.inf), True), (ShortestRemaining(), True)],
)
def test_nobody_starves_under_promotion(policy, starves):
    done = Simulation(PAIR, policy, 2.0).run(stream(1200), until=1200)
    assert ("gang" not in {each.spec.name for each in done}) == starves


@settings(max_examples=8, deadline=None)
@given(st.floats(4, 40), st.floats(0.5, 4), st.integers(1, 4), st.floats(5, 80))
def test_promotion_bounds_every_wait(threshold, patience, gpus, seconds):
    """A job among small ones that never end does: 4 units of service at least after each promotion."""
    first = Spec("gang", ((1.0,),) * gpus, 0.0, seconds)
    policy = LeastAttained(threshold, patience)
    done = Simulation(PAIR, policy, 1.0).run([first, *stream(2000)[1:]], until=2000)
    assert "gang" in {each.spec.name for each in done}


def test_jobs_of_one_queue_leave_each_other_alone_until_one_has_waited_long():
    policy = LeastAttained(threshold=10.0, patience=2.0)
    late = started(Job("late", ((1.0,),) * 3, 1.0), (0, 0, 1))
    gang = Job("gang", ((1.0,),) * 4, 0.0, waited=19.0)  # a quarter of its 10 s is 40 s: half of all workers
    assert decide(policy, [gang, late], PAIR) == {"late": (0, 0, 1)}
    assert policy.due(gang, 1.0) == pytest.approx(1.0)
    assert set(decide(policy, [replace(gang, waited=20.0), late], PAIR)) == {"gang"}
    assert set(decide(policy, [gang, replace(late, queue=2)], PAIR)) == {"gang"}
