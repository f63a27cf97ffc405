"""`np.ndindex` and `np.ndenumerate`: the loops they are, with writes, breaks, views, empty extents."""

import numpy as np
import pytest
from differential import check_program

from adjit import UnsupportedError, grad, jit, vjp

RANDOM = np.random.default_rng(5)
A, T = RANDOM.normal(size=(3, 4)), RANDOM.normal(size=(2, 3, 2))


def by_shape(a):
    s = 0.0
    for i, j in np.ndindex(a.shape):
        s += a[i, j] ** 2 * (i + 2 * j)
    return s


def by_extents(a):
    out = np.zeros((2, 3, 2))
    for i, j, k in np.ndindex(2, 3, 2):
        out[i, j, k] = a[i, j, k] * np.sin(a[1 - i, j, k])
    return np.sum(out * out)


def by_index(a):
    s = 0.0
    for index in np.ndindex(*a.shape):
        if a[index] > 1.0:
            break
        if index[0] == 1:
            continue
        s += np.exp(a[index])
    return s


def elements(a):
    s = 0.0
    for (i, j), v in np.ndenumerate(a):
        s += v * v * (i - j)
    return s


def elements_written(a):  # NumPy reads each element when its turn comes
    b = a.T
    for (i, j), v in np.ndenumerate(b):
        b[b.shape[0] - 1 - i, j] += v * 0.5
    return np.sum(b * b * b)


def vector(x):
    s = 0.0
    for (i,), v in np.ndenumerate(x):
        s += v**2 * i
    for (i,) in np.ndindex(len(x)):
        s += x[i]
    for i in np.ndindex(3):
        s += x[i] * i[0]
    return s


def numbered(a):
    s = 0.0
    for n, (i, j) in enumerate(np.ndindex(a.shape)):
        s += n * a[i, j] ** 2
    return s


def of_run_time(a, n, m):
    s = 0.0
    for i, j in np.ndindex(n, m):
        s += a[i, j] ** 2 * (j + 1)
    return s


@pytest.mark.parametrize("function", [by_shape, by_index, elements, elements_written, numbered])
def test_matrices(function):
    check_program(function, [(A.copy(),), (A[:1, :1].copy(),), (A[:, :1].copy(),), (np.zeros((0, 4)),)], (0,))
    np.testing.assert_allclose(jit(function)(A.T.copy().T), function(A.copy()), rtol=1e-14)


def test_more_axes():
    check_program(by_extents, [(T.copy(),)], (0,))


def test_one_axis():
    check_program(vector, [(A[0].copy(),)], (0,))


def test_extents_of_run_time():
    check_program(of_run_time, [(A.copy(), 3, 4), (A.copy(), 2, 3), (A.copy(), 0, 3), (A.copy(), 2, 0)], (0,))
    with pytest.raises(ValueError, match="negative dimensions"):
        jit(of_run_time)(A, -1, 2)
    with pytest.raises(IndexError):
        grad(of_run_time)(A, 3, 5)


def test_no_axes():
    def once(x):
        s = 0.0
        for index in np.ndindex(()):
            s += x * len(index) + x
        for _ in np.ndindex():
            s += x
        return s

    assert grad(once)(2.0) == 2.0
    with pytest.raises(UnsupportedError, match="ndenumerate of a number"):
        grad(lambda x: sum(v for _, v in np.ndenumerate(x)))(2.0)


def test_the_reverse_sweep_of_an_array():
    def doubled(a):
        out = np.empty_like(a)
        for i, j in np.ndindex(*a.shape):
            out[i, j] = 2.0 * a[i, j]
        return out

    np.testing.assert_array_equal(vjp(doubled, A)[1](np.ones((3, 4)))[0], np.full((3, 4), 2.0))
