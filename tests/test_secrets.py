"""Credentials get into addresses late and never come out in messages."""

from __future__ import annotations

import pytest

from flowedge import ConfigError
from flowedge.secrets import expand, redact


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("USER_NAME", "admin")
    monkeypatch.setenv("PASS", "p@s:s/w?")
    monkeypatch.setenv("HOST", "10.0.0.5:554")


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("rtsp://${USER_NAME}:${PASS}@${HOST}/x", "rtsp://admin:p%40s%3As%2Fw%3F@10.0.0.5:554/x"),
        ("http://${HOST}/x?pwd=${PASS}", "http://10.0.0.5:554/x?pwd=p%40s%3As%2Fw%3F"),
        ("${HOST}", "10.0.0.5:554"),
        ("/videos/${USER_NAME}/$PASS.mp4", "/videos/admin/$PASS.mp4"),
        ("rtsp://10.0.0.5/x", "rtsp://10.0.0.5/x"),
    ],
)
def test_references_are_filled_in_and_encoded_where_they_must_be(text, expanded):
    assert expand(text) == expanded


def test_a_missing_variable_is_named():
    with pytest.raises(ConfigError) as error:
        expand("rtsp://admin:hunter2@10.0.0.5/${NO_SUCH}")
    assert str(error.value) == "rtsp://10.0.0.5/${NO_SUCH}: the environment variable NO_SUCH is not set"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://admin:hunter2@10.0.0.5/x", "rtsp://10.0.0.5/x"),
        ("rtsp://admin:hun/ter@2@10.0.0.5/x", "rtsp://10.0.0.5/x"),
        ("rtsp://admin:hun?ter#2@10.0.0.5/x", "rtsp://10.0.0.5/x"),
        ("http://10.0.0.5/x?fps=5&Password=hunter2&a=b", "http://10.0.0.5/x?fps=5&Password=***&a=b"),
        ("http://10.0.0.5/x?access_token=hunter2", "http://10.0.0.5/x?access_token=***"),
        ("street.mp4", "street.mp4"),
    ],
)
def test_nothing_secret_is_shown(url, shown):
    assert redact(url) == shown
