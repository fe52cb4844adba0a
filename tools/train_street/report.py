"""What training says of its progress."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from flowedge.video.synthetic.scene import CLASSES

from .evaluation import ap50
from .export import export
from .tiles import HEIGHT, WIDTH
from .training import Progress


@dataclass(frozen=True)
class ProgressReport:
    """Writes the network trained so far and says how well it does."""

    output: Path
    streets: int

    def __call__(self, progress: Progress) -> None:
        export(progress.network, CLASSES, (HEIGHT, WIDTH), self.output)
        scores, boxes = progress.losses.tolist()
        print(f"up to step {progress.step}: mean loss {scores:.3f} of scores, {boxes:.3f} of boxes")
        print_quality(self.output, self.streets)


def print_quality(model: Path, streets: int) -> None:
    """Print the AP50 of each class and their mean on the held-out streets."""
    for name, whole in (("native scale", False), ("whole frame", True)):
        found = ap50(model, streets, whole)
        classes = ", ".join(f"{label} {value:.3f}" for label, value in found.items())
        mean = statistics.mean(found.values())
        print(f"{name}, held-out seeds 0 to {streets - 1}: mAP50 {mean:.3f} ({classes})", flush=True)
