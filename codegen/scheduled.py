"""Operations of the scheduled IR: scalars, buffers and explicit loops.

In: the declaration helpers of `ir.ops`. Out: registry entries named ``buffer.*``, the table of library kernels,
and `run`, the interpreter for scheduled functions. The scheduled IR has the data structures, text and verifier of
the array IR; its values are scalars and *buffers* (mutable memory of a dtype and rank). What an array IR says
about values, it says about memory, so the order of operations that touch memory counts:

    %b: &f64[?,?] = buffer.alloc %n, %m {dtype=f64}     memory of that shape, contents undefined
    %v: f64 = buffer.load %b, %i, %j                    positions lie inside: checked before, never negative
    buffer.store %v, %b, %i, %j                         with {accumulates=true} of a sum whose order is not the user's
    %n: i64 = buffer.dim %b {axis=0}
    %c: &f64[?] = buffer.reshape %b, %k                 the same memory (in C order), seen in another shape,
                                                        with {dtype=i64} as numbers of another type of the same size
    %c: &f64[?,?] = buffer.view %t, %at, %n, %m         memory in C order from element %at of a flat buffer, to be read
    buffer.call %out, %a, %b {kernel="matmul"}          a library kernel of `codegen.primitives`
    buffer.call %out, %a, %b, %i, %j, ... {kernel="add_product_nt"}    on parts of matrices (`lower.part_products`)
    buffer.call %out, %a, %b, %i, %j, ... {kernel="put_product_nt"}    likewise, written to a part of %out
    %s: i64 = buffer.call %f, 1, %y, %x {kernel="callback", outs=1}    a Python function writes %y (`codegen.callbacks`)
    %s: f64 = add_any_order %a, %b                      addition in a sum whose order is not the user's

Loops and branches carry buffers as they carry scalars: a yield of two carried buffers in the other order swaps
names, not memory. A function's array arguments are buffers too."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.core import Function, Op, Region, Value
from ..ir.interp import Env, Interpreter
from ..ir.ops.declare import REGISTRY, OpDef, declare, scalar_type
from ..ir.ops.shape import poison
from ..ir.types import I64, Array, Buffer, DType, Scalar, Type
from .callbacks import CALLBACK, call_python
from .routines import ROUTINES, written_by

__all__ = ["KERNELS", "LibraryKernel", "buffer_type", "run", "writes_memory", "written_operands"]

Infer = Callable[[list[Value], dict[str, Any], list[Region]], list[Type]]


def memory(name: str, infer: Infer, evaluate: Callable[..., Any]) -> OpDef:
    return declare(OpDef(name, infer, evaluate=evaluate, effect="memory", category="buffer", cost=100))


def buffer_of(value: Value) -> Buffer:
    if not isinstance(value.type, Buffer):
        raise TypeError(f"not a buffer: {value!r}")
    return value.type


def buffer_type(type_: Type) -> Type:
    """The type in the scheduled IR of a value of the array IR: arrays become buffers."""
    return Buffer(type_.dtype, type_.rank) if isinstance(type_, Array) else type_


def positions(buffer: Value, indices: Sequence[Value]) -> None:
    if len(indices) != buffer_of(buffer).rank:
        raise TypeError(f"{len(indices)} positions in a buffer of rank {buffer_of(buffer).rank}")
    for index in indices:
        scalar_type(index, "a position", I64)


def infer_alloc(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    for extent in operands:
        scalar_type(extent, "an extent", I64)
    return [Buffer(attrs["dtype"], len(operands))]


def infer_load(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    positions(operands[0], operands[1:])
    return [Scalar(buffer_of(operands[0]).dtype)]


def infer_store(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    value, buffer, *indices = operands
    positions(buffer, indices)
    scalar_type(value, "buffer.store", buffer_of(buffer).dtype)
    return []


def infer_reshape(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    return [Buffer(attrs.get("dtype", buffer_of(operands[0]).dtype), len(operands) - 1)]


def infer_view(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    positions(operands[0], operands[1:2])
    for extent in operands[2:]:
        scalar_type(extent, "an extent", I64)
    return [Buffer(buffer_of(operands[0]).dtype, len(operands) - 2)]


def view(buffer: Any, start: Any, *extents: Any) -> Any:
    end = int(start) + math.prod(int(n) for n in extents)
    if not 0 <= start <= end <= len(buffer):
        raise IndexError(f"elements {start} to {end} of a buffer of {len(buffer)}")
    return buffer[int(start) : end].reshape([int(n) for n in extents])


def reshape(buffer: Any, *extents: Any, dtype: DType | None = None) -> Any:
    out = buffer.reshape([int(n) for n in extents])
    return out if dtype is None else out.view(dtype.numpy)


def store(value: Any, buffer: Any, *indices: Any, accumulates: bool = False) -> tuple[()]:
    inside(buffer, indices)
    buffer[indices] = value
    return ()


def load(buffer: Any, *indices: Any) -> Any:
    inside(buffer, indices)
    return buffer[indices]


def inside(buffer: Any, indices: Sequence[Any]) -> None:
    """The reference is strict where kernels trust: a position outside is a bug of the code generator."""
    if any(not 0 <= int(i) < n for i, n in zip(indices, buffer.shape, strict=True)):
        raise IndexError(f"position {tuple(map(int, indices))} in a buffer of shape {buffer.shape}")


memory("buffer.alloc", infer_alloc, lambda *extents, dtype: poison([int(n) for n in extents], dtype))
memory("buffer.load", infer_load, load)
memory("buffer.store", infer_store, store)
memory("buffer.reshape", infer_reshape, reshape)
memory("buffer.view", infer_view, view)
declare(
    OpDef(
        "buffer.dim",  # pure: a buffer never changes its shape
        lambda operands, attrs, regions: [Scalar(I64)],
        evaluate=lambda b, *, axis: np.int64(b.shape[axis]),
        category="buffer",
    )
)


def same_scalar(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    a, b = operands
    scalar_type(b, "a sum", a.dtype)
    return [Scalar(a.dtype)]


declare(OpDef("add_any_order", same_scalar, evaluate=np.add, category="buffer"))
declare(OpDef("mul_any_order", same_scalar, evaluate=np.multiply, category="buffer"))


# ---------------------------------------------------------------- library kernels


@dataclass(frozen=True)
class LibraryKernel:
    """A kernel of `codegen.primitives` that works on whole buffers. `writes`: which operands it writes to.

    `results` gives the types of what it returns (nothing, for most: they write to the first operand).
    """

    name: str
    evaluate: Callable[..., Any]
    writes: tuple[int, ...] = (0,)
    results: Callable[[list[Value]], list[Type]] = lambda operands: []


KERNELS: dict[str, LibraryKernel] = {}


def library(kernel: LibraryKernel) -> None:
    KERNELS[kernel.name] = kernel


def call_kernel(*operands: Any, kernel: str, outs: int = 0) -> Any:
    out = KERNELS[kernel].evaluate(*operands)
    return () if out is None else out


def written_operands(op: Op) -> Sequence[int]:
    """Which operands a library kernel writes to."""
    name = op.attrs["kernel"]
    return range(2, 2 + op.attrs["outs"]) if name == CALLBACK else KERNELS[name].writes


memory("buffer.call", lambda operands, attrs, regions: KERNELS[attrs["kernel"]].results(operands), call_kernel)


def product(*factors: Callable[[Any], Any]) -> Callable[[Any, Any, Any], None]:
    def evaluate(out: Any, a: Any, b: Any) -> None:
        out[...] = factors[0](a) @ factors[1](b)

    return evaluate


def plain(x: Any) -> Any:
    return x


def transposed(x: Any) -> Any:
    return x.T


library(LibraryKernel("matmul", product(plain, plain)))
library(LibraryKernel("matmul_nt", product(plain, transposed)))
library(LibraryKernel("matmul_tn", product(transposed, plain)))
library(LibraryKernel("matmul_tt", product(transposed, transposed)))


def part_of(matrix: Any, row: Any, column: Any, rows: Any, columns: Any, turned: bool) -> Any:
    """The part of a matrix that begins there, as a factor of so many rows and columns; `turned`: it is transposed."""
    height, width = (columns, rows) if turned else (rows, columns)
    part = matrix[int(row) : int(row) + int(height), int(column) : int(column) + int(width)]
    return part.T if turned else part


def product_of_parts(left: bool, right: bool, add: bool) -> Callable[..., None]:
    def evaluate(out: Any, a: Any, b: Any, *at: Any) -> None:
        i, j, ai, aj, bi, bj, rows, columns, inner = at
        for matrix, row, column, height, width in (
            (out, i, j, rows, columns),
            (a, ai, aj, *((inner, rows) if left else (rows, inner))),
            (b, bi, bj, *((columns, inner) if right else (inner, columns))),
        ):
            if not (0 <= row <= row + height <= matrix.shape[0] and 0 <= column <= column + width <= matrix.shape[1]):
                raise IndexError(f"({row}, {column}) and {height} x {width} in a matrix of shape {matrix.shape}")
        product = part_of(a, ai, aj, rows, inner, left) @ part_of(b, bi, bj, inner, columns, right)
        target = part_of(out, i, j, rows, columns, False)
        target[...] = target + product if add else product

    return evaluate


for _left in "nt":
    for _right in "nt":
        for _name in ("add", "put"):
            _evaluate = product_of_parts(_left == "t", _right == "t", _name == "add")
            library(LibraryKernel(f"{_name}_product_{_left}{_right}", _evaluate))


def grown(data: Any, used: Any, needed: Any) -> Any:
    """`data` if it holds `needed` elements, else a larger buffer that begins with the first `used` of them."""
    if needed <= len(data):
        return data
    larger = poison([max(int(needed), 2 * len(data), 16)], _dtype(data))
    larger[: int(used)] = data[: int(used)]
    return larger


def _dtype(data: Any) -> Any:
    from ..ir.types import dtype_of

    return dtype_of(data.dtype)


def order_rows(out: Any, x: Any) -> None:
    out[...] = np.argsort(x, axis=-1, kind="stable")


def true_positions(out: Any, mask: Any) -> None:
    out[...] = np.flatnonzero(mask)


def searching(side: Any) -> Callable[[Any, Any], Any]:
    return lambda a, v: np.searchsorted(a, v, side)


library(LibraryKernel("argsort", order_rows))
library(LibraryKernel("nonzero", true_positions))
for _side in ("left", "right"):
    library(LibraryKernel(f"searchsorted_{_side}", searching(_side), (), lambda operands: [Scalar(I64)]))
for _name, _routine in ROUTINES.items():
    library(LibraryKernel(_name, _routine, written_by(_name)))
library(LibraryKernel(CALLBACK, call_python, (), lambda operands: [Scalar(I64)]))
library(LibraryKernel("tape_reserve", grown, (), lambda operands: [operands[0].type]))


# ---------------------------------------------------------------- running


def writes_memory(op: Op) -> list[Value]:
    """The buffers that an operation itself (not its regions) writes to."""
    if op.name == "buffer.store":
        return [op.operands[1]]
    if op.name == "buffer.call":
        return [op.operands[k] for k in written_operands(op)]
    return []


class Machine(Interpreter):
    """The reference interpreter, for operations that have an effect and no result."""

    def region(self, region: Region) -> list[Any]:
        for op in region.ops:
            if not op.regions and not op.results and REGISTRY[op.name].effect == "memory":
                self.step(op)
            elif op.regions or op.results or REGISTRY[op.name].effect == "check":
                super().region(Region([], [op, _END]))
        return [self.get(v) for v in region.terminator.operands]


_END = Op("yield", [], [])


def run(function: Function, args: Sequence[Any]) -> list[Any]:
    """The results of a scheduled function. Arrays that it writes to (see `lower.schedule`) change; others do not.

    Raises the errors of the program, as `ir.interp.run` does, and IndexError where the schedule itself is wrong.
    """
    env: Env = {}
    for value, given in zip(function.args, args, strict=True):
        dtype = value.type.dtype.numpy if isinstance(value.type, Buffer) else value.dtype.numpy
        same = isinstance(given, np.ndarray) and given.dtype == dtype
        env[value] = given if same else np.asarray(given, dtype)[()]
    with np.errstate(all="ignore"):
        return Machine(env, True).region(function.body)
