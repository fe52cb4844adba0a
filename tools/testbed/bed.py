"""Nodes and links: how a bed is made, and what can be done to it while it runs."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from tools.testbed.groups import Group, groups

GROUP = "flowedge-testbed.{bed}.{node}"
"""What control groups are called; no name of a bed or a node has a dot."""

STATES = Path("/run/flowedge-testbed")
"""A folder for each bed: who is where, and the sockets of its relays."""

RELAY = Path(__file__).with_name("relay.py")

NODE = """
set -e
mount -t tmpfs -o size=2g tmpfs /dev/shm
printf '%s' "$1" > /dev/shm/hosts
mount --bind /dev/shm/hosts /etc/hosts
hostname "$2"
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
for control in cubic reno; do
    if echo $control > /proc/sys/net/ipv4/tcp_congestion_control; then break; fi
done 2> /dev/null
if [ -e /proc/sys/net/ipv6/conf/all/disable_ipv6 ]; then echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; fi
echo ready
exec cat
"""
"""The first process of a node: it ends when its input does, and with it the kernel ends all others.

Namespaces share /dev/shm otherwise, by which shared memory would bypass the links. The congestion control is
pinned to the usual one, or what a namespace may have instead of it: some kernels have BBR as their default.
"""


@dataclass(frozen=True)
class Link:
    """A link between two nodes: its rate in Mbit/s (None: as fast as it goes) and its delay one way in ms."""

    first: str
    second: str
    mbit: float | None = None
    delay_ms: float = 0.0

    def __post_init__(self) -> None:
        if self.first == self.second:
            raise ValueError(f"a link from {self.first} to itself")
        if (self.mbit is not None and not self.mbit > 0) or not self.delay_ms >= 0:
            raise ValueError(f"{self}: a rate is above 0, a delay is not below 0")

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.first}-{self.second}"


@dataclass(frozen=True)
class Node:
    """A node that runs: the process whose namespaces it is, its address, its control group."""

    name: str
    pid: int
    address: str
    group: Group


class Bed:
    """A bed that runs. Nodes and links are named as they were given; unknown ones are a `KeyError`."""

    def __init__(self, folder: Path, nodes: Mapping[str, Node], links: Sequence[Link]) -> None:
        self._folder = folder
        self._nodes = dict(nodes)
        self._links = {frozenset((link.first, link.second)): link for link in links}

    @property
    def name(self) -> str:
        """What `attach` finds it by."""
        return self._folder.name

    @property
    def nodes(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(self._nodes)

    @property
    def links(self) -> tuple[Link, ...]:
        """The links as they were made."""
        return tuple(self._links.values())

    def address(self, node: str) -> str:
        """The IP address of a node, the same from everywhere."""
        return self._nodes[node].address

    def init(self, node: str) -> int:
        """The id of a node's first process, whose namespaces they are, e.g. for `nsenter -t`."""
        return self._nodes[node].pid

    def popen(self, node: str, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a command in a node, in the folder of this process; options as `subprocess.Popen` has them.

        The process that is returned waits for the command, which is its child, and ends as it does: `signal`
        reaches the command itself.
        """
        place = self._nodes[node]
        joins = " && ".join(f"echo $$ > {path}" for path in place.group.joins)
        # The groups come first: inside, their folders are not to be seen.
        enter = f'{joins} && exec nsenter -t {place.pid} -n -m -p -u -- sh -c \'cd "$0" && exec "$@"\' "$@"'
        environment = {**options.pop("env", os.environ), "XDG_RUNTIME_DIR": "/dev/shm"}
        arguments = ["sh", "-c", enter, "sh", str(options.pop("cwd", Path.cwd())), *command]
        return subprocess.Popen(arguments, env=environment, start_new_session=True, **options)

    def run(
        self, node: str, command: Sequence[str], *, timeout: float | None = None, **options: Any
    ) -> subprocess.CompletedProcess[Any]:
        """Run a command in a node to its end; its output as text, unless `options` say otherwise."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        with self.popen(node, command, **options) as process:
            try:
                output, errors = process.communicate(timeout=timeout)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(list(command), process.returncode, output, errors)

    def signal(self, process: subprocess.Popen[Any], number: int) -> None:
        """Send a signal to a command that `popen` has started, or to what is about to become it."""
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        except FileNotFoundError:
            return  # it has ended
        for pid in children or [process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), number)

    def cut(self, first: str, second: str) -> None:
        """Lose every frame from now on, also those under way; neither node sees its interface go down."""
        self._tell(first, second, "cut")

    def heal(self, first: str, second: str) -> None:
        """Carry frames again."""
        self._tell(first, second, "heal")

    def set_rate(self, first: str, second: str, mbit: float | None) -> None:
        """Change the rate of a link, in both directions."""
        link = self._link(first, second)
        for node, other in ((link.first, link.second), (link.second, link.first)):
            _shape(self._nodes[node].pid, _interface(other), mbit)

    def set_cpus(self, node: str, cpus: float | None) -> None:
        """Allow the processes of a node so many CPUs (0.5 is half a one), or all."""
        self._nodes[node].group.set_cpus(cpus)

    def throttled(self, node: str) -> int:
        """How often the processes of a node were held back by their share of the CPUs."""
        return self._nodes[node].group.throttled()

    def freeze(self, node: str) -> None:
        """Stop the processes of a node where they are; its kernel still acknowledges what comes."""
        self._nodes[node].group.freeze()

    def thaw(self, node: str) -> None:
        """Let the processes of a node go on."""
        self._nodes[node].group.thaw()

    def kill(self, node: str) -> None:
        """Kill the processes of a node; the node itself stays, for new ones."""
        self._nodes[node].group.kill()

    def _link(self, first: str, second: str) -> Link:
        try:
            return self._links[frozenset((first, second))]
        except KeyError:
            raise KeyError(f"{first}-{second}") from None

    def _tell(self, first: str, second: str, word: str) -> None:
        path = self._folder / f"{self._link(first, second).name}.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
            control.connect(str(path))
            control.send(word.encode())
            if control.recv(16) != word.encode():
                raise ConnectionError(f"the relay between {first} and {second} has ended")


@contextlib.contextmanager
def open_bed(
    links: Sequence[Link], *, cpus: Mapping[str, float] | None = None, name: str | None = None
) -> Iterator[Bed]:
    """Make the nodes that the links join, and take them away at the end.

    `cpus` gives nodes a share of the CPUs. Names have letters, digits and _, that of the bed also -. Raises
    `ValueError` for other names, nodes that no link has or that cannot reach one another, `FileExistsError`
    where a bed of this name runs, and `RuntimeError` with what a command said.
    """
    names = list(dict.fromkeys(name for link in links for name in (link.first, link.second)))
    _check(names, links, cpus or {})
    folder = _folder(name or secrets.token_hex(4))
    clear_leftovers()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_owned(folder))
        nodes = {}
        hosts = "127.0.0.1 localhost\n" + "".join(f"{_address(i)} {name}\n" for i, name in enumerate(names))
        for index, node in enumerate(names):
            group = Group(GROUP.format(bed=folder.name, node=node))
            stack.callback(group.remove)
            group.make()
            group.set_cpus((cpus or {}).get(node))
            nodes[node] = Node(node, stack.enter_context(_node(node, hosts)), _address(index), group)
            stack.callback(group.kill)  # before the node, which could not end while they are frozen
        for link in links:
            stack.enter_context(_joined(link, nodes, folder))
        _set_routes(nodes, links)
        bed = Bed(folder, nodes, links)
        _save(folder, nodes, links)
        yield bed


def attach(name: str) -> Bed:
    """The bed of this name that another process has made. Raises `FileNotFoundError` where there is none."""
    folder = _folder(name)
    state = json.loads((folder / "state.json").read_text())
    nodes = {
        node["name"]: Node(node["name"], node["pid"], node["address"], Group(node["group"]["name"]))
        for node in state["nodes"]
    }
    return Bed(folder, nodes, [Link(**link) for link in state["links"]])


def clear_leftovers() -> None:
    """Remove what beds whose process was killed have left: control groups and files."""
    with _states_locked():
        for folder in STATES.glob("*/"):
            with (folder / "lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # it runs
                for group in groups(GROUP.format(bed=folder.name, node="*")):
                    group.remove()
                shutil.rmtree(folder)


@contextlib.contextmanager
def _states_locked() -> Iterator[None]:
    """Nobody else makes or clears away a bed meanwhile."""
    STATES.mkdir(exist_ok=True)
    handle = os.open(STATES, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """A folder for the bed, locked for as long as this process lives."""
    with contextlib.ExitStack() as stack:
        with _states_locked():
            folder.mkdir()
            lock = stack.enter_context((folder / "lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        stack.callback(shutil.rmtree, folder)
        yield


def _save(folder: Path, nodes: Mapping[str, Node], links: Sequence[Link]) -> None:
    state = {"nodes": [asdict(node) for node in nodes.values()], "links": [asdict(link) for link in links]}
    partial = folder / "state.part"
    partial.write_text(json.dumps(state))
    partial.rename(folder / "state.json")


@contextlib.contextmanager
def _node(name: str, hosts: str) -> Iterator[int]:
    """A node's namespaces; gives the id of the process that keeps them."""
    command = ["unshare", "-n", "-m", "-p", "-u", "-f", "--kill-child", "--mount-proc"]
    command += ["sh", "-c", NODE, "sh", hosts, name]
    with _kept(command, name) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0])


@contextlib.contextmanager
def _joined(link: Link, nodes: Mapping[str, Node], folder: Path) -> Iterator[None]:
    """A link: an interface in each node, the relay between them, the rates."""
    command = ["unshare", "-n", sys.executable, "-S", "-E", str(RELAY), str(folder / f"{link.name}.sock")]
    with _kept(command, f"the relay of {link.name}") as relay:
        _connect(nodes[link.first], nodes[link.second], relay.pid, "left", link.mbit)
        _connect(nodes[link.second], nodes[link.first], relay.pid, "right", link.mbit)
        assert relay.stdin is not None
        relay.stdin.write(f"left right {link.delay_ms / 1000}\n".encode())
        relay.stdin.flush()
        _await(relay, f"the relay of {link.name}")
        yield


def _connect(node: Node, other: Node, relay: int, inner: str, mbit: float | None) -> None:
    """An interface of a node to another, which has the same address as all others, and its end at the relay."""
    interface = _interface(other.name)
    _command(f"ip link add {interface} netns {node.pid} type veth peer name {inner} netns {relay}")
    _command(f"nsenter -t {relay} -n ip link set dev {inner} up")
    _command(f"nsenter -t {node.pid} -n ip link set dev {interface} up")
    _command(f"nsenter -t {node.pid} -n ip addr add {node.address}/32 dev {interface}")
    _command(f"nsenter -t {node.pid} -n ip route add {other.address}/32 dev {interface} src {node.address}")
    _shape(node.pid, interface, mbit)


@contextlib.contextmanager
def _kept(command: Sequence[str], what: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said "ready" and lasts as long as its input."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _await(process, what)
        yield process
    finally:
        for pipe in (process.stdin, process.stdout, process.stderr):
            _close(pipe)
        process.wait()


def _await(process: subprocess.Popen[bytes], what: str) -> None:
    """Wait until it says that it is ready. Raises `RuntimeError` with what it said instead."""
    assert process.stdout is not None
    assert process.stderr is not None
    if process.stdout.readline() != b"ready\n":
        raise RuntimeError(f"{what} did not start: {process.stderr.read().decode().strip()}")


def _close(pipe: IO[bytes] | None) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def _shape(pid: int, interface: str, mbit: float | None) -> None:
    if mbit is None:
        with contextlib.suppress(RuntimeError):  # there is none
            _command(f"nsenter -t {pid} -n tc qdisc del dev {interface} root")
        return
    bits = round(mbit * 1e6)
    burst = max(32_768, bits // 8 // 100)  # what may pass between two ticks of the kernel's clock, at least
    shape = f"tbf rate {bits}bit burst {burst} latency 50ms"
    _command(f"nsenter -t {pid} -n tc qdisc replace dev {interface} root {shape}")


def _set_routes(nodes: Mapping[str, Node], links: Sequence[Link]) -> None:
    """Routes over the fewest links to nodes that are no neighbours."""
    for node in nodes.values():
        for target, hop in _first_hops(node.name, links).items():
            if hop != target:
                route = f"{nodes[target].address}/32 via {nodes[hop].address} dev {_interface(hop)}"
                _command(f"nsenter -t {node.pid} -n ip route add {route} src {node.address}")


def _first_hops(start: str, links: Sequence[Link]) -> dict[str, str]:
    """For each node that can be reached, the neighbour by which it is.

    >>> _first_hops("edge", [Link("edge", "fog"), Link("cloud", "fog")])
    {'fog': 'fog', 'cloud': 'fog'}
    """
    neighbours: dict[str, list[str]] = {}
    for link in links:
        neighbours.setdefault(link.first, []).append(link.second)
        neighbours.setdefault(link.second, []).append(link.first)
    hops = {name: name for name in neighbours[start]}
    queue = deque(hops)
    while queue:
        name = queue.popleft()
        for neighbour in neighbours[name]:
            if neighbour != start and neighbour not in hops:
                hops[neighbour] = hops[name]
                queue.append(neighbour)
    return hops


def _check(names: Sequence[str], links: Sequence[Link], cpus: Mapping[str, float]) -> None:
    if not links:
        raise ValueError("a test bed has at least one link")
    for name in names:
        if not re.fullmatch(r"\w{1,12}", name, re.ASCII):
            raise ValueError(f'a node called "{name}": give it at most 12 letters, digits and _')
    if len({frozenset((link.first, link.second)) for link in links}) < len(links):
        raise ValueError("two links between the same nodes")
    for name in cpus.keys() - set(names):
        raise ValueError(f"{name} has a share of the CPUs but no link")
    if apart := set(names) - {names[0], *_first_hops(names[0], links)}:
        raise ValueError(f"{names[0]} cannot reach {', '.join(sorted(apart))}")


def _folder(bed: str) -> Path:
    if not re.fullmatch(r"[\w-]+", bed, re.ASCII):
        raise ValueError(f'a test bed called "{bed}": give it letters, digits, - and _')
    return STATES / bed


def _address(index: int) -> str:
    return f"10.77.{index // 250}.{index % 250 + 1}"


def _interface(other: str) -> str:
    """What a node's interface to another is called: 15 characters at most."""
    return f"to-{other}"


def _command(command: str) -> None:
    done = subprocess.run(shlex.split(command), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr.strip()}")
