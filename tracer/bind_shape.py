"""Bindings that rearrange: reshape, transpose, concatenate, stack, flip, roll, repeat, tile, diff and their kin.

In: arrays as abstract values. Out: views where NumPy gives views, else new arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.errors import BoundsError
from ..ir.types import I64
from . import bind_elementwise, integers, numeric, views
from .bind_create import shape_values
from .context import Tracer
from .numeric import as_reference, cast, element, static_int
from .values import ListObject, Number, Reference

__all__ = ["axis_of", "product", "ravel", "register", "reshape", "stack_values", "transpose"]


def axis_of(t: Tracer, axis: Any, rank: int, what: str = "an axis") -> int:
    """An axis as a number from 0."""
    k = static_int(t, axis, what)
    if not -rank <= k < rank:
        t.fail(BoundsError, f"axis {k} is out of bounds for an array of {rank} axes")
    return k % rank


def product(t: Tracer, extents: Sequence[Value]) -> Value:
    out: Value = Const(1, I64)
    for e in extents:
        out = integers.mul(t, out, e)
    return out


def reshape(t: Tracer, a: Any, shape: Any = None, order: Any = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    """np.reshape; one extent may be -1."""
    if order not in ("C", "A"):
        t.unsupported("reshape in an order other than C", "transpose before and after")
    if shape is None:
        shape = newshape
    a = element(t, a, "np.reshape")
    if not isinstance(a, Reference):
        from .bind_create import filled

        return filled(t, a, target_shape(t, shape, [], Const(1, I64)), numeric.scalar_value(t, a).dtype)
    own = views.extents(t, a)
    size = product(t, own)
    wanted = target_shape(t, shape, own, size)
    if not wanted:
        return views.select(t, a, [(Const(0, I64),)] * a.rank)
    if len(wanted) == len(own) and all(integers.same(x, y) for x, y in zip(own, wanted)):
        return views.reshaped(t, a, wanted) if not a.stages else a
    return views.reshaped(t, a, wanted)


def target_shape(t: Tracer, shape: Any, own: Sequence[Value], size: Value) -> list[Value]:
    """The extents that a reshape asks for, checked against the number of elements."""
    if isinstance(shape, ListObject):
        shape = t.items(shape)
    if not isinstance(shape, tuple):
        shape = (shape,)
    unknown = [k for k, s in enumerate(shape) if isinstance(s, int | np.integer) and int(s) == -1]
    if len(unknown) > 1:
        t.fail_value("can only specify one unknown dimension")
    if not unknown:
        wanted = shape_values(t, tuple(shape))
        have = product(t, wanted)
        if not integers.same(have, size) and not same_factors(wanted, own):
            x, y = integers.known(have), integers.known(size)
            if x is not None and y is not None:
                t.shape_error(f"cannot reshape an array of {y} elements into {x}")
            t.emit1("same_extent", [size, have], {"what": "reshape to another number of elements"})
        return wanted
    at = unknown[0]
    rest = shape_values(t, tuple(s for k, s in enumerate(shape) if k != at))
    known = product(t, rest)
    if integers.known(known) == 1:
        found = size
    else:
        x, y = integers.known(known), integers.known(size)
        if x is not None and y is not None:
            if x == 0 or y % x:
                t.shape_error(f"cannot reshape an array of {y} elements into rows of {x}")
            found = Const(y // x, I64)
        else:
            divisor = integers.maximum(t, known, 1)
            found = t.emit1("floordiv", [size, divisor])
            t.nonnegative.add(found)
            again = t.emit1("mul", [found, known])
            t.emit1("same_extent", [size, again], {"what": "reshape to another number of elements"})
    return [*rest[:at], found, *rest[at:]]


def same_factors(a: Sequence[Value], b: Sequence[Value]) -> bool:
    left = [x for x in a if integers.known(x) != 1]
    for y in b:
        if integers.known(y) == 1:
            continue
        for k, x in enumerate(left):
            if integers.same(x, y):
                del left[k]
                break
        else:
            return False
    return not left


def ravel(t: Tracer, a: Any, order: Any = "C") -> Any:
    a = element(t, a, "np.ravel")
    if isinstance(a, Reference) and a.rank == 1:
        return a
    return reshape(t, a, (-1,), order)


def transpose(t: Tracer, a: Any, axes: Any = None) -> Any:
    a = element(t, a, "np.transpose")
    if not isinstance(a, Reference):
        return a
    if isinstance(axes, ListObject):
        axes = t.items(axes)
    order = tuple(range(a.rank))[::-1] if axes is None else tuple(axis_of(t, k, a.rank) for k in axes)
    if sorted(order) != list(range(a.rank)):
        t.fail_value("axes do not match the array")
    return views.permuted(a, order)


def swapaxes(t: Tracer, a: Any, axis1: Any, axis2: Any) -> Any:
    a = as_reference(t, a, "np.swapaxes")
    i, j = axis_of(t, axis1, a.rank), axis_of(t, axis2, a.rank)
    order = list(range(a.rank))
    order[i], order[j] = order[j], order[i]
    return views.permuted(a, order)


def moveaxis(t: Tracer, a: Any, source: Any, destination: Any) -> Any:
    a = as_reference(t, a, "np.moveaxis")
    sources = [axis_of(t, k, a.rank) for k in (source if isinstance(source, tuple) else (source,))]
    targets = [axis_of(t, k, a.rank) for k in (destination if isinstance(destination, tuple) else (destination,))]
    order = [k for k in range(a.rank) if k not in sources]
    for target, s in sorted(zip(targets, sources)):
        order.insert(target, s)
    return views.permuted(a, order)


def expand_dims(t: Tracer, a: Any, axis: Any) -> Any:
    a = element(t, a, "np.expand_dims")
    axes = axis if isinstance(axis, tuple) else (axis,)
    if not isinstance(a, Reference):
        return reshape(t, a, (1,) * len(axes))
    rank = a.rank + len(axes)
    new = {axis_of(t, k, rank) for k in axes}
    return views.select(t, a, ["new" if k in new else None for k in range(rank)])


def squeeze(t: Tracer, a: Any, axis: Any = None) -> Any:
    a = element(t, a, "np.squeeze")
    if not isinstance(a, Reference):
        return a
    known = views.dims(a)
    if axis is None:
        axes = [k for k, d in enumerate(known) if d == 1]
        for k, d in enumerate(known):
            if d is None:  # an extent that happens to be 1 would be dropped by NumPy, and the result have another rank
                other = t.emit1("ne", [views.extent(t, a, k), Const(1, I64)])
                message = "np.squeeze without an axis meets an extent that is 1 only at run time: name the axis"
                t.emit("check", [other], {"error": "ValueError", "message": message})
    else:
        axes = [axis_of(t, k, a.rank) for k in (axis if isinstance(axis, tuple) else (axis,))]
        for k in axes:
            if known[k] != 1:
                one = t.emit1("eq", [views.extent(t, a, k), Const(1, I64)])
                message = "cannot select an axis to squeeze out which has size not equal to one"
                t.emit("check", [one], {"error": "ValueError", "message": message})
    out = views.select(t, a, [(Const(0, I64),) if k in axes else None for k in range(a.rank)])
    return out


def at_least(rank: int) -> Any:
    def binding(t: Tracer, a: Any) -> Any:
        a = element(t, a, f"np.atleast_{rank}d")
        if not isinstance(a, Reference):
            return reshape(t, a, (1,) * rank)
        missing = rank - a.rank
        return views.select(t, a, ["new"] * missing + [None] * a.rank) if missing > 0 else a

    return binding


# ---------------------------------------------------------------- joining


def sequence(t: Tracer, arrays: Any, what: str) -> list[Any]:
    from .expressions import GeneratorValue, generated_list

    if isinstance(arrays, GeneratorValue):
        arrays = generated_list(t, arrays)
    if isinstance(arrays, ListObject):
        return list(t.items(arrays))
    if isinstance(arrays, tuple):
        return list(arrays)
    if isinstance(arrays, Reference) and views.dims(arrays)[0] is not None:
        from .iteration import array_iterable

        rows = array_iterable(t, arrays)
        return [rows.at(k) for k in range(views.dims(arrays)[0] or 0)]
    t.type_error(f"{what} takes a tuple or list of arrays, not {numeric.describe(arrays)}")


def concatenate(t: Tracer, arrays: Any, axis: Any = 0, out: Any = None, dtype: Any = None) -> Any:
    parts = [element(t, x, "np.concatenate") for x in sequence(t, arrays, "np.concatenate")]
    if not parts:
        t.fail_value("need at least one array to concatenate")
    if axis is None:
        parts = [ravel(t, p) for p in parts]
        axis = 0
    refs = [p for p in parts if isinstance(p, Reference)]
    if len(refs) != len(parts):
        t.shape_error("zero-dimensional arrays cannot be concatenated", "use np.array([...]) for numbers")
    rank = refs[0].rank
    if any(r.rank != rank for r in refs):
        t.shape_error("all arrays to concatenate must have the same number of axes")
    at = axis_of(t, axis, rank)
    kind = bind_elementwise.result_dtype(t, *refs) if dtype is None else numeric.to_dtype(t, dtype)
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
    return t.new_array(value, target)


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


def stack(t: Tracer, arrays: Any, axis: Any = 0, out: Any = None) -> Any:
    parts = [element(t, x, "np.stack") for x in sequence(t, arrays, "np.stack")]
    if not parts:
        t.fail_value("need at least one array to stack")
    if not any(isinstance(p, Reference) for p in parts):
        from .bind_create import array

        return array(t, tuple(parts))
    rank = as_reference(t, parts[0]).rank
    at = axis_of(t, axis, rank + 1)
    kind = bind_elementwise.result_dtype(t, *parts)
    values = [cast(t, views.read(t, as_reference(t, p)), kind) for p in parts]
    return stack_values(t, values, [views.extents(t, p) for p in parts], at)


def vstack(t: Tracer, tup: Any) -> Any:
    rows = [at_least(2)(t, x) for x in sequence(t, tup, "np.vstack")]
    return concatenate(t, tuple(rows), 0)


def hstack(t: Tracer, tup: Any) -> Any:
    parts = [at_least(1)(t, x) for x in sequence(t, tup, "np.hstack")]
    return concatenate(t, tuple(parts), 0 if parts[0].rank == 1 else 1)


def column_stack(t: Tracer, tup: Any) -> Any:
    parts = [element(t, x) for x in sequence(t, tup, "np.column_stack")]
    columns = [views.select(t, p, [None, "new"]) if isinstance(p, Reference) and p.rank == 1 else p for p in parts]
    return concatenate(t, tuple(columns), 1)


def append(t: Tracer, arr: Any, values: Any, axis: Any = None) -> Any:
    parts = (element(t, arr), element(t, values))
    if axis is None:
        return concatenate(t, tuple(ravel(t, p) if isinstance(p, Reference) else reshape(t, p, (1,)) for p in parts), 0)
    return concatenate(t, parts, axis)


# ---------------------------------------------------------------- moving elements


def flip(t: Tracer, m: Any, axis: Any = None) -> Any:
    ref = as_reference(t, m, "np.flip")
    axes = (
        range(ref.rank)
        if axis is None
        else [axis_of(t, k, ref.rank) for k in (axis if isinstance(axis, tuple) else (axis,))]
    )
    items: list[Any] = []
    for k in range(ref.rank):
        n = views.extent(t, ref, k)
        items.append((integers.sub(t, n, 1), n, Const(-1, I64)) if k in axes else None)
    return views.select(t, ref, items)


def roll(t: Tracer, a: Any, shift: Any, axis: Any = None) -> Any:
    ref = as_reference(t, a, "np.roll")
    if axis is None and ref.rank > 1:
        flat = roll(t, ravel(t, ref), shift, 0)
        return reshape(t, flat, tuple(Number(e, True) for e in views.extents(t, ref)))
    at = axis_of(t, axis if axis is not None else 0, ref.rank)
    n = views.extent(t, ref, at)
    by = numeric.integer_value(t, shift, "the shift of np.roll")
    by = t.emit1("mod", [by, integers.maximum(t, n, 1)])
    t.nonnegative.add(by)
    cut = integers.sub(t, n, by)
    t.nonnegative.add(cut)
    one = Const(1, I64)

    def part(start: Value, length: Value) -> Value:
        spec = "".join("s" if k == at else ":" for k in range(ref.rank))
        return t.emit1("index", [value, start, length, one], {"spec": spec})

    value = views.read(t, ref)
    joined = t.emit1("concat", [part(cut, by), part(Const(0, I64), cut)], {"axis": at})
    return t.new_array(joined, views.extents(t, ref))


def repeat(t: Tracer, a: Any, repeats: Any, axis: Any = None) -> Any:
    ref = element(t, a, "np.repeat")
    count = numeric.integer_value(t, repeats, "the number of repeats")
    if not isinstance(ref, Reference):
        ref = reshape(t, ref, (1,))
    if axis is None:
        ref, axis = ravel(t, ref), 0
    at = axis_of(t, axis, ref.rank)
    own = views.extents(t, ref)
    (count,) = shape_values(t, Number(count, True))
    wide = [*own[: at + 1], count, *own[at + 1 :]]
    axes = tuple(k for k in range(ref.rank + 1) if k != at + 1)
    value = t.emit1("broadcast", [views.read(t, ref), *wide], {"axes": axes})
    target = [*own[:at], integers.mul(t, own[at], count), *own[at + 1 :]]
    return t.new_array(t.emit1("reshape", [value, *target]), target)


def tile(t: Tracer, A: Any, reps: Any) -> Any:
    ref = at_least(1)(t, A)
    counts = list(reps) if isinstance(reps, tuple) else list(t.items(reps)) if isinstance(reps, ListObject) else [reps]
    while len(counts) < ref.rank:
        counts.insert(0, 1)
    if len(counts) > ref.rank:
        ref = views.select(t, ref, ["new"] * (len(counts) - ref.rank) + [None] * ref.rank)
    own = views.extents(t, ref)
    values = shape_values(t, tuple(counts))
    wide = [x for pair in zip(values, own) for x in pair]
    value = t.emit1("broadcast", [views.read(t, ref), *wide], {"axes": tuple(range(1, 2 * ref.rank, 2))})
    target = [integers.mul(t, c, e) for c, e in zip(values, own)]
    return t.new_array(t.emit1("reshape", [value, *target]), target)


def broadcast_to(t: Tracer, array: Any, shape: Any, subok: Any = False) -> Any:
    a = element(t, array, "np.broadcast_to")
    target = shape_values(t, shape)
    if not isinstance(a, Reference):
        from .bind_create import filled

        out = filled(t, a, target, numeric.scalar_value(t, a).dtype)
    else:
        own = views.extents(t, a)
        if len(own) > len(target):
            t.shape_error("np.broadcast_to needs at least as many axes as the array has")
        for k, e in enumerate(own):
            if integers.known(e) != 1:
                numeric.agree(
                    t, target[k + len(target) - len(own)], e, "the array does not fit the shape of np.broadcast_to"
                )
        source = views.contents(t, a.object)
        out = t.new_array(numeric.broadcast_to(t, views.read(t, a), own, target), target)
        out.object.copied_from = ((a.object, source),)
    if isinstance(out, Reference):
        out.object.readonly = "the result of np.broadcast_to is read-only"
    return out


def diff(t: Tracer, a: Any, n: Any = 1, axis: Any = -1) -> Any:
    ref = as_reference(t, a, "np.diff")
    for _ in range(static_int(t, n, "the order of np.diff")):
        at = axis_of(t, axis, ref.rank)
        full = [slice(None)] * ref.rank
        from . import indexing

        upper, lower = list(full), list(full)
        upper[at], lower[at] = slice(1, None), slice(None, -1)
        high = indexing.load(t, ref, tuple(upper))
        low = indexing.load(t, ref, tuple(lower))
        ref = bind_elementwise.apply(t, np.subtract, high, low)
    return ref


def diagonal(t: Tracer, a: Any, offset: Any = 0) -> Any:
    """The diagonal of a matrix, as a copy."""
    ref = as_reference(t, a, "np.diagonal")
    if ref.rank != 2:
        t.unsupported("the diagonal of an array of other than two axes", "index with two integer arrays")
    shift = static_int(t, offset, "the offset of a diagonal")
    rows, columns = views.extents(t, ref)
    low_row, low_column = max(-shift, 0), max(shift, 0)
    size = integers.clamp_low(
        t, integers.minimum(t, integers.sub(t, rows, low_row), integers.sub(t, columns, low_column))
    )
    k = t.emit1("iota", [size])
    i = t.emit1("add", [k, Const(low_row, I64)]) if low_row else k
    j = t.emit1("add", [k, Const(low_column, I64)]) if low_column else k
    out = t.new_array(t.emit1("gather", [views.read(t, ref), i, j], {"axes": (0, 1)}), [size])
    out.object.copied_from = ((ref.object, views.contents(t, ref.object)),)
    out.object.readonly = "the result of np.diagonal is read-only in NumPy; write `.copy()`"
    return out


def diag(t: Tracer, v: Any, k: Any = 0) -> Any:
    ref = as_reference(t, v, "np.diag")
    if ref.rank == 2:
        return diagonal(t, ref, k)
    if ref.rank != 1 or static_int(t, k, "the diagonal") != 0:
        t.unsupported("np.diag off the main diagonal of a new matrix", "write to the elements of np.zeros((n, n))")
    n = views.extent(t, ref, 0)
    steps = t.emit1("iota", [n])
    zero = t.emit1("fill", [Const(0, ref.dtype), n, n])
    return t.new_array(t.emit1("scatter", [zero, views.read(t, ref), steps, steps], {"axes": (0, 1)}), [n, n])


def take(t: Tracer, a: Any, indices: Any, axis: Any = None, mode: Any = "raise") -> Any:
    from . import indexing

    if mode != "raise":
        t.unsupported("np.take with a mode other than 'raise'", "compute the indices with np.clip or %")
    ref = as_reference(t, a, "np.take")
    if axis is None:
        ref, axis = ravel(t, ref), 0
    at = axis_of(t, axis, ref.rank)
    index: list[Any] = [slice(None)] * ref.rank
    index[at] = indices
    return indexing.load(t, ref, tuple(index))


def np_shape(t: Tracer, a: Any) -> Any:
    return tuple(extent_number(e) for e in numeric.shape_of(t, element(t, a)))


def extent_number(e: Value) -> Any:
    k = integers.known(e)
    return Number(e, True) if k is None else k


def np_size(t: Tracer, a: Any, axis: Any = None) -> Any:
    shape = numeric.shape_of(t, element(t, a))
    if axis is not None:
        return extent_number(shape[axis_of(t, axis, len(shape))])
    return extent_number(product(t, shape))


def np_ndim(t: Tracer, a: Any) -> Any:
    a = element(t, a)
    return a.rank if isinstance(a, Reference) else 0


def copyto(t: Tracer, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    from .indexing import fill_view

    target = as_reference(t, dst, "np.copyto")
    if where is not True:
        src = bind_elementwise.where(t, where, src, target)
    fill_view(t, target, src, same_kind=True)


def add_at(t: Tracer, a: Any, indices: Any, b: Any) -> None:
    from .indexing import Place

    Place(t, as_reference(t, a, "np.add.at"), indices).accumulate(b)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.reshape: reshape,
            np.ravel: ravel,
            np.transpose: transpose,
            np.swapaxes: swapaxes,
            np.moveaxis: moveaxis,
            np.expand_dims: expand_dims,
            np.squeeze: squeeze,
            np.atleast_1d: at_least(1),
            np.atleast_2d: at_least(2),
            np.concatenate: concatenate,
            np.stack: stack,
            np.vstack: vstack,
            np.hstack: hstack,
            np.column_stack: column_stack,
            np.append: append,
            np.flip: flip,
            np.fliplr: lambda t, m: flip(t, m, 1),
            np.flipud: lambda t, m: flip(t, m, 0),
            np.roll: roll,
            np.repeat: repeat,
            np.tile: tile,
            np.broadcast_to: broadcast_to,
            np.diff: diff,
            np.diagonal: diagonal,
            np.diag: diag,
            np.take: take,
            np.shape: np_shape,
            np.size: np_size,
            np.ndim: np_ndim,
            np.copyto: copyto,
            np.add.at: add_at,
        }
    )
