"""Profiling knows steps by their contract: it needs no operator and no paper's strategy."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
import flowedge.profiling.fitting, flowedge.profiling.measure, flowedge.profiling.models
print(*(name for name in sys.modules if name.startswith(("flowedge.operators", "flowedge.planner.papers"))))
"""


def test_neither_operators_nor_strategies_are_imported() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
