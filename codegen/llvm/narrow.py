"""Products of narrow matrices in machine code: a block of rows at a time, in registers.

In: the pointers and extents of a product, in the function that computes it (`products`). Out: code for shapes where
preparing what BLAS prepares costs more than the work: at most `WIDEST` columns, few of them to be summed over, or few
rows from a long sum. Eight rows and one vector of columns are summed in registers:

    for i in blocks of rows:  for j in vectors of columns:
        s0, ..., s7 = 0
        for k:  y = Y[k, j:j+4];  s0 += X[i, k] * y;  ...;  s7 += X[i+7, k] * y

or, where the columns are three vectors, four rows of all of them, so that there are fewer loads to each product.
The last block and the last vector end where the matrix ends, so that they overlap the ones before and write the same
numbers again: nothing is left over, and nothing is masked.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

from llvmlite import ir

from ...ir.types import DType
from ..narrow_products import BLOCK, BYTES, FEWEST, TURNED, limits
from .numba_parts import cgutils
from .scalars import integer, value_type

__all__ = ["by_blocks", "fits"]

TILE = (4, 3)
"""Rows and vectors of columns: the sums fit into sixteen registers, with what they are made of."""


def lanes(dtype: DType) -> int:
    return BYTES // dtype.itemsize


def fits(b: Any, arguments: Any, dtype: DType, left: bool, right: bool) -> Any:
    """Whether `by_blocks` is for these extents (a bit)."""
    good = None
    for extents, low, high in limits(left, right, dtype):
        value = reduce(b.mul, [arguments[3 + k] for k in extents])
        for test in (b.icmp_signed(">=", value, integer(low)), b.icmp_signed("<=", value, integer(high))):
            good = test if good is None else b.and_(good, test)
    return good


def by_blocks(b: Any, arguments: Any, dtype: DType, left: bool, right: bool) -> None:
    """The product; the extents are such that `fits`."""
    out, x, y, rows, columns, inner = arguments
    kind = value_type(dtype)
    width = lanes(dtype)
    vector = ir.VectorType(kind, width)
    if right:
        y = turned(b, y, kind, columns, inner)

    def at(pointer: Any, position: Any) -> Any:
        return b.gep(pointer, [position], inbounds=True)

    def whole(pointer: Any, row: Any, column: Any) -> Any:
        return b.bitcast(at(pointer, b.add(b.mul(row, columns), column)), vector.as_pointer())

    def starts(extent: Any, step: int) -> Any:
        """How many steps there are, and where each begins: the last is moved back inside."""
        count = b.udiv(b.add(extent, integer(step - 1)), integer(step))
        last = b.sub(extent, integer(step))

        def start(k: Any) -> Any:
            begin = b.mul(k, integer(step))
            return b.select(b.icmp_signed("<", begin, last), begin, last)

        return count, start

    parts, first_column = starts(columns, width)

    def tiles(height: int, count: Any, vectors: int) -> None:
        """The product: so many rows at a time, and `count` times so many vectors of columns."""
        blocks, first_row = starts(rows, height)
        sums = [[cgutils.alloca_once(b, vector) for _ in range(vectors)] for _ in range(height)]
        with cgutils.for_range(b, blocks) as by_row, cgutils.for_range(b, count) as by_column:
            i = first_row(by_row.index)
            columns_of = [first_column(b.add(by_column.index, integer(v))) for v in range(vectors)]
            for line in sums:
                for total in line:
                    b.store(ir.Constant(vector, None), total)
            with cgutils.for_range(b, inner) as by_term:
                k = by_term.index
                parts_of_row = [load(b, whole(y, k, j), dtype) for j in columns_of]
                for r, line in enumerate(sums):
                    where = b.add(i, integer(r))
                    where = b.add(b.mul(k, rows), where) if left else b.add(b.mul(where, inner), k)
                    number = splat(b, b.load(at(x, where)), vector)
                    for part, total in zip(parts_of_row, line, strict=True):
                        term = b.fmul(number, part, flags=("contract",))
                        b.store(b.fadd(b.load(total), term, flags=("contract",)), total)
            for r, line in enumerate(sums):
                for j, total in zip(columns_of, line, strict=True):
                    store = b.store(b.load(total), whole(out, b.add(i, integer(r)), j))
                    store.align = dtype.itemsize

    if left:
        with b.if_else(b.icmp_signed(">=", rows, integer(BLOCK))) as (enough, few):
            with enough:
                by_width(tiles, b, parts, width)
            with few:
                tiles(FEWEST, parts, 1)
    else:
        by_width(tiles, b, parts, width)


def by_width(tiles: Callable[[int, Any, int], None], b: Any, parts: Any, width: int) -> None:
    """Tiles for so many vectors of columns."""
    with b.if_else(b.icmp_signed("==", parts, integer(TILE[1]))) as (three, other):
        with three:
            tiles(TILE[0], integer(1), TILE[1])
        with other:
            tiles(BLOCK, parts, 1)


def load(b: Any, pointer: Any, dtype: DType) -> Any:
    """A vector that begins at any element."""
    out = b.load(pointer)
    out.align = dtype.itemsize
    return out


def splat(b: Any, number: Any, vector: ir.VectorType) -> Any:
    """A vector of equal numbers."""
    index = ir.IntType(32)
    one = b.insert_element(ir.Constant(vector, ir.Undefined), number, index(0))
    return b.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(index, vector.count), None)
    )


def turned(b: Any, y: Any, kind: Any, columns: Any, inner: Any) -> Any:
    """The second factor, given transposed, on the stack."""
    with b.goto_entry_block():
        place = b.alloca(kind, TURNED)
    with cgutils.for_range(b, columns) as by_column:
        with cgutils.for_range(b, inner) as by_term:
            j, k = by_column.index, by_term.index
            element = b.load(b.gep(y, [b.add(b.mul(j, inner), k)], inbounds=True))
            b.store(element, b.gep(place, [b.add(b.mul(k, columns), j)], inbounds=True))
    return place
