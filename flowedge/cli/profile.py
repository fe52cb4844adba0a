"""flowedge profile: what a graph's operators take and give on this machine."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowedge.cli.arguments import Debug, Given, GraphFile, assignments
from flowedge.errors import ConfigError
from flowedge.planner.model.profiles import THIS_MACHINE

if TYPE_CHECKING:
    from flowedge.planner.model.profiles import Profiles
    from flowedge.profiling.fitting import Fit, Measurement
    from flowedge.profiling.trials import Trial

FRAMES = 30
"""Frames to measure each setting on, unless told otherwise."""

Output = Annotated[
    Path,
    typer.Option("--output", metavar="FILE", help="Profiles to write (.toml or .json), for `flowedge plan`."),
]


def profile(
    graph: GraphFile,
    given: Given = None,
    output: Output = Path("profiles.toml"),
    kind: Annotated[
        str,
        typer.Option(
            "--kind", metavar="NAME", help="What machines like this one are called in a cluster file."
        ),
    ] = THIS_MACHINE,
    frames: Annotated[
        int, typer.Option("--frames", min=6, metavar="N", help="Frames to measure each setting on.")
    ] = FRAMES,
    cores: Annotated[
        str | None,
        typer.Option(
            "--cores",
            metavar="C1,C2",
            help="Cores to measure with (by default 1 and 2); parts of one, like 0.1, are computed.",
        ),
    ] = None,
    knob: Annotated[
        list[str] | None,
        typer.Option("--knob", metavar="NAME=V1,V2", help="Some values only of a knob."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Measure a graph's operators on this machine, for the planner.

    Example: flowedge profile graphs/continuum.py --knob size=416 --kind xeon --output xeon.toml

    Each setting of the graph's knobs (parameters with choices among them) is measured with each number of
    cores, on the same frames, one operator after the other. Sinks write into a folder that is removed. Models
    are fitted to service times by cores and pixels, bytes by size and quality, and accuracy by resolution,
    where a graph ends in Quality; printed is how far they miss what was measured (MAE, MSE, RMSE), in % of
    its mean, and in % where a point is left out.
    """
    from flowedge.cli.files import write
    from flowedge.profiling.fitting import profiles_of
    from flowedge.profiling.trials import trials

    _check_output(output)
    whole, shares = cores_of(cores)
    settings = list(trials(graph, assignments(given), _knobs(knob or ())))
    measurements = measured_here(settings, whole, frames)
    heading = f"Measured by `flowedge profile {graph}` on {frames} frames for each setting and number of cores."
    write(output, _text(profiles_of(measurements, kind, shares), output.suffix, heading), "--output")
    _print(measurements)
    print(f'wrote {output}: profiles for nodes of kind "{kind}"')


def _check_output(output: Path) -> None:
    """Refuse, before minutes of measuring, a file that cannot be written in the end."""
    if output.suffix not in (".toml", ".json"):
        raise ConfigError(f"--output {output}: write a name that ends in .toml or .json")
    if not output.parent.is_dir():
        raise ConfigError(f"--output {output}: there is no folder {output.parent}")


def _text(profiles: Profiles, suffix: str, heading: str) -> str:
    """Profiles as JSON, which has no place for the heading, or as TOML."""
    from flowedge.cli.files import toml
    from flowedge.planner.files.inputs import profiles_as_data

    data = profiles_as_data(profiles)
    return json.dumps(data, indent=2) + "\n" if suffix == ".json" else toml(data, heading)


def measured_here(trials: Sequence[Trial], cores: Sequence[int], frames: int) -> list[Measurement]:
    """Every trial with every number of cores of this machine, with a progress bar."""
    from flowedge.profiling.measure import measured

    _warn_if_busy()
    measurements: list[Measurement] = []
    with _progress(len(trials) * len(cores)) as advance:
        for count in cores:
            for measurement in measured(trials, count, frames):
                measurements.append(measurement)
                advance()
    return measurements


def _warn_if_busy() -> None:
    from flowedge.profiling.measure import cores_here

    load = os.getloadavg()[0]
    if load > cores_here() / 4:
        warning = f"warning: other programs are at work here (load {load:.1f} on {cores_here()} cores)"
        print(f"{warning}: times will be too long", file=sys.stderr)


def cores_of(text: str | None = None) -> tuple[list[int], list[float]]:
    """Whole numbers of cores to measure with, and parts of a core to compute; the usual ones without a text."""
    from flowedge.profiling.measure import cores_here

    here = cores_here()
    if text is None:
        return sorted({1, min(2, here)}), [0.01, 0.1]
    try:
        numbers = sorted({float(word) for word in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or any(not number > 0 or (number > 1 and number % 1) for number in numbers):
        raise ConfigError(f"--cores {text}: write whole numbers, or parts of one core, like 0.1,1,2")
    if numbers[-1] > here:
        raise ConfigError(f"--cores {text}: this machine lets us use {here}")
    shares = [number for number in numbers if number < 1]
    whole = {int(number) for number in numbers if number >= 1} | ({1} if shares else set())
    return sorted(whole), shares


def _knobs(words: Sequence[str]) -> dict[str, list[str]]:
    """The values that `--knob` names."""
    knobs = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not (name and equals and all(values.split(","))):
            raise ConfigError(f"--knob {word}: write NAME=V1,V2, e.g. size=416,640")
        if name in knobs:
            raise ConfigError(
                f"--knob {word}: {name} is given twice; write all values in one, separated by commas"
            )
        knobs[name] = list(dict.fromkeys(values.split(",")))
    return knobs


@contextmanager
def _progress(total: int) -> Iterator[Any]:
    """A bar, on a terminal only."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("measuring", total=total)
        yield lambda: progress.advance(task)


def _print(measurements: Sequence[Measurement]) -> None:
    """What was measured, and how well models fit it."""
    from flowedge.planner.display.text import aligned, setting_text
    from flowedge.profiling.fitting import fits, free_operators

    free = free_operators(measurements)
    rows = [("operator", "setting", "cores", "ms a frame", "deviation", "frames", "MiB", "")]
    rows += [
        (
            step.operator, setting_text(measurement.setting), str(measurement.cores),
            f"{1e3 * step.seconds:.3g}", f"{1e3 * step.deviation:.3g}", str(step.frames),
            f"{step.memory / 2**20:.1f}", "counts as free" if step.operator in free else "",
        )
        for measurement in measurements for step in measurement.times
    ]  # fmt: skip
    print(aligned(rows, right=(2, 3, 4, 5, 6)))
    accuracies = {
        measurement.setting: measurement.accuracy
        for measurement in measurements
        if measurement.accuracy is not None
    }
    for setting, accuracy in accuracies.items():
        print(f"accuracy {setting_text(setting)}: {accuracy.value:.3f} ({accuracy.source})".replace(" -:", ":"))
    models = list(fits(measurements))
    if models:
        head = ("fitted", "model (c: cores, q: quality / 100)", "points", "terms")
        lines = [(fit.what, fit.model, str(fit.points), str(fit.terms), *_missed(fit)) for fit in models]
        print()
        print(aligned([(*head, *_MISSED), *lines], right=(2, 3, 4, 5, 6, 8, 9)))
        if any(fit.points <= fit.terms for fit in models):
            print("-: as many terms as points always fit; measure more settings or cores to test the model.")
    if len({measurement.setting for measurement in measurements}) == 1:
        print("One setting was measured: give a step a knob (`choose`) or a parameter `choices`.")


_MISSED = ("MAE", "MSE", "RMSE", "unit", "%", "left out, %")


def _missed(fit: Fit) -> tuple[str, ...]:
    """The columns that say how far a model misses what was measured."""
    if fit.points <= fit.terms:
        return "-", "-", "-", fit.unit, "-", "-"
    numbers = (f"{error:.3g}" for error in (fit.errors.mae, fit.errors.mse, fit.errors.rmse))
    left_out = "-" if fit.left_out is None else f"{100 * fit.left_out.share:.3g}"
    return *numbers, fit.unit, f"{100 * fit.errors.share:.3g}", left_out
