"""What a traced program reads from outside: globals, closures, attributes of modules and of the caller's objects.

In: a value found outside and how to find it again. Out: for arrays and floats, an extra argument of the IR function
that the caller reads at call time (`Capture`); for everything static, the value itself and a `Guard` that the caller
checks per call. Constants of NumPy, math and other installed libraries' modules are taken as they are.
"""

from __future__ import annotations

import builtins
import enum
import functools
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..ir.core import Region, Value
from ..ir.types import F64, Array, Scalar, dtype_of
from .context import Tracer
from .lookups import MISSING, resolved, same
from .scope import Frame
from .values import CALLERS, ArrayObject, DictObject, Host, ListObject, Number, Reference

__all__ = ["FIXED_MODULES", "Capture", "Captures", "Guard", "has", "is_fixed", "is_static_object"]

FIXED_MODULES = (
    "numpy",
    "math",
    "scipy",
    "builtins",
    "operator",
    "functools",
    "itertools",
    "dataclasses",
    "typing",
    "adjit.api",
    "cmath",
)
STATIC_TYPES = (
    bool,
    int,
    str,
    bytes,
    type(None),
    type(Ellipsis),
    np.dtype,
    np.bool_,
    np.integer,
    enum.Enum,
    range,
    slice,
)


@dataclass(eq=False)
class Capture:
    """An array or float that is read when the compiled function is called.

    `read()` gives it now; `type` and `weak` are what it was traced as (a change asks for another trace); `name` is
    a valid identifier, `path` says what it is in the user's words.
    """

    read: Callable[[], Any]
    type: Scalar | Array
    weak: bool
    name: str
    path: str
    contiguous: bool = True
    key: Any = None
    """Where it was found (see `Captures.found`)."""


@dataclass(eq=False)
class Guard:
    """Something static that the trace relied on: the call is valid as long as `read()` is (or equals) `expected`.

    `key` says where the value was found (None: nowhere that another process could look), `aspect` what of it counts.
    """

    read: Callable[[], Any]
    expected: Any
    text: str
    identity: bool = False
    key: Any = None
    aspect: str = "value"

    def holds(self) -> bool:
        try:
            now = self.read()
            if self.identity:
                return same(now, self.expected)
            return type(now) is type(self.expected) and bool(now == self.expected)
        except Exception:  # whatever the user's objects do when they are looked at, they have changed
            return False


class Captures:
    """Everything captured so far in one trace."""

    def __init__(self, t: Tracer, region: Region) -> None:
        self.t = t
        self.region = region
        self.captures: list[Capture] = []
        self.values: list[Value] = []
        self.guards: list[Guard] = []
        self.known: dict[Any, Any] = {}
        self.located: dict[int, tuple[Any, Any]] = {}
        """By identity: what was found, and the key it was found under first."""
        self.arrays: dict[int, tuple[Any, ArrayObject, Callable[[], Any]]] = {}
        self.array_objects: list[ArrayObject] = []
        self.argument_count = 0
        self.names: set[str] = set()

    def objects(self) -> list[ArrayObject]:
        """Arrays that the caller can see."""
        return self.array_objects

    def guard(
        self,
        read: Callable[[], Any],
        expected: Any,
        text: str,
        identity: bool = False,
        key: Any = None,
        aspect: str = "value",
    ) -> None:
        self.guards.append(Guard(read, expected, text, identity, key, aspect))

    # ------------------------------------------------------------ by place

    def global_(self, frame: Frame, name: str) -> Any:
        namespace = frame.globals
        if name in namespace:
            key = ("global", id(namespace), name)
            return self.found(namespace[name], partial(namespace.get, name, MISSING), name, key)
        if hasattr(builtins, name):
            key = ("global", id(namespace), name)
            if key not in self.known:
                self.known[key] = getattr(builtins, name)
                self.guard(lambda: name in namespace, False, f"{name} is Python's own", key=key, aspect="presence")
            return self.known[key]
        self.t.unsupported(f"the name `{name}` is not defined", "define or import it before the function is called")

    def cell(self, frame: Frame, name: str) -> Any:
        cell = frame.cells[name]
        try:
            value = cell.cell_contents
        except ValueError:
            self.t.unsupported(f"`{name}` is not defined yet in the enclosing function")

        def read() -> Any:
            try:
                return cell.cell_contents
            except ValueError:
                return MISSING

        return self.found(value, read, name, ("cell", id(cell)))

    def found(self, value: Any, read: Callable[[], Any], text: str, key: Any) -> Any:
        """An abstract value for something found outside; the same one whenever it is read again.

        `key` names the place: ("global", id of the namespace, name), ("cell", id of the cell), ("attribute" or "class",
        id of the owner, name), ("default", id of the function, number or name), (key of an object, its attribute),
        (key of a tuple or list, number), (key of a dict, "key", key), ...
        """
        if key in self.known:
            return self.known[key]
        before = self.located.get(id(value))
        if before is None or before[1] == ("named", id(value)):
            self.located[id(value)] = (value, key)
        out = self.abstract(value, read, text, key)
        self.known[key] = out
        return out

    def code(self, function: types.FunctionType) -> None:
        """That a function is still what was traced: its `__code__` may be replaced."""
        key = ("code", id(function))
        if key not in self.known and not is_fixed(function.__module__ or ""):
            self.known[key] = function
            read = partial(getattr, function, "__code__")
            text = f"the code of {function.__name__}"
            self.seen(function)
            self.guard(read, function.__code__, text, identity=True, key=key, aspect="code")

    def seen(self, value: Any) -> None:
        """Remember a class or function that was not found under a name (yet)."""
        self.located.setdefault(id(value), (value, ("named", id(value))))

    # ------------------------------------------------------------ by kind

    def abstract(self, value: Any, read: Callable[[], Any], text: str, key: Any) -> Any:
        t = self.t
        if isinstance(value, np.ndarray):
            return self.array(value, read, text, key)
        if isinstance(value, float | np.floating) and not isinstance(value, bool):
            return self.number(value, read, text, key)
        if isinstance(value, STATIC_TYPES):
            self.guard(read, value, text, key=key)
            return value.item() if isinstance(value, np.bool_) else value
        if isinstance(value, tuple):
            size: tuple[type, int] = (type(value), len(value))
            self.guard(lambda: (type(read()), len(read())), size, f"the length of {text}", key=key, aspect="size")
            items = [self.found(v, lambda k=k: read()[k], f"{text}[{k}]", (key, k)) for k, v in enumerate(value)]  # type: ignore[misc]
            return type(value)._make(items) if hasattr(value, "_make") else tuple(items)
        if isinstance(value, list):
            size = (type(value), len(value))
            self.guard(lambda: (type(read()), len(read())), size, f"the length of {text}", key=key, aspect="size")
            items = [self.found(v, lambda k=k: read()[k], f"{text}[{k}]", (key, k)) for k, v in enumerate(value)]  # type: ignore[misc]
            return ListObject(tuple(items), self.region, ("capture", text), host=text)
        if isinstance(value, dict):
            self.guard(lambda: tuple(read()), tuple(value), f"the keys of {text}", key=key, aspect="keys")
            pairs = [
                (k, self.found(v, lambda k=k: read()[k], f"{text}[{k!r}]", (key, "key", k)))  # type: ignore[misc]
                for k, v in value.items()
            ]
            return DictObject(tuple(pairs), self.region, ("capture", text), host=text)
        if isinstance(value, complex | np.complexfloating):
            t.unsupported(f"`{text}` is complex", "separate real and imaginary parts")
        if isinstance(value, set | frozenset):
            self.guard(
                lambda: type(read()), type(value), f"the class of {text}", identity=True, key=key, aspect="class"
            )
            self.guard(
                lambda: frozenset(read()), frozenset(value), f"the elements of {text}", key=key, aspect="elements"
            )
            return value
        if is_static_object(value):
            self.guard(read, value, text, identity=True, key=key)
            return value
        cls = type(value)
        self.guard(lambda: type(read()), cls, f"the class of {text}", identity=True, key=key, aspect="class")
        return Host(value, read, text, key)

    def array(self, value: np.ndarray[Any, Any], read: Callable[[], Any], text: str, key: Any) -> Any:
        before = self.arrays.get(id(value))
        if before is not None:
            _, obj, first = before
            self.guard(lambda: read() is first(), True, f"{text} is the array it was")
            return Reference(obj)
        dtype = self.supported(value.dtype, text)
        if value.ndim == 0:
            self.guard(lambda: type(read()), np.ndarray, f"the class of {text}", identity=True, key=key, aspect="class")
            return Number(self.add(read, Scalar(dtype), False, text, key), False, CALLERS)
        type_ = Array(dtype, tuple(1 if n == 1 else None for n in value.shape))
        contiguous = bool(value.flags.c_contiguous)
        argument = self.add(read, type_, False, text, key, contiguous)
        obj = ArrayObject(argument, [None] * value.ndim, self.region, ("capture", text), contiguous or None)
        if not value.flags.writeable:
            obj.readonly = "it is marked read-only"
        self.set_static(obj)
        self.arrays[id(value)] = (value, obj, read)
        self.array_objects.append(obj)
        return Reference(obj)

    def set_static(self, obj: ArrayObject) -> None:
        from ..ir.core import Const
        from ..ir.types import I64

        assert isinstance(obj.initial.type, Array)
        for k, d in enumerate(obj.initial.type.dims):
            if d is not None:
                obj.extents[k] = Const(d, I64)

    def number(self, value: Any, read: Callable[[], Any], text: str, key: Any) -> Number:
        weak = not isinstance(value, np.generic)
        dtype = F64 if weak else self.supported(value.dtype, text)
        return Number(self.add(read, Scalar(dtype), weak, text, key), weak)

    def supported(self, dtype: Any, text: str) -> Any:
        found = dtype_of(dtype)
        if found is None:
            self.t.type_error(f"`{text}` has the dtype {dtype}, which is not supported", "use float64 or float32")
        return found

    def add(
        self, read: Callable[[], Any], type_: Scalar | Array, weak: bool, text: str, key: Any, contiguous: bool = True
    ) -> Value:
        name = "".join(c if c.isalnum() else "_" for c in text).strip("_") or "captured"
        if not name.isidentifier():
            name = "_" + name
        while name in self.names:
            name += "_"
        self.names.add(name)
        self.captures.append(Capture(read, type_, weak, name, text, contiguous, key))
        value = Value(type_, name)
        self.values.append(value)
        self.region.args.append(value)
        return value


def is_static_object(value: Any) -> bool:
    """Functions, classes, modules and the like: they mean the same as long as they are the same object."""
    if isinstance(value, type | types.ModuleType | np.ufunc | functools.partial) or inspect.isroutine(value):
        return True
    if any(has(value, name) for name in ("py_func", "__adjit_binding__", "__adjit_inline__")):
        return True
    if isinstance(value, np.finfo | np.iinfo):
        return True
    module = type(value).__module__.split(".")[0]
    return module in ("numpy", "functools", "typing", "itertools") or (callable(value) and has(value, "__wrapped__"))


def has(value: Any, name: str) -> bool:
    """Whether an object has an attribute, without asking its `__getattr__`."""
    return resolved(value, name) is not MISSING


def is_fixed(module: str) -> bool:
    """Whether a module is of an installed library whose contents stay what they are."""
    return module.split(".")[0] in FIXED_MODULES or module in FIXED_MODULES or module.startswith("adjit.")
