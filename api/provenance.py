"""Where a trace found what it read, in terms that another process can follow, and what that was.

In: the keys under which the tracer found things (`Captures.found`: they hold identities of objects) and the function
that was traced. Out: *places*, nested tuples of strings and numbers, and readers of them in any process; *digests* of
static values, equal in two processes only if the values mean the same to a trace.

    ("global", ("root",), "n")                     the global `n` of the traced function
    ("attribute", ("module", "settings"), "n")     `settings.n`
    ("cell", ("root",), "n")                       the `n` that it closes over
    ("item", ("default", ("root",), 0), 2)         the third item of the default of a parameter

What has no place, or no digest, cannot be kept: such a function is traced again in every process. Nothing is looked up
by position in memory or trusted by name: functions are compared by what they do (`code_digest`), classes by what they
define, and modules of users are read attribute by attribute.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from ..codegen import cache
from ..codegen.manifest import code_digest
from ..tracer.captures import FIXED_MODULES
from ..tracer.lookups import MISSING, after, of_class, resolved

__all__ = ["Place", "Places", "aspect_of", "digest_of", "reader", "root_of"]

Place = tuple[Any, ...]
SIMPLE = (bool, int, float, complex, str, bytes, type(None), type(Ellipsis), np.generic, np.dtype, range, slice)


def root_of(function: Any) -> types.FunctionType | None:
    """The Python function that a call of `function` runs; None where it is something else than a function or method."""
    if isinstance(function, types.MethodType):
        function = function.__func__
    return function if isinstance(function, types.FunctionType) else None


# ---------------------------------------------------------------- places


class NoPlace(Exception):
    """Something was found where another process could not look."""


class Places:
    """Translates the tracer's keys. `located`: by identity, objects that it found and their keys."""

    def __init__(self, function: Any, located: dict[int, tuple[Any, Any]]) -> None:
        self.function = function
        self.root = root_of(function)
        self.located = located
        self.underway: set[int] = set()

    def place(self, key: Any) -> Place | None:
        """The place that a key stands for, None where it has none."""
        try:
            return self.of_key(key)
        except Exception:  # whatever the user's objects do when they are looked at
            return None

    def of_key(self, key: Any) -> Place:
        match key:
            case ("global", int(namespace), str(name)):
                return ("global", self.namespace(namespace), name)
            case ("cell", int(cell)):
                return self.cell(cell)
            case ("attribute" | "class", int(owner), str(name)):
                return ("attribute", self.object(owner), name)
            case ("default", int(owner), str() | int() as which):
                return ("default", self.object(owner), which)
            case ("field", int(owner), str(name)):
                return ("field", self.object(owner), name)
            case ("object" | "code", int(owner)):
                return self.object(owner)
            case ("super", int(cls), int(start), str(name)):
                return ("super", self.object(cls), self.object(start), name)
            case (tuple() as container, int(k)):
                return ("item", self.of_key(container), k)
            case (tuple() as container, "key", str() | int() as k):
                return ("item", self.of_key(container), k)
            case (tuple() as owner, str(name)):
                return ("attribute", self.of_key(owner), name)
        raise NoPlace

    def namespace(self, wanted: int) -> Place:
        if self.root is not None and id(self.root.__globals__) == wanted:
            return ("root",)
        for name, module in list(sys.modules.items()):
            if id(getattr(module, "__dict__", None)) == wanted:
                return ("module", name)
        raise NoPlace

    def object(self, wanted: int) -> Place:
        """The place of an object."""
        if id(self.root) == wanted:
            return ("root",)
        if isinstance(self.function, types.MethodType) and id(self.function.__self__) == wanted:
            return ("self",)
        if wanted in self.located:
            value, key = self.located[wanted]
            if isinstance(value, types.ModuleType) and sys.modules.get(value.__name__) is value:
                return ("module", value.__name__)
            if key == ("named", wanted):
                return self.named(value)
            if key != ("object", wanted):
                return self.of_key(key)
        for base, found, k in self.classes():
            if id(base) == wanted and wanted not in self.underway:
                self.underway.add(wanted)
                try:
                    return ("base", self.of_key(found), k)
                except NoPlace:
                    continue
                finally:
                    self.underway.discard(wanted)
        raise NoPlace

    def classes(self) -> Iterator[tuple[type, Any, int]]:
        """Classes of objects that were found, and their bases: with the key of the object, and which base it is."""
        for value, key in list(self.located.values()):
            if not isinstance(value, type):
                for k, base in enumerate(type(value).__mro__):
                    if base.__module__ != "builtins":
                        yield base, key, k

    def named(self, value: Any) -> Place:
        """The place of a class or function under its own name in its module, or in what is there under that name."""
        if not isinstance(value, type | types.FunctionType):
            raise NoPlace
        place: Place = ("module", value.__module__)
        found: Any = sys.modules.get(value.__module__)
        for part in value.__qualname__.split("."):
            found, place = getattr(found, part, None), ("attribute", place, part)
        if found is value:
            return place
        for inner in ("__wrapped__", "__func__", "py_func", "func", "fget"):
            if found is not None and getattr(found, inner, None) is value:
                return ("attribute", place, inner)
        raise NoPlace

    def cell(self, wanted: int) -> Place:
        found = [(self.root, ("root",))] if self.root is not None else []
        functions: list[tuple[Any, Any]] = list(found)
        functions += [(value, None) for value, _ in self.located.values() if isinstance(value, types.FunctionType)]
        for function, place in functions:
            for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
                if id(cell) == wanted:
                    return ("cell", place or self.object(id(function)), name)
        raise NoPlace


def reader(place: Place, function: Any) -> Callable[[], Any]:
    """What reads a place now. Raises LookupError, AttributeError or TypeError where it does not exist."""
    root = root_of(function)
    match place:
        case ("root",):
            return lambda: root
        case ("self",):
            return lambda: function.__self__
        case ("module", name):
            module = sys.modules[name]
            return lambda: module
        case ("global", owner, name):
            namespace = _namespace(owner, root)
            return functools.partial(namespace.get, name, MISSING)
        case ("cell", owner, name):
            holder = reader(owner, function)()
            cell = (holder.__closure__ or ())[holder.__code__.co_freevars.index(name)]
            return lambda: cell.cell_contents
        case ("default", owner, which):
            holder_of = reader(owner, function)
            if isinstance(which, int):
                return lambda: holder_of().__defaults__[which]
            return lambda: holder_of().__kwdefaults__[which]
        case ("field", owner, name):
            owner_of = reader(owner, function)
            return lambda: next(f.default for f in dataclasses.fields(owner_of()) if f.name == name)
        case ("attribute", owner, name):
            owner_of = reader(owner, function)
            return lambda: getattr(owner_of(), name)
        case ("item", container, k):
            container_of = reader(container, function)
            return lambda: container_of()[k]
        case ("super", cls, start, name):
            cls_of, start_of = reader(cls, function), reader(start, function)
            return lambda: after(cls_of(), start_of(), name)
        case ("base", owner, k):
            owner_of = reader(owner, function)
            return lambda: type(owner_of()).__mro__[k]
    raise LookupError(place)


def _namespace(place: Place, root: types.FunctionType | None) -> dict[str, Any]:
    if place == ("root",):
        if root is None:
            raise LookupError(place)
        return root.__globals__
    namespace: dict[str, Any] = sys.modules[place[1]].__dict__
    return namespace


LOOKUPS: dict[str, Callable[[Any, str], Any]] = {
    "lookup": resolved,
    "definition": of_class,
    "undefined": lambda cls, name: of_class(cls, name) is MISSING,
    "attribute": hasattr,
}
"""Aspects of attributes: what looking them up finds (see `tracer.lookups`)."""


def aspect_of(aspect: str, place: Place, function: Any) -> Callable[[], Any]:
    """What reads the aspect of a place that a guard is about."""
    if aspect == "presence":
        namespace, name = _namespace(place[1], root_of(function)), place[2]
        return lambda: name in namespace
    if aspect in LOOKUPS:
        owner_of, lookup = reader(place[1], function), LOOKUPS[aspect]
        return lambda: lookup(owner_of(), place[2])
    read = reader(place, function)
    if aspect == "code":
        return functools.partial(getattr, read(), "__code__")
    if aspect == "size":
        return lambda: (type(read()), len(read()))
    if aspect == "keys":
        return lambda: tuple(read())
    if aspect == "class":
        return lambda: type(read())
    return read


# ---------------------------------------------------------------- digests


class NoDigest(Exception):
    """A value that cannot be compared between processes."""


def digest_of(value: Any) -> str | None:
    """A digest of what a static value means to a trace; None where it has none."""
    try:
        return _digest(value, ())
    except Exception:  # NoDigest, and whatever the user's objects do when they are looked at
        return None


def _digest(value: Any, above: tuple[Any, ...]) -> str:
    """`above`: functions and classes that are being described (they may mention themselves)."""
    kind = type(value)
    if kind in (tuple, list):
        return cache.digest(kind.__name__, *(_digest(v, above) for v in value))
    if kind is dict:
        return cache.digest("dict", *(_digest(part, above) for pair in value.items() for part in pair))
    if isinstance(value, enum.Enum):
        return cache.digest("enum", _digest(kind, above), value.name, _digest(value.value, above))
    if isinstance(value, SIMPLE):
        if kind.__module__.split(".")[0] not in ("builtins", "numpy"):
            raise NoDigest
        return cache.digest(kind.__module__, kind.__qualname__, repr(value))
    if kind is types.CodeType:
        return cache.digest("code", code_digest(value))
    if any(value is x for x in above):
        return cache.digest("above", str([value is x for x in above].index(True)))
    if isinstance(value, types.ModuleType):
        return cache.digest("module", value.__name__)
    if isinstance(value, np.ufunc):
        return cache.digest("ufunc", value.__name__)
    python = getattr(value, "py_func", None)  # a Numba dispatcher
    if isinstance(python, types.FunctionType):
        return cache.digest("jitted", _function(python, above))
    if isinstance(value, functools._lru_cache_wrapper):
        return cache.digest("cached", _digest(value.__wrapped__, above))
    if isinstance(value, types.FunctionType):
        return _function(value, above)
    if isinstance(value, type):
        return _class(value, above)
    if isinstance(value, staticmethod | classmethod):
        return cache.digest(kind.__name__, _digest(value.__func__, above))
    if isinstance(value, functools.cached_property):
        return cache.digest("cached_property", _digest(value.func, above))
    if isinstance(value, property):
        return cache.digest("property", *(_digest(f, above) for f in (value.fget, value.fset, value.fdel)))
    if inspect.isbuiltin(value) and _is_fixed(value.__module__):
        return cache.digest("builtin", value.__module__, value.__qualname__)
    if inspect.isroutine(value) and _is_fixed(getattr(value, "__module__", None)):
        return cache.digest("routine", kind.__qualname__, value.__module__, value.__name__)
    raise NoDigest


def _is_fixed(module: Any) -> bool:
    """Whether a module is one of those that the key of a manifest has the version of."""
    name = module or "builtins"
    return name.split(".")[0] in FIXED_MODULES or name in FIXED_MODULES


def _function(function: types.FunctionType, above: tuple[Any, ...]) -> str:
    """A function by its instructions. What it reads from outside, defaults included, a trace reads and guards."""
    names = (function.__module__ or "", function.__qualname__)
    if _is_fixed(function.__module__):
        return cache.digest("function", *names)
    if any(not name.startswith("__") for name in function.__dict__):
        raise NoDigest  # attributes of a function are read without a guard
    return cache.digest("function", *names, code_digest(function.__code__))


IGNORED = {"__dict__", "__weakref__", "__doc__", "__module__", "__dataclass_fields__", "__annotations__", "__hash__"}
MADE_BY_PYTHON = ("member_descriptor", "getset_descriptor", "_tuplegetter", "_DataclassParams")


def _class(cls: type, above: tuple[Any, ...]) -> str:
    """A class by everything that it defines, and its bases."""
    names = (cls.__module__, cls.__qualname__)
    if _is_fixed(cls.__module__):
        return cache.digest("class", *names)
    inside = (*above, cls)
    parts = [_digest(base, inside) for base in cls.__bases__]
    for name, value in vars(cls).items():
        if name not in IGNORED:
            known = type(value).__name__
            parts += [name, known if known in MADE_BY_PYTHON else _digest(value, inside)]
    parts += [repr(sorted(vars(cls).get("__annotations__", {}).items(), key=lambda item: item[0]))]
    if dataclasses.is_dataclass(cls):
        parts += _fields(dataclasses.fields(cls), inside)
    return cache.digest("class", *names, *parts)


def _fields(fields: Iterable[dataclasses.Field[Any]], above: tuple[Any, ...]) -> Iterator[str]:
    for field in fields:
        yield repr((field.name, field.init, field.kw_only))
        for default in (field.default, field.default_factory):
            yield "" if default is dataclasses.MISSING else _digest(default, above)
