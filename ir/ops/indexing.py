"""Operations that read and write parts of arrays: index, update, accumulate, gather, scatter.

In: the declaration helpers. Out: registry entries. All of them are linear in the arrays they move, so their
derivative is a transpose. Indexing follows one convention everywhere:

`index(A, *positions, spec)` and its partners take a `spec` string with one letter per axis of A:
``i`` one position (one i64 operand; the axis disappears), ``s`` a range (three i64 operands: start, length, step),
``:`` the whole axis (no operand). Positions are already normalized, inside the array, never negative: `bound`
does that.

    %y: f64[?] = index %A, %i, %s, %n, 1 {spec="is"}            y = A[i, s:s+n]
    %B: f64[?,?] = update %A, %v, %i {spec="i:"}                 B = A with B[i, :] = v
    %B: f64[?,?] = accumulate %A, %v, %i, %j {spec="ii"}         B = A with B[i, j] += v
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Const, Op, Region, Value, builder
from ..types import I64, Array, Type, make
from .declare import Into, OpDef, declare, extent, extents_of, scalar_type
from .shape import Get, integers, static_extent, total

__all__ = ["accumulate", "gather", "index", "scatter", "scatter_add", "split_spec", "update"]


def split_spec(spec: str, positions: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Per axis: (position,) for ``i``, (start, length, step) for ``s``, () for ``:``."""
    parts: list[tuple[Any, ...]] = []
    at = 0
    for letter in spec:
        count = {"i": 1, "s": 3, ":": 0}[letter]
        parts.append(tuple(positions[at : at + count]))
        at += count
    if at != len(positions):
        raise TypeError(f"spec {spec!r} takes {at} positions, not {len(positions)}")
    return parts


def numpy_index(spec: str, positions: Sequence[Any]) -> tuple[Any, ...]:
    """The NumPy subscript that a spec and its positions mean."""
    out: list[Any] = []
    for letter, part in zip(spec, split_spec(spec, integers(positions)), strict=True):
        if letter == "i":
            out.append(part[0])
        elif letter == ":":
            out.append(slice(None))
        else:
            start, length, step = part
            stop = start + length * step if step else start + 1  # a step of 0: one element, repeated
            out.append(slice(start, None if step < 0 and stop < 0 else stop, step or 1) if length else slice(0, 0))
    return tuple(out)


def repeated(spec: str, positions: Sequence[Any]) -> dict[int, int]:
    """Axes of what a spec selects that show one element again and again (a step of 0), with their lengths."""
    parts = [p for p in split_spec(spec, integers(positions)) if len(p) != 1]
    return {k: p[1] for k, p in enumerate(parts) if len(p) == 3 and p[2] == 0}


def evaluate_index(x: Any, *positions: Any, spec: str) -> Any:
    out = x[numpy_index(spec, positions)]
    for axis, length in repeated(spec, positions).items():
        out = np.repeat(out, length, axis) if length else out
    return out


def selected_dims(array: Value, spec: str, positions: Sequence[Value]) -> tuple[int | None, ...]:
    assert isinstance(array.type, Array)
    out: list[int | None] = []
    for axis, (letter, part) in enumerate(zip(spec, split_spec(spec, positions), strict=True)):
        if letter == "s":
            out.append(static_extent(part[1]))
        elif letter == ":":
            out.append(array.type.dims[axis])
    return tuple(out)


def infer_index(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    array, *positions = operands
    if len(attrs["spec"]) != array.rank:
        raise TypeError(f"index: spec {attrs['spec']!r} for {array.type}")
    for p in positions:
        scalar_type(p, "a position", I64)
    return [make(array.dtype, selected_dims(array, attrs["spec"], positions))]


def infer_update(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    array, value, *positions = operands
    dims = selected_dims(array, attrs["spec"], positions)
    if value.dtype is not array.dtype or (value.is_array and value.rank != len(dims)):
        raise TypeError(f"update of {array.type} at {attrs['spec']!r} with {value.type}")
    return [array.type]


def selected_extents(array: Value, spec: str, positions: Sequence[Value]) -> list[Value]:
    """Extents of the region a spec selects."""
    out: list[Value] = []
    for axis, (letter, part) in enumerate(zip(spec, split_spec(spec, positions), strict=True)):
        if letter == "s":
            out.append(part[1])
        elif letter == ":":
            out.append(extent(array, axis))
    return out


def index_element(get: Get, index: list[Value], *, spec: str, positions: list[Value], **_: Any) -> Value:
    """Element of `index`: the operand's element at start + step * index."""
    wanted: list[Value] = []
    rest = iter(index)
    for letter, part in zip(spec, split_spec(spec, positions), strict=True):
        if letter == "i":
            wanted.append(part[0])
        elif letter == ":":
            wanted.append(next(rest))
        else:
            start, _length, step = part
            wanted.append(start + next(rest) * step)
    return get(0, wanted)


def evaluate_update(array: Any, value: Any, *positions: Any, spec: str) -> Any:
    out = np.array(array, dtype=np.result_type(array, value) if np.iscomplexobj(value) else None)
    out[numpy_index(spec, positions)] = value
    return out


def evaluate_accumulate(array: Any, value: Any, *positions: Any, spec: str) -> Any:
    out = np.array(array, dtype=np.result_type(array, value) if np.iscomplexobj(value) else None)
    for axis, length in repeated(spec, positions).items():
        if np.ndim(value):
            value = np.sum(value, axis, keepdims=True) if length else value
        else:
            value = value * length
    out[numpy_index(spec, positions)] += value
    return out


def region_cotangent(dy: Value, value: Value, positions: Sequence[Value], spec: str) -> Value:
    """Cotangent of what was written to a region of an array with cotangent dy."""
    part = builder().emit1("index", [dy, *positions], {"spec": spec})
    return part if value.is_array else total(part)


def clear_region(dy: Value, positions: Sequence[Value], spec: str) -> Value:
    return builder().emit1("update", [dy, Const(0, dy.dtype), *positions], {"spec": spec})


index = declare(
    OpDef(
        "index",
        infer_index,
        evaluate=evaluate_index,
        category="shape",
        linear=(0,),
        transpose=lambda x, *positions, dy, spec: (
            Into(lambda acc: builder().emit1("accumulate", [acc, dy, *positions], {"spec": spec})),
        ),
        extents=lambda op: [selected_extents(op.operands[0], op.attrs["spec"], op.operands[1:])],
        element=index_element,
    )
)

update = declare(
    OpDef(
        "update",
        infer_update,
        evaluate=evaluate_update,
        category="shape",
        linear=(0, 1),
        # order matters to the driver: the region is read before it is cleared
        transpose=lambda x, v, *positions, dy, spec: (
            lambda: clear_region(dy, positions, spec),
            lambda: region_cotangent(dy, v, positions, spec),
        ),
        extents=lambda op: [extents_of(op.operands[0])],
    )
)

accumulate = declare(
    OpDef(
        "accumulate",
        infer_update,
        evaluate=evaluate_accumulate,
        category="shape",
        linear=(0, 1),
        transpose=lambda x, v, *positions, dy, spec: (dy, lambda: region_cotangent(dy, v, positions, spec)),
        extents=lambda op: [extents_of(op.operands[0])],
    )
)

# ---------------------------------------------------------------- integer-array indexing

# gather(A, *indices, axes): the index arrays (one shape, normalized) address the consecutive axes `axes` of A;
# the result has their shape in place of those axes, as NumPy does where index arrays are adjacent.


def infer_gather(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    array, *indices = operands
    axes = attrs["axes"]
    assert isinstance(array.type, Array)
    if len(indices) != len(axes) or list(axes) != list(range(axes[0], axes[0] + len(axes))):
        raise TypeError(f"gather: {len(indices)} index arrays for axes {axes}")
    dims = array.type.dims
    return [make(array.dtype, dims[: axes[0]] + index_dims(indices) + dims[axes[-1] + 1 :])]


def index_dims(indices: Sequence[Value]) -> tuple[int | None, ...]:
    for i in indices:
        if i.dtype is not I64 or i.rank != indices[0].rank:
            raise TypeError(f"index arrays must be i64 of one rank, not {[str(i.type) for i in indices]}")
    return indices[0].type.dims if isinstance(indices[0].type, Array) else ()


def infer_scatter(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    return [operands[0].type]


def numpy_gather(rank: int, indices: Sequence[Any], axes: Sequence[int]) -> tuple[Any, ...]:
    return (slice(None),) * axes[0] + tuple(np.asarray(i).real.astype(np.int64) for i in indices)


def gather_element(get: Get, index: list[Value], *, axes: tuple[int, ...], ranks: list[int], **_: Any) -> Value:
    width = ranks[1]
    first = axes[0]
    chosen = [get(1 + k, index[first : first + width]) for k in range(len(axes))]
    return get(0, [*index[:first], *chosen, *index[first + width :]])


def gather_extents(op: Op) -> list[list[Value]]:
    array, *indices = op.operands
    axes = op.attrs["axes"]
    own = extents_of(array)
    return [[*own[: axes[0]], *extents_of(indices[0]), *own[axes[-1] + 1 :]]]


def evaluate_scatter(array: Any, value: Any, *indices: Any, axes: tuple[int, ...], unique: bool = False) -> Any:
    out = np.array(array, dtype=np.result_type(array, value) if np.iscomplexobj(value) else None)
    out[numpy_gather(out.ndim, indices, axes)] = value
    return out


def evaluate_scatter_add(array: Any, value: Any, *indices: Any, axes: tuple[int, ...]) -> Any:
    out = np.array(array, dtype=np.result_type(array, value) if np.iscomplexobj(value) else None)
    np.add.at(out, numpy_gather(out.ndim, indices, axes), value)
    return out


def gathered(dy: Value, value: Value, indices: Sequence[Value], axes: tuple[int, ...]) -> Value:
    part = builder().emit1("gather", [dy, *indices], {"axes": axes})
    return part if value.is_array else total(part)


gather = declare(
    OpDef(
        "gather",
        infer_gather,
        evaluate=lambda x, *indices, axes: x[numpy_gather(x.ndim, indices, axes)],
        category="shape",
        linear=(0,),
        transpose=lambda x, *indices, dy, axes: (
            Into(lambda acc: builder().emit1("scatter_add", [acc, dy, *indices], {"axes": axes})),
        ),
        extents=gather_extents,
        element=gather_element,
    )
)

scatter_add = declare(
    OpDef(
        "scatter_add",
        infer_scatter,
        evaluate=evaluate_scatter_add,
        category="shape",
        linear=(0, 1),
        transpose=lambda x, v, *indices, dy, axes: (dy, lambda: gathered(dy, v, indices, axes)),
        extents=lambda op: [extents_of(op.operands[0])],
    )
)

# scatter(A, v, *indices): A[indices] = v. Where an index repeats, the last write stays, as in NumPy. Its
# derivative with respect to v needs to know which write stayed: `last_writer` finds that (issue of data, not of v).
# With `unique`, no index repeats (those of a mask do not), so that all writes stay.


def last_writer(shape: tuple[int, ...], indices: Sequence[Any]) -> Any:
    """For each entry of the index arrays: whether it is the last that writes its target."""
    flat = np.ravel_multi_index(tuple(np.asarray(i).real.astype(np.int64).ravel() for i in indices), shape)
    owner = np.full(int(np.prod(shape)) if shape else 1, -1, dtype=np.int64)
    owner[flat] = np.arange(flat.size)
    return (owner[flat] == np.arange(flat.size)).reshape(np.asarray(indices[0]).shape)


stayed = declare(
    OpDef(
        "stayed",
        lambda operands, attrs, regions: [make_bool(operands[0])],
        evaluate=lambda first, *rest, axes: last_writer(
            tuple(integers(rest[len(axes) - 1 :])), [first, *rest[: len(axes) - 1]]
        ),
        extents=lambda op: [extents_of(op.operands[0])],
        cost=100,
    )
)


def make_bool(like: Value) -> Type:
    from ..types import BOOL

    return make(BOOL, like.type.dims if isinstance(like.type, Array) else ())


def scattered_cotangents(
    x: Value, v: Value, *indices: Value, dy: Value, axes: tuple[int, ...], unique: bool = False
) -> tuple[Any, Any]:
    def for_value() -> Value:
        part = builder().emit1("gather", [dy, *indices], {"axes": axes})
        if indices[0].is_array and not unique:
            own = [extent(dy, a) for a in axes]
            keep = builder().emit1("stayed", [*indices, *own], {"axes": axes})
            shape = extents_of(part)
            first = axes[0]
            if keep.rank != part.rank:
                keep = builder().emit1("broadcast", [keep, *shape], {"axes": tuple(range(first, first + keep.rank))})
            part = builder().emit1("select", [keep, part, Const(0, part.dtype)])
        return part if v.is_array else total(part)

    def for_array() -> Value:
        return builder().emit1("scatter", [dy, Const(0, dy.dtype), *indices], {"axes": axes})

    return for_array, for_value


scatter = declare(
    OpDef(
        "scatter",
        infer_scatter,
        evaluate=evaluate_scatter,
        category="shape",
        linear=(0, 1),
        transpose=scattered_cotangents,
        extents=lambda op: [extents_of(op.operands[0])],
    )
)
