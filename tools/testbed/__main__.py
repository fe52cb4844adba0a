"""A cluster on one machine: nodes with their own network and memory, joined by links that are slow.

    python -m tools.testbed up                                # edge, fog, cloud; until Ctrl-C
    python -m tools.testbed up -l gate-hub:30:4 -l hub-yard:10 --cpus gate=0.5 -- sh experiment.sh
    python -m tools.testbed run edge -- flowedge node --help  # from another terminal
    python -m tools.testbed list
    python -m tools.testbed cut edge fog                      # and: heal edge fog
    python -m tools.testbed rate edge fog 2                   # Mbit/s
    python -m tools.testbed freeze edge                       # and: thaw edge, kill edge
    python -m tools.testbed cpus edge 0.25

`up` takes links as FIRST-SECOND[:MBIT[:DELAY_MS]] and, after --, a command to run while the bed is there; it
ends with the command's exit code. Several beds at once need a --name each. Needs root and iproute2.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Sequence

from tools.testbed.bed import Bed, Link, attach, open_bed
from tools.testbed.requirements import missing

TIERS = ("edge-fog:30:4", "fog-cloud:200:5")
NAME = "bed"


def main(words: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(words)
    try:
        if reason := missing():
            raise ValueError(reason)
        return _up(options) if options.verb == "up" else _control(options, _attached(options.name))
    except KeyError as error:
        return _fail(f"the test bed has no {error.args[0]}: see python -m tools.testbed list")
    except (ValueError, RuntimeError, OSError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.testbed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--name", default=NAME, help="which bed, where there are several (default %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    up = verbs.add_parser("up", help="make nodes and links; take them away at the end")
    up.add_argument(
        "-l", "--link", action="append", help=f"FIRST-SECOND[:MBIT[:DELAY_MS]] (default {' '.join(TIERS)})"
    )
    up.add_argument("--cpus", action="append", default=[], metavar="NODE=CPUS", help="a share of the CPUs")
    up.add_argument("command", nargs="*", help="after --: what to run meanwhile")
    run = verbs.add_parser("run", help="run a command in a node")
    run.add_argument("node")
    run.add_argument("command", nargs="+", help="after --")
    for verb in ("cut", "heal"):
        _ends(verbs.add_parser(verb, help=f"{verb} a link"))
    rate = _ends(verbs.add_parser("rate", help="change the rate of a link"))
    rate.add_argument("mbit", type=float)
    for verb in ("freeze", "thaw", "kill"):
        verbs.add_parser(verb, help=f"{verb} the processes of a node").add_argument("node")
    cpus = verbs.add_parser("cpus", help="change a node's share of the CPUs")
    cpus.add_argument("node")
    cpus.add_argument("cpus", type=float)
    verbs.add_parser("list", help="nodes, their addresses, links")
    return parser


def _ends(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("first")
    parser.add_argument("second")
    return parser


def _up(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # by which the bed is taken away
    links = [_link(text) for text in options.link or TIERS]
    cpus = dict(_share(text) for text in options.cpus)
    with contextlib.ExitStack() as stack:
        try:
            bed = stack.enter_context(open_bed(links, cpus=cpus, name=options.name))
        except FileExistsError:
            return _fail(f'a test bed "{options.name}" runs already: give another --name')
        _list(bed)
        if options.command:
            return subprocess.run(options.command).returncode
        print("until Ctrl-C", flush=True)
        signal.pause()
    return 0


def _attached(name: str) -> Bed:
    try:
        return attach(name)
    except FileNotFoundError:
        raise ValueError(f'no test bed "{name}" runs: python -m tools.testbed up') from None


def _run(options: argparse.Namespace, bed: Bed) -> int:
    process = bed.popen(options.node, options.command)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: bed.signal(process, number))
    code = process.wait()
    return code if code >= 0 else 128 - code


def _control(options: argparse.Namespace, bed: Bed) -> int:
    match options.verb:
        case "run":
            return _run(options, bed)
        case "cut":
            bed.cut(options.first, options.second)
        case "heal":
            bed.heal(options.first, options.second)
        case "rate":
            bed.set_rate(options.first, options.second, options.mbit)
        case "freeze":
            bed.freeze(options.node)
        case "thaw":
            bed.thaw(options.node)
        case "kill":
            bed.kill(options.node)
        case "cpus":
            bed.set_cpus(options.node, options.cpus)
        case "list":
            _list(bed)
    return 0


def _list(bed: Bed) -> None:
    for node in bed.nodes:
        print(f"{node:12} {bed.address(node)}")
    for link in bed.links:
        rate = "any rate" if link.mbit is None else f"{link.mbit:g} Mbit/s"
        print(f"{link.first} - {link.second}: {rate}, {link.delay_ms:g} ms each way")


def _link(text: str) -> Link:
    """Read a link as it is written on the command line.

    >>> _link("edge-fog:30:4")
    Link(first='edge', second='fog', mbit=30.0, delay_ms=4.0)
    """
    match = re.fullmatch(r"(\w+)-(\w+)(?::(\d+(?:\.\d+)?)(?::(\d+(?:\.\d+)?))?)?", text)
    if not match:
        raise ValueError(f'the link "{text}" is not FIRST-SECOND[:MBIT[:DELAY_MS]], e.g. edge-fog:30:4')
    return Link(match[1], match[2], float(match[3]) if match[3] else None, float(match[4] or 0))


def _share(text: str) -> tuple[str, float]:
    match = re.fullmatch(r"(\w+)=(\d+(?:\.\d+)?)", text)
    if not match or float(match[2]) == 0:
        raise ValueError(f'--cpus "{text}" is not NODE=CPUS, e.g. edge=0.5')
    return match[1], float(match[2])


def _fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
