"""A cluster on one machine: nodes with their own network, processes and memory, joined by links that are slow.

Each node is a set of namespaces of Linux (network, process ids, mounts, host name), each link a pair of
interfaces with a rate (tc tbf) and a relay between them for the delay. A node has one address everywhere, its
name resolves in all nodes, /dev/shm is its own, and so is XDG_RUNTIME_DIR. It may have a share of the CPUs.

    from tools.testbed import Link, open_bed

    links = [Link("edge", "fog", mbit=30, delay_ms=4), Link("fog", "cloud", mbit=200, delay_ms=5)]
    with open_bed(links, cpus={"edge": 0.5}) as bed:
        bed.run("edge", ["flowedge", "--version"])
        bed.cut("edge", "fog")

When the process that made the bed ends, however it ends, the kernel takes nodes, links and all their processes
away: each holds the end of a pipe. What is left after a kill -9, empty control groups, goes at the next start.
`missing` says why a machine cannot have one. `python -m tools.testbed --help` has the same for a terminal.
"""

from tools.testbed.bed import Bed, Link, attach, open_bed
from tools.testbed.requirements import missing

__all__ = ["Bed", "Link", "attach", "missing", "open_bed"]
