"""Training: two processes share every batch, one core each, and agree on each step.

One thread per process, and as many processes on every machine: what comes out does not depend on how many
cores there are. A process has its own half of each batch and they exchange gradients; on two cores this is
faster than two threads in one process, which wait for each other within every operation.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.optim.swa_utils import AveragedModel

from flowedge.video.synthetic.scene import CLASSES

from .loss import Grid, loss
from .network import StreetNet, cells
from .tiles import Rows, Tiles

PROCESSES = 2


@dataclass(frozen=True)
class Recipe:
    """How to train: steps, tiles per process and step, the highest learning rate, and the seed."""

    steps: int
    batch: int = 4
    rate: float = 1.5e-3
    warm_up: int = 200
    decay: float = 0.02
    averaging: float = 0.998
    seed: int = 0

    def average(self, before: Tensor, now: Tensor, count: Tensor) -> Tensor:
        """The running mean of a weight: over few steps at first, which soon forgets its initial value."""
        kept = min(self.averaging, (1 + int(count)) / (10 + int(count)))
        return before * kept + now * (1 - kept)

    def rate_at(self, step: int) -> float:
        """The learning rate: rising over the first steps, then falling as a half cosine."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return self.rate * rising * (0.01 + 0.99 * (1 + math.cos(math.pi * step / self.steps)) / 2)


class Progress(NamedTuple):
    """Steps done, the mean losses (scores, boxes) since the last report, and the averaged network."""

    step: int
    losses: Tensor
    network: StreetNet


def train(
    file: Path, objects: Sequence[Rows], recipe: Recipe, report: Callable[[Progress], None], every: int
) -> None:
    """Train a network on what `tiles.render` made; `report` hears of it every so many steps and at the end.

    `report` is called in another process and must be picklable.
    """
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(
            _take_part, (f"file://{folder}/meeting", file, objects, recipe, report, every), PROCESSES
        )


def _take_part(
    rank: int,
    meeting: str,
    file: Path,
    objects: Sequence[Rows],
    recipe: Recipe,
    report: Callable[[Progress], None],
    every: int,
) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=PROCESSES)
    tiles = Tiles(np.load(file, mmap_mode="r"), objects)
    recent: list[Tensor] = []
    started = time.perf_counter()
    for step, (network, losses) in enumerate(fit(tiles, recipe, rank, PROCESSES), start=1):
        recent.append(losses)
        if rank == 0 and step % 50 == 0:
            pace = (time.perf_counter() - started) / step
            scores, boxes = losses.tolist()
            print(
                f"step {step}/{recipe.steps}: {scores:.3f} scores, {boxes:.3f} boxes, {pace:.2f} s", flush=True
            )
        if step % every == 0 or step == recipe.steps:
            if rank == 0:
                report(Progress(step, torch.stack(recent).mean(dim=0), network))
            recent.clear()
    distributed.destroy_process_group()


def fit(tiles: Tiles, recipe: Recipe, rank: int = 0, processes: int = 1) -> Iterator[tuple[StreetNet, Tensor]]:
    """Train step by step: the network averaged so far, and the losses (scores, boxes) of the step."""
    torch.manual_seed(recipe.seed)
    network = StreetNet(len(CLASSES)).to(memory_format=torch.channels_last).train()
    averaged = AveragedModel(network, avg_fn=recipe.average, use_buffers=True)
    optimiser = torch.optim.AdamW(_decaying(network, recipe.decay), lr=recipe.rate)
    grid = Grid(*cells(*tiles.pictures.shape[1:3]))
    for step, (pictures, objects) in enumerate(batches(tiles, recipe, rank, processes)):
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate_at(step)
        with torch.autocast("cpu", torch.bfloat16):
            raw = network(pictures)
        scores, boxes = loss(raw, objects, grid)
        optimiser.zero_grad()
        (scores + boxes).backward()
        if processes > 1:
            _share_gradients(network, processes)
        nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimiser.step()
        averaged.update_parameters(network)
        yield averaged.module, torch.stack([scores, boxes]).detach()


def _decaying(network: nn.Module, decay: float) -> list[dict[str, object]]:
    """The weights of convolutions decay, biases and what scales a normalised channel do not."""
    parameters = list(network.parameters())
    return [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]


def _share_gradients(network: nn.Module, processes: int) -> None:
    """Replace the gradients by their mean over all processes."""
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(together)
    together /= processes
    for mine, ours in zip(gradients, together.split([gradient.numel() for gradient in gradients]), strict=True):
        mine.copy_(ours.view_as(mine))


def batches(tiles: Tiles, recipe: Recipe, rank: int, processes: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """This process's share of the batch of each step: N x 3 x H x W RGB in 0..1, and the objects."""
    rng = np.random.default_rng(recipe.seed)
    each = recipe.batch * processes
    order = np.concatenate([rng.permutation(len(tiles)) for _ in range(-(-recipe.steps * each // len(tiles)))])
    mirrored = rng.random(recipe.steps * each) < 0.5
    for start in range(rank * recipe.batch, recipe.steps * each, each):
        places = range(start, start + recipe.batch)
        chosen = [_example(tiles, int(order[place]), bool(mirrored[place])) for place in places]
        pictures = torch.from_numpy(np.stack([picture for picture, _ in chosen])).permute(0, 3, 1, 2)
        yield pictures.float() / 255, [objects for _, objects in chosen]


def _example(tiles: Tiles, number: int, mirrored: bool) -> tuple[np.ndarray, Tensor]:
    picture, objects = tiles.pictures[number, :, :, ::-1], torch.from_numpy(tiles.objects[number].copy())
    if mirrored:
        picture = picture[:, ::-1]
        objects[:, [0, 2]] = picture.shape[1] - objects[:, [2, 0]]
    return picture, objects
