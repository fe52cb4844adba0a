"""The reference RTSP server of the tests: GStreamer's, as independent of FlowEdge as can be.

It runs under the system's Python, with packages from Debian:

    apt install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good \
        gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    /usr/bin/python3 tools/gst_rtsp_server.py [--file street.mp4] [--user U --password P]

It loops an H.264 MP4 file as it is, or without --file encodes a test picture; then it prints its URL.
"""

import argparse
import itertools
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def pipeline(options: argparse.Namespace) -> str:
    """Describe the stream's source, up to the payloader that gst-rtsp-server looks for."""
    if options.file:
        source = "appsrc name=source format=time"
    else:
        width, height = options.size.lower().split("x")
        source = (
            f"videotestsrc ! video/x-raw,width={width},height={height},framerate={options.fps}/1 ! timeoverlay"
            " ! video/x-raw,format=I420"
            f" ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max={options.fps}"
        )
    # The payloader would repeat the parameter sets before each slice of a key frame, the parser does not.
    return f"( {source} ! h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96 )"


def read_pictures(path: str) -> tuple[Gst.Caps, list[tuple[bytes, int, int]]]:
    """Read what a file holds, and its coded pictures: each with its PTS and DTS, in decoding order."""
    source = f'filesrc location="{path}"'
    reader = Gst.parse_launch(f"{source} ! qtdemux ! h264parse ! appsink name=sink sync=false")
    reader.set_state(Gst.State.PLAYING)
    pictures, caps = [], None
    while sample := reader.get_by_name("sink").emit("try-pull-sample", 2 * Gst.SECOND):
        caps, buffer = sample.get_caps(), sample.get_buffer()
        pictures.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts, buffer.dts))
    reader.set_state(Gst.State.NULL)
    if caps is None:
        sys.exit(f"{path} has no H.264 video in an MP4 container.")
    return caps, pictures


def feed(media: GstRtspServer.RTSPMedia, caps: Gst.Caps, pictures: list[tuple[bytes, int, int]]) -> None:
    """Push the pictures round and round; a demuxer that seeks back would not keep the time."""
    span = pictures[-1][2] - pictures[0][2]
    lap = span + span // max(len(pictures) - 1, 1)
    queue = ((start, *picture) for start in itertools.count(0, lap) for picture in pictures)

    def push(source: Gst.Element, _size: int) -> None:
        start, data, pts, dts = next(queue)
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts, buffer.dts = start + pts, start + dts
        source.emit("push-buffer", buffer)

    source = media.get_element().get_by_name("source")
    source.set_property("caps", caps)
    source.connect("need-data", push)


def require_password(server: GstRtspServer.RTSPServer, user: str, password: str) -> None:
    """Let only this user in, by Digest; what the role may do is up to the factory."""
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    auth.add_digest(user, password, token)
    server.set_auth(auth)


def main() -> None:
    """Serve one stream until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--file", help="an MP4 file with H.264 video")
    parser.add_argument("--size", default="320x240", help="of the test picture (default: %(default)s)")
    parser.add_argument("--fps", type=int, default=25, help="of the test picture (default: %(default)s)")
    parser.add_argument("--port", type=int, default=8555, help="default: %(default)s; 0 picks a free one")
    for name, value in (("host", "127.0.0.1"), ("path", "stream"), ("user", None), ("password", None)):
        parser.add_argument(f"--{name}", default=value)
    options = parser.parse_args()

    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(options))
    factory.set_shared(True)
    if options.file:
        content = read_pictures(options.file)
        factory.connect("media-configure", lambda _factory, media: feed(media, *content))
    server = GstRtspServer.RTSPServer(address=options.host, service=str(options.port))
    if options.user:
        require_password(server, options.user, options.password or "")
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", right, True)
        factory.set_permissions(permissions)
    path = "/" + options.path.strip("/")
    server.get_mount_points().add_factory(path, factory)
    if not server.attach(None):
        sys.exit(f"Port {options.port} of {options.host} cannot be listened on.")
    print(f"rtsp://{options.host}:{server.get_bound_port()}{path}", flush=True)
    loop = GLib.MainLoop()
    for end in (signal.SIGINT, signal.SIGTERM):
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, end, loop.quit)
    loop.run()


if __name__ == "__main__":
    main()
