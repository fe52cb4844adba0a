"""The authority of a cluster: what its certificates say; no key is ever replaced or readable by others."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason='needs the extra "cluster"')

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from flowedge.certificates import issue
from flowedge.errors import UserError

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_a_certificate_says_whose_it_is_and_serves_both_ends(tmp_path: Path) -> None:
    authority, gate = issue(tmp_path / "certs", {"gate": ["10.0.0.7", "fe80::1", "gate.lan"]}, now=NOW)
    certificate = load(gate.certificate)
    [common_name] = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert common_name.value == "gate"
    assert names.get_values_for_type(x509.DNSName) == ["gate", "localhost", "gate.lan"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == [
        "127.0.0.1",
        "::1",
        "10.0.0.7",
        "fe80::1",
    ]
    assert gate.hosts == ("gate", "localhost", "127.0.0.1", "::1", "10.0.0.7", "fe80::1", "gate.lan")
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert gate.expires == certificate.not_valid_after_utc == NOW + timedelta(days=365)
    certificate.verify_directly_issued_by(load(authority.certificate))


def test_keys_are_their_owners_alone(tmp_path: Path) -> None:
    for issued in issue(tmp_path / "certs", {"gate": []}, now=NOW):
        assert stat.S_IMODE(issued.key.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "certs").stat().st_mode) == 0o700


def test_names_are_added_to_the_authority_that_is_there(tmp_path: Path) -> None:
    authority, _ = issue(tmp_path, {"gate": []}, now=NOW)
    before = authority.certificate.read_bytes()
    [yard] = issue(tmp_path, {"yard": []}, now=NOW)
    assert authority.certificate.read_bytes() == before
    load(yard.certificate).verify_directly_issued_by(load(authority.certificate))


@pytest.mark.parametrize("left", ["gate.key", "gate.pem"])
def test_what_is_there_is_never_replaced_and_nothing_else_is_made(tmp_path: Path, left: str) -> None:
    issue(tmp_path, {"gate": []}, now=NOW)
    (tmp_path / ("gate.pem" if left == "gate.key" else "gate.key")).unlink()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=f"{left} is there already and is never replaced: move gate.pem and"):
        issue(tmp_path, {"yard": [], "gate": []}, now=NOW)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    authority, gate = issue(tmp_path, {"gate": []}, now=NOW, days=10**9)
    assert gate.expires == authority.expires
    with pytest.raises(UserError, match="has expired on 2036-11-26: make a new authority"):
        issue(tmp_path, {"yard": []}, now=authority.expires)


@pytest.mark.parametrize(
    ("name", "addresses", "sentence"),
    [
        ("gate/1", [], '"gate/1" is not a name of letters'),
        ("@", [], '"@" is not a name of letters'),
        ("*", [], "is not a name of letters"),
        ("gate one", [], "is not a name of letters"),
        ("", [], '"" is not a name of letters'),
        ("..", [], "is not a name of letters"),
        ("a" * 64, [], "of at most 63 characters"),
        ("ca", [], '"ca" is what the files of the authority are called'),
        ("gate", [""], 'gate: "" is neither an IP address nor a host name'),
        ("gate", ["10.0.0"], None),  # a host name, if an odd one
        ("gate", ["gate..lan"], 'gate: "gate..lan" is neither'),
        ("gate", ["fe80::1%eth0"], 'gate: "fe80::1%eth0" is neither'),
        ("gate", ["tls/10.0.0.5:7447"], 'gate: "tls/10.0.0.5:7447" is neither'),
    ],
)
def test_a_wrong_name_or_address_is_refused_before_anything_is_written(
    tmp_path: Path, name: str, addresses: list[str], sentence: str | None
) -> None:
    if sentence is None:
        issue(tmp_path, {name: addresses}, now=NOW)
        return
    with pytest.raises(UserError, match=sentence):
        issue(tmp_path / "certs", {name: addresses}, now=NOW)
    assert not (tmp_path / "certs").exists()


def test_a_name_that_is_no_host_name_has_a_certificate_too(tmp_path: Path) -> None:
    _, issued = issue(tmp_path, {"a..b": []}, now=NOW)
    assert issued.hosts == ("localhost", "127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("ca.key", None, "ca.pem is there but not ca.key"),
        ("ca.pem", None, "ca.key is there but not ca.pem"),
        ("ca.pem", b"junk", "ca.pem is no certificate in PEM"),
        ("ca.key", b"junk", "ca.key is no private key in PEM"),
    ],
)
def test_a_broken_authority_is_one_sentence(
    tmp_path: Path, file: str, content: bytes | None, sentence: str
) -> None:
    issue(tmp_path, {"gate": []}, now=NOW)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(UserError, match=sentence):
        issue(tmp_path, {"yard": []}, now=NOW)


def test_the_key_of_another_authority_is_refused(tmp_path: Path) -> None:
    issue(tmp_path / "ours", {"gate": []}, now=NOW)
    issue(tmp_path / "other", {"gate": []}, now=NOW)
    (tmp_path / "other/ca.key").rename(tmp_path / "ours/ca.key")
    with pytest.raises(UserError, match=r"ca.key is not the key of .*ca.pem"):
        issue(tmp_path / "ours", {"yard": []}, now=NOW)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/certs: Not a directory"):
        issue(tmp_path / "file/certs", {"gate": []}, now=NOW)
