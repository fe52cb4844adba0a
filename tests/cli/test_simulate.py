"""flowedge simulate: the same figures by seed, as table, CSV and picture; mistakes in one sentence."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import SECONDS

SCENARIOS = Path(__file__).resolve().parents[2] / "tools" / "scenarios"
STREET = str(SCENARIOS / "street.toml")
REPLANNED = str(SCENARIOS / "replanned.toml")


def test_policies_are_compared_in_a_table(flowedge: Any) -> None:
    done = flowedge("simulate", STREET, "--policy", "closest,power-of-two")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for word in ("closest", "power-of-two", "crossing", "counting", "box-1"):
        assert word in done.stdout
    assert "dual-price" not in done.stdout


def test_the_same_seed_gives_the_same_csv(flowedge: Any) -> None:
    texts = []
    for name, seed in (("a.csv", "3"), ("b.csv", "3"), ("c.csv", "4")):
        done = flowedge("simulate", STREET, "--policy", "power-of-two", "--seed", seed, "--csv", name)
        assert done.returncode == 0, done.stderr
        texts.append((flowedge.folder / name).read_text())
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].startswith("scenario,choice,seed,kind,name,requests,success,late,rejected,")


def test_a_planner_in_the_loop_says_when_it_planned(flowedge: Any) -> None:
    done = flowedge("simulate", REPLANNED, "--policy", "edge-only")
    assert done.returncode == 0, done.stderr
    assert "edge-only: 0 s: 2 deployments" in done.stdout
    assert "no plan: " in done.stdout


def test_a_picture_is_drawn(flowedge: Any) -> None:
    pytest.importorskip("matplotlib")
    done = flowedge("simulate", STREET, "--policy", "closest", "--plot", "street.png")
    assert done.returncode == 0, done.stderr
    assert (flowedge.folder / "street.png").read_bytes().startswith(b"\x89PNG")


def test_a_terminal_sees_how_far_it_is(flowedge: Any) -> None:
    assert "box-1" in flowedge.on_terminal("simulate", STREET, "--policy", "closest")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("none.toml",), "error: none.toml: cannot be read"),
        ((STREET, "--policy", "nearest"), "error: dispatch policy 'nearest' does not exist; there are closest"),
        ((REPLANNED, "--policy", "closest"), "error: strategy 'closest' does not exist; there are"),
        (
            (STREET, "--policy", "closest", "--csv", "no/such/folder.csv"),
            "--csv no/such/folder.csv: there is no folder",
        ),
    ],
)
def test_mistakes_are_one_sentence(flowedge: Any, words: tuple[str, ...], message: str) -> None:
    done = flowedge("simulate", *words)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_leaves_nothing_half_written(flowedge: Any) -> None:
    text = Path(STREET).read_text().replace('duration = "120 s"', 'duration = "200 h"')
    os.mkfifo(flowedge.folder / "long.toml")
    process = flowedge.start("simulate", "long.toml", "--csv", "long.csv", "--plot", "long.png")
    (flowedge.folder / "long.toml").write_text(text)  # once it is read
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=SECONDS)
    assert (process.returncode != 0, output) == (True, "")
    assert not list(flowedge.folder.glob("long.csv*")) + list(flowedge.folder.glob("long.png*"))
