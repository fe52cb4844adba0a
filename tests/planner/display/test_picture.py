"""The picture of a plan: where things lie, and that both files can be read."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import cv2
import numpy as np

from flowedge.planner.display.picture import Box, Curve, Picture, Text, picture, svg
from flowedge.planner.display.raster import png
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.plan import Deployment, Route
from tests.planner.crossing import CLOUD_DETECT, CLOUD_TRACK, SIZE, crossing, placements, plan


def text_of(drawn: Picture, words: str) -> Text:
    return next(shape for shape in drawn.shapes if isinstance(shape, Text) and words in shape.words)


def test_tiers_lie_from_left_to_right() -> None:
    drawn = picture(crossing(), plan())
    assert text_of(drawn, "edge").x < text_of(drawn, "cloud").x


def test_operators_lie_in_their_machines() -> None:
    drawn = picture(crossing(), plan())
    boxes = [shape for shape in drawn.shapes if isinstance(shape, Box)]
    server, detect = text_of(drawn, "server"), text_of(drawn, "Detect")
    assert any(
        box.x < min(server.x, detect.x)
        and box.y < min(server.y, detect.y)
        and box.y + box.height > max(server.y, detect.y)
        and box.height < 200
        for box in boxes
    )
    assert text_of(drawn, "Draw").x < server.x


def test_everything_lies_on_the_sheet_and_machines_do_not_overlap() -> None:
    drawn = picture(crossing(), plan())
    boxes = [shape for shape in drawn.shapes if isinstance(shape, Box)]
    for box in boxes:
        assert 0 <= box.x < box.x + box.width <= drawn.width
        assert 0 <= box.y < box.y + box.height <= drawn.height
    machines = [box for box in boxes if box.stroke != "none"]
    assert len(machines) == 3
    for one, other in combinations(machines, 2):
        apart = one.x + one.width <= other.x or other.x + other.width <= one.x
        assert apart or one.y + one.height <= other.y or other.y + other.height <= one.y


def test_a_link_shows_what_it_carries() -> None:
    drawn = picture(crossing(), plan())
    assert text_of(drawn, "→ 4").words.startswith("→ 4")
    assert text_of(drawn, "of 10 Mbit/s").words == "of 10 Mbit/s, 40 %"
    assert sum(isinstance(shape, Curve) for shape in drawn.shapes) == 2


def test_links_within_a_tier_stay_on_the_sheet() -> None:
    far = plan(
        deployments=(Deployment("Detect", "server", CLOUD_DETECT), Deployment("Track", "far", CLOUD_TRACK)),
        routes=(Route("north", 2, SIZE, placements(("server", 0), ("far", 1))),),
    )
    drawn = picture(crossing(), far)
    label = text_of(drawn, "↓ 0.04")
    assert label.words == "↓ 0.04 ↑ 0.02"
    assert label.x < drawn.width
    for shape in drawn.shapes:
        if isinstance(shape, Curve):
            assert max(x for x, _ in shape.points) < drawn.width


def test_a_tier_of_many_machines_is_cut_short() -> None:
    old = crossing().cluster
    more = tuple(Node(f"spare{index}", "cloud", "xeon", cores=8) for index in range(500))
    links = tuple(Link("server", node.name, 1e9) for node in more)
    drawn = picture(crossing(cluster=Cluster(old.tiers, old.nodes + more, old.links + links)), plan())
    assert text_of(drawn, "more").words == "and 490 more"
    assert text_of(drawn, "Detect").words == "Detect 4 cores, 20 %".replace("Detect ", "Detect  ")
    assert drawn.height < 2000


def test_the_svg_is_well_formed_and_escapes_names() -> None:
    old = crossing().cluster
    names = {"far": '<far> & "wide"'}
    nodes = tuple(
        Node(names.get(node.name, node.name), node.tier, node.kind, node.cores, power=node.power)
        for node in old.nodes
    )
    drawn = picture(crossing(cluster=Cluster(old.tiers, nodes, old.links[:1])), plan())
    root = ElementTree.fromstring(svg(drawn))
    words = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert '<far> & "wide"' in words


def test_the_png_can_be_read_and_is_not_blank() -> None:
    drawn = picture(crossing(), plan())
    image = cv2.imdecode(np.frombuffer(png(drawn), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape[:2] == (int(drawn.height * 2), int(drawn.width * 2))
    assert len(np.unique(image @ np.array([1, 1 << 8, 1 << 16]))) > 10
