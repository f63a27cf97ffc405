"""Bindings of sums and differences along axes: cumulative sums, diff, gradient, trapezoid, convolve, correlate, interp.

In: arrays as abstract values. Out: new arrays, computed in the order in which NumPy computes them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import F64, I64
from . import bind_elementwise, indexing, integers, numeric, views
from .bind_elementwise import apply, arithmetic, where
from .bind_join import concatenate
from .bind_reduce import CUMPROD, CUMSUM, SUM, converted_array, not_empty
from .bind_sequences import run_template
from .bind_shape import axes_given, axis_of, broadcast_to, flat
from .context import Tracer
from .numeric import as_reference, element, static_int
from .values import Number, Reference

__all__ = ["add_at", "less", "register", "window"]


def window(t: Tracer, a: Reference, axis: int, start: Value | int, length: Value | int) -> Reference:
    """So many elements of an axis, known to be there. Windows of one `length` have the same shape for certain."""
    items: list[Any] = [None] * a.rank
    items[axis] = (integers.integer(start), integers.integer(length), Const(1, I64))
    return views.select(t, a, items)


def less(t: Tracer, n: Value, by: int) -> Value:
    """n - by, but not below 0."""
    return integers.clamp_low(t, integers.sub(t, n, by))


def as_float(t: Tracer, x: Any, what: str) -> Any:
    """Integers and booleans as float64, floats as they are."""
    x = element(t, x, what)
    if isinstance(x, Reference):
        return x if x.dtype.is_float else converted_array(t, x, F64)
    value = numeric.scalar_value(t, x)
    return x if value.dtype.is_float else Number(numeric.cast(t, value, F64))


# ---------------------------------------------------------------- running sums


def cumulative(scan: Callable[..., Any], first: int, what: str) -> Callable[..., Any]:
    """np.cumulative_sum and np.cumulative_prod: a scan that may start with what is there before any element."""

    def binding(
        t: Tracer, x: Any, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: Any = False
    ) -> Any:
        from .bind_ufuncs import into

        a = as_reference(t, x, what)
        if axis is None and a.rank != 1:
            t.fail_value("For arrays which have more than one dimension ``axis`` argument is required.")
        at = axis_of(t, 0 if axis is None else axis, a.rank)
        result = scan(t, a, at, dtype)
        if include_initial:
            shape = views.extents(t, result)
            shape[at] = Const(1, I64)
            start = t.emit1("fill", [Const(first, result.dtype), *shape])
            result = concatenate(t, (t.new_array(start, shape), result), at)
        return into(t, result, out, what)

    return binding


# ---------------------------------------------------------------- differences


def diff(t: Tracer, a: Any, n: Any = 1, axis: Any = -1, prepend: Any = None, append: Any = None) -> Any:
    ref = as_reference(t, a, "np.diff")
    order = static_int(t, n, "the order of np.diff")
    if order < 0:
        t.fail_value(f"order must be non-negative but got {order}")
    at = axis_of(t, axis, ref.rank)
    if order and (prepend is not None or append is not None):
        parts = [edge(t, x, ref, at) for x in (prepend, None, append)]
        parts[1] = ref
        ref = concatenate(t, tuple(p for p in parts if p is not None), at)
    for _ in range(order):
        ufunc = np.not_equal if ref.dtype.kind == "b" else np.subtract
        count = less(t, views.extent(t, ref, at), 1)
        ref = apply(t, ufunc, window(t, ref, at, 1, count), window(t, ref, at, 0, count))
    return ref


def edge(t: Tracer, x: Any, like: Reference, axis: int) -> Any:
    """What np.diff puts before or after an array: an array, or a number for a row of it."""
    if x is None:
        return None
    x = element(t, x, "np.diff")
    if isinstance(x, Reference):
        return x
    shape = [Number(e, True) for e in views.extents(t, like)]
    shape[axis] = Number(Const(1, I64), True)
    return broadcast_to(t, x, tuple(shape))


def ediff1d(t: Tracer, ary: Any, to_end: Any = None, to_begin: Any = None) -> Any:
    ref = flat(t, element(t, ary, "np.ediff1d"))
    middle = diff(t, ref)
    ends = [None if x is None else flat(t, element(t, x, "np.ediff1d")) for x in (to_begin, to_end)]
    for x in ends:
        if x is not None and not np.can_cast(x.dtype.numpy, ref.dtype.numpy, "same_kind"):
            t.type_error(
                "dtype of `to_begin` or `to_end` must be compatible with input `ary` under the `same_kind` rule."
            )
    begin, end = (None if x is None else converted_array(t, x, ref.dtype) for x in ends)
    parts = tuple(x for x in (begin, middle, end) if x is not None)
    return concatenate(t, parts) if len(parts) > 1 else middle


def gradient(t: Tracer, f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    """np.gradient: central differences inside, one-sided ones of first or second order at the ends."""
    ref = as_reference(t, f, "np.gradient")
    order = static_int(t, edge_order, "`edge_order` of np.gradient")
    if order not in (1, 2):
        t.fail_value("'edge_order' greater than 2 not supported")
    axes = list(range(ref.rank)) if axis is None else axes_given(t, axis, ref.rank)
    if len(varargs) not in (0, 1, len(axes)):
        t.type_error("np.gradient takes no spacing, one for all axes, or one for each")
    spacings = [element(t, s, "the spacing of np.gradient") for s in varargs or (1.0,)]
    if len(spacings) == 1:
        spacings = spacings * len(axes)
    ref = as_float(t, ref, "np.gradient")
    results = [gradient_along(t, ref, k, s, order) for k, s in zip(axes, spacings)]
    return results[0] if len(results) == 1 else tuple(results)


def gradient_along(t: Tracer, f: Reference, axis: int, spacing: Any, order: int) -> Reference:
    n = views.extent(t, f, axis)
    enough = t.emit1("ge", [n, Const(order + 1, I64)])
    message = (
        "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required."
    )
    t.emit("check", [enough], {"error": "ValueError", "message": message})
    steps: Any = spacing
    if isinstance(spacing, Reference):
        if spacing.rank != 1:
            t.fail_value("distances must be either scalars or 1d")
        numeric.agree(t, views.extent(t, spacing, 0), n, "np.gradient needs one distance per element of the axis")
        steps = diff(t, as_float(t, spacing, "np.gradient"))

    inner = less(t, n, 2)

    def from_end(start: int) -> Value | int:
        return integers.add(t, n, start) if start < 0 else start

    def step(start: int, length: Value | int = 1) -> Any:
        """Distances (the last one is at -2), in the shape in which they meet parts of `f`."""
        if not isinstance(steps, Reference):
            return steps
        part = window(t, steps, 0, from_end(start), length)
        return views.select(t, part, [None] + ["new"] * (f.rank - 1 - axis))

    def rows(start: int, length: Value | int = 1) -> Any:
        return window(t, f, axis, from_end(start), length)

    def combined(weights: list[Any], parts: list[Any]) -> Any:
        total = apply(t, np.multiply, weights[0], parts[0])
        for w, p in zip(weights[1:], parts[1:]):
            total = apply(t, np.add, total, apply(t, np.multiply, w, p))
        return total

    calc = Calculator(t)
    if isinstance(steps, Reference):
        weights = calc.central(step(0, inner), step(1, inner))
        middle = combined(weights, [rows(0, inner), rows(1, inner), rows(2, inner)])
    else:
        span = arithmetic(t, np.multiply, 2.0, steps)
        middle = apply(t, np.true_divide, apply(t, np.subtract, rows(2, inner), rows(0, inner)), span)
    if order == 1:
        first = apply(t, np.true_divide, apply(t, np.subtract, rows(1), rows(0)), step(0))
        last = apply(t, np.true_divide, apply(t, np.subtract, rows(-1), rows(-2)), step(-2))
    else:
        first = combined(calc.one_sided(step(0), step(1)), [rows(0), rows(1), rows(2)])
        weights = calc.one_sided(step(-2), step(-3))
        minus = [calc(np.negative, w) for w in weights]
        last = combined(minus, [rows(-1), rows(-2), rows(-3)])
    return concatenate(t, (first, middle, last), axis)  # type: ignore[no-any-return]


class Calculator:
    """Weights of difference formulas for distances that may be numbers or arrays."""

    def __init__(self, t: Tracer) -> None:
        self.t = t

    def __call__(self, ufunc: np.ufunc, *args: Any) -> Any:
        return arithmetic(self.t, ufunc, *args)

    def central(self, h: Any, k: Any) -> list[Any]:
        """-k / (h (h + k)), (k - h) / (h k), h / (k (h + k)) for distances h before and k after."""
        both = self(np.add, h, k)
        return [
            self(np.true_divide, self(np.negative, k), self(np.multiply, h, both)),
            self(np.true_divide, self(np.subtract, k, h), self(np.multiply, h, k)),
            self(np.true_divide, h, self(np.multiply, k, both)),
        ]

    def one_sided(self, h: Any, k: Any) -> list[Any]:
        """-(2h + k) / (h (h + k)), (h + k) / (h k), -h / (k (h + k)) for distances from the end inwards."""
        both = self(np.add, h, k)
        twice = self(np.add, both, h)
        return [
            self(np.negative, self(np.true_divide, twice, self(np.multiply, h, both))),
            self(np.true_divide, both, self(np.multiply, h, k)),
            self(np.negative, self(np.true_divide, h, self(np.multiply, k, both))),
        ]


def trapezoid(t: Tracer, y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    ref = as_reference(t, y, "np.trapezoid")
    at = axis_of(t, axis, ref.rank)
    width: Any = dx
    n = views.extent(t, ref, at)
    count = less(t, n, 1)
    if x is not None:
        points = as_reference(t, x, "np.trapezoid")
        along = 0 if points.rank == 1 else axis_of(t, axis, points.rank)
        numeric.agree(t, n, views.extent(t, points, along), "np.trapezoid needs one point per element")
        width = apply(t, np.subtract, window(t, points, along, 1, count), window(t, points, along, 0, count))
        if points.rank == 1:
            width = views.select(t, width, [None] + ["new"] * (ref.rank - 1 - at))
    both = apply(t, np.add, window(t, ref, at, 1, count), window(t, ref, at, 0, count))
    return SUM(t, apply(t, np.true_divide, apply(t, np.multiply, width, both), 2.0), at)


def unwrap(t: Tracer, p: Any, discont: Any = None, axis: Any = -1, period: Any = 2 * np.pi) -> Any:
    """np.unwrap: jumps of more than half a period replaced by what they are less whole periods."""
    ref = as_float(t, as_reference(t, p, "np.unwrap"), "np.unwrap")
    at = axis_of(t, axis, ref.rank)
    steps = diff(t, ref, 1, at)
    high = arithmetic(t, np.true_divide, period, 2.0)
    low = arithmetic(t, np.negative, high)
    least = high if discont is None else discont
    wrapped = apply(t, np.add, apply(t, np.remainder, apply(t, np.subtract, steps, low), period), low)
    ends = apply(t, np.logical_and, apply(t, np.equal, wrapped, low), apply(t, np.greater, steps, 0))
    wrapped = where(t, ends, high, wrapped)
    correction = apply(t, np.subtract, wrapped, steps)
    correction = where(t, apply(t, np.less, apply(t, np.absolute, steps), least), 0.0, correction)
    count = views.extent(t, steps, at)
    rest = apply(t, np.add, window(t, ref, at, 1, count), CUMSUM(t, correction, at))
    first = window(t, ref, at, 0, integers.minimum(t, views.extent(t, ref, at), 1))
    return concatenate(t, (first, rest), at)


# ---------------------------------------------------------------- convolution

SHIFTED = """
def convolve(a, v, out, add_at):
    for k in range(v.shape[0]):
        add_at(out, k, v[k] * a)
"""


def add_at(*args: Any) -> None:
    """Add a vector to part of another one; called by the tracer only."""
    raise NotImplementedError


def add_to_part(t: Tracer, out: Reference, start: Any, vector: Reference) -> None:
    """What `out[start:start + len(vector)] += vector` does, where that is known to lie inside."""
    first = numeric.integer_value(t, start, "a position")
    operands = [views.read(t, out), views.read(t, vector), first, views.extent(t, vector, 0), Const(1, I64)]
    views.write(t, out, t.emit1("accumulate", operands, {"spec": "s"}))


def convolution(what: str, turned: bool) -> Callable[..., Any]:
    """np.convolve, and np.correlate, which is the convolution with the second vector turned around."""

    def binding(t: Tracer, a: Any, v: Any, mode: Any = "valid" if turned else "full") -> Any:
        first, second = (flat(t, element(t, x, what)) for x in (a, v))
        for x in (a, v):
            if isinstance(x, Reference) and x.rank > 1:
                t.fail_value("object too deep for desired array")
        for x in (first, second):
            not_empty(t, x, (0,), what)
        kind = bind_elementwise.result_dtype(t, first, second)
        if kind.kind == "b":
            t.type_error(f"{what} of booleans", "convert with `.astype(float)`")
        n, m = views.extent(t, first, 0), views.extent(t, second, 0)
        if turned:
            second = views.select(t, second, [(integers.sub(t, m, 1), m, Const(-1, I64))])
        size = integers.sub(t, integers.add(t, n, m), 1)
        t.nonnegative.add(size)
        full = t.new_array(t.emit1("fill", [Const(0, kind), size]), [size])
        run_template(t, SHIFTED, [*(converted_array(t, x, kind) for x in (first, second)), full, add_at])
        if mode == "full":
            return full
        more, less = integers.maximum(t, n, m), integers.minimum(t, n, m)
        if mode == "valid":
            start, length = integers.sub(t, less, 1), integers.add(t, integers.sub(t, more, less), 1)
        elif mode == "same":
            start, length = half(t, integers.sub(t, less, 1)), more
            if turned:  # NumPy turns the result around where it has exchanged the vectors
                short = t.emit1("lt", [n, m])
                start = t.emit1("select", [short, half(t, less), start])
        else:
            t.fail_value(f"mode must be one of 'valid', 'same', or 'full' (got '{mode}')")
        for x in (start, length):
            t.nonnegative.add(x)
        chosen = views.select(t, full, [(start, length, Const(1, I64))])
        return t.new_array(views.read(t, chosen), [length])

    return binding


def half(t: Tracer, n: Value) -> Value:
    k = integers.known(n)
    return t.emit1("floordiv", [n, Const(2, I64)]) if k is None else Const(k // 2, I64)


# ---------------------------------------------------------------- interpolation


def interp(t: Tracer, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """np.interp: between the two points around each x; which two they are has no derivative."""
    at = as_float(t, x, "np.interp")
    points, values = (flat(t, as_float(t, as_reference(t, p, "np.interp"), "np.interp")) for p in (xp, fp))
    for p in (xp, fp):
        if numeric.rank_of(element(t, p)) != 1:
            t.fail_value("Data points must be 1-D sequences")
    numeric.agree(t, views.extent(t, points, 0), views.extent(t, values, 0), "fp and xp are not of the same length")
    not_empty(t, points, (0,), "np.interp")
    points, values = (converted_array(t, p, F64) for p in (points, values))
    at = converted_array(t, at, F64) if isinstance(at, Reference) else at
    if period is not None:
        at, points, values = periodic(t, at, points, values, period)
        left = right = None
    n = views.extent(t, points, 0)
    from .bind_order import searched

    found = searched(t, views.read(t, points), at, "right")
    low = apply(t, np.maximum, apply(t, np.subtract, found, 1), 0)
    top = integers.maximum(t, integers.sub(t, n, 2), 0)
    low = apply(t, np.minimum, low, Number(top, True))
    high = apply(t, np.minimum, apply(t, np.add, low, 1), Number(integers.sub(t, n, 1), True))

    def taken(of: Reference, position: Any) -> Any:
        place = numeric.value_of(t, position)
        if not place.is_array:
            return Number(t.emit1("index", [views.read(t, of), place], {"spec": "i"}))
        shape = numeric.shape_of(t, position)
        return t.new_array(t.emit1("gather", [views.read(t, of), place], {"axes": (0,)}), shape)

    x0, y0, x1, y1 = taken(points, low), taken(values, low), taken(points, high), taken(values, high)
    slope = apply(t, np.true_divide, apply(t, np.subtract, y1, y0), apply(t, np.subtract, x1, x0))
    inside = apply(t, np.add, apply(t, np.multiply, slope, apply(t, np.subtract, at, x0)), y0)
    backwards = apply(t, np.add, apply(t, np.multiply, slope, apply(t, np.subtract, at, x1)), y1)
    flat_part = apply(t, np.logical_and, apply(t, np.equal, y0, y1), apply(t, np.equal, at, at))
    backwards = where(t, apply(t, np.logical_and, flat_part, apply(t, np.isnan, backwards)), y0, backwards)
    inside = where(t, apply(t, np.isnan, inside), backwards, inside)  # what NumPy tries between infinite points
    first, last = (place_of(t, p, n, end) for p, end in ((points, False), (points, True)))
    ends = [place_of(t, values, n, False) if left is None else left, place_of(t, values, n, True)]
    out = where(t, apply(t, np.equal, at, last), ends[1], inside)
    out = where(t, apply(t, np.greater, at, last), ends[1] if right is None else right, out)
    out = where(t, apply(t, np.less, at, first), ends[0], out)
    return Number(out.value) if isinstance(out, Number) else out


def place_of(t: Tracer, of: Reference, n: Value, last: bool) -> Number:
    """The first or the last element of a vector that is known to have one."""
    position = integers.sub(t, n, 1) if last else Const(0, I64)
    return Number(t.emit1("index", [views.read(t, of), position], {"spec": "i"}))


def periodic(t: Tracer, at: Any, points: Reference, values: Reference, period: Any) -> tuple[Any, Reference, Reference]:
    """Everything within one period, sorted, and one point more at either end."""
    from .bind_order import order_along

    if isinstance(period, int | float) and period == 0:
        t.fail_value("period must be a non-zero value")
    size = arithmetic(t, np.absolute, period)
    at, points = (apply(t, np.remainder, p, size) for p in (at, points))
    order = order_along(t, points, 0)
    points, values = indexing.load(t, points, order), indexing.load(t, values, order)
    last = integers.sub(t, views.extent(t, points, 0), 1)
    before = apply(t, np.subtract, window(t, points, 0, last, 1), size)
    after = apply(t, np.add, window(t, points, 0, 0, 1), size)
    points = concatenate(t, (before, points, after))
    values = concatenate(t, (window(t, values, 0, last, 1), values, window(t, values, 0, 0, 1)))
    return at, points, values


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.cumulative_sum: cumulative(CUMSUM, 0, "np.cumulative_sum"),
            np.cumulative_prod: cumulative(CUMPROD, 1, "np.cumulative_prod"),
            np.diff: diff,
            np.ediff1d: ediff1d,
            np.gradient: gradient,
            np.trapezoid: trapezoid,
            np.unwrap: unwrap,
            add_at: add_to_part,
            np.convolve: convolution("np.convolve", False),
            np.correlate: convolution("np.correlate", True),
            np.interp: interp,
        }
    )
    if hasattr(np, "trapz"):
        TABLE[np.trapz] = trapezoid
