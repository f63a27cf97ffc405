"""Bindings of statistics: average, cov, corrcoef, the reductions that skip NaN, and comparisons of whole arrays.

In: arrays as abstract values. Out: compositions of reductions and selections. A NaN that is skipped has a derivative of
zero by structure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.core import Const
from . import bind_products, bind_reduce, integers, numeric, views
from .bind_elementwise import apply, isclose, where
from .bind_join import concatenate
from .bind_reduce import ALL, ARGMAX, ARGMIN, CUMPROD, CUMSUM, MAX, MEAN, MIN, PROD, SUM, into
from .bind_shape import axes_given, broadcast_to, with_axes
from .context import Tracer
from .numeric import as_reference, element
from .values import Number, Reference

__all__ = ["register"]

# ---------------------------------------------------------------- means with weights


def average(
    t: Tracer, a: Any, axis: Any = None, weights: Any = None, returned: Any = False, keepdims: Any = False
) -> Any:
    a = element(t, a, "np.average")
    if weights is None:
        result = MEAN(t, a, axis, keepdims=keepdims)
        kind = bind_reduce.float_dtype(t, a, None)
        scale: Any = bind_reduce.count_of(t, a, axis, kind)
    else:
        w = fitted(t, a, element(t, weights, "the weights of np.average"), axis)
        kind = bind_reduce.float_dtype(t, a, numeric.to_dtype(t, np.result_type(own(t, a), own(t, w))).numpy)
        kind = kind if kind.is_float else numeric.to_dtype(t, np.float64)
        scale = SUM(t, w, axis, dtype=kind.numpy, keepdims=keepdims)
        zero = bind_reduce.ANY(t, apply(t, np.equal, scale, 0.0))
        some = t.emit1("logical_not", [numeric.scalar_value(t, zero)])
        message = "weights sum to zero, can't be normalized"
        t.emit("check", [some], {"error": "ZeroDivisionError", "message": message})
        total = SUM(t, apply(t, np.multiply, a, w), axis, dtype=kind.numpy, keepdims=keepdims)
        result = apply(t, np.true_divide, total, scale)
    if not returned:
        return result
    shape = tuple(Number(e, True) for e in numeric.shape_of(t, result))
    scales = broadcast_to(t, scale, shape) if shape else scale
    return result, t.new_array(views.read(t, scales), views.extents(t, scales)) if shape else scales


def own(t: Tracer, x: Any) -> Any:
    return x.dtype.numpy if isinstance(x, Number | Reference) else np.asarray(x).dtype


def fitted(t: Tracer, a: Any, w: Any, axis: Any) -> Any:
    """Weights in the shape of the array: given so, or for the axes that are averaged."""
    rank, count = numeric.rank_of(a), numeric.rank_of(w)
    if rank == count:
        for x, y in zip(numeric.shape_of(t, a), numeric.shape_of(t, w)):
            numeric.agree(t, x, y, "Axis must be specified when shapes of a and weights differ")
        return w
    if axis is None:
        t.type_error("Axis must be specified when shapes of a and weights differ.")
    axes = axes_given(t, axis, rank)
    if len(axes) != count:
        t.shape_error("Shape of weights must be consistent with shape of a along specified axis.")
    for k, e in zip(axes, numeric.shape_of(t, w)):
        numeric.agree(t, views.extent(t, a, k), e, "Shape of weights must be consistent with shape of a")
    w = views.permuted(w, [axes.index(k) for k in sorted(axes)])
    w = views.select(t, w, [None if k in axes else "new" for k in range(rank)])
    return broadcast_to(t, w, tuple(Number(e, True) for e in views.extents(t, a)))


def cov(
    t: Tracer,
    m: Any,
    y: Any = None,
    rowvar: Any = True,
    bias: Any = False,
    ddof: Any = None,
    fweights: Any = None,
    aweights: Any = None,
    *,
    dtype: Any = None,
) -> Any:
    """np.cov: products of deviations from the weighted means, over the weights' total less what `ddof` takes off."""
    rows = variables(t, m, rowvar, dtype)
    kind = rows.dtype
    if y is not None:
        other = variables(t, y, rowvar, None)
        kind = numeric.to_dtype(t, np.result_type(rows.dtype.numpy, other.dtype.numpy))
        rows, other = (bind_reduce.converted_array(t, x, kind) for x in (rows, other))
        rows = concatenate(t, (rows, other), 0)
    less = numeric.static_int(t, ddof, "`ddof` of np.cov") if ddof is not None else 0 if bias else 1
    weights: Any = None
    for given in (fweights, aweights):
        if given is not None:
            w = as_reference(t, given, "the weights of np.cov")
            if w.rank != 1:
                t.shape_error("cannot handle multidimensional weights")
            numeric.agree(
                t, views.extent(t, w, 0), views.extent(t, rows, 1), "incompatible numbers of samples and weights"
            )
            if given is fweights and not w.dtype.is_integer:
                t.unsupported("np.cov with `fweights` that are not integers", "use `aweights`")
            w = bind_reduce.converted_array(t, w, kind)
            low = t.emit1("logical_not", [bind_reduce.ANY(t, apply(t, np.less, w, 0)).value])
            t.emit("check", [low], {"error": "ValueError", "message": "weights of np.cov cannot be negative"})
            weights = w if weights is None else apply(t, np.multiply, weights, w)
    count = Number(numeric.cast(t, views.extent(t, rows, 1), kind))
    total = count if weights is None else SUM(t, weights)
    if weights is None:
        centre = MEAN(t, rows, 1, keepdims=True)
    else:
        centre = apply(t, np.true_divide, SUM(t, apply(t, np.multiply, rows, weights), 1, keepdims=True), total)
    if less == 0 or aweights is None:
        divisor = apply(t, np.subtract, total, less)
    else:
        squares = SUM(t, apply(t, np.multiply, weights, aweights))
        divisor = apply(t, np.subtract, total, apply(t, np.true_divide, apply(t, np.multiply, less, squares), total))
    divisor = apply(t, np.maximum, divisor, 0.0)
    deviation = apply(t, np.subtract, rows, centre)
    weighted = deviation if weights is None else apply(t, np.multiply, deviation, weights)
    products = bind_products.matmul(t, deviation, views.permuted(weighted, (1, 0)), what="np.cov")
    return squeezed(t, apply(t, np.true_divide, products, divisor), rows)


def variables(t: Tracer, m: Any, rowvar: Any, dtype: Any) -> Reference:
    """The variables as rows, in floats."""
    a = as_reference(t, m, "np.cov")
    if a.rank > 2:
        t.fail_value("m has more than 2 dimensions")
    kind = numeric.to_dtype(t, np.result_type(a.dtype.numpy, np.float64) if dtype is None else dtype)
    rows = with_axes(t, bind_reduce.converted_array(t, a, kind), 2)
    return rows if rowvar or a.rank == 1 else views.permuted(rows, (1, 0))


def squeezed(t: Tracer, matrix: Reference, rows: Reference) -> Any:
    """The matrix, or its one element where there is one variable."""
    known = integers.known(views.extent(t, rows, 0))
    if known == 1:
        zero = Const(0, integers.integer(0).dtype)
        return Number(t.emit1("index", [views.read(t, matrix), zero, zero], {"spec": "ii"}), False, True)
    if known is None:
        several = t.emit1("ne", [views.extent(t, rows, 0), integers.integer(1)])
        message = "np.cov of one variable gives a number, of several a matrix: pass the one variable as a vector"
        t.emit("check", [several], {"error": "ValueError", "message": message})
    return matrix


def corrcoef(t: Tracer, x: Any, y: Any = None, rowvar: Any = True, *, dtype: Any = None) -> Any:
    c = cov(t, x, y, rowvar, dtype=dtype)
    if not isinstance(c, Reference):
        return apply(t, np.true_divide, c, c)
    from .bind_shape import diagonal

    deviations = apply(t, np.sqrt, diagonal(t, c))
    c = apply(t, np.true_divide, c, views.select(t, deviations, [None, "new"]))
    c = apply(t, np.true_divide, c, views.select(t, deviations, ["new", None]))
    return apply(t, np.minimum, apply(t, np.maximum, c, -1.0), 1.0)


# ---------------------------------------------------------------- reductions that skip NaN


def without_nan(t: Tracer, a: Any, neutral: Any, what: str) -> tuple[Any, Any]:
    """An array with a value that changes nothing for NaN, and where NaN was (None where there is none)."""
    a = element(t, a, what)
    dtype = a.dtype if isinstance(a, Number | Reference) else numeric.scalar_value(t, a).dtype
    if not dtype.is_float:
        return a, None
    missing = apply(t, np.isnan, a)
    return where(t, missing, neutral, a), missing


def skipping(reduction: Callable[..., Any], neutral: Any, what: str) -> Callable[..., Any]:
    """np.nansum and its kin: NaN counts as what changes nothing."""

    def binding(
        t: Tracer,
        a: Any,
        axis: Any = None,
        dtype: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        return reduction(t, without_nan(t, a, neutral, what)[0], axis, dtype, out, keepdims, initial, where)

    return binding


def skipping_scan(scan: Callable[..., Any], neutral: Any, what: str) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return scan(t, without_nan(t, a, neutral, what)[0], axis, dtype, out)

    return binding


def extreme(reduction: Callable[..., Any], neutral: float, what: str) -> Callable[..., Any]:
    """np.nanmax and np.nanmin: NaN only where there is nothing else."""

    def binding(
        t: Tracer,
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        filled, missing = without_nan(t, a, neutral, what)
        result = reduction(t, filled, axis, None, keepdims, initial, where)
        if missing is not None and initial is None:
            nothing = ALL(t, missing, axis, keepdims=keepdims)
            result = WHERE(t, nothing, np.nan, result)
        return into(t, result, out)

    return binding


WHERE = where
"""The function, where a parameter has its name."""


def position(reduction: Callable[..., Any], neutral: float, what: str) -> Callable[..., Any]:
    def binding(t: Tracer, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
        filled, missing = without_nan(t, a, neutral, what)
        if missing is not None:
            nothing = numeric.scalar_value(t, bind_reduce.ANY(t, ALL(t, missing, axis)))
            some = t.emit1("logical_not", [nothing])
            t.emit("check", [some], {"error": "ValueError", "message": "All-NaN slice encountered"})
        return reduction(t, filled, axis, out, keepdims)

    return binding


def kept(t: Tracer, a: Any, given: Any) -> Any:
    """Where elements count: they are numbers, and `where` does not leave them out."""
    present = apply(t, np.equal, a, a)
    return present if given is True else apply(t, np.logical_and, present, given)


def nanmean(
    t: Tracer,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    where: Any = True,
) -> Any:
    a = element(t, a, "np.nanmean")
    return MEAN(t, a, axis, dtype, out, keepdims, kept(t, a, where))


def nanvar(
    t: Tracer,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    """np.nanvar: as np.var of the elements that are numbers; NaN where there are no more of them than `ddof`."""
    a = element(t, a, "np.nanvar")
    own_dtype = a.dtype if isinstance(a, Number | Reference) else numeric.scalar_value(t, a).dtype
    if not own_dtype.is_float:
        return bind_reduce.var(t, a, axis, dtype, out, ddof, keepdims, where, mean, correction)
    counted = kept(t, a, where)
    kind = bind_reduce.float_dtype(t, a, dtype)
    less = ddof if correction is None else correction
    result = bind_reduce.var(t, a, axis, dtype, None, ddof, keepdims, counted, mean, correction)
    count = bind_reduce.count_of(t, a, axis, kind, counted, keepdims)
    enough = apply(t, np.greater, count, less)
    return into(t, WHERE(t, enough, result, np.nan), out)


def nanstd(
    t: Tracer,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = False,
    where: Any = True,
    mean: Any = None,
    correction: Any = None,
) -> Any:
    found = nanvar(t, a, axis, dtype, None, ddof, keepdims, where, mean, correction)
    return into(t, apply(t, np.sqrt, found), out)


# ---------------------------------------------------------------- comparisons of arrays


def allclose(t: Tracer, a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: Any = False) -> Any:
    return ALL(t, isclose(t, a, b, rtol, atol, equal_nan))


def array_equal(t: Tracer, a1: Any, a2: Any, equal_nan: Any = False) -> Any:
    """np.array_equal: the same shape and the same elements."""
    a, b = element(t, a1, "np.array_equal"), element(t, a2, "np.array_equal")
    x, y = numeric.shape_of(t, a), numeric.shape_of(t, b)
    if len(x) != len(y):
        return False
    differ = [(m, n) for m, n in zip(x, y) if not integers.same(m, n)]
    if any(None not in (integers.known(m), integers.known(n)) for m, n in differ):
        return False
    if differ:
        t.unsupported(
            "np.array_equal of arrays whose shapes are known to be the same only at run time",
            "compare the shapes first, then write `np.all(a == b)`",
        )
    same = apply(t, np.equal, a, b)
    if equal_nan:
        both = apply(t, np.logical_and, apply(t, np.not_equal, a, a), apply(t, np.not_equal, b, b))
        same = apply(t, np.logical_or, same, both)
    return ALL(t, same)


def apply_over_axes(t: Tracer, func: Any, a: Any, axes: Any) -> Any:
    from . import calls

    value = as_reference(t, a, "np.apply_over_axes")
    for k in axes_given(t, axes, value.rank):
        result = calls.call(t, func, [value, k], {})
        if numeric.rank_of(result) not in (value.rank, value.rank - 1):
            t.fail_value("function is not returning an array of the correct shape")
        if numeric.rank_of(result) == value.rank:
            value = result
        elif isinstance(result, Reference):
            value = views.select(t, result, [*[None] * k, "new", *[None] * (result.rank - k)])
        else:
            value = with_axes(t, result, 1)
    return value


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.average: average,
            np.cov: cov,
            np.corrcoef: corrcoef,
            np.nansum: skipping(SUM, 0, "np.nansum"),
            np.nanprod: skipping(PROD, 1, "np.nanprod"),
            np.nancumsum: skipping_scan(CUMSUM, 0, "np.nancumsum"),
            np.nancumprod: skipping_scan(CUMPROD, 1, "np.nancumprod"),
            np.nanmax: extreme(MAX, -np.inf, "np.nanmax"),
            np.nanmin: extreme(MIN, np.inf, "np.nanmin"),
            np.nanargmax: position(ARGMAX, -np.inf, "np.nanargmax"),
            np.nanargmin: position(ARGMIN, np.inf, "np.nanargmin"),
            np.nanmean: nanmean,
            np.nanvar: nanvar,
            np.nanstd: nanstd,
            np.allclose: allclose,
            np.array_equal: array_equal,
            np.apply_over_axes: apply_over_axes,
        }
    )
