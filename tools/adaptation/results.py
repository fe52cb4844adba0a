"""Runs of a scenario as figures, rows and a picture."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.adaptation.running import Result, Second, is_settled


@dataclass(frozen=True)
class Figures:
    """A run in figures, from some seconds after its start and every event on.

    `met` is the share of seconds whose latency kept the goal, `latency` the median of their p95 in seconds,
    `lost` the share of frames; `f1` is that of the frames that came, `f1_all` of all; `first` is when the first
    plan was made, None without one.
    """

    name: str
    met: float
    f1: float | None
    f1_all: float | None
    latency: float
    lost: float
    fps: float
    others: float
    changes: int
    first: float | None


def figures(result: Result, settle: float) -> Figures:
    """The figures of a run."""
    rows = settled(result, settle)
    produced = sum(row.produced for row in rows)
    latencies = [row.latency for row in rows if row.latency is not None]
    return Figures(
        result.name,
        statistics.fmean(kept(row, result.goal) for row in rows),
        result.f1,
        result.f1_all,
        statistics.median(latencies) if latencies else float("nan"),
        sum(row.lost for row in rows) / produced if produced else 0.0,
        sum(row.delivered for row in rows) / len(rows),
        statistics.fmean(row.others for row in rows),
        len(result.decisions),
        result.decisions[0].at if result.decisions else None,
    )


def settled(result: Result, settle: float) -> list[Second]:
    """The seconds that count; one is named by its end."""
    events = [0.0, *(at for at, _ in result.events)]
    return [row for row in result.seconds if is_settled(row.at - 1, events, settle)]


def kept(row: Second, goal: float) -> bool:
    return row.latency is not None and row.latency <= goal


def best_fixed(fixed: Sequence[Figures], met: float) -> Figures | None:
    """In hindsight: the most accurate that keeps the goal as often, else the one that keeps it most often."""
    if not fixed:
        return None
    keeping = [one for one in fixed if one.met >= min(met, 0.95)]
    return max(keeping, key=lambda one: one.f1_all or 0.0) if keeping else max(fixed, key=lambda one: one.met)


def table(runs: Sequence[Result], settle: float) -> Iterator[str]:
    """The runs as lines, and what was expected of every change beside what came."""
    every = [figures(run, settle) for run in runs]
    yield (
        f"{'run':<22}{'goal met':>9}{'F1':>7}{'F1 all':>8}{'p95 ms':>8}{'lost':>7}{'fps':>7}{'others':>8}"
        f"{'changes':>9}{'first s':>9}"
    )
    for one in every:
        f1, f1_all = ("" if value is None else f"{value:.3f}" for value in (one.f1, one.f1_all))
        first = "" if one.first is None else f"{one.first:.1f}"
        yield (
            f"{one.name:<22}{one.met:>9.1%}{f1:>7}{f1_all:>8}{1e3 * one.latency:>8.0f}{one.lost:>7.1%}"
            f"{one.fps:>7.1f}{one.others:>8.2f}{one.changes:>9}{first:>9}"
        )
    adaptive = [one for one in every if one.name.startswith("adaptive")]
    fixed = [one for one in every if not one.name.startswith("adaptive")]
    if adaptive and (best := best_fixed(fixed, adaptive[-1].met)):
        yield f"the best fixed setting in hindsight: {best.name}"
    for run in runs:
        yield from _decisions(run)


def _decisions(run: Result) -> Iterator[str]:
    errors = []
    for number, made in enumerate(run.decisions):
        later = run.decisions[number + 1].at if number + 1 < len(run.decisions) else float("inf")
        events = [at for at, _ in run.events if at > made.at]
        setup, planning = made.setup_seconds or 0.0, made.planning_seconds or 0.0
        until = min([later, made.at + 10, *events])
        after = [
            row.latency
            for row in run.seconds
            if row.latency is not None and made.at + setup + 1.5 < row.at <= until
        ]
        came = statistics.median(after) if after else None
        error = None if came is None or not made.expected_latency else made.expected_latency / came - 1
        if error is not None:
            errors.append(error)
        yield (
            f"{run.name} {made.at:6.1f} s  {', '.join(f'{k} x {n}' for k, n in made.settings.items())}  "
            f"{made.reason}"
            + (f"; expected {1e3 * made.expected_latency:.0f} ms" if made.expected_latency else "")
            + ("" if came is None else f", came {1e3 * came:.0f} ms")
            + ("" if error is None else f" ({error:+.0%})")
            + f", planned in {1e3 * planning:.0f} ms, set up in {1e3 * setup:.0f} ms"
            + ("" if made.reached else ", out of reach")
        )
    if errors:
        yield (
            f"{run.name}: expected against measured latency of {len(errors)} changes: median error "
            f"{statistics.median(map(abs, errors)):.0%}, worst {max(map(abs, errors)):.0%}, "
            f"bias {statistics.median(errors):+.0%}"
        )
    if run.decisions:
        yield (
            f"{run.name}: memory {run.memory / 2**20:.0f} MiB; rehearsals took "
            f"{sum(row.children for row in run.seconds):.0f} core-seconds; the controller took "
            f"{1e3 * statistics.fmean(run.controlling):.1f} ms of the processor a second, "
            f"{1e3 * max(run.controlling):.0f} ms at most, planning {1e3 * _planning(run):.0f} ms at most"
        )


def _planning(run: Result) -> float:
    return max(made.planning_seconds or 0.0 for made in run.decisions)


def write_rows(runs: Sequence[Result], path: Path) -> None:
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(
            [
                "run",
                "second",
                "latency_p95_s",
                "goal_s",
                "f1",
                "produced",
                "delivered",
                "lost",
                "settings",
                "cores",
                "children",
                "others",
            ]
        )
        for run in runs:
            for row in run.seconds:
                used = "; ".join(f"{words} x {count}" for words, count in row.settings.items())
                rows.writerow(
                    [run.name, row.at, row.latency, run.goal, row.f1, row.produced, row.delivered, row.lost,
                     used, round(row.cores, 3), round(row.children, 3), round(row.others, 3)]
                )  # fmt: skip


def draw(runs: Sequence[Result], title: str, path: Path) -> None:
    """Latency, accuracy, losses and settings over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 10), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True)
    names = sorted({name for run in runs for row in run.seconds for name in row.settings}, key=_natural)
    for number, run in enumerate(runs):
        style = {
            "color": f"C{number}",
            "lw": 2.2 if run.name.startswith("adaptive") else 1.0,
            "label": run.name,
        }
        at = [row.at for row in run.seconds]
        panels[0].plot(at, [_ms(row.latency) for row in run.seconds], **style)
        panels[1].plot(at, _smooth([_or_nan(row.f1) for row in run.seconds]), **style)
        panels[2].plot(at, [row.lost for row in run.seconds], **style)
        if run.name.startswith("adaptive"):
            panels[3].plot(at, [_mean_place(row, names) for row in run.seconds], drawstyle="steps-pre", **style)
    panels[0].axhline(1e3 * runs[0].goal, color="black", ls=":", lw=1)
    panels[0].set(ylabel="latency p95, ms", yscale="log", title=title)
    panels[1].set(ylabel="F1 of all frames (5 s mean)")
    panels[2].set(ylabel="frames lost, 1/s")
    panels[3].set(ylabel="setting (mean)", xlabel="time, s", yticks=range(len(names)), yticklabels=names)
    for panel in panels:
        for when, name in runs[0].events:
            panel.axvline(when, color="grey", ls="--", lw=0.8)
            if panel is panels[0]:
                panel.annotate(
                    name, (when, 1), xycoords=("data", "axes fraction"), fontsize="small", va="bottom"
                )
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize="small")
    figure.savefig(path, dpi=110)


def _natural(words: str) -> tuple[int, str]:
    digits = "".join(letter for letter in words if letter.isdigit())
    return int(digits or 0), words


def _ms(latency: float | None) -> float:
    return float("nan") if latency is None else 1e3 * latency


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _smooth(values: Sequence[float], width: int = 5) -> list[float]:
    means = []
    for at in range(len(values)):
        near = [value for value in values[max(0, at - width + 1) : at + 1] if value == value]
        means.append(statistics.fmean(near) if near else float("nan"))
    return means


def _mean_place(row: Second, names: Sequence[str]) -> float:
    cameras = sum(row.settings.values())
    return sum(names.index(name) * count for name, count in row.settings.items()) / cameras if cameras else 0.0
