"""Bindings that count: bincount, histogram, histogram2d, histogramdd, histogram_bin_edges.

In: arrays as abstract values. Out: counts, or sums of weights, per bin. Which bin an element is in is data: it does not
move with the element. Sums of weights have a derivative with respect to the weights (a scatter_add forwards, a gather
backwards), and edges that NumPy computes from the data have one with respect to the least and greatest element.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64, DType
from . import integers, numeric, selections, views
from .bind_elementwise import apply, result_dtype
from .bind_order import neighbours, searched
from .bind_quantiles import choose
from .bind_shape import product, ravel, reshape, sequence
from .context import Tracer
from .merges import stage_if
from .numeric import as_reference, cast, element, is_number
from .values import ListObject, Number, Reference

__all__ = ["register"]

Extent = Value


def reduced(t: Tracer, name: str, value: Value) -> Value:
    return t.emit1(name, [value], {"axes": tuple(range(value.rank))})


def require(t: Tracer, ok: Value, message: str, *details: Value) -> None:
    """Refuse at run time, as a ValueError."""
    t.emit("check", [ok, *details], {"error": "ValueError", "message": message})


def flat(t: Tracer, a: Any, what: str) -> Reference:
    a = element(t, a, what)
    return ravel(t, a) if isinstance(a, Reference) else as_reference(t, reshape(t, a, (1,)), what)


def summed(t: Tracer, places: Value, weights: Value | None, dtype: DType, bins: Value) -> Value:
    """Per bin the sum of what belongs there (1 each without weights); `bins` itself is the place of what does not."""
    zeros = t.emit1("fill", [Const(0, dtype), integers.add(t, bins, 1)])
    what = Const(1, dtype) if weights is None else weights
    total = t.emit1("scatter_add", [zeros, what, places], {"axes": (0,)})
    return t.emit1("index", [total, Const(0, I64), bins, Const(1, I64)], {"spec": "s"})


def extremes(t: Tracer, ref: Reference, value: Value, of_nothing: tuple[int, int]) -> tuple[Value, Value]:
    """The least and the greatest element of an array's contents; of an array without elements, what is given."""
    some = t.emit1("ne", [product(t, views.extents(t, ref)), Const(0, I64)])
    names = ("reduce_min", "reduce_max")
    low, high = stage_if(
        t,
        some,
        lambda: tuple(Number(reduced(t, name, value)) for name in names),
        lambda: tuple(Number(Const(k, value.dtype)) for k in of_nothing),
    )
    return low.value, high.value


# ---------------------------------------------------------------- bincount


def bincount(t: Tracer, x: Any, weights: Any = None, minlength: Any = 0) -> Any:
    """np.bincount: as many bins as the greatest element says, at least `minlength`."""
    ref = as_reference(t, x, "np.bincount")
    if ref.rank != 1:
        t.shape_error("np.bincount counts the elements of a vector")
    if ref.dtype.is_float or ref.dtype.numpy == np.uint64:
        t.type_error("np.bincount counts integers", "convert with `.astype(np.int64)`")
    least = numeric.integer_value(t, minlength, "`minlength`")
    if not integers.is_nonnegative(t, least):
        require(t, t.emit1("ge", [least, Const(0, I64)]), "'minlength' must not be negative")
    places = cast(t, views.read(t, ref), I64)
    low, high = extremes(t, ref, places, (0, -1))
    require(t, t.emit1("ge", [low, Const(0, I64)]), "np.bincount: there is a negative element, {0}", low)
    places = t.emit1("maximum", [places, Const(0, I64)])  # inside, whatever becomes of the check
    size = t.emit1("add", [t.emit1("maximum", [high, Const(-1, I64)]), Const(1, I64)])
    bins = t.emit1("maximum", [size, least])
    t.nonnegative.add(bins)
    if weights is None:
        zeros = t.emit1("fill", [Const(0, I64), bins])
        return t.new_array(t.emit1("scatter_add", [zeros, Const(1, I64), places], {"axes": (0,)}), [bins])
    given = as_reference(t, weights, "the weights of np.bincount")
    if given.rank != 1:
        t.shape_error("the weights of np.bincount are a vector")
    numeric.agree(t, views.extent(t, ref, 0), views.extent(t, given, 0), "the weights and list don't have one length")
    zeros = t.emit1("fill", [Const(0, F64), bins])
    value = cast(t, views.read(t, given), F64)
    return t.new_array(t.emit1("scatter_add", [zeros, value, places], {"axes": (0,)}), [bins])


# ---------------------------------------------------------------- bins of a histogram


@dataclass(frozen=True)
class Bins:
    """Edges, and how many bins they bound; `ends` (the first and last edge) where the bins are equally wide."""

    edges: Reference
    count: Value
    ends: tuple[Any, Any] | None = None


def outer_edges(t: Tracer, a: Reference, range_: Any) -> tuple[Any, Any]:
    """The first and the last edge of equal bins."""
    if range_ is not None:
        parts = t.items(range_) if isinstance(range_, ListObject) else range_
        if not isinstance(parts, tuple) or len(parts) != 2 or not all(is_number(p) for p in parts):
            t.type_error("`range` is a pair of numbers")
        first, last = parts
        ordered = numeric.truth(t, apply(t, np.less_equal, first, last))
        if ordered is False:
            t.fail_value("max must be larger than min in range parameter")
        if isinstance(ordered, Value):
            require(t, ordered, "max must be larger than min in range parameter")
        message = "the range of the histogram is not finite"
    else:
        value = views.read(t, a)
        if value.dtype is BOOL:
            value = cast(t, value, I64)
        first, last = map(Number, extremes(t, a, value, (0, 1)))
        message = "autodetected range of the histogram is not finite"
    for edge in (first, last):
        if not isinstance(edge, int | np.integer) and not (isinstance(edge, Number) and not edge.dtype.is_float):
            finite = numeric.truth(t, apply(t, np.isfinite, edge))
            if finite is False:
                t.fail_value(message)
            if isinstance(finite, Value):
                require(t, finite, message)
    if is_static(first) and is_static(last):
        return (first - 0.5, last + 0.5) if first == last else (first, last)
    same = apply(t, np.equal, first, last)
    return (
        choose(t, same, apply(t, np.subtract, first, 0.5), first),
        choose(t, same, apply(t, np.add, last, 0.5), last),
    )


def is_static(x: Any) -> bool:
    return not isinstance(x, Number)


def dtype_of_edges(*values: Any) -> np.dtype[Any]:
    """What NumPy computes edges in: at least a float, Python's numbers being weak."""
    probes = []
    for v in values:
        spec = numeric.dtype_spec(v)
        probes.append(spec(0) if numeric.is_python_type(spec) else spec)
    found = np.result_type(*probes)
    return np.result_type(found, float) if found.kind in "biu" else found


def equal_bins(t: Tracer, a: Reference, bins: Any, range_: Any) -> Bins:
    """`np.linspace` of the outer edges."""
    count = numeric.integer_value(t, bins, "the number of bins")
    known = integers.known(count)
    if known is None:
        require(t, t.emit1("gt", [count, Const(0, I64)]), "`bins` must be positive, when an integer")
        t.nonnegative.add(count)
    elif known < 1:
        t.fail_value("`bins` must be positive, when an integer")
    first, last = outer_edges(t, a, range_)
    kind = numeric.to_dtype(t, dtype_of_edges(first, last, a))
    strong = [np.dtype(np.float64) if is_static(e) or e.weak else e.dtype.numpy for e in (first, last)]
    inner = numeric.to_dtype(t, dtype_of_edges(*(Number(Const(0, numeric.to_dtype(t, d))) for d in strong)))
    low, high = (cast(t, numeric.scalar_value(t, e), inner) for e in (first, last))
    size = integers.add(t, count, 1)
    step = t.emit1("div", [t.emit1("sub", [high, low]), cast(t, count, inner)])
    k = t.emit1("iota", [size])
    value = t.emit1("add", [t.emit1("mul", [cast(t, k, inner), step]), low])
    value = cast(t, t.emit1("select", [t.emit1("eq", [k, count]), high, value]), kind)
    before, after = neighbours(t, value, size)
    rising = reduced(t, "reduce_all", t.emit1("lt", [before, after]))
    require(t, rising, "Too many bins for data range. Cannot create {0} finite-sized bins.", count)
    return Bins(t.new_array(value, [size]), count, (first, last))


def given_bins(t: Tracer, bins: Any) -> Bins:
    edges = as_reference(t, bins, "the bins of a histogram")
    if edges.rank != 1:
        t.shape_error("`bins` must be 1d, when an array")
    size = views.extent(t, edges, 0)
    if integers.known(size) is None:
        require(t, t.emit1("gt", [size, Const(0, I64)]), "a histogram needs at least one edge")
    elif integers.known(size) == 0:
        t.fail_value("a histogram needs at least one edge")
    before, after = neighbours(t, views.read(t, edges), size)
    rising = t.emit1("logical_not", [reduced(t, "reduce_any", t.emit1("gt", [before, after]))])
    require(t, rising, "`bins` must increase monotonically, when an array")
    return Bins(edges, integers.clamp_low(t, integers.sub(t, size, 1)))


def bins_of(t: Tracer, a: Reference, bins: Any, range_: Any, what: str) -> Bins:
    if isinstance(bins, str):
        t.unsupported(f"{what} with bins chosen by a rule", "give their number, or the edges")
    if isinstance(bins, Number | int | np.integer) and not isinstance(bins, bool):
        return equal_bins(t, a, bins, range_)
    return given_bins(t, bins)


def edge(t: Tracer, bins: Bins, at: Value) -> Value:
    """Edges at positions that lie inside."""
    value = views.read(t, bins.edges)
    if at.is_array:
        return t.emit1("gather", [value, at], {"axes": (0,)})
    return t.emit1("index", [value, at], {"spec": "i"})


def among_edges(t: Tracer, a: Reference, bins: Bins) -> Value:
    """The bin of each element, by a search among the edges; the number of bins for what is in none."""
    found = numeric.value_of(t, searched(t, views.read(t, bins.edges), a, "right"))
    found = t.emit1("sub", [found, Const(1, I64)])
    at_end = numeric.value_of(t, apply(t, np.equal, a, Number(edge(t, bins, bins.count))))
    found = t.emit1("select", [at_end, integers.sub(t, bins.count, 1), found])
    outside = t.emit1("logical_or", [t.emit1("lt", [found, Const(0, I64)]), t.emit1("ge", [found, bins.count])])
    return t.emit1("select", [outside, bins.count, found])


def among_equal(t: Tracer, a: Reference, bins: Bins) -> Value:
    """The bin of each element, by division; then at most one bin further, so that the edges decide."""
    assert bins.ends is not None
    first, last = bins.ends
    one = Const(1, I64)
    keep = apply(t, np.logical_and, apply(t, np.greater_equal, a, first), apply(t, np.less_equal, a, last))
    inside = numeric.value_of(t, keep)
    own = views.extents(t, a)
    elements = t.new_array(cast(t, views.read(t, a), bins.edges.dtype), own)
    width = apply(t, np.subtract, last, first)
    share = apply(t, np.true_divide, apply(t, np.subtract, elements, first), width)
    share = apply(t, np.multiply, share, Number(bins.count, True))
    value = numeric.value_of(t, share)
    value = t.emit1("select", [inside, value, Const(0, value.dtype)])
    found = cast(t, value, I64)
    top = integers.sub(t, bins.count, 1)
    found = t.emit1("minimum", [found, top])
    x = views.read(t, elements)
    below = t.emit1("lt", [x, edge(t, bins, found)])
    found = t.emit1("sub", [found, cast(t, t.emit1("logical_and", [inside, below]), I64)])
    above = t.emit1("ge", [x, edge(t, bins, t.emit1("add", [found, one]))])
    up = t.emit1("logical_and", [above, t.emit1("ne", [found, top])])
    found = t.emit1("add", [found, cast(t, up, I64)])
    return t.emit1("select", [inside, found, bins.count])


# ---------------------------------------------------------------- histograms


def histogram(
    t: Tracer, a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Any, Any]:
    what = "np.histogram"
    given = weights_of(t, a, weights, what)
    data = flat(t, a, what)
    made = bins_of(t, data, bins, range, what)
    places = among_equal(t, data, made) if made.ends is not None else among_edges(t, data, made)
    if given is None:
        counts = summed(t, places, None, I64, made.count)
    else:
        wide = F64 if made.ends is not None else given.dtype
        counts = cast(t, summed(t, places, cast(t, views.read(t, given), wide), wide, made.count), given.dtype)
    n: Any = t.new_array(counts, [made.count])
    if density:
        n = apply(t, np.true_divide, n, widths(t, made))
        total = Number(reduced(t, "reduce_sum", counts))
        n = apply(t, np.true_divide, n, total)
    return n, made.edges


def weights_of(t: Tracer, a: Any, weights: Any, what: str) -> Reference | None:
    """Weights, one for each element, flat."""
    if weights is None:
        return None
    given = as_reference(t, weights, f"the weights of {what}")
    if given.dtype is BOOL:
        t.type_error(f"the weights of {what} are numbers", "convert with `.astype(float)`")
    own, other = numeric.shape_of(t, element(t, a, what)), views.extents(t, given)
    if len(own) != len(other):
        t.shape_error("weights should have the same shape as a")
    for x, y in zip(own, other):
        numeric.agree(t, x, y, "weights should have the same shape as a")
    flattened: Reference = ravel(t, given)
    return flattened


def widths(t: Tracer, bins: Bins) -> Reference:
    value = cast(t, views.read(t, bins.edges), F64)
    before, after = neighbours(t, value, views.extent(t, bins.edges, 0))
    return t.new_array(t.emit1("sub", [after, before]), [bins.count])


def histogram_bin_edges(t: Tracer, a: Any, bins: Any = 10, range: Any = None, weights: Any = None) -> Any:
    return bins_of(t, flat(t, a, "np.histogram_bin_edges"), bins, range, "np.histogram_bin_edges").edges


def listed(t: Tracer, x: Any) -> list[Any] | None:
    """The entries of a list or tuple; None of anything else."""
    items = t.items(x) if isinstance(x, ListObject) else x
    return list(items) if isinstance(items, tuple) else None


def per_axis(t: Tracer, x: Any, count: int, what: str) -> list[Any]:
    """One entry for each axis of the sample; one thing for all stands for itself."""
    entries = listed(t, x)
    if entries is None:
        return [x] * count
    if len(entries) != count:
        t.fail_value(f"{what} has {len(entries)} entries for {count} axes")
    return entries


def many_axes(
    t: Tracer, sample: Sequence[Reference], bins: Any, range_: Any, density: Any, weights: Reference | None, what: str
) -> tuple[Any, list[Any]]:
    """A histogram with an axis per coordinate: bins by a search among the edges, for equal ones too."""
    kind = result_dtype(t, *sample)  # NumPy makes one array of all
    data = [t.new_array(cast(t, views.read(t, d), kind), views.extents(t, d)) for d in sample]
    for d in data[1:]:
        numeric.agree(t, views.extent(t, data[0], 0), views.extent(t, d, 0), "coordinates must have the same length")
    count = len(data)
    limits = per_axis(t, range_, count, f"the range of {what}")
    made = [bins_of(t, d, b, r, what) for d, b, r in zip(data, per_axis(t, bins, count, "`bins`"), limits)]
    shape = [b.count for b in made]
    size = product(t, shape)
    places = [among_edges(t, d, b) for d, b in zip(data, made)]
    outside = t.emit1("eq", [places[0], shape[0]])
    for found, bound in zip(places[1:], shape[1:]):
        outside = t.emit1("logical_or", [outside, t.emit1("eq", [found, bound])])
    place = t.emit1("select", [outside, size, selections.linear(t, places, shape)])
    value = None if weights is None else cast(t, views.read(t, weights), F64)
    counts = t.emit1("reshape", [summed(t, place, value, F64, size), *shape])
    n: Any = t.new_array(counts, shape)
    if density:
        total = Number(reduced(t, "reduce_sum", counts))
        for axis, b in enumerate(made):
            width = views.select(t, widths(t, b), [None if k == axis else "new" for k in range(count)])
            n = apply(t, np.true_divide, n, width)
        n = apply(t, np.true_divide, n, total)
    return n, [b.edges for b in made]


def histogram2d(
    t: Tracer, x: Any, y: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Any, Any, Any]:
    what = "np.histogram2d"
    entries = listed(t, bins)
    if entries is not None and len(entries) not in (1, 2):  # edges, of both axes
        bins = as_reference(t, bins, "`bins`")
    given = weights_of(t, x, weights, what)
    n, edges = many_axes(t, [flat(t, v, what) for v in (x, y)], bins, range, density, given, what)
    return n, edges[0], edges[1]


def histogramdd(
    t: Tracer, sample: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None
) -> tuple[Any, Any]:
    """np.histogramdd of rows of coordinates, or of a list of vectors."""
    what = "np.histogramdd"
    if isinstance(sample, Reference) and sample.rank == 2:
        known = [views.dims(sample)[1], *(len(e) for e in (listed(t, bins), listed(t, range)) if e is not None)]
        count = next((k for k in known if k is not None), None)
        if count is None:
            t.static_needed(
                "np.histogramdd of an array whose number of columns is known only at run time",
                "give `bins` or `range` as a list, or the columns as a list of vectors",
            )
        numeric.agree(t, Const(count, I64), views.extent(t, sample, 1), "`bins` or `range` has another length")
        columns = [views.select(t, sample, [None, (Const(k, I64),)]) for k in builtins.range(count)]
    else:
        columns = [flat(t, v, what) for v in sequence(t, sample, what)]
    given = None if weights is None else flat(t, weights, what)
    if given is not None:
        numeric.agree(t, views.extent(t, columns[0], 0), views.extent(t, given, 0), "weights have another length")
    n, edges = many_axes(t, columns, bins, range, density, given, what)
    return n, t.new_list(edges)


def register() -> None:
    from .bindings import TABLE

    TABLE.update(
        {
            np.bincount: bincount,
            np.histogram: histogram,
            np.histogram_bin_edges: histogram_bin_edges,
            np.histogram2d: histogram2d,
            np.histogramdd: histogramdd,
        }
    )
