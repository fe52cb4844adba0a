"""How values travel between a run and its workers: in shared memory on one host, inside messages elsewhere."""

from __future__ import annotations

from typing import Any, Protocol

from flowedge.plane.transports.shared_memory import Pool, Views
from flowedge.wire.blocks import Block, Message, block, decode
from flowedge.wire.fields import WireError

SMALL = 64 * 1024
"""Bytes of a block below which it goes inside its message."""


class Carrier(Protocol):
    """A process's way to hand values to others."""

    def laid(self, value: Message, reader: str) -> tuple[bytes | None, Block | bytes]:
        """Where a value lies for a reader, and what goes into the message.

        Raises `WireError` for a value that has no wire form.
        """

    def value(self, slot: bytes | None, body: memoryview) -> Any:
        """The value of a message. Raises `SlotLost`, and `WireError` for what is no value."""

    def forget(self, other: str) -> None:
        """Another process is gone."""

    def trim(self) -> None:
        """Give back what is not in use; to be called about once a second."""

    def close(self) -> None:
        """Let go of all of it; what is looked at stays whole."""


class Memory:
    """To hand large values to others on this host: a pool of shared memory, and views of theirs.

    `spilled` counts the values that went inside their message because the pool was full.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.pool = Pool(name, capacity)
        self.views = Views(name)
        self.spilled = 0

    def laid(self, value: Message, reader: str) -> tuple[bytes | None, Block | bytes]:
        """The slot of a value's block for a reader, or else the block itself for the message.

        A block of less than 64 KiB costs less to copy than a slot to keep.
        """
        laid = block(value)
        if laid.size < SMALL:
            return None, laid
        slot = self.pool.write(laid, (reader,)) if laid.size <= self.pool.capacity else None
        if slot is None:
            self.spilled += 1
            return None, laid
        return slot, b""

    def value(self, slot: bytes | None, body: memoryview) -> Any:
        """The value of a message. Raises `SlotLost`, and `WireError` for what is no value."""
        return decode(body if slot is None else self.views.read(slot))

    def forget(self, other: str) -> None:
        """Another process is gone."""
        self.pool.forget(other)
        self.views.forget(other)

    def trim(self) -> None:
        """Give memory that is not in use back to the system."""
        self.pool.trim()

    def close(self) -> None:
        """Let go of all of it; what is looked at stays whole."""
        self.views.close()
        self.pool.close()


class Inline:
    """To hand values to another machine: inside their messages, pictures as JPEG of this quality (0..100)."""

    def __init__(self, quality: int) -> None:
        self._quality = quality

    def laid(self, value: Message, reader: str) -> tuple[bytes | None, Block | bytes]:  # noqa: ARG002
        """A value's block, for the message."""
        return None, block(value, jpeg=self._quality)

    def value(self, slot: bytes | None, body: memoryview) -> Any:
        """The value of a message. Raises `WireError` for what is no value."""
        if slot is not None:
            raise WireError("a slot in shared memory cannot be read from another machine")
        return decode(body)

    def forget(self, other: str) -> None:
        """Nothing is kept of another process."""

    def trim(self) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing is kept."""
