"""Attributes, looked up while tracing: of modules, classes and functions, of the caller's objects, of `super()`.

In: a value and the name of an attribute. Out: what Python finds there, noted as a capture or guarded by the lookup
itself (`lookups`), which is made again at every call: an attribute of the object hides that of its class from then on.
"""

from __future__ import annotations

import enum
import functools
import inspect
import types
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from . import bind_methods
from .captures import has, is_fixed, is_static_object
from .context import Tracer
from .lookups import MISSING, after, has_own_rules, is_data_descriptor, of_class, own_attributes, resolved
from .values import BoundMethod, Host, Instance

__all__ = [
    "Super",
    "class_attribute",
    "guard_absence",
    "guard_class",
    "host_attribute",
    "implicit_super",
    "instance_attribute",
    "static_attribute",
    "super_attribute",
]


@dataclass(eq=False)
class Super:
    """What `super()` gives inside a method."""

    cls: type
    self: Any


def static_attribute(t: Tracer, value: Any, name: str) -> Any:
    """`value.name` of a module, class, function, string, dtype."""
    if isinstance(value, int | float) and not isinstance(value, np.generic | enum.Enum):
        return bind_methods.static_number_attribute(t, value, name)
    found = read_now(t, value, name)
    read = partial(getattr, value, name)
    if isinstance(value, types.ModuleType):
        root = value.__name__
        if not is_fixed(root):
            key = ("attribute", id(value), name)
            return t.captures.found(found, read, f"{root.rsplit('.', 1)[-1]}.{name}", key)
        if isinstance(found, np.ndarray):
            return t.captures.found(found, read, f"{root}.{name}", ("attribute", id(value), name))
        return found
    if isinstance(value, type):
        if is_fixed(value.__module__):
            return found
        return t.captures.found(found, read, f"{value.__name__}.{name}", ("class", id(value), name))
    users = not is_fixed(type(value).__module__) or (
        isinstance(value, types.FunctionType) and not is_fixed(value.__module__ or "")
    )
    if not users:
        return found
    text = getattr(value, "__name__", type(value).__name__)
    return t.captures.found(found, read, f"{text}.{name}", ("attribute", id(value), name))


def read_now(t: Tracer, value: Any, name: str) -> Any:
    """`getattr(value, name)`; what it raises is an error of the traced program."""
    try:
        return getattr(value, name)
    except AttributeError as error:
        t.type_error(str(error))
    except Exception as error:
        t.type_error(f"the attribute `{name}` of a {type(value).__name__} raises {type(error).__name__}: {error}")


def class_attribute(cls: type, name: str) -> tuple[bool, Any, type | None]:
    """An attribute of a class as it is written there (not bound), and the class that has it."""
    for base in cls.__mro__:
        if name in vars(base):
            return True, vars(base)[name], base
    return False, None, None


def guard_class(t: Tracer, cls: type, name: str) -> Any:
    """What a class says under a name (or `MISSING`), guarded as a lookup through its bases."""
    found = of_class(cls, name)
    if is_fixed(cls.__module__):
        return found
    key = ("class", id(cls), name)
    if ("guarded", key) in t.captures.known:
        return found
    t.captures.known["guarded", key] = found
    t.captures.seen(cls)
    if found is MISSING:
        read = partial(of_class, cls, name)
        t.captures.guard(lambda: read() is MISSING, True, f"{cls.__name__} has no {name}", key=key, aspect="undefined")
    else:
        t.captures.guard(
            partial(of_class, cls, name), found, f"{cls.__name__}.{name}", identity=True, key=key, aspect="definition"
        )
        locate(t, found, key)
    return found


def guard_absence(t: Tracer, owner: Any, name: str) -> None:
    """That `owner` (anything abstract) has no attribute of this name."""
    if isinstance(owner, Instance):
        guard_class(t, owner.cls, name)
        return
    if isinstance(owner, Host):
        read: Callable[[], Any] = owner.read
        key: tuple[Any, ...] = (owner.key, name)
        text = owner.text
    elif isinstance(owner, types.ModuleType | type | types.FunctionType) and not is_fixed(
        owner.__name__ if isinstance(owner, types.ModuleType) else owner.__module__ or ""
    ):
        read, key, text = (lambda: owner), ("attribute", id(owner), name), owner.__name__
    else:
        return
    t.captures.guard(lambda: hasattr(read(), name), False, f"{text} has no {name}", key=key, aspect="attribute")


def locate(t: Tracer, found: Any, key: Any) -> None:
    """Remember where a function of a class was found."""
    function = found.__func__ if isinstance(found, staticmethod | classmethod) else found
    if isinstance(function, types.FunctionType):
        t.captures.located.setdefault(id(function), (function, key))


def is_method(found: Any) -> bool:
    if inspect.isfunction(found) or has(found, "py_func"):
        return True
    binding = resolved(found, "__adjit_binding__")
    return isinstance(binding, str) and binding == "custom_rule"


def instance_attribute(t: Tracer, value: Instance, name: str) -> Any:
    """`value.name` of an object of abstract values: its own attributes are known, the class's are looked up."""
    from . import calls
    from .expressions import usable

    cls = value.cls
    found = of_class(cls, name)
    if not isinstance(found, property):
        for key, item in t.items(value):
            if key == name:
                return usable(t, item, name)
    if name == "__class__":
        return cls
    found = guard_class(t, cls, name)
    if found is MISSING:
        t.type_error(f"a {cls.__name__} has no attribute `{name}`")
    if isinstance(found, property):
        return get_property(t, value, found, name)
    if isinstance(found, functools.cached_property):
        return calls.call(t, found.func, [value], {})
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, classmethod):
        return BoundMethod(found.__func__, cls)
    if is_method(found):
        return BoundMethod(found, value)
    if hasattr(type(found), "__get__") and not is_static_object(found):
        t.unsupported(f"`{name}` of a {cls.__name__}, which is a {type(found).__name__}")
    if isinstance(found, types.WrapperDescriptorType | types.MethodDescriptorType | types.GetSetDescriptorType):
        t.unsupported(f"`{name}` of a {cls.__name__}")
    return t.captures.found(found, partial(getattr, cls, name), f"{cls.__name__}.{name}", ("class", id(cls), name))


def get_property(t: Tracer, owner: Any, found: property, name: str) -> Any:
    from . import calls

    if found.fget is None:
        t.type_error(f"the property `{name}` cannot be read")
    return calls.call(t, found.fget, [owner], {})


def host_attribute(t: Tracer, host: Host, name: str) -> Any:
    """An attribute of the caller's object, looked up again when the compiled function is called."""
    value, owner = host.value, host.read
    cls = type(value)
    text, key = f"{host.text}.{name}", (host.key, name)
    if name == "__class__":
        return cls
    found = MISSING if has_own_rules(cls) else resolved(value, name)
    own = own_attributes(value)
    descriptor = of_class(cls, name)
    inside = name in own and not (descriptor is not MISSING and is_data_descriptor(descriptor))
    kinds = (property, staticmethod, classmethod)
    if not inside and (isinstance(found, kinds) or is_method(found)):
        if not is_fixed(cls.__module__):
            t.captures.guard(lambda: resolved(owner(), name), found, text, identity=True, key=key, aspect="lookup")
            locate(t, found, key)
        if isinstance(found, property):
            return get_property(t, host, found, name)
        if isinstance(found, staticmethod):
            return found.__func__
        if isinstance(found, classmethod):
            return BoundMethod(found.__func__, cls)
        return BoundMethod(found, host)
    builtin = types.WrapperDescriptorType | types.MethodDescriptorType | types.GetSetDescriptorType
    if not inside and isinstance(found, builtin):
        t.unsupported(f"`{name}` of a {cls.__name__}")
    now = read_now(t, value, name)
    return t.captures.found(now, lambda: getattr(owner(), name), text, key)


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
    own = value.self
    if isinstance(own, type):  # in a classmethod
        cls = own
    elif isinstance(own, Instance):
        cls = own.cls
    else:
        cls = type(own.value) if isinstance(own, Host) else type(own)
    found = after(cls, value.cls, name)
    if found is MISSING:
        t.type_error(f"`super()` has no attribute `{name}`")
    key = ("super", id(cls), id(value.cls), name)
    for each in (cls, value.cls):
        t.captures.seen(each)
    read = partial(after, cls, value.cls, name)
    t.captures.guard(read, found, f"super().{name}", identity=True, key=key, aspect="super")
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, classmethod):
        return BoundMethod(found.__func__, cls)
    if isinstance(own, type):
        return found
    if isinstance(found, property):
        return get_property(t, own, found, name)
    if is_method(found) or inspect.isroutine(found):
        return BoundMethod(found, own)
    return t.captures.found(found, read, f"super().{name}", key)
