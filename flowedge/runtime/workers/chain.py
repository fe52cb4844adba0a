"""A chain of operators that works on values one after the other, and what it says of each."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgpack  # type: ignore[import-untyped]

from flowedge import errors
from flowedge.errors import RunError, StateError, UserError, described
from flowedge.graph.contract import Operator, Plain
from flowedge.graph.signature import Accepted, readable, signature
from flowedge.plane.transports.requests import Failure, Gave, Service
from flowedge.state.checkpoints import Checkpoint, decode, encode
from flowedge.values import Absent

if TYPE_CHECKING:
    from typing_extensions import Buffer

_MOST_TEXT = 10_000  # characters of a message or a traceback that travel


@dataclass(frozen=True, slots=True)
class Answer:
    """What a chain made of one value.

    `result`: the value, None where it was filtered out, an `Absent`, or the exception in its place. `services`:
    how long each step worked on it and what it gave, in order; steps that it did not get to are left out.
    `wait`: seconds that the value waited for the chain or travelled.
    """

    result: Any
    services: tuple[Service, ...] = ()
    wait: float = 0.0


class Chain:
    """One or more operators, each of which works on what the one before it gives.

    An exception of an operator is the result of the value that it failed on. A `UserError`, or a `RunError` for
    what is no `Exception`, says that the run must end.

    >>> from flowedge.operators import Resize
    >>> from flowedge.testing import frames
    >>> chain = Chain([Resize(32), Resize(16)])
    >>> chain.setup()
    >>> answer, = chain.work(frames(1, 64, 48))
    >>> answer.result.image.shape, [service.gave.value for service in answer.services]
    ((12, 16, 3), ['value', 'value'])
    """

    def __init__(self, steps: Sequence[Operator[Any, Any]]) -> None:
        self.steps = tuple(steps)
        self.batch = max(step.batch for step in steps)
        self._gives = [signature(step).gives for step in steps]
        self._fits = [Accepted(gives) for gives in self._gives]

    def setup(self) -> None:
        """Set up every step; raises `UserError`, a `RunError` for any other exception."""
        for step in self.steps:
            _attempt(step, step.setup)

    def work(self, values: Sequence[Any]) -> list[Answer]:
        """The answers for the values, in order; up to `batch` of a step are given to it at once."""
        results = list(values)
        services: list[list[Service]] = [[] for _ in values]
        waiting = list(range(len(results)))
        for index, step in enumerate(self.steps):
            for first in range(0, len(waiting), step.batch):
                self._serve(index, waiting[first : first + step.batch], results, services)
            waiting = [number for number in waiting if services[number][-1].gave is Gave.VALUE]
        return [Answer(result, tuple(spent)) for result, spent in zip(results, services, strict=True)]

    def flush(self, camera: str) -> Mapping[str, int]:
        """Let every step forget a camera whose stream has ended; how many values each gave that nobody expects.

        Raises as `setup`.
        """
        return {
            step.name: count
            for step in self.steps
            if (count := _attempt(step, lambda step=step: sum(1 for _ in step.flush(camera))))  # type: ignore[misc]
        }

    @property
    def has_snapshot(self) -> bool:
        """Whether a step can hand its state on."""
        return any(step.has_snapshot for step in self.steps)

    def snapshot(self, camera: str) -> dict[str, Plain]:
        """What is kept of a camera, by step. Raises as `setup`."""
        kept = {
            step.name: _attempt(step, lambda step=step: step.snapshot(camera))  # type: ignore[misc]
            for step in self.steps
            if step.has_snapshot
        }
        return {name: state for name, state in kept.items() if state is not None}

    def restore(self, camera: str, states: Mapping[str, Plain], epoch: int | None) -> None:
        """Take over what `snapshot` gave, and with an `epoch` begin with its identities, in every step.

        Raises as `setup`, after all steps have tried: one that cannot take its state over begins anew.
        """
        failure: UserError | None = None
        for step in self.steps:
            try:
                if step.name in states:
                    _attempt(step, lambda step=step: step.restore(camera, states[step.name]))  # type: ignore[misc]
                if epoch is not None:
                    _attempt(step, lambda step=step: step.renumber(camera, epoch))  # type: ignore[misc]
            except UserError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Release every step; raises what the first that cannot be released raises, as `setup`."""
        failure: UserError | None = None
        for step in self.steps:
            try:
                _attempt(step, step.close)
            except UserError as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def notes(self) -> dict[str, int]:
        """What the steps note, under "step/note"."""
        return {f"{step.name}/{note}": count for step in self.steps for note, count in step.notes().items()}

    def _serve(
        self, index: int, numbers: Sequence[int], results: list[Any], services: list[list[Service]]
    ) -> None:
        """Let one step work on some of the values, in place."""
        begun = time.perf_counter()
        given = self._given(index, [results[number] for number in numbers])
        spent = (time.perf_counter() - begun) / len(numbers)
        for number, result in zip(numbers, given, strict=True):
            results[number] = result
            services[number].append(Service(spent, _gave(result)))

    def _given(self, index: int, values: list[Any]) -> list[Any]:
        """What a step makes of the values; an exception stands in for the result that it prevented."""
        step = self.steps[index]
        try:
            if len(values) == 1:
                return [self._checked(index, step.process(values[0]))]
            results = step.process_batch(values)
            if len(results) != len(values):
                raise ValueError(f"process_batch gave {len(results)} results for {len(values)} values")
            return [self._checked(index, result) for result in results]
        except UserError as error:
            return [error] * len(values)
        except Exception as error:
            # Of a batch that fails as a whole only the values that fail alone are lost.
            return [error] if len(values) == 1 else [self._given(index, [value])[0] for value in values]
        except BaseException as error:  # SystemExit, a panic of a library written in Rust
            return [_run_error(step.name, error)] * len(values)

    def _checked(self, index: int, result: Any) -> Any:
        """The result, or a `TypeError` in the place of one that the step does not declare."""
        if result is None or type(result) is Absent or self._fits[index](result):
            return result
        text = repr(result)
        shown = f"a {type(result).__name__}" + (f" ({text})" if len(text) <= 40 else "")
        wanted = readable(self._gives[index])
        return TypeError(f"{self.steps[index].name} gave {shown}, but declares that it gives {wanted}")


def pack_states(camera: str, states: Mapping[str, Plain]) -> bytes:
    """What `Chain.snapshot` gave as bytes, for `unpack_states`. Raises `StateError` for what is not `Plain`.

    >>> unpack_states(pack_states("north", {"Count": {"count": 3}}))
    {'Count': {'count': 3}}
    """
    return bytes(
        msgpack.packb(
            [encode(Checkpoint("run", name, camera, 0, 0, 0, "", state)) for name, state in states.items()]
        )
    )


def unpack_states(data: Buffer) -> dict[str, Plain]:
    """The states by step, whose arrays are read-only views. Raises `StateError` for anything else."""
    try:
        parts = msgpack.unpackb(data) if memoryview(data).nbytes else []
    except (ValueError, msgpack.UnpackException) as error:
        raise StateError(f"the states of a chain are garbled: {error}") from error
    if not isinstance(parts, list) or not all(isinstance(part, bytes) for part in parts):
        raise StateError("the states of a chain are garbled: a list of checkpoints is needed")
    checkpoints = map(decode, parts)
    return {checkpoint.operator: checkpoint.state for checkpoint in checkpoints}


class RemoteTraceback(Exception):  # noqa: N818 - no error of its own: it shows where another one came from
    """The traceback of an exception in a worker, as the cause of the exception that stands for it here."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def to_failure(error: BaseException, *, with_traceback: bool = True) -> Failure:
    """An exception as plain data, which `to_error` reverses as far as reports show it."""
    base = next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _BASES)
    lines = traceback.format_exception(error) if with_traceback else ()
    return Failure(type(error).__name__, base, str(error)[:_MOST_TEXT], "".join(lines)[-_MOST_TEXT:])


def to_error(failure: Failure) -> Exception:
    """An exception with the name and message of the one in the worker, and its base among ours.

    >>> error = to_error(to_failure(KeyError("a")))
    >>> type(error).__name__, str(error), isinstance(error, UserError)
    ('KeyError', "'a'", False)
    """
    error: Exception = _kind(failure.name, failure.base)(failure.message)
    if failure.traceback:
        error.__cause__ = RemoteTraceback(failure.traceback)
    return error


_BASES: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (errors.GraphError, errors.ConfigError, errors.RunError, errors.StateError, UserError)
} | {"BaseException": Exception}


@lru_cache(256)
def _kind(name: str, base: str) -> type[Exception]:
    parent = _BASES.get(base, Exception)
    return parent if parent.__name__ == name else type(name, (parent,), {"__module__": "worker"})


def _attempt(step: Operator[Any, Any], work: Callable[[], Any]) -> Any:
    """Do what the run cannot do without."""
    try:
        return work()
    except UserError:
        raise
    except BaseException as error:
        raise _run_error(step.name, error) from error


def _run_error(name: str, error: BaseException) -> RunError:
    failure = RunError(f"{name}: {described(error)}")
    failure.__cause__ = error
    return failure


def _gave(result: Any) -> Gave:
    if result is None:
        return Gave.FILTERED
    if isinstance(result, Absent):
        return Gave.ABSENT
    return Gave.FAILED if isinstance(result, Exception) else Gave.VALUE
