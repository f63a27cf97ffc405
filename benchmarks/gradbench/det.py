"""det: the determinant by expansion by minors, none of them kept for a second use; its gradient.

Minors are visited depth first. The columns that are left are a linked list: `following[j]` is the next one after j, n
is the list's head and its end. In row r, `columns[r]` is the column that was taken out, `before[r]` the one before it
in the list, `minors[r]` what of the minor of the rows from r on has been added up so far, with `signs[r]` next. Minors
of three rows are written out.
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
    if n == 2:
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    following = np.arange(1, n + 2)
    following[n] = 0
    before = np.full(n, n)
    columns = np.zeros(n, dtype=np.int64)
    signs = np.ones(n)
    minors = np.zeros(n)
    minor = 0.0
    r = 0
    while r >= 0:
        if r == n - 3:
            i = following[n]
            j = following[i]
            k = following[j]
            x, y, z = a[r], a[r + 1], a[r + 2]
            minor = (
                x[i] * (y[j] * z[k] - y[k] * z[j])
                - x[j] * (y[i] * z[k] - y[k] * z[i])
                + x[k] * (y[i] * z[j] - y[j] * z[i])
            )
        else:
            j = following[before[r]]
            if j < n:
                columns[r] = j
                following[before[r]] = following[j]
                r += 1
                before[r] = n
                signs[r] = 1.0
                minors[r] = 0.0
                continue
            minor = minors[r]
        r -= 1
        if r >= 0:  # back from the minor without row r and column j
            j = columns[r]
            following[before[r]] = j
            minors[r] += signs[r] * a[r, j] * minor
            signs[r] = -signs[r]
            before[r] = j
    return minor


def prepare(given: Any) -> tuple[Any, ...]:
    """The argument of `determinant`."""
    n = int(given["ell"])
    return (floats(given["A"]).reshape(n, n),)


FUNCTIONS = {
    "primal": Function(prepare, jit(determinant)),
    "gradient": Function(prepare, grad(determinant), lambda gradient: gradient.ravel().tolist()),
}
