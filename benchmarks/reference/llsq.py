"""llsq by hand: a block of points at a time, whose powers stay in the first cache, four coefficients for each visit."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import kernel

__all__ = ["derivative", "primal"]

LANES = 16
BLOCK = 4 * LANES


@kernel
def residuals(x: Any, n: int, start: int, t: Any, r: Any) -> None:
    """Into t and r: the points from `start` on and what the polynomial lacks there; zero beyond the n-th."""
    m = len(x)
    for l in range(len(r)):
        t[l] = -1.0 + 2.0 * (start + l) / (n - 1)
        r[l] = 0.0
    for j in range(m - 1, m - 1 - m % 4, -1):
        for l in range(len(r)):
            r[l] = r[l] * t[l] + x[j]
    for j in range(m - m % 4 - 4, -1, -4):
        a, b, c, d = x[j + 3], x[j + 2], x[j + 1], x[j]
        for l in range(len(r)):
            r[l] = (((r[l] * t[l] + a) * t[l] + b) * t[l] + c) * t[l] + d
    for l in range(len(r)):
        r[l] = np.sign(t[l]) - r[l] if start + l < n else 0.0


@kernel
def primal(x: Any, n: int) -> Any:
    """½ Σ r²."""
    t, r, squares = np.empty(BLOCK), np.empty(BLOCK), np.zeros(BLOCK)
    for start in range(0, n, BLOCK):
        residuals(x, n, start, t, r)
        for l in range(len(r)):
            squares[l] += r[l] * r[l]
    return 0.5 * np.sum(squares)


@kernel
def add_powers(
    ta: Any, tb: Any, tc: Any, td: Any, ra: Any, rb: Any, rc: Any, rd: Any, s0: Any, s1: Any, s2: Any, s3: Any
) -> None:
    """Subtract r, r t, r t², r t³ of four points a lane from the sums; r becomes r t⁴."""
    for l in range(len(ta)):
        a, b, c, d = ra[l], rb[l], rc[l], rd[l]
        s0[l] -= (a + b) + (c + d)
        a, b, c, d = a * ta[l], b * tb[l], c * tc[l], d * td[l]
        s1[l] -= (a + b) + (c + d)
        a, b, c, d = a * ta[l], b * tb[l], c * tc[l], d * td[l]
        s2[l] -= (a + b) + (c + d)
        a, b, c, d = a * ta[l], b * tb[l], c * tc[l], d * td[l]
        s3[l] -= (a + b) + (c + d)
        ra[l], rb[l], rc[l], rd[l] = a * ta[l], b * tb[l], c * tc[l], d * td[l]


@kernel
def derivative(x: Any, n: int) -> Any:
    """−Σ r tʲ for each j: in lanes, which are added up at the end."""
    m = len(x)
    t, r, sums = np.empty(BLOCK), np.empty(BLOCK), np.zeros((m + 3, LANES))
    ta, tb, tc, td = t[:LANES], t[LANES : 2 * LANES], t[2 * LANES : 3 * LANES], t[3 * LANES :]
    ra, rb, rc, rd = r[:LANES], r[LANES : 2 * LANES], r[2 * LANES : 3 * LANES], r[3 * LANES :]
    for start in range(0, n, BLOCK):
        residuals(x, n, start, t, r)
        for j in range(0, m, 4):
            add_powers(ta, tb, tc, td, ra, rb, rc, rd, sums[j], sums[j + 1], sums[j + 2], sums[j + 3])
    result = np.empty(m)
    for j in range(m):
        result[j] = np.sum(sums[j])
    return result
