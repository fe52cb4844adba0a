"""CARE's rows, plots and evaluation import one way."""

from __future__ import annotations

import ast
from pathlib import Path

PAPERS = Path(__file__).resolve().parents[2] / "tools" / "papers"


def test_plots_need_the_rows_and_not_the_evaluation() -> None:
    for name in ("care_rows.py", "care_plots.py"):
        imported = [
            node.module
            for node in ast.walk(ast.parse((PAPERS / name).read_text()))
            if isinstance(node, ast.ImportFrom)
        ]
        assert "tools.papers.care" not in imported
