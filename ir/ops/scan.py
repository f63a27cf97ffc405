"""Scans along an axis: running sums and running products.

In: the declaration helpers. Out: registry entries. `reverse` runs from the end of the axis. The rule of `cumprod`
contains no division, so it is right with zeros and infinities, and polynomial in the operand, so it can be
differentiated again: a linear recurrence, emitted as a loop.

    %s: f64[?] = cumsum %x {axis=0, reverse=False}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Builder, Const, Region, Value, builder, const
from ..types import I64, Array, Scalar, Type
from .analytic import parts, with_parts
from .declare import OpDef, declare, extents_of, same_extents, zeros_like

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


def excluded(x: Value, axis: int, *, reverse: bool) -> Value:
    """For each element the product of those before it (after it where `reverse`); 1 for the first."""
    scan = builder().emit1("cumprod", [x], {"axis": axis, "reverse": reverse})
    return shifted(scan, extents_of(x), axis, reverse=reverse)


def shifted(scan: Value, shape: list[Value], axis: int, *, reverse: bool) -> Value:
    """A running product, each element replaced by the one before it in running order, 1 in front."""
    count = less_one(shape[axis])
    one, zero = const(1), const(0)
    source, target = (one, zero) if reverse else (zero, one)
    spec = "".join("s" if k == axis else ":" for k in range(scan.rank))
    part = builder().emit1("index", [scan, source, count, one], {"spec": spec})
    ones = builder().emit1("fill", [Const(1, scan.dtype), *shape])
    return builder().emit1("update", [ones, part, target, count, one], {"spec": spec})


def less_one(n: Value) -> Value:
    """n - 1, but not below 0."""
    if isinstance(n, Const):
        return const(max(int(n.value) - 1, 0))
    return builder().emit1("maximum", [n - 1, const(0)])


def recurrence(
    like: Value,
    axis: int,
    reverse: bool,
    step: Callable[[Callable[[Value], Value], Value], tuple[Value, Value]],
) -> Value:
    """An array filled along an axis by a loop: `step(get, carried)` gives one slice and the next carried value.

    `get(array)` is the array's slice at the loop's position; the carried value starts as zeros.
    """
    outer = builder()
    spec = "".join("i" if k == axis else ":" for k in range(like.rank))
    shape = extents_of(like)
    rest = [e for k, e in enumerate(shape) if k != axis]
    zero = Const(0, like.dtype)
    carried: Value = outer.emit1("fill", [zero, *rest]) if rest else zero
    out = zeros_like(like)
    i, carry, partial = Value(Scalar(I64), "i"), Value(carried.type, "carry"), Value(out.type, "out")
    body = Region([i, carry, partial])
    with Builder(body, outer.span) as b:

        def get(array: Value) -> Value:
            return b.emit1("index", [array, i], {"spec": spec})

        here, following = step(get, carry)
        b.emit("yield", [following, b.emit1("update", [partial, here, i], {"spec": spec})])
    return outer.emit("for", [const(0), shape[axis], carried, out], {"reverse": reverse}, [body])[1]


def cumprod_cotangent(x: Value, *, y: Value, dy: Value, axis: int, reverse: bool) -> tuple[Any]:
    """dx[i] = (product before i) * s[i], where s[i] = dy[i] + x[i+1] s[i+1]."""

    def step(get: Callable[[Value], Value], carry: Value) -> tuple[Value, Value]:
        s = get(dy) + carry
        return s, get(x) * s

    return (lambda: shifted(y, extents_of(x), axis, reverse=reverse) * recurrence(x, axis, not reverse, step),)


def cumprod_tangent(x: Value, *, y: Value, tangents: Sequence[Value], axis: int, reverse: bool) -> Value:
    """dy[i] = x[i] dy[i-1] + (product before i) dx[i]."""
    own = shifted(y, extents_of(x), axis, reverse=reverse) * tangents[0]

    def step(get: Callable[[Value], Value], carry: Value) -> tuple[Value, Value]:
        t = get(x) * carry + get(own)
        return t, t

    return recurrence(x, axis, reverse, step)


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
