"""Bindings of grids: linspace, logspace, geomspace, indices, meshgrid, mgrid, ogrid, r_, c_, windows.

In: ends, counts and slices as abstract values. Out: new arrays. Points are computed in the order of operations in
which NumPy computes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import F64, I64, DType
from . import integers, numeric, views
from .bind_create import arange, shape_values
from .bind_elementwise import apply, arithmetic, result_dtype, where
from .bind_join import concatenate, stack
from .bind_methods import astype
from .bind_products import as_kind
from .bind_reduce import converted_array
from .bind_shape import at_least, axis_of, moveaxis
from .context import Tracer
from .numeric import cast, element, elementwise
from .values import Number, Reference

__all__ = ["SUBSCRIPTS", "register"]

# ---------------------------------------------------------------- points between two ends


def counted(t: Tracer, size: Value, rank: int, kind: DType) -> Reference:
    """0, 1, 2, ... along a first axis, with new axes behind it."""
    steps = t.new_array(cast(t, t.emit1("iota", [size]), kind), [size])
    return views.select(t, steps, [None] + ["new"] * rank)


def with_ends(t: Tracer, points: Any, size: Value, rank: int, first: Any, last: Any) -> Any:
    """Points whose first and last (of several) are replaced, where one is given."""
    position = t.new_array(t.emit1("iota", [size]), [size])
    position = views.select(t, position, [None] + ["new"] * rank)
    if first is not None:
        points = where(t, apply(t, np.equal, position, 0), first, points)
    if last is not None:
        behind = apply(t, np.greater, position, 0)
        at_end = apply(t, np.equal, position, Number(integers.sub(t, size, 1), True))
        points = where(t, apply(t, np.logical_and, behind, at_end), last, points)
    return points


def linspace(
    t: Tracer,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: Any = True,
    retstep: Any = False,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    """np.linspace: i * ((stop - start) / div) + start, the last one set to stop."""
    ends = [element(t, x, "np.linspace") for x in (start, stop)]
    own = result_dtype(t, *ends)
    kind = own if own.is_float else F64
    first, last = (as_kind(t, x, kind) for x in ends)
    delta = apply(t, np.subtract, last, first)
    rank = numeric.rank_of(delta)
    (size,) = shape_values(t, num, "np.linspace")
    div = integers.sub(t, size, 1) if endpoint else size
    step = apply(t, np.true_divide, delta, Number(cast(t, integers.maximum(t, div, 1), kind)))
    points = apply(t, np.add, apply(t, np.multiply, counted(t, size, rank, kind), step), first)
    if endpoint:
        points = with_ends(t, points, size, rank, None, last)
    points = moveaxis(t, points, 0, axis_of(t, axis, rank + 1))
    result = finished(t, points, dtype)
    return (result, Number(step.value) if isinstance(step, Number) else step) if retstep else result


def finished(t: Tracer, points: Reference, dtype: Any) -> Any:
    """Points in the dtype asked for, rounded down where that is of integers."""
    if dtype is None:
        return points
    if numeric.to_dtype(t, np.dtype(dtype)).is_integer:
        points = apply(t, np.floor, points)
    return astype(t, points, dtype)


def logspace(
    t: Tracer,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: Any = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    base = element(t, base, "np.logspace")
    exponents = linspace(t, start, stop, num, endpoint, axis=axis)
    if isinstance(base, Reference):
        t.unsupported("np.logspace with an array of bases", "use one base")
    powers = apply(t, np.power, base, exponents)
    return powers if dtype is None else astype(t, powers, dtype)


def geomspace(
    t: Tracer, start: Any, stop: Any, num: Any = 50, endpoint: Any = True, dtype: Any = None, axis: Any = 0
) -> Any:
    """np.geomspace: powers of ten between the logarithms of the ends, whose sign is set aside."""
    ends = [element(t, x, "np.geomspace") for x in (start, stop)]
    strong = [x.dtype.numpy if isinstance(x, Reference) else numeric.scalar_value(t, x).dtype.numpy for x in ends]
    kind = numeric.to_dtype(t, np.result_type(*strong, np.dtype(float if dtype is None else dtype)))
    first, last = (as_kind(t, x, kind) for x in ends)
    for x in (first, last):
        zero = numeric.value_of(t, apply(t, np.equal, x, 0.0))
        zero = t.emit1("reduce_any", [zero], {"axes": tuple(range(zero.rank))}) if zero.is_array else zero
        message = "Geometric sequence cannot include zero"
        t.emit("check", [t.emit1("logical_not", [zero])], {"error": "ValueError", "message": message})
    sign = apply(t, np.sign, first)
    lows, highs = (apply(t, np.true_divide, x, sign) for x in (first, last))
    logarithms = [apply(t, np.log10, x) for x in (lows, highs)]
    (size,) = shape_values(t, num, "np.geomspace")
    count = Number(size, True)
    points = logspace(t, logarithms[0], logarithms[1], count, endpoint, 10.0)
    points = with_ends(t, points, size, points.rank - 1, lows, highs if endpoint else None)
    points = moveaxis(t, apply(t, np.multiply, points, sign), 0, axis_of(t, axis, points.rank))
    return points if dtype is None else astype(t, points, dtype)


# ---------------------------------------------------------------- grids of indices


def open_grid(t: Tracer, vectors: list[Reference]) -> tuple[Reference, ...]:
    """Each vector along its own axis."""
    n = len(vectors)
    return tuple(views.select(t, v, ["new"] * k + [None] + ["new"] * (n - 1 - k)) for k, v in enumerate(vectors))


def full_grid(t: Tracer, vectors: list[Reference]) -> tuple[Reference, ...]:
    """Each vector repeated along the axes of the others."""
    shape = [views.extent(t, v, 0) for v in vectors]
    return tuple(
        t.new_array(t.emit1("broadcast", [views.read(t, v), *shape], {"axes": (k,)}), shape)
        for k, v in enumerate(vectors)
    )


def indices(t: Tracer, dimensions: Any, dtype: Any = int, sparse: Any = False) -> Any:
    kind = I64 if dtype is int else numeric.to_dtype(t, np.dtype(dtype))
    shape = shape_values(t, dimensions, "np.indices")
    vectors = [t.new_array(cast(t, t.emit1("iota", [n]), kind), [n]) for n in shape]
    return open_grid(t, vectors) if sparse else stack(t, full_grid(t, vectors))


def fromfunction(t: Tracer, function: Any, shape: Any, *, dtype: Any = float, **kwargs: Any) -> Any:
    """np.fromfunction: the function of the arrays of indices."""
    from . import calls

    kind = F64 if dtype is float else numeric.to_dtype(t, np.dtype(dtype))
    extents = shape_values(t, shape, "np.fromfunction")
    vectors = [t.new_array(cast(t, t.emit1("iota", [n]), kind), [n]) for n in extents]
    return calls.call(t, function, list(full_grid(t, vectors)), kwargs)


def meshgrid(t: Tracer, *xi: Any, copy: Any = True, sparse: Any = False, indexing: Any = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        t.fail_value("Valid values for `indexing` are 'xy' and 'ij'.")
    vectors = [at_least(1)(t, x) for x in xi]
    if any(v.rank != 1 for v in vectors):
        t.unsupported("np.meshgrid of arrays of several axes", "flatten them before")
    turned = indexing == "xy" and len(vectors) > 1
    if turned:
        vectors[:2] = vectors[1::-1]
    found = list(open_grid(t, vectors) if sparse else full_grid(t, vectors))
    if copy and sparse:
        found = [t.new_array(views.read(t, v), views.extents(t, v)) for v in found]
    elif not copy and not sparse:
        for grid in found:
            grid.object.readonly = "np.meshgrid with copy=False gives views whose elements share memory"
    if turned:
        found[:2] = found[1::-1]
    return tuple(found)


# ---------------------------------------------------------------- objects that are subscripted


def range_of(t: Tracer, part: slice) -> Reference:
    """What a slice means to np.mgrid and its kin: a range, or so many points where the step is imaginary."""
    start = 0 if part.start is None else part.start
    step = 1 if part.step is None else part.step
    if part.stop is None:
        t.type_error("a grid needs the end of each slice")
    if isinstance(step, complex):
        return linspace(t, start, part.stop, int(np.abs(step)))  # type: ignore[no-any-return]
    return arange(t, start, part.stop, step)  # type: ignore[no-any-return]


def grid(name: str, sparse: bool) -> Callable[[Tracer, Any], Any]:
    def subscript(t: Tracer, index: Any) -> Any:
        parts = list(index) if isinstance(index, tuple) else [index]
        if not all(isinstance(p, slice) for p in parts):
            t.type_error(f"`{name}` takes slices")
        vectors = [range_of(t, p) for p in parts]
        if not isinstance(index, tuple):
            return vectors[0]
        if any(v.dtype.is_float for v in vectors):
            vectors = [converted_array(t, v, F64) for v in vectors]
        return open_grid(t, vectors) if sparse else stack(t, full_grid(t, vectors))

    return subscript


def joined(columns: bool) -> Callable[[Tracer, Any], Any]:
    """np.r_ and np.c_: slices, arrays and numbers in a row."""

    def subscript(t: Tracer, index: Any) -> Any:
        parts: list[Any] = []
        for item in index if isinstance(index, tuple) else (index,):
            if isinstance(item, str):
                t.unsupported("np.r_ and np.c_ with a string", "use np.concatenate or np.stack")
            part = range_of(t, item) if isinstance(item, slice) else at_least(1)(t, item)
            parts.append(views.select(t, part, [None, "new"]) if columns and part.rank == 1 else part)
        return concatenate(t, tuple(parts), -1 if columns else 0)

    return subscript


SUBSCRIPTS: dict[int, Callable[[Tracer, Any], Any]] = {
    id(np.mgrid): grid("np.mgrid", False),
    id(np.ogrid): grid("np.ogrid", True),
    id(np.r_): joined(False),
    id(np.c_): joined(True),
    id(np.s_): lambda t, index: index,
    id(np.index_exp): lambda t, index: index if isinstance(index, tuple) else (index,),
}
"""What subscripts of these objects of NumPy's mean."""

# ---------------------------------------------------------------- frequencies


def fftfreq(t: Tracer, n: Any, d: Any = 1.0) -> Any:
    """np.fft.fftfreq: 0, 1, ... and then the negative ones up to -1, over n d."""
    size = numeric.integer_value(t, n, "the length of np.fft.fftfreq")
    k = t.emit1("iota", [size])
    positive = t.emit1("lt", [t.emit1("mul", [k, Const(2, I64)]), size])
    turned = t.emit1("select", [positive, k, t.emit1("sub", [k, size])])
    return over(t, t.new_array(turned, [size]), n, d)


def rfftfreq(t: Tracer, n: Any, d: Any = 1.0) -> Any:
    half = t.emit1("floordiv", [numeric.integer_value(t, n, "the length of np.fft.rfftfreq"), Const(2, I64)])
    size = integers.add(t, half, 1)
    return over(t, t.new_array(t.emit1("iota", [size]), [size]), n, d)


def over(t: Tracer, counts: Reference, n: Any, d: Any) -> Any:
    step = arithmetic(t, np.true_divide, 1.0, arithmetic(t, np.multiply, n, d))
    return apply(t, np.multiply, counts, step)


# ---------------------------------------------------------------- windows


def window(weights: tuple[float, ...], what: str) -> Callable[..., Any]:
    """A window that is a sum of cosines."""

    def binding(t: Tracer, M: Any) -> Any:
        angle = centred(t, M, what)
        total: Any = weights[0]
        for k, w in enumerate(weights[1:], 1):
            wave = apply(t, np.cos, apply(t, np.multiply, math.pi * k, angle))
            total = apply(t, np.add, total, apply(t, np.multiply, w, wave))
        return total

    return binding


def centred(t: Tracer, M: Any, what: str) -> Reference:
    """M points from -1 to 1."""
    size = integers.clamp_low(t, numeric.integer_value(t, M, f"the length of {what}"))
    last = integers.maximum(t, integers.sub(t, size, 1), 1)
    doubled = t.emit1("mul", [t.emit1("iota", [size]), Const(2, I64)])
    odd = t.new_array(t.emit1("sub", [doubled, integers.sub(t, size, 1)]), [size])
    return apply(t, np.true_divide, odd, Number(last, True))  # type: ignore[no-any-return]


def bartlett(t: Tracer, M: Any) -> Any:
    return apply(t, np.subtract, 1.0, apply(t, np.absolute, centred(t, M, "np.bartlett")))


def i0(t: Tracer, x: Any) -> Any:
    """np.i0: the modified Bessel function, of floats (integers are converted)."""
    return elementwise(t, "i0", np.exp, [x], "np.i0")


def kaiser(t: Tracer, M: Any, beta: Any) -> Any:
    angle = centred(t, M, "np.kaiser")
    across = apply(t, np.sqrt, apply(t, np.subtract, 1.0, apply(t, np.multiply, angle, angle)))
    return apply(t, np.true_divide, i0(t, apply(t, np.multiply, beta, across)), i0(t, beta))


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.linspace: linspace,
            np.logspace: logspace,
            np.geomspace: geomspace,
            np.indices: indices,
            np.fromfunction: fromfunction,
            np.meshgrid: meshgrid,
            np.fft.fftfreq: fftfreq,
            np.fft.rfftfreq: rfftfreq,
            np.hanning: window((0.5, 0.5), "np.hanning"),
            np.hamming: window((0.54, 0.46), "np.hamming"),
            np.blackman: window((0.42, 0.5, 0.08), "np.blackman"),
            np.bartlett: bartlett,
            np.kaiser: kaiser,
            np.i0: i0,
        }
    )
