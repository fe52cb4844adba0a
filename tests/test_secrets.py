"""Credentials get into addresses late and never come out in messages."""

from __future__ import annotations

import pytest

from flowedge import ConfigError
from flowedge.secrets import check_user_part, expand, redact


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
        (
            "rtsp://${HOST}/user=a_password=${PASS}_x=1",
            "rtsp://10.0.0.5:554/user=a_password=p%40s%3As%2Fw%3F_x=1",
        ),
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
        (
            "rtsp://10.0.0.5:554/user=admin_password=tlJwpbo6_channel=1_stream=0.sdp?real_stream",
            "rtsp://10.0.0.5:554/user=***_password=***_channel=1_stream=0.sdp?real_stream",
        ),
        (
            "rtsp://10.0.0.5/user=admin_password=hunter_two_channel=1",
            "rtsp://10.0.0.5/user=***_password=***_channel=1",
        ),
        (
            "http://10.0.0.5:81/videostream.cgi?loginuse=admin&loginpas=hunter",
            "http://10.0.0.5:81/videostream.cgi?loginuse=***&loginpas=***",
        ),
        ("rtsp://10.0.0.5/11?usr=admin&pw=hunter", "rtsp://10.0.0.5/11?usr=***&pw=***"),
        ("rtsp://admin:hunter2/street", "rtsp://admin:***/street"),
        ("rtsp://10.0.0.5/x?p=hunter", "rtsp://10.0.0.5/x?p=***"),
        ("rtsp://10.0.0.5/0/admin:12345/main", "rtsp://10.0.0.5/0/***/main"),
        ("rtsp://10.0.0.5/live/admin/hunter/ch1", "rtsp://10.0.0.5/live/admin/***/ch1"),
        ("rtsps://10.0.0.5:7441/AbX3dEf9GhIj?enableSrtp", "rtsps://10.0.0.5:7441/***?enableSrtp"),
        ("https://cam.example/hls/9f86d081884c7d659a2f/index.m3u8", "https://cam.example/hls/***/index.m3u8"),
        ("redis://:hunter2@10.0.0.9:6379/0", "redis://10.0.0.9:6379/0"),
        ("redis://10.0.0.9/0?password=hunter2&db=3", "redis://10.0.0.9/0?password=***&db=3"),
        ("mqtts://edge:hunter2@10.0.0.9:8883/street/north", "mqtts://10.0.0.9:8883/street/north"),
        ("rtsp://admin:hun ter'2@10.0.0.5/x", "rtsp://10.0.0.5/x"),
        ("rtsp//admin:hunter2@10.0.0.5/x", "rtsp//***@10.0.0.5/x"),
        ("admin:hunter2@10.0.0.5/x and more", "***@10.0.0.5/x and more"),
        ("http://10.0.0.5/snapshot?hunter2", "http://10.0.0.5/snapshot?***"),
        ("http://10.0.0.5/mjpeg?640x480#hunter2", "http://10.0.0.5/mjpeg?640x480#***"),
        (
            "['rtsp://admin:hunter2@10.0.0.5/x', 'http://b:hunter2@10.0.0.6/y?pw=hunter2'] is wrong",
            "['rtsp://10.0.0.5/x', 'http://10.0.0.6/y?pw=***'] is wrong",
        ),
        ("rtsp://10.0.0.5/x?pwd=${PASS}", "rtsp://10.0.0.5/x?pwd=${PASS}"),
        ("rtsp://10.0.0.5:554/sites/north@yard/1", "rtsp://10.0.0.5:554/sites/***/1"),
        # What cameras' users need to see stays.
        ("rtsp://10.0.0.5/Streaming/Channels/101", "rtsp://10.0.0.5/Streaming/Channels/101"),
        ("rtsp://10.0.0.5/h264Preview_01_main", "rtsp://10.0.0.5/h264Preview_01_main"),
        (
            "rtsp://10.0.0.5/cam/realmonitor?channel=1&subtype=0",
            "rtsp://10.0.0.5/cam/realmonitor?channel=1&subtype=0",
        ),
        (
            "http://10.0.0.5/axis-cgi/mjpg/video.cgi?resolution=640x480",
            "http://10.0.0.5/axis-cgi/mjpg/video.cgi?resolution=640x480",
        ),
        ("file:///home/me@work/a1b2c3d4e5.mp4", "file:///home/me@work/a1b2c3d4e5.mp4"),
        ("rtsp://admin:hun/ter@2@10.0.0.5/x", "rtsp://10.0.0.5/x"),
        ("rtsp://admin:hun?ter#2@10.0.0.5/x", "rtsp://10.0.0.5/x"),
        ("http://10.0.0.5/x?fps=5&Password=hunter2&a=b", "http://10.0.0.5/x?fps=5&Password=***&a=b"),
        ("http://10.0.0.5/x?access_token=hunter2", "http://10.0.0.5/x?access_token=***"),
        ("street.mp4", "street.mp4"),
    ],
)
def test_nothing_secret_is_shown(url, shown):
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "raw"),
    [
        ("rtsp://admin:s3cret#88@127.0.0.1:554/street", "#"),
        ("rtsp://admin:s3cret/88@127.0.0.1:554/street", "/"),
        ("rtsp://admin:s3cret?88@127.0.0.1:554/street", "?"),
        ("rtsp://admin:12/34@127.0.0.1/street", "/"),
        ("rtsp://admin:a@b/c@127.0.0.1/street", "/"),
        ("http://admin:/x@cam.example/street", "/"),
    ],
)
def test_a_raw_character_in_the_user_part_is_refused_without_showing_it(url, raw):
    with pytest.raises(ConfigError, match=r"write \$\{CAM_PASS\} in its place") as error:
        check_user_part(url)
    assert f'holds "{raw}"' in str(error.value)
    assert not any(
        secret in str(error.value) for secret in ("s3cret", "88", "12", "34", "admin") if secret != "12"
    )


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://${CAM_USER}:${CAM_PASS}@10.0.0.5/street",
        "rtsp://admin:a%2Fb@10.0.0.5/street",
        "rtsp://10.0.0.5:554/sites/north@yard",
        "http://cam:8080/x?mail=a@b",
        "http://cam/x?mail=a@b.example",
        "rtsp://[::1]:554/a@b",
        "${CAM}",
        "file:///a:b/c@d.mp4",
        "street://?seed=1",
        "C:/videos/a@b.mp4",
    ],
)
def test_other_addresses_are_not_refused(url):
    check_user_part(url)
