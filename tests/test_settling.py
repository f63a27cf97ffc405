"""Buffers of a few elements are copied by loops and branches instead of handed over."""

import numpy as np
import pytest
from differential import check_program

from adjit import jit
from adjit.ir.core import walk
from adjit.ir.types import Buffer

X = np.array([0.9, -0.4, 1.3])


def swapped(x, n: int):
    """Three names of two buffers, which change places."""
    p, q = np.array([x[0], 1.0]), np.array([0.5, x[1]])
    while n > 0:
        r = p + 0.1 * q
        if r[0] > 0.8:
            p, q = q, r
        else:
            p, q = r * r, p
        n -= 1
    return np.sum(p * q) + p[0]


def one_beginning(x, n: int):
    """Two names begin as one array; one is written to."""
    start = x[:2] * np.ones(2)
    a, b = start, start
    for i in range(n):
        a = a * 1.1 + b
        while a[1] < 0.5:
            b = a - 0.25
            a = a + 0.5
        if i % 2 == 0:
            b = np.sin(a)
            b[0] = a[1] * 2.0
    return np.sum(a * b) + np.sum(start)


def of_all_kinds(x, n: int):
    """Integers, booleans and a matrix."""
    m = np.array([[1.0, x[0]], [0.2, x[1]]])
    count, seen = np.zeros(2, dtype=np.int64), np.zeros(3, dtype=np.bool_)
    while n > 0:
        k = n % 3
        if seen[k]:
            m = m @ m * 0.5 + x[2]
            count = count + 1
        else:
            m = m.T * x[k]
        seen = np.logical_or(seen, np.arange(3) == k)
        n -= 1
    return np.sum(m) * (1.0 + count[0])


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [swapped, one_beginning, of_all_kinds])
def test_gradients(function):
    check_program(function, [(X, n) for n in (5, 0)], (0,), compile=True)


def test_a_result_is_memory_of_its_own():
    def last(x, n):
        p = np.array([x[0], 1.0])
        kept = p
        while n > 0:
            kept = p
            p = p * 0.5 + x[1]
            n -= 1
        return p, kept

    f = jit(last)
    for n in (0, 1, 4):
        for found, wanted in zip(f(X, n), last(X, n), strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_nothing_is_carried():
    f = jit(swapped)
    f(X, 4)
    loops = [op for op in walk(f.ir_function("scheduled").body) if op.name in ("while", "if")]
    assert loops
    assert not any(isinstance(r.type, Buffer) for op in loops for r in op.results)
