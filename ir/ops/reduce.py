"""Reductions over axes: sums, products, extremes, any and all, and the positions of extremes.

In: the declaration helpers. Out: registry entries. `axes` is a sorted tuple of axes, which disappear (a kept axis
is a `broadcast` afterwards); over all axes the result is a scalar. Dtypes are kept: the tracer casts first where NumPy
adds in a wider type. An empty sum is 0, an empty product 1; an empty extreme is an error that the tracer checks for.

    %s: f64[?] = reduce_sum %A {axes=(1,)}          %k: i64[?] = argmax %A {axis=0}
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Builder, Const, Function, Op, Region, Value, builder
from ..types import I64, Array, DType, Type, make
from .analytic import parts, with_parts
from .arithmetic import eq, ne
from .declare import OpDef, declare, extent, extents_of
from .scan import excluded

__all__ = ["CANCELS", "dropped", "spread"]

Axes = tuple[int, ...]
_function: Any
CANCELS = "cancels"
"""The attribute of a function called for a part of a cotangent: what is added to it may well be its negative."""

SHAPES: list[tuple[list[Axes], dict[str, Any]]] = [
    ([(5,)], {"axes": (0,)}),
    ([(3, 4)], {"axes": (0,)}),
    ([(3, 4)], {"axes": (1,)}),
    ([(3, 4)], {"axes": (0, 1)}),
    ([(2, 3, 2)], {"axes": (0, 2)}),
    ([(2, 3, 4)], {"axes": (0, 1)}),
    ([(2, 3, 2)], {"axes": (1,)}),
    ([(1,)], {"axes": (0,)}),
]


def kept(rank: int, axes: Axes) -> Axes:
    return tuple(k for k in range(rank) if k not in axes)


def dropped(values: Sequence[Any], axes: Axes) -> list[Any]:
    """Those of values, one per axis, whose axis is not reduced."""
    return [v for k, v in enumerate(values) if k not in axes]


def spread(value: Value, like: Value, axes: Axes) -> Value:
    """A reduced value repeated along the axes it lost."""
    return builder().emit1("broadcast", [value, *extents_of(like)], {"axes": kept(like.rank, axes)})


def total_over(x: Value, axes: Axes) -> Value:
    return builder().emit1("reduce_sum", [x], {"axes": axes})


def result_of(name: str, kinds: str) -> Any:
    def infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
        (x,) = operands
        axes = attrs["axes"]
        if (
            not isinstance(x.type, Array)
            or not axes
            or sorted(set(axes)) != list(axes)
            or axes[-1] >= x.rank
            or axes[0] < 0
        ):
            raise TypeError(f"{name} of {x.type} over axes {axes}")
        if x.dtype.kind not in kinds:
            raise TypeError(f"{name} of {x.type}: cast first")
        return [make(x.dtype, tuple(dropped(x.type.dims, axes)))]

    return infer


def remaining(op: Op) -> list[list[Value]]:
    x = op.operands[0]
    axes = op.attrs["axes"] if "axes" in op.attrs else (op.attrs["axis"],)
    return [[extent(x, k) for k in kept(x.rank, axes)]]


def reduction(name: str, evaluate: Any, kinds: str, numpy: Any, **keywords: Any) -> OpDef:
    return declare(
        OpDef(
            name,
            result_of(name, kinds),
            evaluate=evaluate,
            category="reduction",
            extents=remaining,
            numpy=numpy if isinstance(numpy, tuple) else (numpy,),
            cost=100,
            **keywords,
        )
    )


# ---------------------------------------------------------------- sums and products


def sum_of_parts(x: Any, *, axes: Axes) -> Any:
    """The complex sum part by part: the real part is that of a real run, bit for bit."""
    real, imag = parts(x)
    return with_parts(np.sum(real, axis=axes), np.sum(imag, axis=axes))


reduce_sum = reduction(
    "reduce_sum",
    lambda x, *, axes: np.sum(x, axis=axes, dtype=x.dtype),
    "fiu",
    np.sum,
    evaluate_complex=sum_of_parts,
    linear=(0,),
    transpose=lambda x, *, dy, axes: (lambda: spread(dy, x, axes),),
    domain=SHAPES,
)


def leave_one_out(x: Value, axes: Axes) -> Value:
    """For each element the product of all others over the axes: no division, so right with zeros and infinities."""
    if len(axes) == 1:
        return excluded(x, axes[0], reverse=False) * excluded(x, axes[0], reverse=True)
    others = kept(x.rank, axes)
    order = (*others, *axes)
    moved = x if order == tuple(range(x.rank)) else builder().emit1("transpose", [x], {"perm": order})
    own = extents_of(x)
    shape = [own[k] for k in order]
    size: Value = Const(1, I64)
    for e in shape[len(others) :]:
        size = times(size, e)
    flat = builder().emit1("reshape", [moved, *shape[: len(others)], size])
    last = flat.rank - 1
    alone = excluded(flat, last, reverse=False) * excluded(flat, last, reverse=True)
    out = builder().emit1("reshape", [alone, *shape])
    if moved is x:
        return out
    back = tuple(order.index(k) for k in range(x.rank))
    return builder().emit1("transpose", [out], {"perm": back})


def times(a: Value, b: Value) -> Value:
    """a * b of extents, computed now where both are known."""
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(int(a.value) * int(b.value), I64)
    if isinstance(a, Const) and a.value == 1:
        return b
    return a * b


reduce_prod = reduction(
    "reduce_prod",
    lambda x, *, axes: np.prod(x, axis=axes, dtype=x.dtype),
    "fiu",
    np.prod,
    evaluate_complex=lambda x, *, axes: with_parts(np.prod(np.real(x), axis=axes), np.imag(np.prod(x, axis=axes))),
    vjp=lambda x, *, dy, axes: (lambda: spread(dy, x, axes) * leave_one_out(x, axes),),
    jvp=lambda x, *, tangents, axes: total_over(tangents[0] * leave_one_out(x, axes), axes),
    domain=SHAPES,
)

# ---------------------------------------------------------------- extremes


def winners(x: Value, *, y: Value, axes: Axes) -> tuple[Value]:
    """Where x is the extreme of its group (or the NaN that made it NaN)."""
    return (eq(x, spread(y, x, axes)) | ne(x, x),)


def count_of(chosen: Value, axes: Axes, dtype: DType) -> Value:
    return total_over(builder().emit1("cast", [chosen], {"dtype": dtype}), axes)


def shared(x: Value, *, y: Value, dy: Value, axes: Axes) -> tuple[Value]:
    """Each winner gets an equal share of the cotangent, the rest a zero by structure."""
    (chosen,) = winners(x, y=y, axes=axes)
    if may_cancel(dy):
        share = builder().emit1("call", [dy, chosen], {"function": share_of_cancelled(dy, chosen, axes)})
    else:
        share = dy / count_of(chosen, axes, x.dtype)
    share = spread(share, x, axes)
    return (builder().emit1("select", [chosen, share, Const(0, x.dtype)]),)


def may_cancel(cotangent: Value) -> bool:
    """Whether a cotangent is a sum that may well be 0, though nothing says so before the program runs."""
    if cotangent.op is None or cotangent.op.name != "add" or cotangent.is_array:
        return False
    calls = [v.op for v in cotangent.op.operands if v.op is not None and v.op.name == "call"]
    return any(CANCELS in op.attrs["function"].attrs for op in calls)


def share_of_cancelled(cotangent: Value, chosen: Value, axes: Axes) -> Function:
    """Of a scalar cotangent and the mask of what it goes to: the share of each. If it is 0, they need not be counted,
    and the branch that counts them is marked as one that is hardly ever run."""
    dy, mask = Value(cotangent.type, cotangent.name), Value(chosen.type, chosen.name)
    body, nothing, counted = Region([dy, mask]), Region(), Region()
    with Builder(nothing) as b:
        b.emit("yield", [dy])
    with Builder(counted) as b:
        b.emit("yield", [dy / count_of(mask, axes, dy.dtype)])
    with Builder(body) as b:
        b.emit("return", [b.emit1("if", [eq(dy, Const(0, dy.dtype))], {"rare": 1}, regions=[nothing, counted])])
    return Function("share", body)


def mean_of_winners(x: Value, *, y: Value, tangents: Sequence[Value], axes: Axes) -> Value:
    (chosen,) = winners(x, y=y, axes=axes)
    kept_tangents = builder().emit1("select", [chosen, tangents[0], Const(0, x.dtype)])
    return total_over(kept_tangents, axes) / count_of(chosen, axes, x.dtype)


def extreme_of_complex(position: Any) -> Any:
    """The element whose real part is the extreme (the first of several, or the first NaN)."""

    def evaluate(x: Any, *, axes: Axes) -> Any:
        others = kept(x.ndim, axes)
        size = math.prod(x.shape[k] for k in axes)
        flat = np.transpose(x, (*others, *axes)).reshape(*(x.shape[k] for k in others), size)
        at = np.expand_dims(position(np.real(flat), axis=-1), -1)
        return np.take_along_axis(flat, at, -1)[..., 0][()]

    return evaluate


for _name, _function, _position, _aliases in (
    ("reduce_max", np.max, np.argmax, (np.max, np.amax)),
    ("reduce_min", np.min, np.argmin, (np.min, np.amin)),
):
    reduction(
        _name,
        lambda x, *, axes, f=_function: f(x, axis=axes),
        "bfiu",
        _aliases,
        evaluate_complex=extreme_of_complex(_position),
        vjp=shared,
        jvp=mean_of_winners,
        masks=winners,
        domain=SHAPES,
        kinks="n equal extremes: 1/n each; the others' is 0 by structure",
    )

for _name, _function in (("reduce_any", np.any), ("reduce_all", np.all)):
    reduction(_name, lambda x, *, axes, f=_function: f(x, axis=axes), "b", _function)

reduction("reduce_or", lambda x, *, axes: np.bitwise_or.reduce(x, axis=axes), "iu", ())

# ---------------------------------------------------------------- positions of extremes


def infer_position(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    (x,) = operands
    axis = attrs["axis"]
    if not isinstance(x.type, Array) or not 0 <= axis < x.rank:
        raise TypeError(f"argmax or argmin of {x.type} along axis {axis}")
    return [make(I64, tuple(dropped(x.type.dims, (axis,))))]


# the first of equal extremes, or the first NaN, as NumPy; without an axis the tracer reshapes to one
for _name, _function in (("argmax", np.argmax), ("argmin", np.argmin)):
    declare(
        OpDef(
            _name,
            infer_position,
            evaluate=lambda x, *, axis, f=_function: f(np.real(x), axis=axis),
            category="reduction",
            extents=remaining,
            numpy=(_function,),
            cost=100,
        )
    )
