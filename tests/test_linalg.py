"""np.linalg and scipy.linalg as people write them: values, gradients, errors, and where a derivative is not unique.

Rules are tested with the table of operations (`ops_matrices`); here, programs: every function with its arguments, in
the interpreter and as rendered source, some compiled. What NumPy raises, adjit raises, with the line.
"""

import numpy as np
import pytest
import scipy.linalg
from differential import check_program
from scipy.linalg import block_diag, cho_factor, cho_solve, expm, solve_triangular, toeplitz

from adjit import grad, jit, value_and_grad
from adjit.ir.errors import ShapeError, UnsupportedError

RNG = np.random.default_rng(0)
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
W = RNG.normal(size=(4, 4))
B = RNG.normal(size=(4, 3))
b = RNG.normal(size=4)
R = RNG.normal(size=(5, 3))
S = np.stack([A, A.T @ A, W])
T = RNG.normal(size=(2, 3, 4))


# ---------------------------------------------------------------- systems and determinants


def solve_vector(A, b):
    return np.sum(np.linalg.solve(A, b) ** 2)


def solve_matrix(A, B):
    return np.sum(np.linalg.solve(A, B) ** 2)


def solve_many_right_hand_sides(A, S):
    return np.sum(np.linalg.solve(A, S) ** 2)


def inverse(A, W):
    return np.sum(np.linalg.inv(A) * W)


def inverses(S):
    return np.sum(np.linalg.inv(S) ** 2)


def determinants(S):
    return np.sum(np.linalg.det(S) ** 2) + np.linalg.det(S[0])


def log_determinants(S):
    sign, log = np.linalg.slogdet(S)
    return np.sum(sign * log) + np.linalg.slogdet(S[0]).logabsdet


def powers(A):
    even, inverse_power = np.linalg.matrix_power(A, 6), np.linalg.matrix_power(A, -3)
    return np.sum(even) * 1e-3 + np.sum(inverse_power) + np.sum(np.linalg.matrix_power(A, 0) * A)


def tensors(A):
    inverted = np.linalg.tensorinv(A.reshape(2, 2, 4), ind=2)
    return np.sum(inverted**2) + np.sum(np.linalg.tensorsolve(A.reshape(4, 2, 2), A[0]) ** 2)


def least_squares(R, c):
    x, residuals, rank, s = np.linalg.lstsq(R, c, rcond=None)
    return np.sum(x**2) + np.sum(residuals) + rank * s[0]


def least_norm(R, C):
    return np.sum(np.linalg.lstsq(R.T, C)[0] ** 2)


def generalized_inverse(R):
    return np.sum(np.sin(np.linalg.pinv(R))) + np.sum(np.linalg.pinv(R @ R.T, rcond=1e-5) ** 2)


# ---------------------------------------------------------------- decompositions


def cholesky_lower(A):
    return np.sum(np.sin(np.linalg.cholesky(A @ A.T + np.eye(4))))


def cholesky_upper(A):
    return np.sum(np.sin(np.linalg.cholesky(A @ A.T + np.eye(4), upper=True)))


def cholesky_of_one_triangle(A):
    return np.sum(np.linalg.cholesky(A + 20 * np.eye(4)) ** 3)


def qr_tall(R):
    Q, T = np.linalg.qr(R)
    return np.sum(np.sin(Q)) + np.sum(T**3)


def qr_wide(R):
    Q, T = np.linalg.qr(R.T)
    return np.sum(np.sin(Q)) + np.sum(T**3) + np.sum(np.linalg.qr(R, mode="r") ** 3)


def qr_complete_of_square(A):
    Q, T = np.linalg.qr(A, mode="complete")
    return np.sum(np.sin(Q)) + np.sum(T**2 * A)


def eigenvectors(A):
    found = np.linalg.eigh(A @ A.T)
    w, V = found.eigenvalues, found.eigenvectors
    return np.sum(w**1.5) + np.sum((V * np.exp(-w)) @ V.T)


def eigenvectors_of_upper_triangle(A):
    w, V = np.linalg.eigh(A, "U")
    return np.sum(w[1:] ** 3) + V[1, 0] ** 2


def eigenvalues_alone(S):
    return np.sum(np.linalg.eigvalsh(S) ** 3)


def singular_vectors(R):
    U, s, Vt = np.linalg.svd(R, full_matrices=False)
    return np.sum(((U * s**2) @ Vt) * R) + s[0] + U[1, 0] * Vt[0, 1]


def singular_values_alone(R):
    return np.sum(np.linalg.svd(R, compute_uv=False) ** 3) + np.linalg.svdvals(R.T)[1]


def full_svd_of_square(A):
    U, s, Vt = np.linalg.svd(A)
    return np.sum((U * np.sqrt(s)) @ Vt)


# ---------------------------------------------------------------- norms


def norms_of_a_matrix(R):
    total = np.linalg.norm(R)
    for order in (1, -1, np.inf, -np.inf, 2, -2, "nuc", "fro"):
        total += np.linalg.norm(R, order)
    return total + np.linalg.matrix_norm(R, ord=2) + np.linalg.vector_norm(R, ord=3)


def norms_of_vectors(R):
    total = np.sum(np.linalg.norm(R, 2, axis=1, keepdims=True) * R)
    for order in (None, 1, 0.5, 3, np.inf, -np.inf):
        total += np.sum(np.linalg.norm(R, order, axis=0) ** 2)
    return total + np.sum(np.linalg.norm(R, 0, axis=0) * R[0])


def norms_of_stacks(T):
    total = np.sum(np.linalg.norm(T, axis=(0, 2)) ** 3) + np.sum(np.linalg.norm(T, 2, axis=(2, 0)))
    total += np.sum(np.linalg.norm(T, "nuc", axis=(1, 2), keepdims=True) * T)
    total += np.sum(np.linalg.norm(T, -np.inf, axis=(1, 0))) + np.sum(np.linalg.norm(T, 1, axis=(-1, 1)))
    return total + np.sum(np.linalg.vector_norm(T, axis=(0, 2), keepdims=True) * T)


def conditions(A):
    total = np.linalg.cond(A)
    for order in (1, np.inf, "fro", -2, 2):
        total += np.linalg.cond(A, order)
    return total


def ranks(A):
    return np.sum(A) * np.linalg.matrix_rank(A) + np.linalg.matrix_rank(A[:, :2], tol=100.0) * A[0, 0]


def products(A, B, b):
    total = np.sum(np.linalg.multi_dot([b, A, A, B])) + np.sum(np.linalg.outer(b, b) * A) + np.linalg.trace(A)
    total += np.sum(np.linalg.diagonal(A) * b) + np.sum(np.linalg.matmul(A, B)) + np.linalg.vecdot(b, A[0])
    total += np.sum(np.linalg.tensordot(A, B, axes=1)) + np.sum(np.linalg.cross(b[:3], A[0, :3]))
    return total + np.sum(np.linalg.matrix_transpose(A) @ b)


# ---------------------------------------------------------------- scipy.linalg


def exponential(A):
    return np.sum(expm(A * 0.3) * A) + np.sum(expm(np.stack([A, A.T]) * 1e-2)) + np.sum(expm(A * 3)) * 1e-8


def triangular(A, b):
    total = np.sum(solve_triangular(A, b) ** 2) + np.sum(solve_triangular(A, b, lower=True, trans=1) ** 2)
    return total + np.sum(scipy.linalg.solve_triangular(A / 9, b, unit_diagonal=True, trans="T") ** 2)


def cholesky_solutions(A, b):
    M = A @ A.T + np.eye(4)
    total = np.sum(cho_solve(cho_factor(M), b) ** 2)
    return total + np.sum(cho_solve(cho_factor(M, lower=True), b) * b)


def scipy_systems(A, b):
    M = A @ A.T + np.eye(4)
    total = np.sum(scipy.linalg.solve(A, b, transposed=True) ** 2) + np.sum(scipy.linalg.inv(A)) + scipy.linalg.det(A)
    for kind in ("gen", "pos", "sym"):
        total += np.sum(scipy.linalg.solve(M, b, assume_a=kind) ** 3)
    total += np.sum(scipy.linalg.cholesky(M) ** 3) + np.sum(scipy.linalg.cholesky(M, lower=True) ** 3)
    return total + np.sum(scipy.linalg.pinv(A, check_finite=False)) + scipy.linalg.norm(A)


def scipy_decompositions(R):
    u, s, vt = scipy.linalg.svd(R, full_matrices=False)
    q, r = scipy.linalg.qr(R, mode="economic")
    total = np.sum(u * R) + np.sum(vt) + s[1] + np.sum(q * R) + np.sum(r**3)
    return total + np.sum(scipy.linalg.eigvalsh(R.T @ R) ** 2) + np.sum(scipy.linalg.svdvals(R))


def matrices_of_a_form(A, B, b):
    weights = np.arange(16.0).reshape(4, 4)
    total = np.sum(block_diag(A, B, b) ** 3 * 1.5) + np.sum(toeplitz(b, B[:, 0]) ** 3 * weights)
    return total + np.sum(toeplitz(b) * weights) + np.sum(toeplitz(b, B[0]) ** 3)


# ---------------------------------------------------------------- inside programs


def newton(A, b):
    x = np.zeros(4)
    for _ in range(3):
        x = x - np.linalg.solve(A + np.diag(3 * x**2), A @ x + x**3 - b)
    return np.sum(x**2)


def kalman_filter(A, b):
    P, x, cost = np.eye(4), b, 0.0
    for k in range(4):
        x = A @ x * 0.1
        P = 0.01 * A @ P @ A.T + np.eye(4)
        seen = P[:2, :2] + 0.5 * np.eye(2)
        gain = np.linalg.solve(seen, P[:2]).T
        r = b[:2] * k - x[:2]
        x = x + gain @ r
        P = P - gain @ P[:2]
        cost += np.linalg.slogdet(seen)[1] + r @ np.linalg.solve(seen, r)
        if cost > 5:
            P = np.linalg.cholesky(P @ P.T + np.eye(4))
    return cost


def orthogonalize(A):
    turns = 0
    while np.linalg.norm(A.T @ A - np.eye(4)) > 0.5 and turns < 3:
        A = 0.5 * (A + np.linalg.qr(A)[0])
        turns += 1
    return np.sum(A**3)


def in_place(A, b):
    M = A.copy()
    for i in range(3):
        M[i] = np.linalg.solve(M, b)
        M[i, i] += 5.0
    return np.sum(M**2)


def factors_overwritten(A):
    L = np.linalg.cholesky(A @ A.T)
    M = L
    M[0] *= 2.0
    L[1, 1] = A[0, 1]
    w, V = np.linalg.eigh(L)
    V[:, 0] = w
    return np.sum(L**3) + np.sum(V**2)


def growing_matrices(A):
    total = 0.0
    for k in range(1, len(A) + 1):
        total += np.linalg.slogdet(A[:k, :k])[1] * k + np.sum(np.linalg.inv(A[:k, :k])) + np.linalg.norm(A[:k], 2)
    return total


def one_or_the_other(A):
    y = np.linalg.cholesky(A @ A.T + np.eye(4)) if A[0, 0] > 0 else np.linalg.inv(A)
    return np.sum(y**3)


C = RNG.normal(size=5)
PROGRAMS = [
    *((f, (A, b)) for f in (solve_vector, triangular, cholesky_solutions, scipy_systems)),
    *((f, (A, b)) for f in (newton, kalman_filter, in_place)),
    *((f, (A,)) for f in (powers, tensors, cholesky_lower, cholesky_upper, cholesky_of_one_triangle)),
    *((f, (A,)) for f in (qr_complete_of_square, eigenvectors, eigenvectors_of_upper_triangle, full_svd_of_square)),
    *((f, (A,)) for f in (conditions, ranks, exponential, orthogonalize, factors_overwritten, growing_matrices)),
    *((f, (R,)) for f in (generalized_inverse, qr_tall, qr_wide, singular_vectors, singular_values_alone)),
    *((f, (R,)) for f in (norms_of_a_matrix, norms_of_vectors, scipy_decompositions)),
    *((f, (S,)) for f in (inverses, determinants, log_determinants, eigenvalues_alone)),
    (solve_vector, (S, b)),
    (solve_matrix, (A, B)),
    (solve_matrix, (S, B)),
    (solve_many_right_hand_sides, (A, S)),
    (inverse, (A, W)),
    (least_squares, (R, C)),
    (least_norm, (R, B[:3])),
    (norms_of_stacks, (T,)),
    (products, (A, B, b)),
    (matrices_of_a_form, (A, B, b)),
    (one_or_the_other, (A,)),
    (one_or_the_other, (-A,)),
]
COMPILED = {solve_vector, log_determinants, cholesky_lower, qr_wide, eigenvectors, singular_vectors, exponential}
COMPILED |= {kalman_filter, in_place, least_squares, growing_matrices}
NAMES = [f"{f.__name__}-{args[0].ndim}" for f, args in PROGRAMS]


@pytest.mark.parametrize("function, args", PROGRAMS, ids=NAMES)
def test_programs(function, args):
    check_program(function, [args], tuple(range(len(args))), compile=function in COMPILED)


ROUNDING_DECIDES = {norms_of_vectors, norms_of_stacks, conditions, ranks, orthogonalize, in_place, one_or_the_other}
"""Programs with ties or jumps, or that mix dtypes."""
SINGLE = [pytest.param(*p, id=n) for p, n in zip(PROGRAMS, NAMES) if p[0] not in ROUNDING_DECIDES]


@pytest.mark.parametrize("function, args", SINGLE)
def test_single_precision(function, args):
    """Values are of NumPy's dtype and near those in double precision."""
    single = [a.astype(np.float32) for a in args]
    value, gradient = evaluated(value_and_grad(function, tuple(range(len(args)))), single)
    wide, expected = evaluated(value_and_grad(function, tuple(range(len(args)))), [a.astype(float) for a in single])
    assert np.asarray(value).dtype == np.asarray(function(*single)).dtype
    np.testing.assert_allclose(value, wide, rtol=2e-3)
    for g, e in zip(gradient, expected):
        assert g.dtype == np.float32
        np.testing.assert_allclose(g, e, rtol=0, atol=2e-2 * np.max(np.abs(e)))


def evaluated(function, args):
    """A call in the interpreter."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ADJIT_DISABLE_JIT", "1")
        return function(*args)


@pytest.mark.parametrize("order", ["F", "strided", "read-only"])
def test_memory_of_arguments(order):
    """LAPACK reads memory in C order, whatever the arguments' is."""
    given = np.asfortranarray(A) if order == "F" else A.copy()
    if order == "strided":
        given = np.kron(A, np.ones((2, 2)))[::2, ::-2][:, ::-1]
    given.flags.writeable = order != "read-only"
    value, gradient = COMPILED_INVERSE(given)
    inverse_of = np.linalg.inv(A)
    np.testing.assert_allclose(value, np.sum(inverse_of * np.arange(16.0).reshape(4, 4)), rtol=1e-12)
    expected = -inverse_of.T @ np.arange(16.0).reshape(4, 4) @ inverse_of.T
    np.testing.assert_allclose(gradient, expected, rtol=1e-10)


def weighted_inverse(A):
    return np.sum(np.linalg.inv(A) * np.arange(16.0).reshape(4, 4))


COMPILED_INVERSE = value_and_grad(weighted_inverse)


def test_vectors_have_numpys_signs():
    for n in (3, 8, 40):
        M = np.random.default_rng(n).normal(size=(n, n))
        U, s, Vt = jit(lambda M: np.linalg.svd(M[:, : M.shape[1] // 2], full_matrices=False))(M)
        for got, expected in zip((U, s, Vt), np.linalg.svd(M[:, : n // 2], full_matrices=False)):
            np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)
        for got, expected in zip(jit(lambda M: tuple(np.linalg.eigh(M)))(M), np.linalg.eigh(M)):
            np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


def every_triangle(T, X):
    below = solve_triangular(T, X, lower=True), solve_triangular(T, X, lower=True, trans=1)
    above = solve_triangular(T, X), solve_triangular(T, X, trans=1)
    return *below, *above, solve_triangular(T / 50, X, unit_diagonal=True), np.linalg.solve(T, X)


def test_large_systems():
    """From a certain size on, blocks are left to BLAS; the last block is smaller."""
    rng = np.random.default_rng(1)
    f = jit(every_triangle)
    for n, width in ((130, 70), (97, 120), (200, 1)):
        T, X = rng.normal(size=(n, n)) + 3 * np.sqrt(n) * np.eye(n), rng.normal(size=(n, width))
        for got, expected in zip(f(T, X), every_triangle(T, X), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12 * np.max(np.abs(expected)))


def all_routines(A):
    M = A @ A.T + np.eye(4, dtype=np.float32)
    total = np.sum(np.linalg.solve(A, A[0])) + np.sum(np.linalg.cholesky(M)) + np.linalg.det(A) * np.float32(1e-2)
    total += np.sum(np.linalg.eigh(M)[0]) + np.sum(np.linalg.svd(A, full_matrices=False)[0][0])
    return total + np.sum(np.linalg.qr(A)[0]) + np.sum(expm(A / 9)) + np.linalg.slogdet(A)[1]


def test_single_precision_compiled():
    single = A.astype(np.float32)
    f = value_and_grad(all_routines)
    value, gradient = f(single)
    wide, expected = evaluated(f, [single.astype(float)])
    assert gradient.dtype == np.float32 and np.asarray(value).dtype == np.float32
    np.testing.assert_allclose(value, wide, rtol=1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-3 * np.max(np.abs(expected)))


# ---------------------------------------------------------------- errors


def solve_first(A):
    return np.linalg.solve(A, A[0]).sum()


def inverse_sum(A):
    return np.linalg.inv(A).sum()


def cholesky_sum(A):
    return np.linalg.cholesky(A).sum()


def svd_sum(A):
    return np.linalg.svd(A)[1].sum()


def triangular_sum(A):
    return solve_triangular(A, A[0]).sum()


def complete_qr(A):
    return np.linalg.qr(A, "complete")[0].sum()


def condition(A):
    return np.linalg.cond(A)


LINALG_ERRORS = [
    (solve_first, np.ones((3, 3)), "Singular matrix"),
    (inverse_sum, np.zeros((2, 2)), "Singular matrix"),
    (cholesky_sum, -np.eye(2), "Matrix is not positive definite"),
    (svd_sum, np.full((2, 2), np.nan), "SVD did not converge"),
    (condition, np.zeros((0, 3)), "cond is not defined on empty arrays"),
    (triangular_sum, np.zeros((2, 2)), "singular matrix"),
]


@pytest.mark.parametrize("function, matrix, message", LINALG_ERRORS, ids=lambda x: getattr(x, "__name__", None))
@pytest.mark.parametrize("compiled", [False, True])
def test_errors_are_numpys_and_name_the_line(function, matrix, message, compiled):
    with pytest.raises(np.linalg.LinAlgError, match=message):
        function(matrix)
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        grad(function)(matrix) if compiled else evaluated(grad(function), [matrix])
    assert "test_linalg.py" in "".join(caught.value.__notes__)


def test_shapes_that_do_not_fit():
    with pytest.raises(ShapeError, match="must be square"):
        evaluated(grad(inverse_sum), [np.ones((2, 3))])
    with pytest.raises(ShapeError, match="right-hand side"):
        evaluated(grad(solve_vector), [np.eye(3), np.ones(4)])


@pytest.mark.parametrize("function", [svd_sum, complete_qr])
def test_vectors_that_are_no_functions_of_the_matrix(function):
    """The full decomposition of an oblong matrix is refused, at run time where its shape is known then."""
    with pytest.raises(UnsupportedError, match="not functions of the matrix"):
        evaluated(grad(function), [np.ones((3, 2)) + np.eye(3, 2)])


def eig_sum(A):
    return np.linalg.eig(A)[0].sum()


def sqrtm_sum(A):
    return scipy.linalg.sqrtm(A).sum()


def scipy_eigenvectors(A):
    return scipy.linalg.eigh(A)[1].sum()


def unknown_power(A):
    return np.linalg.matrix_power(A, int(A[0, 0])).sum()


@pytest.mark.parametrize("function", [eig_sum, sqrtm_sum, scipy_eigenvectors, unknown_power])
def test_refusals(function):
    with pytest.raises(UnsupportedError) as caught:
        evaluated(grad(function), [A])
    assert caught.value.help and caught.value.span.line


# ---------------------------------------------------------------- where derivatives are not unique, or nothing is there


def determinant(A):
    return np.linalg.det(A)


@pytest.mark.parametrize("compiled", [False, True])
def test_singular_matrices_have_cofactors(compiled):
    nearly = np.diag([1.0, 2.0, 1e-9]) + np.outer([1.0, 2.0, 3.0], [4.0, 5.0, 0.0])
    for M in (np.diag([2.0, 0.0, 3.0]), np.zeros((3, 3)), np.outer([1.0, 2.0, 3.0], [4.0, 5.0, 6.0]), nearly):
        f = value_and_grad(determinant)
        value, gradient = f(M) if compiled else evaluated(f, [M])
        n = len(M)
        minors = [[np.linalg.det(np.delete(np.delete(M, i, 0), j, 1)) for j in range(n)] for i in range(n)]
        signs = (-1.0) ** np.add.outer(np.arange(n), np.arange(n))
        np.testing.assert_allclose(value, np.linalg.det(M), atol=1e-12)
        np.testing.assert_allclose(gradient, signs * minors, atol=1e-12)


def square_of_eigenvalues(A):
    return np.sum(np.linalg.eigvalsh(A) ** 2)


def square_of_values_from_eigh(A):
    found = np.linalg.eigh(A)
    return np.sum(found[0] ** 2)


def exponential_by_eigenvectors(A):
    w, V = np.linalg.eigh(A)
    return np.sum((V * np.exp(w)) @ V.T)


def nuclear_norm(A):
    return np.linalg.norm(A, "nuc")


def test_equal_eigenvalues():
    """Eigenvalues have derivatives as long as nobody asks for those of the vectors, which are loud."""
    for f in (square_of_eigenvalues, square_of_values_from_eigh):
        np.testing.assert_allclose(evaluated(grad(f), [np.eye(3)]), 2 * np.eye(3), atol=1e-14)
    assert np.isnan(evaluated(grad(exponential_by_eigenvectors), [np.eye(2)])).any()
    np.testing.assert_allclose(evaluated(grad(nuclear_norm), [np.eye(3)]), np.eye(3), atol=1e-14)


def everything_of_nothing(A):
    total = np.linalg.det(A) + np.sum(np.linalg.inv(A)) + np.linalg.slogdet(A)[1] + np.sum(np.linalg.cholesky(A))
    w, V = np.linalg.eigh(A)
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    Q, upper = np.linalg.qr(A)
    return total + np.sum(w) + np.sum(V) + np.sum(U @ Vt) + np.sum(s) + np.sum(Q @ upper) + np.sum(np.linalg.pinv(A))


@pytest.mark.parametrize("compiled", [False, True])
def test_nothing(compiled):
    f, empty = value_and_grad(everything_of_nothing), np.zeros((0, 0))
    value, gradient = f(empty) if compiled else evaluated(f, [empty])
    assert value == everything_of_nothing(empty) == 1.0
    assert gradient.shape == (0, 0)


def test_a_singular_matrix_has_no_condition():
    for f in (condition, lambda A: np.linalg.cond(A, 1)):
        assert evaluated(jit(f), [np.zeros((3, 3))]) == np.inf
    assert np.isnan(evaluated(jit(lambda A: np.linalg.cond(A, 1)), [np.full((2, 2), np.nan)]))
