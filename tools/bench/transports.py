"""One hop of a 1080p picture between two processes of this host: ours beside other means, in turn."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 120.0

MODULES = {"ours": "", "ours-yuv": "", "iceoryx2": "iceoryx2", "pyzmq": "zmq", "ray": "ray", "dora-rs": "dora"}


def measure(frames: int, rounds: int) -> Iterator[str]:
    """Medians over the rounds with their range, and ours against each of the others, round by round."""
    present = []
    for means, module in MODULES.items():
        if reason := missing(means, module):
            yield f"{means}: skipped, {reason}"
        else:
            present.append(means)
    results: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for means in present:
            try:
                results[means].append(once(means, frames))
            except (OSError, subprocess.SubprocessError, RuntimeError) as error:
                yield f"{means}: {error}"
    for means, runs in results.items():
        p50, p95, rate = ([run[name] for run in runs] for name in ("p50", "p95", "rate"))
        yield (
            f"{means}: median {spread(p50, 2)} ms, p95 {spread(p95, 2)} ms at 30 frames/s; "
            f"at most {spread(rate, 0)} frames/s"
        )
    ours = results["ours"]
    for means, runs in results.items():
        if not means.startswith("ours") and len(runs) == len(ours):
            waits = [mine["p50"] / theirs["p50"] for mine, theirs in zip(ours, runs, strict=True)]
            rates = [mine["rate"] / theirs["rate"] for mine, theirs in zip(ours, runs, strict=True)]
            yield f"ours / {means}: {spread(waits, 2)} of its median time, {spread(rates, 2)} of its frames/s"


def missing(means: str, module: str) -> str:
    """Why these means cannot be measured here; nothing when they can."""
    if module and importlib.util.find_spec(module) is None:
        return f"{means} is not installed"
    if means == "dora-rs" and not dora_command():
        return "the command dora is not installed: pip install dora-rs-cli"
    return ""


def dora_command() -> str | None:
    return shutil.which("dora", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


def once(means: str, frames: int) -> dict[str, float]:
    """One pair of fresh processes."""
    with tempfile.TemporaryDirectory(prefix="hop-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ends = [
            ("-m", "tools.bench.transport_ends", role, means, name, str(frames)) for role in ("send", "receive")
        ]
        commands = [[sys.executable, *end] for end in ends]
        if means == "dora-rs":
            commands = [[str(dora_command()), "run", str(dataflow(folder, ends))]]
        elif means == "ray":
            commands = commands[:1]
        processes = [stack.enter_context(running(command)) for command in commands]
        for process in processes:
            output, _ = process.communicate(timeout=SECONDS)
            if process.returncode:
                raise RuntimeError(f"ended with {process.returncode}: {output.strip()[-500:]}")
        figures: dict[str, float] = json.loads((folder / "figures").read_text())
        return figures


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process with all that it starts, which ends when the context does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def dataflow(folder: Path, ends: list[tuple[str, ...]]) -> Path:
    """The description of two nodes for dora."""
    wires = (("sender", "picture", "taken", "receiver"), ("receiver", "taken", "picture", "sender"))
    nodes = [
        {
            "id": node,
            "path": sys.executable,
            "args": " ".join(arguments),
            "inputs": {taken: {"source": f"{other}/{taken}", "queue_size": 100}},
            "outputs": [given],
        }
        for (node, given, taken, other), arguments in zip(wires, ends, strict=True)
    ]
    path = folder / "dataflow.yml"
    path.write_text(json.dumps({"nodes": nodes}))  # JSON is YAML
    return path


def spread(numbers: list[float], digits: int) -> str:
    """The median and the range, as text."""
    low, high = min(numbers), max(numbers)
    return f"{statistics.median(numbers):.{digits}f} ({low:.{digits}f}..{high:.{digits}f})"
