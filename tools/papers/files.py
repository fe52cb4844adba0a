"""The data folder that several of these commands read, and the CSV tables that they write."""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterable, Sequence
from pathlib import Path


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add --data, by default the environment variable FLOWEDGE_DATA."""
    parser.add_argument("--data", type=Path, default=os.environ.get("FLOWEDGE_DATA"), help="the data folder")


def data_folder(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Path:
    """The data folder; ends with the parser's usage message where none is given."""
    if not options.data:
        parser.error("--data FOLDER (or FLOWEDGE_DATA) is needed")
    return Path(options.data)


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a table, its heading first."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
