"""CARE's Figure 4, run again: latency and energy by instances, cores and GPU, and what was chosen and tried.

`draw_live` draws what `tools.papers.care_live` measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.papers.care_live_runs import Deployed, Quality
from tools.papers.care_profile import MOST_CORES, TILES, Instance
from tools.papers.care_rows import StrategyRow

_COLORS = dict(zip(TILES, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True))
_QUALITY = 0.79  # leaves x = 2, 4 and 6 to choose from
_SEARCHES = {
    "care": ("tab:green", "greedy"),
    "care-exhaustive": ("tab:blue", "exhaustive, pruned"),
    "care-exhaustive all": ("tab:gray", "exhaustive, all"),
    "exact": ("black", "exact (cores by tile)"),
}


def draw(
    instances: Sequence[Instance], rows: Sequence[StrategyRow], core_watts: float, gpu_watts: float, path: Path
) -> None:
    """Four panels: latency, energy, energy of what was chosen, deployments tried."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    (latency, energy), (chosen, tried) = figure.subplots(2, 2)
    for tiles in TILES:
        color, name = _COLORS[tiles], f"x={tiles}"
        mine = [instance for instance in instances if instance.tiles == tiles and not instance.gpu]
        gpu = next(instance for instance in instances if instance.tiles == tiles and instance.gpu == 1)
        cores = [instance.cores for instance in mine]
        milli = [1e3 * instance.seconds for instance in mine]
        joules = [tiles * instance.cores * core_watts * instance.seconds for instance in mine]
        on_gpu = tiles * (core_watts + gpu_watts) * gpu.seconds
        for axes, values, by_gpu in ((latency, milli, 1e3 * gpu.seconds), (energy, joules, on_gpu)):
            axes.plot(cores, values, "-", color=color, label=name)
            axes.plot(cores, values, "o", color=color, mfc="white")
            measured = [index for index, instance in enumerate(mine) if "measured" in instance.source]
            axes.plot([cores[at] for at in measured], [values[at] for at in measured], "o", color=color)
            axes.plot(MOST_CORES + 1, by_gpu, "D", color=color)
    ticks = [*range(1, MOST_CORES + 1), MOST_CORES + 1]
    for axes, what in ((latency, "latency of a frame, ms"), (energy, "energy of a frame, J")):
        axes.set_xticks(ticks, [*map(str, ticks[:-1]), "GPU"])
        axes.set(xlabel="cores c of an instance, or a GPU", ylabel=what, ylim=0)
        axes.legend(title="instances")
    filled = next(instance.source for instance in instances if "measured" in instance.source)
    latency.set_title(f"Latency: filled {filled}, hollow model (Amdahl), GPU Orin table", fontsize=10)
    energy.set_title("Energy beyond idle: a model", fontsize=10)
    _bars(chosen, rows, "energy of a frame, mJ (model)", lambda row: 1e3 * row.joules if row.joules else 0.0)
    _bars(tried, rows, "deployments tried", lambda row: row.tried, without=("exact",))
    figure.savefig(path, dpi=110)


def _bars(axes: Any, rows: Sequence[StrategyRow], what: str, value: Any, without: tuple[str, ...] = ()) -> None:
    """A group for each cluster and latency at one quality, a bar for each search."""
    groups = list(dict.fromkeys((row.gpus, row.latency) for row in rows))
    searches = [name for name in _SEARCHES if name not in without]
    width = 0.8 / len(searches)
    for place, name in enumerate(searches):
        color, label = _SEARCHES[name]
        mine = {(r.gpus, r.latency): r for r in rows if r.strategy == name and r.quality == _QUALITY}
        at = [group + (place - (len(searches) - 1) / 2) * width for group in range(len(groups))]
        values = [value(mine[group]) for group in groups]
        axes.bar(at, values, width, color=color, label=label)
        for x, height, group in zip(at, values, groups, strict=True):
            if mine[group].joules is None:
                axes.text(x, height, " no plan", rotation=90, ha="center", va="bottom", fontsize=7)
    ticks = [f"{1e3 * latency:g} ms\n{gpus} GPU" for gpus, latency in groups]
    axes.set_xticks(range(len(groups)), ticks, fontsize=8)
    axes.set(xlabel="latency wanted, and GPUs of six servers", ylabel=what)
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])
    axes.set_title(f"Quality at least {_QUALITY:.0%} (Table I)", fontsize=10)
    axes.legend(fontsize="small", loc="upper left", ncols=2)


def draw_live(
    runs: Sequence[Deployed],
    expected: Mapping[Deployed, float],
    qualities: Mapping[int, Quality],
    paper: Mapping[int, Mapping[int, float]],
    goal: float,
    path: Path,
) -> None:
    """Two panels: measured latency by cores of an instance, and quality by tiles beside the paper's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), layout="constrained")
    latency, quality = figure.subplots(1, 2)
    for tiles in TILES:
        color = _COLORS[tiles]
        mine = sorted((run for run in runs if run.tiles == tiles and run.cores), key=lambda run: run.cores or 0)
        cores = [run.cores for run in mine]
        latency.plot(cores, [1e3 * run.mean for run in mine], "o-", color=color, label=f"x={tiles}")
        latency.plot(cores, [1e3 * expected[run] for run in mine], "--", color=color, alpha=0.6)
        alone = next(run for run in runs if run.tiles == tiles and run.cores is None)
        latency.axhline(1e3 * alone.mean, color=color, linestyle=":", alpha=0.6)
    latency.axhline(1e3 * goal, color="black", linewidth=1)
    latency.set(xlabel="cores of an instance", ylabel="latency of a frame, ms", ylim=0)
    latency.set_title("measured (line), expected (dashed), in one process (dotted), goal (black)", fontsize=10)
    latency.legend(title="tiles")
    quality.plot(TILES, [100 * qualities[tiles].tracked for tiles in TILES], "o-", label="measured")
    for objects, values in paper.items():
        shares = [100 * values[tiles] for tiles in TILES]
        quality.plot(TILES, shares, "s--", label=f"paper, {objects} objects")
    quality.set(xlabel="tiles", ylabel="objects correctly tracked, %", xticks=TILES, ylim=(0, 100))
    quality.set_title("Quality, 1080p", fontsize=10)
    quality.legend()
    figure.savefig(path, dpi=110)
