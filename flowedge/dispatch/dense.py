"""A small network of dense layers in numpy: no framework is needed to run it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flowedge.dispatch.workers import Floats
from flowedge.errors import ConfigError


@dataclass(frozen=True)
class DenseNetwork:
    """Layers x -> max(0, x W + b), the last one without the max.

    >>> network = DenseNetwork((np.array([[1.0], [-1.0]]),), (np.array([0.5]),))
    >>> network(np.array([3.0, 1.0])).tolist()
    [2.5]
    """

    weights: tuple[Floats, ...]
    biases: tuple[Floats, ...]
    note: str = ""
    """How it was trained: command, seed, environment."""

    def __call__(self, x: Floats) -> Floats:
        """Outputs (..., O) for inputs (..., I)."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = np.maximum(x @ weight + bias, 0.0)
        return x @ self.weights[-1] + self.biases[-1]

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of inputs and outputs."""
        return self.weights[0].shape[0], self.weights[-1].shape[1]

    def save(self, path: Path) -> None:
        """Writes an .npz of the layers, as float32, and the note."""
        layers = {f"weight{i}": weight.astype(np.float32) for i, weight in enumerate(self.weights)}
        layers |= {f"bias{i}": bias.astype(np.float32) for i, bias in enumerate(self.biases)}
        np.savez_compressed(path, allow_pickle=False, note=np.array(self.note), **layers)

    @classmethod
    def load(cls, path: Path) -> DenseNetwork:
        """Reads what `save` wrote. Raises `ConfigError` where the file is none, or its layers do not fit."""
        try:
            with np.load(path, allow_pickle=False) as stored:
                depth = sum(name.startswith("weight") for name in stored.files)
                weights = tuple(stored[f"weight{i}"].astype(float) for i in range(depth))
                biases = tuple(stored[f"bias{i}"].astype(float) for i in range(depth))
                note = str(stored["note"])
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{path}: not a network's weights: {error}") from error
        inputs = [weight.shape[0] for weight in weights]
        outputs = [weight.shape[1] for weight in weights]
        if not weights or inputs[1:] != outputs[:-1] or outputs != [len(bias) for bias in biases]:
            raise ConfigError(f"{path}: the layers do not fit together: {inputs} inputs, {outputs} outputs")
        return cls(weights, biases, note)
