"""ROMA's evaluation, run again: couplings and their errors, and what allocation by them saves.

    python -m tools.papers.roma --data DATA --out roma

There are two applications; the eight cameras of each share its cores, and every camera has its own Mbit/s. They
are AWStream's pedestrian detection (`planner/awstream/offline.mot.csv` of the data folder: measured bandwidth
and accuracy of 179 settings, compute by a model: 30 / (skip + 1) frames a second, each with the CPU time of
yolo11n at 640 pixels, `--seconds`, by its pixels), and detection in a street, measured by
`tools.papers.roma_grid` on this machine (`--grid` takes its CSV).

Table I (couplings.csv): MAE, MSE and RMSE of the couplings in cores and Mbit/s, at the points of the fit, left
out of it (ten folds), and on another street. Figures 7 to 9 (roma.png): bandwidth from 10 to 0.05 Mbit/s with
all cores, and cores from 16 to 2 with all bandwidth. The static allocation is what the best setting needs when
nothing is short, cut to what is available. In every allocation the application takes the best setting that
fits. `settings` is [P] with the settings themselves in place of a coupling, which no coupling can beat. Since
schemes trade accuracy for resources at different rates, frontier.png and its table compare them over eta, at
equal accuracy. Last, placement and allocation together against a given placement (plans.csv,
`tools.papers.roma_plans`).
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowedge.planner.papers.roma.allocation import ETA, allocate
from tools.papers import roma_grid, roma_plans
from tools.papers.files import add_data_option, data_folder, write_csv
from tools.papers.roma_cases import (
    BANDWIDTHS,
    CORES,
    COUPLINGS,
    Case,
    CouplingError,
    awstream,
    case,
    fits,
    street,
)

ETAS = (0.01, 0.02, 0.05, ETA, 0.2, 0.3, 0.5, 0.7)
ALLOWED = (1, 2, 5)  # points of accuracy that may be lost
SCHEMES = ("static", *COUPLINGS, "settings")


@dataclass(frozen=True)
class Used:
    """What a scheme used and reached where so much was available; `fresh` on the other street (nan if none)."""

    case: str
    scheme: str
    eta: float
    varied: str
    net_available: float
    com_available: float
    net: float
    com: float
    promised: float
    reached: float
    fresh: float

    def cells(self) -> list[str]:
        """As a line of a table."""
        numbers = (self.net_available, self.com_available, self.net, self.com)
        shares = (self.promised, self.reached, self.fresh)
        return [self.case, self.scheme, f"{self.eta:g}", self.varied] + [
            f"{number:.3f}" for number in (*numbers, *shares)
        ]


def main() -> None:
    """Fit the couplings, allocate, plan, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--out", type=Path, default=Path("roma"), help="folder to write (default %(default)s)")
    parser.add_argument("--grid", type=Path, help="a CSV of tools.papers.roma_grid")
    parser.add_argument(
        "--seconds", type=float, default=0.04, help="CPU time of yolo11n at 640 pixels (default %(default)s)"
    )
    options = parser.parse_args()
    planner = data_folder(parser, options) / "planner"
    options.out.mkdir(parents=True, exist_ok=True)
    measured = roma_grid.read(options.grid) if options.grid else list(roma_grid.measured(16))
    roma_grid.write(measured, options.out / "grid.csv")
    first, second = (street(measured, number) for number in roma_grid.STREETS)
    cases = [
        case("AWStream mot", awstream(planner / "awstream" / "offline.mot.csv", options.seconds)),
        case("street", first, second),
    ]
    _table_1(
        [fit for application in cases for fit in fits(application)], planner / "roma_table1.csv", options.out
    )
    used = [allocation for application in cases for eta in ETAS for allocation in sweep(application, eta)]
    header = list(Used.__dataclass_fields__)
    write_csv(options.out / "allocations.csv", [header, *(allocation.cells() for allocation in used)])
    _savings([allocation for allocation in used if allocation.eta == ETA])
    _frontier(cases, used)
    _plot(cases, [allocation for allocation in used if allocation.eta == ETA], options.out / "roma.png")
    _plot_frontier(cases, used, options.out / "frontier.png")
    plans = list(roma_plans.outcomes([point for point in measured if point.street == roma_grid.STREETS[0]]))
    roma_plans.show(plans)
    header = ["site", "scheme", "objective", "accuracy", "cores", "mbit_s"]
    write_csv(options.out / "plans.csv", [header, *(plan.cells() for plan in plans)])


def sweep(application: Case, eta: float) -> Iterator[Used]:
    """All schemes where bandwidth and then cores become few."""
    available = [("bandwidth", net, CORES[0]) for net in BANDWIDTHS] + [
        ("cores", BANDWIDTHS[0], com) for com in CORES
    ]
    scale = BANDWIDTHS[0], CORES[0]
    peak = allocate(application.known, *scale, eta=1e-6, scale=scale)
    assert peak is not None
    for varied, net, com in available:
        schemes = [("static", min(net, peak.net), min(com, peak.com), float("nan"))]
        for scheme, coupled in application.coupled.items():
            given = allocate(coupled, net, com, most=application.most, eta=eta, scale=scale)
            # Where the coupling allows nothing at all, the scheme takes all that is available.
            schemes.append(
                (scheme, *((net, com, 0.0) if given is None else (given.net, given.com, given.performance)))
            )
        for scheme, n, c, promised in schemes:
            reached = application.known.reached(n, c)
            fresh = float("nan") if application.fresh is None else application.fresh.reached(n, c)
            yield Used(application.name, scheme, eta, varied, net, com, n, c, promised, reached, fresh)


def _table_1(coupling_errors: Sequence[CouplingError], paper: Path, out: Path) -> None:
    print(f"{'MAE, MSE, RMSE':<40}" + "".join(f"{name:<24}" for name in COUPLINGS))
    with paper.open(newline="") as file:
        for row in csv.DictReader(file):
            cells = (
                ", ".join(row[f"{error}_{kind}"] for error in ("mae", "mse", "rmse"))
                for kind in ("lin", "svr", "mlp")
            )
            print(
                f"{'paper ' + row['instance'].replace('_', ' '):<40}" + "".join(f"{cell:<24}" for cell in cells)
            )
    for case_name, direction, sample in dict.fromkeys((f.case, f.direction, f.sample) for f in coupling_errors):
        mine = [f for f in coupling_errors if (f.case, f.direction, f.sample) == (case_name, direction, sample)]
        errors = [f"{f.errors.mae:.2f}, {f.errors.mse:.2f}, {f.errors.rmse:.2f}" for f in mine]
        name = f"{case_name} {direction}, {sample} ({mine[0].points})"
        print(f"{name:<40}" + "".join(f"{cell:<24}" for cell in errors))
    header = ["case", "direction", "coupling", "sample", "points", "mae", "mse", "rmse"]
    write_csv(out / "couplings.csv", [header, *(error.cells() for error in coupling_errors)])


def _savings(used: Sequence[Used]) -> None:
    """Savings against the static allocation at one eta, at most and in the mean, and the accuracy lost."""
    print(
        f"\nSaved against static, eta {ETA:g}{'compute, %':>25}{'bandwidth, %':>19}{'points lost':>20}"
        f"{'other street':>14}"
    )
    print(
        f"{'case':<15}{'scheme':<10}{'varied':<10}"
        + f"{'mean':>10}{'most':>9}" * 2
        + f"{'mean':>11}{'worst':>9}{'mean':>14}"
    )
    for case_name, scheme, varied in dict.fromkeys(
        (u.case, u.scheme, u.varied) for u in used if u.scheme != "static"
    ):
        pairs = _against_static([u for u in used if (u.case, u.varied) == (case_name, varied)], scheme)
        figures = [
            [100 * (1 - u.com / s.com) for u, s in pairs],
            [100 * (1 - u.net / s.net) for u, s in pairs],
            [100 * (s.reached - u.reached) for u, s in pairs],
        ]
        cells = "".join(f"{sum(figure) / len(figure):>10.1f}{max(figure):>9.1f}" for figure in figures)
        again = 100 * float(np.mean([s.fresh - u.fresh for u, s in pairs]))
        print(f"{case_name:<15}{scheme:<10}{varied:<10}{cells}{again:>14.1f}")


def _frontier(cases: Sequence[Case], used: Sequence[Used]) -> None:
    """The resources that each scheme needs at best where so much accuracy may be lost, as shares of static."""
    print("\nLeast resources over eta, % of static (mean of compute and bandwidth, all conditions), if at most")
    print(f"{'case':<15}{'scheme':<10}" + "".join(f"{f'{points} points are lost':>20}" for points in ALLOWED))
    for application in cases:
        for scheme in application.coupled:
            trades = _trade(used, application.name, scheme)
            least = (
                min((share for lost, share in trades if lost <= points), default=None) for points in ALLOWED
            )
            cells = (f"{'-' if share is None else f'{share:.0f}':>20}" for share in least)
            print(f"{application.name:<15}{scheme:<10}" + "".join(cells))


def _trade(used: Sequence[Used], case_name: str, scheme: str) -> list[tuple[float, float]]:
    """Points of accuracy lost and resources used in % of static for each eta: means over all conditions."""
    trades = []
    for eta in ETAS:
        pairs = _against_static([u for u in used if (u.case, u.eta) == (case_name, eta)], scheme)
        lost = float(np.mean([100 * (s.reached - u.reached) for u, s in pairs]))
        trades.append((lost, float(np.mean([50 * (u.com / s.com + u.net / s.net) for u, s in pairs]))))
    return trades


def _against_static(used: Sequence[Used], scheme: str) -> list[tuple[Used, Used]]:
    """What a scheme used, and what the static allocation did under the same condition."""

    def condition(allocation: Used) -> tuple[str, float, float]:
        return allocation.varied, allocation.net_available, allocation.com_available

    static = {condition(allocation): allocation for allocation in used if allocation.scheme == "static"}
    return [(allocation, static[condition(allocation)]) for allocation in used if allocation.scheme == scheme]


_LOOKS = {
    "static": ("black", "s", "-"),
    "linear": ("tab:orange", "o", "-"),
    "SVR": ("tab:purple", "v", ":"),
    "MLP": ("tab:brown", "^", ":"),
    "surface": ("tab:green", "D", "-"),
    "settings": ("tab:blue", "x", "--"),
}


def _plot(cases: Sequence[Case], used: Sequence[Used], path: Path) -> None:
    """The paper's Figures 7 to 9: a row for each application."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.7 * len(cases) + 0.7), layout="constrained")
    rows = figure.subplots(len(cases), 4)
    for row, application in zip(rows, cases, strict=True):
        for scheme in ("static", *application.coupled):
            for varied, (top, bottom) in (("bandwidth", row[:2]), ("cores", row[2:])):
                mine = [u for u in used if (u.case, u.scheme, u.varied) == (application.name, scheme, varied)]
                by_net = varied == "bandwidth"
                places = range(len(mine))
                available = [u.net_available if by_net else u.com_available for u in mine]
                color, marker, line = _LOOKS[scheme]
                look = {"color": color, "marker": marker, "linestyle": line, "markersize": 5, "alpha": 0.8}
                top.plot(places, [100 * u.reached for u in mine], label=scheme, **look)
                bottom.plot(places, [u.com if by_net else u.net for u in mine], label=scheme, **look)
                label = "available Mbit/s of each camera" if by_net else "available cores of 8 cameras"
                top.set(xlabel=label, ylabel="accuracy reached, %", ylim=(0, 100))
                kind, most = ("cores", CORES[0]) if by_net else ("Mbit/s", BANDWIDTHS[0])
                bottom.set(xlabel=label, ylabel=f"{kind} allocated", ylim=(0, 1.05 * most))
                for axes in (top, bottom):
                    axes.set_title(
                        f"{application.name}: {'less bandwidth' if by_net else 'fewer cores'}", fontsize=10
                    )
                    axes.set_xticks(places, [f"{amount:g}" for amount in available])
    handles, labels = rows[-1][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.savefig(path, dpi=110)


def _plot_frontier(cases: Sequence[Case], used: Sequence[Used], path: Path) -> None:
    """Resources by the accuracy that they cost, for every eta."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.5 * len(cases), 4.3), layout="constrained")
    for axes, application in zip(figure.subplots(1, len(cases)), cases, strict=True):
        for scheme in application.coupled:
            color, marker, line = _LOOKS[scheme]
            lost, share = zip(*_trade(used, application.name, scheme), strict=True)
            axes.plot(lost, share, color=color, marker=marker, linestyle=line, label=scheme, alpha=0.8)
        axes.set(
            xlabel="accuracy lost against static, points", ylabel="resources allocated, % of static",
            title=f"{application.name}: eta from {ETAS[0]:g} to {ETAS[-1]:g}", xlim=(-1, 25), ylim=(0, 110),
        )  # fmt: skip
        axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
