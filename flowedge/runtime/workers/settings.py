"""What a worker is told when it starts, and the topics on which it and its run speak."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowedge.plane.credentials import Credentials
from flowedge.plane.remote import dial
from flowedge.plane.topics import connect
from flowedge.runtime.workers.memory import Carrier, Inline, Memory

if TYPE_CHECKING:
    import zenoh

RUN = "run"
"""The name under which the run reads shared memory."""


@dataclass(frozen=True)
class Dialling:
    """How a worker reaches a run on another machine: the fields of `Credentials`, "" where there are none."""

    name: str
    authority: str
    certificate: str
    key: str
    insecure: bool

    @classmethod
    def of(cls, credentials: Credentials | None, *, insecure: bool) -> Dialling:
        """As its launcher does."""
        if credentials is None:
            return cls("", "", "", "", insecure)
        authority, certificate, key = map(
            str, (credentials.authority, credentials.certificate, credentials.key)
        )
        return cls(credentials.name, authority, certificate, key, insecure)

    @property
    def credentials(self) -> Credentials | None:
        """What it shows to the run."""
        if not self.key:
            return None
        return Credentials(self.name, Path(self.authority), Path(self.certificate), Path(self.key))


@dataclass(frozen=True)
class Settings:
    """What a worker is told when it starts.

    `token` as in its topics, `endpoint` of the run's router, `parent`: process id of the node, `path`: where
    that finds modules. Its engines of inference take `threads` threads, as many as there are cores where it is
    None. `parameters` are those of the command line, for graph files that ask for them. `level` is that of the
    run's log. `memory`: bytes of shared memory that its results may take. On another machine than the run it
    has none: pictures go as JPEG of this `quality`, and `dials` says how it reaches the run.
    """

    token: str
    endpoint: str
    parent: int
    path: Sequence[str]
    threads: int | None
    parameters: Mapping[str, str]
    level: int
    memory: int
    quality: int | None = None
    dials: Dialling | None = None

    def carrier(self) -> Carrier:
        """How its results travel to the run."""
        return Memory(self.token, self.memory) if self.quality is None else Inline(self.quality)

    def connect(self) -> zenoh.Session:
        """A session that reaches the run."""
        if self.dials is None:
            return connect(self.endpoint)
        return dial(self.endpoint, self.dials.credentials, insecure=self.dials.insecure)

    def to_json(self) -> str:
        """One line that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """The settings in a line of JSON."""
        data = json.loads(text)
        dials = data.pop("dials")
        return cls(**data, dials=None if dials is None else Dialling(**dials))


def to_worker(token: str, instance: str = "") -> str:
    """The topic on which a worker, or one of its instances, is told what to do.

    >>> to_worker("edge.1", "Detect")
    'flowedge/@/to/edge.1/Detect'
    """
    return f"flowedge/@/to/{token}/{instance}".rstrip("/")


def from_worker(token: str) -> str:
    """The topic on which a worker speaks ("*" for all workers)."""
    return f"flowedge/@/from/{token}"
