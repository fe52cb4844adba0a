"""What a type checker accepts and refuses: mypy reads the graphs below, and nobody runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

GRAPHS = """
from collections.abc import Sequence
from dataclasses import dataclass

from flowedge import (
    Detections, Faces, Frame, Graph, Operator, Origin, Tracks, choose, join, param, synchronize, unzip,
)
from tests.graph_steps import (
    Both, Detect, Draw, Drop, Film, Keep, Lines, Merge, Pass, Scale, Slice, Track, camera,
)

frames = camera(Graph("right"))
parts = frames >> Slice(tiles=choose("tiles", 1, 2, 4)) >> Detect("small", classes=["person"], name="found")
people = parts >> Merge()
tracks = people >> Track()
join(frames, tracks) >> Draw() >> Film()
tracks >> Lines()
tracks >> Drop()
left, right = unzip(frames >> Both())

reveal_type(parts)  # type: Parts[Detections]
reveal_type(people)  # type: Stream[Detections]
reveal_type(tracks)  # type: Stream[Tracks]
reveal_type(join(frames, tracks))  # type: Stream[tuple[Frame, Tracks]]
reveal_type(join(parts, parts))  # type: Parts[tuple[Detections, Detections]]
reveal_type(synchronize(frames, tracks))  # type: Stream[tuple[Frame, Tracks]]
reveal_type(synchronize(tracks, cameras=("north", "south")))  # type: Stream[tuple[Tracks, Tracks]]
reveal_type(left)  # type: Stream[Frame]
reveal_type(right)  # type: Stream[Detections]
reveal_type(tracks >> Keep())  # type: Stream[Tracks]
reveal_type(frames >> Pass())  # type: Stream[Frame]
reveal_type(frames >> Slice() >> Pass())  # type: Parts[Frame]
reveal_type(tracks >> Lines())  # type: None
reveal_type(choose("size", 416, 512))  # type: int
reveal_type(param("tiles", choices=(1, 2)))  # type: int
reveal_type(param("tiles", 2, choices=(1, 2)))  # type: int
reveal_type(Scale(width=320).knobs)  # type: Mapping[str, Choice[Any]]

north = Origin("north")
tracked = Tracks(north, [[0, 0, 9, 9]], [0.5], [1], names=("person", "car"), ids=[7])
Detections(north, [[0, 0, 9, 9]], [0.5], [1], names=("person", "car"))
Detections(tracked.origin, tracked.boxes, tracked.scores, tracked.classes)
Faces(north, [[0, 0, 9, 9]], [0.9], [0], embeddings=[[1.0]])
reveal_type(tracked.select([True]))  # type: Tracks
reveal_type(tracked.boxes)  # type: ndarray[tuple[Any, ...], dtype[floating[_32Bit]]]
reveal_type(tracked.ids)  # type: ndarray[tuple[Any, ...], dtype[signedinteger[_64Bit]]]
reveal_type(param("size", 640))  # type: int
reveal_type(param("output", type=str))  # type: str | None

frames >> Slice() >> Film()  # error: operator
frames >> Slice() >> Slice()  # error: operator
frames >> Slice() >> Merge()  # error: operator
frames >> Detect() >> Merge()  # error: operator
frames >> Track()  # error: operator
frames >> Keep()  # error: operator
frames >> Draw()  # error: operator
people >> Film()  # error: operator
frames >> print  # error: operator
frames >> camera  # error: operator
join(frames, parts)  # error: call-overload
unzip(frames)  # error: arg-type
Scale("wide")  # error: arg-type
Scale(choose("width", "a", "b"))  # error: arg-type
Scale(knobs={})  # error: call-arg
Detections(north, object(), [0.5], [1])  # error: arg-type
tracked.boxes = tracked.boxes  # error: misc
choose(416, 512)  # error: arg-type

@dataclass
class WithoutProcess(Operator[Frame, Frame]):
    pass

WithoutProcess()  # error: abstract

class GivesAnother(Operator[Frame, Frame]):
    def process(self, frame: Frame, /) -> Sequence[Frame]:  # error: override
        return [frame]
"""


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[int, list[str]]:
    """What `mypy --strict` says, by line."""
    path = tmp_path_factory.mktemp("typing") / "graphs.py"
    path.write_text(GRAPHS)
    root = Path(__file__).parents[2]
    kept = getattr(request.config, "cache", None)  # pytest may run without one
    cache = kept.mkdir("mypy") if kept else path.parent
    # As for an installed package, only what is wrong in the graphs counts.
    options = ["--strict", "--no-error-summary", "--config-file=", "--follow-imports=silent"]
    options.append(f"--cache-dir={cache}")
    command = [sys.executable, "-m", "mypy", *options, str(path)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert not done.stderr, done.stderr
    found: dict[int, list[str]] = {}
    for line in done.stdout.splitlines():
        place = re.match(r".*graphs\.py:(\d+): (.*)", line)
        assert place, line
        found.setdefault(int(place[1]), []).append(place[2])
    return found


LINES = list(enumerate(GRAPHS.splitlines(), start=1))


@pytest.mark.parametrize(("number", "line"), [pair for pair in LINES if "# error:" in pair[1]])
def test_a_mistake_is_refused(number: int, line: str, messages: dict[int, list[str]]) -> None:
    code = line.rpartition("# error: ")[2]
    assert any(message.endswith(f"[{code}]") for message in messages.get(number, [])), messages.get(number)


@pytest.mark.parametrize(("number", "line"), [pair for pair in LINES if "# type:" in pair[1]])
def test_a_type_is_found(number: int, line: str, messages: dict[int, list[str]]) -> None:
    wanted = line.rpartition("# type: ")[2]
    found = re.sub(r"\b[a-z_]+\.", "", messages[number][0].partition("Revealed type is ")[2].strip('"'))
    assert found.replace("builtins.", "") == wanted


def test_nothing_else_is_refused(messages: dict[int, list[str]]) -> None:
    marked = {number for number, line in LINES if "# error:" in line or "# type:" in line}
    assert {number: found for number, found in messages.items() if number not in marked} == {}
