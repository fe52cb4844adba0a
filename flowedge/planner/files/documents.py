"""Whole files by their ending: clusters from TOML, JSON or GraphML, profiles from TOML, JSON or CSV, problems.

The formats are described in FORMATS.md beside this file. Nothing is opened here: `files` gives the text of a
file that another one names. Every message begins with the name of the file that is wrong.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from flowedge.errors import ConfigError
from flowedge.planner.files import inputs, profile_table
from flowedge.planner.files.inputs import Files
from flowedge.planner.model.cluster import Cluster
from flowedge.planner.model.problem import CameraClass, Problem
from flowedge.planner.model.profiles import Profiles


def tables(name: str, text: str) -> dict[str, Any]:
    """What a TOML or JSON file holds. Raises `ConfigError` where it is neither.

    >>> tables("a.json", '{"tiers": ["edge"]}')
    {'tiers': ['edge']}
    """
    kind = "JSON" if PurePath(name).suffix.lower() == ".json" else "TOML"
    text = text.removeprefix("\ufeff")
    try:
        fields = json.loads(text) if kind == "JSON" else tomllib.loads(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{name}: is not {kind}: {error}") from error
    if not isinstance(fields, dict):
        raise ConfigError(f"{name}: {str(fields)[:40]!r} is not a table of fields, which is needed")
    return fields


def cluster_tables(name: str, text: str) -> dict[str, Any]:
    """A cluster file's tables; those of a GraphML file are a [topology] that names it."""
    if PurePath(name).suffix.lower() == ".graphml":
        return {"topology": {"graphml": name}}
    return tables(name, text)


def cluster(name: str, text: str, files: Files) -> Cluster:
    """The cluster in a TOML, JSON or GraphML file. Raises `ConfigError`."""
    fields = cluster_tables(name, text)
    with named(name, *_graphs(fields)):
        return inputs.cluster(fields, lambda other: text if other == name else files(other))


def cameras(name: str, text: str, applications: Sequence[str]) -> tuple[CameraClass, ...]:
    """The cameras in a cluster file, which run these applications. Raises `ConfigError`."""
    fields = cluster_tables(name, text)
    with named(name):
        return inputs.cameras(fields, applications)


def profiles(name: str, text: str) -> Profiles:
    """The profiles in a TOML, JSON or CSV file. Raises `ConfigError`."""
    if PurePath(name).suffix.lower() == ".csv":
        with named(name):
            return profile_table.profiles(text)
    fields = tables(name, text)
    with named(name):
        return inputs.profiles(fields)


def problem(name: str, text: str, files: Files) -> Problem:
    """The problem in a TOML or JSON file, which may name other files. Raises `ConfigError`."""
    fields = tables(name, text)
    machines, measured = fields.pop("cluster", None), fields.pop("profiles", [])
    part: dict[str, Any] = {}
    with named(name):
        if not isinstance(measured, list) or not all(isinstance(other, str) for other in measured):
            raise ConfigError(f'profiles: {measured!r} is not a list of files like ["xeon.toml"]')
        if machines is not None and not isinstance(machines, str):
            raise ConfigError(f'cluster: {machines!r} is not a file like "cluster.toml"')
    if machines is not None:
        written = files(machines)
        part = cluster_tables(machines, written)
        twice = sorted(part.keys() & fields.keys() - {"cameras"})
        if twice:
            raise ConfigError(f"{name}: {twice[0]}: is in {machines} too; leave one out")
        if not fields.keys() & {"topology", "tiers", "nodes"}:
            cluster(machines, written, files)  # it is whole, so that what is wrong is wrong in its own file
    streams = None if "cameras" in fields else part.pop("cameras", None)
    whole = part | fields
    with named(name, *_graphs(whole)):
        whole_problem = inputs.problem(whole, files)
    if machines is not None and streams is not None:
        with named(machines):
            classes = inputs.cameras(
                {"cameras": streams}, [application.name for application in whole_problem.applications]
            )
            whole_problem = replace(whole_problem, classes=classes)
    return replace(
        whole_problem,
        profiles=joined([whole_problem.profiles, *(profiles(other, files(other)) for other in measured)]),
    )


def joined(parts: Iterable[Profiles]) -> Profiles:
    """Profiles from several files as one."""
    parts = list(parts)
    return Profiles(
        tuple(service for part in parts for service in part.services),
        tuple(output for part in parts for output in part.outputs),
        tuple(accuracy for part in parts for accuracy in part.accuracies),
    )


@contextmanager
def named(name: str, *others: str) -> Iterator[None]:
    """Lets messages begin with the name of a file, unless they do with that of another that it names."""
    try:
        yield
    except ConfigError as error:
        words = str(error)
        begun = words.startswith(tuple(f"{file}: " for file in (name, *others)))
        raise ConfigError(words if begun else f"{name}: {words}") from error


def _graphs(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The GraphML file that a cluster's tables name, if any."""
    topology = fields.get("topology")
    name = topology.get("graphml") if isinstance(topology, dict) else None
    return (name,) if isinstance(name, str) and name else ()
