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
from typing import Any

import numpy as np

from ..ir.core import Region, Value
from ..ir.types import F64, Array, Scalar, dtype_of
from . import bind_methods
from .context import Tracer
from .scope import Frame
from .values import CALLERS, ArrayObject, BoundMethod, DictObject, Host, Instance, ListObject, Number, Reference

__all__ = ["Capture", "Captures", "Guard", "Super", "host_attribute", "instance_attribute", "static_attribute"]

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
        except Exception:
            return False
        if self.identity:
            return now is self.expected
        return type(now) is type(self.expected) and bool(now == self.expected)


@dataclass(eq=False)
class Super:
    """What `super()` gives inside a method."""

    cls: type
    self: Any


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
            return self.found(namespace[name], lambda: namespace[name], name, key)
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
        return self.found(value, lambda: cell.cell_contents, name, ("cell", id(cell)))

    def found(self, value: Any, read: Callable[[], Any], text: str, key: Any) -> Any:
        """An abstract value for something found outside; the same one whenever it is read again.

        `key` names the place: ("global", id of the namespace, name), ("cell", id of the cell), ("attribute" or "class",
        id of the owner, name), ("default", id of the function, number or name), (key of an object, its attribute),
        (key of a tuple or list, number), (key of a dict, "key", key), ...
        """
        if key in self.known:
            return self.known[key]
        self.located.setdefault(id(value), (value, key))
        out = self.abstract(value, read, text, key)
        self.known[key] = out
        return out

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
    if hasattr(value, "py_func") or hasattr(value, "__adjit_binding__") or hasattr(value, "__adjit_inline__"):
        return True
    if isinstance(value, np.finfo | np.iinfo | frozenset | set):
        return True
    module = type(value).__module__.split(".")[0]
    return module in ("numpy", "functools", "typing", "itertools") or (
        callable(value) and hasattr(value, "__wrapped__")
    )


# ---------------------------------------------------------------- attributes


def static_attribute(t: Tracer, value: Any, name: str) -> Any:
    """`value.name` of a module, class, function, string, dtype."""
    if isinstance(value, int | float) and not isinstance(value, np.generic):
        return bind_methods.static_number_attribute(t, value, name)
    try:
        found = getattr(value, name)
    except AttributeError as error:
        t.type_error(str(error))
    if isinstance(value, types.ModuleType):
        root = value.__name__
        if root.split(".")[0] in FIXED_MODULES or root in FIXED_MODULES:
            if isinstance(found, np.ndarray):
                return t.captures.found(
                    found, lambda: getattr(value, name), f"{root}.{name}", ("attribute", id(value), name)
                )
            return found
        return t.captures.found(
            found, lambda: getattr(value, name), f"{root.rsplit('.', 1)[-1]}.{name}", ("attribute", id(value), name)
        )
    if isinstance(value, type):
        if isinstance(found, np.ndarray | float | list | dict | tuple) or not is_static_object(found):
            return t.captures.found(
                found, lambda: getattr(value, name), f"{value.__name__}.{name}", ("class", id(value), name)
            )
        return found
    return found


def class_attribute(cls: type, name: str) -> tuple[bool, Any, type | None]:
    """An attribute of a class as it is written there (not bound), and the class that has it."""
    for base in cls.__mro__:
        if name in vars(base):
            return True, vars(base)[name], base
    return False, None, None


def bound_attribute(t: Tracer, owner: Any, cls: type, name: str, what: str) -> Any:
    """What the class of an object says about `owner.name`."""
    from . import calls

    exists, found, base = class_attribute(cls, name)
    if not exists:
        t.type_error(f"{what} has no attribute `{name}`")
    if isinstance(found, property):
        if found.fget is None:
            t.type_error(f"the property `{name}` cannot be read")
        return calls.call(t, found.fget, [owner], {})
    if isinstance(found, functools.cached_property):
        return calls.call(t, found.func, [owner], {})
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, classmethod):
        return BoundMethod(found.__func__, cls)
    if inspect.isfunction(found) or hasattr(found, "py_func"):
        return BoundMethod(found, owner)
    if isinstance(found, types.WrapperDescriptorType | types.MethodDescriptorType | types.GetSetDescriptorType):
        if name == "__class__":
            return cls
        t.unsupported(f"`{name}` of {what}")
    assert base is not None
    return t.captures.found(found, lambda: getattr(base, name), f"{base.__name__}.{name}", ("class", id(base), name))


def instance_attribute(t: Tracer, value: Instance, name: str) -> Any:
    from .expressions import usable

    exists, found, _ = class_attribute(value.cls, name)
    if exists and isinstance(found, property):
        return bound_attribute(t, value, value.cls, name, f"a {value.cls.__name__}")
    for key, item in t.items(value):
        if key == name:
            return usable(t, item, name)
    if name == "__class__":
        return value.cls
    return bound_attribute(t, value, value.cls, name, f"a {value.cls.__name__}")


def host_attribute(t: Tracer, host: Host, name: str) -> Any:
    """An attribute of the caller's object, read when the compiled function is called."""
    value = host.value
    cls = type(value)
    exists, found, _ = class_attribute(cls, name)
    if exists and isinstance(found, property | functools.cached_property):
        return bound_attribute(t, host, cls, name, f"a {cls.__name__}")
    own = getattr(value, "__dict__", {})
    slots = exists and isinstance(found, types.MemberDescriptorType)
    if name in own or slots:
        read = host.read
        try:
            now = getattr(value, name)
        except AttributeError as error:
            t.type_error(str(error))
        return t.captures.found(now, lambda: getattr(read(), name), f"{host.text}.{name}", (host.key, name))
    if name == "__class__":
        return cls
    if not exists and hasattr(cls, "__getattr__"):
        t.unsupported(f"`{name}` is computed by `{cls.__name__}.__getattr__`", "read the attribute before the call")
    return bound_attribute(t, host, cls, name, f"a {cls.__name__}")


def implicit_super(t: Tracer) -> Any:
    """`super()` inside a method."""
    frame = t.frame
    while frame is not None and frame.parent is not None:
        frame = frame.parent
    assert frame is not None
    cell = frame.cells.get("__class__")
    names = [a.arg for a in frame.code.node.args.args]
    if cell is None or not names:
        t.type_error("`super()` is used outside of a method")
    return Super(cell.cell_contents, t.get((frame, names[0])))


def super_attribute(t: Tracer, value: Super, name: str) -> Any:
    cls = value.self.cls if isinstance(value.self, Instance) else type(value.self.value)
    order = cls.__mro__
    rest = order[order.index(value.cls) + 1 :]
    for base in rest:
        if name in vars(base):
            found = vars(base)[name]
            if isinstance(found, property):
                from . import calls

                return calls.call(t, found.fget, [value.self], {})
            return BoundMethod(found, value.self)
    t.type_error(f"`super()` has no attribute `{name}`")
