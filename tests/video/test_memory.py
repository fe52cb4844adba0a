"""No sender can make FFmpeg take memory without limit."""

from __future__ import annotations

import subprocess
import sys

CODE = """
from collections import Counter
import socketserver, threading
import av
from flowedge import SourceError
from flowedge.video.ffmpeg import HTTP, RTSP, Feed
from flowedge.video.memory import LARGEST_BLOCK, limit_blocks

class Liar(socketserver.BaseRequestHandler):
    def handle(self):
        asked = self.request.recv(4096)
        if asked.startswith(b"GET"):
            head = b"HTTP/1.1 200 OK\\r\\nContent-Type: multipart/x-mixed-replace; boundary=frame\\r\\n\\r\\n"
            part = b"--frame\\r\\nContent-Type: image/jpeg\\r\\nContent-Length: 4000000000\\r\\n\\r\\n"
            self.answer(head + part)
        options = b"RTSP/1.0 200 OK\\r\\nCSeq: 1\\r\\nPublic: OPTIONS, DESCRIBE, SETUP, PLAY\\r\\n\\r\\n"
        self.request.sendall(options)
        self.request.recv(4096)
        sdp = b"RTSP/1.0 200 OK\\r\\nCSeq: 2\\r\\nContent-Type: application/sdp\\r\\n"
        self.answer(sdp + b"Content-Length: 1073741824\\r\\n\\r\\n")

    def answer(self, head):
        try:
            self.request.sendall(head)
            for _ in range(320):  # more than twice what may be taken at a time
                self.request.sendall(bytes(1 << 20))
        except OSError:
            pass

def peak():
    return next(int(line.split()[1]) >> 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Liar) as server:
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for scheme, access in (("http", HTTP), ("rtsp", RTSP)):
        try:
            with Feed("north", f"{scheme}://127.0.0.1:{server.server_address[1]}/x", access, Counter()) as feed:
                list(feed.read())
        except SourceError as error:
            print(error)
        print(scheme, peak() < 256)
    server.shutdown()
assert limit_blocks()
try:
    av.Packet(LARGEST_BLOCK)
except MemoryError:
    print("refused")
"""


def test_a_part_of_4_gb_and_a_description_of_1_gib_are_refused():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=300)
    assert "http True" in done.stdout
    assert "rtsp True" in done.stdout
    assert "refused" in done.stdout
