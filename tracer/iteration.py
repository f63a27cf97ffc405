"""What a `for` loop goes over: ranges, arrays, tuples and lists, `enumerate`, `zip`, `reversed`.

In: abstract values. Out: an `Iterable`, which knows its length (static or an IR value) and gives its items by a
static or a run-time position; `for_loop` stages or unrolls it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ..ir.core import Const, Value
from ..ir.types import I64
from . import integers, views
from .checkpoints import Checkpointed
from .context import Tracer
from .numeric import describe, integer_value
from .staging import Count
from .values import DictObject, Host, Instance, ListObject, Number, Reference

__all__ = ["Enumerate", "Iterable", "Range", "Reversed", "Zip", "iterable_of"]


@dataclass(eq=False)
class Range:
    """A range of Python integers; parts are ints or i64 numbers."""

    start: Any
    stop: Any
    step: Any


@dataclass(eq=False)
class Enumerate:
    inner: Any
    start: Any


@dataclass(eq=False)
class Zip:
    inner: tuple[Any, ...]


@dataclass(eq=False)
class Reversed:
    inner: Any


@dataclass(eq=False)
class Iterable:
    """`static_only`: has to be unrolled; `at`: item by position (int or IR value); `live`: a list's length now;
    `checkpoint`: see `Count`."""

    static_length: int | None
    static_only: bool
    length: Callable[[], Value]
    at: Callable[[Any], Any]
    simple: Count | None = None
    live: Callable[[], int] | None = None
    guard: Callable[[Tracer, int], Any] | None = None
    checkpoint: Checkpointed | None = None

    def item(self, t: Tracer, k: int) -> Any:
        return self.at(k)

    def current_length(self, t: Tracer, length: int) -> int:
        return self.live() if self.live is not None else length

    def count(self, t: Tracer) -> Count:
        if self.simple is not None:
            return replace(self.simple, checkpoint=self.checkpoint)
        return Count(Const(0, I64), self.length(), False, self.at, self.checkpoint)


def static_iterable(items: tuple[Any, ...]) -> Iterable:
    return Iterable(len(items), True, lambda: Const(len(items), I64), lambda k: items[k])


def iterable_of(t: Tracer, value: Any) -> Iterable:
    """How to go over a value; refused where it cannot be gone over."""
    from .bind_itertools import Product, Tuples, product_iterable, tuples_iterable
    from .bind_ndindex import Grid, grid_iterable

    if isinstance(value, Range):
        return range_iterable(t, value)
    if isinstance(value, Reference):
        return array_iterable(t, value)
    if isinstance(value, ListObject):
        return Iterable(
            len(t.items(value)),
            True,
            lambda: Const(len(t.items(value)), I64),
            lambda k: t.items(value)[k],
            live=lambda: len(t.items(value)),
        )
    if isinstance(value, DictObject):
        return static_iterable(tuple(k for k, _ in t.items(value)))
    if isinstance(value, tuple | str | range | list | set | frozenset | dict):
        return static_iterable(tuple(value))
    if isinstance(value, Checkpointed):
        return replace(iterable_of(t, value.inner), checkpoint=value)
    if isinstance(value, Enumerate):
        inner = iterable_of(t, value.inner)
        return derived(inner, lambda k: (offset(t, value.start, k), inner.at(k)))
    if isinstance(value, Reversed):
        inner = iterable_of(t, value.inner)
        return reversed_iterable(t, inner)
    if isinstance(value, Zip):
        return zip_iterable(t, [iterable_of(t, v) for v in value.inner])
    if isinstance(value, Grid):
        return grid_iterable(t, value)
    if isinstance(value, Product):
        return product_iterable(t, value)
    if isinstance(value, Tuples):
        return tuples_iterable(t, value)
    cls = value.cls if isinstance(value, Instance) else type(value.value) if isinstance(value, Host) else None
    if cls is not None and (hasattr(cls, "__iter__") or hasattr(cls, "__getitem__")):
        t.unsupported(
            f"{describe(value)} is iterated over: its `__iter__` or `__getitem__` is not traced",
            "go over a tuple, a list or an array that it holds",
        )
    t.type_error(f"{describe(value)} cannot be iterated over")


def derived(inner: Iterable, at: Callable[[Any], Any]) -> Iterable:
    return replace(inner, at=at, simple=None)


def offset(t: Tracer, start: Any, k: Any) -> Any:
    if isinstance(start, int) and isinstance(k, int):
        return start + k
    return Number(integers.add(t, integer_value(t, start, "start"), k if isinstance(k, Value) else Const(k, I64)), True)


def position(t: Tracer, k: Any) -> Value:
    return k if isinstance(k, Value) else Const(k, I64)


def array_iterable(t: Tracer, ref: Reference) -> Iterable:
    if ref.rank == 0:
        t.type_error("a 0-d array cannot be iterated over")
    known = views.dims(ref)[0]

    def at(k: Any) -> Any:
        row = views.select(t, ref, [(position(t, k),), *[None] * (ref.rank - 1)])
        return row if row.rank else Number(views.read(t, row))

    return Iterable(known, False, lambda: views.extent(t, ref, 0), at)


def range_iterable(t: Tracer, r: Range) -> Iterable:
    parts = (r.start, r.stop, r.step)
    if all(isinstance(p, int) for p in parts):
        numbers = range(*parts)
        static: int | None = len(numbers)
    else:
        static = None

    def at(k: Any) -> Any:
        if isinstance(k, int) and all(isinstance(p, int) for p in parts):
            return range(*parts)[k]
        shift = integers.mul(t, position(t, k), integer_value(t, r.step, "the step of range()"))
        value = integers.add(t, integer_value(t, r.start, "the start of range()"), shift)
        return Number(value, True)

    start, stop = (integer_value(t, p, "an argument of range()") for p in parts[:2])
    simple: Count | None = None
    if r.step == 1 and isinstance(r.step, int):
        simple = Count(start, stop, False, lambda i: Number(i, True))
    elif r.step == -1 and isinstance(r.step, int):
        simple = Count(integers.add(t, stop, 1), integers.add(t, start, 1), True, lambda i: Number(i, True))

    def length() -> Value:
        if static is not None:
            return Const(static, I64)
        return range_length(t, start, stop, r.step)

    return Iterable(static, False, length, at, simple)


def range_length(t: Tracer, start: Value, stop: Value, step: Any) -> Value:
    """The number of items of a range, as Python counts them."""
    if isinstance(step, int):
        if step > 0:
            return integers.clamp_low(t, integers.ceil_div(t, integers.sub(t, stop, start), step))
        return integers.clamp_low(t, integers.ceil_div(t, integers.sub(t, start, stop), -step))
    value = integer_value(t, step, "the step of range()")
    zero = Const(0, I64)
    nonzero = t.emit1("ne", [value, zero])
    t.emit("check", [nonzero], {"error": "ValueError", "message": "range() arg 3 must not be zero"})
    up = t.emit1("gt", [value, zero])
    distance = t.emit1("select", [up, integers.sub(t, stop, start), integers.sub(t, start, stop)])
    size = t.emit1("select", [up, value, t.emit1("neg", [value])])
    size = t.emit1("maximum", [size, Const(1, I64)])  # a step of zero has been refused; no division by it
    count = t.emit1("floordiv", [integers.sub(t, integers.add(t, distance, size), 1), size])
    return integers.clamp_low(t, count)


def reversed_iterable(t: Tracer, inner: Iterable) -> Iterable:
    def at(k: Any) -> Any:
        if isinstance(k, int) and inner.static_length is not None:
            return inner.at(inner.static_length - 1 - k)
        last = integers.sub(t, inner.length(), 1)
        at = integers.sub(t, last, position(t, k))
        t.nonnegative.add(at)
        return inner.at(at)

    simple = None
    if inner.simple is not None:
        s = inner.simple
        simple = Count(s.lo, s.hi, not s.reverse, s.item)
    return Iterable(inner.static_length, inner.static_only, inner.length, at, simple, checkpoint=inner.checkpoint)


def zip_iterable(t: Tracer, inner: list[Iterable]) -> Iterable:
    if not inner:
        return static_iterable(())
    statics = [i.static_length for i in inner if i.static_length is not None]
    static = min(statics) if statics else None
    dynamic = [i for i in inner if i.static_length is None]
    must = any(i.static_only for i in inner)

    def length() -> Value:
        out = inner[0].length()
        for i in inner[1:]:
            out = integers.minimum(t, out, i.length())
        return out

    guard = None
    if must and dynamic:

        def guard(t: Tracer, k: int) -> Any:
            shortest = dynamic[0].length()
            for i in dynamic[1:]:
                shortest = integers.minimum(t, shortest, i.length())
            return t.emit1("lt", [Const(k, I64), shortest])

    known = static if not dynamic or must else None
    checkpoint = next((i.checkpoint for i in inner if i.checkpoint is not None), None)
    return Iterable(known, must, length, lambda k: tuple(i.at(k) for i in inner), guard=guard, checkpoint=checkpoint)
