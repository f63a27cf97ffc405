"""Matrix products in machine code: BLAS where it pays, loops where the call would cost more than the work, blocks in
registers (`narrow`) where matrices are narrow.

In: contiguous memory of the product and its factors. Out: a call of a function that is added to the module once per
dtype and kind of product. It does what `codegen.primitives.products` does, without Numba's front end, which takes a
second for a product.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir

from ...ir.types import F32, F64, DType
from ..primitives.products import SMALL
from . import alone, narrow
from .memory import Memories, Memory
from .numba_parts import cgutils, linalg
from .scalars import integer, value_type
from .shared_products import gemm, shared

__all__ = ["PRODUCTS", "by_blas", "by_loops", "find_blas", "product"]

I8, I32, I64 = (ir.IntType(n) for n in (8, 32, 64))
PRODUCTS = {"matmul": (False, False), "matmul_nt": (False, True), "matmul_tn": (True, False), "matmul_tt": (True, True)}
"""Which factors are meant transposed."""
SHARED, LARGE = 1 << 17, 1 << 28
"""Products of so many multiplications BLAS may share out to threads of its own, and is left to do so: below, it would
not; in between, it would, and they would cost more than they do."""


@cache
def find_blas() -> None:
    linalg.ensure_blas()


def product(memories: Memories, kernel: str, out: Memory, a: Memory, b: Memory, threads: int | None = None) -> bool:
    """Add the product to the program, on that many threads (None: on one); False where its operands need the general
    way."""
    dtype = out.type.dtype
    if dtype not in (F64, F32) or any(m.strides is not None for m in (out, a, b)):
        return False
    find_blas()
    builder = memories.b
    inner = a.extents[0] if PRODUCTS[kernel][0] else a.extents[1]
    function = function_for(memories.module, kernel, dtype)
    arguments = [out.data, a.data, b.data, *out.extents, inner]
    if threads is None:
        builder.call(function, arguments)
    else:
        several = shared(memories.module, f"{function.name}_shared", function, dtype, *PRODUCTS[kernel])
        builder.call(several, [*arguments, integer(threads)])
    return True


def function_for(module: ir.Module, kernel: str, dtype: DType) -> ir.Function:
    """f(out, a, b, rows, columns, inner): out = a b"""
    name = f"adjit_{kernel}_{dtype.name}"
    found = module.globals.get(name)
    if found is not None:
        return found
    pointer = value_type(dtype).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3 + [I64] * 3), name)
    function.linkage = "internal"
    for k in range(3):
        function.args[k].add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    rows, columns, inner = function.args[3:]
    places, widths, extents = whole(function.args, *PRODUCTS[kernel])
    size = b.mul(b.mul(rows, columns), inner)
    with b.if_then(b.icmp_signed(">=", size, integer(SMALL)), likely=True):
        if PRODUCTS[kernel] != (True, True):
            with b.if_then(narrow.fits(b, function.args, dtype, *PRODUCTS[kernel])):
                narrow.by_blocks(b, function.args, dtype, *PRODUCTS[kernel])
                b.ret_void()
        by_blas(b, size, places, widths, extents, dtype, *PRODUCTS[kernel])
        b.ret_void()
    by_loops(b, places, widths, extents, dtype, *PRODUCTS[kernel])
    b.ret_void()
    return function


def whole(arguments: Any, left: bool, right: bool) -> Any:
    """The places of a product's matrices, how wide their rows are, and the extents."""
    out, x, y, rows, columns, inner = arguments
    return (out, x, y), (columns, rows if left else inner, inner if right else columns), (rows, columns, inner)


def by_blas(
    b: Any, size: Any, places: Any, widths: Any, extents: Any, dtype: DType, left: bool, right: bool, add: bool = False
) -> None:
    """On this thread alone where sharing out would cost more; `size`: the number of multiplications."""
    quick = b.and_(b.icmp_signed(">=", size, integer(SHARED)), b.icmp_signed("<", size, integer(LARGE)))
    with b.if_then(quick):
        alone.enter(b)
    gemm(b, places, widths, extents, dtype, left, right, add=add)
    with b.if_then(quick):
        alone.leave(b)


def by_loops(
    b: Any, places: Any, widths: Any, extents: Any, dtype: DType, left: bool, right: bool, add: bool = False
) -> None:
    """Along rows where the second factor has rows, else as dot products. `add`: to what is there."""
    (out, x, y), (out_width, x_width, y_width), (rows, columns, inner) = places, widths, extents
    zero = ir.Constant(value_type(dtype), 0.0)

    def at(pointer: Any, row: Any, column: Any, width: Any) -> Any:
        return b.gep(pointer, [b.add(b.mul(row, width), column)], inbounds=True)

    def factor(i: Any, k: Any) -> Any:
        return b.load(at(x, k, i, x_width) if left else at(x, i, k, x_width))

    with cgutils.for_range(b, rows) as by_row:
        i = by_row.index
        if right:
            with cgutils.for_range(b, columns) as by_column:
                total = cgutils.alloca_once_value(b, zero)
                b.store(zero, total)
                with cgutils.for_range(b, inner) as by_term:
                    k = by_term.index
                    term = b.fmul(factor(i, k), b.load(at(y, by_column.index, k, y_width)))
                    b.store(b.fadd(b.load(total), term, flags=("reassoc",)), total)
                place = at(out, i, by_column.index, out_width)
                b.store(b.fadd(b.load(place), b.load(total)) if add else b.load(total), place)
        else:
            if not add:
                with cgutils.for_range(b, columns) as by_column:
                    b.store(zero, at(out, i, by_column.index, out_width))
            with cgutils.for_range(b, inner) as by_term:
                scale = factor(i, by_term.index)
                with cgutils.for_range(b, columns) as by_column:
                    place = at(out, i, by_column.index, out_width)
                    term = b.fmul(scale, b.load(at(y, by_term.index, by_column.index, y_width)))
                    b.store(b.fadd(b.load(place), term), place)
