"""Dense linear algebra in place: factorizations, substitution and relaxation sweeps."""

import numpy as np

from .registry import Program


def lu_by_rows(A, w):
    for i in range(A.shape[0]):
        for j in range(i):
            A[i, j] -= A[i, :j] @ A[:j, j]
            A[i, j] /= A[j, j]
        for j in range(i, A.shape[0]):
            A[i, j] -= A[i, :i] @ A[:i, j]
    return np.sum(w * A)


def lu_right_looking(A, w):
    n = A.shape[0]
    for k in range(n - 1):
        A[k + 1 :, k] /= A[k, k]
        for i in range(k + 1, n):
            A[i, k + 1 :] -= A[i, k] * A[k, k + 1 :]
    return np.sum(w * A)


def lu_scalar_loops(A, w):
    n = len(A)
    for k in range(n):
        for i in range(k + 1, n):
            A[i, k] = A[i, k] / A[k, k]
            for j in range(k + 1, n):
                A[i, j] = A[i, j] - A[i, k] * A[k, j]
    total = 0.0
    for i in range(n):
        for j in range(n):
            total += w[i, j] * A[i, j]
    return total


def cholesky(A, w):
    A[0, 0] = np.sqrt(A[0, 0])
    for i in range(1, A.shape[0]):
        for j in range(i):
            A[i, j] -= np.dot(A[i, :j], A[j, :j])
            A[i, j] /= A[j, j]
        A[i, i] -= np.dot(A[i, :i], A[i, :i])
        A[i, i] = np.sqrt(A[i, i])
    return np.sum(w * A)


def forward_substitution(L, b, w):
    for i in range(b.shape[0]):
        for j in range(i):
            b[i] -= L[i, j] * b[j]
        b[i] /= L[i, i]
    return w @ b


def forward_substitution_by_dots(L, b, w):
    x = np.empty_like(b)
    for i in range(len(b)):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return np.sum(w * x)


def gauss_seidel(A, b, x, sweeps, w):
    n = len(b)
    for _ in range(sweeps):
        for i in range(n):
            s = b[i]
            for j in range(n):
                if j != i:
                    s -= A[i, j] * x[j]
            x[i] = s / A[i, i]
    return np.dot(w, x)


def seidel_2d(steps, A, w):
    for t in range(steps):
        for i in range(1, A.shape[0] - 1):
            for j in range(1, A.shape[1] - 1):
                A[i, j] = (A[i - 1, j] + A[i, j - 1] + A[i, j] + A[i, j + 1] + A[i + 1, j]) / 5.0
    return np.sum(w * A)


def gram_schmidt(A, w):
    m, n = A.shape
    Q = np.zeros_like(A)
    for k in range(n):
        norm = np.sqrt(A[:, k] @ A[:, k])
        Q[:, k] = A[:, k] / norm
        for j in range(k + 1, n):
            r = Q[:, k] @ A[:, j]
            A[:, j] -= Q[:, k] * r
    return np.sum(w * Q)


rng = np.random.default_rng(1)
n = 6
general = rng.standard_normal((n, n)) + 4 * np.eye(n)
factor = rng.standard_normal((n, n))
positive = factor @ factor.T + n * np.eye(n)
lower = np.tril(rng.standard_normal((n, n))) + 3 * np.eye(n)
weights = rng.standard_normal((n, n))
b, x, w = rng.standard_normal((3, n))

small = (rng.standard_normal((2, 2)) + 3 * np.eye(2), rng.standard_normal((2, 2)))
single = (np.array([[2.5]]), np.array([[0.75]]))

PROGRAMS = [
    Program("lu_by_rows", lu_by_rows, (general, weights), (0, 1), {"acceptance", "complex"}, (small, single)),
    Program(
        "lu_right_looking",
        lu_right_looking,
        (general, weights),
        (0, 1),
        {"acceptance", "complex"},
        (small, single),
    ),
    Program("lu_scalar_loops", lu_scalar_loops, (general, weights), (0, 1), {"complex"}, (small, single)),
    Program(
        "cholesky",
        cholesky,
        (positive, np.tril(weights)),
        (0, 1),
        {"acceptance", "complex"},
        ((np.array([[4.0, 1.0], [1.0, 3.0]]), np.tril(weights[:2, :2])), single),
    ),
    Program(
        "forward_substitution",
        forward_substitution,
        (lower, b, w),
        (0, 1, 2),
        {"acceptance", "complex"},
        ((lower[:2, :2].copy(), b[:2].copy(), w[:2].copy()),),
    ),
    Program("forward_substitution_by_dots", forward_substitution_by_dots, (lower, b, w), (0, 1, 2), {"complex"}),
    Program(
        "gauss_seidel",
        gauss_seidel,
        (general, b, x, 4, w),
        (0, 1, 2, 4),
        {"acceptance", "complex"},
        ((general, b, x, 0, w), (general, b, x, 1, w)),
    ),
    Program(
        "seidel_2d",
        seidel_2d,
        (3, rng.standard_normal((5, 7)), rng.standard_normal((5, 7))),
        (1, 2),
        {"complex"},
        ((0, rng.standard_normal((3, 3)), rng.standard_normal((3, 3))),),
    ),
    Program(
        "gram_schmidt",
        gram_schmidt,
        (rng.standard_normal((7, 4)), rng.standard_normal((7, 4))),
        (0, 1),
        {"complex"},
        ((rng.standard_normal((3, 1)), rng.standard_normal((3, 1))),),
    ),
]
