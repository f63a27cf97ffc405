"""Where paths meet: branches of an `if` traced side by side and merged into one state.

In: a condition and what to trace on either side. Out: an ``if`` operation whose results are exactly what the two
states disagree about, and the merged state in the tracer's store.

Objects: a name that means object A on one path and B on the other means a new object M afterwards, which holds
the contents of whichever it is; and for M and every object X that is still in sight, the store keeps the flag
"M is X" (the condition itself, mostly). A write to one goes to the other under the flag, so all names see what
Python would show them, and where nobody writes, nothing of this is left in the program.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..ir.core import Const, Region, Value
from ..ir.types import BOOL, Type
from .aliasing import reachable
from .context import DEAD, FLAGS, PathEnds, Store, Tracer
from .joins import Join
from .templates import Fixed, merged_nodes, pack, same, same_value
from .values import UNDEFINED, ArrayObject, DictObject, Instance, ListObject, Number

__all__ = ["Branch", "merge_branches", "stage_if"]

Names = frozenset[str]


# ---------------------------------------------------------------- branches


class Branch:
    """One side of an `if`: its region and the state at its end. May be entered several times."""

    def __init__(self, t: Tracer) -> None:
        self.t = t
        self.region = Region()
        self.store: Store = dict(t.store)
        self.result: Any = None

    def run(self, body: Callable[[], Any]) -> None:
        t = self.t
        saved, t.store = t.store, self.store
        try:
            with t.inside(self.region):
                self.result = body()
        except PathEnds:
            t.store[DEAD] = True
        finally:
            self.store, t.store = t.store, saved

    @property
    def dead(self) -> bool:
        return self.store.get(DEAD) is True


RESULT = "<value of the expression>"


def stage_if(
    t: Tracer, condition: Value, then: Callable[[], Any], orelse: Callable[[], Any], live: Names | None = None
) -> Any:
    """Trace both sides, merge them, and return the merged result of the two callables."""
    first, second = Branch(t), Branch(t)
    first.run(then)
    second.run(orelse)
    return merge_branches(t, condition, first, second, live)


def merge_branches(t: Tracer, condition: Value, first: Branch, second: Branch, live: Names | None) -> Any:
    """Emit the `if`, put the merged state into the store, return the merged results of the branches."""
    outer = t.store
    if first.dead and second.dead:
        finish(t, condition, first, second, [], [])
        t.store = dict(outer)
        t.store[DEAD] = True
        return first.result
    sides = (first, second)
    for side in sides:
        side.store[RESULT] = side.result
    join = Join(t, per_path=False)
    join.condition = condition
    join.widener.old_store, join.widener.new_store = first.store, second.store
    settled: dict[Any, Any] = {}
    values: tuple[dict[Any, Any], dict[Any, Any]] = ({}, {})
    for key in ordered_keys(outer, first.store, second.store):
        a, b = side_value(t, first, key), side_value(t, second, key)
        old = outer.get(key, MISSING)
        if a is b and a is old:
            continue
        if key == RESULT:
            pass
        elif not t.alive(key):
            continue
        elif (
            live is not None
            and isinstance(key, tuple)
            and key[0] is t.frame
            and key[1] not in live
            and key[1][0] != "<"
        ):
            settled[key] = UNDEFINED
            continue
        if a is IRRELEVANT or b is IRRELEVANT:
            if a is b:
                settled[key] = UNDEFINED
                continue
            if not isinstance(key, tuple):
                a, b = (outer_value(outer, key) if x is IRRELEVANT else x for x in (a, b))
            if a is IRRELEVANT or b is IRRELEVANT:
                kept = b if a is IRRELEVANT else a
                if kept is old or kept is UNDEFINED:
                    settled[key] = kept
                else:
                    a, b = (pack(t, side.store, x) for side, x in zip(sides, (a, b)))
                    join.widener.new_store = second.store if a is IRRELEVANT else first.store
                    join.templates[key] = join.widener.lift(b if a is IRRELEVANT else a, key)
                    join.widener.new_store = second.store
                    values[0][key], values[1][key] = (UNDEFINED if x is IRRELEVANT else x for x in (a, b))
                continue
        if same(a, b):
            settled[key] = a
            continue
        a, b = pack(t, first.store, a), pack(t, second.store, b)
        join.templates[key] = Fixed(a)
        join.cover(key, b)
        values[0][key], values[1][key] = a, b
    kept_objects: set[ArrayObject] | None = None

    def visible(obj: ArrayObject) -> bool:
        nonlocal kept_objects
        if not t.visible(obj.region):
            return False
        if kept_objects is None:
            skip = {k for k, v in join.templates.items() if any(True for _ in merged_nodes(v))}
            state = {**outer, **settled}
            for key in join.templates:
                state[key] = (values[0].get(key), values[1].get(key))
            kept_objects = reachable(t, state, skip)
        return obj in kept_objects

    if any(True for _ in join.nodes()):
        for side, have in zip(sides, values):
            saved, t.store = t.store, side.store
            try:
                join.cover_links(have, visible)
            finally:
                t.store = saved
    carried: list[list[Value]] = []
    for side, have in zip(sides, values):
        saved, t.store = t.store, side.store
        try:
            with t.inside(side.region):
                carried.append(join.flatten(have))
        finally:
            t.store = saved
    results = finish(t, condition, first, second, carried[0], carried[1], join.types(), join.names())
    t.store = dict(outer)
    for key, value in settled.items():
        if value is UNDEFINED:
            t.store.pop(key, None)
        else:
            t.store[key] = value
    t.store.update(join.rebuild(results))
    out = t.store.pop(RESULT, None)
    for key in list(t.store):
        if isinstance(key, tuple) and t.store[key] is UNDEFINED:
            del t.store[key]
        elif isinstance(key, tuple) and key[1] in FLAGS:
            flag = t.store[key]
            if isinstance(flag, Number) and isinstance(flag.value, Const):
                t.store[key] = bool(flag.value.value)
    return out


def outer_value(outer: Store, key: Any) -> Any:
    if key in outer:
        return outer[key]
    if isinstance(key, ArrayObject | ListObject | DictObject | Instance):
        return key.initial
    return False if isinstance(key, frozenset) else UNDEFINED


MISSING = object()
IRRELEVANT = object()


def ordered_keys(*stores: Store) -> list[Any]:
    seen: dict[Any, None] = {}
    for store in stores:
        for key in store:
            seen.setdefault(key, None)
    seen.pop(DEAD, None)
    return list(seen)


def side_value(t: Tracer, side: Branch, key: Any) -> Any:
    """What a key holds at the end of a branch; IRRELEVANT where nobody will ask on this path."""
    if side.dead:
        return IRRELEVANT
    store = side.store
    if isinstance(key, tuple):
        if key[1] not in FLAGS and key[1] != "<result>" and store.get((key[0], "<returned>")) is True:
            return IRRELEVANT
        if key in store:
            return store[key]
        return False if key[1] in FLAGS else UNDEFINED
    if key in store:
        return store[key]
    if isinstance(key, ArrayObject | ListObject | DictObject | Instance):
        return key.initial
    return False if isinstance(key, frozenset) else None


def finish(
    t: Tracer,
    condition: Value,
    first: Branch,
    second: Branch,
    a: Sequence[Value],
    b: Sequence[Value],
    types: Sequence[Type] = (),
    names: Sequence[str | None] = (),
) -> list[Value]:
    """The `if` operation; values that are the same on both sides, or the condition itself, bypass it."""
    out: list[Value | None] = []
    for x, y in zip(a, b):
        if same_value(x, y):
            out.append(x)
        elif isinstance(x, Const) and isinstance(y, Const) and x.dtype is BOOL:
            out.append(condition if x.value else negated(t, condition))
        else:
            out.append(None)
    kept = [k for k, v in enumerate(out) if v is None]
    if not kept and not first.region.ops and not second.region.ops:
        return [v for v in out if v is not None]
    for side, values in ((first, a), (second, b)):
        with t.inside(side.region):
            t.emit("yield", [values[k] for k in kept])
    results = t.emit("if", [condition], regions=[first.region, second.region], names=[names[k] for k in kept])
    for k, result in zip(kept, results):
        out[k] = result
        if all((isinstance(v[k], Const) and v[k].value >= 0) or v[k] in t.nonnegative for v in (a, b)):  # type: ignore[attr-defined]
            t.nonnegative.add(result)
    return [v for v in out if v is not None]


def negated(t: Tracer, condition: Value) -> Value:
    return t.emit1("logical_not", [condition])
