"""det: the determinant by expansion by minors, none of them kept for a second use; its gradient.

Minors are visited depth first: `columns[r]` is the column chosen in row r, `minors[r]` what of the minor of the rows
from r on has been added up so far, with `signs[r]` next. A complete minor is multiplied with its element and sign in
the row above; those of two rows are ad − bc.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...api import grad, jit
from .function import Function, floats

__all__ = ["FUNCTIONS", "determinant"]


def determinant(a: Any) -> Any:
    """The determinant of a."""
    n = len(a)
    if n == 1:
        return a[0, 0]
    columns = np.full(n, -1)
    free = np.ones(n, dtype=np.bool_)
    signs = np.ones(n)
    minors = np.zeros(n)
    r = 0
    while r >= 0:
        j = columns[r]
        if j >= 0:  # back from the minor without row r and column j
            minors[r] += signs[r] * a[r, j] * minors[r + 1]
            signs[r] = -signs[r]
            free[j] = True
        j += 1
        while j < n and not free[j]:
            j += 1
        if r == n - 2:
            k = j + 1
            while not free[k]:
                k += 1
            minors[r] = a[r, j] * a[r + 1, k] - a[r, k] * a[r + 1, j]
            r -= 1
        elif j < n:
            columns[r] = j
            free[j] = False
            r += 1
            columns[r] = -1
            signs[r] = 1.0
            minors[r] = 0.0
        else:
            r -= 1
    return minors[0]


def prepare(given: Any) -> tuple[Any, ...]:
    """The argument of `determinant`."""
    n = int(given["ell"])
    return (floats(given["A"]).reshape(n, n),)


FUNCTIONS = {
    "primal": Function(prepare, jit(determinant)),
    "gradient": Function(prepare, grad(determinant), lambda gradient: gradient.ravel().tolist()),
}
