"""Five good cameras beside one that is bad, in ten ways: what the good ones deliver, as a share of that alone.

    python -m tools.bad_cameras [--video FILE.mp4] [--seconds 12]

The cameras are served on this machine, and one graph decodes all six. The good ones are first run without the
bad one. A row is right where they deliver 98 % of that at least and the counts of every camera balance.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flowedge import Graph, UserError
from flowedge.monitor.report import CameraReport, Report
from flowedge.operators import Null, video
from flowedge.runtime.run import Run
from tools.rtsp_faults import write_clip
from tools.rtsp_server import RtspServer

GOOD, BAD, STREAM = 5, "bad", "stream"
LEAST_SHARE = 0.98
RTP_STEP = 90  # ticks of RTP's 90 kHz clock between two packets, 1000 a second
H264 = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track0\r\n"
AUDIO = "m=audio 0 RTP/AVP 0\r\na=control:track0\r\n"
OTHER_CODEC = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:track0\r\n"

Answer = Callable[[socket.socket], None]


def rtsp(media: str, play: Answer) -> Answer:
    """A camera that speaks RTSP over TCP: it describes `media`, then does what `play` does."""
    description = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n" + media

    def answer(client: socket.socket) -> None:
        with client.makefile("rb") as requests:
            while line := requests.readline():
                method, headers = line.split()[0].decode(), {}
                while header := requests.readline().decode().strip():
                    key, _, value = header.partition(":")
                    headers[key.lower()] = value.strip()
                lines, body = [f"CSeq: {headers.get('cseq', '1')}", "Session: 1"], ""
                match method:
                    case "OPTIONS":
                        lines.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY")
                    case "DESCRIBE":
                        body = description
                        lines += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
                    case "SETUP":
                        lines.append("Transport: RTP/AVP/TCP;unicast;interleaved=0-1")
                client.sendall(("\r\n".join(["RTSP/1.0 200 OK", *lines]) + "\r\n\r\n" + body).encode())
                if method == "PLAY":
                    play(client)
                    return

    return answer


def garbage(payload: Callable[[], bytes]) -> Answer:
    """1000 packets of RTP a second, of what is given."""

    def play(client: socket.socket) -> None:
        for index in range(1_000_000):
            packet = struct.pack(">BBHII", 0x80, 0x80 | 96, index & 0xFFFF, index * RTP_STEP & 0xFFFFFFFF, 1)
            packet += payload()
            client.sendall(b"$\0" + struct.pack(">H", len(packet)) + packet)
            time.sleep(0.001)

    return play


def _random_nal() -> bytes:
    return os.urandom(1200)


def _slice_without_key_frame() -> bytes:
    return b"\x41" + os.urandom(600)


def _junk(client: socket.socket) -> None:
    while True:
        client.sendall(os.urandom(4096))
        time.sleep(0.01)


def _nothing(_: socket.socket) -> None:
    pass


@contextmanager
def served(answer: Answer) -> Iterator[str]:
    """Answer every client in a thread of its own; the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def handle(client: socket.socket) -> None:
        with client:
            try:
                answer(client)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=handle, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"rtsp://127.0.0.1:{listener.getsockname()[1]}/{STREAM}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def slow(clip: Path, seconds: float) -> Iterator[str]:
    """A real camera whose first answer takes so long."""
    with RtspServer({STREAM: clip}) as server:

        def answer(client: socket.socket) -> None:
            time.sleep(seconds)
            with socket.create_connection((server.host, server.port)) as camera:
                threading.Thread(target=_pump, args=(camera, client), daemon=True).start()
                _pump(client, camera)

        with served(answer) as url:
            yield url


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        return


@contextmanager
def repeating(server: RtspServer, act: Callable[[int], None], pause: float) -> Iterator[str]:
    """A real camera to which something happens again and again; its address."""
    stop = threading.Event()

    def work() -> None:
        count = 0
        while not stop.wait(pause):
            act(count := count + 1)

    with server:
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            yield server.url(STREAM)
        finally:
            stop.set()
            thread.join()


@contextmanager
def refusing() -> Iterator[str]:
    """The address of a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    yield f"rtsp://127.0.0.1:{port}/{STREAM}"


@contextmanager
def wanting_a_password(clip: Path) -> Iterator[str]:
    with RtspServer({STREAM: clip}, credentials=("viewer", "secret")) as server:
        yield server.url(STREAM)


def ways(clips: tuple[Path, Path]) -> Mapping[str, Callable[[], object]]:
    """The ten ways of being bad: each makes a context that gives the camera's address."""
    first = clips[0]

    def closing(server: RtspServer) -> Callable[[int], None]:
        return lambda _: server.serve(STREAM, first)

    def changing(server: RtspServer) -> Callable[[int], None]:
        return lambda count: server.switch(STREAM, clips[count % 2])

    def freezing(server: RtspServer) -> Callable[[int], None]:
        return lambda _: server.freeze()

    def real(happens: Callable[[RtspServer], Callable[[int], None]], pause: float) -> Callable[[], object]:
        def make() -> object:
            server = RtspServer({STREAM: first})
            return repeating(server, happens(server), pause)

        return make

    return {
        "garbage H.264": lambda: served(rtsp(H264, garbage(_random_nal))),
        "closes every second": real(closing, 1.0),
        "refuses": refusing,
        "401": lambda: wanting_a_password(first),
        "answers after 7 s": lambda: slow(first, 7.0),
        "freezes": real(freezing, 2.0),
        "junk in place of RTSP": lambda: served(_junk),
        "size changes every second": real(changing, 1.0),
        "no key frames": lambda: served(rtsp(H264, garbage(_slice_without_key_frame))),
        "another codec than described": lambda: served(rtsp(OTHER_CODEC, garbage(_random_nal))),
        "no video": lambda: served(rtsp(AUDIO, _nothing)),
    }


def run(cameras: Mapping[str, str], seconds: float) -> tuple[Report, str]:
    """Run the cameras for a while; the report, and the state of the bad one at the end."""
    graph = Graph("six")
    video(graph, cameras) >> Null()
    try:
        with Run(graph) as running:
            running.finished_within(seconds)
            last = running.report().cameras.get(BAD)
            running.stop()
            running.finished_within(20.0)
        report = running.report()
    except UserError as error:
        sys.exit(f"the run ended: {error}")
    return report, f"{last.state} {last.reason}" if last else ""


def delivered(report: Report) -> list[int]:
    return [camera.delivered for name, camera in report.cameras.items() if name != BAD]


def balanced(camera: CameraReport) -> bool:
    ended = camera.delivered + camera.filtered + camera.failed + sum(camera.dropped.values())
    return camera.in_flight == 0 and camera.produced == ended


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="an MP4 file with H.264 video (default: one made for this)")
    parser.add_argument("--seconds", type=float, default=12.0, help="how long each run takes")
    options = parser.parse_args()
    logging.getLogger("rtsp_server").setLevel(logging.CRITICAL)
    logging.getLogger("flowedge").setLevel(logging.CRITICAL)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        first = options.video or write_clip(Path(folder, "first.mp4"), 640, 360)
        clips = (first, write_clip(Path(folder, "second.mp4"), 424, 240))
        with RtspServer({STREAM: first}) as server:
            good = {f"good{number}": server.url(STREAM) for number in range(GOOD)}
            alone = min(delivered(run(good, options.seconds)[0]))
            print(f"alone: {alone} frames of each good camera in {options.seconds:g} s\n")
            print(
                "| the bad camera | least of a good one | share | bad: produced, delivered | balance | state |"
            )
            print("|---|---|---|---|---|---|")
            for name, make in ways(clips).items():
                with make() as url:  # type: ignore[attr-defined]
                    report, state = run({**good, BAD: url}, options.seconds)
                least, bad = min(delivered(report)), report.cameras[BAD]
                balance = all(map(balanced, report.cameras.values())) and not report.error
                wrong += least < LEAST_SHARE * alone or not balance
                counts = f"{bad.produced}, {bad.delivered}"
                said = "yes" if balance else "NO"
                print(f"| {name} | {least} | {least / alone:.1%} | {counts} | {said} | {state} |", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
