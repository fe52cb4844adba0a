"""One link of the test bed: carries frames between two interfaces after a delay, or drops them while it is cut.

    python relay.py SOCKET    (in a network namespace of its own)

It says "ready" once it is in its namespace, reads one line from its input, "INTERFACE INTERFACE SECONDS", says
"ready" again, and then takes the words "cut" and "heal" at the Unix socket, where it answers with the same word
once it holds. It ends when its input does, so it never outlives who started it. (The kernel's own netem is not
everywhere.) Nothing of the project is imported, so that it starts in no time, for every link.
"""

from __future__ import annotations

import collections
import select
import socket
import sys
import time

SOL_PACKET = 263
PACKET_VNET_HDR = 15
"""Frames come with what the kernel has put off, checksums and segmentation: they need not be done twice."""
PACKET_IGNORE_OUTGOING = 23
ETH_P_ALL = 3
SO_SNDBUFFORCE, SO_RCVBUFFORCE = 32, 33
BUFFER_BYTES = 64 << 20
LARGEST_FRAME = 70_000
FRAMES_AT_ONCE = 64


def main() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.bind(sys.argv[1])
        control.listen()
        control.setblocking(False)
        print("ready", flush=True)
        first, second, delay = sys.stdin.readline().split()
        ends = interface(first), interface(second)
        print("ready", flush=True)
        carry(*ends, float(delay), control)


def interface(name: str) -> socket.socket:
    """All frames that arrive at an interface, and none that we send."""
    packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    packets.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    packets.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    packets.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
    packets.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_BYTES)
    packets.bind((name, 0))
    packets.setblocking(False)
    return packets


def carry(first: socket.socket, second: socket.socket, delay: float, control: socket.socket) -> None:
    waiting: collections.deque[tuple[float, socket.socket, bytes]] = collections.deque()
    other = {first.fileno(): (first, second), second.fileno(): (second, first)}
    poll = select.epoll()
    for file in (first, second, control, sys.stdin):
        poll.register(file, select.EPOLLIN)
    is_cut = False
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, target, frame = waiting.popleft()
            send(target, frame)
        for file, _ in poll.poll(max(0.0, waiting[0][0] - time.monotonic()) if waiting else None):
            if file in other:
                source, target = other[file]
                frames = receive(source)
                if not is_cut:
                    due = time.monotonic() + delay
                    waiting.extend((due, target, frame) for frame in frames)
            elif file == control.fileno():
                while receive(first) or receive(second):
                    continue  # what was under way by now is lost, whether it was cut before or is from now on
                waiting.clear()
                is_cut = obey(control)
            else:
                return


def obey(control: socket.socket) -> bool:
    """Take one word; whether the link is cut from now on."""
    caller, _ = control.accept()
    with caller:
        word = caller.recv(16)
        caller.send(word)
    return word == b"cut"


def receive(source: socket.socket) -> list[bytes]:
    """The frames that have come; a few at once, so that the other way is not forgotten."""
    frames: list[bytes] = []
    try:
        while len(frames) < FRAMES_AT_ONCE:
            frames.append(source.recv(LARGEST_FRAME))
    except OSError:  # there are no more, or the interface is down
        pass
    return frames


def send(target: socket.socket, frame: bytes) -> None:
    try:
        target.send(frame)
    except OSError:  # its buffer is full, or the interface is down: networks lose frames
        return


if __name__ == "__main__":
    main()
