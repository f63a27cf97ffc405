"""Bindings that join and split: concatenate, stack, block, append, insert, delete, split and their kin.

In: arrays as abstract values. Out: new arrays; of the functions that split, lists of views.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.errors import BoundsError
from ..ir.types import I64
from . import bind_elementwise, indexing, integers, numeric, views
from .bind_shape import at_least, axis_of, broadcast_to, flat, sequence, with_axes
from .context import Tracer
from .numeric import as_reference, cast, element
from .values import ListObject, Number, Reference

__all__ = ["concatenate", "register", "stack", "stack_values"]

CASTINGS = ("same_kind", "unsafe")

# ---------------------------------------------------------------- joining


def concatenate(
    t: Tracer, arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    from .bind_ufuncs import into

    parts = [element(t, x, "np.concatenate") for x in sequence(t, arrays, "np.concatenate")]
    if not parts:
        t.fail_value("need at least one array to concatenate")
    if axis is None:
        parts, axis = [flat(t, p) for p in parts], 0
    refs = [p for p in parts if isinstance(p, Reference)]
    if len(refs) != len(parts):
        t.shape_error("zero-dimensional arrays cannot be concatenated", "use np.array([...]) for numbers")
    rank = refs[0].rank
    if any(r.rank != rank for r in refs):
        t.shape_error("all arrays to concatenate must have the same number of axes")
    at = axis_of(t, axis, rank)
    kind = common_dtype(t, refs, dtype, casting)
    shapes = [views.extents(t, r) for r in refs]
    target = list(shapes[0])
    for shape in shapes[1:]:
        for k in range(rank):
            if k == at:
                target[k] = integers.add(t, target[k], shape[k])
            else:
                numeric.agree(t, target[k], shape[k], "arrays to concatenate differ in shape")
    values = [cast(t, views.read(t, r), kind) for r in refs]
    value = values[0] if len(values) == 1 else t.emit1("concat", values, {"axis": at})
    return into(t, t.new_array(value, target), out, "np.concatenate")


def common_dtype(t: Tracer, parts: Sequence[Any], dtype: Any, casting: Any) -> Any:
    """The dtype of a joined array; conversions that `casting` does not allow are refused."""
    own = bind_elementwise.result_dtype(t, *parts)
    if dtype is None:
        return own
    kind = numeric.to_dtype(t, dtype)
    if not np.can_cast(own.numpy, kind.numpy, casting):
        t.type_error(f"{own.numpy} is not converted to {kind.numpy} under casting={casting!r}")
    return kind


def stack_values(t: Tracer, values: Sequence[Value], shapes: Sequence[Sequence[Value]], axis: int) -> Any:
    """Arrays of one shape along a new axis."""
    shape = list(shapes[0])
    for other in shapes[1:]:
        if len(other) != len(shape):
            t.shape_error("all arrays to stack must have the same shape")
        for a, b in zip(shape, other):
            numeric.agree(t, a, b, "arrays to stack differ in shape")
    target = [*shape[:axis], Const(1, I64), *shape[axis:]]
    axes = tuple(k for k in range(len(target)) if k != axis)
    rows = [t.emit1("broadcast", [v, *target], {"axes": axes}) for v in values]
    value = rows[0] if len(rows) == 1 else t.emit1("concat", rows, {"axis": axis})
    return t.new_array(value, [*shape[:axis], Const(len(values), I64), *shape[axis:]])


def stack(t: Tracer, arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None, casting: Any = "same_kind") -> Any:
    from .bind_create import array
    from .bind_ufuncs import into

    parts = [element(t, x, "np.stack") for x in sequence(t, arrays, "np.stack")]
    if not parts:
        t.fail_value("need at least one array to stack")
    kind = common_dtype(t, parts, dtype, casting)
    if not any(isinstance(p, Reference) for p in parts):
        axis_of(t, axis, 1)
        return into(t, array(t, tuple(parts), kind.numpy), out, "np.stack")
    refs = [as_reference(t, p, "np.stack of arrays and numbers") for p in parts]
    at = axis_of(t, axis, refs[0].rank + 1)
    values = [cast(t, views.read(t, r), kind) for r in refs]
    return into(t, stack_values(t, values, [views.extents(t, r) for r in refs], at), out, "np.stack")


def joining(what: str, prepare: Any, axis_for: Any) -> Any:
    """np.vstack and its kin: arrays with enough axes, joined along one that may depend on how many they have."""

    def binding(t: Tracer, tup: Any, dtype: Any = None, casting: Any = "same_kind") -> Any:
        parts = [prepare(t, x) for x in sequence(t, tup, what)]
        if not parts:
            t.fail_value(f"{what} needs at least one array")
        return concatenate(t, tuple(parts), axis_for(parts[0]), None, dtype, casting)

    return binding


def column(t: Tracer, x: Any) -> Any:
    """What np.column_stack makes of an array: vectors are columns."""
    a = element(t, x, "np.column_stack")
    return views.select(t, a, [None, "new"]) if isinstance(a, Reference) and a.rank == 1 else with_axes(t, a, 2)


def append(t: Tracer, arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate(t, (element(t, arr, "np.append"), element(t, values, "np.append")), axis)


def block(t: Tracer, arrays: Any) -> Any:
    """np.block: nested lists of blocks, the innermost joined along the last axis."""

    def depth(x: Any) -> int:
        return 1 + max((depth(y) for y in t.items(x)), default=0) if isinstance(x, ListObject) else 0

    def ranks(x: Any) -> int:
        if isinstance(x, ListObject):
            return max((ranks(y) for y in t.items(x)), default=0)
        return numeric.rank_of(element(t, x, "np.block"))

    levels = depth(arrays)
    rank = max(levels, ranks(arrays))

    def joined(x: Any, level: int) -> Any:
        if not isinstance(x, ListObject):
            if level != levels:
                t.fail_value("list depths of np.block differ")
            a = element(t, x, "np.block")
            missing = rank - numeric.rank_of(a)
            if not isinstance(a, Reference):
                return at_least(1)(t, a) if rank == 1 else with_front(t, at_least(1)(t, a), rank - 1)
            return with_front(t, a, missing)
        items = [joined(y, level + 1) for y in t.items(x)]
        if not items:
            t.fail_value("a list of np.block cannot be empty")
        return concatenate(t, tuple(items), level - levels)

    out = joined(arrays, 0)
    return t.new_array(views.read(t, out), views.extents(t, out)) if levels == 0 else out


def with_front(t: Tracer, a: Reference, count: int) -> Reference:
    return views.select(t, a, ["new"] * count + [None] * a.rank)


# ---------------------------------------------------------------- inserting and deleting


def numbers_of(t: Tracer, obj: Any, what: str) -> list[Any] | None:
    """The positions of a list or tuple; None where `obj` is one position."""
    if isinstance(obj, ListObject):
        obj = t.items(obj)
    if isinstance(obj, tuple):
        return list(obj)
    if isinstance(obj, slice) or isinstance(obj, Reference):
        t.unsupported(f"{what} at {numeric.describe(obj)}", "give an integer, or a list of integers")
    return None


def place(t: Tracer, position: Any, extent: Value, last: int, what: str) -> Value:
    """A position from 0 to the extent (less 1 where `last` is 1), negative ones counted from the end."""
    value = numeric.integer_value(t, position, f"a position of {what}")
    at = integers.select_negative(t, value, extent)
    top = integers.sub(t, extent, last)
    a, b = integers.known(at), integers.known(top)
    if a is not None and b is not None:
        if not 0 <= a <= b:
            t.fail(BoundsError, f"a position of {what} is out of bounds")
    else:
        low, high = t.emit1("ge", [at, Const(0, I64)]), t.emit1("le", [at, top])
        inside = t.emit1("logical_and", [low, high])
        t.emit("check", [inside], {"error": "IndexError", "message": f"a position of {what} is out of bounds"})
        t.nonnegative.add(at)
    return at


def in_order(t: Tracer, positions: list[Any], what: str) -> list[int]:
    """The order of positions along the axis, which has to be known while tracing."""
    static = [numeric.static_int(t, p, f"one of several positions of {what}") for p in positions]
    if any(p < 0 for p in static) and any(p >= 0 for p in static):
        t.unsupported(f"{what} at positions counted from both ends", "count all of them from the start")
    return sorted(range(len(static)), key=lambda k: static[k])


def cut(t: Tracer, a: Reference, axis: int, start: Any, stop: Any) -> Any:
    index = [slice(None)] * a.rank
    index[axis] = slice(start, stop)
    return indexing.load(t, a, tuple(index))


def along(t: Tracer, arr: Any, axis: Any, what: str) -> tuple[Reference, int]:
    a = element(t, arr, what)
    if axis is None or not isinstance(a, Reference):
        return flat(t, a), 0
    return a, axis_of(t, axis, a.rank)


def insert(t: Tracer, arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """np.insert before a position, or before each of several that are known while tracing."""
    a, at = along(t, arr, axis, "np.insert")
    given = element(t, values, "np.insert")
    new = numeric.as_dtype(t, given, a.dtype, "np.insert")
    block_ = t.new_array(new, views.extents(t, given)) if isinstance(given, Reference) else given
    positions = numbers_of(t, obj, "np.insert")
    own = views.extents(t, a)
    several = positions is not None and len(positions) != 1
    if isinstance(block_, Reference):
        block_ = with_front(t, block_, max(a.rank - block_.rank, 0))
        if positions is None:  # a position takes all rows of the values at once
            from .bind_shape import moveaxis

            block_ = moveaxis(t, block_, 0, at)
        count = views.extent(t, block_, at)
    else:
        count = Const(1, I64)
    if positions is None or not several:
        target = tuple(Number(count if k == at else e, True) for k, e in enumerate(own))
        rows = broadcast_to(t, block_ if isinstance(block_, Reference) else Number(new), target)
        where = Number(place(t, obj if positions is None else positions[0], own[at], 0, "np.insert"), True)
        return concatenate(t, (cut(t, a, at, None, where), rows, cut(t, a, at, where, None)), at, None, a.dtype.numpy)
    count = Const(len(positions or ()), I64)
    target = tuple(Number(count if k == at else e, True) for k, e in enumerate(own))
    rows = broadcast_to(t, block_ if isinstance(block_, Reference) else Number(new), target)
    parts: list[Any] = []
    before: Any = None
    for k in in_order(t, positions, "np.insert"):
        where = Number(place(t, positions[k], own[at], 0, "np.insert"), True)
        parts += [cut(t, a, at, before, where), cut(t, rows, at, k, k + 1)]
        before = where
    return concatenate(t, (*parts, cut(t, a, at, before, None)), at, None, a.dtype.numpy)


def delete(t: Tracer, arr: Any, obj: Any, axis: Any = None) -> Any:
    """np.delete of a position, of a slice, or of positions that are known while tracing."""
    a, at = along(t, arr, axis, "np.delete")
    extent = views.extent(t, a, at)
    if isinstance(obj, slice):
        from .subscripts import slice_range

        if obj.step not in (None, 1):
            t.unsupported("np.delete of a slice with a step", "give the positions as a list")
        found = slice_range(t, obj, extent)
        if found is None:
            return copied(t, cut(t, a, at, 0, 0))
        start, length, _ = found
        stop = Number(integers.add(t, start, length), True)
        return concatenate(t, (cut(t, a, at, None, Number(start, True)), cut(t, a, at, stop, None)), at)
    positions = numbers_of(t, obj, "np.delete")
    found_positions = [obj] if positions is None else positions
    order = in_order(t, found_positions, "np.delete") if len(found_positions) > 1 else range(len(found_positions))
    parts: list[Any] = []
    before: Any = None
    seen: set[Any] = set()
    for k in order:
        if len(found_positions) > 1:
            if int(found_positions[k]) in seen:
                continue
            seen.add(int(found_positions[k]))
        where = place(t, found_positions[k], extent, 1, "np.delete")
        parts.append(cut(t, a, at, before, Number(where, True)))
        before = Number(integers.add(t, where, 1), True)
    return concatenate(t, (*parts, cut(t, a, at, before, None)), at)


def copied(t: Tracer, a: Reference) -> Reference:
    return t.new_array(views.read(t, a), views.extents(t, a))


# ---------------------------------------------------------------- splitting


def splitting(what: str, equal: bool) -> Any:
    """np.split and np.array_split into a number of parts, or before positions."""

    def binding(t: Tracer, ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
        a = as_reference(t, ary, what)
        at = axis_of(t, axis, a.rank)
        positions = numbers_of(t, indices_or_sections, what)
        if positions is not None:
            bounds = [None, *positions, None]
            return t.new_list([cut(t, a, at, x, y) for x, y in itertools.pairwise(bounds)])
        count = numeric.static_int(t, indices_or_sections, f"the number of parts of {what}")
        if count <= 0:
            t.fail_value("number sections must be larger than 0.")
        extent = views.extent(t, a, at)
        size = integers_of(t, "floordiv", extent, count)
        rest = integers_of(t, "mod", extent, count)
        if equal:
            n = integers.known(rest)
            if n is not None and n:
                t.fail_value("array split does not result in an equal division")
            if n is None:
                whole = t.emit1("eq", [rest, Const(0, I64)])
                message = "array split does not result in an equal division"
                t.emit("check", [whole], {"error": "ValueError", "message": message})
        parts = []
        start: Value = Const(0, I64)
        for k in range(count):
            length = size if equal else integers.add(t, size, one_more(t, rest, k))
            item: list[Any] = [None] * a.rank
            item[at] = (start, length, Const(1, I64))
            parts.append(views.select(t, a, item))
            start = integers.add(t, start, length)
        return t.new_list(parts)

    return binding


def integers_of(t: Tracer, name: str, a: Value, b: int) -> Value:
    """`floordiv` or `mod` of an extent by a constant."""
    n = integers.known(a)
    if n is not None:
        return Const(n // b if name == "floordiv" else n % b, I64)
    value = t.emit1(name, [a, Const(b, I64)])
    t.nonnegative.add(value)
    return value


def one_more(t: Tracer, rest: Value, k: int) -> Value:
    """1 for the first `rest` parts, which get one element more."""
    n = integers.known(rest)
    if n is not None:
        return Const(int(k < n), I64)
    return cast(t, t.emit1("gt", [rest, Const(k, I64)]), I64)


def split_along(what: str, axis: int, rank: int) -> Any:
    """np.hsplit and its kin."""
    split = splitting(what, True)

    def binding(t: Tracer, ary: Any, indices_or_sections: Any) -> Any:
        a = as_reference(t, ary, what)
        if a.rank < rank:
            t.fail_value(f"{what} only works on arrays of {rank} or more dimensions")
        return split(t, a, indices_or_sections, min(axis, a.rank - 1))

    return binding


def unstack(t: Tracer, x: Any, axis: Any = 0) -> Any:
    from .iteration import array_iterable

    a = as_reference(t, x, "np.unstack")
    at = axis_of(t, axis, a.rank)
    rows = views.permuted(a, [at, *(k for k in range(a.rank) if k != at)])
    known = views.dims(rows)[0]
    if known is None:
        t.static_needed("np.unstack of an axis whose length is known only at run time", "index the array instead")
    items = array_iterable(t, rows)
    return tuple(items.at(k) for k in range(known))


def register() -> None:
    from .bindings import TABLE

    vstack = joining("np.vstack", lambda t, x: with_axes(t, x, 2), lambda first: 0)
    TABLE.update(
        {
            np.concatenate: concatenate,
            np.stack: stack,
            np.vstack: vstack,
            np.hstack: joining("np.hstack", lambda t, x: with_axes(t, x, 1), lambda a: 0 if a.rank == 1 else 1),
            np.dstack: joining("np.dstack", lambda t, x: with_axes(t, x, 3), lambda first: 2),
            np.column_stack: joining("np.column_stack", column, lambda first: 1),
            np.append: append,
            np.block: block,
            np.insert: insert,
            np.delete: delete,
            np.split: splitting("np.split", True),
            np.array_split: splitting("np.array_split", False),
            np.hsplit: split_along("np.hsplit", 1, 1),
            np.vsplit: split_along("np.vsplit", 0, 2),
            np.dsplit: split_along("np.dsplit", 2, 3),
            np.unstack: unstack,
        }
    )
    if hasattr(np, "row_stack"):
        TABLE[np.row_stack] = vstack
