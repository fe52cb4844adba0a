"""The network: a small anchor-free detector of plain convolutions.

Plain 3 x 3 convolutions and no depthwise ones: for the same accuracy they have more arithmetic, but a
processor does that arithmetic several times faster, in training above all.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
"""Input pixels per cell of the three grids that the network predicts on."""

_PRIOR = 0.01  # score of everything before training, so that the many empty cells do not dominate its start


class ConvUnit(nn.Sequential):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, entering: int, leaving: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(leaving),
            nn.ReLU(inplace=True),
        )


class CSPStage(nn.Module):
    """A cross-stage partial block (Wang et al., CSPNet, 2019): half of the channels go through residuals."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        half = channels // 2
        self.kept = ConvUnit(channels, half, 1)
        self.enter = ConvUnit(channels, half, 1)
        self.residuals = nn.ModuleList(
            nn.Sequential(ConvUnit(half, half), ConvUnit(half, half)) for _ in range(depth)
        )
        self.leave = ConvUnit(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.enter(x)
        for residual in self.residuals:
            inner = inner + residual(inner)
        return self.leave(torch.cat([self.kept(x), inner], dim=1))


class Surroundings(nn.Module):
    """What is around each cell, ever farther off: a vehicle may be larger than the whole picture.

    The strongest signals within 5, 9 and 13 cells (after He et al., Spatial Pyramid Pooling, 2014).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter = ConvUnit(channels, channels // 2, 1)
        self.leave = ConvUnit(2 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.enter(x)]
        for _ in range(3):
            seen.append(functional.max_pool2d(seen[-1], 5, stride=1, padding=2))
        return self.leave(torch.cat(seen, dim=1))


class Pyramid(nn.Module):
    """Backbone and neck: features of one width on the grids of all `STRIDES`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 16, stride=2), ConvUnit(16, 32, stride=2), CSPStage(32, 1))
        self.eighth = nn.Sequential(ConvUnit(32, 64, stride=2), CSPStage(64, 2))
        self.sixteenth = nn.Sequential(ConvUnit(64, 112, stride=2), CSPStage(112, 1))
        self.thirty_second = nn.Sequential(ConvUnit(112, 112, stride=2), CSPStage(112, 1), Surroundings(112))
        self.laterals = nn.ModuleList(ConvUnit(channels, width, 1) for channels in (64, 112, 112))
        self.merges = nn.ModuleList(ConvUnit(width, width) for _ in range(2))

    def forward(self, x: Tensor) -> list[Tensor]:
        eighth = self.eighth(self.stem(x))
        sixteenth = self.sixteenth(eighth)
        coarse = self.thirty_second(sixteenth)
        fine, middle, top = (
            lateral(level) for lateral, level in zip(self.laterals, (eighth, sixteenth, coarse), strict=True)
        )
        middle = self.merges[1](middle + functional.interpolate(top, scale_factor=2.0))
        fine = self.merges[0](fine + functional.interpolate(middle, scale_factor=2.0))
        return [fine, middle, top]


class StreetHead(nn.Module):
    """Class scores and box distances for each cell, with the same weights on every grid."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.score_features = ConvUnit(width, width)
        self.box_features = ConvUnit(width, width)
        self.scores = nn.Conv2d(width, classes, 1)
        self.boxes = nn.Conv2d(width, 4, 1)
        nn.init.constant_(self.scores.bias, -torch.log(torch.tensor((1 - _PRIOR) / _PRIOR)).item())
        nn.init.constant_(self.boxes.bias, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        """N x (4 + classes) x cells: distances in cells before softplus, and score logits."""
        both = [self.boxes(self.box_features(x)), self.scores(self.score_features(x))]
        return torch.cat(both, dim=1).flatten(2)


class StreetNet(nn.Module):
    """Boxes and class scores of the objects in pictures.

    Args:
        classes: How many classes to tell apart.
        width: Channels of the features that boxes and scores are read from.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.pyramid = Pyramid(width)
        self.head = StreetHead(width, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        """The raw prediction, N x (4 + classes) x cells, for N x 3 x height x width RGB in 0..1.

        Its first four rows are the distances from a cell's centre to the left, upper, right and lower edge of
        a box, in cells and before softplus; the others are score logits. Cells are in the order of `cells`.
        """
        return torch.cat([self.head(level) for level in self.pyramid(pictures)], dim=2)


class StreetDetector(nn.Module):
    """A trained network with the output that `Detect` reads: YOLO v8's."""

    def __init__(self, network: StreetNet, height: int, width: int) -> None:
        super().__init__()
        self.network = network
        centres, strides = cells(height, width)
        self.register_buffer("centres", centres.T.contiguous())
        self.register_buffer("strides", strides)

    def forward(self, pictures: Tensor) -> Tensor:
        """N x (4 + classes) x cells: box centres and sizes in input pixels, then scores 0..1."""
        raw = self.network(pictures)
        near, far = (functional.softplus(raw[:, :4]) * self.strides).split(2, dim=1)
        return torch.cat([self.centres + (far - near) / 2, near + far, raw[:, 4:].sigmoid()], dim=1)


def cells(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centre (cells x 2, x and y in input pixels) and stride (cells) of every cell, grid after grid."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        centres.append((torch.stack([x, y], dim=-1).reshape(-1, 2) + 0.5) * stride)
        strides.append(torch.full((x.numel(),), float(stride)))
    return torch.cat(centres), torch.cat(strides)
