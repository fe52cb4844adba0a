"""The trained network as an ONNX file that `Detect` reads."""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Sequence
from pathlib import Path

import onnx
import torch

from .network import StreetDetector, StreetNet


def export(network: StreetNet, classes: Sequence[str], size: tuple[int, int], file: Path) -> None:
    """Write the network for pictures of `size` (height, width; pixels), its class names within.

    Input `images`: 1 x 3 x height x width float32, RGB 0..1. Output `output0`: 1 x (4 + classes) x cells, the
    boxes (centre and size, pixels) and scores (0..1).
    """
    detector = StreetDetector(copy.deepcopy(network), *size).eval().to(memory_format=torch.contiguous_format)
    written = io.BytesIO()
    with warnings.catch_warnings():
        # The older exporter folds batch normalisation into the convolutions before it and needs no onnxscript.
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            detector,
            (torch.zeros(1, 3, *size),),
            written,
            dynamo=False,
            opset_version=17,
            input_names=["images"],
            output_names=["output0"],
        )
    model = onnx.load_from_string(written.getvalue())
    names = model.metadata_props.add(key="names")
    names.value = str(dict(enumerate(classes)))
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    onnx.save(model, part)
    part.replace(file)
