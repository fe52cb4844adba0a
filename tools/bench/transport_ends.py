"""The two processes of one 1080p hop, by several means; `tools.bench.transports` runs them and compares.

    python -m tools.bench.transport_ends send|receive MEANS FOLDER FRAMES

The sender begins when the file `ready` is in the folder. It sends FRAMES pictures at 30 frames/s, then five
times as many as fast as the receiver takes them, at most `WINDOW` at a time. Every picture begins with the time
at which it was handed over; the receiver reads it when it has the pixels, looks at one byte of every page of
them, and leaves its figures in the file `figures`.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

HEIGHT, WIDTH = 1080, 1920
BYTES = HEIGHT * WIDTH * 3
WINDOW = 4
RATE = 30.0
FLOOD = 5  # times as many pictures in the second part


class Ours:
    """A `Frame` as a run sends it to a worker: block, pool, request over Zenoh, and back. BGR pixels."""

    def __init__(self, folder: Path, sends: bool) -> None:
        import zenoh

        from flowedge.plane.topics import connect, open_router
        from flowedge.plane.transports import requests
        from flowedge.plane.transports.shared_memory import Pool, Views
        from flowedge.wire import blocks

        self.requests, self.blocks = requests, blocks
        place = folder / "endpoint"
        if sends:
            self.pool, self.index = Pool("sender", WINDOW * 7_000_000), 0
            self.session, endpoint = open_router()
            self.publisher = self.session.declare_publisher(
                "flowedge/hop", congestion_control=zenoh.CongestionControl.BLOCK, express=True
            )
            place.with_suffix(".partial").write_text(endpoint)
            place.with_suffix(".partial").rename(place)
        else:
            self.views, self.held = Views("receiver"), None
            self.session = connect(appeared(place).read_text())
            self.messages = self.session.declare_subscriber("flowedge/hop", zenoh.handlers.FifoChannel(WINDOW))

    def ready(self) -> None:
        """What is put before the subscriber has matched is lost."""
        while not self.publisher.matching_status.matching:
            time.sleep(0.001)

    def pictures(self) -> Iterator[tuple[Any, Picture]]:
        """Frames to send, and the bytes that the time is written into."""
        for image in arrays():
            yield self.frame(image), image

    def frame(self, picture: Any) -> Any:
        from flowedge.values import Frame, Origin

        return Frame(Origin("camera", monotonic=time.monotonic(), width=WIDTH, height=HEIGHT), picture)

    def send(self, frame: Any) -> None:
        slot = self.pool.write(self.blocks.block(frame), ("receiver",), timeout=30)
        assert slot is not None
        self.publisher.put(self.requests.pack(self.index, "Detect.1", self.requests.Request(slot)))
        self.index += 1

    def receive(self) -> Picture:
        request: Any = self.requests.unpack(self.messages.recv().payload.to_bytes()).message
        frame: Any = self.blocks.decode(self.views.read(request.slot))
        return self.shown(frame.picture)

    def shown(self, picture: Any) -> Picture:
        """The bytes of a picture."""
        return picture.reshape(-1)  # type: ignore[no-any-return]

    def close(self) -> None:
        self.session.close()


class OursNative(Ours):
    """The same with the decoder's own picture, in YUV 4:2:0: half the bytes."""

    def pictures(self) -> Iterator[tuple[Any, Picture]]:
        import av

        for image in arrays():
            picture = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")
            yield self.frame(picture), np.frombuffer(memoryview(picture.planes[0]), np.uint8)

    def shown(self, picture: Any) -> Picture:
        for plane in picture.planes[1:]:
            touch(np.frombuffer(memoryview(plane), np.uint8))
        return np.frombuffer(memoryview(picture.planes[0]), np.uint8)


class Iceoryx:
    """iceoryx2 alone, numpy to numpy: one copy into the loaned sample, an event to wake the receiver."""

    def __init__(self, folder: Path, sends: bool) -> None:
        import iceoryx2

        self.iceoryx2 = iceoryx2
        iceoryx2.set_log_level(iceoryx2.LogLevel.Error)
        mode = iceoryx2.SignalHandlingMode.Disabled
        node = iceoryx2.NodeBuilder.new().signal_handling_mode(mode).create(iceoryx2.ServiceType.Ipc)
        name = iceoryx2.ServiceName.new(f"{folder.name}/pictures")
        service = (
            node.service_builder(name)
            .publish_subscribe(iceoryx2.Slice[ctypes.c_uint8])
            .enable_safe_overflow(False)
            .subscriber_max_buffer_size(WINDOW)
            .subscriber_max_borrowed_samples(2)
            .open_or_create()
        )
        wake = node.service_builder(iceoryx2.ServiceName.new(f"{folder.name}/wake")).event().open_or_create()
        self.kept: Any = (node, service, wake)
        if sends:
            until = iceoryx2.BackpressureStrategy.RetryUntilDelivered
            builder = service.publisher_builder().initial_max_slice_len(BYTES)
            self.publisher = builder.backpressure_strategy(until).create()
            self.notifier = wake.notifier_builder().create()
        else:
            self.subscriber = service.subscriber_builder().create()
            self.listener = wake.listener_builder().create()

    def ready(self) -> None:
        pass

    def pictures(self) -> Iterator[tuple[Any, Picture]]:
        for image in arrays():
            yield image, image

    def send(self, picture: Picture) -> None:
        sample = self.publisher.loan_slice_uninit(BYTES)
        view = np.asarray(sample.payload().as_memory_view())
        np.copyto(view, picture.reshape(-1))
        del view
        sample.assume_init().send()
        self.notifier.notify()

    def receive(self) -> Picture:
        while (sample := self.subscriber.receive()) is None:
            self.listener.timed_wait(self.iceoryx2.Duration.from_millis(200))
        self.sample = sample
        return np.asarray(sample.payload().as_memory_view())

    def close(self) -> None:
        pass


class Zmq:
    """pyzmq PUSH and PULL over ipc, without copies on the Python side."""

    def __init__(self, folder: Path, sends: bool) -> None:
        import zmq

        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUSH if sends else zmq.PULL)
        self.socket.set_hwm(WINDOW)
        self.socket.setsockopt(zmq.LINGER, 30_000)
        address = f"ipc://{folder}/socket"
        (self.socket.connect if sends else self.socket.bind)(address)

    def ready(self) -> None:
        pass

    def pictures(self) -> Iterator[tuple[Any, Picture]]:
        for image in arrays():
            yield image, image

    def send(self, picture: Picture) -> None:
        self.socket.send(picture.tobytes(), copy=False)  # its thread sends later, from what may not change

    def receive(self) -> Picture:
        return np.frombuffer(self.socket.recv(copy=False).buffer, np.uint8)

    def close(self) -> None:
        self.socket.close()
        self.context.term()


class Dora:
    """Two Python nodes of dora-rs, started by `dora run`; the receiver acknowledges what it has."""

    def __init__(self, _folder: Path, _sends: bool) -> None:
        import dora
        import pyarrow

        self.node, self.arrow, self.outstanding = dora.Node(), pyarrow, 0

    def ready(self) -> None:
        pass

    def pictures(self) -> Iterator[tuple[Any, Picture]]:
        for image in arrays():
            yield image, image

    def send(self, picture: Picture) -> None:
        while self.outstanding >= WINDOW:
            self.outstanding -= self._next()["type"] == "INPUT"
        self.node.send_output("picture", self.arrow.array(picture.reshape(-1)))
        self.outstanding += 1

    def receive(self) -> Picture:
        while (event := self._next())["type"] != "INPUT":
            pass
        self.node.send_output("taken", self.arrow.array([1]))
        return event["value"].to_numpy(zero_copy_only=True)  # type: ignore[no-any-return]

    def _next(self) -> Any:
        event = self.node.next()
        assert event is not None
        return event

    def close(self) -> None:
        while self.outstanding:
            self.outstanding -= self._next()["type"] == "INPUT"


ENDS = {"ours": Ours, "ours-yuv": OursNative, "iceoryx2": Iceoryx, "pyzmq": Zmq, "dora-rs": Dora}


class Figures:
    """Collects what the receiver measures, and writes it down."""

    def __init__(self, folder: Path, frames: int) -> None:
        self.path, self.frames = folder / "figures", frames
        self.waits: list[int] = []
        self.times: list[int] = []

    def add(self, picture: Picture) -> None:
        begun = int(picture[:8].view(np.int64)[0])
        touch(picture)
        self.times.append(time.monotonic_ns())
        self.waits.append(self.times[-1] - begun)

    def write(self) -> None:
        """Leave out the first tenth, in which memory is touched for the first time."""
        flood = self.times[self.frames :]
        rate = (len(flood) - 1) / (1e-9 * (flood[-1] - flood[0]))
        waits = sorted(self.waits[self.frames // 10 : self.frames])
        milliseconds = [1e-6 * waits[int(share * len(waits))] for share in (0.5, 0.95)]
        self.path.write_text(json.dumps({"p50": milliseconds[0], "p95": milliseconds[1], "rate": rate}))


def arrays() -> Iterator[Picture]:
    """Four pictures, so that none is in the processor's cache because it was sent just before."""
    random = np.random.default_rng(0)
    for _ in range(4):
        yield random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


def touch(picture: Picture) -> None:
    picture[::4096].sum()


def appeared(path: Path) -> Path:
    """Wait for a file of the other process."""
    while not path.exists():
        time.sleep(0.002)
    return path


def stamped(pictures: list[tuple[Any, Picture]], frames: int) -> Iterator[Any]:
    """The pictures in turn, each with its time: `frames` at a steady rate, then the flood."""
    due = time.monotonic()
    for number in range(frames * (1 + FLOOD)):
        if number < frames:
            due += 1 / RATE
            time.sleep(max(0.0, due - time.monotonic()))
        picture, target = pictures[number % len(pictures)]
        target.reshape(-1)[:8].view(np.int64)[0] = time.monotonic_ns()
        yield picture


def send(end: Any, folder: Path, frames: int) -> None:
    pictures = list(end.pictures())
    appeared(folder / "ready")
    end.ready()
    for picture in stamped(pictures, frames):
        end.send(picture)
    if not isinstance(end, Dora):
        appeared(folder / "figures")
    end.close()


def receive(end: Any, folder: Path, frames: int) -> None:
    (folder / "ready").touch()
    figures = Figures(folder, frames)
    for _ in range(frames * (1 + FLOOD)):
        figures.add(end.receive())
    figures.write()
    end.close()


def ray_actors(folder: Path, frames: int) -> None:
    """Two actors of Ray; pictures go through its object store."""
    import os

    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    import ray

    class Receiver:
        def __init__(self) -> None:
            self.figures = Figures(folder, frames)

        def take(self, picture: Picture) -> None:
            self.figures.add(picture.reshape(-1))

        def write(self) -> None:
            self.figures.write()

    class Sender:
        def run(self, receiver: Any) -> None:
            under_way: deque[Any] = deque()
            for picture in stamped([(image, image) for image in arrays()], frames):
                if len(under_way) == WINDOW:
                    ray.get(under_way.popleft())
                under_way.append(receiver.take.remote(picture))
            ray.get(list(under_way))

    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", object_store_memory=1 << 28)
    receiver = ray.remote(num_cpus=0)(Receiver).remote()
    sender = ray.remote(num_cpus=0)(Sender).remote()
    ray.get(sender.run.remote(receiver))
    ray.get(receiver.write.remote())
    ray.shutdown()


def main(role: str, means: str, folder: Path, frames: int) -> None:
    if means == "ray":
        ray_actors(folder, frames)
    else:
        {"send": send, "receive": receive}[role](ENDS[means](folder, role == "send"), folder, frames)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
