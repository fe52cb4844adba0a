"""Pictures of results; matplotlib is needed: `pip install 'flowedge[plot]'`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from flowedge.errors import ConfigError
from flowedge.simulate.core import LATE, OUTCOMES
from flowedge.simulate.results import Results
from flowedge.simulate.scenario import Scenario


def plot(scenario: Scenario, runs: Sequence[Results], path: Path) -> None:
    """Draws the runs into a file (PNG, SVG or PDF by its ending).

    Successes over time; outcomes of each run; how latencies are distributed; how busy nodes were. Raises
    `ConfigError` where matplotlib is missing or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import ScalarFormatter
    except ImportError as error:
        raise ConfigError("--plot: matplotlib is missing; pip install 'flowedge[plot]'") from error
    figure = Figure(figsize=(12, 8), layout="constrained")
    panels = figure.subplots(2, 2)
    times = (np.arange(np.ceil(scenario.duration / scenario.window)) + 0.5) * scenario.window
    marks = np.linspace(0, 1, 201)
    for number, run in enumerate(runs):
        colour = f"C{number % 10}"
        panels[0, 0].plot(times, 100 * run.series(scenario.window), label=run.choice, color=colour)
        answered = run.latency[run.outcome <= LATE]
        if len(answered):
            panels[1, 0].plot(1e3 * np.quantile(answered, marks), 100 * marks, label=run.choice, color=colour)
    _outcomes(panels[0, 1], runs)
    _nodes(panels[1, 1], runs)
    panels[0, 0].set(title="Successes over time", xlabel="s", ylabel="% of requests", ylim=(0, 102))
    panels[1, 0].set(title="Latency of what was answered", xlabel="ms", ylabel="% within", xscale="log")
    panels[1, 0].xaxis.set_minor_formatter(ScalarFormatter())
    panels[1, 0].xaxis.set_major_formatter(ScalarFormatter())
    panels[0, 0].legend(fontsize="small")
    figure.suptitle(f"{scenario.name}, seed {scenario.seed}")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--plot {path}: cannot be written: {error}") from error


def _outcomes(panel: Any, runs: Sequence[Results]) -> None:
    left = np.zeros(len(runs))
    for outcome in OUTCOMES:
        shares = np.array([100 * run.share(outcome) for run in runs])
        if shares.any():
            panel.barh([run.choice for run in runs], shares, left=left, label=outcome)
            left += shares
    panel.invert_yaxis()
    panel.set(title="Outcomes", xlabel="% of requests")
    panel.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4)


def _nodes(panel: Any, runs: Sequence[Results]) -> None:
    names = list(dict.fromkeys(name for run in runs for name in run.nodes))
    width = 0.8 / max(len(runs), 1)
    for number, run in enumerate(runs):
        places = np.arange(len(names)) + number * width
        panel.bar(places, [100 * run.nodes.get(name, 0.0) for name in names], width, color=f"C{number % 10}")
    panel.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names, rotation=30, ha="right")
    panel.set(title="Utilisation of nodes", ylabel="%")
