"""`@njit` helpers that speak to Numba's compiler are read as the Python they are."""

import numba
import numpy as np
from differential import check_program
from numba import literal_unroll, njit, prange

from adjit import grad

X = np.array([0.5, -1.0, 2.0])


@njit(parallel=True)
def total(x):
    s = 0.0
    for i in prange(len(x)):
        s += np.exp(x[i]) * i
    return s


@njit(parallel=True, fastmath=True)
def rows(x):
    out = np.empty_like(x)
    for i in numba.prange(1, len(x)):
        out[i] = x[i] * x[i - 1]
    out[0] = x[0]
    return out.sum()


@njit
def powers(x):
    s = 0.0
    for factor in literal_unroll((1, 2.5)):
        s += factor * x[0] ** factor
    return s


def test_prange_is_a_range():
    for function in (total, rows):
        check_program(function.py_func, [(X.copy(),)], (0,))
    np.testing.assert_allclose(grad(total)(X), np.exp(X) * np.arange(3), rtol=1e-14)
    np.testing.assert_allclose(grad(total, parallel=2)(X), np.exp(X) * np.arange(3), rtol=1e-14)
    np.testing.assert_allclose(grad(rows)(X), [0.0, 2.5, -1.0], rtol=1e-14)


def test_literal_unroll_is_its_tuple():
    np.testing.assert_allclose(grad(powers)(X), [1 + 2.5**2 * 0.5**1.5, 0, 0], rtol=1e-14)
