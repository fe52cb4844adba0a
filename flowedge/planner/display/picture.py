"""A plan as a picture: tiers from left to right, machines in them, operators in those, links with their load.

`picture` lays it out as plain shapes, in pixels from the left and the top; `svg` writes them as a file for any
browser, `flowedge.planner.display.raster` as a PNG.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from xml.sax.saxutils import escape

from flowedge.planner.display.text import headline, node_loads
from flowedge.planner.model.cluster import Node
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.prediction import predict
from flowedge.planner.model.problem import Problem

INK, FAINT, PAPER, PANEL = "#1f2933", "#7b8794", "#ffffff", "#f5f7fa"
USED, UNUSED, OPERATOR, BAR = "#ffffff", "#eef1f4", "#dbeafe", "#2563eb"
CALM, BUSY, FULL = "#3f8f5f", "#c98a00", "#c0392b"

_MARGIN, _GAP, _BETWEEN = 24.0, 160.0, 18.0  # around all; between tiers; between machines
_HEAD, _NODE_HEAD, _ROW = 78.0, 40.0, 30.0
_CHAR = 0.56  # width of a letter in the size of its font, about
_MOST = 12  # machines that a tier shows; the others are counted

Point: TypeAlias = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = "none"
    radius: float = 6.0


@dataclass(frozen=True, slots=True)
class Curve:
    """A cubic Bezier curve through its control points."""

    points: tuple[Point, Point, Point, Point]
    stroke: str
    width: float

    def at(self, share: float) -> Point:
        """The point at a share (0..1) of the way."""
        a, b, c, d = (1 - share) ** 3, 3 * share * (1 - share) ** 2, 3 * share**2 * (1 - share), share**3
        x, y = (sum(w * p[axis] for w, p in zip((a, b, c, d), self.points, strict=True)) for axis in (0, 1))
        return x, y


@dataclass(frozen=True, slots=True)
class Text:
    """A line of text; `y` is its base line."""

    x: float
    y: float
    words: str
    size: float = 12.0
    fill: str = INK
    anchor: str = "start"
    bold: bool = False


Shape: TypeAlias = Box | Curve | Text


@dataclass(frozen=True)
class Picture:
    """Shapes in the order in which they are painted."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class _Card:
    """A machine as it is drawn; `rows` are its operators with their load (None where they cost nothing)."""

    title: str
    subtitle: str
    rows: tuple[tuple[str, float | None], ...]
    used: bool

    @property
    def height(self) -> float:
        return _NODE_HEAD + _ROW * len(self.rows) + (8 if self.rows else 0)

    @property
    def width(self) -> float:
        lines = [(self.title, 13.0), (self.subtitle, 11.0), *((words, 12.0) for words, _ in self.rows)]
        return max(170.0, *(_width(words, size) + 36 for words, size in lines))


@dataclass(frozen=True, slots=True)
class _Label:
    """What a link carries, and its share of the bandwidth, in Mbit/s."""

    x: float
    y: float
    flows: str
    share: str
    colour: str


def picture(problem: Problem, plan: Plan) -> Picture:
    """The picture of a plan that was found."""
    cards = _cards(problem, plan)
    tiers = [tier for tier in problem.cluster.tiers if any(node.tier == tier for node in problem.cluster.nodes)]
    boxes: dict[str, Box] = {}
    shapes: list[Shape] = []
    x = _MARGIN
    tallest = max(sum(card.height + _BETWEEN for card in _of(cards, problem, tier).values()) for tier in tiers)
    for tier in tiers:
        shown = _of(cards, problem, tier)
        width = max(card.width for card in shown.values())
        panel = Box(x, _HEAD, width + 28, tallest + 44, PANEL, radius=10)
        shapes += [panel, Text(x + 14, _HEAD + 24, tier, 13, FAINT, bold=True)]
        top = _HEAD + 38 + (tallest - sum(card.height + _BETWEEN for card in shown.values())) / 2
        for name, card in shown.items():
            boxes[name] = Box(x + 14, top, width, card.height, USED if card.used else UNUSED, "#cbd2d9")
            top += card.height + _BETWEEN
        x += width + 28 + _GAP
    curves, labels = _links(problem, plan, boxes)
    shapes += curves
    for name, box in boxes.items():
        shapes += _card(box, cards[name])
    names = ", ".join(application.name for application in problem.applications)
    title = f"{names}: plan by {headline(problem, plan)}"
    heading = [Text(_MARGIN, 36, title, 16, bold=True), Text(_MARGIN, 58, _summary(problem, plan), 12, FAINT)]
    width = max(map(_right, (*shapes, *labels, *heading))) + _MARGIN
    return Picture(width, _HEAD + tallest + 44 + _MARGIN, (*shapes, *labels, *heading))


def svg(drawn: Picture) -> str:
    """A picture as an SVG file."""
    size = f'width="{drawn.width:.0f}" height="{drawn.height:.0f}"'
    view = f'viewBox="0 0 {drawn.width:.0f} {drawn.height:.0f}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {view} font-family="Arial, sans-serif">',
            f'<rect width="100%" height="100%" fill="{PAPER}"/>',
            *(_written(shape) for shape in drawn.shapes),
            "</svg>\n",
        ]
    )


def _written(shape: Shape) -> str:
    match shape:
        case Box():
            return (
                f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" '
                f'height="{shape.height:.1f}" rx="{shape.radius:g}" fill="{shape.fill}" '
                f'stroke="{shape.stroke}"/>'
            )
        case Curve():
            start, *rest = (f"{x:.1f} {y:.1f}" for x, y in shape.points)
            return (
                f'<path d="M {start} C {", ".join(rest)}" fill="none" stroke="{shape.stroke}" '
                f'stroke-width="{shape.width:.1f}"/>'
            )
        case Text():
            bold = ' font-weight="bold"' if shape.bold else ""
            return (
                f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" fill="{shape.fill}" '
                f'text-anchor="{shape.anchor}"{bold}>{escape(shape.words)}</text>'
            )


def _cards(problem: Problem, plan: Plan) -> dict[str, _Card]:
    """A card for each machine that is drawn."""
    prediction = predict(problem, plan)
    rows: dict[str, list[tuple[str, float | None]]] = defaultdict(list)
    cameras: dict[str, int] = defaultdict(int)
    for camera_class in problem.classes:
        cameras[camera_class.node] += camera_class.count
    for deployment, used in zip(plan.deployments, prediction.utilisations, strict=True):
        times = f"{deployment.replicas} x " if deployment.replicas > 1 else ""
        service = deployment.service
        gpu = f", {service.gpu:g} GPU" if service.gpu else ""
        words = f"{times}{deployment.operator}  {service.cores:g} cores{gpu}, {100 * used:.0f} %"
        rows[deployment.node].append((words.replace(" 1 cores", " 1 core"), used))
    for place, stage in _free(plan):
        rows[place].append((stage, None))
    loads = node_loads(problem, plan)
    cards = {}
    for node in problem.cluster.nodes:
        cores = loads[node.name].cores if node.name in loads else 0.0
        parts = [f"{cores:.4g} of {node.cores:g} cores"]
        if node.gpu:
            parts.append(f"{loads[node.name].gpu if node.name in loads else 0:g} of {node.gpu:g} GPUs")
        if node.name in loads:
            parts.append(f"{loads[node.name].watts:.3g} W")
        if count := cameras[node.name]:
            parts.append(f"{count} camera" + "s" * (count > 1))
        cards[node.name] = _Card(node.name, ", ".join(parts), tuple(rows[node.name]), bool(rows[node.name]))
    return cards


def _free(plan: Plan) -> list[tuple[str, str]]:
    """Stages without cost and the machines where they run, each pair once."""
    pairs = ((placement.node, placement.stage) for route in plan.routes for placement in route.placements)
    served = {(deployment.node, deployment.operator) for deployment in plan.deployments}
    return [pair for pair in dict.fromkeys(pairs) if pair not in served]


def _of(cards: dict[str, _Card], problem: Problem, tier: str) -> dict[str, _Card]:
    """The cards of a tier: all machines, or as many as can be shown, busy ones first, and how many more."""
    nodes = [node for node in problem.cluster.nodes if node.tier == tier]
    if len(nodes) <= _MOST:
        return {node.name: cards[node.name] for node in nodes}

    def rank(node: Node) -> int:
        return -len(cards[node.name].rows)

    shown = sorted(nodes, key=rank)[:_MOST]
    rest = [node for node in nodes if node not in shown]
    used = sum(cards[node.name].used for node in rest)
    more = f"... {tier}"
    cards[more] = _Card(f"and {len(rest)} more", f"{used} of them used", (), used > 0)
    return {node.name: cards[node.name] for node in nodes if node in shown} | {more: cards[more]}


def _card(box: Box, card: _Card) -> Iterator[Shape]:
    """A machine with its operators; the bar below each is its load."""
    yield box
    yield Text(box.x + 12, box.y + 18, card.title, 13, INK if card.used else FAINT, bold=True)
    yield Text(box.x + 12, box.y + 33, card.subtitle, 11, FAINT)
    for position, (words, load) in enumerate(card.rows):
        top = box.y + _NODE_HEAD + _ROW * position
        width = box.width - 20
        yield Box(box.x + 10, top, width, _ROW - 4, PANEL if load is None else OPERATOR, radius=4)
        yield Text(box.x + 18, top + 16, words, 12)
        if load is not None:
            yield Box(box.x + 10, top + _ROW - 7, width * min(1.0, load), 3, BAR, radius=1.5)


def _links(problem: Problem, plan: Plan, boxes: dict[str, Box]) -> tuple[list[Curve], list[Shape]]:
    """The links between machines that are drawn, and what the busy ones carry."""
    arcs, flows = problem.cluster.arcs, predict(problem, plan).arcs
    curves: list[Curve] = []
    labels: list[_Label] = []
    for position, link in enumerate(problem.cluster.links):
        if link.a not in boxes or link.b not in boxes:
            continue
        start, end = sorted((link.a, link.b), key=lambda name: (boxes[name].x, boxes[name].y))
        forward, back = (flows.get(2 * position + way, 0.0) for way in (0, 1))
        if arcs[2 * position].start != start:
            forward, back = back, forward
        load = max(forward, back) / link.bandwidth
        colour = "#cbd2d9" if not load else CALM if load < 0.5 else BUSY if load < 0.8 else FULL
        curve = Curve(_between(boxes[start], boxes[end]), colour, 1.5 + 4 * min(1.0, load))
        curves.append(curve)
        if load:
            across = boxes[start].x == boxes[end].x
            forth, against = ("↓", "↑") if across else ("→", "←")
            ways = [f"{forth} {forward / 1e6:.3g}"] * (forward > 0) + [f"{against} {back / 1e6:.3g}"] * (
                back > 0
            )
            bandwidth = round(link.bandwidth / 1e6, 1)
            share = f"of {bandwidth:g} Mbit/s, {100 * load:.0f} %"
            x, y = curve.at(0.5)
            labels.append(_Label(x + _width(share, 11) / 2 * across, y, " ".join(ways), share, colour))
    return curves, list(_labels(labels))


def _between(start: Box, end: Box) -> tuple[Point, Point, Point, Point]:
    """From the right edge of one machine to the left edge of the other; around the side within a tier."""
    y, to = start.y + start.height / 2, end.y + end.height / 2
    if start.x == end.x:
        side = start.x + start.width
        return (side, y), (side + 60, y), (side + 60, to), (side, to)
    begin, stop = start.x + start.width, end.x
    bend = (stop - begin) / 2
    return (begin, y), (begin + bend, y), (stop - bend, to), (stop, to)


def _labels(labels: Sequence[_Label]) -> Iterator[Shape]:
    """Labels of links, moved down where they would lie on one another."""
    taken: list[tuple[float, float, float]] = []
    for label in sorted(labels, key=lambda one: one.y):
        half = max(_width(label.flows, 11), _width(label.share, 11)) / 2 + 4
        y = label.y
        while any(abs(y - other) < 36 and abs(label.x - x) < half + wide for x, other, wide in taken):
            y += 4
        taken.append((label.x, y, half))
        yield Box(label.x - half, y - 16, 2 * half, 32, PAPER)
        yield Text(label.x, y - 3, label.flows, 11, label.colour, "middle", bold=True)
        yield Text(label.x, y + 11, label.share, 11, label.colour, "middle")


def _summary(problem: Problem, plan: Plan) -> str:
    prediction = predict(problem, plan)
    latency = max((route_latency.total for route_latency in prediction.latencies), default=0.0)
    cameras = sum(route.cameras for route in plan.routes)
    return (
        f"{cameras} cameras, {prediction.throughput:g} frames/s, latency at most {1e3 * latency:.0f} ms, "
        f"{prediction.watts:.3g} W. Bars: load of an operator; lines: load of a link."
    )


def _right(shape: Shape) -> float:
    """How far to the right a shape reaches."""
    match shape:
        case Box():
            return shape.x + shape.width
        case Curve():
            return max(x for x, _ in shape.points)
        case Text():
            return shape.x + _width(shape.words, shape.size) * (0.5 if shape.anchor == "middle" else 1)


def _width(words: str, size: float) -> float:
    return _CHAR * size * len(words)
