"""How a process hands large values to others on its host: in shared memory, where that pays and has room."""

from __future__ import annotations

from typing import Any

from flowedge.plane.transports.shared_memory import Pool, Views
from flowedge.wire.blocks import Block, decode

SMALL = 64 * 1024
"""Bytes of a block below which it goes inside its message."""


class Memory:
    """A process's way to hand large values to others on this host: its own pool, and views of theirs.

    `spilled` counts the values that went inside their message because the pool was full.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.pool = Pool(name, capacity)
        self.views = Views(name)
        self.spilled = 0

    def laid(self, value: Block, reader: str) -> tuple[bytes | None, Block | bytes]:
        """Where a value's block lies for a reader, and what goes into the message: the block itself if nowhere.

        A block of less than 64 KiB costs less to copy than a slot to keep.
        """
        if value.size < SMALL:
            return None, value
        slot = self.pool.write(value, (reader,)) if value.size <= self.pool.capacity else None
        if slot is None:
            self.spilled += 1
            return None, value
        return slot, b""

    def value(self, slot: bytes | None, body: memoryview) -> Any:
        """The value of a message. Raises `SlotLost`, and `WireError` for what is no value."""
        return decode(body if slot is None else self.views.read(slot))

    def forget(self, other: str) -> None:
        """Another process is gone."""
        self.pool.forget(other)
        self.views.forget(other)

    def close(self) -> None:
        """Let go of all of it; what is looked at stays whole."""
        self.views.close()
        self.pool.close()
