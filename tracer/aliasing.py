"""Which array objects may be one and the same, and which can still be reached.

In: the tracer's store. Out: flags "is one object", conditional updates, the set of objects in sight.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ir.core import Region, Value
from . import views
from .context import Store, Tracer
from .values import ArrayObject, DictObject, Instance, ListObject, Maybe, Number, Reference

__all__ = ["Flag", "aliases", "flag_of", "reachable", "update_if"]

Flag = bool | Value


def flag_of(t: Tracer, a: ArrayObject, b: ArrayObject) -> Flag:
    """Whether two objects are one and the same."""
    if a is b:
        return True
    found = t.store.get(frozenset((a, b)), False)
    return found.value if isinstance(found, Number) else bool(found)


def aliases(t: Tracer, obj: ArrayObject) -> list[tuple[ArrayObject, Flag]]:
    """Other objects that may be `obj`, with the flag that says whether."""
    out: list[tuple[ArrayObject, Flag]] = []
    for key in t.store:
        if type(key) is frozenset and obj in key:
            (other,) = key - {obj}
            flag = flag_of(t, obj, other)
            if flag is not False:
                out.append((other, flag))
    return out


def update_if(t: Tracer, flag: Value, obj: ArrayObject, change: Callable[[Value], Value]) -> None:
    """Change an object's contents where `flag` holds."""
    old = views.contents(t, obj)
    then, other = Region(), Region()
    with t.inside(then):
        t.emit("yield", [change(old)])
    with t.inside(other):
        t.emit("yield", [old])
    t.store[obj] = t.emit("if", [flag], regions=[then, other])[0]


def reachable(t: Tracer, store: Store, skip: set[Any]) -> set[ArrayObject]:
    """Array objects that variables (other than those in `skip`) and the caller can still see."""
    found: set[ArrayObject] = set(t.captures.objects())
    seen: set[int] = set()
    stack: list[Any] = [v for k, v in store.items() if isinstance(k, tuple) and k not in skip]
    while stack:
        value = stack.pop()
        if isinstance(value, Reference):
            found.add(value.object)
            if value.object.choice is not None:
                stack += value.object.choice[1:]
        elif isinstance(value, tuple):
            stack.extend(value)
        elif isinstance(value, Maybe):
            stack.append(value.value)
        elif isinstance(value, ListObject | DictObject | Instance):
            if id(value) not in seen:
                seen.add(id(value))
                stack.extend(store.get(value, value.initial))
        elif hasattr(value, "__dict__") and type(value).__module__.startswith("adjit.tracer"):
            if id(value) not in seen:
                seen.add(id(value))
                stack.extend(v for k, v in vars(value).items() if k not in ("frame", "code"))
    return found
