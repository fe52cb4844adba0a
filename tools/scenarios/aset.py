"""Writes ASET's three topologies as scenario files, from `flowedge.dispatch.aset_constants`.

    python -m tools.scenarios.aset [FOLDER]

Change the constants there and run this again; a test compares the files with what this would write.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from flowedge.dispatch import aset_constants as constants

FOLDER = Path(__file__).parent
TIERS = "access", "office", "centre", "cloud"
SPREAD = 0.1
"""Standard deviation of a service time as a share of its mean; the paper has none."""
QUEUE = 64
"""Queries that may wait for a worker; the paper has none."""
POLICIES = (
    "closest",
    "load-balancing",
    "farthest",
    "cheaper",
    "random-proportional-latency",
    "random-proportional-load",
    "least-impedance",
    "aset",
    "random-switch",
    "power-of-two",
    "dual-price",
)


def scenario(topology: str) -> str:
    """The scenario file of a topology at the rate of training."""
    return "\n".join((*_head(topology), *_network(topology), *_workload(), *_workers(topology)))


def _head(topology: str) -> Iterator[str]:
    policies = "\n".join(f'    "{name}",' for name in POLICIES)
    yield f"""\
# ASET (Castellano et al., "Scheduling Inference Workloads in the Computing Continuum with Reinforcement
# Learning", ICDCSW 2025), topology {topology}, lambda = {constants.LAMBDA:g}.
# Written by tools/scenarios/aset.py.
#
# From the paper: the topologies by their layers; Poisson clients, whose streams have random frame rates,
# deadlines, accuracies and sizes; three detectors with variants for CPU and GPU; 5G access.
# Left open by the paper and chosen here: every number below. They are of the right order and not measured.
# lambda = 60 clients a minute is to be about 1000 queries/s on one antenna, 100 about 1600.

name = "aset-{topology}"
duration = "{constants.HORIZON:g} s"
seed = 0
window = "{constants.WINDOW:g} s"
policies = [
{policies}
]
"""


def _network(topology: str) -> Iterator[str]:
    """The scheduler's place, and each cluster with its delay from there."""
    yield f"""\
tiers = [{", ".join(f'"{tier}"' for tier in TIERS)}]

# The scheduler at the antenna. `cores` are not used: what a cluster can do is the sum of its workers.
[[nodes]]
name = "scheduler"
tier = "access"
kind = "site"
cores = 0
"""
    for site in constants.TOPOLOGIES[topology]:
        yield f"""\
[[nodes]]
name = "{site.name}"
tier = "{TIERS[site.tier]}"
kind = "site"
cores = 0

[[links]]
between = ["scheduler", "{site.name}"]
bandwidth = "10 Gbit/s"
delay = "{1e3 * site.delay:g} ms"
deviation = "{1e3 * site.deviation:g} ms"
"""


def _workload() -> Iterator[str]:
    mix = ", ".join(f"{application.name} = {application.share:g}" for application in constants.APPLICATIONS)
    yield f"""\
[[sources]]
node = "scheduler"
arrivals = "streams"
mix = {{ {mix} }}
rate = "{constants.LAMBDA:g}/min"
# Dynamic: rate = {{ steps = [["0 s", "40/min"], ["200 s", "100/min"], ["400 s", "60/min"]] }}
lifetime = "{constants.LIFETIME:g} s"
access = ["0 ms", "{2e3 * constants.ACCESS:g} ms"]
bitrate = "{constants.BITRATE / 1e6:g} Mbit/s"
"""
    for application in constants.APPLICATIONS:
        yield f"""\
[[applications]]
name = "{application.name}"
deadline = ["{1e3 * application.deadline[0]:g} ms", "{1e3 * application.deadline[1]:g} ms"]
size = ["{application.bytes[0] / 1e3:g} kB", "{application.bytes[1] / 1e3:g} kB"]
rate = [{application.rate[0]:g}, {application.rate[1]:g}]
accuracy = {application.accuracy:g}
"""


def _workers(topology: str) -> Iterator[str]:
    sites = constants.TOPOLOGIES[topology]
    used = {name for site in sites for name, _ in site.workers}
    for variant in constants.VARIANTS.values():
        if variant.name in used:
            yield f"""\
[[variants]]
name = "{variant.name}"
time = "{1e3 * variant.seconds:g} ms"
deviation = "{1e3 * SPREAD * variant.seconds:g} ms"
slots = {variant.slots:g}
capacity = {variant.capacity:g}
accuracy = {variant.accuracy:g}
queue = {QUEUE}
"""
    for site in sites:
        for name, count in site.workers:
            yield f'[[workers]]\nnode = "{site.name}"\nvariant = "{name}"\ncount = {count}\n'


def main() -> None:
    """Writes the files."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for topology in constants.TOPOLOGIES:
        (folder / f"aset-{topology}.toml").write_text(scenario(topology))


if __name__ == "__main__":
    main()
