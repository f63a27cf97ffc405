"""Python's lookup of an attribute, step by step, as something that can be done again at every call.

In: an object or a class, and a name. Out: what is found there before descriptors are applied (`resolved`, `of_class`,
`after`), with `MISSING` for nothing. A trace that relied on what a lookup found guards the lookup, not the place:
an attribute set on the object later, or on any class in between, changes what is found.
"""

from __future__ import annotations

import types
from typing import Any

__all__ = ["MISSING", "after", "has_own_rules", "of_class", "resolved", "same"]


class Missing:
    """Nothing was found."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def of_class(cls: type, name: str) -> Any:
    """What a class or its bases define under a name, as it is written there."""
    for base in cls.__mro__:
        namespace = base.__dict__
        if name in namespace:
            return namespace[name]
    return MISSING


def after(cls: type, start: type, name: str) -> Any:
    """What `super(start, self)` finds for an object of class `cls`."""
    order = cls.__mro__
    for base in order[order.index(start) + 1 :]:
        if name in base.__dict__:
            return base.__dict__[name]
    return MISSING


def own_attributes(owner: Any) -> dict[str, Any]:
    """The attributes of an object itself."""
    try:
        found = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return {}
    return found if isinstance(found, dict) else {}


def resolved(owner: Any, name: str) -> Any:
    """What `owner.name` finds, before it is bound: data descriptors of the class, then the object's own, then the
    class's."""
    found = of_class(type(owner), name)
    if found is not MISSING and is_data_descriptor(found):
        return found
    own = own_attributes(owner)
    return own[name] if name in own else found


def is_data_descriptor(found: Any) -> bool:
    kind = type(found)
    return hasattr(kind, "__get__") and (hasattr(kind, "__set__") or hasattr(kind, "__delete__"))


def has_own_rules(cls: type) -> bool:
    """Whether objects of a class answer for their attributes themselves."""
    return of_class(cls, "__getattribute__") is not object.__dict__["__getattribute__"]


def same(now: Any, expected: Any) -> bool:
    """Whether two objects are one; methods, which Python makes anew each time, by function and object."""
    if now is expected:
        return True
    if type(now) is types.MethodType and type(expected) is types.MethodType:
        return now.__func__ is expected.__func__ and now.__self__ is expected.__self__
    return False
