"""Which address is read how, what is wrong with one that cannot be, and what a file gives."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from flowedge import ConfigError, Frame, Graph, Packet, SourceError
from flowedge.graph.contract import Detached
from flowedge.operators.decode import Decode
from flowedge.operators.video import Video, video


def read(url: str | Path, **options: object) -> list[Packet | Frame]:
    return list(Video({"north": str(url)}, **options).read("north", threading.Event()))


def test_a_file_gives_its_packets(clip):
    packets = read(clip)
    first = packets[0]
    assert isinstance(first, Packet)
    assert (len(packets), first.parameters.codec, first.keyframe) == (50, "h264", True)
    assert (first.origin.width, first.origin.height) == (64, 48)
    assert first.parameters.extradata
    assert first.data.base is not None  # a view of FFmpeg's memory
    assert [packet.origin.media for packet in packets] == pytest.approx([n / 25 for n in range(50)])
    assert packets[-1].origin.time - first.origin.time == pytest.approx(49 / 25)


def test_packets_are_numbered_as_they_come(b_clip):
    packets = read(b_clip)
    assert [p.origin.index for p in packets] == list(range(50))
    assert [p.pts for p in packets] != sorted(p.pts for p in packets)
    assert sorted(p.origin.media for p in packets) == pytest.approx([n / 25 for n in range(50)])


def test_a_live_file_keeps_its_pace_and_starts_at_once(make_clip):
    class Stop(threading.Event):
        waited = False

        def wait(self, timeout: float | None = None) -> bool:
            self.waited = True
            return super().wait(timeout)

    source, stop = Video({"north": str(make_clip("short.mp4", frames=8))}, as_live=True), Stop()
    began = time.monotonic()
    packets = source.read("north", stop)
    next(packets)
    assert not stop.waited
    assert len(list(packets)) == 7
    assert time.monotonic() - began >= 7 / 25


def test_stop_ends_a_waiting_file_at_once(clip):
    stop = threading.Event()
    packets = Video({"north": str(clip)}, as_live=True).read("north", stop)
    next(packets)
    stop.set()
    assert list(packets) == []


def test_sound_is_ignored(tmp_path):
    path = tmp_path / "sound.mkv"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        picture = container.add_stream("mpeg4", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        for _ in range(5):
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), layout="mono")
            samples.sample_rate = 8000
            container.mux(sound.encode(samples))
            container.mux(picture.encode(av.VideoFrame(64, 48, "yuv420p")))
        container.mux(picture.encode())
    assert [packet.parameters.codec for packet in read(path)] == ["mpeg4"] * 5


@pytest.fixture
def web(clip) -> Iterator[str]:
    """The address of a web server that has the folder of the clips."""
    handler = partial(SimpleHTTPRequestHandler, directory=clip.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_video_on_the_web_plays_at_its_pace_and_ends(web, make_clip, caplog):
    path = make_clip("short.mp4", frames=8)
    began = time.monotonic()
    assert len(read(f"{web}/{path.name}")) == 8
    assert time.monotonic() - began >= 7 / 25
    assert caplog.messages == []  # its end is no fault


def test_a_video_that_is_not_on_the_web_says_so(web):
    with pytest.raises(SourceError, match=r"^north: there is no such stream at http://127.0.0.1:\d+/no.mp4$"):
        read(web.replace("://", "://admin:hunter2@") + "/no.mp4")


@pytest.mark.parametrize("name", ["shot.jpg", "snapshot.cgi"])
def test_a_single_picture_of_a_camera_is_asked_for_again(web, clip, name, monkeypatch, caplog):
    monkeypatch.setattr("flowedge.video.camera.PICTURE_EVERY", 0.05)
    picture = clip.parent / name
    picture.write_bytes(cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes())
    stop, packets = threading.Event(), []
    for packet in Video({"north": f"{web}/{name}"}).read("north", stop):
        packets.append(packet)
        if len(packets) == 4:
            stop.set()
    origins = [packet.origin for packet in packets]
    assert [(origin.session, origin.index) for origin in origins] == [(0, 0), (0, 1), (0, 2), (0, 3)]
    assert all(later.media > earlier.media for earlier, later in pairwise(origins))
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


@contextmanager
def multipart(head: Callable[[int], bytes], greeting: bytes = b"") -> Iterator[str]:
    """A server that sends JPEG pictures without end, each after what `head` gives for its length."""
    picture = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))[1].tobytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
            self.end_headers()
            with contextlib.suppress(OSError):  # until the camera is left
                self.wfile.write(greeting)
                while True:
                    self.wfile.write(head(len(picture)) + picture + b"\r\n")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/video.cgi"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("greeting", "head"),
    [
        (b"--frame\r\n", b"--frame\r\nContent-type: image/jpeg\r\nContent-Length: LENGTH\r\n\r\n"),
        (b"", b"--frame\r\n\r\n"),
    ],
    ids=["boundary twice", "no header"],
)
def test_pictures_in_a_malformed_multipart_message_are_seen(greeting, head, monkeypatch):
    """As of Foscam cameras (go2rtc#1258), which browsers and VLC show."""
    monkeypatch.setattr("flowedge.video.camera.FIRST_PAUSE", 0.01)
    stop, values, decode = threading.Event(), [], Decode()
    with multipart(lambda length: head.replace(b"LENGTH", b"%d" % length), greeting) as url:
        for value in Video({"north": url}).read("north", stop):
            values.append(value if isinstance(value, Detached) else decode.process(value))
            if sum(isinstance(value, Frame) for value in values) == 5:
                stop.set()
    reasons = [value.reason for value in values if isinstance(value, Detached)]
    assert reasons == [f"north: {url} sends a malformed multipart message"]


@pytest.mark.parametrize(
    ("greeting", "head"),
    [(b"Welcome\r\n\r\n", b"--frame\r\nContent-type: image/jpeg\r\n\r\n"), (b"", b"frame\r\n\r\n"), (b"", b"")],
    ids=["greeting", "no dashes", "no message"],
)
def test_what_ffmpeg_takes_for_no_message_is_seen_at_once(greeting, head):
    stop, frames, decode = threading.Event(), [], Decode()
    with multipart(lambda _: head, greeting) as url:
        for value in Video({"north": url}).read("north", stop):
            frames.append(decode.process(value))
            if len(frames) == 3:
                stop.set()
    assert all(isinstance(frame, Frame) for frame in frames)


def test_a_page_on_the_web_is_no_video(web, clip):
    (clip.parent / "page.html").write_text("<html>" + 1000 * "text " + "</html>")
    with pytest.raises(SourceError, match=r"page.html is not a video that FFmpeg can read$"):
        read(f"{web}/page.html")


def test_a_part_without_end_is_passed_over_and_the_next_picture_seen(monkeypatch, caplog):
    """Of a part that claims 4 GB: what it sends is not gathered, whatever it begins with."""
    monkeypatch.setattr("flowedge.video.camera.FIRST_PAUSE", 0.01)
    monkeypatch.setattr("flowedge.video.multipart.LARGEST_PICTURE", 1 << 20)
    head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    junk = head % 4_000_000_000 + b"\xff\xd8\xff\xe0\x00\x04ab" + bytes(3 << 19)
    stop, frames, decode = threading.Event(), [], Decode()
    with multipart(lambda length: head % length, b"--frame\r\n" + junk) as url:
        source = Video({"north": url})
        for value in source.read("north", stop):
            frames += [] if isinstance(value, Detached) else [decode.process(value)]
            if len(frames) == 3:
                stop.set()
    assert all(isinstance(frame, Frame) for frame in frames)
    assert source.notes() == {"parts of north without a whole picture were passed over": 1}
    assert f"north: {url} sent 1 MiB without a whole picture" in caplog.text


def test_a_picture_on_the_web_that_is_not_live_is_one_frame(web, clip):
    (clip.parent / "bus.jpg").write_bytes(cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    assert len(read(f"{web}/bus.jpg", as_live=False)) == 1


@pytest.mark.parametrize(
    ("url", "live"),
    [
        ("rtsp://10.0.0.5/x", True),
        ("RTSPS://10.0.0.5/x", True),
        ("https://example.org/x.m3u8", True),
        ("/dev/video0", True),
        ("x.mp4", False),
        ("file:///x.mp4", False),
        ("street://", False),
        ("street://?live=1", True),
        ("${CAMERA}", True),
    ],
)
def test_the_address_says_whether_it_is_live(url, live, monkeypatch):
    monkeypatch.setenv("CAMERA", "rtsp://10.0.0.5/x")
    assert Video({"north": url}).live("north") is live
    assert Video({"north": url}, as_live=not live).live("north") is not live


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("rstp://admin:hunter2@10.0.0.5/x", 'unknown scheme "rstp"; did you mean "rtsp"?'),
        ("rtsp://", "rtsp:// names no host"),
        ("rtsp://admin:hunter2@/x", "names no host"),
        ("street://?peple=2", 'a street has no peple; did you mean "people"?'),
        ("", "an address is empty"),
        (
            "rtsp://10.0.0.5:70000/x",
            "5:70000/x is not an address: a port is a number from 1 to 65535",
        ),
        ("rtsp://10.0.0.5:0/x", "has port 0; a port is a number from 1 to 65535"),
        ("rtsp://[::1/x", "rtsp://[::1/x is not an address: its host is malformed"),
        ("file://server/x.mp4", "names a host; write file:///path"),
    ],
)
def test_an_address_that_cannot_be_right_is_refused_when_built(url, says):
    with pytest.raises(ConfigError) as error:
        Video({"north": url})
    assert says in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("/no/such.mp4", "not found", "north: /no/such.mp4 does not exist"),
        ("file:///no/such.mp4", "not found", "north: file:///no/such.mp4 does not exist"),
        ("pipe:0", "not found", "north: pipe:0 does not exist"),
        ("/dev/video99", "not found", "north: /dev/video99 does not exist"),
        (__file__, "codec", f"north: {__file__} is not a video that FFmpeg can read"),
    ],
)
def test_what_cannot_be_opened_is_said_at_once(url, kind, says):
    with pytest.raises(SourceError) as error:
        read(url)
    assert (error.value.kind, str(error.value)) == (kind, says)


def test_a_file_without_video_says_so(tmp_path):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 320), np.int16), layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
    with pytest.raises(SourceError, match=r"sound.wav has no video$"):
        read(path)


def test_a_missing_variable_is_named_when_the_camera_is_opened(monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    source = Video({"north": "rtsp://admin:${NO_SUCH}@10.0.0.5/x"})
    with pytest.raises(ConfigError, match="the environment variable NO_SUCH is not set"):
        list(source.read("north", threading.Event()))


def test_the_helper_names_camera_and_steps(clip):
    graph = Graph("example")
    frames = video(graph, str(clip))
    assert graph.carried(frames.wire) is Frame
    assert [node.name for node in graph.nodes] == ["video", "Decode"]
    video(graph, {"gate": str(clip)}, live=True, name="gate")
    assert [node.name for node in graph.nodes][2:] == ["gate", "gate.Decode"]
    assert graph.node("video").step.cameras == {"camera": str(clip)}
    assert graph.node("gate").step.live("gate")


def test_a_finished_read_leaves_no_file_open(clip, tmp_path):
    own = tmp_path / "own.mp4"  # other tests may still read the clip that they share
    own.write_bytes(clip.read_bytes())
    source = Video({"north": str(own)})
    packets = source.read("north", threading.Event())
    first = next(packets)
    packets.close()
    source.close()
    assert not any(own == link.resolve() for link in Path("/proc/self/fd").iterdir())
    assert first.data.any()  # a packet outlives its file


def test_declaring_a_graph_loads_neither_ffmpeg_nor_opencv():
    code = (
        "import sys; from flowedge import Graph; from flowedge.operators.video import video; "
        "video(Graph('g'), 'rtsp://10.0.0.5/x'); print({'av', 'cv2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_url_is_percent_decoded_and_a_path_is_not(clip, tmp_path):
    for name in ("a b.mp4", "a%20b.mp4"):
        shutil.copy(clip, tmp_path / name)
    (tmp_path / "a b.mp4").write_bytes((tmp_path / "a b.mp4").read_bytes()[:-2000])
    whole = len(read(f"{tmp_path}/a%20b.mp4"))
    assert whole == 50
    assert len(read(f"file://{tmp_path}/a%20b.mp4")) < whole
    assert len(read(f"FILE://{tmp_path}/a%2520b.mp4")) == whole


def test_how_long_to_wait_for_a_camera_is_checked():
    with pytest.raises(ConfigError, match=r"Video.connect_timeout: 0.0 is not a number of seconds above 0"):
        Video({"north": "rtsp://10.0.0.5/x"}, connect_timeout=0.0)


@pytest.mark.parametrize("name", ["2026-01-02T10:15:00.mp4", "concat:x.mp4", "rtsp.mp4"])
def test_a_path_that_looks_like_an_address_is_a_path(name, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, name)
    assert len(read(name)) == len(read(f"file://{tmp_path}/{name}")) == 50


def test_time_stamps_that_are_not_believed_are_noted(tmp_path):
    """A recording that leaps by an hour in its midst."""
    path = tmp_path / "leap.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 9 * index, np.uint8), format="rgb24")
            picture.pts = index if index < 5 else index + 90_000
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    source = Video({"north": str(path)})
    assert source.notes() == {}
    assert len(list(source.read("north", threading.Event()))) == 10
    assert source.notes() == {"time stamps of north were not believed": 1}
