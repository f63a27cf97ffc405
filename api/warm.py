"""A warm start: what an earlier process made of a function, used again without tracing it.

In: a function, a transform, a call. Out: `find`: a `Specialization` from the disk cache, if everything is the same that
its trace read; else None. `keep` stores what a trace and all that followed came to.

The same are, by `codegen.manifest`: the function itself and its source, the source of every function that was traced
into it, where they stand in their files (messages name lines), the types and static values of the call, the transform,
adjit, Python, NumPy, SciPy and Numba, and every static value that was read from outside (`provenance`). Arrays and
numbers from outside are read at each call, here too. Machine code is kept under a key of its own (`codegen.build`).

Not everything can be kept: what is defined at a prompt has no file to compare; what reads objects that another process
could not find, or returns them, is traced in every process.

What is found knows the kernel's source; of its IR it knows nothing, and traces again should it be asked for it.
"""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib.util
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optree

from ..codegen import Executable, cache
from ..codegen.build import environment
from ..codegen.choosing import ChoosingExecutable, StoredChoosingExecutable, without_threads
from ..codegen.emit import Rendered
from ..codegen.executable import StoredExecutable
from ..codegen.manifest import Capture as Dependency
from ..codegen.manifest import SourceLines, code_digest, load_manifest, manifest_key, source_lines, store_manifest
from ..ir.core import Function, Op, Region, Value
from ..ir.types import Type
from ..tracer import Capture, Guard, Result
from .arguments import Call, Static, flatten_tree, further_attributes, unflatten
from .provenance import Place, Places, aspect_of, digest_of, reader, root_of
from .specialize import Specialization, Transform, specialize

__all__ = ["find", "keep"]

PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""Static results that may be made again: nobody asks which object they are."""


@dataclasses.dataclass
class Program:
    """What is kept of a function of the IR and of its kernel."""

    name: str
    arguments: list[tuple[str | None, Type]]
    results: list[Type]
    attrs: dict[str, Any]
    layouts: tuple[str, ...]
    distinguish_ones: bool
    rendered: Rendered
    alone: Rendered | None = None
    """Of a function for threads: the kernel without them, where there is a choice."""
    chances: str | None = None
    """How to choose (`codegen.choosing`)."""


@dataclasses.dataclass
class Record:
    """What is kept of a specialization."""

    guards: list[tuple[str, Place, str, bool]]
    captures: list[tuple[Place, Any, bool, str, str, bool]]
    layouts: tuple[str, ...]
    wrt: list[int]
    kept: int
    written: dict[int, str]
    result: Any
    results: list[Any]
    unreached: list[str]
    cotangents: list[int | None]
    programs: list[Program]


# ---------------------------------------------------------------- what a call is a call of


def key_of(function: Any, transform: Transform, call: Call) -> str | None:
    """The key of a call's specialization; None for what cannot be compared between processes."""
    root = root_of(function)
    if root is None or cache.root() is None:
        return None
    described = signature(call)
    if described is None:
        return None
    source = cache.digest(root.__code__.co_filename, code_digest(root.__code__))
    return manifest_key(root.__module__ or "", root.__qualname__, source, described, options(transform))


def options(transform: Transform) -> str:
    versions = (environment(), own_sources(), scipy_version(), optree.__version__)
    return cache.digest(repr(transform), *versions, str(sys.flags.optimize))


@functools.cache
def own_sources() -> str:
    """A digest of adjit's modules as they are now: who changes them, or takes a newer commit, is not served traces and
    derivatives made by what they were."""
    return state_of(Path(__file__).resolve().parent.parent, ("api", "codegen", "ir", "tracer"))


def state_of(package: Path, folders: Sequence[str]) -> str:
    """A digest of the names, sizes and times of change of all modules in some folders."""
    parts = []
    for folder in folders:
        for place, inner, files in os.walk(package / folder):
            inner.sort()
            for name in sorted(files):
                if name.endswith(".py"):
                    status = os.stat(os.path.join(place, name))
                    parts.append(f"{place[len(str(package)) :]}/{name} {status.st_size} {status.st_mtime_ns}")
    return cache.digest(*parts)


@functools.cache
def scipy_version() -> str:
    """A digest of the version that is installed, whether or not it has been imported yet."""
    found = importlib.util.find_spec("scipy")
    if found is None or found.origin is None:
        return ""
    try:
        return cache.digest((Path(found.origin).parent / "version.py").read_bytes())
    except OSError:
        return found.origin


def signature(call: Call) -> str | None:
    """The structure and types of a call's arguments, and their static values."""
    parts: list[str | None] = [str(call.treespec)]
    for x, t in zip(call.leaves, call.types, strict=True):
        parts.append(digest_of(x.value if isinstance(x, Static) else x) if t is None else f"{t[0]} {t[1]} {t[2]}")
    parts += nodes(unflatten(call.treespec, [None] * len(call.leaves)))
    return None if None in parts else cache.digest(*(p for p in parts if p is not None))


def nodes(tree: Any) -> list[str | None]:
    """Digests of the classes of containers; None among them for one whose contents cannot be told."""
    kind = type(tree)
    if tree is None:
        return []
    if kind in (tuple, list):
        return [part for item in tree for part in nodes(item)]
    if kind is dict:
        return [repr(list(tree)), *(part for item in tree.values() for part in nodes(item))]
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return [digest_of(kind), *(part for item in tree for part in nodes(item))]
    if dataclasses.is_dataclass(tree):
        names = [*(f.name for f in dataclasses.fields(tree)), *further_attributes(tree)]
        fields = (getattr(tree, name, None) for name in names)
        return [digest_of(kind), repr(names), *(part for item in fields for part in nodes(item))]
    return [None]


# ---------------------------------------------------------------- keeping


def keep(spec: Specialization, function: Callable[..., Any], call: Call) -> bool:
    """Store a specialization for later processes; False where that is not possible."""
    try:
        return stored(spec, function, call)
    except Exception:  # the user's objects run code of theirs when they are looked at and copied: then it is not kept
        return False


def stored(spec: Specialization, function: Callable[..., Any], call: Call) -> bool:
    key = key_of(function, spec.transform, call)
    if key is None or spec.donated:
        return False
    sources = sources_of(spec)
    record = record_of(spec, function) if sources is not None else None
    if record is None or sources is None:
        return False
    dependencies: list[SourceLines | Dependency] = list(sources)
    for guard, (aspect, place, _, _) in zip(spec.guards, record.guards, strict=True):
        digest = digest_of(guard.expected)
        if digest is None:
            return False
        dependencies.append(Dependency(repr((aspect, place)), digest))
    return store_manifest(key, pickle.dumps(record), dependencies)


def sources_of(spec: Specialization) -> list[SourceLines] | None:
    """The lines of files that were traced; None where some were not in a file."""
    out = []
    for (file, _, text), (first, last) in zip(spec.traced.sources, spec.traced.lines, strict=True):
        if not os.path.isfile(file):
            return None
        out.append(source_lines(file, first, last, text))
    return out


def record_of(spec: Specialization, function: Any) -> Record | None:
    places = Places(function, spec.traced.located)
    guards: list[tuple[str, Place, str, bool]] = []
    for guard in spec.guards:
        place = places.place(guard.key)
        if place is None:
            return None
        guards.append((guard.aspect, place, guard.text, guard.identity))
    captures: list[tuple[Place, Any, bool, str, str, bool]] = []
    for c in spec.captures:
        place = places.place(c.key)
        if place is None:
            return None
        captures.append((place, c.type, c.weak, c.name, c.path, c.contiguous))
    if not all(type(leaf) in PLAIN or isinstance(leaf, Result) for leaf in flatten_tree(spec.traced.result)[0]):
        return None
    programs = [program(spec.executable)]
    if spec.reverse is not None:
        programs.append(program(spec.pullback))
    return Record(
        guards,
        captures,
        spec.layouts,
        spec.wrt,
        spec.kept,
        spec.written,
        spec.traced.result,
        spec.results,
        spec.unreached,
        spec.cotangents,
        programs,
    )


def program(executable: Executable) -> Program:
    function = executable.function
    arguments = [(a.name, a.type) for a in function.args]
    results = [r.type for r in function.results]
    how = (executable.layouts, executable.distinguish_ones, executable.rendered)
    out = Program(function.name, arguments, results, dict(function.attrs), *how)
    if isinstance(executable, ChoosingExecutable) and executable.chances is not None:
        out.alone, out.chances = executable.alone.rendered, executable.chances
    return out


# ---------------------------------------------------------------- finding


def find(function: Callable[..., Any], transform: Transform, call: Call) -> Specialization | None:
    """The specialization that an earlier process kept, if it is still right."""
    try:
        return found(function, transform, call)
    except Exception:  # the user's objects run code of theirs when they are looked at: if it fails, they have changed
        return None


def found(function: Callable[..., Any], transform: Transform, call: Call) -> Specialization | None:
    key = key_of(function, transform, call)
    if key is None:
        return None

    def digest_now(name: str) -> str | None:
        aspect, place = ast.literal_eval(name)
        return digest_of(aspect_of(aspect, place, function)())

    payload = load_manifest(key, digest_now)
    if payload is None:
        return None
    return Remembered(pickle.loads(payload), function, transform, call)


class Remembered(Specialization):
    """A specialization without IR: what depends on that (`traced`, `stages`, `plan`) is made when it is asked for."""

    def __init__(self, record: Record, function: Callable[..., Any], transform: Transform, call: Call) -> None:
        leaves = [x if t is None else None for x, t in zip(call.leaves, call.types, strict=True)]
        self.function = function
        self.call = dataclasses.replace(call, leaves=leaves)  # not to hold on to arrays
        self.transform = transform
        self.layouts, self.wrt, self.kept, self.written = record.layouts, record.wrt, record.kept, record.written
        self.donated = []
        self.results, self.unreached, self.cotangents = record.results, record.unreached, record.cotangents
        self.result_spec = flatten_tree(record.result)[1]
        self.guards = [restored_guard(function, *g) for g in record.guards]
        self.captures = [restored_capture(function, *c) for c in record.captures]
        forward, *rest = (skeleton(p) for p in record.programs)
        self.forward = forward
        self.__dict__["executable"] = self.stored(forward, record.programs[0], lambda: self.again.executable)
        for reverse in rest:
            self.reverse = reverse
            self.__dict__["pullback"] = self.stored(reverse, record.programs[1], lambda: self.again.pullback)

    def stored(self, function: Function, p: Program, again: Callable[[], Executable]) -> Executable:
        made = StoredExecutable(function, p.layouts, p.distinguish_ones, p.rendered, again)
        if p.alone is None:
            return made

        def alone_again() -> Executable:
            found = again()
            assert isinstance(found, ChoosingExecutable)
            return found.alone

        alone = StoredExecutable(without_threads(function), p.layouts, p.distinguish_ones, p.alone, alone_again)
        return StoredChoosingExecutable(made, alone, p.chances)

    @functools.cached_property
    def again(self) -> Specialization:
        return specialize(self.function, self.transform, self.call)

    @property
    def complete(self) -> Specialization:
        return self.again

    @property
    def seconds(self) -> dict[str, float]:
        return dict(self.executable.seconds)

    def __repr__(self) -> str:
        return f"<specialization of {self.forward.name}, from an earlier process>"

    def __getattr__(self, name: str) -> Any:
        if name in ("traced", "stages", "plan"):
            return getattr(self.again, name)
        raise AttributeError(name)


def restored_guard(function: Any, aspect: str, place: Place, text: str, identity: bool) -> Guard:
    read = aspect_of(aspect, place, function)
    return Guard(read, read(), text, identity, place, aspect)


def restored_capture(function: Any, place: Place, type_: Any, weak: bool, name: str, path: str, order: bool) -> Capture:
    return Capture(reader(place, function), type_, weak, name, path, order, place)


def skeleton(p: Program) -> Function:
    """A function with the arguments, results and attributes of one that was, and no body."""
    region = Region([Value(t, name) for name, t in p.arguments])
    region.ops.append(Op("return", [Value(t) for t in p.results], []))
    return Function(p.name, region, p.attrs)
