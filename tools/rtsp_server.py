"""A camera made of a file: an RTSP server that loops H.264 videos for ever, with faults on cue.

From the shell, to try FlowEdge without a camera:

    python tools/rtsp_server.py street.mp4 --port 8554 --path stream

In a test or benchmark, where the server runs its asyncio loop in a thread of its own:

    with RtspServer({"stream": "street.mp4"}) as server:
        play(server.url("stream"))
        server.freeze()  # the camera hangs
        server.thaw()
        server.stop()  # the camera has lost power
        server.start()

Every client sees the video from its first key frame on, at the pace it was recorded, over TCP
(interleaved) or UDP unicast. Nothing is decoded, so a stream costs very little; the whole video
stays in memory.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import signal
import ssl
import sys
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

if not __package__:  # run as a script: `tools` lies one folder up
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tools.rtp import CLOCK_RATE, Clip, ClipError, RtpStream, Timeline, load_clip
from tools.rtsp_channels import Channel, SlowClientError, open_channel
from tools.rtsp_messages import TRACK, Authenticator, Response, RtspError, RTSPRequest

log = logging.getLogger("rtsp_server")

METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
SESSION_TIMEOUT = 60  # seconds; clients send a keep-alive more often than that
REPORT_INTERVAL = 3.0  # seconds between RTCP sender reports
MAX_BODY = 64 << 10  # bytes of a request's body


class Connection:
    """One client: its requests are answered, and its video is sent by a task beside."""

    def __init__(self, server: RtspServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Wrap the streams of an accepted connection."""
        self.stream = ""
        self._server, self._reader, self._writer = server, reader, writer
        self._peer = writer.get_extra_info("peername")[0]
        self._auth = Authenticator(*server.credentials) if server.credentials else None
        self._session: str | None = None
        self._channel: Channel | None = None
        self._rtp = RtpStream()
        self._player: asyncio.Task[None] | None = None

    @property
    def playing(self) -> bool:
        """Whether video is being sent."""
        return self._player is not None

    def abort(self) -> None:
        """Cut the connection at once, whatever is still unsent."""
        self._writer.transport.abort()
        if self._player:
            self._player.cancel()

    async def run(self) -> None:
        """Answer requests until the client leaves, then release everything."""
        try:
            while await self._answer_one():
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError):
            pass  # the client is gone, or what it speaks is not RTSP
        finally:
            await self._end_session()
            self._writer.close()

    async def _answer_one(self) -> bool:
        """Read and answer one request; false if no other can follow."""
        start = await self._reader.readexactly(1)
        if start == b"$":  # the client's RTCP, interleaved like ours
            _channel, *length = await self._reader.readexactly(3)
            await self._reader.readexactly(int.from_bytes(length, "big"))
            return True
        text = (start + await self._reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
        await self._server.running.wait()
        request = None
        try:
            request = RTSPRequest.parse(text)
            await self._skip_body(request)
            response = await self._respond(request)
        except RtspError as error:
            response = Response(error.status, error.headers)
        self._writer.write(response.encode(request.headers.get("cseq") if request else None))
        if request and request.method == "PLAY" and response.status == 200:
            self._player = self._player or asyncio.create_task(self._play())
        await self._writer.drain()
        # After a malformed request there is no telling where the next one starts.
        return response.status not in (400, 413)

    async def _skip_body(self, request: RTSPRequest) -> None:
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal()):
            raise RtspError(400)
        if int(length) > MAX_BODY:
            raise RtspError(413)
        await self._reader.readexactly(int(length))

    async def _respond(self, request: RTSPRequest) -> Response:
        if request.version != "RTSP/1.0":
            raise RtspError(505)
        if "cseq" not in request.headers:
            raise RtspError(400)
        if request.method == "OPTIONS":
            return Response(headers=[("Public", METHODS)])
        if self._auth:
            self._auth.check(request)
        if request.session not in (None, self._session):
            raise RtspError(454)
        match request.method:
            case "DESCRIBE":
                return self._describe(request)
            case "SETUP":
                return await self._setup(request)
            case "PLAY":
                return self._start_playing(request)
            case "GET_PARAMETER":  # what clients send to keep a session alive
                return Response(headers=self._session_header())
            case "TEARDOWN":
                return await self._teardown()
        raise RtspError(405, ("Allow", METHODS))

    def _describe(self, request: RTSPRequest) -> Response:
        clip = self._server.clip(request.stream)
        headers = [("Content-Base", request.uri.rstrip("/") + "/"), ("Content-Type", "application/sdp")]
        return Response(headers=headers, body=clip.sdp())

    async def _setup(self, request: RTSPRequest) -> Response:
        self._server.clip(request.stream)  # or 404
        if self.playing:
            raise RtspError(455)
        channel = await open_channel(request.headers.get("transport", ""), self._writer.transport)
        await self._end_session()
        self._channel, self.stream = channel, request.stream
        self._session = secrets.token_hex(16)
        return Response(headers=[("Transport", channel.header), *self._session_header()])

    def _start_playing(self, request: RTSPRequest) -> Response:
        self._server.clip(request.stream)  # or 404
        if not self._session:
            raise RtspError(455)
        track = request.uri.rstrip("/").removesuffix(f"/{TRACK}") + f"/{TRACK}"
        info = f"url={track};seq={self._rtp.sequence};rtptime={self._rtp.timestamp(0)}"
        return Response(headers=[("RTP-Info", info), *self._session_header()])

    async def _teardown(self) -> Response:
        if not self._session:
            raise RtspError(454)
        await self._end_session()
        return Response()

    def _session_header(self) -> list[tuple[str, str]]:
        return [("Session", f"{self._session};timeout={SESSION_TIMEOUT}")] if self._session else []

    async def _play(self) -> None:
        """Send the stream's video for ever; cut the connection when that fails."""
        log.info("%s plays %s", self._peer, self.stream)
        try:
            await self._send_video()
        except SlowClientError:
            log.warning("%s reads %s too slowly and is disconnected", self._peer, self.stream)
            self.abort()
        except Exception:
            log.exception("%s is disconnected from %s", self._peer, self.stream)
            self.abort()

    async def _send_video(self) -> None:
        """Send every access unit when its time on the timeline has come."""
        assert self._channel is not None
        clock = asyncio.get_running_loop().time
        timeline = Timeline(self._server.clip(self.stream))
        epoch = next_report = clock() - timeline.due / CLOCK_RATE
        while True:
            await asyncio.sleep(epoch + timeline.due / CLOCK_RATE - clock())
            if not self._server.running.is_set():
                await self._server.running.wait()
                timeline.skip_to(round((clock() - epoch) * CLOCK_RATE))
            if timeline.clip is not (clip := self._server.clip(self.stream)):
                timeline.switch(clip)
                continue
            if clock() >= next_report:
                next_report = clock() + REPORT_INTERVAL
                now = round((clock() - epoch) * CLOCK_RATE)
                self._channel.report(self._rtp.sender_report(time.time(), now))
            await self._channel.send(self._rtp.packets(timeline.unit.nals, timeline.captured))
            timeline.advance()

    async def _end_session(self) -> None:
        player, self._player = self._player, None
        if player:
            player.cancel()
            with suppress(asyncio.CancelledError):
                await player
        if self._channel:
            self._channel.close()
        self._channel = self._session = None
        self._rtp = RtpStream()


class RtspServer:
    """Serves files as live RTSP streams, from a thread of its own, while used as a context.

    `streams` maps names (the paths of the URLs) to files. With `port` 0 the system picks a port,
    which the server keeps through `stop` and `start`. `tls` is a certificate and its key, both
    PEM files. Methods may be called from any thread and have taken effect when they return.
    """

    def __init__(
        self,
        streams: Mapping[str, Path | str],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        credentials: tuple[str, str] | None = None,
        tls: tuple[Path | str, Path | str] | None = None,
        fps: float | None = None,
    ) -> None:
        """Load the files; a `ClipError` says which of them cannot be served, and why."""
        self.host, self.port, self.credentials, self.fps = host, port, credentials, fps
        self.running = asyncio.Event()  # cleared while the server is frozen
        self.running.set()
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self._tls.load_cert_chain(*tls)
        self._clips = {name: load_clip(path, fps) for name, path in streams.items()}
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._listener: asyncio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start to listen."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtsp-server", daemon=True)
        self._thread.start()
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect everybody, release the port and end the thread."""
        assert self._loop is not None
        assert self._thread is not None
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, name: str) -> str:
        """The address of a stream, without credentials."""
        return f"{'rtsps' if self._tls else 'rtsp'}://{self.host}:{self.port}/{quote(name)}"

    @property
    def clients(self) -> int:
        """How many clients are playing."""
        return sum(connection.playing for connection in tuple(self._connections))

    def start(self) -> None:
        """Listen (again), on the same port as before."""
        self._run(self._listen())

    def stop(self) -> None:
        """Fall silent as a camera that loses power: no listener, every connection cut."""
        self._run(self._shut())

    def freeze(self) -> None:
        """Hang: connections are kept and even accepted, but nothing is sent or answered."""
        self._run(self._set_running(False))

    def thaw(self) -> None:
        """Go on after `freeze`: the next picture follows, its timestamp tells of the gap."""
        self._run(self._set_running(True))

    def serve(self, name: str, path: Path | str) -> None:
        """Show another file under this name; who is connected to it is disconnected."""
        self._run(self._replace(name, load_clip(path, self.fps)))

    def switch(self, name: str, path: Path | str) -> None:
        """Go on with another file in the midst of all sessions, from its first key frame."""
        self._clips[name] = load_clip(path, self.fps)

    def clip(self, name: str) -> Clip:
        """The video that a stream shows now."""
        try:
            return self._clips[name]
        except KeyError:
            raise RtspError(404) from None

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        assert self._loop is not None, "use the server in a with statement"
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._tls)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _shut(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        await self._cut(list(self._connections))

    async def _set_running(self, running: bool) -> None:
        if running:
            self.running.set()
        else:
            self.running.clear()

    async def _replace(self, name: str, clip: Clip) -> None:
        self._clips[name] = clip
        await self._cut([connection for connection in self._connections if connection.stream == name])

    async def _cut(self, connections: Sequence[Connection]) -> None:
        tasks = [self._connections[connection] for connection in connections]
        for connection, task in zip(connections, tasks, strict=True):
            connection.abort()
            task.cancel()  # one that waits for a thaw would not notice the abort
        await asyncio.gather(*tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._listener is None or task is None:  # stopped since the connection came in
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        self._connections[connection] = task
        try:
            # Cancelled by `_cut` alone, as its last act; asyncio would log the cancellation.
            with suppress(asyncio.CancelledError):
                await connection.run()
        finally:
            del self._connections[connection]


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve one file until interrupted."""
    parser = argparse.ArgumentParser(description="Loop an H.264 file as a live RTSP stream.")
    parser.add_argument("file", type=Path, metavar="FILE", help="an MP4 or Matroska file with H.264 video")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8554, help="default: %(default)s; 0 picks a free one")
    parser.add_argument("--path", default="stream", help="path of the URL (default: %(default)s)")
    parser.add_argument("--user", help="ask clients for this user name")
    parser.add_argument("--password", help="ask clients for this password")
    parser.add_argument("--fps", type=float, help="pictures a second, if not as recorded")
    options = parser.parse_args(arguments)
    if (options.user is None) != (options.password is None):
        parser.error("--user and --password go together")
    if options.fps is not None and not options.fps > 0:
        parser.error("--fps has to be above zero")
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    # The server's thread inherits the mask, so that `sigwait` alone sees the signals.
    ends = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    path = options.path.strip("/")
    credentials = (options.user, options.password) if options.user is not None else None
    try:
        with RtspServer(
            {path: options.file},
            host=options.host,
            port=options.port,
            credentials=credentials,
            fps=options.fps,
        ) as server:
            print(f"{options.file} plays at {server.url(path)}; Ctrl-C ends it.", flush=True)
            signal.sigwait(ends)
    except (ClipError, OSError) as error:
        parser.exit(2, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    main()
