"""Bindings of median, percentile, quantile and their forms that leave out NaN.

In: arrays and probabilities as abstract values. Out: elements of the sorted array, or mixtures of two neighbours: a
gather, so that the derivative goes to the elements that stand there (and, through the weights of the mixture, to the
probability). Positions, weights and the mixture are computed as NumPy computes them, so that values are its values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Const, Value
from ..ir.types import BOOL, F64, I64
from . import indexing, integers, numeric, views
from .bind_elementwise import apply, result_dtype
from .bind_order import sorted_along
from .bind_reduce import axes_of, into, mean
from .bind_shape import reshape
from .context import Tracer
from .numeric import cast, element
from .subscripts import Inside
from .values import Number, Reference

__all__ = ["register"]

# ---------------------------------------------------------------- methods


@dataclass(frozen=True)
class Method:
    """Where a quantile lies among n ordered elements: `place(t, n, q)`, a real number from 0 to n - 1, or `whole`.

    `weight(t, fraction, place)` says how much of the upper neighbour the result has.
    """

    place: Callable[[Tracer, Any, Any], Any]
    weight: Callable[[Tracer, Any, Any], Any] = lambda t, fraction, place: fraction
    whole: bool = False


def from_first(t: Tracer, n: Any, q: Any) -> Any:
    return apply(t, np.multiply, apply(t, np.subtract, n, 1), q)


def rounded(ufunc: np.ufunc) -> Method:
    return Method(lambda t, n, q: apply(t, ufunc, from_first(t, n, q)), whole=True)


def middle(t: Tracer, n: Any, q: Any) -> Any:
    place = from_first(t, n, q)
    return apply(t, np.multiply, 0.5, apply(t, np.add, apply(t, np.floor, place), apply(t, np.ceil, place)))


def half_unless_whole(t: Tracer, fraction: Any, place: Any) -> Any:
    return choose(t, apply(t, np.equal, apply(t, np.remainder, place, 1), 0), 0.0, 0.5)


def one_unless_whole(t: Tracer, fraction: Any, place: Any) -> Any:
    return choose(t, apply(t, np.equal, fraction, 0), 0.5, 1.0)


def continuous(alpha: float, beta: float) -> Method:
    def place(t: Tracer, n: Any, q: Any) -> Any:
        shift = apply(t, np.add, alpha, apply(t, np.multiply, q, 1 - alpha - beta))
        return apply(t, np.subtract, apply(t, np.add, apply(t, np.multiply, n, q), shift), 1)

    return Method(place)


def before_first(t: Tracer, n: Any, q: Any) -> Any:
    return apply(t, np.subtract, apply(t, np.multiply, n, q), 1)


def step(t: Tracer, place: Any, stays: Any) -> Any:
    """The place's lower neighbour where `stays`, else the upper one; at least 0."""
    low = apply(t, np.floor, place)
    chosen = choose(t, stays, low, apply(t, np.add, low, 1))
    return apply(t, np.maximum, chosen, 0)


def inverted_cdf(t: Tracer, n: Any, q: Any) -> Any:
    place = before_first(t, n, q)
    return step(t, place, apply(t, np.equal, place, apply(t, np.floor, place)))


def closest_observation(t: Tracer, n: Any, q: Any) -> Any:
    place = apply(t, np.subtract, before_first(t, n, q), 0.5)
    low = apply(t, np.floor, place)
    odd = apply(t, np.equal, apply(t, np.remainder, low, 2), 1)
    return step(t, place, apply(t, np.logical_and, apply(t, np.equal, place, low), odd))


METHODS = {
    "linear": Method(from_first),
    "lower": rounded(np.floor),
    "higher": rounded(np.ceil),
    "nearest": rounded(np.rint),
    "midpoint": Method(middle, half_unless_whole),
    "inverted_cdf": Method(inverted_cdf, whole=True),
    "closest_observation": Method(closest_observation, whole=True),
    "averaged_inverted_cdf": Method(before_first, one_unless_whole),
    "interpolated_inverted_cdf": continuous(0, 1),
    "hazen": continuous(0.5, 0.5),
    "weibull": continuous(0, 0),
    "median_unbiased": continuous(1 / 3.0, 1 / 3.0),
    "normal_unbiased": continuous(3 / 8.0, 3 / 8.0),
}


def choose(t: Tracer, condition: Any, a: Any, b: Any) -> Any:
    """`np.where` without the 0-d array that it makes of a number."""
    kind = result_dtype(t, a, b)
    return numeric.emit_elementwise(t, "select", [condition, a, b], [BOOL, kind, kind], "a choice")


# ---------------------------------------------------------------- the array, sorted


@dataclass(frozen=True)
class Ordered:
    """An array sorted along its last axis, which the axes to be reduced were made: `size` is its extent."""

    rows: Reference
    size: Value
    source: Reference
    axes: tuple[int, ...]

    @property
    def rest(self) -> int:
        return self.rows.rank - 1


def ordered(t: Tracer, a: Any, axis: Any, what: str) -> Ordered:
    a = element(t, a, what)
    ref = a if isinstance(a, Reference) else numeric.as_reference(t, reshape(t, a, (1,)), what)
    axes = axes_of(t, axis, ref.rank)
    if not axes:
        t.unsupported(f"{what} along no axis", "name an axis, or leave `axis` out")
    kept = [k for k in range(ref.rank) if k not in axes]
    rows = views.permuted(ref, [*kept, *axes])
    own = views.extents(t, rows)
    if len(axes) > 1:
        size: Value = Const(1, I64)
        for e in own[len(kept) :]:
            size = integers.mul(t, size, e)
        value = t.emit1("reshape", [views.read(t, rows), *own[: len(kept)], size])
        rows = t.new_array(value, [*own[: len(kept)], size])
    return Ordered(sorted_along(t, rows, rows.rank - 1), views.extent(t, rows, rows.rank - 1), ref, axes)


def pick(t: Tracer, data: Ordered, places: Any) -> Any:
    """The sorted elements at `places`, whole numbers inside, whose last axes are those that are kept."""
    value = numeric.cast(t, numeric.value_of(t, places), I64)
    shape = views.extents(t, data.rows)
    index: list[Any] = []
    for k in range(data.rest):
        counted = t.emit1("iota", [shape[k]])
        own = [shape[k] if j == k else Const(1, I64) for j in range(data.rest)]
        grid = counted if data.rest == 1 else t.emit1("broadcast", [counted, *own], {"axes": (k,)})
        index.append(Inside(t.new_array(grid, own)))
    if value.is_array:
        index.append(Inside(t.new_array(value, numeric.shape_of(t, places))))
    else:
        t.nonnegative.add(value)
        index.append(Number(value))
    return indexing.load(t, data.rows, tuple(index))


def with_axes(t: Tracer, x: Any, data: Ordered, keepdims: Any, lead: int = 0) -> Any:
    """A result with the reduced axes put back as axes of extent 1, after `lead` axes of its own."""
    if not keepdims:
        return x
    if not isinstance(x, Reference):
        return reshape(t, x, (1,) * data.source.rank)
    own = list(range(data.source.rank))
    return views.select(t, x, [None] * lead + ["new" if k in data.axes else None for k in own])


def not_overwritten(t: Tracer, overwrite_input: Any, what: str) -> None:
    if overwrite_input is not False:
        t.unsupported(f"{what} with overwrite_input", "leave `overwrite_input` out: nothing is copied needlessly")


def not_empty(t: Tracer, size: Value, what: str) -> None:
    if integers.known(size) is None:
        some = t.emit1("gt", [size, Const(0, I64)])
        t.emit("check", [some], {"error": "ValueError", "message": f"{what} of an array without elements"})
    elif integers.known(size) == 0:
        t.shape_error(f"{what} of an array without elements")


# ---------------------------------------------------------------- medians


def median(
    t: Tracer, a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, keepdims: Any = False
) -> Any:
    """np.median: the mean of the one or two elements in the middle; NaN where there is one, or nothing."""
    not_overwritten(t, overwrite_input, "np.median")
    data = ordered(t, a, axis, "np.median")
    n = data.size
    half = t.emit1("floordiv", [n, Const(2, I64)])
    low = integers.clamp_low(t, t.emit1("floordiv", [integers.sub(t, n, 1), Const(2, I64)]))
    count = integers.minimum(t, integers.add(t, integers.sub(t, half, low), 1), n)
    span = views.select(t, data.rows, [*[None] * data.rest, (low, count, Const(1, I64))])
    result = mean(t, span, -1)
    if data.rows.dtype.is_float:
        one = integers.minimum(t, n, 1)
        last = views.select(t, data.rows, [*[None] * data.rest, (integers.sub(t, n, one), one, Const(1, I64))])
        value = views.read(t, last)
        bad = t.emit1("reduce_any", [t.emit1("ne", [value, value])], {"axes": (data.rest,)})
        result = choose(t, numeric.wrap(t, bad, numeric.shape_of(t, result)), np.nan, result)
    return into(t, with_axes(t, result, data, keepdims), out)


def numbers_in(t: Tracer, data: Ordered) -> Any:
    """How many elements of each row are not NaN."""
    if not data.rows.dtype.is_float:
        return Number(data.size, True)
    value = views.read(t, data.rows)
    there = t.emit1("cast", [t.emit1("eq", [value, value])], {"dtype": I64})
    count = t.emit1("reduce_sum", [there], {"axes": (data.rest,)})
    return numeric.wrap(t, count, views.extents(t, data.rows)[:-1])


def nanmedian(
    t: Tracer, a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, keepdims: Any = False
) -> Any:
    not_overwritten(t, overwrite_input, "np.nanmedian")
    data = ordered(t, a, axis, "np.nanmedian")
    not_empty(t, data.size, "np.nanmedian")
    n = numbers_in(t, data)
    low = apply(t, np.maximum, apply(t, np.floor_divide, apply(t, np.subtract, n, 1), 2), 0)
    high = apply(t, np.floor_divide, n, 2)
    a_low, a_high = pick(t, data, low), pick(t, data, high)
    kind = data.rows.dtype if data.rows.dtype.is_float else F64
    both = apply(t, np.add, in_dtype(t, a_low, kind), in_dtype(t, a_high, kind))
    # the middle element itself where it is one: twice an element may overflow
    result = choose(t, apply(t, np.equal, low, high), in_dtype(t, a_low, kind), apply(t, np.true_divide, both, 2))
    return into(t, with_axes(t, result, data, keepdims), out)


def in_dtype(t: Tracer, x: Any, kind: Any) -> Any:
    return numeric.wrap(t, cast(t, numeric.value_of(t, x), kind), numeric.shape_of(t, x))


# ---------------------------------------------------------------- quantiles


def quantiles(percent: bool, skip_nan: bool, what: str) -> Callable[..., Any]:
    def binding(
        t: Tracer,
        a: Any,
        q: Any,
        axis: Any = None,
        out: Any = None,
        overwrite_input: Any = False,
        method: Any = "linear",
        keepdims: Any = False,
        *,
        weights: Any = None,
    ) -> Any:
        not_overwritten(t, overwrite_input, what)
        if weights is not None:
            t.unsupported(f"{what} with weights", "sort with np.argsort and search in the running sum of the weights")
        if not isinstance(method, str) or method not in METHODS:
            t.fail_value(f"{method!r} is not a method of {what}", f"use one of {', '.join(METHODS)}")
        probability = element(t, q, f"the probability of {what}")
        weak = isinstance(q, int | float) and not isinstance(q, np.generic | bool)
        weak = weak or (isinstance(q, Number) and q.weak)
        probability = apply(t, np.true_divide, probability, 100) if percent else probability
        check_range(t, probability, "Percentiles must be in the range [0, 100]" if percent else RANGE)
        data = ordered(t, a, axis, what)
        not_empty(t, data.size, what)
        rest_of_q = data.rest if isinstance(probability, Reference) else 0
        if rest_of_q:  # the probabilities' axes come first
            probability = views.select(t, probability, [*[None] * probability.rank, *["new"] * rest_of_q])
        n = numbers_in(t, data) if skip_nan else Number(data.size, True)
        result = quantile(t, data, n, probability, METHODS[method], weak, method == "linear")
        if not skip_nan and data.rows.dtype.is_float:
            last = pick(t, data, Number(integers.clamp_low(t, integers.sub(t, data.size, 1))))
            result = choose(t, apply(t, np.isnan, last), last, result)
        lead = (probability.rank - rest_of_q) if isinstance(probability, Reference) else 0
        return into(t, with_axes(t, result, data, keepdims, lead), out)

    return binding


RANGE = "Quantiles must be in the range [0, 1]"


def check_range(t: Tracer, q: Any, message: str) -> None:
    if isinstance(q, Number | Reference):
        good = apply(t, np.logical_and, apply(t, np.greater_equal, q, 0), apply(t, np.less_equal, q, 1))
        value = numeric.value_of(t, good)
        if value.is_array:
            value = t.emit1("reduce_all", [value], {"axes": tuple(range(value.rank))})
        t.emit("check", [value], {"error": "ValueError", "message": message})
    elif not 0 <= q <= 1:
        t.fail_value(message)


def quantile(t: Tracer, data: Ordered, n: Any, q: Any, method: Method, weak: bool, linear: bool) -> Any:
    """The quantiles of sorted rows, of each of which the first `n` elements count."""
    place = method.place(t, n, q)
    top = apply(t, np.maximum, apply(t, np.subtract, n, 1), 0)
    kind = place.dtype if isinstance(place, Number | Reference) else F64
    if method.whole or (linear and kind.is_integer):
        return pick(t, data, apply(t, np.maximum, apply(t, np.minimum, in_dtype(t, place, I64), top), 0))
    low = apply(t, np.floor, place)
    above = apply(t, np.greater_equal, place, apply(t, np.subtract, n, 1))
    below = apply(t, np.less, place, 0)
    high = choose(t, below, 0.0, apply(t, np.add, low, 1.0))
    low = choose(t, below, 0.0, low)
    first, second = (
        pick(t, data, apply(t, np.maximum, choose(t, above, top, in_dtype(t, p, I64)), 0)) for p in (low, high)
    )
    fraction = in_dtype(t, method.weight(t, apply(t, np.subtract, place, low), place), kind)
    if weak and isinstance(fraction, Number):  # then the result has the array's dtype
        fraction = Number(cast(t, fraction.value, F64), True)
    rest = apply(t, np.subtract, 1, fraction, weak=isinstance(fraction, Number) and fraction.weak)
    gap = apply(t, np.subtract, second, first)
    rising = apply(t, np.add, first, apply(t, np.multiply, gap, fraction))
    falling = apply(t, np.subtract, second, apply(t, np.multiply, gap, rest))
    return choose(t, apply(t, np.greater_equal, fraction, 0.5), falling, rising)


def register() -> None:
    from .bindings import TABLE

    TABLE[np.median] = median
    TABLE[np.nanmedian] = nanmedian
    for name, percent in (("percentile", True), ("quantile", False)):
        TABLE[getattr(np, name)] = quantiles(percent, False, f"np.{name}")
        TABLE[getattr(np, f"nan{name}")] = quantiles(percent, True, f"np.nan{name}")
