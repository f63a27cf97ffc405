"""On which matrices the operations of linear algebra are tested.

In: nothing. Out: `MATRIX_CASES` and `MATRIX_EMPTY`, for `ops_cases`. Matrices are well conditioned, with eigenvalues
and singular values apart; one of each kind, stacks of them, and shapes without elements. Operands that are factors are
those of the matrix.
"""

import numpy as np

from adjit.ir.ops.solving import lu_of


def square(*shape):
    """Far from singular, with eigenvalues and singular values apart."""
    n = shape[-1]
    noise = np.random.default_rng(n + 7 * len(shape)).uniform(-1, 1, shape)
    return noise * 0.4 + np.diag(np.arange(n) * 1.1 + 1.0)


def positive(*shape):
    a = square(*shape)
    return a @ np.swapaxes(a, -1, -2) + 0.5 * np.eye(shape[-1])


def oblong(*shape):
    noise = np.random.default_rng(3 + shape[-1]).uniform(-1, 1, shape)
    return noise * 0.5 + np.eye(shape[-2], shape[-1]) * (np.arange(shape[-1]) + 1.0)


def others(a, columns):
    return np.random.default_rng(5).uniform(-1, 1, (*a.shape[:-1], columns))


def factored(a):
    return lu_of(a)[:2]


def factors_of_svd(a):
    return list(np.linalg.svd(a, full_matrices=False))


SQUARE = [(3, 3), (1, 1), (2, 3, 3)]
OBLONG = [(4, 3), (3, 4), (3, 3), (2, 4, 3)]
NO_SQUARE = [(0, 0), (0, 3, 3), (2, 0, 0)]
NO_OBLONG = [(0, 3), (3, 0), (0, 4, 3)]
TRIANGLES = [(low, turned, unit) for low in (False, True) for turned in (False, True) for unit in (False, True)]


def case(name, a):
    """The cases of an operation on one matrix, or stack of matrices: (operands, attributes)."""
    if name == "lu_factor":
        return [([a], {})]
    if name == "solve_factored":
        return [([a, others(a, 2), *factored(a)], {"transposed": turned}) for turned in (False, True)]
    if name == "solve_triangular":
        names = ("lower", "transposed", "unit")
        return [([a, others(a, 2)], dict(zip(names, choice))) for choice in TRIANGLES]
    if name in ("det_factored", "logdet_factored"):
        return [([a, *factored(a)], {})]
    if name == "lu_sign":
        return [(list(factored(a)), {}), (list(factored(np.flip(a, -1))), {})]
    if name in ("cofactors", "matrix_exp"):
        return [([a], {})]
    if name == "cofactors_along":
        return [([a, others(a, a.shape[-1])], {})]
    if name == "cholesky_factor":
        return [([a @ np.swapaxes(a, -1, -2)], {})]
    if name == "cholesky":
        p = a @ np.swapaxes(a, -1, -2)
        return [([p, np.linalg.cholesky(p)], {})]
    if name == "eigh_factor":
        return [([a], {"lower": lower}) for lower in (False, True)]
    if name.startswith("eigh"):
        return [([a, *np.linalg.eigh(a, "L" if lower else "U")], {"lower": lower}) for lower in (False, True)]
    if name in ("svd_factor", "qr_factor"):
        return [([a], {})]
    if name.startswith("svd"):
        return [([a, *factors_of_svd(a)], {})]
    if name.startswith("qr"):
        return [([a, *np.linalg.qr(a)], {})]
    assert name == "pseudo_inverse"
    return [([a, np.linalg.pinv(a)], {})]


OF_SQUARES = ["lu_factor", "solve_factored", "solve_triangular", "det_factored", "logdet_factored", "lu_sign"]
OF_SQUARES += ["cofactors", "cofactors_along", "matrix_exp", "cholesky_factor", "cholesky"]
OF_SQUARES += ["eigh_factor", "eigh_values", "eigh_vectors"]
OF_OBLONGS = ["svd_factor", "svd_left", "svd_values", "svd_right", "qr_factor", "qr_orthogonal", "qr_triangular"]
OF_OBLONGS += ["pseudo_inverse"]

MATRIX_CASES = {name: [c for shape in SQUARE for c in case(name, square(*shape))] for name in OF_SQUARES}
for _name in ("cofactors", "cofactors_along"):  # those of one number are constant: nothing to compare
    MATRIX_CASES[_name] = [c for c in MATRIX_CASES[_name] if c[0][0].size > 1]
MATRIX_CASES |= {name: [c for shape in OBLONG for c in case(name, oblong(*shape))] for name in OF_OBLONGS}
MATRIX_EMPTY = {name: [c for shape in NO_SQUARE for c in case(name, np.ones(shape))] for name in OF_SQUARES}
MATRIX_EMPTY |= {name: [c for shape in NO_OBLONG for c in case(name, np.ones(shape))] for name in OF_OBLONGS}

# singular matrices, of rank n - 1 and less, whose determinants have derivatives all the same
MATRIX_CASES["det_factored"] += case("det_factored", np.diag([2.0, 0.0, 3.0]))
MATRIX_CASES["det_factored"] += case("det_factored", np.outer([1.0, 2.0, -0.5], [0.7, -1.0, 0.2]))
MATRIX_CASES["cofactors_along"] += [([np.eye(3), others(np.eye(3), 3)], {})]
# a rank that is less than it could be, which the derivative keeps
