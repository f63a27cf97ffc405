"""Which columns of a sparse matrix can be computed together: colours such that no row has two columns of one colour.

In: the pattern of a matrix. Out: `color_columns`: a colour for each column, from 0; columns of one colour are
structurally orthogonal (Curtis, Powell and Reid), so their sum shows every element of each.

The columns get, one by one, the first colour that no column with a row in common has. In their own order that is
optimal for bands; where it is not (a row with more elements than any is a lower bound), the columns with the most
neighbours first (Welsh and Powell) are tried as well, and the better is taken. The loop is compiled by adjit itself.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .compiled import Compiled, Transform

__all__ = ["color_columns"]

Indices = np.ndarray[Any, np.dtype[np.int64]]


def greedy(rows: Any, columns: Any, starts: Any, owners: Any, order: Any, colors: Any, taken: Any) -> int:
    """Colours the columns in `order`. `columns[rows[i]:rows[i+1]]` are those of row i, `owners[starts[j]:starts[j+1]]`
    the rows of column j; `taken[c]` is the last column that could not have the colour c. Returns how many colours."""
    count = 0
    for k in range(len(order)):
        j = order[k]
        for p in range(starts[j], starts[j + 1]):
            i = owners[p]
            for q in range(rows[i], rows[i + 1]):
                c = colors[columns[q]]
                if c >= 0:
                    taken[c] = j
        free = 0
        while taken[free] == j:
            free += 1
        colors[j] = free
        count = max(count, free + 1)
    return count


COMPILED = Compiled(greedy, Transform("jit", (), False, ()))


def color_columns(pattern: Any) -> Indices:
    """A colour for each column of a `scipy.sparse.csr_array`; columns without an element have the colour 0."""
    width = pattern.shape[1]
    colors: Indices = np.zeros(width, np.int64)
    if not pattern.nnz:
        return colors
    lengths = np.diff(pattern.indptr)
    least = int(lengths.max())
    if least == 1:
        return colors
    if 2 * least > width:  # nearly every column has its own
        return np.arange(width, dtype=np.int64)
    by_column = pattern.tocsc()
    rows, columns, starts, owners = (
        np.ascontiguousarray(x, np.int64)
        for x in (pattern.indptr, pattern.indices, by_column.indptr, by_column.indices)
    )

    def colored(order: Indices) -> tuple[Indices, int]:
        out, taken = np.full(width, -1, np.int64), np.full(width + 1, -1, np.int64)
        return out, int(COMPILED(rows, columns, starts, owners, order, out, taken))

    colors, count = colored(np.arange(width, dtype=np.int64))
    if count > least:
        neighbours = np.asarray(by_column.astype(np.int64).T @ lengths.astype(np.int64))
        other, fewer = colored(np.argsort(-neighbours, kind="stable"))
        if fewer < count:
            return other
    return colors
