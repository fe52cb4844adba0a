"""Inference engines: a model file becomes a `Model` that turns pictures into its raw output.

Pictures go in as the rest of FlowEdge has them, H x W x 3 BGR uint8; what a network wants instead (RGB, 0..1,
planes) is the engine's business. Every call gives one result per picture and uses all cores of the process:

* one picture: all threads work on it, for the shortest latency;
* several: one thread per picture and as many at a time as there are cores, for the best throughput. On two
  cores, yolo11n at 640 pixels costs per picture 129 ms of processor instead of 155 with OpenVINO and 111
  instead of 140 with onnxruntime (81 instead of 85 and 82 instead of 99 ms of time; medians of 12 rounds).
"""

from __future__ import annotations

import ast
import json
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, cached_property
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flowedge.inference.models import ModelError
from flowedge.inference.yolo import RGB_1, Normalise

Engine = Literal["openvino", "onnxruntime"]
Image = NDArray[np.uint8]
Output = NDArray[np.float32]


class Model(ABC):
    """A network ready to run, for one caller at a time.

    ``input_size`` is (height, width) in pixels; ``output_shape`` is that of the first result for one picture,
    () where the file leaves it open. ``normalise`` may be set until the first picture, and again later at the
    cost of another compilation.
    """

    path: Path
    input_size: tuple[int, int]
    output_shape: tuple[int, ...]
    output_names: tuple[str, ...]
    normalise: Normalise

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """The class names by number that the file itself holds (a dictionary or a list), None if it holds none.

        Raises ModelError where they cannot be read.
        """
        written = self._metadata().get("names")
        return None if written is None else _class_names(self.path, written)

    def outputs(self, images: Iterable[Image]) -> Iterator[Output]:
        """The raw first output for each picture, in their order, as float32 arrays of their own.

        Each picture is H x W x 3 BGR uint8 and exactly of ``input_size``; ValueError otherwise. The work is
        done without the GIL, and pictures and outputs come and go one by one: the next picture may be
        prepared, and the last output read, while the network works on those between.
        """
        return (first for first, *_ in self.all_outputs(images))

    def all_outputs(self, images: Iterable[Image]) -> Iterator[list[Output]]:
        """Every raw output for each picture, in the order of ``output_names``; else as `outputs`."""
        checked = (self._checked(image) for image in images)
        first = list(islice(checked, 2))
        if len(first) == 1:
            yield self._one(first[0])
        else:
            yield from self._several(chain(first, checked))

    @abstractmethod
    def feed(self, normalise: Normalise) -> None:
        """Give the network its pixels in this way from now on."""

    def _checked(self, image: Image) -> Image:
        if image.shape != (*self.input_size, 3) or image.dtype != np.uint8:
            height, width = self.input_size
            raise ValueError(
                f"{self.path.name} takes {height} x {width} x 3 pixels of uint8, "
                f"not {image.shape} of {image.dtype}"
            )
        return image

    @abstractmethod
    def _one(self, image: Image) -> list[Output]: ...

    @abstractmethod
    def _several(self, images: Iterable[Image]) -> Iterator[list[Output]]: ...

    @abstractmethod
    def _metadata(self) -> dict[str, str]: ...


def load(
    path: Path,
    engine: Engine = "openvino",
    size: int | None = None,
    precision: Literal["f32"] | None = None,
    normalise: Normalise = RGB_1,
) -> Model:
    """Load an ONNX file with one input N x 3 x H x W of float32 or float16.

    ``size`` (pixels) sets the input of a model that takes pictures of any size. ``precision`` is the
    engine's own choice by default (OpenVINO computes in bfloat16 where the processor can); "f32" forbids it.
    ``normalise`` is what the network wants of its pixels.

    Raises ModelError where the file cannot be read, has another input, or contradicts ``size``.

    >>> import numpy as np
    >>> from flowedge.inference.models import resolve
    >>> model = load(resolve("yolo11n", 640))  # doctest: +SKIP
    >>> [output.shape for output in model.outputs([np.zeros((640, 640, 3), np.uint8)])]  # doctest: +SKIP
    [(84, 8400)]
    """
    if not path.is_file():
        raise ModelError(f"there is no model file {str(path)!r}: check the path")
    if engine == "openvino":
        return _OpenVino(path, size, precision, normalise)
    if engine == "onnxruntime":
        return _OnnxRuntime(path, size, normalise)
    raise ModelError(f"there is no inference engine {engine!r}: choose openvino or onnxruntime")


# --- OpenVINO -----------------------------------------------------------------------------------------


FEW = 3
"""Pictures that may come alone, one after the other, before the network is compiled for latency as well."""


class _OpenVino(Model):
    """Normalises within the compiled graph; compiled once for throughput and, if pictures keep coming alone,
    once more for latency: a file needs only the first, and each takes 80 MiB for yolo11n at 640 pixels.

    The second time, 0.6 s of a core, is beside the work: the pictures of a live camera would all be late by it.
    """

    def __init__(self, path: Path, size: int | None, precision: str | None, normalise: Normalise) -> None:
        import openvino

        self.path = path
        try:
            network = _core().read_model(path)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO cannot read {path.name} as an ONNX model ({_gist(error)})") from error
        shapes = [
            [None if length.is_dynamic else length.get_length() for length in node.partial_shape]
            for node in network.inputs
        ]
        self.input_size = _input_size(path, shapes, size)
        taken = network.inputs[0].element_type
        _require_float(path, taken in (openvino.Type.f32, openvino.Type.f16), taken.get_type_name())
        try:
            network.reshape({network.inputs[0]: openvino.PartialShape([1, 3, *self.input_size])})
        except RuntimeError as error:
            raise _size_refused(path, self.input_size, error) from error
        output = network.outputs[0].partial_shape
        self.output_shape = () if output.is_dynamic else tuple(output.to_shape())[1:]
        self.output_names = tuple(next(iter(sorted(node.names)), "") for node in network.outputs)
        self._network = network
        self.normalise = normalise
        self._precision = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
        self._alone = 0
        self._latency: Future[Any] | None = None

    def feed(self, normalise: Normalise) -> None:
        if normalise != self.normalise:
            self.normalise = normalise
            self._latency = None
            self.__dict__.pop("_streams", None)

    def _one(self, image: Image) -> list[Output]:
        self._alone += 1
        if self._alone > FEW and self._latency is None:
            self._latency = _beside_the_work(self._for_latency)
        faster = self._latency.result() if self._latency and self._latency.done() else None
        request = faster or self._streams[0]
        request.start_async({0: image[None]}, share_inputs=True)
        return _result(request)

    def _several(self, images: Iterable[Image]) -> Iterator[list[Output]]:
        """Round robin over the streams: a picture waits for the one that used its stream before."""
        self._alone = 0
        streams, running = self._streams, deque[Any]()
        try:
            for index, image in enumerate(images):
                done = _result(running.popleft()) if len(running) == len(streams) else None
                running.append(streams[index % len(streams)])
                running[-1].start_async({0: image[None]}, share_inputs=True)
                if done is not None:  # only now that the stream is busy again
                    yield done
            while running:
                yield _result(running.popleft())
        finally:  # the caller may have had enough, but the streams read its pictures
            for request in running:
                request.wait()

    def _for_latency(self) -> Any:
        return self._compile(PERFORMANCE_HINT="LATENCY").create_infer_request()

    @cached_property
    def _streams(self) -> list[Any]:
        compiled = self._compile(NUM_STREAMS=_cores())
        return [compiled.create_infer_request() for _ in range(_cores())]

    def _compile(self, **config: Any) -> Any:
        # A thread that is tied to a core stands still whenever a decoder or an encoder runs there.
        config |= {"INFERENCE_NUM_THREADS": _cores(), "ENABLE_CPU_PINNING": False, **self._precision}
        return _core().compile_model(_normalising(self._network.clone(), self.normalise), "CPU", config)

    def _metadata(self) -> dict[str, str]:
        info = self._network.rt_info
        return {"names": info["framework"]["names"].value} if _has_names(info) else {}


_compiling: set[Future[Any]] = set()


def _beside_the_work(work: Callable[[], Any]) -> Future[Any]:
    """What `work` gives, done in a thread that ends with it."""
    future = Future[Any]()
    _compiling.add(future)

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        finally:
            _compiling.discard(future)

    threading.Thread(target=run, name="flowedge-compiler").start()
    return future


def settle() -> None:
    """Wait until no network is being compiled beside the work, so that what is measured then is the work's."""
    wait(tuple(_compiling))


@cache
def _core() -> Any:
    """OpenVINO's plugins, loaded once per process."""
    import openvino

    return openvino.Core()


def _normalising(network: Any, normalise: Normalise) -> Any:
    """The network with conversion from BGR uint8 N x H x W x 3 put in front of it."""
    from openvino import Layout, Type
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(network)
    entry = steps.input()
    entry.tensor().set_element_type(Type.u8).set_layout(Layout("NHWC")).set_color_format(ColorFormat.BGR)
    entry.model().set_layout(Layout("NCHW"))
    pixels = entry.preprocess().convert_element_type(Type.f32)
    if normalise.rgb:
        pixels.convert_color(ColorFormat.RGB)
    pixels.scale(1 / normalise.scale)
    if any(normalise.mean):
        pixels.mean(list(normalise.mean))
    if normalise.deviation != (1, 1, 1):
        pixels.scale(list(normalise.deviation))
    pixels.convert_element_type(network.inputs[0].element_type)
    return steps.build()


def _result(request: Any) -> list[Output]:
    """Wait for a request and copy its outputs, whose memory the next picture overwrites."""
    request.wait()
    return [_without_batch(np.array(tensor.data, np.float32)) for tensor in request.output_tensors]


def _has_names(info: Any) -> bool:
    return "framework" in info and "names" in info["framework"]


# --- onnxruntime --------------------------------------------------------------------------------------


class _OnnxRuntime(Model):
    """Several pictures share one single-threaded session, which many threads may run at once.

    Measured on two cores, yolo11n at 640, four pictures, ms of time and of processor per picture: that way
    51 and 101; one session per thread 57 and 111; a batch of four 67 and 117; one after the other 80 and 143.
    """

    def __init__(self, path: Path, size: int | None, normalise: Normalise) -> None:
        self.path = path
        self._latency = _session(path, _cores())
        inputs = self._latency.get_inputs()
        shapes = [[length if isinstance(length, int) else None for length in node.shape] for node in inputs]
        self.input_size = _input_size(path, shapes, size)
        _require_float(path, inputs[0].type in ("tensor(float)", "tensor(float16)"), inputs[0].type)
        self._half = inputs[0].type == "tensor(float16)"
        self._input = inputs[0].name
        self.output_names = tuple(node.name for node in self._latency.get_outputs())
        # A blank picture tells the output's shape, which the file may leave open, and warms the session.
        blank = np.zeros((1, 3, *self.input_size), np.float32)
        try:
            self.output_shape = self._run(self._latency, blank)[0].shape
        except Exception as error:  # its errors have no base class of their own
            raise _size_refused(path, self.input_size, error) from error
        self.normalise = normalise

    def feed(self, normalise: Normalise) -> None:
        self.normalise = normalise

    def _one(self, image: Image) -> list[Output]:
        return self._run(self._latency, self._planes(image))

    def _several(self, images: Iterable[Image]) -> Iterator[list[Output]]:
        session = self._throughput
        return self._threads.map(lambda image: self._run(session, self._planes(image)), images)

    def _run(self, session: Any, planes: NDArray[np.float32]) -> list[Output]:
        taken = planes.astype(np.float16) if self._half else planes
        results: list[Any] = session.run(None, {self._input: taken})
        return [_without_batch(np.asarray(result, np.float32)) for result in results]

    def _planes(self, image: Image) -> NDArray[np.float32]:
        """The picture as the network wants it, 1 x 3 x H x W float32 (OpenCV: a third of NumPy's time)."""
        import cv2

        wanted = self.normalise
        planes = np.asarray(cv2.dnn.blobFromImage(image, wanted.scale, swapRB=wanted.rgb), np.float32)
        if any(wanted.mean) or wanted.deviation != (1, 1, 1):
            planes -= np.array(wanted.mean, np.float32)[:, None, None]
            planes /= np.array(wanted.deviation, np.float32)[:, None, None]
        return planes

    @cached_property
    def _throughput(self) -> Any:
        return _session(self.path, 1)

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_cores(), thread_name_prefix=self.path.stem)

    def _metadata(self) -> dict[str, str]:
        metadata: dict[str, str] = self._latency.get_modelmeta().custom_metadata_map
        return metadata


def _session(path: Path, threads: int) -> Any:
    """A session of onnxruntime, on the GPU where its build has one and else on the processor."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ModelError("the engine onnxruntime is not installed: `pip install 'flowedge[onnx]'`") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # Spinning between operators gains 4 ms of 75, and costs 30 ms of processor in the pause between frames.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = ("CUDAExecutionProvider", "CPUExecutionProvider")
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        return onnxruntime.InferenceSession(path, options, providers)
    except Exception as error:  # its errors have no base class of their own
        raise ModelError(f"onnxruntime cannot read {path.name} as an ONNX model ({_gist(error)})") from error


# --- what both engines check --------------------------------------------------------------------------


_most_threads: int | None = None


def limit_threads(most: int) -> None:
    """Let models that are loaded from now on take at most so many threads each: processes share the cores."""
    global _most_threads
    _most_threads = most


def _cores() -> int:
    """How many cores this process may use."""
    cores = len(os.sched_getaffinity(0))
    return cores if _most_threads is None else max(1, min(cores, _most_threads))


def _input_size(path: Path, shapes: Sequence[Sequence[int | None]], size: int | None) -> tuple[int, int]:
    """Height and width of the only input, or ModelError. None stands for a length left open."""
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][0] not in (1, None) or shapes[0][1] != 3:
        taken = " and ".join(
            " x ".join("?" if length is None else str(length) for length in shape) for shape in shapes
        )
        raise ModelError(f"{path.name} takes {taken}, where one input of 1 x 3 x height x width is needed")
    height, width = (length or size for length in shapes[0][2:])
    if height is None or width is None:
        raise ModelError(f"{path.name} takes pictures of any size: say which, for example size=640")
    if size is not None and (height, width) != (size, size):
        raise ModelError(
            f"{path.name} takes pictures of {height} x {width} pixels, not {size} x {size}: "
            f"leave the size out, or export the model at {size}"
        )
    return height, width


def _size_refused(path: Path, size: tuple[int, int], error: Exception) -> ModelError:
    return ModelError(
        f"{path.name} cannot take pictures of {size[0]} x {size[1]} pixels ({_gist(error)}): "
        f"most detectors need a multiple of 32"
    )


def _require_float(path: Path, is_float: bool, taken: str) -> None:
    if not is_float:
        raise ModelError(
            f"{path.name} takes pictures of {taken}, where float32 or float16 is needed: export it so"
        )


def _without_batch(output: Output) -> Output:
    """An output for the only picture; lists of objects of several pictures have no such axis."""
    return output[0] if output.ndim and len(output) == 1 else output


def _class_names(path: Path, written: str) -> tuple[str, ...]:
    """The names that a model's metadata says: {number: name} or a list, as Python or JSON writes them."""
    try:
        names = json.loads(written)
    except ValueError:
        try:
            names = ast.literal_eval(written)
        except (ValueError, SyntaxError):
            names = None
    try:
        if isinstance(names, dict):
            numbered = {int(index): str(name) for index, name in names.items()}
            return tuple(numbered[index] for index in range(len(numbered)))
        if not isinstance(names, list | tuple):
            raise TypeError
        return tuple(str(name) for name in names)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path.name} has class names that cannot be read: {written[:60]!r}") from error


def _gist(error: Exception) -> str:
    """What an engine says, without the places in its own source that it lists first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = (line for line in lines if not line.startswith(("Exception from", "Check '")))
    return next(said, type(error).__name__)
