"""Scans along an axis: running sums, running products, linear recurrences.

In: the declaration helpers. Out: registry entries. `reverse` runs from the end of the axis. The rule of `cumprod`
contains no division, so it is right with zeros and infinities, and polynomial in the operand, so it can be
differentiated again: it is a linear recurrence, an operation of its own, which is closed under differentiation.

    %s: f64[?] = cumsum %x {axis=0, reverse=false}
    %r: f64[?] = recurrence %a, %b {axis=0, reverse=false}          r[i] = a[i] r[i-1] + b[i], r[0] = b[0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Const, Region, Value, builder, const
from ..types import Array, Type
from .analytic import parts, with_parts
from .declare import OpDef, declare, extents_of, same_extents

__all__ = ["excluded"]

CASES: list[tuple[list[tuple[int, ...]], dict[str, Any]]] = [
    ([(5,)], {"axis": 0, "reverse": False}),
    ([(5,)], {"axis": 0, "reverse": True}),
    ([(3, 4)], {"axis": 0, "reverse": False}),
    ([(3, 4)], {"axis": 1, "reverse": True}),
    ([(2, 3, 2)], {"axis": 1, "reverse": False}),
    ([(1,)], {"axis": 0, "reverse": False}),
]


def infer_scan(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    (x,) = operands
    if not isinstance(x.type, Array) or not 0 <= attrs["axis"] < x.rank or x.dtype.kind == "b":
        raise TypeError(f"a scan of {x.type} along axis {attrs['axis']}")
    return [x.type]


def along(scan: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy scan in either direction, in the operand's own dtype."""

    def evaluate(x: Any, *, axis: int, reverse: bool) -> Any:
        if not reverse:
            return scan(x, axis=axis, dtype=x.dtype)
        return np.flip(scan(np.flip(x, axis), axis=axis, dtype=x.dtype), axis)

    return evaluate


running_sum, running_product = along(np.cumsum), along(np.cumprod)


def sum_of_parts(x: Any, **attrs: Any) -> Any:
    real, imag = parts(x)
    return with_parts(running_sum(real, **attrs), running_sum(imag, **attrs))


cumsum = declare(
    OpDef(
        "cumsum",
        infer_scan,
        evaluate=running_sum,
        evaluate_complex=sum_of_parts,
        linear=(0,),
        transpose=lambda x, *, dy, axis, reverse: (
            lambda: builder().emit1("cumsum", [dy], {"axis": axis, "reverse": not reverse}),
        ),
        extents=same_extents,
        numpy=(np.cumsum,),
        domain=CASES,
        cost=100,
    )
)

# ---------------------------------------------------------------- running products


def less_one(n: Value) -> Value:
    """n - 1, but not below 0."""
    if isinstance(n, Const):
        return const(max(int(n.value) - 1, 0))
    return builder().emit1("maximum", [n - 1, const(0)])


def shifted(x: Value, shape: list[Value], axis: int, *, reverse: bool, front: int) -> Value:
    """Each element replaced by the one before it (after it where `reverse`), `front` where there is none."""
    count = less_one(shape[axis])
    one, zero = const(1), const(0)
    source, target = (one, zero) if reverse else (zero, one)
    spec = "".join("s" if k == axis else ":" for k in range(x.rank))
    part = builder().emit1("index", [x, source, count, one], {"spec": spec})
    blank = builder().emit1("fill", [Const(front, x.dtype), *shape])
    return builder().emit1("update", [blank, part, target, count, one], {"spec": spec})


def excluded(x: Value, axis: int, *, reverse: bool) -> Value:
    """For each element the product of those before it (after it where `reverse`); 1 where there is none."""
    scan = builder().emit1("cumprod", [x], {"axis": axis, "reverse": reverse})
    return shifted(scan, extents_of(x), axis, reverse=reverse, front=1)


def cumprod_cotangent(x: Value, *, y: Value, dy: Value, axis: int, reverse: bool) -> tuple[Any]:
    """dx[i] = (product before i) * s[i], where s[i] = dy[i] + x[i+1] s[i+1]."""

    def rule() -> Value:
        shape = extents_of(x)
        before = shifted(y, shape, axis, reverse=reverse, front=1)
        return before * carried_back(x, dy, shape, axis, reverse)

    return (rule,)


def carried_back(a: Value, dy: Value, shape: list[Value], axis: int, reverse: bool) -> Value:
    """The transpose of `recurrence` by b: s[i] = dy[i] + a[i+1] s[i+1], run against the primal's direction."""
    following = shifted(a, shape, axis, reverse=not reverse, front=1)
    return builder().emit1("recurrence", [following, dy], {"axis": axis, "reverse": not reverse})


def cumprod_tangent(x: Value, *, y: Value, tangents: Sequence[Value], axis: int, reverse: bool) -> Value:
    """dy[i] = x[i] dy[i-1] + (product before i) dx[i]."""
    before = shifted(y, extents_of(x), axis, reverse=reverse, front=1)
    return builder().emit1("recurrence", [x, before * tangents[0]], {"axis": axis, "reverse": reverse})


cumprod = declare(
    OpDef(
        "cumprod",
        infer_scan,
        evaluate=running_product,
        evaluate_complex=lambda x, **attrs: with_parts(
            running_product(np.real(x), **attrs), np.imag(running_product(x, **attrs))
        ),
        vjp=cumprod_cotangent,
        jvp=cumprod_tangent,
        extents=same_extents,
        numpy=(np.cumprod,),
        domain=CASES,
        cost=100,
    )
)

# ---------------------------------------------------------------- linear recurrences

# recurrence(a, b): y[i] = a[i] y[i-1] + b[i] along an axis, with 0 before the first (so a[0] does not matter).
# The derivative of a running product is one, and that of a recurrence is a recurrence.


def infer_recurrence(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    a, b = operands
    if a.dtype is not b.dtype or a.rank != b.rank:
        raise TypeError(f"recurrence of {a.type} and {b.type}")
    return infer_scan([b], attrs, regions)


def previous(y: Any, axis: int, reverse: bool) -> Any:
    """Each element's predecessor in running order, 0 before the first."""
    out = np.zeros_like(y)
    source, target = np.moveaxis(y, axis, 0), np.moveaxis(out, axis, 0)
    if reverse:
        target[:-1] = source[1:]
    else:
        target[1:] = source[:-1]
    return out


def run_recurrence(a: Any, b: Any, *, axis: int, reverse: bool) -> Any:
    out = np.array(b)
    coefficients, y = np.moveaxis(np.asarray(a), axis, 0), np.moveaxis(out, axis, 0)
    if reverse:
        coefficients, y = coefficients[::-1], y[::-1]
    for i in range(1, y.shape[0]):
        y[i] += coefficients[i] * y[i - 1]
    return out


def recurrence_of_parts(a: Any, b: Any, **attrs: Any) -> Any:
    (ar, ai), (br, bi) = parts(a), parts(b)
    real = run_recurrence(ar, br, **attrs)
    return with_parts(real, run_recurrence(ar, bi + ai * previous(real, **attrs), **attrs))


def recurrence_cotangents(a: Value, b: Value, *, y: Value, dy: Value, axis: int, reverse: bool) -> tuple[Any, Any]:
    shape = extents_of(b)
    by_b = carried_back(a, dy, shape, axis, reverse)
    return lambda: shifted(y, shape, axis, reverse=reverse, front=0) * by_b, by_b


def recurrence_tangent(
    a: Value, b: Value, *, y: Value, tangents: Sequence[Value | None], axis: int, reverse: bool
) -> Value:
    """dy[i] = a[i] dy[i-1] + y[i-1] da[i] + db[i]."""
    da, db = tangents
    change = None if da is None else shifted(y, extents_of(b), axis, reverse=reverse, front=0) * da
    source = db if change is None else change if db is None else change + db
    assert source is not None, "at least one tangent"
    return builder().emit1("recurrence", [a, source], {"axis": axis, "reverse": reverse})


recurrence = declare(
    OpDef(
        "recurrence",
        infer_recurrence,
        evaluate=run_recurrence,
        evaluate_complex=recurrence_of_parts,
        vjp=recurrence_cotangents,
        jvp=recurrence_tangent,
        extents=same_extents,
        domain=[([shape, shape], attrs) for (shape,), attrs in CASES],
        cost=100,
    )
)
