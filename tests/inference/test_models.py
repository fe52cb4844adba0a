"""Finding, fetching (from a server on loopback) and exporting (by a stand-in for ultralytics)."""

from __future__ import annotations

import hashlib
import importlib.machinery
import sys
import threading
import types
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from flowedge.errors import UserError
from flowedge.inference import models
from flowedge.inference.models import (
    KNOWN,
    KnownModel,
    ModelError,
    available,
    cache_folder,
    export,
    pull,
    resolve,
)

CONTENT = bytes(range(256)) * 4096  # a megabyte: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Publisher(BaseHTTPRequestHandler):
    """Serves CONTENT: whole, cut short, or not at all."""

    def do_GET(self) -> None:
        if self.path == "/gone.onnx":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: 300_000 if self.path == "/cut.onnx" else None])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Publisher) as publisher:
        thread = threading.Thread(target=publisher.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{publisher.server_port}/"
        publisher.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty models folder and an empty cache; no ultralytics."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(models.FOLDERS_VARIABLE, f"{tmp_path / 'nowhere'}:{tmp_path / 'models'}")
    monkeypatch.setitem(sys.modules, "ultralytics", None)
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def known(url: str, name: str = "tiny", sha256: str = SHA256) -> list[KnownModel]:
    return [KnownModel(name, url, sha256, len(CONTENT), "MIT", "for tests")]


def touch(*files: Path) -> None:
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(file.name.encode())


def nothing_cached() -> bool:
    return not any(path.is_file() for path in cache_folder().rglob("*"))


# --- finding ---


def test_a_path_is_itself(folder: Path) -> None:
    touch(folder / "best.onnx")
    assert resolve(folder / "best.onnx") == folder / "best.onnx"
    assert resolve(str(folder / "best.onnx")) == folder / "best.onnx"


def test_a_name_is_found_with_and_without_suffix(folder: Path) -> None:
    touch(folder / "best.onnx")
    assert resolve("best") == resolve("best.onnx") == folder / "best.onnx"


@pytest.mark.parametrize("filename", ["yolo11n-416.onnx", "yolo11n_416.onnx"])
def test_the_size_chooses_among_exports(folder: Path, filename: str) -> None:
    touch(folder / filename, folder / "yolo11n.onnx", folder / "yolo11n-640.onnx")
    assert resolve("yolo11n", 416) == folder / filename
    assert resolve("yolo11n", 640) == folder / "yolo11n-640.onnx"
    assert resolve("yolo11n", 512) == folder / "yolo11n.onnx"
    assert resolve("yolo11n") == folder / "yolo11n.onnx"


def test_the_only_size_there_is_found_without_asking(folder: Path) -> None:
    touch(folder / "best_416.onnx")
    touch(folder / "best-of-all-320.onnx")
    assert resolve("best") == folder / "best_416.onnx"
    touch(folder / "best-512.onnx")
    with pytest.raises(ModelError, match="there is no model 'best'"):
        resolve("best")


def test_the_usual_size_is_found_without_asking(folder: Path) -> None:
    touch(folder / "yolo11n-320.onnx", folder / "yolo11n-640.onnx")
    assert resolve("yolo11n") == folder / "yolo11n-640.onnx"


def test_folders_come_before_the_cache(folder: Path) -> None:
    touch(cache_folder() / "best.onnx")
    assert resolve("best") == cache_folder() / "best.onnx"
    touch(folder / "best.onnx")
    assert resolve("best") == folder / "best.onnx"


def test_a_missing_model_says_where_it_was_sought_and_what_to_do(folder: Path) -> None:
    touch(folder / "crossing.onnx")
    with pytest.raises(ModelError) as missing:
        resolve("crosing", 416)
    message = str(missing.value)
    assert isinstance(missing.value, UserError)
    assert message.startswith("there is no model 'crosing' in ")
    assert str(folder) in message
    assert str(cache_folder()) in message
    assert "put its ONNX file, crosing.onnx, into a folder that FLOWEDGE_MODELS names" in message
    assert message.endswith("did you mean 'crossing'?")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        ("yolo11x", True),
        ("YOLOv8m.pt", True),
        ("yolox_m", False),
        ("mobilefacenet", False),
        ("osnet_x0_25.onnx", False),
    ],
)
def test_only_for_a_model_of_ultralytics_is_its_export_offered(name: str, exported: bool) -> None:
    stem = name.partition(".")[0]
    with pytest.raises(ModelError) as missing:
        resolve(name, 416)
    assert (f"`yolo export model={stem}.pt format=onnx imgsz=416`" in str(missing.value)) == exported
    assert f"{stem}.onnx" in str(missing.value)


def test_a_missing_path_is_not_taken_for_a_name(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model file .*best\.onnx"):
        resolve(folder / "best.onnx")
    with pytest.raises(ModelError, match="no model file"):
        resolve("./yolox_nano")


def test_weights_that_cannot_be_exported_are_not_fetched() -> None:
    with pytest.raises(ModelError, match=r"pip install 'flowedge\[yolo\]'"):
        resolve("yolo11n")
    assert nothing_cached()


def test_available_lists_files_and_what_can_be_pulled(folder: Path) -> None:
    touch(
        folder / "best.onnx",
        folder / "notes.txt",
        cache_folder() / "yolox_tiny.onnx",
        cache_folder() / "best.onnx",
    )
    infos = {info.name: info for info in available()}
    assert infos["best"].path == folder / "best.onnx"
    assert infos["best"].size == len("best.onnx")
    assert (infos["yolox_tiny"].path, infos["yolox_tiny"].licence) == (
        cache_folder() / "yolox_tiny.onnx",
        "Apache-2.0",
    )
    assert (infos["yolo11n"].path, infos["yolo11n"].licence) == (None, "AGPL-3.0")
    assert "notes" not in infos
    assert list(infos) == sorted(infos)


def test_the_list_agrees_with_what_a_name_resolves_to(folder: Path, exports: list[int]) -> None:
    touch(folder / "best-416.onnx", folder / "own.pt", folder / "both.pt", folder / "both.onnx")
    touch(folder / "yolo11n-640.onnx", cache_folder() / "yolo11s.pt")
    assert [info.path for info in available() if info.name in ("own", "yolo11s")] == [
        folder / "own.pt",
        cache_folder() / "yolo11s.pt",
    ]
    resolved = {name: resolve(name) for name in ("best-416", "own", "both", "yolo11n", "yolo11s", "street")}
    names = [info.name for info in available()]
    assert len(names) == len(set(names))
    assert {info.name: info.path for info in available() if info.name in resolved} == resolved


def test_known_models_are_complete() -> None:
    assert len({model.name for model in KNOWN}) == len(KNOWN)
    for model in KNOWN:
        assert model.url.startswith("https://github.com/")
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.filename.endswith(models.SUFFIXES)


# --- fetching ---


def test_a_known_model_is_fetched_once(server: str) -> None:
    table = known(server + "tiny.onnx")
    path = resolve("tiny", known=table)
    assert path == cache_folder() / "tiny.onnx"
    assert path.read_bytes() == CONTENT
    assert path.stat().st_mode & 0o777 == 0o644
    unreachable = known("http://127.0.0.1:9/tiny.onnx")
    assert resolve("tiny", known=unreachable) == pull("tiny", unreachable) == path


def test_other_content_is_refused_and_removed(server: str) -> None:
    with pytest.raises(ModelError, match=f"SHA-256 {SHA256} instead of 00"):
        pull("tiny", known(server + "tiny.onnx", sha256="00" * 32))
    assert nothing_cached()


def test_an_interrupted_fetch_leaves_nothing(server: str) -> None:
    with pytest.raises(ModelError, match=f"300000 of {len(CONTENT)} bytes"):
        pull("tiny", known(server + "cut.onnx"))
    assert nothing_cached()


def test_ctrl_c_leaves_nothing(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: KnownModel) -> Iterator[bytes]:
        yield CONTENT[:1000]
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "_download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pull("tiny", known(server + "tiny.onnx"))
    assert nothing_cached()


def test_a_refusing_publisher_is_named(server: str) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx \(HTTP Error 404.*put tiny\.onnx into a folder"):
        pull("tiny", known(server + "gone.onnx"))
    with pytest.raises(ModelError, match="could not be fetched"):
        pull("tiny", known("http://127.0.0.1:9/tiny.onnx"))
    assert nothing_cached()


def test_only_known_models_can_be_pulled() -> None:
    with pytest.raises(ModelError, match=r"no publisher of a model 'mine' is known; .* yolox_nano"):
        pull("mine")


# --- exporting ---


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A stand-in for ultralytics; gives the sizes it was asked to export."""
    asked: list[int] = []

    class YOLO:
        def __init__(self, weights: Path) -> None:
            self.weights = weights

        def export(self, *, imgsz: int, **_: object) -> str:
            if self.weights.read_bytes() == b"junk":
                raise RuntimeError("not a checkpoint\nrecommended fixes are many")
            asked.append(imgsz)
            target = self.weights.with_suffix(".onnx")
            target.write_bytes(self.weights.read_bytes() + str(imgsz).encode())
            return str(target)

    module = types.ModuleType("ultralytics")
    module.YOLO = YOLO  # type: ignore[attr-defined]
    module.__spec__ = importlib.machinery.ModuleSpec("ultralytics", None)
    monkeypatch.setitem(sys.modules, "ultralytics", module)
    for variable in ("YOLO_AUTOINSTALL", "YOLO_OFFLINE", "YOLO_VERBOSE", "YOLO_CONFIG_DIR"):
        monkeypatch.setenv(variable, "")  # so that what `export` sets does not outlive the test
    return asked


def test_weights_are_exported_once_per_content_and_size(folder: Path, exports: list[int]) -> None:
    touch(folder / "best.pt")
    first = resolve("best", 416)
    assert first.read_bytes() == b"best.pt416"
    assert first.is_relative_to(cache_folder())
    assert resolve(folder / "best.pt", 416) == first
    assert resolve("best").read_bytes() == b"best.pt640"
    (folder / "best.pt").write_bytes(b"trained further")
    assert resolve("best", 416).read_bytes() == b"trained further416"
    assert exports == [416, 640, 416]
    assert [file.name for file in folder.iterdir()] == ["best.pt"]


def test_fetched_weights_are_exported(server: str, exports: list[int]) -> None:
    assert resolve("tiny", 320, known(server + "tiny.pt")).read_bytes() == CONTENT + b"320"
    assert exports == [320]


def test_weights_that_are_none_are_refused_in_one_sentence(folder: Path, exports: list[int]) -> None:
    (folder / "bad.pt").write_bytes(b"junk")
    with pytest.raises(
        ModelError, match=r"^ultralytics cannot export bad.pt at 640 pixels \(not a checkpoint\)$"
    ):
        export(folder / "bad.pt")
    assert nothing_cached()
    assert not exports


def test_missing_ultralytics_is_said(folder: Path) -> None:
    touch(folder / "best.pt")
    with pytest.raises(ModelError, match=r"best\.pt holds PyTorch weights.*pip install 'flowedge\[yolo\]'"):
        resolve("best")
    assert nothing_cached()
