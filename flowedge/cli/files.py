"""Files that commands read and write."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from flowedge.errors import UserError
from flowedge.outputs import ReplacedFile


def read(path: Path) -> str:
    """The text of a file. Raises `UserError` where it is not there or is none."""
    try:
        return path.read_text()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is no text file in UTF-8") from error


def write(path: Path, content: str | bytes, option: str) -> None:
    """Write a file whole or not at all; a device or a pipe is written to as it is.

    Raises `UserError` naming the option that asked for it.
    """
    try:
        with closing(ReplacedFile(option, path)) as file:
            file.write(content if isinstance(content, bytes) else content.encode())
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be written: {error.strerror}") from error


def toml(data: Mapping[str, Sequence[Mapping[str, Any]]], comment: str = "") -> str:
    r"""Arrays of flat tables as TOML, with a comment before them.

    >>> print(toml({"services": [{"cores": 1, "setting": {"my size": 416}}]}, "measured"), end="")
    # measured
    <BLANKLINE>
    [[services]]
    cores = 1
    setting = { "my size" = 416 }
    """
    blocks = ["\n".join(f"# {line}".rstrip() for line in comment.splitlines())] * bool(comment)
    for name, tables in data.items():
        for table in tables:
            lines = (f"{_key(field)} = {_value(value)}" for field, value in table.items())
            blocks.append("\n".join([f"[[{_key(name)}]]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _key(name: str) -> str:
    return name if name.isascii() and name.replace("_", "").replace("-", "").isalnum() else _value(name)


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        fields = ", ".join(f"{_key(name)} = {_value(item)}" for name, item in value.items())
        return f"{{ {fields} }}" if fields else "{}"
    return json.dumps(value).replace("\x7f", "\\u007f")  # the rest of JSON's texts and numbers is TOML too
