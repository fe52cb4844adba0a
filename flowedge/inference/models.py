"""The model store: from a name such as ``yolo11n`` to a file that an inference engine can load.

A model is looked for in the folders of ``FLOWEDGE_MODELS`` (separated as in ``PATH``), then in the cache
(``$XDG_CACHE_HOME/flowedge/models``, by default under ``~/.cache``), then among those that are shipped with
FlowEdge, and fetched from its publisher into the cache if FlowEdge knows its SHA-256. PyTorch weights
(``.pt``) are exported to ONNX once and kept there.
"""

from __future__ import annotations

import difflib
import glob
import hashlib
import importlib.util
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flowedge.errors import UserError

FOLDERS_VARIABLE = "FLOWEDGE_MODELS"
SHIPPED = Path(__file__).with_name("weights")
"""Our own weights, which are installed with the package."""

SUFFIXES = (".onnx", ".pt")
USUAL_SIZE = 640
"""Input size, in pixels, of an export for which no size was asked."""

TIMEOUT_S = 30.0
"""How long a publisher's server may stay silent."""

CHUNK = 1 << 18


class ModelError(UserError):
    """A model that cannot be found, fetched, exported, loaded or understood: one sentence with the mend."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A file that its publisher offers and whose content FlowEdge can check. ``size`` is in bytes."""

    name: str
    url: str
    sha256: str
    size: int
    licence: str
    note: str

    @property
    def filename(self) -> str:
        """The name of the file in the cache."""
        return self.name + Path(self.url).suffix


_YOLOX = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0/"
_ULTRALYTICS = "https://github.com/ultralytics/assets/releases/download/v8.3.0/"
# The zoo's files live in Git LFS; this address follows to the content, and the commit pins it.
_OPENCV_ZOO = "https://github.com/opencv/opencv_zoo/raw/47534e27c9851bb1128ccc0102f1145e27f23f98/models/"

# Only files whose SHA-256 is published by several independent users of the same release are listed.
KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        "yolox_nano",
        _YOLOX + "yolox_nano.onnx",
        "c789161ed43c8269fcd4e67c67eeeb4e80c622da2eb296a20bc6007bd18a0b7d",
        3_659_407,
        "Apache-2.0",
        "80 COCO classes, 416 pixels",
    ),
    KnownModel(
        "yolox_tiny",
        _YOLOX + "yolox_tiny.onnx",
        "427cc366d34e27ff7a03e2899b5e3671425c262ea2291f88bb942bc1cc70b0f7",
        20_219_662,
        "Apache-2.0",
        "80 COCO classes, 416 pixels",
    ),
    KnownModel(
        "yolox_s",
        _YOLOX + "yolox_s.onnx",
        "c5c2d13e59ae883e6af3b45daea64af4833a4951c92d116ec270d9ddbe998063",
        35_858_002,
        "Apache-2.0",
        "80 COCO classes, 640 pixels",
    ),
    KnownModel(
        "yolo11n",
        _ULTRALYTICS + "yolo11n.pt",
        "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1",
        5_613_764,
        "AGPL-3.0",
        "80 COCO classes, any size; exported by flowedge[yolo]",
    ),
    KnownModel(
        "yolo11s",
        _ULTRALYTICS + "yolo11s.pt",
        "85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5",
        19_313_732,
        "AGPL-3.0",
        "80 COCO classes, any size; exported by flowedge[yolo]",
    ),
    KnownModel(
        "yolo11m",
        _ULTRALYTICS + "yolo11m.pt",
        "d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95",
        40_684_120,
        "AGPL-3.0",
        "80 COCO classes, any size; exported by flowedge[yolo]",
    ),
    KnownModel(
        "yolov8n",
        _ULTRALYTICS + "yolov8n.pt",
        "f59b3d833e2ff32e194b5bb8e08d211dc7c5bdf144b90d2c8412c47ccfc83b36",
        6_549_796,
        "AGPL-3.0",
        "80 COCO classes, any size; exported by flowedge[yolo]",
    ),
    KnownModel(
        "yunet",
        _OPENCV_ZOO + "face_detection_yunet/face_detection_yunet_2026may.onnx",
        "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0",
        229_738,
        "MIT",
        "faces with five landmarks, for DetectFaces",
    ),
)


_SHIPPED_NOTES = {SHIPPED / "street.onnx": ("Apache-2.0", "people and vehicles of the synthetic street")}


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of ``flowedge models list``: ``path`` is None for a model that was not pulled yet.

    ``size`` is in bytes; ``licence`` and ``note`` are empty for a user's own file.
    """

    name: str
    path: Path | None
    size: int
    licence: str
    note: str


def resolve(name_or_path: str | Path, size: int | None = None, known: Sequence[KnownModel] = KNOWN) -> Path:
    """The ONNX file of a model given by its path or its name.

    A name is looked for with the size added (``yolo11n-416.onnx``, ``yolo11n_416.onnx``; 640 where no
    ``size``, in pixels, is given), then as it is (``.onnx``, then ``.pt``), then with any size, if only one
    is there, then fetched. A ``.pt`` file is exported at ``size``. Raises ModelError with the mend where there
    is no such model.

    >>> resolve("yolo11x-mine")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    flowedge.inference.models.ModelError: there is no model 'yolo11x-mine' in ...
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return _runnable(path, size)
    if path.name != str(name_or_path):
        raise ModelError(f"there is no model file {str(path)!r}: check the path")
    if (file := _here(path.name, size)) is not None:
        return _runnable(file, size)
    offered = _known_by_name(path.name, known)
    # Weights that could not be exported are not worth fetching.
    if offered is None or (offered.filename.endswith(".pt") and not _can_export()):
        raise ModelError(_missing(path.name, size, known))
    return _runnable(pull(offered.name, known), size)


def _here(name: str, size: int | None) -> Path | None:
    """The file that a name stands for on this machine."""
    for folder in _folders():
        for filename in _filenames(name, size):
            if (folder / filename).is_file():
                return folder / filename
        if size is None and (only := _of_any_size(folder, name)):
            return only
    return None


def _of_any_size(folder: Path, name: str) -> Path | None:
    """The file ``name-416.onnx`` or alike, whatever its size says, if it is the only one."""
    pattern = re.compile(re.escape(name) + r"[-_]\d+\.onnx")
    paths = [path for path in folder.glob(f"{glob.escape(name)}*.onnx") if pattern.fullmatch(path.name)]
    return paths[0] if len(paths) == 1 else None


def pull(name: str, known: Sequence[KnownModel] = KNOWN) -> Path:
    """Fetch a known model into the cache, unless it is there, and give its path.

    Shows a progress bar on a terminal. Raises ModelError where the name is unknown, the publisher cannot
    be reached, or what came is not the file with the expected SHA-256; then nothing is left behind.
    """
    offered = _known_by_name(name, known)
    if offered is None:
        names = ", ".join(model.name for model in known)
        raise ModelError(f"no publisher of a model {name!r} is known; those that can be pulled are {names}")
    target = cache_folder() / offered.filename
    if not target.is_file():
        with _written_whole(target) as part:
            _fetch(offered, part)
    return target


def available(known: Sequence[KnownModel] = KNOWN) -> list[ModelInfo]:
    """Every name that reaches a model, with the file that `resolve` gives for it or would export first."""
    offered = {model.name: model for model in known}
    stems = {file.stem for folder in _folders() for file in folder.glob("*") if file.suffix in SUFFIXES}
    return [_info(name, offered.get(name)) for name in sorted(stems | offered.keys())]


def _info(name: str, offered: KnownModel | None) -> ModelInfo:
    file = _here(name, None)
    if file is None:
        assert offered is not None  # else the name came from a file
        return ModelInfo(name, None, offered.size, offered.licence, offered.note)
    if offered is not None and file.name == offered.filename:
        licence, note = offered.licence, offered.note
    else:
        licence, note = _SHIPPED_NOTES.get(file, ("", ""))
    if file.suffix == ".pt" and (exported := _exported(file, USUAL_SIZE)).is_file():
        file = exported
    return ModelInfo(name, file, file.stat().st_size, licence, note)


def export(pt_path: Path, size: int = USUAL_SIZE) -> Path:
    """The ONNX file made from PyTorch weights for pictures of ``size`` x ``size`` pixels.

    Exported by ultralytics once and kept in the cache by the weights' content and the size. Loading a
    ``.pt`` file runs code that it may hold: only use weights from a source that you trust.
    Raises ModelError where ultralytics is not installed or cannot export the file.
    """
    target = _exported(pt_path, size)
    if not target.is_file():
        with _written_whole(target) as part, tempfile.TemporaryDirectory() as folder:
            # ultralytics writes beside the weights, where we may not be allowed to.
            copy = Path(folder, pt_path.name)
            shutil.copyfile(pt_path, copy)
            shutil.copyfile(_export_beside(copy, size), part)
    return target


def _exported(pt_path: Path, size: int) -> Path:
    """Where the export of PyTorch weights is kept."""
    with pt_path.open("rb") as weights:
        content = hashlib.file_digest(weights, "sha256").hexdigest()[:16]
    return cache_folder() / "exported" / f"{pt_path.stem}-{size}-{content}.onnx"


def cache_folder() -> Path:
    """Where fetched and exported models are kept; it need not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "flowedge" / "models"


# --- finding ------------------------------------------------------------------------------------------


def _folders() -> list[Path]:
    named = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    return [*(Path(folder).expanduser() for folder in named if folder), cache_folder(), SHIPPED]


def _filenames(name: str, size: int | None) -> Iterator[str]:
    """The file names under which a model may lie in a folder, the best first."""
    if name.endswith(SUFFIXES):
        yield name
        return
    sized = (f"{name}-{size or USUAL_SIZE}.onnx", f"{name}_{size or USUAL_SIZE}.onnx")
    plain = f"{name}.onnx"
    # Without a size asked for, the model's own name says more than our usual size.
    yield from (plain, *sized) if size is None else (*sized, plain)
    yield f"{name}.pt"


def _known_by_name(name: str, known: Iterable[KnownModel]) -> KnownModel | None:
    return next((model for model in known if name in (model.name, model.filename)), None)


def _runnable(path: Path, size: int | None) -> Path:
    return export(path, size or USUAL_SIZE) if path.suffix == ".pt" else path


def _by_ultralytics(stem: str) -> bool:
    """Whether the name is that of a YOLO that ultralytics can export; YOLOX comes from another publisher."""
    return stem.lower().startswith("yolo") and not stem.lower().startswith("yolox")


def _missing(name: str, size: int | None, known: Sequence[KnownModel]) -> str:
    stem = name.removesuffix(".onnx").removesuffix(".pt")
    places = " or ".join(str(folder) for folder in _folders() if folder != SHIPPED)
    command = f" (`yolo export model={stem}.pt format=onnx imgsz={size or USUAL_SIZE}` makes it)"
    mend = (
        f"put its ONNX file, {stem}.onnx{command if _by_ultralytics(stem) else ''}, into a folder that "
        f"{FOLDERS_VARIABLE} names"
    )
    if _known_by_name(name, known):
        mend += ", or `pip install 'flowedge[yolo]'` and FlowEdge fetches and exports it"
    names = {info.name for info in available(known)} - {name}
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"there is no model {name!r} in {places}: {mend}{hint}"


# --- fetching -----------------------------------------------------------------------------------------


@contextmanager
def _written_whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes ``target`` at the end and vanishes if anything goes wrong."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _fetch(model: KnownModel, part: Path) -> None:
    """Write a publisher's file to ``part`` and check its SHA-256."""
    from http.client import HTTPException  # which takes 5 MiB, and few fetch a model

    digest = hashlib.sha256()
    try:
        with part.open("wb") as file:
            for chunk in _download(model):
                digest.update(chunk)
                file.write(chunk)
    except (OSError, HTTPException) as error:
        raise ModelError(
            f"model {model.name!r} could not be fetched from {model.url} ({error}): try again, or put "
            f"{model.filename} into a folder that {FOLDERS_VARIABLE} names"
        ) from error
    if digest.hexdigest() != model.sha256:
        raise ModelError(
            f"{model.url} did not give the known {model.filename} ({part.stat().st_size} of {model.size} "
            f"bytes, SHA-256 {digest.hexdigest()} instead of {model.sha256}): try again, and if that changes "
            f"nothing do not use it"
        )


def _download(model: KnownModel) -> Iterator[bytes]:
    """The file's content piece by piece, with a progress bar where somebody watches."""
    from urllib.request import urlopen

    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    label = f"{model.filename} ({model.licence})"
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
    with bar, urlopen(model.url, timeout=TIMEOUT_S) as response:
        task = bar.add_task(label, total=model.size)
        while chunk := response.read(CHUNK):
            bar.advance(task, len(chunk))
            yield chunk


# --- exporting ----------------------------------------------------------------------------------------


def _can_export() -> bool:
    return importlib.util.find_spec("ultralytics") is not None


def _export_beside(pt_path: Path, size: int) -> Path:
    """Let ultralytics export a file; the result lies beside it."""
    # It would otherwise install packages, write into the home folder and tell its story on our output.
    os.environ.update(YOLO_AUTOINSTALL="0", YOLO_OFFLINE="1", YOLO_VERBOSE="false")
    settings = cache_folder() / "ultralytics"
    settings.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("YOLO_CONFIG_DIR", str(settings))
    try:
        from ultralytics import YOLO
    except ImportError as error:
        raise ModelError(
            f"{pt_path.name} holds PyTorch weights, which must be exported first: "
            f"`pip install 'flowedge[yolo]'` ({error})"
        ) from error
    try:
        return Path(YOLO(pt_path).export(format="onnx", imgsz=size, simplify=False, verbose=False))
    except Exception as error:  # whatever it meets in a file that is not what it seems
        gist = str(error).partition("\n")[0]
        raise ModelError(f"ultralytics cannot export {pt_path.name} at {size} pixels ({gist})") from error
