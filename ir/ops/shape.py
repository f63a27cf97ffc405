"""Operations that make and rearrange arrays: extents, fills, broadcast, transpose, reshape, concatenation.

In: the declaration helpers. Out: registry entries. All of them are linear in the arrays they move, so their
derivative is a transpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core import Const, Op, Region, Value, builder
from ..types import I64, Array, DType, Scalar, Type, make
from .declare import OpDef, declare, extent, extents_of, scalar_type
from .sums import summed_over

__all__ = [
    "broadcast",
    "concat",
    "dim",
    "fill",
    "iota",
    "reshape",
    "transpose",
]

Get = Callable[[int, list[Value]], Value]


def static_extent(value: Value) -> int | None:
    return int(value.value) if isinstance(value, Const) else None


def dims_from(extents: Sequence[Value]) -> tuple[int | None, ...]:
    for e in extents:
        scalar_type(e, "an extent", I64)
    return tuple(static_extent(e) for e in extents)


def integers(values: Sequence[Any]) -> list[int]:
    return [int(np.real(v)) for v in values]


# ---------------------------------------------------------------- extents and fresh arrays

dim = declare(
    OpDef(
        "dim",
        lambda operands, attrs, regions: [Scalar(I64)],
        evaluate=lambda x, *, axis: np.int64(x.shape[axis]),
        category="shape",
        extents=lambda op: [[]],
    )
)

fill = declare(
    OpDef(
        "fill",
        lambda operands, attrs, regions: [make(operands[0].dtype, dims_from(operands[1:]))],
        evaluate=lambda x, *extents: np.full(integers(extents), x),
        category="shape",
        linear=(0,),
        transpose=lambda x, *extents, dy: (total(dy),),
        extents=lambda op: [op.operands[1:]],
        element=lambda get, index, **_: get(0, []),
    )
)

empty = declare(
    OpDef(
        "empty",
        lambda operands, attrs, regions: [make(attrs["dtype"], dims_from(operands))],
        evaluate=lambda *extents, dtype: poison(integers(extents), dtype),
        category="shape",
        extents=lambda op: [op.operands],
    )
)

iota = declare(
    OpDef(
        "iota",
        lambda operands, attrs, regions: [make(I64, dims_from(operands))],
        evaluate=lambda n: np.arange(int(n)),
        category="shape",
        extents=lambda op: [op.operands],
        element=lambda get, index, **_: index[0],
    )
)


def poison(shape: list[int], dtype: DType) -> np.ndarray[Any, Any]:
    """Memory nobody wrote: NaN where the dtype has it, so that a read of it shows."""
    return np.full(
        shape,
        np.nan if dtype.is_float else (1 if dtype.kind == "b" else -(2**7 - 1) if dtype.kind == "i" else 99),
        dtype.numpy,
    )


def total(x: Value) -> Value:
    """The sum of all elements."""
    return builder().emit1("reduce_sum", [x], {"axes": tuple(range(x.rank))}) if x.is_array else x


# ---------------------------------------------------------------- rearrangements

# broadcast(x, *extents, axes): axis k of x becomes axis axes[k] of the result; where x's extent is statically 1 and
# the result's is not, it is repeated; axes of the result that x does not have are repeated.


def repeated_axes(x: Value, dims: tuple[int | None, ...], axes: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """(axes of the result x does not have, axes of x of extent 1 that are stretched)."""
    own = x.type.dims if isinstance(x.type, Array) else ()
    return (
        [k for k in range(len(dims)) if k not in axes],
        [k for k, a in enumerate(axes) if own[k] == 1 and dims[a] != 1],
    )


def infer_broadcast(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    x, *extents = operands
    if len(attrs["axes"]) != x.rank or sorted(attrs["axes"]) != list(attrs["axes"]):
        raise TypeError(f"broadcast: axes {attrs['axes']} for {x.type}")
    return [make(x.dtype, dims_from(extents))]


def evaluate_broadcast(x: Any, *extents: Any, axes: tuple[int, ...]) -> Any:
    shape = integers(extents)
    own = [1] * len(shape)
    for k, a in enumerate(axes):
        own[a] = x.shape[k]
    return np.broadcast_to(np.reshape(x, own), shape)


def broadcast_element(
    get: Get,
    index: list[Value],
    *,
    axes: tuple[int, ...],
    dims: list[tuple[int | None, ...]],
    result: tuple[int | None, ...],
    **_: Any,
) -> Value:
    zero = Const(0, I64)
    return get(0, [zero if dims[0][k] == 1 and result[a] != 1 else index[a] for k, a in enumerate(axes)])


def broadcast_transpose(x: Value, *extents: Value, dy: Value, axes: tuple[int, ...]) -> tuple[Value]:
    assert isinstance(dy.type, Array)
    missing, stretched = repeated_axes(x, dims_from(extents), axes)
    summed = sorted(missing + [axes[k] for k in stretched])
    out = summed_over(dy, tuple(summed)) if summed else dy
    if stretched:  # put the extents of 1 back
        shape = [Const(1, I64) if k in stretched else extents[a] for k, a in enumerate(axes)]
        kept = tuple(k for k in range(x.rank) if k not in stretched)
        out = (
            builder().emit1("broadcast", [out, *shape], {"axes": kept})
            if kept
            else builder().emit1("fill", [out, *shape])
        )
    return (out,)


broadcast = declare(
    OpDef(
        "broadcast",
        infer_broadcast,
        evaluate=evaluate_broadcast,
        category="shape",
        linear=(0,),
        transpose=broadcast_transpose,
        extents=lambda op: [op.operands[1:]],
        element=broadcast_element,
    )
)


def inverse_permutation(perm: Sequence[int]) -> tuple[int, ...]:
    out = [0] * len(perm)
    for k, p in enumerate(perm):
        out[p] = k
    return tuple(out)


def infer_transpose(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    (x,) = operands
    assert isinstance(x.type, Array) and sorted(attrs["perm"]) == list(range(x.rank))
    return [make(x.dtype, tuple(x.type.dims[p] for p in attrs["perm"]))]


transpose = declare(
    OpDef(
        "transpose",
        infer_transpose,
        evaluate=lambda x, *, perm: np.transpose(x, perm),
        category="shape",
        linear=(0,),
        transpose=lambda x, *, dy, perm: (builder().emit1("transpose", [dy], {"perm": inverse_permutation(perm)}),),
        extents=lambda op: [[extent(op.operands[0], p) for p in op.attrs["perm"]]],
        element=lambda get, index, *, perm, **_: get(0, [index[k] for k in inverse_permutation(perm)]),
    )
)

reshape = declare(
    OpDef(
        "reshape",  # C order; the number of elements is checked by the tracer
        lambda operands, attrs, regions: [make(operands[0].dtype, dims_from(operands[1:]))],
        evaluate=lambda x, *extents: np.reshape(x, integers(extents)),
        category="shape",
        linear=(0,),
        transpose=lambda x, *extents, dy: (builder().emit1("reshape", [dy, *extents_of(x)]),),
        extents=lambda op: [op.operands[1:]],
    )
)


def infer_concat(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    axis = attrs["axis"]
    dims = [x.type.dims for x in operands if isinstance(x.type, Array)]
    if len(dims) != len(operands) or len({len(d) for d in dims}) != 1 or len({x.dtype for x in operands}) != 1:
        raise TypeError(f"concat of {[str(x.type) for x in operands]}")
    along = [d[axis] for d in dims]
    joined = [next((d[k] for d in dims if d[k] is not None), None) for k in range(len(dims[0]))]
    joined[axis] = None if None in along else sum(a for a in along if a is not None)
    return [make(operands[0].dtype, tuple(joined))]


def concat_transpose(*operands: Value, dy: Value, axis: int) -> tuple[Any, ...]:
    def part(k: int) -> Value:
        start: Value = Const(0, I64)
        for x in operands[:k]:
            start = start + extent(x, axis)
        spec = "".join("s" if a == axis else ":" for a in range(dy.rank))
        return builder().emit1("index", [dy, start, extent(operands[k], axis), Const(1, I64)], {"spec": spec})

    return tuple((lambda k=k: part(k)) for k in range(len(operands)))


def concat_extents(op: Op) -> list[list[Value]]:
    axis = op.attrs["axis"]
    out = extents_of(op.operands[0])
    for x in op.operands[1:]:
        out[axis] = out[axis] + extent(x, axis)
    return [out]


concat = declare(
    OpDef(
        "concat",
        infer_concat,
        evaluate=lambda *xs, axis: np.concatenate(xs, axis),
        category="shape",
        linear=tuple(range(64)),
        transpose=concat_transpose,
        extents=concat_extents,
    )
)
