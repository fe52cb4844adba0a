"""Merge kernels: hand-computed cases, an oracle that loops, and the libraries whose rules they offer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from flowedge.vision import nms as merging
from flowedge.vision import overlap as overlaps
from flowedge.vision.nms import SAHI, SUPERVISION, Rule, by_rank, group, merge, suppress

NONE = np.zeros(0, np.int32)


def boxes_of(*rows):
    return np.array(rows, np.float32).reshape(-1, 4)


def falling(count):
    """Scores from best to worst."""
    return np.linspace(0.9, 0.1, count, dtype=np.float32)


def one_class(count):
    return np.zeros(count, np.int32)


def plain_groups(boxes, scores, classes, threshold, metric, class_aware, ties):
    """The definition, box by box."""
    order = by_rank(boxes, scores, ties).tolist()
    owners = np.arange(len(boxes))
    free = dict.fromkeys(order)
    for best in order:
        if best not in free:
            continue
        del free[best]
        rest = [n for n in free if not class_aware or classes[n] == classes[best]]
        share = overlaps.overlaps(boxes[[best]], boxes[rest], metric)[0]
        for taken in np.array(rest, int)[share.astype(np.float32) >= np.float32(threshold)].tolist():
            owners[taken] = best
            del free[taken]
    return owners


# --- by hand ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [Rule(), SAHI, SUPERVISION])
def test_nothing_stays_nothing(rule):
    found = merge(boxes_of(), np.zeros(0, np.float32), NONE, 0.5, rule=rule)
    assert found.boxes.shape == (0, 4)
    assert len(found.scores) == len(found.classes) == len(found.kept) == len(found.owners) == 0
    assert suppress(boxes_of(), np.zeros(0, np.float32), NONE, 0.5).tolist() == []


@pytest.mark.parametrize("rule", [Rule(), SAHI, SUPERVISION])
def test_identical_boxes_are_one(rule):
    found = merge(boxes_of(*[[1, 2, 5, 8]] * 5), falling(5), one_class(5), 1.0, rule=rule)
    assert found.boxes.tolist() == [[1, 2, 5, 8]]
    assert found.owners.tolist() == [0] * 5
    assert found.scores[0] == pytest.approx(0.5 if rule is SUPERVISION else 0.9)


def test_a_nested_box_overlaps_the_smaller_wholly_and_the_union_little():
    nested = boxes_of([0, 0, 10, 10], [4, 4, 6, 6])
    assert group(nested, falling(2), one_class(2), 0.5, "iou").tolist() == [0, 1]
    assert group(nested, falling(2), one_class(2), 0.5, "ios").tolist() == [0, 0]


def test_a_chain_breaks_where_the_best_box_no_longer_reaches():
    chain = boxes_of(*([n, 0, n + 4, 4] for n in range(5)))  # neighbours 3/5, next but one 2/6
    assert group(chain, falling(5), one_class(5), 0.5).tolist() == [0, 0, 2, 2, 4]
    assert group(chain, falling(5)[::-1], one_class(5), 0.5).tolist() == [0, 2, 2, 4, 4]
    assert merge(chain, falling(5), one_class(5), 0.5).boxes.tolist() == [
        [0, 0, 5, 4],
        [2, 0, 7, 4],
        [4, 0, 8, 4],
    ]


@pytest.mark.parametrize("length", [2, 63, 64, 65, 130, 131, 500])
def test_a_chain_of_any_length_is_settled_link_by_link(length):
    left = np.arange(length, dtype=np.float32)
    chain = np.stack([left, 0 * left, left + 4, 0 * left + 4], axis=1)
    assert suppress(chain, falling(length), one_class(length), 0.5).tolist() == list(range(0, length, 2))


def test_boxes_that_touch_do_not_overlap():
    touching = boxes_of([0, 0, 4, 4], [4, 0, 8, 4], [0, 4, 4, 8], [4, 4, 8, 8])
    assert group(touching, falling(4), one_class(4), 1e-6, "ios").tolist() == [0, 1, 2, 3]


def test_boxes_without_area_or_end_overlap_nothing():
    odd = boxes_of([0, 0, 4, 4], [1, 1, 1, 3], [1, 1, 1, 3], [2, 2, 2, 2], [0, 0, np.inf, 4], [0, 0, np.nan, 4])
    for metric in ("iou", "ios"):
        assert group(odd, falling(6), one_class(6), 0.1, metric).tolist() == list(range(6))


def test_the_threshold_itself_is_enough():
    half = boxes_of([0, 0, 4, 4], [0, 0, 4, 2])
    assert group(half, falling(2), one_class(2), 0.5).tolist() == [0, 0]
    assert group(half, falling(2), one_class(2), 0.500001).tolist() == [0, 1]


def test_classes_compete_only_where_asked():
    same = boxes_of([0, 0, 4, 4], [0, 0, 4, 4])
    far_apart = np.array([7, -2_000_000_000])
    assert group(same, falling(2), far_apart, 0.5).tolist() == [0, 1]
    found = merge(same, falling(2)[::-1], far_apart, 0.5, class_aware=False)
    assert (found.owners.tolist(), found.classes.tolist()) == ([1, 1], [-2_000_000_000])


def test_ties_are_broken_as_the_rule_says():
    tied = boxes_of([3, 0, 7, 4], [1, 0, 5, 4], [2, 0, 6, 4], [1, 0, 5, 4])
    scores = np.array([0.5, 0.5, 0.5, 0.5], np.float32)
    assert by_rank(tied, scores, "first").tolist() == [0, 1, 2, 3]
    assert by_rank(tied, scores, "last").tolist() == [3, 2, 1, 0]
    assert by_rank(tied, scores, "leftmost").tolist() == [1, 3, 2, 0]


def test_a_member_that_no_longer_fits_what_has_grown_is_dropped():
    # Both overlap the first by 0.6; joined with the second it is 5 wide, of which the third covers 3 in 6.
    boxes = boxes_of([10, 0, 14, 4], [9, 0, 13, 4], [11, 0, 15, 4])
    grown = merge(boxes, falling(3), one_class(3), 0.55, rule=Rule(boxes="grown"))
    assert (grown.boxes.tolist(), grown.owners.tolist()) == ([[9, 0, 14, 4]], [0, 0, 0])
    union = merge(boxes, falling(3), one_class(3), 0.55, rule=Rule(boxes="union"))
    assert union.boxes.tolist() == [[9, 0, 15, 4]]


def test_scores_may_weigh_as_much_as_their_boxes():
    boxes, scores = boxes_of([0, 0, 4, 4], [0, 0, 4, 2]), np.array([0.9, 0.3], np.float32)
    found = merge(boxes, scores, one_class(2), 0.5, rule=Rule(scores="area"))
    assert found.scores.tolist() == pytest.approx([(16 * 0.9 + 8 * 0.3) / 24])


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01, float("nan")])
def test_a_threshold_outside_its_range_is_refused(threshold):
    with pytest.raises(ValueError, match="above 0 and up to 1"):
        group(boxes_of(), np.zeros(0), NONE, threshold)


def test_what_is_given_is_not_changed():
    boxes, scores = boxes_of([0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4]), falling(3)
    for array in (boxes, scores):
        array.flags.writeable = False
    merge(boxes, scores, one_class(3), 0.3, rule=SAHI)


# --- against the definition and the libraries ---------------------------------------------------------


@st.composite
def inputs(draw, most=40, tied=True):
    """Boxes on a coarse grid (equal, nested, touching, without area) or anywhere, scores with ties, classes."""
    count = draw(st.integers(0, most))
    place = draw(st.sampled_from([st.integers(0, 12), st.floats(0, 30, width=32)]))
    size = draw(st.sampled_from([st.integers(0, 6), st.floats(0, 12, width=32)]))
    corners = draw(st.lists(st.tuples(place, place, size, size), min_size=count, max_size=count))
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h in corners], np.float32).reshape(-1, 4)
    if tied:
        scores = draw(st.lists(st.sampled_from([0.25, 0.5, 0.75]), min_size=count, max_size=count))
    else:
        scores = draw(st.permutations([(n + 1) / (count + 1) for n in range(count)]))
    classes = draw(st.lists(st.integers(0, 2), min_size=count, max_size=count))
    return boxes, np.array(scores, np.float32), np.array(classes, np.int32)


def settings_of(thresholds=(0.1, 0.25, 0.5, 0.6, 1.0)):
    return st.tuples(st.sampled_from(thresholds), st.sampled_from(["iou", "ios"]), st.booleans())


def crowd(count, seed=0):
    """Boxes in piles, as a detector gives them before anything is suppressed."""
    random = np.random.default_rng(seed)
    pile = random.integers(0, count // 5, count)
    size = random.uniform(10, 60, (count // 5, 2))[pile] * random.normal(1, 0.1, (count, 2))
    centre = random.uniform(0, 800, (count // 5, 2))[pile] + random.normal(0, 3, (count, 2))
    boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1).clip(0, 800).astype(np.float32)
    scores = random.uniform(0, 1, count).round(3).astype(np.float32)
    return boxes, scores, random.integers(0, 3, count).astype(np.int32)


@given(inputs(), settings_of(), st.sampled_from(["first", "last", "leftmost"]))
@settings(deadline=None)
def test_groups_are_those_of_the_definition(columns, how, ties):
    assert group(*columns, *how, ties).tolist() == plain_groups(*columns, *how, ties).tolist()


@pytest.mark.parametrize("class_aware", [True, False])
@pytest.mark.parametrize("metric", ["iou", "ios"])
def test_blocks_and_pieces_do_not_show(monkeypatch, metric, class_aware):
    columns = crowd(600)
    expected = plain_groups(*columns, 0.4, metric, class_aware, "first").tolist()
    for name, module, value in (("_FIRST_BLOCK", merging, 7), ("_CANDIDATES_AT_ONCE", overlaps, 50)):
        monkeypatch.setattr(module, name, value)
        assert group(*columns, 0.4, metric, class_aware).tolist() == expected


def owners_of(groups, count):
    owners = np.full(count, -1)
    for best, *others in groups:
        owners[[best, *others]] = best
    return owners.tolist()


def sahi_owners(columns, threshold, metric, class_aware):
    combine = pytest.importorskip("sahi.postprocess.combine", reason="sahi is not installed")
    table = np.column_stack(columns).astype(np.float32)
    function = combine.batched_greedy_nmm if class_aware else combine.greedy_nmm
    found = function(table, metric.upper(), threshold)
    return owners_of(([best, *others] for best, others in found.items()), len(table))


@given(inputs(), settings_of())
@settings(deadline=None)
def test_groups_are_those_of_sahi(columns, how):
    assert group(*columns, *how, SAHI.ties).tolist() == sahi_owners(columns, *how)


@pytest.mark.parametrize("metric", ["iou", "ios"])
def test_groups_of_many_are_those_of_sahi(metric):
    columns = crowd(3000)
    assert group(*columns, 0.5, metric, False, SAHI.ties).tolist() == sahi_owners(columns, 0.5, metric, False)


@given(inputs(most=12), settings_of())
@settings(deadline=None)
def test_merged_boxes_are_those_of_sahi(columns, how):
    combine = pytest.importorskip("sahi.postprocess.combine", reason="sahi is not installed")
    from sahi.prediction import ObjectPrediction

    boxes, scores, classes = columns
    threshold, metric, class_aware = how
    real = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)  # SAHI makes no prediction of a box without area
    boxes, scores, classes = boxes[real], scores[real], classes[real]
    rows = zip(boxes.tolist(), scores.tolist(), classes.tolist(), strict=True)
    given_ = [ObjectPrediction(bbox=b, score=s, category_id=c, category_name=str(c)) for b, s, c in rows]
    theirs = combine.GreedyNMMPostprocess(threshold, metric.upper(), not class_aware)(given_) if given_ else []
    ours = merge(boxes, scores, classes, *how, rule=SAHI)
    mine = zip(ours.boxes.tolist(), ours.scores.tolist(), ours.classes.tolist(), strict=True)
    expected = [([float(x) for x in p.bbox.to_xyxy()], p.score.value, p.category.id) for p in theirs]
    assert sorted(mine) == sorted(expected)


def supervision_orders_ties(columns, class_aware):
    """supervision sorts by numpy's quicksort, which promises no order of ties: take those it left in theirs."""
    _, scores, classes = columns
    wide = scores.astype(np.float64)
    sets = [wide[classes == label] for label in np.unique(classes)] if class_aware else [wide]
    return all(np.array_equal(np.argsort(each), np.argsort(each, kind="stable")) for each in sets)


def supervision_owners(columns, threshold, metric, class_aware):
    pytest.importorskip("supervision", reason="supervision is not installed")
    from supervision.detection.utils.iou_and_nms import OverlapMetric, box_non_max_merge

    table = np.column_stack(columns if class_aware else columns[:2]).astype(np.float64)
    groups = box_non_max_merge(table, threshold, OverlapMetric(metric.upper())) if len(table) else []
    return owners_of(groups, len(table))


@given(inputs(most=16) | inputs(tied=False), settings_of())
@settings(deadline=None)
def test_groups_are_those_of_supervision(columns, how):
    assume(supervision_orders_ties(columns, how[2]))
    boxes, scores, classes = columns
    ours = group(boxes.astype(np.float64), scores, classes, *how, SUPERVISION.ties)
    assert ours.tolist() == supervision_owners(columns, *how)


@given(inputs(tied=False), settings_of())
@settings(deadline=None)
def test_merged_boxes_are_those_of_supervision(columns, how):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed")
    from supervision.detection.utils.iou_and_nms import OverlapMetric

    boxes, scores, classes = columns
    threshold, metric, class_aware = how
    theirs = supervision.Detections(
        boxes.astype(np.float64), confidence=scores.astype(np.float64), class_id=classes
    )
    theirs = theirs.with_nmm(threshold, not class_aware, OverlapMetric(metric.upper()))
    ours = merge(boxes.astype(np.float64), scores, classes, *how, rule=SUPERVISION)
    assert len(ours.boxes) == len(theirs)
    if len(ours.boxes):
        # The best box of a group has a score of its own; theirs come by class, ours by score of that box.
        order = np.lexsort((np.arange(len(ours.kept)), ours.classes)) if class_aware else slice(None)
        np.testing.assert_array_equal(ours.boxes[order], theirs.xyxy)
        np.testing.assert_array_equal(ours.classes[order], theirs.class_id)
        np.testing.assert_allclose(ours.scores[order], theirs.confidence, rtol=1e-6)
