"""Products with a triangular factor: the half that is zero is left out.

In: the pointers and extents of a product of matrices, in machine code. Out: a function that looks whether one of the
factors is square and has zeros alone above (or below) its diagonal, and if so computes the product by BLAS, a block of
columns (or rows) at a time, from those terms that are not zero:

    out = X Y, Y upper triangular:     for J in blocks of columns:
                                           out[:, J] = X[:, :end(J)] Y[:end(J), J]

Nothing needs to be known of the factor before the program runs. A matrix whose corner is not zero is not looked at any
further. Zero times infinity is not zero: where the other factor has an element that is not finite, the product is
computed as a whole, as if nothing were known.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ...ir.types import DType
from .numba_parts import cgutils
from .scalars import integer, value_type
from .shared_products import gemm

__all__ = ["LEAST", "by_triangle"]

BIT, I64 = ir.IntType(1), ir.IntType(64)
LEAST = 64
"""The smallest triangular factor, and the fewest rows or columns of the other, for which it pays."""
BLOCKS = 4
"""Into how many blocks a triangular factor is cut: what is left out is 3/8 of the work."""
WIDTH = 16
"""Blocks begin at multiples of this many rows or columns."""


def by_triangle(b: Any, arguments: Any, dtype: DType, left: bool, right: bool) -> Any:
    """Try to compute the product; whether that was done (a bit)."""
    name = f"adjit_triangular_{'nt'[left]}{'nt'[right]}_{dtype.name}"
    function = b.module.globals.get(name)
    if function is None:
        function = internal(b.module, name, [a.type for a in arguments], BIT)
        write(function, dtype, left, right)
    return b.call(function, arguments)


def internal(module: ir.Module, name: str, kinds: list[Any], result: Any) -> ir.Function:
    function = ir.Function(module, ir.FunctionType(result, kinds), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    return function


def write(function: ir.Function, dtype: DType, left: bool, right: bool) -> None:
    b = ir.IRBuilder(function.append_basic_block("entry"))
    _, x, y, rows, columns, inner = function.args
    wide = b.and_(*(b.icmp_signed(">=", n, integer(LEAST)) for n in (rows, columns)))
    for second in (True, False):
        # the triangular factor, the other one, and along which extent of the product the blocks go
        factor, other, extent, count = (y, x, columns, rows) if second else (x, y, rows, columns)
        turned = right if second else left
        square = b.and_(b.icmp_signed("==", extent, inner), wide)
        with b.if_then(square):
            kind = b.call(triangle_of(b.module, dtype), [factor, inner])
            fits = b.icmp_signed("!=", kind, integer(0))
            with b.if_then(fits):
                finite = b.call(finite_of(b.module, dtype), [other, b.mul(count, inner)])
                with b.if_then(finite):
                    below = b.icmp_signed("==", kind, integer(2 if turned else 1))
                    first_terms = b.not_(below) if second else below  # else the last ones
                    blocks(b, function.args, dtype, left, right, second, first_terms)
                    b.ret(BIT(1))
    b.ret(BIT(0))


def blocks(b: Any, arguments: Any, dtype: DType, left: bool, right: bool, second: bool, first_terms: Any) -> None:
    """The product; block after block from the first (or last) terms of the sums."""
    out, x, y, rows, columns, inner = arguments
    size = b.udiv(b.add(inner, integer(BLOCKS - 1)), integer(BLOCKS))
    size = b.and_(b.add(size, integer(WIDTH - 1)), integer(-WIDTH))
    parts = b.udiv(b.add(inner, b.sub(size, integer(1))), size)
    widths = (columns, rows if left else inner, inner if right else columns)
    with cgutils.for_range(b, parts) as by_part:
        begin = b.mul(by_part.index, size)
        end = b.add(begin, size)
        end = b.select(b.icmp_signed("<", end, inner), end, inner)
        low = b.select(first_terms, integer(0), begin)
        terms = b.sub(b.select(first_terms, end, inner), low)

        def at(pointer: Any, row: Any, column: Any, width: Any, turned: bool) -> Any:
            position = b.add(b.mul(column, width), row) if turned else b.add(b.mul(row, width), column)
            return b.gep(pointer, [position])

        zero = integer(0)
        row, column = (zero, begin) if second else (begin, zero)
        places = (
            at(out, row, column, columns, False),
            at(x, row, low, widths[1], left),
            at(y, low, column, widths[2], right),
        )
        width = b.sub(end, begin)
        gemm(b, places, widths, (rows, width, terms) if second else (width, columns, terms), dtype, left, right)


def triangle_of(module: ir.Module, dtype: DType) -> ir.Function:
    """f(matrix, n): 1 where there are zeros above the diagonal, else 2 where there are below it, else 0."""
    name = f"adjit_triangle_{dtype.name}"
    found = module.globals.get(name)
    if found is not None:
        return found
    number = value_type(dtype)
    function = internal(module, name, [number.as_pointer(), I64], I64)
    matrix, n = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    last = b.sub(n, integer(1))
    zero = ir.Constant(number, 0.0)

    def is_zero(position: Any) -> Any:
        return b.fcmp_ordered("==", b.load(b.gep(matrix, [position])), zero)

    for answer in (1, 2):
        corner = last if answer == 1 else b.mul(last, n)
        with b.if_then(is_zero(corner)):
            good = cgutils.alloca_once_value(b, BIT(1))
            b.store(BIT(1), good)
            with cgutils.for_range(b, n) as by_row:
                i = by_row.index
                start = b.mul(i, n)
                low = b.add(i, integer(1)) if answer == 1 else integer(0)
                with cgutils.for_range(b, b.sub(n, low) if answer == 1 else i) as by_column:
                    here = is_zero(b.add(start, b.add(low, by_column.index)))
                    b.store(b.and_(b.load(good), here), good)
                with b.if_then(b.not_(b.load(good))):
                    by_row.do_break()
            with b.if_then(b.load(good)):
                b.ret(integer(answer))
    b.ret(integer(0))
    return function


def finite_of(module: ir.Module, dtype: DType) -> ir.Function:
    """f(numbers, count): whether all of them are finite."""
    name = f"adjit_finite_{dtype.name}"
    found = module.globals.get(name)
    if found is not None:
        return found
    number = value_type(dtype)
    function = internal(module, name, [number.as_pointer(), I64], BIT)
    numbers, count = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    zero = ir.Constant(number, 0.0)
    total = cgutils.alloca_once_value(b, zero)
    with cgutils.for_range(b, count) as by_number:
        term = b.fmul(b.load(b.gep(numbers, [by_number.index])), zero)  # NaN where it is not finite
        b.store(b.fadd(b.load(total), term, flags=("reassoc",)), total)
    b.ret(b.fcmp_ordered("==", b.load(total), zero))
    return function
