"""Certificates of a cluster, and of another that has nothing to do with it."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import cast

import pytest


@pytest.fixture(scope="session")
def certificates() -> ModuleType:
    """The module that makes them, where its package is there."""
    return cast(ModuleType, pytest.importorskip("flowedge.certificates", reason='needs the extra "cluster"'))


@pytest.fixture(scope="session")
def cluster(certificates: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the certificates of home, gate, yard and guest."""
    folder = tmp_path_factory.mktemp("cluster")
    certificates.issue(folder, dict.fromkeys(("home", "gate", "yard", "guest"), ()), now=datetime.now(UTC))
    return folder


@pytest.fixture(scope="session")
def foreign(certificates: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates of the same names by another authority."""
    folder = tmp_path_factory.mktemp("foreign")
    certificates.issue(folder, dict.fromkeys(("home", "gate"), ()), now=datetime.now(UTC))
    return folder


@pytest.fixture
def port() -> int:
    """A port of the loopback interface that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
