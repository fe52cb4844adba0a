"""ROMA's evaluation, run again: couplings and their errors, and what joint allocation saves.

    python -m tools.papers.roma --data DATA --out roma

Two applications: AWStream's pedestrian detection (`planner/awstream/offline.mot.csv` of the data folder: its
measured bandwidth and accuracy of 179 settings, compute by a model: 30 / (skip + 1) frames a second, each with
the CPU time of this machine's yolo11n at 640 pixels, `--seconds`, by its pixels), and detection in a street,
measured by `tools.papers.roma_grid` on this machine (`--grid` takes its CSV), of which SITE cameras share the
cores.

Table: errors (MAE, MSE, RMSE) of the couplings in cores and Mbit/s. Figures 7-9: bandwidth from 10 to 0.05
Mbit/s with all cores, and cores from 16 to 2 with all bandwidth: accuracy reached and resources used by a
static allocation (all there is), by the paper's linear programme and by the concave surface, at the same
available resources. Whatever the allocation, the application takes the best setting within it.
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowedge.planner.checker import violations
from flowedge.planner.cluster import Cluster, Link, Node
from flowedge.planner.couplings import (
    Coupling,
    Errors,
    Linear,
    Points,
    Surface,
    errors,
    linear,
    perceptron,
    support_vectors,
    surface,
)
from flowedge.planner.prediction import predict
from flowedge.planner.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.profiles import Accuracy, Output, Profiles, Service, setting
from flowedge.planner.strategies.exact import exact
from flowedge.planner.strategies.roma import ETA, allocate, roma, roma_linear, roma_static
from tools.papers import roma_grid

BANDWIDTHS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05)  # Mbit/s
CORES = (16.0, 12.0, 8.0, 6.0, 4.0, 3.0, 2.0)
SITE = 40  # cameras of the street
ETAS = (0.02, ETA, 0.3)


@dataclass(frozen=True)
class Case:
    """An application: operating points in Mbit/s and cores, and how both couplings were fitted."""

    name: str
    points: Points
    grid: Points
    needs: Points
    lines: tuple[Linear, Linear]
    plane: Surface


@dataclass(frozen=True)
class Used:
    """What a scheme used and reached where so much was available."""

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

    def cells(self) -> list[str]:
        """As a line of a table."""
        numbers = (self.net_available, self.com_available, self.net, self.com, self.promised, self.reached)
        return [self.case, self.scheme, f"{self.eta:g}", self.varied, *(f"{each:.3f}" for each in numbers)]


def main() -> None:
    """Fit, allocate, plan, print, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("FLOWEDGE_DATA"), help="the data folder")
    parser.add_argument("--out", type=Path, default=Path("roma"), help="folder to write (default %(default)s)")
    parser.add_argument("--grid", type=Path, help="a CSV of tools.papers.roma_grid")
    parser.add_argument(
        "--seconds", type=float, default=0.04, help="CPU time of yolo11n at 640 pixels (default %(default)s)"
    )
    options = parser.parse_args()
    if options.data is None:
        parser.error("--data FOLDER (or FLOWEDGE_DATA) is needed")
    options.out.mkdir(parents=True, exist_ok=True)
    measured = roma_grid.read(options.grid) if options.grid else list(roma_grid.measured(16))
    roma_grid.write(measured, options.out / "grid.csv")
    street = Points([p.net for p in measured], [SITE * p.com for p in measured], [p.score for p in measured])
    cases = [
        case(
            "AWStream mot", awstream(options.data / "planner" / "awstream" / "offline.mot.csv", options.seconds)
        ),
        case("street", street),
    ]
    _table(cases, options.out)
    used = [each for every in cases for eta in ETAS for each in sweep(every, eta)]
    _show(used)
    header = ["case", "scheme", "eta", "varied", "net_available", "com_available"]
    header += ["net", "com", "promised", "reached"]
    _write(options.out / "allocations.csv", header, [each.cells() for each in used])
    _plot(cases, [each for each in used if each.eta == ETA], options.out / "roma.png")
    _write(options.out / "plans.csv", ["strategy", "eta", "accuracy", "cores", "mbit_s"], plans(measured))


def awstream(path: Path, seconds: float) -> Points:
    """AWStream's settings; `seconds` is the CPU time of a frame of 640 pixels."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    com = [30 / (int(row["skip"]) + 1) * seconds * (int(row["width"]) / 640) ** 2 for row in rows]
    return Points([float(row["bandwidth"]) for row in rows], com, [float(row["accuracy"]) for row in rows])


def case(name: str, points: Points) -> Case:
    """The couplings of an application, fitted on the grid of what is reached within the swept resources."""
    grid = points.grid(BANDWIDTHS, (*CORES, 1.0, 0.5, 0.25))
    needs = grid.efficient()
    net, com, performance = needs.columns
    return Case(
        name, points, grid, needs, (linear(net, performance, com), linear(com, performance, net)), surface(grid)
    )


def sweep(every: Case, eta: float) -> list[Used]:
    """All three schemes where bandwidth and then cores become few."""
    available = [("bandwidth", net, CORES[0]) for net in BANDWIDTHS] + [
        ("cores", BANDWIDTHS[0], com) for com in CORES
    ]
    most = float(every.grid.columns[2].max())
    used = []
    for varied, net, com in available:
        found: list[tuple[str, float, float, float]] = [("static", net, com, float("nan"))]
        for scheme, coupled in (("linear", every.lines), ("surface", every.plane)):
            given = allocate(coupled, net, com, most=most, eta=eta, scale=(BANDWIDTHS[0], CORES[0]))
            # Where the coupling allows nothing at all, it is given what there is.
            found.append(
                (scheme, *((net, com, 0.0) if given is None else (given.net, given.com, given.performance)))
            )
        for scheme, n, c, promised in found:
            reached = every.points.reached(n, c)
            used.append(Used(every.name, scheme, eta, varied, net, com, n, c, promised, reached))
    return used


def plans(measured: Sequence[roma_grid.Point]) -> list[list[str]]:
    """Joint programme, fixed placement, static and exact on one small cluster, by resources."""
    rows = []
    problem = site(measured)
    print("\nplans for 6 cameras over two edge nodes and a cloud: strategy, eta, accuracy, cores, Mbit/s")
    choices = [
        (f"{name}", eta, run) for name, run in (("roma", roma), ("roma-linear", roma_linear)) for eta in ETAS
    ]
    for name, eta, run in choices:
        plan = run(problem, eta=eta)
        rows.append(_plan_row(problem, name, f"{eta:g}", plan))
    rows.append(_plan_row(problem, "roma-static", "-", roma_static(problem)))
    rows.append(_plan_row(problem, "exact", "-", exact(problem, time_limit=20)))
    for row in rows:
        print("  ".join(f"{cell:<12}" for cell in row))
    return rows


def site(measured: Sequence[roma_grid.Point]) -> Problem:
    """Six cameras at two weak edge nodes, and a cloud behind a narrow link; accuracy 0.75 at least."""
    kept = [point for point in measured if point.skip == 0]
    names = {point: f"{point.width}/{point.quality}/{point.tiles}" for point in kept}
    knobs = (("form", tuple(names.values())),)
    services, outputs, accuracies = [], [], []
    for point, name in names.items():
        chosen, seconds = setting(form=name), point.com / roma_grid.FPS
        services += [
            Service("Detect", kind, 1, seconds / speed, setting=chosen)
            for kind, speed in (("edge", 0.5), ("xeon", 1))
        ]
        outputs.append(Output("video", point.net * 1e6 / 8 / roma_grid.FPS, "jpeg", chosen))
        accuracies.append(Accuracy(point.score, chosen))
    nodes = (
        Node("edge 1", "edge", "edge", 2),
        Node("edge 2", "edge", "edge", 4),
        Node("cloud", "cloud", "xeon", 16),
    )
    links = (Link("edge 1", "edge 2", 20e6, 0.002), Link("edge 2", "cloud", 6e6, 0.01))
    stages = (Stage("video", source=True), Stage("Detect", ("video",)))
    return Problem(
        Cluster(("edge", "cloud"), nodes, links),
        (Application("street", stages, knobs, latency=1.0, accuracy=0.75),),
        (
            CameraClass("north", "street", "edge 1", roma_grid.FPS, 3),
            CameraClass("south", "street", "edge 2", roma_grid.FPS, 3),
        ),
        Profiles(tuple(services), tuple(outputs), tuple(accuracies)),
        minimize="resources",
    )


def _plan_row(problem: Problem, name: str, eta: str, plan) -> list[str]:  # type: ignore[no-untyped-def]
    broken = violations(problem, plan)
    if broken:
        raise ArithmeticError(f"{name}: {broken[0]}")
    if not plan.found:
        return [name, eta, "no plan", "-", "-"]
    prediction = predict(problem, plan)
    cameras = sum(route.cameras for route in plan.routes)
    accuracy = sum(
        route.cameras * (value or 0) for route, value in zip(plan.routes, prediction.accuracies, strict=True)
    )
    cores = sum(each.replicas * each.service.cores for each in plan.deployments)
    return [name, eta, f"{accuracy / cameras:.3f}", f"{cores:g}", f"{sum(prediction.arcs.values()) / 1e6:.2f}"]


def _table(cases: Sequence[Case], out: Path) -> None:
    fits = {"linear": linear, "SVR": support_vectors, "MLP": perceptron}
    rows = []
    print(
        "coupling                    "
        + "".join(f"{name:<26}" for name in (*fits, "surface"))
        + "(MAE, MSE, RMSE)"
    )
    for every in cases:
        net, com, performance = every.needs.columns
        for direction, other, needed, of in (
            ("net,com", net, com, every.plane.needed_com),
            ("com,net", com, net, every.plane.needed_net),
        ):
            found: dict[str, Coupling] = {name: fit(other, performance, needed) for name, fit in fits.items()}
            most = float(needed.max())  # a surface may say that nothing is enough: then it is given the most
            found["surface"] = lambda known, wanted, of=of, most=most: of(known, wanted).clip(max=most)  # type: ignore[misc]
            missed = [errors(each, other, performance, needed) for each in found.values()]
            print(f"{every.name + ', f ' + direction:<28}" + "".join(f"{_errors(each):<26}" for each in missed))
            rows += [
                [every.name, direction, name, f"{each.mae:.4f}", f"{each.mse:.4f}", f"{each.rmse:.4f}"]
                for name, each in zip(found, missed, strict=True)
            ]
    _write(out / "couplings.csv", ["case", "direction", "coupling", "mae", "mse", "rmse"], rows)


def _errors(each: Errors) -> str:
    return f"{each.mae:.3f}, {each.mse:.3f}, {each.rmse:.3f}"


def _show(used: Sequence[Used]) -> None:
    """Savings against the static allocation, at most and in the mean, and the accuracy lost."""
    print(
        f"\n{'case':<15}{'scheme':<10}{'eta':<6}{'varied':<10}{'compute saved, %':>18}{'bandwidth, %':>20}"
        f"{'points lost':>20}"
    )
    print(f"{'':<41}{'mean':>10}{'most':>9}{'mean':>10}{'most':>9}{'mean':>10}{'worst':>9}")
    static = {
        (u.case, u.eta, u.varied, u.net_available, u.com_available): u for u in used if u.scheme == "static"
    }
    groups = dict.fromkeys((u.case, u.scheme, u.eta, u.varied) for u in used if u.scheme != "static")
    for case_name, scheme, eta, varied in groups:
        mine = [u for u in used if (u.case, u.scheme, u.eta, u.varied) == (case_name, scheme, eta, varied)]
        pairs = [(u, static[u.case, u.eta, u.varied, u.net_available, u.com_available]) for u in mine]
        figures = [
            [100 * (1 - u.com / s.com) for u, s in pairs],
            [100 * (1 - u.net / s.net) for u, s in pairs],
            [100 * (s.reached - u.reached) for u, s in pairs],
        ]
        cells = "".join(f"{sum(each) / len(each):>10.1f}{max(each):>9.1f}" for each in figures)
        print(f"{case_name:<15}{scheme:<10}{eta:<6g}{varied:<10}{cells}")


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)


def _plot(cases: Sequence[Case], used: Sequence[Used], path: Path) -> None:
    """The paper's Figures 7 to 9: a row for each application."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4 * len(cases)), layout="constrained")
    for row, every in zip(figure.subplots(len(cases), 4), cases, strict=True):
        for scheme in ("static", "linear", "surface"):
            for varied, (top, bottom) in (("bandwidth", row[:2]), ("cores", row[2:])):
                mine = [u for u in used if (u.case, u.scheme, u.varied) == (every.name, scheme, varied)]
                by_net = varied == "bandwidth"
                available = [u.net_available if by_net else u.com_available for u in mine]
                top.plot(available, [u.reached for u in mine], "o-", label=scheme)
                bottom.plot(available, [u.com if by_net else u.net for u in mine], "o-", label=scheme)
                label = "available Mbit/s" if by_net else "available cores"
                top.set(xlabel=label, ylabel="accuracy reached", title=every.name, ylim=(0, 1))
                bottom.set(xlabel=label, ylabel="cores used" if by_net else "Mbit/s used", ylim=0)
                for axes in (top, bottom):
                    axes.set_xscale("log" if by_net else "linear")
                    axes.invert_xaxis() if scheme == "static" else None
                    axes.legend(fontsize="small")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
