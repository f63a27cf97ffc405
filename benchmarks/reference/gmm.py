"""gmm by hand: a block of points at a time goes through all components, forth and back, while it is in the cache.

In few dimensions points are columns and loops go over the points of a block; sums over points are kept in lanes. In
many dimensions the products with Q go to BLAS, as triangular ones where they are.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba.extending import get_cython_function_address

from .kernel import exp, kernel

__all__ = ["derivative", "primal"]

MANY = 24
"""From so many dimensions on BLAS is faster."""
LANES = 8
POINTS = 64
"""The points of a block, where loops go over them."""
ROWS = 200
"""The points of a block, for BLAS."""


def blas(name: str, arguments: int) -> Any:
    """A routine of BLAS by its address."""
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arguments)
    return kind(get_cython_function_address("scipy.linalg.cython_blas", name))


dtrmm, dgemm = blas("dtrmm", 11), blas("dgemm", 13)


@kernel
def letter(c: str) -> Any:
    """A letter as BLAS takes it."""
    return np.array([ord(c)], dtype=np.uint8)


@kernel
def times_transposed(y: Any, factor: Any) -> None:
    """y ← y factorᵀ, where `factor` is lower triangular."""
    rows, d = np.array([len(y)], dtype=np.int32), np.array([len(factor)], dtype=np.int32)
    left, upper, transposed, full, one = letter("L"), letter("U"), letter("T"), letter("N"), np.ones(1)
    dtrmm(
        left.ctypes, upper.ctypes, transposed.ctypes, full.ctypes, d.ctypes, rows.ctypes, one.ctypes, factor.ctypes,
        d.ctypes, y.ctypes, d.ctypes,
    )  # fmt: skip


@kernel
def add_product(a: Any, b: Any, sums: Any) -> None:
    """sums += aᵀ b."""
    rows, d = np.array([len(a)], dtype=np.int32), np.array([len(sums)], dtype=np.int32)
    normal, transposed, one = letter("N"), letter("T"), np.ones(1)
    dgemm(
        normal.ctypes, transposed.ctypes, d.ctypes, d.ctypes, rows.ctypes, one.ctypes, b.ctypes, d.ctypes, a.ctypes,
        d.ctypes, one.ctypes, sums.ctypes, d.ctypes,
    )  # fmt: skip


@kernel
def factors(q: Any, l: Any) -> Any:
    """Q of each component."""
    k, d = q.shape
    result = np.zeros((k, d, d))
    for c in range(k):
        start = 0
        for j in range(d):
            result[c, j, j] = np.exp(q[c, j])
            for i in range(j + 1, d):
                result[c, i, j] = l[c, start]
                start += 1
    return result


@kernel
def log_weights(alpha: Any) -> Any:
    """log Σ exp(alpha)."""
    top = np.max(alpha)
    return top + np.log(np.sum(np.exp(alpha - top)))


@kernel
def centred(columns: Any, mean: Any, out: Any) -> None:
    """The points of a block less a mean."""
    for a in range(len(mean)):
        source, target, by = columns[a], out[a], mean[a]
        for i in range(len(source)):
            target[i] = source[i] - by


@kernel
def product(factor: Any, y: Any, out: Any, squares: Any) -> None:
    """out = factor · y and the sums of the squares of its columns; `factor` is lower triangular."""
    for i in range(len(squares)):
        squares[i] = 0.0
    for a in range(len(factor)):
        row, target = factor[a], out[a]
        whole = (a + 1) // 4 * 4
        for i in range(len(target)):
            target[i] = 0.0
        for b in range(0, whole, 4):
            f0, f1, f2, f3 = row[b], row[b + 1], row[b + 2], row[b + 3]
            y0, y1, y2, y3 = y[b], y[b + 1], y[b + 2], y[b + 3]
            for i in range(len(target)):
                target[i] += (f0 * y0[i] + f1 * y1[i]) + (f2 * y2[i] + f3 * y3[i])
        for b in range(whole, a + 1):
            f0, y0 = row[b], y[b]
            for i in range(len(target)):
                target[i] += f0 * y0[i]
        for i in range(len(target)):
            squares[i] += target[i] * target[i]


@kernel
def shares(beta: Any, top: Any, norm: Any) -> None:
    """Of rows of exponents, a component each: the columns' maxima, Σ exp(β − top), and in place exp(β − top)."""
    for i in range(len(top)):
        top[i] = beta[0, i]
    for c in range(1, len(beta)):
        row = beta[c]
        for i in range(len(top)):
            top[i] = row[i] if row[i] > top[i] else top[i]
    for i in range(len(top)):
        norm[i] = 0.0
    for c in range(len(beta)):
        row = beta[c]
        for i in range(len(top)):
            row[i] = exp(row[i] - top[i])
            norm[i] += row[i]


@kernel
def exponents(squares: Any, constant: float, beta: Any) -> None:
    """β of a component."""
    for i in range(len(beta)):
        beta[i] = constant - 0.5 * squares[i]


@kernel
def square(x: Any) -> Any:
    """Σ x², in lanes."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    whole = len(x) // LANES * LANES
    for start in range(0, whole, LANES):
        b = x[start : start + LANES]
        s0, s1, s2, s3 = s0 + b[0] * b[0], s1 + b[1] * b[1], s2 + b[2] * b[2], s3 + b[3] * b[3]
        s4, s5, s6, s7 = s4 + b[4] * b[4], s5 + b[5] * b[5], s6 + b[6] * b[6], s7 + b[7] * b[7]
    for i in range(whole, len(x)):
        s0 += x[i] * x[i]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@kernel
def block_in_loops(x: Any, start: int, alpha: Any, sums: Any, mu: Any, factor: Any, columns: Any, y: Any, scaled: Any,
                   squares: Any, beta: Any) -> int:  # fmt: skip
    """β and Q (x − mu) of the points from `start` on, the first repeated where there are no more; their number."""
    d = x.shape[1]
    count = min(POINTS, len(x) - start)
    for i in range(POINTS):
        for a in range(d):
            columns[a, i] = x[start + (i if i < count else 0), a]
    for c in range(len(alpha)):
        centred(columns, mu[c], y)
        product(factor[c], y, scaled[c], squares)
        exponents(squares, alpha[c] + sums[c], beta[c])
    return count


@kernel
def difference(x: Any, y: Any, out: Any) -> None:
    """out = x − y."""
    for a in range(len(out)):
        out[a] = x[a] - y[a]


@kernel
def row_adjoint(point: Any, mean: Any, share: float, row: Any, centred: Any, total: Any) -> None:
    """A row of Q (x − mu) becomes its adjoint, which is added to `total`; centred = x − mu."""
    for a in range(len(row)):
        by = -share * row[a]
        row[a] = by
        total[a] += by
        centred[a] = point[a] - mean[a]


@kernel
def block_in_products(x: Any, start: int, alpha: Any, sums: Any, mu: Any, factor: Any, scaled: Any, beta: Any) -> int:
    """β and Q (x − mu), a row each, of the points from `start` on; their number."""
    count = min(ROWS, len(x) - start)
    for c in range(len(alpha)):
        rows, mean = scaled[c, :count], mu[c]
        for i in range(count):
            difference(x[start + i], mean, rows[i])
        times_transposed(rows, factor[c])
        for i in range(count):
            beta[c, i] = alpha[c] + sums[c] - 0.5 * square(rows[i])
    return count


@kernel
def primal(alpha: Any, mu: Any, q: Any, l: Any, x: Any, m: int, gamma: float, log_normalizer: float) -> Any:
    """The log posterior."""
    (n, d), k = x.shape, len(alpha)
    factor = factors(q, l)
    sums = np.sum(q, axis=1)
    size = POINTS if d < MANY else ROWS
    beta, top, norm = np.empty((k, size)), np.empty(size), np.empty(size)
    likelihood, prior = 0.0, 0.0
    if d < MANY:
        columns, y, squares = np.empty((d, size)), np.empty((d, size)), np.empty(size)
        scaled = np.empty((k, d, size))
    else:
        columns, y, squares = np.empty((0, 0)), np.empty((0, 0)), np.empty(0)
        scaled = np.empty((k, size, d))
    for start in range(0, n, size):
        if d < MANY:
            count = block_in_loops(x, start, alpha, sums, mu, factor, columns, y, scaled, squares, beta)
        else:
            count = block_in_products(x, start, alpha, sums, mu, factor, scaled, beta)
        shares(beta[:, :count], top[:count], norm[:count])
        for i in range(count):
            likelihood += top[i] + np.log(norm[i])
    for c in range(k):
        prior += m * sums[c] - 0.5 * gamma * gamma * np.sum(factor[c] * factor[c])
    prior += k * ((d + m + 1) * d * np.log(gamma / np.sqrt(2.0)) - log_normalizer)
    return likelihood - n * (0.5 * d * np.log(2.0 * np.pi) + log_weights(alpha)) + prior


@kernel
def weigh(rows: Any, share: Any) -> None:
    """Each row of a block of columns times −share."""
    for a in range(len(rows)):
        row = rows[a]
        for i in range(len(share)):
            row[i] *= -share[i]


@kernel
def add_outer(a: Any, y: Any, b: int, sums: Any) -> None:
    """To rows of sums, in lanes: Σ a y over the points of a block, for b + 1 rows of y, and Σ a at last."""
    a0, a1, a2, a3 = a[:LANES], a[LANES : 2 * LANES], a[2 * LANES : 3 * LANES], a[3 * LANES : 4 * LANES]
    a4, a5, a6, a7 = a[4 * LANES : 5 * LANES], a[5 * LANES : 6 * LANES], a[6 * LANES : 7 * LANES], a[7 * LANES :]
    for j in range(b + 1):
        target, row = sums[j], y[j]
        for l in range(len(target)):
            target[l] += (
                (a0[l] * row[l] + a1[l] * row[LANES + l]) + (a2[l] * row[2 * LANES + l] + a3[l] * row[3 * LANES + l])
            ) + (
                (a4[l] * row[4 * LANES + l] + a5[l] * row[5 * LANES + l])
                + (a6[l] * row[6 * LANES + l] + a7[l] * row[7 * LANES + l])
            )


@kernel
def add_sum(a: Any, sums: Any) -> None:
    """To sums in lanes: those of a."""
    for l in range(len(sums)):
        sums[l] += ((a[l] + a[LANES + l]) + (a[2 * LANES + l] + a[3 * LANES + l])) + (
            (a[4 * LANES + l] + a[5 * LANES + l]) + (a[6 * LANES + l] + a[7 * LANES + l])
        )


@kernel
def in_loops(alpha: Any, mu: Any, sums: Any, factor: Any, x: Any, shared: Any, mean_adj: Any, factor_adj: Any) -> None:
    """Sums over points: of the shares of components, of the adjoints of Q (x − mu), and of those of Q."""
    (n, d), k = x.shape, len(alpha)
    beta, top, norm = np.empty((k, POINTS)), np.empty(POINTS), np.empty(POINTS)
    columns, y, squares = np.empty((d, POINTS)), np.empty((d, POINTS)), np.empty(POINTS)
    scaled = np.empty((k, d, POINTS))
    of_factor, of_mean, of_share = np.zeros((k, d, d, LANES)), np.zeros((k, d, LANES)), np.zeros((k, LANES))
    for start in range(0, n, POINTS):
        count = block_in_loops(x, start, alpha, sums, mu, factor, columns, y, scaled, squares, beta)
        shares(beta, top, norm)
        for i in range(POINTS):
            norm[i] = 1.0 / norm[i] if i < count else 0.0
        for c in range(k):
            share, rows = beta[c], scaled[c]
            for i in range(POINTS):
                share[i] *= norm[i]
            centred(columns, mu[c], y)
            weigh(rows, share)
            add_sum(share, of_share[c])
            for a in range(d):
                add_sum(rows[a], of_mean[c, a])
                add_outer(rows[a], y, a, of_factor[c, a])
    for c in range(k):
        shared[c] = np.sum(of_share[c])
        for a in range(d):
            mean_adj[c, a] = np.sum(of_mean[c, a])
            for b in range(a + 1):
                factor_adj[c, a, b] = np.sum(of_factor[c, a, b])


@kernel
def in_products(
    alpha: Any, mu: Any, sums: Any, factor: Any, x: Any, shared: Any, mean_adj: Any, factor_adj: Any, scaled: Any
) -> None:
    """As `in_loops`, by matrix products."""
    (n, d), k = x.shape, len(alpha)
    beta, top, norm, y = np.empty((k, ROWS)), np.empty(ROWS), np.empty(ROWS), np.empty((ROWS, d))
    for start in range(0, n, ROWS):
        count = block_in_products(x, start, alpha, sums, mu, factor, scaled, beta)
        shares(beta[:, :count], top[:count], norm[:count])
        for c in range(k):
            rows = scaled[c, :count]
            for i in range(count):
                share = beta[c, i] / norm[i]
                shared[c] += share
                row_adjoint(x[start + i], mu[c], share, rows[i], y[i], mean_adj[c])
            add_product(rows, y[:count], factor_adj[c])


@kernel
def sweeps(alpha: Any, mu: Any, q: Any, l: Any, x: Any, m: int, gamma: float, scaled: Any) -> Any:
    """The gradient; `scaled` is memory for Q (x − mu)."""
    (n, d), k = x.shape, len(alpha)
    factor, sums = factors(q, l), np.sum(q, axis=1)
    shared, mean_adj, factor_adj = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    if d < MANY:
        in_loops(alpha, mu, sums, factor, x, shared, mean_adj, factor_adj)
    else:
        in_products(alpha, mu, sums, factor, x, shared, mean_adj, factor_adj, scaled)
    weights = np.exp(alpha - log_weights(alpha))
    alpha_adj, mu_adj, q_adj, l_adj = np.empty(k), np.zeros((k, d)), np.empty((k, d)), np.empty(l.shape)
    for c in range(k):
        alpha_adj[c] = shared[c] - n * weights[c]
        for a in range(d):
            for b in range(a + 1):
                mu_adj[c, b] -= factor[c, a, b] * mean_adj[c, a]
        start = 0
        for j in range(d):
            by = factor_adj[c, j, j] - gamma * gamma * factor[c, j, j]
            q_adj[c, j] = by * factor[c, j, j] + shared[c] + m
            for i in range(j + 1, d):
                l_adj[c, start] = factor_adj[c, i, j] - gamma * gamma * factor[c, i, j]
                start += 1
    return alpha_adj, mu_adj, q_adj, l_adj


workspaces: dict[tuple[int, int, int], Any] = {}


def derivative(
    alpha: Any, mu: Any, q: Any, l: Any, x: Any, m: int, gamma: float, log_normalizer: float
) -> tuple[Any, ...]:
    """The gradient with respect to alpha, mu, q and l."""
    d, k = x.shape[1], len(alpha)
    shape = (0, 0, 0) if d < MANY else (k, ROWS, d)
    scaled = workspaces.pop(shape, None)
    if scaled is None:
        workspaces.clear()
        scaled = np.empty(shape)
    result: tuple[Any, ...] = sweeps(alpha, mu, q, l, x, m, gamma, scaled)
    workspaces[shape] = scaled
    return result
