"""Bindings that move or repeat elements: flip, rot90, roll, repeat, tile, resize, pad, diag, tril and triu, vander.

In: arrays as abstract values. Out: views where NumPy gives views (flip, rot90), else new arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import F64, I64
from . import bind_elementwise, integers, numeric, views
from .bind_create import compare_positions, dtype_argument, shape_values
from .bind_reduce import MAX, MEAN, MIN, SUM, not_empty
from .bind_sequences import run_template
from .bind_shape import at_least, axes_given, axis_of, diagonal, flat, product
from .context import Tracer
from .numeric import as_reference, cast, element, static_int
from .values import DictObject, ListObject, Number, Reference

__all__ = ["register", "repeat"]

ZERO, ONE = Const(0, I64), Const(1, I64)

# ---------------------------------------------------------------- turning


def flip(t: Tracer, m: Any, axis: Any = None) -> Any:
    ref = as_reference(t, m, "np.flip")
    axes = range(ref.rank) if axis is None else axes_given(t, axis, ref.rank)
    items: list[Any] = []
    for k in range(ref.rank):
        n = views.extent(t, ref, k)
        items.append((integers.sub(t, n, 1), n, Const(-1, I64)) if k in axes else None)
    return views.select(t, ref, items)


def rot90(t: Tracer, m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    ref = as_reference(t, m, "np.rot90")
    plane = axes_given(t, axes, ref.rank)
    if len(plane) != 2:
        t.fail_value("len(axes) must be 2.")
    first, second = plane
    turns = static_int(t, k, "the number of turns of np.rot90") % 4
    if turns in (0, 2):
        return flip(t, ref, (first, second)) if turns else ref
    order = list(range(ref.rank))
    order[first], order[second] = second, first
    if turns == 1:
        return views.permuted(flip(t, ref, second), order)
    return flip(t, views.permuted(ref, order), second)


def roll(t: Tracer, a: Any, shift: Any, axis: Any = None) -> Any:
    ref = element(t, a, "np.roll")
    if not isinstance(ref, Reference):
        return ref
    if axis is None:
        rolled = rolled_along(t, flat(t, ref), shift_sum(t, shift), 0)
        return rolled if ref.rank == 1 else views.reshaped(t, rolled, views.extents(t, ref))
    shifts, axes = items_of(t, shift), items_of(t, axis)
    count = max(len(shifts), len(axes))
    if {len(shifts), len(axes)} - {1, count}:
        t.fail_value("'shift' and 'axis' should be scalars or 1D sequences of one length")
    for by, at in zip(shifts * (count // len(shifts)), axes * (count // len(axes))):
        ref = rolled_along(t, ref, by, axis_of(t, at, ref.rank))
    return ref


def items_of(t: Tracer, x: Any) -> list[Any]:
    if isinstance(x, ListObject):
        x = t.items(x)
    return list(x) if isinstance(x, tuple) else [x]


def shift_sum(t: Tracer, shift: Any) -> Any:
    items = items_of(t, shift)
    if len(items) == 1:
        return items[0]
    return sum(static_int(t, s, "a shift of np.roll") for s in items)


def rolled_along(t: Tracer, ref: Reference, shift: Any, at: int) -> Reference:
    """The last elements of an axis put before the others."""
    n = views.extent(t, ref, at)
    by = t.emit1("mod", [numeric.integer_value(t, shift, "the shift of np.roll"), integers.maximum(t, n, 1)])
    t.nonnegative.add(by)
    cut = integers.sub(t, n, by)
    t.nonnegative.add(cut)
    value = views.read(t, ref)
    parts = [part(t, value, at, start, length) for start, length in ((cut, by), (ZERO, cut))]
    return t.new_array(t.emit1("concat", parts, {"axis": at}), views.extents(t, ref))


def centring(sign: int) -> Callable[..., Any]:
    """np.fft.fftshift and its inverse: axes rolled by half their length."""

    def binding(t: Tracer, x: Any, axes: Any = None) -> Any:
        ref = as_reference(t, x, "np.fft.fftshift")
        for at in range(ref.rank) if axes is None else axes_given(t, axes, ref.rank):
            half = t.emit1("floordiv", [views.extent(t, ref, at), Const(2, I64)])
            ref = rolled_along(t, ref, Number(integers.mul(t, half, sign), True), at)
        return ref

    return binding


def sliding_window_view(
    t: Tracer, x: Any, window_shape: Any, axis: Any = None, *, subok: Any = False, writeable: Any = False
) -> Any:
    """np.lib.stride_tricks.sliding_window_view: every run of so many neighbours, along new last axes."""
    if writeable:
        t.unsupported("sliding_window_view with `writeable=True`", "write to the array itself")
    source = as_reference(t, x, "sliding_window_view")
    counts = shape_values(t, window_shape, "sliding_window_view")
    axes = list(range(source.rank)) if axis is None else [axis_of(t, k, source.rank) for k in items_of(t, axis)]
    if len(counts) != len(axes):
        t.fail_value("sliding_window_view needs one length of the window for each axis")
    ref = source
    for at, count in zip(axes, counts):
        n = views.extent(t, ref, at)
        fits = t.emit1("le", [count, n])
        t.emit(
            "check", [fits], {"error": "ValueError", "message": "window shape cannot be larger than input array shape"}
        )
        size = integers.add(t, integers.sub(t, n, count), 1)
        t.nonnegative.add(size)
        first = t.emit1("broadcast", [t.emit1("iota", [size]), size, count], {"axes": (0,)})
        second = t.emit1("broadcast", [t.emit1("iota", [count]), size, count], {"axes": (1,)})
        shape = views.extents(t, ref)
        value = t.emit1("gather", [views.read(t, ref), t.emit1("add", [first, second])], {"axes": (at,)})
        made = t.new_array(value, [*shape[:at], size, count, *shape[at + 1 :]])
        ref = views.permuted(made, [k for k in range(made.rank) if k != at + 1] + [at + 1])
    out = t.new_array(views.read(t, ref), views.extents(t, ref), None)
    out.object.copied_from = ((source.object, views.contents(t, source.object)),)
    out.object.readonly = "the result of sliding_window_view is read-only"
    return out


def part(t: Tracer, value: Value, axis: int, start: Value, length: Value) -> Value:
    spec = "".join("s" if k == axis else ":" for k in range(value.rank))
    return t.emit1("index", [value, start, length, ONE], {"spec": spec})


# ---------------------------------------------------------------- repeating

POSITIONS = """
def positions(counts, out):
    last = 0
    for k in range(counts.shape[0]):
        for m in range(counts[k]):
            out[last] = k
            last = last + 1
"""


def repeat(t: Tracer, a: Any, repeats: Any, axis: Any = None) -> Any:
    ref = element(t, a, "np.repeat")
    if axis is None or not isinstance(ref, Reference):
        ref, axis = flat(t, ref), 0
    at = axis_of(t, axis, ref.rank)
    own = views.extents(t, ref)
    counts = element(t, repeats, "the repeats of np.repeat")
    if isinstance(counts, Reference) and views.static_dims(counts) != (1,):
        return repeated_each(t, ref, counts, at)
    if isinstance(counts, Reference):
        counts = Number(t.emit1("index", [views.read(t, counts), ZERO], {"spec": "i"}))
    (count,) = shape_values(t, counts, "np.repeat")
    wide = [*own[: at + 1], count, *own[at + 1 :]]
    axes = tuple(k for k in range(ref.rank + 1) if k != at + 1)
    value = t.emit1("broadcast", [views.read(t, ref), *wide], {"axes": axes})
    target = [*own[:at], integers.mul(t, own[at], count), *own[at + 1 :]]
    return t.new_array(t.emit1("reshape", [value, *target]), target)


def repeated_each(t: Tracer, ref: Reference, counts: Reference, at: int) -> Reference:
    """Every element of an axis as often as its count says."""
    if counts.rank != 1 or not counts.dtype.is_integer:
        t.type_error("the repeats of np.repeat are an integer, or a vector of integers")
    own = views.extents(t, ref)
    numeric.agree(t, own[at], views.extent(t, counts, 0), "np.repeat needs one count per element")
    negative = bind_elementwise.apply(t, np.less, counts, 0)
    from .bind_reduce import ANY

    good = t.emit1("logical_not", [ANY(t, negative).value])
    t.emit("check", [good], {"error": "ValueError", "message": "repeats may not contain negative values."})
    size = numeric.cast(t, SUM(t, counts).value, I64)
    t.nonnegative.add(size)
    chosen = t.new_array(t.emit1("empty", [size], {"dtype": I64}), [size])
    run_template(t, POSITIONS, [counts, chosen])
    return taken(t, ref, views.read(t, chosen), at, size)


def taken(t: Tracer, ref: Reference, positions: Value, at: int, size: Value) -> Reference:
    """The elements of an axis at positions inside of it."""
    own = views.extents(t, ref)
    value = t.emit1("gather", [views.read(t, ref), positions], {"axes": (at,)})
    return t.new_array(value, [*own[:at], size, *own[at + 1 :]])


def tile(t: Tracer, A: Any, reps: Any) -> Any:
    ref = at_least(1)(t, A)
    counts = items_of(t, reps)
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


def resize(t: Tracer, a: Any, new_shape: Any) -> Any:
    """np.resize: the elements in C order, from the start again where they do not suffice."""
    ref = flat(t, element(t, a, "np.resize"))
    shape = shape_values(t, new_shape, "np.resize")
    not_empty(t, ref, (0,), "np.resize")
    size = product(t, shape)
    positions = t.emit1("mod", [t.emit1("iota", [size]), views.extent(t, ref, 0)])
    return views.reshaped(t, taken(t, ref, positions, 0, size), shape)


# ---------------------------------------------------------------- padding

Side = tuple[Any, Any]


def pairs(t: Tracer, given: Any, rank: int, what: str) -> list[Side]:
    """One (before, after) per axis, from NumPy's ways to abbreviate them."""
    if isinstance(given, DictObject):
        found: list[Side] = [(0, 0)] * rank
        for key, value in t.items(given):
            (found[axis_of(t, key, rank)],) = pairs(t, value, 1, what)
        return found
    items = [items_of(t, x) if isinstance(x, tuple | ListObject) else x for x in items_of(t, given)]
    if all(isinstance(x, list) for x in items):
        rows = [x * 2 if len(x) == 1 else x for x in items]
        rows = rows * rank if len(rows) == 1 else rows
        if len(rows) == rank and all(len(x) == 2 for x in rows):
            return [(x[0], x[1]) for x in rows]
    elif not any(isinstance(x, list) for x in items) and len(items) in (1, 2):
        return [(items[0], items[-1])] * rank
    t.fail_value(f"`{what}` of np.pad is a number, a pair, or a pair for each of the {rank} axes")


def pad(t: Tracer, array: Any, pad_width: Any, mode: Any = "constant", **keywords: Any) -> Any:
    """np.pad, axis by axis: a block in front, the array, a block behind."""
    ref = as_reference(t, array, "np.pad")
    if mode not in MODES:
        t.unsupported(f"np.pad with mode={mode!r}", f"the modes known are {', '.join(MODES)}")
    allowed, blocks = MODES[mode]
    for name in keywords:
        if name != allowed and not (name == "reflect_type" and mode in ("reflect", "symmetric")):
            t.fail_value(f"unsupported keyword arguments for mode '{mode}': {name}")
    if keywords.pop("reflect_type", "even") != "even":
        t.unsupported("np.pad with reflect_type='odd'", "write it with np.concatenate")
    default = None if mode in STATISTICS else 0
    options = pairs(t, keywords[allowed], ref.rank, allowed) if allowed in keywords else [(default, default)] * ref.rank
    for axis, (widths, option) in enumerate(zip(pairs(t, pad_width, ref.rank, "pad_width"), options)):
        before, after = shape_values(t, widths, "np.pad")
        if integers.known(before) == integers.known(after) == 0:
            continue
        if mode not in ("constant", "empty"):
            not_empty(t, ref, (axis,), f"np.pad with mode={mode!r}")
        value = blocks(t, ref, axis, before, after, option)
        shape = views.extents(t, ref)
        shape[axis] = integers.add(t, integers.add(t, before, shape[axis]), after)
        ref = t.new_array(value, shape)
    return t.new_array(views.read(t, ref), views.extents(t, ref))


def around(block: Callable[..., Value]) -> Callable[..., Value]:
    """A mode that is one block in front and one behind, each made by itself."""

    def blocks(t: Tracer, ref: Reference, axis: int, before: Value, after: Value, option: Side) -> Value:
        shapes = [views.extents(t, ref) for _ in range(2)]
        shapes[0][axis], shapes[1][axis] = before, after
        front = block(t, ref, axis, shapes[0], option[0], False)
        behind = block(t, ref, axis, shapes[1], option[1], True)
        return t.emit1("concat", [front, views.read(t, ref), behind], {"axis": axis})

    return blocks


def constant_block(t: Tracer, ref: Reference, axis: int, shape: list[Value], value: Any, behind: bool) -> Value:
    return t.emit1("fill", [numeric.as_dtype(t, value, ref.dtype, "np.pad"), *shape])


def empty_block(t: Tracer, ref: Reference, axis: int, shape: list[Value], value: Any, behind: bool) -> Value:
    return t.emit1("empty", shape, {"dtype": ref.dtype})


def edge_of(t: Tracer, ref: Reference, axis: int, behind: bool) -> Value:
    """The first or the last row of an axis (which is known to have one)."""
    at = integers.sub(t, views.extent(t, ref, axis), 1) if behind else ZERO
    spec = "".join("i" if k == axis else ":" for k in range(ref.rank))
    return t.emit1("index", [views.read(t, ref), at], {"spec": spec})


def spread(t: Tracer, row: Value, axis: int, shape: list[Value]) -> Value:
    """A row repeated along an axis."""
    if not row.is_array:
        return t.emit1("fill", [row, *shape])
    return t.emit1("broadcast", [row, *shape], {"axes": tuple(k for k in range(len(shape)) if k != axis)})


def edge_block(t: Tracer, ref: Reference, axis: int, shape: list[Value], value: Any, behind: bool) -> Value:
    return spread(t, edge_of(t, ref, axis, behind), axis, shape)


def ramp_block(t: Tracer, ref: Reference, axis: int, shape: list[Value], end: Any, behind: bool) -> Value:
    """From the edge, which is not repeated, to an end value."""
    if not ref.dtype.is_float:
        t.unsupported("np.pad with mode='linear_ramp' of integers", "convert the array with `.astype(float)`")
    target = numeric.as_dtype(t, end, ref.dtype, "np.pad")
    width = cast(t, integers.maximum(t, shape[axis], 1), ref.dtype)
    position = cast(t, t.emit1("iota", [shape[axis]]), ref.dtype)
    if behind:  # counted from the end
        position = t.emit1("sub", [cast(t, integers.sub(t, shape[axis], 1), ref.dtype), position])
    step = t.emit1("div", [t.emit1("sub", [edge_of(t, ref, axis, behind), target]), width])
    counted = t.emit1("broadcast", [position, *shape], {"axes": (axis,)})
    return t.emit1("add", [t.emit1("mul", [spread(t, step, axis, shape), counted]), target])


def statistic(reduction: Callable[..., Any]) -> Callable[..., Value]:
    """Blocks of the mean or an extreme of the rows next to the edge."""

    def block(t: Tracer, ref: Reference, axis: int, shape: list[Value], length: Any, behind: bool) -> Value:
        rows = ref
        if length is not None:
            (count,) = shape_values(t, length, "np.pad")
            n = views.extent(t, ref, axis)
            count = integers.minimum(t, count, n)
            start = integers.sub(t, n, count) if behind else ZERO
            rows = views.select(t, ref, [(start, count, ONE) if k == axis else None for k in range(ref.rank)])
        found = numeric.value_of(t, reduction(t, rows, axis))
        if found.dtype is not ref.dtype:
            found = cast(t, t.emit1("rint", [found]), ref.dtype)
        return spread(t, found, axis, shape)

    return around(block)


def periodic(position: Callable[[Tracer, Value, Value], Value]) -> Callable[..., Value]:
    """A mode that reads the array again: `position` says where, from how far behind the start a new element is."""

    def blocks(t: Tracer, ref: Reference, axis: int, before: Value, after: Value, option: Side) -> Value:
        n = views.extent(t, ref, axis)
        size = integers.add(t, integers.add(t, before, n), after)
        behind = t.emit1("sub", [t.emit1("iota", [size]), before])
        return t.emit1("gather", [views.read(t, ref), position(t, behind, n)], {"axes": (axis,)})

    return blocks


def folded(t: Tracer, k: Value, period: Value, last: Value) -> Value:
    """Up to half of a period, and back: min(k mod period, last - k mod period)."""
    at = t.emit1("mod", [k, period])
    return t.emit1("minimum", [at, t.emit1("sub", [last, at])])


def reflected(t: Tracer, k: Value, n: Value) -> Value:
    period = integers.mul(t, integers.maximum(t, integers.sub(t, n, 1), 1), 2)
    at = folded(t, k, period, period)
    return t.emit1("minimum", [at, integers.sub(t, n, 1)])  # an axis of one element is repeated


def mirrored(t: Tracer, k: Value, n: Value) -> Value:
    period = integers.mul(t, n, 2)
    return folded(t, k, period, integers.sub(t, period, 1))


STATISTICS: dict[str, Any] = {"mean": MEAN, "maximum": MAX, "minimum": MIN}

MODES: dict[str, tuple[str, Any]] = {
    "constant": ("constant_values", around(constant_block)),
    "edge": ("", around(edge_block)),
    "reflect": ("reflect_type", periodic(reflected)),
    "symmetric": ("reflect_type", periodic(mirrored)),
    "wrap": ("", periodic(lambda t, k, n: t.emit1("mod", [k, n]))),
    "linear_ramp": ("end_values", around(ramp_block)),
    "empty": ("", around(empty_block)),
    **{name: ("stat_length", statistic(reduction)) for name, reduction in STATISTICS.items()},
}
"""np.pad's modes: the keyword each takes, and how it makes the padded array."""

# ---------------------------------------------------------------- diagonals and triangles


def diag(t: Tracer, v: Any, k: Any = 0) -> Any:
    """The diagonal of a matrix, or a matrix with a given diagonal."""
    ref = as_reference(t, v, "np.diag")
    if ref.rank == 2:
        return diagonal(t, ref, k)
    if ref.rank != 1:
        t.fail_value("Input must be 1- or 2-d.")
    shift = static_int(t, k, "the diagonal")
    count = views.extent(t, ref, 0)
    n = integers.add(t, count, abs(shift))
    steps = t.emit1("iota", [count])
    down, right = (t.emit1("add", [steps, Const(by, I64)]) if by > 0 else steps for by in (-shift, shift))
    zero = t.emit1("fill", [Const(0, ref.dtype), n, n])
    return t.new_array(t.emit1("scatter", [zero, views.read(t, ref), down, right], {"axes": (0, 1)}), [n, n])


def diagflat(t: Tracer, v: Any, k: Any = 0) -> Any:
    return diag(t, flat(t, element(t, v, "np.diagflat")), k)


def tri(t: Tracer, N: Any, M: Any = None, k: Any = 0, dtype: Any = float) -> Any:
    (rows,) = shape_values(t, N)
    columns = shape_values(t, M)[0] if M is not None else rows
    mask = compare_positions(t, "ge", rows, columns, numeric.integer_value(t, k, "the diagonal of np.tri"))
    return t.new_array(cast(t, mask, dtype_argument(t, dtype, F64)), [rows, columns])


def triangle(name: str, comparison: str) -> Any:
    def binding(t: Tracer, m: Any, k: Any = 0) -> Any:
        ref = as_reference(t, m, f"np.{name}")
        if ref.rank == 1:  # the rows of a square matrix
            n = views.extent(t, ref, 0)
            ref = t.new_array(t.emit1("broadcast", [views.read(t, ref), n, n], {"axes": (1,)}), [n, n])
        shape = views.extents(t, ref)
        rows, columns = shape[-2:]
        mask = compare_positions(t, comparison, rows, columns, numeric.integer_value(t, k, "the diagonal"))
        mask = numeric.broadcast_to(t, mask, shape[-2:], shape) if ref.rank > 2 else mask
        return t.new_array(t.emit1("select", [mask, views.read(t, ref), Const(0, ref.dtype)]), shape)

    return binding


def vander(t: Tracer, x: Any, N: Any = None, increasing: Any = False) -> Any:
    """np.vander: running products of ones and the elements, as NumPy computes them."""
    ref = as_reference(t, x, "np.vander")
    if ref.rank != 1:
        t.fail_value("x must be a one-dimensional array or sequence.")
    n = views.extent(t, ref, 0)
    (columns,) = [n] if N is None else shape_values(t, N, "np.vander")
    kind = numeric.to_dtype(t, np.promote_types(ref.dtype.numpy, int))
    value = t.emit1("broadcast", [cast(t, views.read(t, ref), kind), n, columns], {"axes": (0,)})
    at = t.emit1("broadcast", [t.emit1("iota", [columns]), n, columns], {"axes": (1,)})
    first = t.emit1("eq", [at, ZERO if increasing else integers.sub(t, columns, 1)])
    rows = t.emit1("select", [first, Const(1, kind), value])
    powers = t.emit1("cumprod", [rows], {"axis": 1, "reverse": not increasing})
    return t.new_array(powers, [n, columns])


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.flip: flip,
            np.fliplr: lambda t, m: flip(t, m, 1),
            np.flipud: lambda t, m: flip(t, m, 0),
            np.rot90: rot90,
            np.fft.fftshift: centring(1),
            np.fft.ifftshift: centring(-1),
            np.lib.stride_tricks.sliding_window_view: sliding_window_view,
            np.roll: roll,
            np.repeat: repeat,
            np.tile: tile,
            np.resize: resize,
            np.pad: pad,
            np.diag: diag,
            np.diagflat: diagflat,
            np.tri: tri,
            np.tril: triangle("tril", "ge"),
            np.triu: triangle("triu", "le"),
            np.vander: vander,
        }
    )
