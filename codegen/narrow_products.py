"""Which products of matrices are narrow: what BLAS prepares for them costs more than the work.

In: the kind of a product. Out: limits of its extents, for who decides at run time (`llvm.narrow` writes such
products, `lower.product_blocks` lets them take turns with loops).
"""

from __future__ import annotations

from ..ir.types import DType

__all__ = ["BLOCK", "BYTES", "FEWEST", "TURNED", "WIDEST", "limits"]

BLOCK = 8
"""Rows at a time: as many sums as keep both multipliers busy."""
BYTES = 32
"""In a vector."""
FEWEST = 4
"""Rows that are worth it where each sums many terms."""
WIDEST = 32
"""Columns, and rows that sum many terms."""
DEEPEST = 64
"""Terms of sums, where rows are many."""
LONGEST = 4096
"""Terms of a sum that is added up one after the other; BLAS takes longer ones apart, which is more accurate."""
TURNED = 1024
"""Elements of a second factor that are put in order on the stack."""
MANY = 1 << 62


def limits(left: bool, right: bool, dtype: DType) -> list[tuple[tuple[int, ...], int, int]]:
    """Which extents of a product, multiplied with one another, may be how small and how large. `left`, `right`: which
    factors are meant transposed; its extents are its rows, its columns, and how many terms it sums."""
    found: list[tuple[tuple[int, ...], int, int]] = [((1,), BYTES // dtype.itemsize, WIDEST)]
    if left:  # few rows from a long sum
        found += [((0,), FEWEST, WIDEST), ((2,), 1, LONGEST)]
    else:
        found += [((0,), BLOCK, MANY), ((2,), 1, DEEPEST)]
    if right:
        found.append(((1, 2), 0, TURNED))
    return found
