"""Products of parts of matrices in machine code, added to a part of a matrix: BLAS, or loops where that does not pay.

In: memory of three matrices in C order and where the parts begin. Out: a call of a function that is added to the module
once per dtype and kind of product; it does what `add_product` of `codegen.primitives.products` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir

from ...ir.types import F32, F64, DType
from ..primitives.products import SMALL
from . import alone
from .memory import Memories, Memory
from .numba_parts import cgutils
from .products import LARGE, SHARED, find_blas
from .scalars import integer, value_type
from .shared_products import gemm

__all__ = ["PART_PRODUCTS", "part_product"]

I64 = ir.IntType(64)
PART_PRODUCTS = {f"add_product_{a}{b}": (a == "t", b == "t") for a in "nt" for b in "nt"}
"""Which factors are meant transposed."""


def part_product(memories: Memories, kernel: str, matrices: Sequence[Memory], numbers: Sequence[Any]) -> bool:
    """Add the product to the program; False where its operands need the general way."""
    dtype = matrices[0].type.dtype
    if dtype not in (F64, F32) or any(m.strides is not None for m in matrices):
        return False
    find_blas()
    b = memories.b
    widths = [m.extents[1] for m in matrices]
    starts = [
        b.gep(m.data, [b.add(b.mul(numbers[2 * k], widths[k]), numbers[2 * k + 1])]) for k, m in enumerate(matrices)
    ]
    b.call(function_for(memories.module, kernel, dtype), [*starts, *widths, *numbers[6:]])
    return True


def function_for(module: ir.Module, kernel: str, dtype: DType) -> ir.Function:
    """f(out, a, b, their widths, rows, columns, inner): out += a b"""
    name = f"adjit_{kernel}_{dtype.name}"
    found = module.globals.get(name)
    if found is not None:
        return found
    pointer = value_type(dtype).as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3 + [I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for k in range(3):
        function.args[k].add_attribute("noalias")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    places, widths, extents = function.args[:3], function.args[3:6], function.args[6:]
    rows, columns, inner = extents
    size = b.mul(b.mul(rows, columns), inner)
    with b.if_then(b.icmp_signed(">=", size, integer(SMALL)), likely=True):
        quick = b.and_(b.icmp_signed(">=", size, integer(SHARED)), b.icmp_signed("<", size, integer(LARGE)))
        with b.if_then(quick):
            alone.enter(b)
        gemm(b, places, widths, extents, dtype, *PART_PRODUCTS[kernel], add=True)
        with b.if_then(quick):
            alone.leave(b)
        b.ret_void()
    by_loops(b, places, widths, extents, dtype, *PART_PRODUCTS[kernel])
    b.ret_void()
    return function


def by_loops(b: Any, places: Any, widths: Any, extents: Any, dtype: DType, left: bool, right: bool) -> None:
    """Along rows where the second factor has rows, else as dot products."""
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
                b.store(b.fadd(b.load(place), b.load(total)), place)
        else:
            with cgutils.for_range(b, inner) as by_term:
                scale = factor(i, by_term.index)
                with cgutils.for_range(b, columns) as by_column:
                    place = at(out, i, by_column.index, out_width)
                    term = b.fmul(scale, b.load(at(y, by_term.index, by_column.index, y_width)))
                    b.store(b.fadd(b.load(place), term), place)
