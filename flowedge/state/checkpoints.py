"""Checkpoints: the state of one operator for one camera, as bytes, in a store that other processes can read.

A checkpoint is a block as `flowedge.wire.blocks` draws it, with the magic FECP and format version 1. Its header
is a map of graph, operator, camera, definition (str), epoch, session, index (int) and state. In the state an
array stands as msgpack extension 1, which holds [dtype, shape, offset, length] of its buffer in msgpack.

Measured for a camera with 60 tracks, CPU milliseconds on a busy server of two cores, median of 300:

                        bytes   snapshot  encode  decode  restore  save to memory  to Redis
    Track              11 392       0.04    0.27    0.21     0.14            0.86       1.9
    TrackWithPicture  388 480       0.07    0.50    0.34     0.22            1.30       3.6
    CountLines          2 240       0.00    0.11    0.06     0.06            0.26       1.3

The operator's thread spends the time of `snapshot`; the rest can be done in another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as shown
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]
import numpy as np
from numpy.typing import NDArray

from flowedge.errors import StateError
from flowedge.graph.contract import NAME, Plain, valid_name
from flowedge.state.store import Store, StoreError
from flowedge.wire.fields import MAX_ITEMS, Codec, Reader, WireError, Writer, plain, record, whole
from flowedge.wire.framing import lay_out, opened

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MAGIC, _VERSION = b"FECP", 1
_ARRAY = 1  # msgpack's number of our extension
_ARRAYS = {
    name: np.dtype(name).newbyteorder("<")
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32",
        "float64",
    )
}  # fmt: skip
_DEEPEST = 32  # levels of nesting
_MOST_DIMENSIONS = 8
_DESCRIPTION = 128  # bytes: an array's dtype, shape, offset and length in msgpack
_MOST_BYTES = 16 << 20

_KEPT = 86_400.0  # seconds that a store keeps a checkpoint: also over a pause, identities go on
_TRIES = 32  # with as many writers of one checkpoint at once, each of them succeeds


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What `Step.snapshot` gave for `camera` once the frame (`session`, `index`) was done, within `epoch`.

    `definition` is `flowedge.graph.serialization.definition` of the operator as it stands in the graph.
    """

    graph: str
    operator: str
    camera: str
    epoch: int
    session: int
    index: int
    definition: str
    state: Plain

    @property
    def moment(self) -> tuple[int, int, int]:
        """By which checkpoints of a camera are ordered: epoch, session, index."""
        return self.epoch, self.session, self.index


def encode(checkpoint: Checkpoint) -> bytes:
    """The checkpoint as bytes, at most 16 MiB of them.

    Raises `StateError` that names the place in the state where something is not `Plain`.

    >>> state = {"count": 3, "last": [np.zeros(2), None]}
    >>> decode(encode(Checkpoint("crossing", "Count", "north", 1, 0, 25, "", state))).state
    {'count': 3, 'last': [array([0., 0.]), None]}
    """
    try:
        out = Writer(None)
        what = f"the state of {checkpoint.operator} for {checkpoint.camera}"
        laid = lay_out(_MAGIC, _VERSION, _RECORD.pack(checkpoint, out), out, what)
        if laid.size > _MOST_BYTES:
            raise WireError(f"{what} has {laid.size} bytes, above {_MOST_BYTES}")
        data = bytearray(laid.size)
        laid.write_into(data)
    except WireError as error:
        raise StateError(str(error)) from error
    return bytes(data)


def decode(buffer: Buffer) -> Checkpoint:
    """The checkpoint in the block at the start of `buffer`, whose arrays are read-only views of it.

    Raises `StateError` for anything else, whatever the bytes are.
    """
    try:
        header, source = opened(_MAGIC, _VERSION, buffer)
        checkpoint: Checkpoint = _RECORD.unpack(_content(header, source), source)
    except WireError as error:
        raise StateError(str(error)) from error
    return checkpoint


class Checkpoints:
    """The newest checkpoint of every operator and camera, in a store that its owner opens and closes.

    Where runs of one graph share a store, each is given a `run` of its own: epochs count within a run. Values
    are replaced by compare and swap: whichever process comes last, an older checkpoint replaces no newer one.

    >>> from flowedge.state.store import MemoryStore
    >>> checkpoints = Checkpoints(MemoryStore())
    >>> newer, older = (Checkpoint("crossing", "Count", "north", 1, 0, i, "", {"count": i}) for i in (50, 25))
    >>> checkpoints.save(newer), checkpoints.save(older)
    (True, False)
    >>> checkpoints.load("crossing", "Count", "north", definition="").state
    {'count': 50}
    >>> checkpoints.forget("crossing", "north")
    >>> checkpoints.load("crossing", "Count", "north", definition="")
    """

    def __init__(self, store: Store, run: str = "run") -> None:
        if not valid_name(run):
            raise StateError(f"the run {run!r} is not {NAME}")
        self._store = store
        self._run = run

    def save(self, checkpoint: Checkpoint) -> bool:
        """Keep the checkpoint for a day; False where a newer one is kept already.

        Raises `StateError` for a state that is not `Plain` and `StoreError` when the store gives no answer.
        """
        key, data = self._key(checkpoint.graph, checkpoint.camera, checkpoint.operator), encode(checkpoint)
        for _ in range(_TRIES):
            stored = self._store.load(key)
            if stored is not None and _is_newer(stored, checkpoint):
                return False
            if self._store.swap(key, stored, data, _KEPT):
                return True
        raise StoreError(
            f"the checkpoint of {checkpoint.operator} for {checkpoint.camera} changed {_TRIES} times meanwhile"
        )

    def load(self, graph: str, operator: str, camera: str, definition: str) -> Checkpoint | None:
        """The newest checkpoint of an operator with this `definition`; None where none is kept.

        Raises `StateError` where what is kept is of another definition or cannot be read, and `StoreError`.
        """
        stored = self._store.load(self._key(graph, camera, operator))
        if stored is None:
            return None
        try:
            checkpoint = decode(stored)
        except StateError as error:
            raise StateError(f"the checkpoint of {operator} for {camera} cannot be read: {error}") from error
        if checkpoint.definition != definition:
            raise StateError(
                f"the checkpoint of {operator} for {camera} is of another version of {operator}, whose code or "
                f"fields differ: it begins anew"
            )
        return checkpoint

    def forget(self, graph: str, camera: str) -> None:
        """Remove the checkpoints of all operators of a graph for a camera. Raises `StoreError`."""
        self._store.remove(self._key(graph, camera, ""))

    def _key(self, graph: str, camera: str, operator: str) -> str:
        return f"flowedge/checkpoint/{self._run}/{graph}/{camera}/{operator}"


def _is_newer(stored: bytes, checkpoint: Checkpoint) -> bool:
    try:
        return decode(stored).moment > checkpoint.moment
    except StateError:  # of no use to anybody: replace it
        return False


def _content(header: NDArray[np.uint8], source: Reader) -> Any:
    def array(code: int, description: bytes) -> NDArray[Any]:
        if code != _ARRAY:
            raise WireError(f"there is no extension {code} in this format")
        return _taken(description, source)

    try:
        return msgpack.unpackb(
            header,
            ext_hook=array,
            max_ext_len=_DESCRIPTION,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
        )
    except WireError:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise WireError(f"the header is not the msgpack of this format: {error}") from error


def _taken(description: bytes, source: Reader) -> NDArray[Any]:
    match msgpack.unpackb(description, use_list=False, max_ext_len=0):
        case (str(name), tuple(shape), _, _) as item if name in _ARRAYS and len(shape) <= _MOST_DIMENSIONS:
            array = source.take(item, _ARRAYS[name], len(shape))
            # A byte of another value than 0 and 1 is no bool to numpy.
            return np.asarray(array.view(np.uint8) != 0) if name == "bool" else array
        case item:
            raise WireError(f"[dtype, shape, offset, length] of an array is needed, {shown(item)} was given")


def _packed(value: Any, out: Writer, depth: int = 0) -> Any:
    """A state as msgpack has it; its arrays go to `out`."""
    if depth > _DEEPEST:
        raise WireError(f"more than {_DEEPEST} levels of lists and mappings")
    if value is None or isinstance(value, bool | int | float | str | bytes):
        return value
    if isinstance(value, np.ndarray):
        return _placed(value, out)
    if not isinstance(value, Mapping | list | tuple):
        raise WireError(
            f"{shown(value)} is of type {type(value).__name__}: a state is made of None, bool, int, float, "
            f"str, bytes, arrays of numbers, lists and mappings by name"
        )
    if len(value) > MAX_ITEMS:
        raise WireError(f"{len(value)} items are more than {MAX_ITEMS}: use an array")
    if not isinstance(value, Mapping):
        return [_at(f"[{index}]", item, out, depth) for index, item in enumerate(value)]
    for name in value:
        if not isinstance(name, str):
            raise WireError(f"the key {shown(name)} of a mapping is no str")
    return {name: _at(f"[{name!r}]", item, out, depth) for name, item in value.items()}


def _at(place: str, value: Any, out: Writer, depth: int) -> Any:
    try:
        return _packed(value, out, depth + 1)
    except WireError as error:
        text = str(error)
        raise WireError(place + (text if text.startswith("[") else f": {text}")) from error


def _placed(array: NDArray[Any], out: Writer) -> msgpack.ExtType:
    if array.dtype.name not in _ARRAYS or array.ndim > _MOST_DIMENSIONS:
        wanted = f"one of numbers or bool with at most {_MOST_DIMENSIONS} dimensions"
        raise WireError(f"an array of {array.dtype} with {array.ndim} dimensions is not {wanted}")
    rows = np.atleast_1d(array.astype(_ARRAYS[array.dtype.name], copy=False))
    name, _, offset, length = out.add(rows, rows.shape)
    return msgpack.ExtType(_ARRAY, msgpack.packb([name, array.shape, offset, length]))


_NAME = Codec(lambda name, _: _named(name), lambda name, _: _named(name))
_NUMBER = whole(-(1 << 63), (1 << 63) - 1)
_RECORD = record(
    Checkpoint,
    {
        "graph": _NAME,
        "operator": _NAME,
        "camera": _NAME,
        "epoch": _NUMBER,
        "session": _NUMBER,
        "index": _NUMBER,
        "definition": plain(str),
        "state": Codec(_packed, lambda item, _: item),
    },
)


def _named(name: Any) -> str:
    if not isinstance(name, str) or not valid_name(name):
        raise WireError(f"{shown(name)} is not {NAME}")
    return name
