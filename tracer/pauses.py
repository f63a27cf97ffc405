"""`stop_gradient`: values, and everything that a block assigns, held constant in every derivative.

In: abstract values, or a `with stop_gradient():` block. Out: the same values through the operation `stop_gradient`. Of
a block these are the variables it assigns and the contents of the arrays it makes. What would mix constants with what
was there before (writes to arrays of the surroundings, further names for them) is refused.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import numpy as np

from . import shared, views
from .context import Tracer
from .joins import make_tuple
from .numeric import elementwise
from .values import ArrayObject, DictObject, Instance, ListObject, Number, Reference

__all__ = ["PAUSED", "bind_stop_gradient", "paused_block"]


class Paused:
    """The context manager `stop_gradient()`."""


PAUSED = Paused()


def bind_stop_gradient(t: Tracer, *x: Any) -> Any:
    if not x:
        return PAUSED
    if len(x) > 1:
        t.type_error(f"stop_gradient() takes one value, not {len(x)}")
    return constant(t, x[0])


def constant(t: Tracer, x: Any) -> Any:
    """The same value, held constant in every derivative."""
    if isinstance(x, tuple):
        return make_tuple(type(x), [constant(t, v) for v in x])
    if isinstance(x, ListObject | DictObject | Instance):
        made: Any
        if isinstance(x, ListObject):
            made = t.new_list([constant(t, v) for v in t.items(x)])
        elif isinstance(x, DictObject):
            made = t.new_dict([(k, constant(t, v)) for k, v in t.items(x)])
        else:
            made = Instance(x.cls, tuple((k, constant(t, v)) for k, v in t.items(x)), t.region, t.birth())
        made.merged_from = ((x, t.items(x)),)  # plain Python has one object
        return made
    if isinstance(x, Number | Reference) and x.dtype.is_float:
        out = elementwise(t, "stop_gradient", np.positive, [x], "stop_gradient", isinstance(x, Number) and x.weak)
        if isinstance(x, Reference):
            origins = shared.sources(t, shared.memory_of(t, x), t.store)
            if origins:
                shared.link(t, out.object, origins)
        return out
    return x


def paused_block(t: Tracer, node: ast.With, run: Callable[[], None]) -> None:
    """Trace a block and hold constant what it assigned."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Return | ast.Break | ast.Continue):
            with t.at(inner):
                t.unsupported(
                    "leaving a `with stop_gradient():` block early", "assign a value in the block, and leave after it"
                )
    before = dict(t.store)
    marker = shared.now(t)
    run()
    held: set[ArrayObject | ListObject | DictObject | Instance] = set()
    frames = {t.frame, *(key[0] for key in before if isinstance(key, tuple))}  # not those of calls in the block

    def hold(x: Any) -> Any:
        if isinstance(x, Number):
            return constant(t, x)
        if isinstance(x, tuple):
            return make_tuple(type(x), [hold(v) for v in x])
        if isinstance(x, Reference):
            hold_contents(x.object)
            return x
        if isinstance(x, ListObject | DictObject | Instance):
            hold_items(x)
            return x
        return constant(t, x)

    def hold_items(x: ListObject | DictObject | Instance) -> None:
        """In place: there may be further names for it."""
        if x in held:
            return
        held.add(x)
        if x.serial < marker or x.merged_from is not None:
            t.unsupported(
                "a name, given in a `with stop_gradient():` block, for a container made before it",
                "make a new one in the block",
            )
        items = t.items(x)
        t.store[x] = (
            tuple(hold(v) for v in items) if isinstance(x, ListObject) else tuple((k, hold(v)) for k, v in items)
        )

    def hold_contents(obj: ArrayObject) -> None:
        if not obj.dtype.is_float or obj in held:
            return
        held.add(obj)
        if obj.serial < marker or obj.choice is not None:
            t.unsupported(
                "a name, given in a `with stop_gradient():` block, for an array made before it",
                "copy it in the block (`.copy()`)",
            )
        t.store[obj] = t.emit1("stop_gradient", [views.contents(t, obj)])

    for key, now in dict(t.store).items():
        if key in before and before[key] is now:
            continue
        if isinstance(key, ArrayObject) and key.serial < marker:
            t.unsupported(
                "a `with stop_gradient():` block that writes to an array made before it",
                "write to a new array in the block, and copy from it afterwards",
            )
        if isinstance(key, ListObject | DictObject | Instance) and key.serial < marker:
            t.unsupported(
                "a `with stop_gradient():` block that changes a container made before it",
                "assign a new one in the block",
            )
        if isinstance(key, ArrayObject):
            hold_contents(key)
        elif isinstance(key, tuple) and isinstance(key[1], str) and key[0] in frames:
            t.store[key] = hold(now)
