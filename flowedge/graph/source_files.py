"""The files of a user's own operators, taken along to a machine that does not have them."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from flowedge.errors import GraphError
from flowedge.graph.loading import UserFile, beside

JSON = Any


def source_files(steps: Sequence[Mapping[str, JSON]]) -> dict[str, str]:
    """The text of every file that steps, as `step_to_json` gives them, need elsewhere, by its name.

    These are the files that define their classes, and what those have imported from beside them. Raises
    `GraphError` where one is gone or has changed since it was executed, and where two have one name.

    >>> from flowedge.graph.serialization import step_to_json
    >>> from flowedge.operators import Resize
    >>> source_files([step_to_json(Resize(416))])  # everybody has FlowEdge's own
    {}
    """
    files: dict[str, UserFile] = {}
    for address in _addresses(steps):
        own = UserFile(Path(address["file"]), address["sha256"])
        for file in (own, *beside(own.path)):
            if files.setdefault(file.path.name, file) != file:
                other = files[file.path.name].path
                raise GraphError(f"{file.path} and {other}: two files of one name cannot go to another machine")
    return {name: file.text() for name, file in files.items()}


def with_files_in(steps: Sequence[Mapping[str, JSON]], folder: Path) -> list[Mapping[str, JSON]]:
    """The steps, whose files lie in this folder."""
    return [
        {**step, "operator": {**address, "file": str(folder / Path(address["file"]).name)}}
        if isinstance(address := step["operator"], dict)
        else step
        for step in steps
    ]


def _addresses(steps: Sequence[Mapping[str, JSON]]) -> list[Mapping[str, str]]:
    return [step["operator"] for step in steps if isinstance(step["operator"], dict)]


def kept(files: Mapping[str, str]) -> Path:
    """The folder in which these files lie, by their content; written where it is not there yet.

    It is in `$XDG_CACHE_HOME/flowedge/code` (`~/.cache` without that).
    """
    content = json.dumps(sorted(files.items())).encode()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "flowedge", "code")
    folder = base / hashlib.sha256(content).hexdigest()[:32]
    if folder.is_dir():
        return folder
    base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base) as partial:
        for name, text in files.items():
            Path(partial, Path(name).name).write_text(text)
        with suppress(OSError):  # another worker was quicker
            Path(partial).rename(folder)
            Path(partial).mkdir()  # for what removes it
    return folder
