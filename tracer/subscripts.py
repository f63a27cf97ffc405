"""The items of a subscript: what stands between the brackets, axis by axis.

In: an array and an index of abstract values. Out: one item per axis (`spelled_out`), and of basic items the positions
and ranges that views are made of. Every position that a user writes goes through ``bound``, which counts negative ones
from the end and refuses what is outside; slices are clipped as Python clips them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.errors import BoundsError
from ..ir.types import BOOL, I64
from . import integers, numeric, views
from .context import Tracer
from .numeric import integer_value, is_static_number
from .values import ListObject, Number, Reference

__all__ = ["GAP", "Inside", "basic_item", "basic_items", "is_array_item", "is_mask", "is_position", "spelled_out"]


@dataclass(frozen=True, eq=False)
class Inside:
    """An array of positions that are known to lie inside of the axis, counted from its start."""

    array: Reference


class Gap:
    """A `...` that stands for no axis: it takes index arrays apart all the same."""


GAP = Gap()


def is_mask(x: Any) -> bool:
    return isinstance(x, Reference) and x.dtype is BOOL and x.rank > 0


def is_array_item(x: Any) -> bool:
    """Whether an item of `spelled_out` is an array of positions or a mask."""
    return isinstance(x, Inside) or (isinstance(x, Reference) and x.rank > 0)


def is_position(x: Any) -> bool:
    """Whether an item of `spelled_out` is one position."""
    return isinstance(x, Number) or is_static_number(x) or (isinstance(x, Reference) and x.rank == 0)


def item_of(t: Tracer, item: Any) -> Any:
    """Lists (and tuples inside of an index) are arrays; an empty one is of integers."""
    if not isinstance(item, ListObject | tuple):
        return item
    if not (t.items(item) if isinstance(item, ListObject) else item):
        return t.new_array(t.emit1("fill", [Const(0, I64), Const(0, I64)]), [Const(0, I64)])
    return numeric.element(t, item, "an index")


def spelled_out(t: Tracer, ref: Reference, index: Any) -> list[Any]:
    """An item per axis (a mask stands for as many as it has), "new" for new axes and `GAP`; short indices filled up."""
    items = [item_of(t, x) for x in (index if isinstance(index, tuple) else (index,))]
    used = sum(x.rank if is_mask(x) else 1 for x in items if x is not None and x is not Ellipsis)
    if used > ref.rank:
        t.fail(BoundsError, f"too many indices: the array has {ref.rank} axes, {used} are indexed")
    rest: list[Any] = [slice(None)] * (ref.rank - used)
    if sum(x is Ellipsis for x in items) > 1:
        t.type_error("an index can have only one `...`")
    out: list[Any] = []
    for item in items:
        if item is Ellipsis:
            out += rest or [GAP]
        else:
            out.append("new" if item is None else item)
    return out if any(x is Ellipsis for x in items) else out + rest


def bound(t: Tracer, position: Any, extent: Value, axis: int) -> Value:
    """A position inside an axis, negative ones counted from the end; refused at run time where outside."""
    value = integer_value(t, position, "an index")
    k, n = integers.known(value), integers.known(extent)
    if k is not None and n is not None and -n <= k < n:
        return integers.integer(k % n if n else k)
    out = t.emit1("bound", [value, extent], {"what": "index", "axis": axis})
    t.nonnegative.add(out)
    return out


def clipped(t: Tracer, part: Any, extent: Value, low: int, high: Value, default: Value) -> Value:
    """A bound of a slice: counted from the end where negative, then clipped to [low, high]."""
    if part is None:
        return default
    value = integer_value(t, part, "a bound of a slice")
    k, n = integers.known(value), integers.known(extent)
    if k is not None and n is not None:
        top = integers.known(high)
        assert top is not None
        return integers.integer(min(max(k + n if k < 0 else k, low), top))
    if k is not None and k < 0:  # below the top in any case
        return integers.maximum(t, integers.add(t, extent, k), low)
    value = integers.select_negative(t, value, extent)
    if low < 0 or not integers.is_nonnegative(t, value):
        value = integers.maximum(t, value, low)
    return integers.minimum(t, value, high)


def slice_range(t: Tracer, part: slice, extent: Value) -> tuple[Value, ...] | None:
    """(start, length, step) of a slice of an axis; None for the whole axis."""
    if isinstance(part.step, Number | Reference):
        by = integer_value(t, part.step, "the step of a slice")
        if integers.known(by) is None:
            return stepped_range(t, part, extent, by)
        part = slice(part.start, part.stop, integers.known(by))
    step = 1 if part.step is None else numeric.static_int(t, part.step, "the step of a slice")
    if step == 0:
        t.fail_value("slice step cannot be zero")
    if part.start is None and part.stop is None and step == 1:
        return None
    if step > 0:
        start = clipped(t, part.start, extent, 0, extent, Const(0, I64))
        stop = clipped(t, part.stop, extent, 0, extent, extent)
        if is_zero(part.start):
            length = stop
        else:
            length = difference(t, stop, start, part)
        length = integers.ceil_div(t, length, step)
    else:
        last = integers.sub(t, extent, 1)
        start = clipped(t, part.start, extent, -1, last, last)
        stop = clipped(t, part.stop, extent, -1, last, Const(-1, I64))
        length = integers.ceil_div(t, integers.clamp_low(t, integers.sub(t, start, stop)), -step)
    if integers.same(start, 0) and integers.same(length, extent) and step == 1:
        return None
    if not isinstance(length, Const):
        t.nonnegative.add(length)
        if takes_one(part, step):
            t.short.add(length)
    return start, length, Const(step, I64)


def takes_one(part: slice, step: int) -> bool:
    """Whether a slice has at most one element, whatever the extent is: `x[2:3]`, `x[-1:]`, `x[i : i + 1]`."""
    first, last = (p.value if isinstance(p, Number) else p for p in (part.start, part.stop))
    if isinstance(first, Value) or isinstance(last, Value):
        for larger, smaller, name in ((last, first, "add"), (first, last, "sub")):
            op = larger.op if isinstance(larger, Value) else None
            if op is not None and op.name == name and op.operands[0] is smaller:
                return integers.known(op.operands[1]) == 1
        return False
    if step < 0:
        return False
    if last is None:
        return first is not None and bool(first < 0 and -first <= step)
    first = first or 0
    return bool((first < 0) == (last < 0) and last - first <= step)


def stepped_range(t: Tracer, part: slice, extent: Value, step: Value) -> tuple[Value, ...]:
    """The same where the step, and so the direction, is known at run time only."""

    def either(forward: Value, backward: Value) -> Value:
        return t.emit1("select", [ahead, forward, backward])

    def end(bound: Any, default: Value) -> Value:
        if bound is None:
            return default
        value = integers.select_negative(t, integer_value(t, bound, "a bound of a slice"), extent)
        return t.emit1("minimum", [t.emit1("maximum", [value, low]), high])

    zero = Const(0, I64)
    nonzero = t.emit1("ne", [step, zero])
    t.emit("check", [nonzero], {"error": "ValueError", "message": "slice step cannot be zero"})
    ahead = t.emit1("gt", [step, zero])
    last = integers.sub(t, extent, 1)
    low, high = either(zero, Const(-1, I64)), either(extent, last)
    start, stop = end(part.start, either(zero, last)), end(part.stop, either(extent, Const(-1, I64)))
    span = either(integers.sub(t, stop, start), integers.sub(t, start, stop))
    stride = either(step, t.emit1("neg", [step]))
    reach = t.emit1("add", [integers.clamp_low(t, span), t.emit1("sub", [stride, Const(1, I64)])])
    length = t.emit1("floordiv", [reach, stride])
    t.nonnegative.add(length)
    return start, length, step


def is_zero(part: Any) -> bool:
    return part is None or (isinstance(part, int | np.integer) and int(part) == 0)


def difference(t: Tracer, stop: Value, start: Value, part: slice) -> Value:
    """max(stop - start, 0); the maximum is left out where the slice runs to the end of the axis."""
    size = integers.sub(t, stop, start)
    if part.stop is None:
        return size
    return integers.clamp_low(t, size)


def basic_items(t: Tracer, ref: Reference, items: Sequence[Any]) -> list[Any]:
    out: list[Any] = []
    axis = 0
    for item in items:
        if item == "new":
            out.append("new")
            continue
        if item is GAP:
            continue
        out.append(basic_item(t, ref, item, axis))
        axis += 1
    return out


def basic_item(t: Tracer, ref: Reference, item: Any, axis: int) -> tuple[Value, ...] | None:
    """A position or a range along an axis; None for the whole axis."""
    if isinstance(item, slice):
        if item.start is None and item.stop is None and item.step is None:
            return None
        return slice_range(t, item, views.extent(t, ref, axis))
    if isinstance(item, bool | np.bool_) or (isinstance(item, Number) and item.dtype is BOOL):
        t.unsupported("a single bool as an index", "use an integer, or an array of booleans")
    if isinstance(item, float | np.floating) or (isinstance(item, Number) and item.dtype.is_float):
        t.type_error("a float as an index", "convert with `int(...)`")
    return (bound(t, item, views.extent(t, ref, axis), axis),)
