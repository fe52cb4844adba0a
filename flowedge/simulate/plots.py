"""Pictures of results; matplotlib is needed: `pip install 'flowedge[plot]'`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from flowedge.errors import ConfigError
from flowedge.simulate.core import LATE, OUTCOMES
from flowedge.simulate.results import Results
from flowedge.simulate.scenario import Scenario

KINDS = ("png", "svg", "pdf")
_COLOURS = ("#4daf4a", "#ffb000", "#999999", "#e41a1c", "#a65628", "#984ea3", "#377eb8", "#000000")
"""One for each of `OUTCOMES`, the same in every picture."""


def kind_of(path: Path) -> str:
    """What a picture of this name is drawn as.

    Raises `ConfigError` for an ending that is none of `KINDS`, and where matplotlib is missing.
    """
    if find_spec("matplotlib") is None:
        raise ConfigError("--plot: matplotlib is missing; pip install 'flowedge[plot]'")
    kind = path.suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise ConfigError(f"--plot {path}: write a name that ends in .png, .svg or .pdf")
    return kind


def drawn(scenario: Scenario, runs: Sequence[Results], kind: str = "png") -> bytes:
    """A picture of the runs, as the content of a file of one of `KINDS`.

    Successes over time; outcomes of each run; how latencies are distributed; how busy nodes were.
    """
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(name for run in runs for name in run.nodes))
    figure = Figure(figsize=(13, 8 + 0.25 * max(0, len(runs) - 6)), layout="constrained")
    panels = figure.subplots(2, 2)
    _series(panels[0, 0], scenario, runs)
    _outcomes(panels[0, 1], runs)
    _latencies(panels[1, 0], runs)
    _nodes(panels[1, 1], runs, names)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=min(6, len(runs)),
        fontsize="small",
    )
    figure.suptitle(f"{scenario.name}, {scenario.duration:g} s, seed {scenario.seed}")
    content = BytesIO()
    figure.savefig(content, format=kind, dpi=120)
    return content.getvalue()


def _colour(number: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab20" if number >= 10 else "tab10"](number % 20)


def _series(panel: Any, scenario: Scenario, runs: Sequence[Results]) -> None:
    times = (np.arange(np.ceil(scenario.duration / scenario.window)) + 0.5) * scenario.window
    for number, run in enumerate(runs):
        style = "-" if number < 10 else "--"
        shares = 100 * run.series(scenario.window)
        panel.plot(times, shares, style, label=run.choice, color=_colour(number))
    panel.set(
        title="Successes over time", xlabel="time, s", ylabel="% of requests", xlim=(0, scenario.duration)
    )
    panel.set_ylim(0, 102)


def _latencies(panel: Any, runs: Sequence[Results]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    marks = np.linspace(0, 1, 201)
    for number, run in enumerate(runs):
        answered = run.latency[run.outcome <= LATE]
        if len(answered):
            style = "-" if number < 10 else "--"
            panel.plot(1e3 * np.quantile(answered, marks), 100 * marks, style, color=_colour(number))
    panel.set(title="Latency of what was answered", xlabel="latency, ms", ylabel="% within", xscale="log")
    panel.set_ylim(0, 102)
    panel.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.xaxis.set_major_formatter(ScalarFormatter())
    panel.xaxis.set_minor_formatter(NullFormatter())


def _outcomes(panel: Any, runs: Sequence[Results]) -> None:
    offsets = np.zeros(len(runs))
    for outcome, colour in zip(OUTCOMES, _COLOURS, strict=True):
        shares = np.array([100 * run.share(outcome) for run in runs])
        if shares.any():
            panel.barh([run.choice for run in runs], shares, left=offsets, label=outcome, color=colour)
            offsets += shares
    panel.invert_yaxis()
    # Room for the legend below the bars.
    panel.set(title="Outcomes", xlabel="% of requests", xlim=(0, 100), ylim=(1.35 * len(runs) - 0.4, -0.6))
    panel.legend(fontsize="small", loc="lower center", ncols=3)


def _nodes(panel: Any, runs: Sequence[Results], names: Sequence[str]) -> None:
    width = 0.8 / max(len(runs), 1)
    for number, run in enumerate(runs):
        places = np.arange(len(names)) + (number - (len(runs) - 1) / 2) * width
        shares = [100 * run.nodes.get(name, 0.0) for name in names]
        panel.bar(places, shares, 0.95 * width, color=_colour(number))
    crowded = len(names) > 8
    panel.set_xticks(
        np.arange(len(names)),
        names,
        rotation=90 if crowded else 0,
        fontsize="x-small" if len(names) > 25 else "small",
    )
    panel.set(title="Utilisation of nodes", ylabel="% of the node", ylim=(0, None))
