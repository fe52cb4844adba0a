"""A node that dials its home over a real link: whether it is there is known through cuts and freezes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from tests.node_process import NodeProcess
from tools.testbed import Bed, Link, missing, open_bed

HOME = """
import pathlib, sys, threading, zenoh
from flowedge.plane.access import from_node, node_topic
from flowedge.plane.credentials import Credentials
from flowedge.plane.remote import listen

def say(*words):  # from two threads of Zenoh
    sys.stdout.write(" ".join(words) + "\\n")
    sys.stdout.flush()

heard = threading.Event()

def hear(sample):
    if not heard.is_set():  # once for each time that the test asks
        heard.set()
        say("heard", sample.payload.to_string())

def seen(sample):
    say(str(sample.key_expr).split("/")[3], "there" if sample.kind == zenoh.SampleKind.PUT else "gone")

with listen("tls/0.0.0.0:7447", Credentials.of(pathlib.Path(sys.argv[1]), "home"), nodes=["gate"]) as session:
    token = session.liveliness().declare_subscriber(node_topic("*", "*"), seen, history=True)
    beats = session.declare_subscriber(from_node("gate", "beat"), hear)
    say("listening")
    for _ in sys.stdin:
        heard.clear()
"""
GATE = """
import itertools, pathlib, sys, time
from flowedge.plane.access import from_node, node_topic
from flowedge.plane.credentials import Credentials
from flowedge.plane.remote import dial
with dial("tls/cloud:7447", Credentials.of(pathlib.Path(sys.argv[1]), "gate")) as session:
    token = session.liveliness().declare_token(node_topic("gate", "1"))
    for _ in itertools.count():
        session.put(from_node("gate", "beat"), "alive")
        time.sleep(0.05)
"""


@pytest.fixture(autouse=True, scope="module")
def _a_bed_can_be_made() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture
def bed() -> Iterator[Bed]:
    with open_bed([Link("edge", "fog", mbit=30, delay_ms=4), Link("fog", "cloud", delay_ms=5)]) as bed:
        yield bed


def test_a_node_is_gone_while_it_is_cut_off_or_frozen_and_comes_back(
    bed: Bed, certificates: ModuleType, tmp_path: Path
) -> None:
    certificates.issue(tmp_path, {"home": ["cloud"], "gate": []}, now=datetime.now(UTC))
    with NodeProcess(bed, "cloud", sys.executable, "-c", HOME, str(tmp_path)) as home:
        assert home.hear() == "listening"
        with NodeProcess(bed, "edge", sys.executable, "-c", GATE, str(tmp_path)):
            assert {home.hear(), home.hear()} == {"gate there", "heard alive"}
            bed.cut("edge", "fog")
            assert home.hear() == "gate gone"
            bed.heal("edge", "fog")
            assert home.hear() == "gate there"
            home.say("")
            assert home.hear() == "heard alive"
            bed.freeze("edge")
            assert home.hear() == "gate gone"
            bed.thaw("edge")
            assert home.hear() == "gate there"
            home.say("")
            assert home.hear() == "heard alive"
            bed.kill("edge")
            assert home.hear() == "gate gone"
