"""`flowedge certs`: what it writes and says."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Flowedge

pytest.importorskip("cryptography", reason='needs the extra "cluster"')


def test_it_says_what_was_written_and_what_to_do_next(flowedge: Flowedge) -> None:
    done = flowedge("certs", "certs", "home=10.0.0.5", "gate")
    assert done.returncode == 0, done.stderr
    assert "certs/ca.pem, certs/ca.key: the authority, until 20" in done.stdout
    assert "home, dialled as home, localhost, 127.0.0.1, ::1, 10.0.0.5, until 20" in done.stdout
    assert done.stdout.endswith(
        "  scp certs/ca.pem certs/gate.pem certs/gate.key gate:\n"
        "  flowedge node --name gate --connect tls/10.0.0.5:7447 --certs .\n"
    )
    files = sorted(path.name for path in (flowedge.folder / "certs").iterdir())
    assert files == ["ca.key", "ca.pem", "gate.key", "gate.pem", "home.key", "home.pem"]


def test_names_are_added_later_and_keys_stay(flowedge: Flowedge) -> None:
    assert flowedge("certs", "certs", "gate").returncode == 0
    key = (flowedge.folder / "certs/gate.key").read_bytes()
    assert flowedge("certs", "certs", "yard").returncode == 0
    again = flowedge("certs", "certs", "gate")
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "certs/gate.pem is there already and is never replaced" in again.stderr
    assert (flowedge.folder / "certs/gate.key").read_bytes() == key


def test_it_says_that_home_has_no_certificate_yet(flowedge: Flowedge) -> None:
    hint = "flowedge certs certs home=ADDRESS"
    assert hint in flowedge("certs", "certs", "gate").stdout
    assert hint not in flowedge("certs", "certs", "home=10.0.0.5").stdout


def test_a_name_given_twice_is_refused(flowedge: Flowedge) -> None:
    done = flowedge("certs", "certs", "gate=10.0.0.5", "gate=10.0.0.6")
    assert done.returncode == 1
    assert "gate is given twice" in done.stderr


def test_no_key_is_printed(flowedge: Flowedge) -> None:
    done = flowedge("certs", "certs", "gate")
    secret = (flowedge.folder / "certs/gate.key").read_text().splitlines()[1]
    assert secret not in done.stdout + done.stderr
