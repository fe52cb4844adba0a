"""Columns of values: numpy arrays of one dtype, shape and range, checked once and read only from then on.

`owner` is the value under construction, or the name of its type: every message begins with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Item = TypeVar("Item", bound=np.generic)

UINT8, FLOAT32 = np.dtype(np.uint8), np.dtype(np.float32)
INT32, INT64 = np.dtype(np.int32), np.dtype(np.int64)
_UINT32 = np.dtype(np.uint32)

_SIZES = np.array([[-1, 0], [0, -1], [1, 0], [0, 1]], np.float32)
"""Boxes (N x 4 xyxy) times this are their widths and heights (N x 2)."""

_LARGEST = 1 << 63  # integers from here on do not fit 64 bits with a sign

_ONE = int(np.float32(1).view(np.uint32))


class InvalidValueError(ValueError):
    """A value on a stream breaks the rules of its type; the message names the field and what was given."""


def require(owner: str, name: str, array: object, dtype: np.dtype[Any], *shape: int | None) -> None:
    """Raise `InvalidValueError` for anything but an array of this dtype and shape.

    None stands for any length, which must be above 0 in all places but the last.

    >>> require("Frame", "picture", np.zeros((2, 4, 3), np.uint8), UINT8, None, None, 3)
    """
    if not isinstance(array, np.ndarray) or array.dtype != dtype:
        given = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise InvalidValueError(f"{owner}.{name}: an array of {dtype} is needed, {given} was given")
    *outer, last = array.shape or (None,)
    if len(array.shape) != len(shape) or 0 in outer or last != (shape[-1] or last):
        wanted = " x ".join("N" if length is None else str(length) for length in shape)
        raise InvalidValueError(f"{owner}.{name}: shape {wanted} is needed, {array.shape} was given")


def read_only(array: NDArray[Item]) -> NDArray[Item]:
    """The array itself where nobody can write into it, else a view of it that refuses to be written into."""
    if not array.flags.writeable:
        return array
    view = array[...]  # half the time of `array.view()`
    view.flags.writeable = False
    return view


def set_column(
    owner: object, name: str, dtype: np.dtype[Any], count: int | None, *inner: int
) -> NDArray[np.generic]:
    """Set the field `name` of `owner` to a read-only array of shape `count` x `inner`, and return it.

    What is there already is converted, a list for one; a `count` of None takes any length. Raises
    `InvalidValueError` for what makes no such array.
    """
    array: NDArray[np.generic] = getattr(owner, name)
    if type(array) is not np.ndarray or array.dtype is not dtype or not array.size:
        array = _as_column(owner, name, dtype, *inner)
    expected = (len(array) if count is None and array.ndim else count, *inner)
    if array.shape != expected:
        raise InvalidValueError(
            f"{type(owner).__name__}.{name}: shape {expected} is needed, {array.shape} was given"
        )
    array = read_only(array)
    object.__setattr__(owner, name, array)
    return array


def set_open_column(owner: object, name: str, count: int, *inner: int) -> None:
    """`set_column` of float32 with `count` x D x `inner` numbers, for any D; no array at all means D = 0."""
    given = np.asarray(getattr(owner, name))
    per_object = given.shape[1] if given.ndim == len(inner) + 2 else 0
    if given.size == per_object == 0 and not len(given):
        object.__setattr__(owner, name, np.empty((count, 0, *inner), np.float32))
    set_column(owner, name, FLOAT32, count, per_object, *inner)


def _as_column(owner: object, name: str, dtype: np.dtype[Any], *inner: int) -> NDArray[np.generic]:
    try:
        with np.errstate(over="ignore"):  # infinity is refused by who needs a finite number
            array: NDArray[np.generic] = np.asarray(getattr(owner, name), dtype)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{type(owner).__name__}.{name}: not an array of {dtype}: {error}") from error
    return array.reshape(0, *inner) if inner and array.size == 0 and 0 not in inner else array


def attribute(owner: object, name: object, given: ArrayLike, count: int) -> NDArray[np.generic]:
    """A read-only column of `count` truth values, int64, float32 or texts; other numbers become one of these.

    Raises `InvalidValueError` for other types and lengths, and for a name that is empty or no text.
    """
    where = f"{type(owner).__name__}.attributes[{name!r}]"
    if not isinstance(name, str) or not name:
        raise InvalidValueError(f"{where}: a name is needed that is a text and not empty")
    array = np.asarray(given)
    if array.dtype.kind not in "biufU":
        raise InvalidValueError(
            f"{where}: truth values, integers, float32 or texts are needed, {array.dtype} was given"
        )
    if array.shape != (count,):
        raise InvalidValueError(f"{where}: shape ({count},) is needed, {array.shape} was given")
    if array.dtype.kind == "U" and not all(map(_is_unicode, array.tolist())):
        raise InvalidValueError(f"{where}: Unicode texts are needed, {array.tolist()} was given")
    if array.dtype.kind == "u" and array.size and array.max() >= _LARGEST:
        raise InvalidValueError(f"{where}: integers of 64 bits with a sign are needed, {array.max()} was given")
    if array.dtype.itemsize > 4 and array.dtype.kind == "f":
        beyond = np.abs(array[np.isfinite(array)]) > np.finfo(np.float32).max
        if beyond.any():
            raise InvalidValueError(f"{where}: numbers that fit float32 are needed, {array.max():g} was given")
    wanted: DTypeLike = {"i": np.int64, "u": np.int64, "f": np.float32}.get(array.dtype.kind, array.dtype)
    return read_only(array.astype(wanted, copy=False))


def plain_fact(name: object, given: object) -> Any:
    """What an event may say under a name, in Python's own types; raises `InvalidValueError`."""
    plain = given.tolist() if isinstance(given, np.generic | np.ndarray) else given
    if isinstance(plain, list | tuple):
        plain = tuple(item.item() if isinstance(item, np.generic) else item for item in plain)
    for item in plain if isinstance(plain, tuple) else (plain,):
        is_whole = isinstance(item, int) and -_LARGEST <= item < _LARGEST
        if not isinstance(name, str) or not (item is None or is_whole or isinstance(item, str | float)):
            raise InvalidValueError(
                f"Event.data[{name!r}]: a text, a number, a truth value, None or a list of them is needed, and "
                f"a name that is a text; {given!r} was given"
            )
        if not all(_is_unicode(text) for text in (name, item) if isinstance(text, str)):
            raise InvalidValueError(f"Event.data[{name!r}]: Unicode texts are needed, {given!r} was given")
    return plain


def _is_unicode(text: str) -> bool:
    """Whether a text can be encoded: bytes of a file name that are no UTF-8 become lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_objects(
    owner: str,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    classes: NDArray[np.int32],
    names: Sequence[str],
) -> None:
    """Raise `InvalidValueError` where boxes, scores or classes of N > 0 objects are out of range.

    This is on the way of every frame, so the quick tests come first: a ufunc costs 1 to 5 us on 50 boxes, a
    method such as `argmin`, which finds NaN first, half a microsecond. Only columns that fail them are
    looked at row by row.
    """
    sizes = boxes.dot(_SIZES) if np.vdot(boxes, boxes) < np.inf else None  # no infinity and no NaN
    if sizes is None or not sizes.item(sizes.argmin()) >= 0:
        _check_boxes(owner, boxes)
    # The bits of floats from 0 to 1 ascend as the floats do; those of negative floats and of NaN are greater.
    bits = scores.view(_UINT32)
    if bits.item(bits.argmax()) > _ONE:
        _check_scores(owner, scores)
    if names:
        unsigned = classes.view(_UINT32)  # so that negative numbers are greater than any index
        if unsigned.item(unsigned.argmax()) >= len(names):
            raise InvalidValueError(
                f"{owner}.classes: {classes.min()}..{classes.max()} found, but names has {len(names)} entries"
            )


def _check_boxes(owner: str, boxes: NDArray[np.float32]) -> None:
    wrong = ~(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1))
    if wrong.any():  # finite numbers may have squares that are not
        row = int(wrong.argmax())
        raise InvalidValueError(
            f"{owner}.boxes: finite x1, y1, x2, y2 with x1 <= x2 and y1 <= y2 are needed, "
            f"{boxes[row].tolist()} was given in row {row}"
        )


def _check_scores(owner: str, scores: NDArray[np.float32]) -> None:
    wrong = ~((scores >= 0) & (scores <= 1))
    if wrong.any():  # -0.0 has the bits of a negative number
        row = int(wrong.argmax())
        raise InvalidValueError(
            f"{owner}.scores: numbers from 0 to 1 are needed, {scores[row].item():g} was given in row {row}"
        )
