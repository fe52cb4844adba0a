"""Certificates in use: what is wrong with a file is one sentence, and one that ends soon is warned of."""

from __future__ import annotations

import logging
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from flowedge.errors import UserError
from flowedge.plane.credentials import Credentials


@pytest.fixture
def folder(cluster: Path, tmp_path: Path) -> Path:
    """A copy of the cluster's certificates, to be spoilt."""
    return Path(shutil.copytree(cluster, tmp_path / "certs"))


def test_a_good_certificate_says_how_long_it_is_valid(cluster: Path, caplog: pytest.LogCaptureFixture) -> None:
    expires = Credentials.of(cluster, "gate").check()
    assert (
        timedelta(days=364) < timedelta(seconds=expires - datetime.now(UTC).timestamp()) < timedelta(days=366)
    )
    assert caplog.text == ""


def test_it_holds_no_key(cluster: Path) -> None:
    secret = (cluster / "gate.key").read_text().splitlines()[1]
    assert secret not in repr(Credentials.of(cluster, "gate"))


@pytest.mark.parametrize("file", ["ca.pem", "gate.pem", "gate.key"])
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    (folder / file).unlink()
    with pytest.raises(UserError, match=f"{file} is not there: make it with `flowedge certs`"):
        Credentials.of(folder, "gate").check()


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("ca.pem", "ca.pem is no certificate in PEM"),
        ("gate.pem", "are no certificate and key in PEM"),
        ("gate.key", "are no certificate and key in PEM"),
    ],
)
def test_a_file_of_something_else_is_named(folder: Path, file: str, sentence: str) -> None:
    (folder / file).write_text("junk")
    with pytest.raises(UserError, match=sentence):
        Credentials.of(folder, "gate").check()


def test_a_key_that_every_user_may_read_is_refused(folder: Path) -> None:
    (folder / "gate.key").chmod(0o644)
    with pytest.raises(UserError, match=r"gate.key is open to every user of this machine: chmod 600"):
        Credentials.of(folder, "gate").check()


def test_the_key_of_another_certificate_is_refused(folder: Path) -> None:
    (folder / "yard.key").rename(folder / "gate.key")
    with pytest.raises(UserError, match=r"gate.key is not the key of .*gate.pem"):
        Credentials.of(folder, "gate").check()


def test_the_certificate_of_another_node_is_refused(folder: Path) -> None:
    for suffix in ("pem", "key"):
        (folder / f"yard.{suffix}").rename(folder / f"gate.{suffix}")
    with pytest.raises(UserError, match=r"gate.pem is for yard, not for gate"):
        Credentials.of(folder, "gate").check()


def test_the_certificate_of_another_authority_is_refused(cluster: Path, foreign: Path) -> None:
    credentials = Credentials("gate", cluster / "ca.pem", foreign / "gate.pem", foreign / "gate.key")
    with pytest.raises(UserError, match=r"gate.pem is of another authority than .*ca.pem"):
        credentials.check()


@pytest.mark.parametrize(
    ("age", "sentence"),
    [(timedelta(days=366), "has expired"), (-timedelta(days=1), "is not valid yet: set the clock")],
)
def test_a_certificate_out_of_its_time_is_refused(
    certificates: ModuleType, tmp_path: Path, age: timedelta, sentence: str
) -> None:
    certificates.issue(tmp_path, {"gate": ()}, now=datetime.now(UTC) - age)
    with pytest.raises(UserError, match=rf"gate.pem {sentence}"):
        Credentials.of(tmp_path, "gate").check()


def test_a_certificate_that_ends_soon_is_warned_of(
    certificates: ModuleType, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificates.issue(tmp_path, {"gate": ()}, now=datetime.now(UTC), days=29)
    with caplog.at_level(logging.WARNING, logger="flowedge"):
        Credentials.of(tmp_path, "gate").check()
    assert "gate.pem expires on 20" in caplog.text
