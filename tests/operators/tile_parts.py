"""Parts of a frame in two tiles, and what every operator that merges them by suppression has to keep to."""

from __future__ import annotations

import pytest

from flowedge import ConfigError, Detections, Gather, Origin
from flowedge.values import InvalidValueError

LEFT, RIGHT = (0, 0, 120, 100), (80, 0, 200, 100)


def part(tile, region, *objects, names=("person", "car"), missing=()):
    origin = Origin("north", index=7, width=200, height=100, tile=tile, tiles=2)
    columns = zip(*objects, strict=True) if objects else ([], [], [])
    boxes, scores, classes = (list(column) for column in columns)
    return Detections(origin, boxes, scores, classes, names, missing, region)


class MergesParts:
    """What `operator`, which a subclass names, must do with the parts of a frame, however it merges boxes."""

    operator: type[Gather]

    def test_the_result_is_of_the_frame(self) -> None:
        one = part(0, LEFT, ((10, 10, 40, 40), 0.5, 0), missing=((0, 0, 5, 5),))
        other = part(1, RIGHT, ((150, 10, 190, 40), 0.75, 1), missing=((5, 0, 9, 5),))
        found = self.operator().gather([one, other])
        assert found.origin == Origin("north", index=7, width=200, height=100)
        assert (found.region, found.names) == ((0, 0, 200, 100), ("person", "car"))
        assert found.missing == ((0, 0, 5, 5), (5, 0, 9, 5))
        assert found.boxes.tolist() == [[150, 10, 190, 40], [10, 10, 40, 40]]
        assert (found.scores.tolist(), found.labels) == ([0.75, 0.5], ["car", "person"])

    def test_parts_without_objects_give_none(self) -> None:
        found = self.operator().gather([part(0, LEFT), part(1, RIGHT)])
        assert len(found) == 0
        assert found.boxes.shape == (0, 4)

    def test_one_part_that_looked_at_everything_is_enough(self) -> None:
        found = self.operator().gather([part(0, None, ((10, 10, 40, 40), 0.5, 0))])
        assert (found.boxes.tolist(), found.region) == ([[10, 10, 40, 40]], None)

    def test_parts_with_other_class_names_are_refused(self) -> None:
        parts = [part(0, LEFT), part(1, RIGHT, names=("cat", "dog"))]
        with pytest.raises(
            InvalidValueError, match=r"frame 7 of camera north .* \(cat, dog\) and \(person, car\)"
        ):
            self.operator().gather(parts)

    @pytest.mark.parametrize("overlap", [0, -0.1, 1.5])
    def test_an_overlap_outside_its_range_is_refused(self, overlap: float) -> None:
        with pytest.raises(
            ConfigError, match=rf"{self.operator.__name__}.overlap: {overlap} is not an overlap above 0"
        ):
            self.operator(overlap=overlap)

    def test_a_metric_of_another_name_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"metric: 'giou' is not .*Literal\['iou', 'ios'\]"):
            self.operator(metric="giou")

    def test_attributes_are_those_of_the_surest_box(self) -> None:
        origin = Origin("north", width=100, height=100)
        parts = [
            Detections(origin, [[10, 10, 50, 50]], [0.6], [0], attributes={"plate": ["AB 1"]}),
            Detections(
                origin,
                [[10, 10, 50, 51], [70, 70, 90, 90]],
                [0.8, 0.7],
                [0, 0],
                attributes={"plate": ["AB 12", "C"]},
            ),
            Detections(origin, [], [], []),
        ]
        assert self.operator().gather(parts).attributes["plate"].tolist() == ["AB 12", "C"]

    def test_parts_with_other_attributes_are_refused(self) -> None:
        origin = Origin("north", width=100, height=100)
        parts = [
            Detections(origin, [[10, 10, 50, 50]], [0.6], [0], attributes={"hue": [1]}),
            Detections(origin, [[10, 10, 50, 51]], [0.8], [0], attributes={"hue": ["red"]}),
        ]
        with pytest.raises(InvalidValueError, match="have different attributes"):
            self.operator().gather(parts)
