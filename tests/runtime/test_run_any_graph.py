"""Graphs of any shape, whatever their steps do: the run ends, counts balance, order holds, halves match."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowedge import Frame, Graph, Origin, Stream, UserError, join
from flowedge.runtime.run import Run
from tests.runtime.conftest import running
from tests.runtime.fake_steps import (
    SECONDS,
    Apply,
    ApplyAll,
    Collect,
    Late,
    Play,
    Tiles,
    Together,
    assert_balanced,
    by_camera,
    events,
    index_of,
    origin_of,
    passed,
)

CAMERAS = ["a", "b"]
FRAMES = 25
KINDS = ["pass", "filter", "fail", "batch", "late", "split", "join", "join", "user error"]
PICTURE = np.zeros((2, 8, 3), np.uint8)


def unless(bad: Callable[[int], bool], answer: Callable[[], Any]) -> Callable[[Any], Any]:
    return lambda value: answer() if bad(index_of(value)) else value


def raises(error: Exception) -> Any:
    raise error


def tiled(value: Any) -> Frame:
    return Frame(Origin(origin_of(value).camera, index=index_of(value), width=8, height=2), PICTURE)


def grown(stream: Stream[Any], others: list[Stream[Any]], kind: str, name: str) -> Stream[Any]:
    """The stream behind one more step."""
    match kind:
        case "filter":
            return stream >> Apply(unless(lambda n: n % 2 == 0, lambda: None), name=name)
        case "fail":
            return stream >> Apply(unless(lambda n: n % 5 == 0, lambda: raises(ValueError("no"))), name=name)
        case "user error":
            bad = UserError("mend me")
            return stream >> Apply(unless(lambda n: n == FRAMES // 2, lambda: raises(bad)), name=name)
        case "batch":
            return stream >> ApplyAll(passed, name=name)
        case "late":
            return stream >> Apply(tiled, name=f"{name}-one") >> Late(10, name=name)
        case "split":
            tiles = stream >> Apply(tiled, name=f"{name}-tiled") >> Tiles(2, name=f"{name}-split")
            work = Apply(unless(lambda n: n % 3 == 0, lambda: raises(ValueError("no"))), name=f"{name}-work")
            return tiles >> work >> Together(lambda parts: parts[0], name=name)
        case "join":
            return join(stream, others[-1]) >> Apply(passed, name=name)
    return stream >> Apply(passed, name=name)


steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 20), st.integers(0, 20)), max_size=7)


@settings(
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps, st.booleans())
def test_every_frame_of_every_graph_is_accounted_for(steps, live):
    graph = Graph("test")
    source = Play(dict.fromkeys(CAMERAS, "test://"), events(FRAMES), live)
    streams, used = [graph.source(source)], set()
    for n, (kind, one, two) in enumerate(steps):
        first, second = one % len(streams), two % len(streams)
        used |= {first, second} if kind == "join" else {first}
        streams.append(grown(streams[first], [streams[second]], kind, f"s{n}"))
    came: dict[int, list[Any]] = {n: [] for n in range(len(streams)) if n not in used}
    for n, values in came.items():
        streams[n] >> Collect(values.append, name=f"sink{n}")

    with Run(graph, max_failures=1.0) as run:
        try:
            run.wait(SECONDS)
        except UserError:
            assert "user error" in {kind for kind, _, _ in steps}
        assert run.finished
    assert_balanced(run.report())
    assert running() == []
    for values in came.values():
        assert all(indices == sorted(set(indices)) for indices in by_camera(values).values())
        assert all(len(set(origins_in(value))) == 1 for value in values)


def origins_in(value: Any) -> Iterator[tuple[str, int]]:
    """Camera and index of everything in a value that may be pairs of pairs."""
    if isinstance(value, tuple):
        for half in value:
            yield from origins_in(half)
    else:
        yield value.origin.key
