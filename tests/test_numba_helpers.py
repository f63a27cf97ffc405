"""`@njit` helpers that speak to Numba's compiler, and functions under `@vectorize`, are read as the Python they are."""

import numba
import numpy as np
import pytest
from differential import check_program
from numba import literal_unroll, njit, prange

from adjit import UnsupportedError, grad, jit, vmap

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


@numba.vectorize
def hinge(a, b):
    return a * b + 1.0 if a > b else a - b


@numba.vectorize(["f4(f4,f4)", "f8(f8,f8)"])
def typed(a, b):
    return a * b if a > 0 else b - a


@numba.guvectorize(["(f8[:],f8[:])"], "(n)->()")
def squares(a, out):
    out[0] = np.sum(a * a)


@numba.stencil
def shifted(a):
    return a[-1] + 2.0 * a[0]


def of_both(x):
    return np.sum(hinge(x, 0.1) * typed(x[:, None], x)) + hinge(x[0], 2.0)


def test_ufuncs_of_numba_are_called_for_each_element():
    hinge(X, X)  # compiled, so that NumPy has a loop to choose
    check_program(of_both, [(X.copy(),), (X[:1].copy(),)], (0,), compile=True)
    np.testing.assert_array_equal(grad(lambda x: np.sum(hinge(x, 0.1)))(X), [0.1, 1.0, 0.1])
    np.testing.assert_array_equal(vmap(grad(lambda x: typed(x, 3.0)))(X), [3.0, -1.0, 3.0])


@pytest.mark.parametrize("dtypes", [("f8", "f8"), ("f4", "f4"), ("f4", "f8"), ("i8", "f8"), ("i8", "i8"), ("?", "f4")])
def test_ufuncs_of_numba_have_the_types_of_their_signature(dtypes):
    a, b = (X.astype(d) for d in dtypes)
    wanted, found = typed(a, b), jit(lambda a, b: typed(a, b))(a, b)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    wanted, found = typed(a[0], 2), jit(lambda a: typed(a, 2))(a[0])
    assert type(found) is type(wanted) and found == wanted


def test_ufuncs_of_numba_of_no_elements():
    assert jit(lambda x: typed(x, 1.0))(X[:0]).shape == (0,)
    np.testing.assert_array_equal(grad(lambda x: np.sum(typed(x[:0], 1.0)) + x[0])(X), [1.0, 0.0, 0.0])


@pytest.mark.parametrize("function", [squares, lambda x: np.sum(shifted(x)), lambda x: typed.reduce(x)])
def test_what_numba_makes_otherwise_is_refused(function):
    with pytest.raises(UnsupportedError, match=r"numba\.(guvectorize|stencil)|DUFunc\.reduce"):
        grad(lambda x: np.sum(function(x)))(X)
