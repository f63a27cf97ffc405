"""Products of parts of matrices in machine code, added to a part of a matrix or put there: BLAS, blocks in registers
(`narrow`) where matrices are narrow, or loops where neither pays.

In: memory of three matrices in C order and where the parts begin. Out: a call of a function that is added to the module
once per dtype and kind of product; it does what `add_product` of `codegen.primitives.products` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

from llvmlite import ir

from ...ir.types import F32, F64, DType
from ..narrow_products import WIDEST
from ..primitives.products import SMALL
from . import narrow
from .memory import Memories, Memory
from .numba_parts import cgutils
from .products import by_blas, by_loops, find_blas, whole
from .scalars import integer, value_type

__all__ = ["PART_PRODUCTS", "part_product"]

I64 = ir.IntType(64)
PART_PRODUCTS = {f"{name}_product_{a}{b}": (a == "t", b == "t") for name in ("add", "put") for a in "nt" for b in "nt"}
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
    add, turned = kernel.startswith("add"), PART_PRODUCTS[kernel]
    if turned == (True, False) or (not add and turned != (True, True)):
        _, tight, _ = whole([*places, *extents], *turned)
        together = [b.icmp_signed("==", width, extent) for width, extent in zip(widths, tight, strict=True)]
        fits = reduce(b.and_, together, narrow.fits(b, [*places, *extents], dtype, *turned))
        with b.if_then(fits):
            by_blocks(b, [*places, *extents], dtype, turned, add)
            b.ret_void()
    with b.if_then(b.icmp_signed(">=", size, integer(SMALL)), likely=True):
        by_blas(b, size, places, widths, extents, dtype, *turned, add=add)
        b.ret_void()
    by_loops(b, places, widths, extents, dtype, *turned, add=add)
    b.ret_void()
    return function


def by_blocks(b: Any, arguments: Sequence[Any], dtype: DType, turned: tuple[bool, bool], add: bool) -> None:
    """A narrow product; one that is added to something, which is few rows, is made on the stack first."""
    if not add:
        narrow.by_blocks(b, arguments, dtype, *turned)
        return
    out, x, y, rows, columns, inner = arguments
    with b.goto_entry_block():
        product = b.alloca(value_type(dtype), WIDEST * WIDEST)
    narrow.by_blocks(b, [product, x, y, rows, columns, inner], dtype, *turned)
    with cgutils.for_range(b, b.mul(rows, columns)) as by_element:
        place, part = (b.gep(pointer, [by_element.index], inbounds=True) for pointer in (out, product))
        b.store(b.fadd(b.load(place), b.load(part)), place)
