"""Bindings of NumPy's polynomials: vectors of coefficients, the highest power first.

In: coefficients and points as abstract values. Out: values and new vectors of coefficients. What NumPy makes of a
polynomial by dropping leading zeros is refused where there are any, since the length would depend on the values.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import F64, I64
from . import bind_elementwise, integers, numeric, views
from .bind_calculus import add_at, convolution, less, window
from .bind_elementwise import apply
from .bind_join import concatenate
from .bind_rearrange import vander
from .bind_reduce import SUM, converted_array
from .bind_sequences import run_template
from .bind_shape import with_axes
from .context import Tracer
from .numeric import element, static_int
from .values import Number, Reference

__all__ = ["register"]


def coefficients(t: Tracer, p: Any, what: str) -> Reference:
    ref: Reference = with_axes(t, element(t, p, what), 1)
    if ref.rank != 1:
        t.unsupported(f"{what} of coefficients in {ref.rank} axes", "use a vector of coefficients")
    return ref


HORNER = """
def horner(p, x, y):
    for k in range(p.shape[0]):
        y = y * x + p[k]
    return y
"""
HORNER_OF_ARRAYS = """
def horner(p, x, y):
    for k in range(p.shape[0]):
        y[...] = y * x + p[k]
    return y
"""


def polyval(t: Tracer, p: Any, x: Any) -> Any:
    """np.polyval by Horner's rule."""
    given = coefficients(t, p, "np.polyval")
    x = element(t, x, "np.polyval")
    kind = bind_elementwise.result_dtype(t, given, x)
    if not isinstance(x, Reference):
        start = Number(Const(0, kind))
        return run_template(t, HORNER, [converted_array(t, given, kind), x, start])
    shape = views.extents(t, x)
    start_array = t.new_array(t.emit1("fill", [Const(0, kind), *shape]), shape)
    return run_template(t, HORNER_OF_ARRAYS, [given, x, start_array])


def combined(ufunc: np.ufunc, what: str) -> Any:
    """np.polyadd and np.polysub: the shorter one gets zeros in front."""

    def binding(t: Tracer, a1: Any, a2: Any) -> Any:
        a, b = coefficients(t, a1, what), coefficients(t, a2, what)
        n, m = views.extent(t, a, 0), views.extent(t, b, 0)
        size = integers.maximum(t, n, m)
        return apply(t, ufunc, lengthened(t, a, n, size), lengthened(t, b, m, size))

    return binding


def lengthened(t: Tracer, a: Reference, n: Value, size: Value) -> Reference:
    missing = integers.sub(t, size, n)
    if integers.known(missing) == 0:
        return a
    t.nonnegative.add(missing)
    zeros = t.emit1("fill", [Const(0, a.dtype), missing])
    joined = t.emit1("concat", [zeros, views.read(t, a)], {"axis": 0})
    return t.new_array(joined, [size])


def polymul(t: Tracer, a1: Any, a2: Any) -> Any:
    factors = [coefficients(t, a, "np.polymul") for a in (a1, a2)]
    for a in factors:
        several = t.emit1("gt", [views.extent(t, a, 0), Const(0, I64)])
        t.emit("check", [several], {"error": "ValueError", "message": "np.polymul of an empty polynomial"})
        first = t.emit1("index", [views.read(t, a), Const(0, I64)], {"spec": "i"})
        nonzero = t.emit1("ne", [first, Const(0, a.dtype)])
        message = "np.polymul drops leading zeros; use np.convolve, which does not"
        t.emit("check", [nonzero], {"error": "ValueError", "message": message})
    return convolution("np.polymul", False)(t, *factors)


def falling(t: Tracer, n: Value) -> Reference:
    """n, n - 1, ..., 1."""
    counted = t.emit1("iota", [n])
    return t.new_array(t.emit1("sub", [n, counted]), [n])


def polyder(t: Tracer, p: Any, m: Any = 1) -> Any:
    order = static_int(t, m, "the order of np.polyder")
    if order < 0:
        t.fail_value("Order of derivative must be positive (see polyint)")
    ref = coefficients(t, p, "np.polyder")
    for _ in range(order):
        count = less(t, views.extent(t, ref, 0), 1)
        ref = apply(t, np.multiply, window(t, ref, 0, 0, count), falling(t, count))
    return ref


def polyint(t: Tracer, p: Any, m: Any = 1, k: Any = None) -> Any:
    order = static_int(t, m, "the order of np.polyint")
    if order < 0:
        t.fail_value("Order of integral must be positive (see polyder)")
    ref = coefficients(t, p, "np.polyint")
    zero = Number(Const(0.0, numeric.to_dtype(t, np.float64)))
    constants: list[Any] = [zero] * order
    if k is not None and order:
        given = coefficients(t, k, "np.polyint")
        known = views.dims(given)[0]
        if known == 1:
            constants = [given] * order
        elif known is None or known < order:
            t.fail_value("k must be a scalar or a rank-1 array of length 1 or >m.")
        else:
            constants = [window(t, given, 0, j, 1) for j in range(order)]
    for constant in constants:
        parts = apply(t, np.true_divide, ref, falling(t, views.extent(t, ref, 0)))
        ref = concatenate(t, (parts, with_axes(t, constant, 1)))
    return ref


FROM_ROOTS = """
def poly(roots, out, add_at):
    for k in range(roots.shape[0]):
        add_at(out, 1, -roots[k] * out[:k + 1])
"""


def poly(t: Tracer, seq_of_zeros: Any) -> Any:
    """np.poly: the product of x - root over given roots."""
    roots = coefficients(t, seq_of_zeros, "np.poly")
    roots = roots if roots.dtype.is_float else converted_array(t, roots, F64)
    kind = roots.dtype
    n = views.extent(t, roots, 0)
    size = integers.add(t, n, 1)
    zeros = t.emit1("fill", [Const(0, kind), size])
    out = t.new_array(t.emit1("update", [zeros, Const(1, kind), Const(0, I64)], {"spec": "i"}), [size])
    run_template(t, FROM_ROOTS, [roots, out, add_at])
    return out


def polyfit(
    t: Tracer, x: Any, y: Any, deg: Any, rcond: Any = None, full: Any = False, w: Any = None, cov: Any = False
) -> Any:
    """np.polyfit: least squares in the columns of np.vander, each scaled to length one."""
    from .bindings import TABLE

    if full or cov:
        t.unsupported("np.polyfit with `full` or `cov`", "fit with np.linalg.lstsq of np.vander(x, deg + 1)")
    points, values = as_float(t, x), as_float(t, y)
    order = static_int(t, deg, "the degree of np.polyfit") + 1
    if order < 1:
        t.fail_value("expected deg >= 0")
    if points.rank != 1 or values.rank not in (1, 2):
        t.type_error("np.polyfit fits a vector or the columns of a matrix at a vector of points")
    n = views.extent(t, points, 0)
    numeric.agree(t, n, views.extent(t, values, 0), "expected x and y to have same length")
    left, right = vander(t, points, order), values
    if w is not None:
        weights = as_float(t, w)
        numeric.agree(t, n, views.extent(t, weights, 0), "expected w and y to have the same length")
        rows = views.select(t, weights, [None, "new"])
        left = apply(t, np.multiply, left, rows)
        right = apply(t, np.multiply, right, rows if values.rank == 2 else weights)
    if rcond is None:
        eps = np.finfo(left.dtype.numpy).eps.item()
        rcond = apply(t, np.multiply, Number(numeric.cast(t, n, left.dtype)), eps)
    scale = apply(t, np.sqrt, SUM(t, apply(t, np.multiply, left, left), 0))
    found = TABLE[np.linalg.lstsq](t, apply(t, np.true_divide, left, scale), right, rcond)[0]
    column = scale if values.rank == 1 else views.select(t, scale, [None, "new"])
    return apply(t, np.true_divide, found, column)


def as_float(t: Tracer, x: Any) -> Reference:
    a = numeric.as_reference(t, x, "np.polyfit")
    return a if a.dtype.is_float else converted_array(t, a, F64)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.polyfit: polyfit,
            np.polyval: polyval,
            np.polyadd: combined(np.add, "np.polyadd"),
            np.polysub: combined(np.subtract, "np.polysub"),
            np.polymul: polymul,
            np.polyder: polyder,
            np.polyint: polyint,
            np.poly: poly,
        }
    )
