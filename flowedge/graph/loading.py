"""Executing a graph file that a user wrote, and remembering where its operators came from."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from flowedge.errors import ConfigError, GraphError, UserError
from flowedge.graph.graph import Graph
from flowedge.graph.knobs import Parameter, Settings, settings, suggestion


@dataclass(frozen=True)
class UserFile:
    """A file of the user's own that defines operators, and the sha256 of the text that was executed."""

    path: Path
    sha256: str

    def text(self) -> str:
        """What was executed. Raises `GraphError` where the file is gone or has changed since."""
        source = _source(self.path)
        if _sha256(source) != self.sha256:
            raise GraphError(
                f"{self.path}: the file has changed since it was loaded; stop, and run the graph again"
            )
        return source.decode()


_files: dict[str, UserFile] = {}  # by the name of the module that came from it
_executing: ContextVar[Path | None] = ContextVar("_executing", default=None)


def load(path: str | Path, given: Mapping[str, str]) -> tuple[Graph, dict[str, Parameter]]:
    """The graph that a file declares, and its parameters by name.

    The file is executed with the words NAME=VALUE of `given` for its `param`s; it may import what lies beside
    it. The graph is its variable `graph`, or its only `Graph`. Raises `GraphError` where there is no such file
    or graph, or where the file fails (naming the line), `ConfigError` for a name that no `param` asked for,
    and whatever `UserError` an operator in the file raised.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "tiny.py")
    ...     _ = path.write_text(
    ...         "from flowedge import Graph, param; graph = Graph(param('name', 'tiny', help='its name'))"
    ...     )
    ...     graph, parameters = load(path, {"name": "small"})
    >>> graph.name, parameters["name"].default, parameters["name"].help
    ('small', 'tiny', 'its name')
    """
    graph, used = _loaded(Path(path), given)
    used.check_all_used()
    return graph, used.declared


@dataclass(frozen=True)
class Loaded:
    """A graph, the file that declares it, and the words NAME=VALUE that it was given."""

    path: Path
    graph: Graph
    given: Mapping[str, str]


def load_several(paths: Sequence[str | Path], given: Mapping[str, str]) -> list[Loaded]:
    """The graphs that several files declare, all of which are to run.

    NAME=VALUE is for every graph with such a parameter, FILE.NAME=VALUE for that of the file FILE.py alone, and
    comes before the former. Raises what `load` raises, `ConfigError` for a name that none of them has, for two
    files of one name, and for two graphs of one name.
    """
    files = [Path(path) for path in paths]
    stems = [file.stem for file in files]
    for stem in stems:
        if stems.count(stem) > 1:
            raise ConfigError(f"{stem}.py: is given twice; each graph that runs needs a file of another name")
    unused = dict(given)
    loaded: list[Loaded] = []
    for file in files:
        words = _words_for(file.stem, stems, given)
        graph, used = _loaded(file, words)
        for name in used.declared:
            unused.pop(name, None)
            unused.pop(f"{file.stem}.{name}", None)
        for name in unused:
            owner, _, wrong = name.rpartition(".")
            if owner == file.stem:
                raise ConfigError(f"{name}: {file} has no such parameter{suggestion(wrong, used.declared)}")
        if any(other.graph.name == graph.name for other in loaded):
            raise ConfigError(f'{file}: its graph is named "{graph.name}" like that of another file: rename it')
        known = {name: value for name, value in words.items() if name in used.declared}
        loaded.append(Loaded(file, graph, known))
    for name in unused:
        raise ConfigError(f"{name}: none of the graphs has such a parameter; see `flowedge check {files[0]}`")
    return loaded


def _words_for(stem: str, stems: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """The words for one of several files: those for all, and in their place those for it alone.

    >>> _words_for("mot", ["detect", "mot"], {"mot.source": "b.mp4", "source": "a.mp4", "detect.size": "416"})
    {'source': 'b.mp4'}
    """
    scoped = tuple(f"{other}." for other in stems)
    own = f"{stem}."
    common = {name: value for name, value in given.items() if not name.startswith(scoped)}
    mine = {name.removeprefix(own): value for name, value in given.items() if name.startswith(own)}
    return common | mine


def _loaded(path: Path, given: Mapping[str, str]) -> tuple[Graph, Settings]:
    """The graph that a file declares, and what it made of the words."""
    with settings(given) as used:
        module = _executed(path.resolve(), _source(path))
    return _graph_of(module, path), used


def user_file(module: str) -> UserFile | None:
    """The file of the user's own that a module came from; None for a module that any process can import."""
    main = getattr(sys.modules["__main__"], "__file__", None)
    if module == "__main__" and main is not None and Path(main).is_file():
        return _user_file(Path(main).resolve())
    return _files.get(module)


def beside(path: Path) -> list[UserFile]:
    """The user's files in the folder of a file that have been imported, the file itself included if it was."""
    return [file for file in _files.values() if file.path.parent == path.parent]


def module_of(file: UserFile) -> ModuleType:
    """The module that came from a user's file, executed if it has not been yet.

    Raises `GraphError` where the file is gone, has changed or fails.
    """
    for name in ("__main__", *_files):
        if name in sys.modules and user_file(name) == file:
            return sys.modules[name]
    source = _source(file.path)
    if _sha256(source) != file.sha256:
        raise GraphError(f"{file.path}: the file has changed since the graph was written: write it again")
    return _executed(file.path, source)


def refuse_run_in_file() -> None:
    """Raise `GraphError` where this is called while a graph file is executed for what it declares."""
    path = _executing.get()
    if path is not None:
        raise GraphError(
            f"{path}: runs its graph while it is loaded, as it is by flowedge run and by workers that need its "
            'operators: put that below if __name__ == "__main__":'
        )


def _source(path: Path) -> bytes:
    if path.is_dir() or (path.exists() and path.suffix != ".py"):
        raise GraphError(f"{path}: not a Python file: a graph is declared in a file like graph.py")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise GraphError(f"{path}: there is no such file") from None
    except OSError as error:
        raise GraphError(f"{path}: cannot be read: {error.strerror}") from error


def _executed(path: Path, source: bytes) -> ModuleType:
    """A new module from a file's text; a failure becomes one sentence that names the line."""
    try:
        with _importing_beside(path):
            return _new_module(path, source)
    except UserError:
        raise
    except Exception as error:
        cause = error.msg if isinstance(error, SyntaxError) else error
        raise GraphError(f"{_place(error, path)}: {type(error).__name__}: {cause}") from error


def _new_module(path: Path, source: bytes) -> ModuleType:
    file = UserFile(path, _sha256(source))
    # The name says which text of which file, so that classes of an earlier text keep their own module.
    name = f"flowedge_{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}_{_sha256(repr(file).encode())[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name], _files[name] = module, file  # dataclasses and type hints look their module up
    token = _executing.set(path)
    try:
        # Not through the loader: its cache of compiled files can be one edit behind the text we hashed.
        exec(compile(source, path, "exec", dont_inherit=True), vars(module))
    except BaseException:
        del sys.modules[name], _files[name]
        raise
    finally:
        _executing.reset(token)
    return module


@contextmanager
def _importing_beside(path: Path) -> Iterator[None]:
    """Let a file import what lies beside it; those files are the user's own, too."""
    for name, file in _files.items():
        if file.path.parent != path.parent and file.path.stem == name:
            sys.modules.pop(name, None)  # the `helpers` beside another graph are not this graph's
    before = set(sys.modules)
    sys.path.insert(0, str(path.parent))
    try:
        yield
    finally:
        sys.path.remove(str(path.parent))
        for name in sys.modules.keys() - before:
            beside = getattr(sys.modules[name], "__file__", None)
            if beside is not None and Path(beside) == path.parent / f"{name}.py":
                _files[name] = _user_file(Path(beside))


def _graph_of(module: ModuleType, path: Path) -> Graph:
    graphs = {name: value for name, value in vars(module).items() if isinstance(value, Graph)}
    if "graph" in graphs:
        return graphs["graph"]
    if not graphs:
        raise GraphError(f'{path}: declares no graph: begin with graph = Graph("{path.stem}")')
    if len({id(graph) for graph in graphs.values()}) > 1:
        raise GraphError(f"{path}: declares several graphs, {', '.join(graphs)}: name the one to run `graph`")
    return next(iter(graphs.values()))


def _place(error: Exception, path: Path) -> str:
    """file:line of an error: in the user's file, or where the syntax of a file that it imports is wrong."""
    file, line = str(path), None
    if isinstance(error, SyntaxError) and error.filename:
        file, line = error.filename, error.lineno
    else:
        for frame in traceback.extract_tb(error.__traceback__):
            if frame.filename == file:
                line = frame.lineno
    if Path(file).is_relative_to(Path.cwd()):
        file = str(Path(file).relative_to(Path.cwd()))
    return file if line is None else f"{file}:{line}"


def _user_file(path: Path) -> UserFile:
    return UserFile(path, _sha256(path.read_bytes()))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
