"""The targets of a picture's cells, and the loss of the network against them.

Cells are assigned to objects by task alignment (Feng et al., TOOD: Task-aligned One-stage Object
Detection, 2021, section 3.2): the cells in an object's box that score its class and overlap it best learn
to find it, the better the overlap the higher the score they should give. Boxes learn by generalised
intersection over union (Rezatofighi et al., 2019).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

LEAST_VISIBLE = 0.25
"""Share of an object that must be visible for the network to be asked for it; cells on others learn nothing."""

LEAST_SIDE = 4.0
"""Pixels below which an object's box is too small to be asked for."""

TOP = 10
"""Most cells that learn to find one object."""

SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
"""Exponents of a cell's score and overlap in its alignment with an object."""

BOX_WEIGHT = 2.5
_REACH = 4.1  # pixels from an object's middle within which a cell may find it, however small its box


class Grid(NamedTuple):
    """The cells: centres (cells x 2, pixels) and strides (cells, pixels)."""

    centres: Tensor
    strides: Tensor


class Targets(NamedTuple):
    """The targets of the cells of one picture."""

    positive: Tensor  # K, numbers of the cells that should find something
    boxes: Tensor  # K x 4, xyxy in pixels
    classes: Tensor  # K
    quality: Tensor  # K, the score that each should give
    counted: Tensor  # cells, 1 where the scores count and 0 where nothing can be said


def loss(raw: Tensor, objects: list[Tensor], grid: Grid) -> tuple[Tensor, Tensor]:
    """Loss of the scores and of the boxes, each summed over a batch per unit of target score.

    Args:
        raw: What the network gives, N x (4 + classes) x cells.
        objects: For each picture M x 6: xyxy (pixels), class, visible share.
        grid: The network's cells.
    """
    raw = raw.float().transpose(1, 2)
    boxes, logits = to_boxes(raw[..., :4], grid), raw[..., 4:]
    score_loss = box_loss = wanted = raw.new_zeros(())
    for number, rows in enumerate(objects):
        said = boxes[number].detach(), logits[number].detach().sigmoid()
        targets = assign(*said, rows, grid)
        ideal = torch.zeros_like(logits[number])
        ideal[targets.positive, targets.classes] = targets.quality
        each = functional.binary_cross_entropy_with_logits(logits[number], ideal, reduction="none")
        score_loss = score_loss + (each.sum(dim=1) * targets.counted).sum()
        overlap = generalised_iou(boxes[number][targets.positive], targets.boxes)
        box_loss = box_loss + ((1 - overlap) * targets.quality).sum()
        wanted = wanted + targets.quality.sum()
    wanted = wanted.clamp(min=1.0)
    return score_loss / wanted, BOX_WEIGHT * box_loss / wanted


def to_boxes(distances: Tensor, grid: Grid) -> Tensor:
    """Boxes (... x cells x 4, xyxy, pixels) from what the network says of them (... x cells x 4)."""
    near, far = (functional.softplus(distances) * grid.strides[:, None]).split(2, dim=-1)
    return torch.cat([grid.centres - near, grid.centres + far], dim=-1)


@torch.no_grad()
def assign(boxes: Tensor, scores: Tensor, objects: Tensor, grid: Grid) -> Targets:
    """Which cells of a picture should find which object.

    Args:
        boxes: What the network says, cells x 4, xyxy in pixels.
        scores: cells x classes, 0..1.
        objects: M x 6: xyxy (pixels), class, visible share.
        grid: The cells.
    """
    sides = (objects[:, 2:4] - objects[:, :2]).amin(dim=1)
    asked = (objects[:, 5] >= LEAST_VISIBLE) & (sides >= LEAST_SIDE)
    counted = (~_within(objects[~asked, :4], grid.centres).any(dim=0)).float()
    truth, classes = objects[asked, :4], objects[asked, 4].long()
    middle, half = (truth[:, 2:] + truth[:, :2]) / 2, ((truth[:, 2:] - truth[:, :2]) / 2).clamp(min=_REACH)
    which, cell = _within(torch.cat([middle - half, middle + half], dim=1), grid.centres).nonzero().T
    overlap = torch.zeros(len(truth), len(boxes))
    overlap[which, cell] = iou(boxes[cell], truth[which])
    alignment = torch.zeros_like(overlap)
    alignment[which, cell] = scores[cell, classes[which]] ** SCORE_POWER * overlap[which, cell] ** OVERLAP_POWER
    best, at = alignment.topk(TOP, dim=1)
    chosen = torch.zeros_like(overlap).scatter_(1, at, (best > 0).float())
    # A cell that several objects want finds the one that it overlaps most.
    owner = (overlap * chosen).max(dim=0) if len(truth) else None
    positive = owner.values.nonzero()[:, 0] if owner else torch.zeros(0, dtype=torch.long)
    mine = owner.indices[positive] if owner else positive
    counted[positive] = 1.0
    best_overlap = (overlap * chosen).amax(dim=1)
    quality = alignment[mine, positive] / alignment.amax(dim=1)[mine] * best_overlap[mine]
    return Targets(positive, truth[mine], classes[mine], quality, counted)


def _within(boxes: Tensor, points: Tensor) -> Tensor:
    """Whether each point (K x 2) lies in each box (M x 4): M x K."""
    x, y = points.T
    left, top, right, bottom = boxes[:, :, None].unbind(dim=1)
    return (x > left) & (x < right) & (y > top) & (y < bottom)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of the boxes a and b (K x 4, xyxy), pair by pair."""
    inner, union = _inner_and_union(a, b)
    return inner / union


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union less the share of the smallest box around both that neither fills."""
    inner, union = _inner_and_union(a, b)
    span = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    around = span.prod(dim=1).clamp(min=1e-6)
    return inner / union - (around - union) / around


def _inner_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0)
    inner = shared.prod(dim=1)
    areas = (a[:, 2:] - a[:, :2]).prod(dim=1) + (b[:, 2:] - b[:, :2]).prod(dim=1)
    return inner, (areas - inner).clamp(min=1e-6)
