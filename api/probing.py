"""The pattern of a matrix from products with sets: which columns each row has, found 64 bits at a time.

In: a function that takes a set of bits for each column (i64) and returns for each row the union of the sets of its
columns (a dependence program, `ir.adjoint.pattern`); and the same of the transposed matrix (the dependence program of
the pullback). Out: `find_pattern`: the pattern, exactly.

A row of one product tells which of 64 sets of columns it has. The columns are divided into blocks, in order; one bit
per block says which blocks a row has. Then all blocks are divided again: blocks that no row has in common (colours, see
`coloring`) may use the same bits for their parts, since a row knows of which block a bit must come. So a band
of any width that is small against the number of columns takes as many products as the number of columns has digits; a
matrix whose rows have columns everywhere takes up to one product for 64 columns.

A few rows that have far more columns than the others are found by the transposed products, a bit for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .coloring import color_columns

__all__ = ["dense_rows", "find_pattern", "matrix_of"]

Integers = np.ndarray[Any, np.dtype[np.int64]]
Run = Callable[[Integers], Integers]

WORD = 64
MOST_DENSE = 128
"""How many dense rows are treated on their own."""


def matrix_of(rows: Any, columns: Any, shape: tuple[int, int]) -> Any:
    """The pattern with these elements, sorted, as a `csr_array` of booleans."""
    from scipy.sparse import csr_array

    out = csr_array((np.ones(len(rows), bool), (rows, columns)), shape=shape)
    out.sum_duplicates()
    out.sort_indices()
    return out


def dense_rows(lengths: Integers) -> Integers:
    """The rows to treat on their own, so that as few products as possible are needed: two for each of them (their
    derivative is in reverse mode), and one for every element of the longest of the others. None where it saves less
    than half."""
    longest = np.argsort(-lengths, kind="stable")[: MOST_DENSE + 1]
    kept = np.append(lengths[longest], 0)
    cost = kept + 2 * np.arange(len(kept))
    best = int(np.argmin(cost[: MOST_DENSE + 1]))
    return np.sort(longest[:best]) if 2 * cost[best] < cost[0] else longest[:0]


def find_pattern(run: Run, transposed: Run, shape: tuple[int, int]) -> Any:
    """The pattern of the matrix of this shape, as a `csr_array` of booleans; see the module's docstring."""
    height, width = shape
    if not height or not width:
        return matrix_of([], [], shape)
    if 2 * height < width:
        columns, rows = elements_of(transposed, run, width, height)
    else:
        rows, columns = elements_of(run, transposed, height, width)
    return matrix_of(rows, columns, shape)


def elements_of(run: Run, transposed: Run, height: int, width: int) -> tuple[Integers, Integers]:
    """The rows and the columns of all elements."""
    every_row, every_column = np.arange(height), np.arange(width)
    levels = levels_of(width)
    few = every_row[:0]
    if levels > 7:
        blocks = run(bits_of(every_column >> (levels - 6))).view(np.uint64)
        few = dense_rows(np.bitwise_count(blocks).astype(np.int64))
    if not len(few):
        return refined(run, every_row, every_column, width)
    some_columns, some_rows = one_by_one(transposed, few, height)
    rows, columns = refined(run, np.setdiff1d(every_row, few), every_column, width)
    return np.concatenate([some_rows, rows]), np.concatenate([some_columns, columns])


def levels_of(count: int) -> int:
    """How many times a number of columns is halved until there is one."""
    return max(count - 1, 0).bit_length()


def bits_of(places: Integers) -> Integers:
    """Sets of one element each, of 0 to 63."""
    return np.left_shift(np.uint64(1), places.astype(np.uint64)).view(np.int64)


def one_by_one(run: Run, columns: Integers, width: int) -> tuple[Integers, Integers]:
    """The elements of some columns, each with a bit of its own."""
    found = []
    for first in range(0, len(columns), WORD):
        some = columns[first : first + WORD]
        bits = np.zeros(width, np.int64)
        bits[some] = bits_of(np.arange(len(some)))
        out = run(bits).view(np.uint64)
        (rows,) = np.nonzero(out)
        rows, place = elements(rows, out[rows])
        found.append((rows, some[place]))
    rows, chosen = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, chosen


def refined(run: Run, rows: Integers, columns: Integers, width: int) -> tuple[Integers, Integers]:
    """The elements in `rows` and `columns`: of blocks of columns, which are divided until they are single columns."""
    left = levels_of(len(columns))
    places = np.arange(len(columns))
    owners, blocks = np.arange(len(rows)), np.zeros(len(rows), np.int64)
    bits = np.zeros(width, np.int64)
    while True:
        count = (len(columns) - 1 >> left) + 1
        colors = color_columns(matrix_of(owners, blocks, (len(rows), count))) if count > 1 else np.zeros(1, np.int64)
        used = int(colors.max()) + 1
        halvings = min(left, (WORD // used).bit_length() - 1 if used <= WORD // 2 else 2)
        parts = 1 << halvings  # of each block
        together = WORD // parts  # colours in one product
        left -= halvings
        part = (places >> left) & (parts - 1)
        color = colors[places >> left + halvings]
        own = colors[blocks]
        found = []
        for first in range(0, used, together):
            chosen = (color >= first) & (color < first + together)
            bits[columns] = np.where(chosen, bits_of(((color - first) * parts + part) & (WORD - 1)), 0)
            out = run(bits).view(np.uint64)[rows]
            (mine,) = np.nonzero((own >= first) & (own < first + together))
            shift = ((own[mine] - first) * parts).astype(np.uint64)
            some = (out[owners[mine]] >> shift) & np.uint64((1 << parts) - 1)
            entry, place = elements(mine, some)
            found.append((owners[entry], (blocks[entry] << halvings) + place))
        owners, blocks = (np.concatenate(x) for x in zip(*found, strict=True))
        if not left:
            return rows[owners], columns[blocks]


def elements(owners: Integers, sets: Any) -> tuple[Integers, Integers]:
    """Every element of every set, with the set's owner."""
    found_owners, found = [], []
    while len(sets):
        lowest = sets & (~sets + np.uint64(1))
        present = lowest != 0
        if not present.all():
            owners, sets, lowest = owners[present], sets[present], lowest[present]
        found_owners.append(owners)
        found.append(np.bitwise_count(lowest - np.uint64(1)).astype(np.int64))
        sets = sets ^ lowest
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(found_owners), np.concatenate(found)
