"""What settings take on this machine, kept from one run to the next.

One file for each graph and machine in `$XDG_CACHE_HOME/flowedge/costs` (`~/.cache` without that). A graph whose
operators, settings or cameras change has another file; one that cannot be read or written is done without.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowedge.graph.graph import Graph
from flowedge.graph.serialization import digest
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.measure import cores_here
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.controller.agreements import Agreements
from flowedge.version import __version__


def load(graph: Graph, settings: Sequence[Setting]) -> tuple[dict[Setting, Cost], Agreements]:
    """What an earlier run learnt of these settings; nothing where it does not know all of them."""
    try:
        rows = json.loads(_path(graph).read_text())
        known = {
            _setting(row): Cost(
                {str(name): float(work) for name, work in row["work"].items()},
                None if row["accuracy"] is None else float(row["accuracy"]),
            )
            for row in rows
        }
        agreements = Agreements.of_rows({_setting(row): row["agreements"] for row in rows})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}, Agreements()
    if not known.keys() >= set(settings):
        return {}, Agreements()
    return {setting: known[setting] for setting in settings}, agreements


def _setting(row: Mapping[str, Any]) -> Setting:
    return tuple((str(name), value) for name, value in row["setting"])


def save(graph: Graph, costs: Mapping[Setting, Cost], agreements: Agreements) -> None:
    """Keep what is known for the next run; that it cannot be kept is no reason to end this one."""
    rows = [
        {
            "setting": list(setting),
            "work": dict(cost.work),
            "accuracy": cost.accuracy,
            "agreements": agreements.rows(setting),
        }
        for setting, cost in costs.items()
    ]
    path = _path(graph)
    partial = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(rows))
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink()


def _path(graph: Graph) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    machine = f"{__version__} {platform.machine()} {_processor()} {cores_here()}"
    name = hashlib.sha256(f"{digest(graph)} {machine}".encode()).hexdigest()[:32]
    return Path(base) / "flowedge" / "costs" / f"{name}.json"


def _processor() -> str:
    """The model of the processor, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
