"""`donate=`: results in the memory of arguments that are given up; the same numbers, or another array."""

from __future__ import annotations

import numpy as np
import pytest

from adjit import ArgumentError, ShapeError, grad, jit, value_and_grad
from adjit.codegen.donation import results_in_arguments
from adjit.codegen.scheduled import run
from adjit.ir.verify import verify

RNG = np.random.default_rng(5)
X, Y, A = RNG.normal(size=40), RNG.normal(size=40), RNG.normal(size=(20, 20)) + 8 * np.eye(20)


def smooth(x, w):
    for i in range(1, len(x)):
        x[i] += w * x[i - 1]
    return np.sum(x * x)


def eliminate(a):
    n = a.shape[0]
    s = 0.0
    for k in range(n):
        s += np.log(np.abs(a[k, k]))
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            a[i, k + 1 :] -= a[i, k] * a[k, k + 1 :]
    return s


def reversed_product(x, y):
    return np.sum(x[::-1] * x * np.exp(y))


def neighbours(x):
    return np.sum(np.sin(x[1:] * x[:-1]) * x[1:])


def transposed(a):
    return np.sum(np.tanh(a @ a.T) * a.T)


def branches(x, w):
    if w > 0.0:
        x = x * 2.0
    else:
        x[0] = w
    return np.sum(x[::2] ** 2)


def swapped(x, y):
    for _ in range(3):
        x, y = y * 0.5, x + y
    return np.sum(x * y)


GRADIENTS = [
    (smooth, (X, 0.5), 0),
    (eliminate, (A,), 0),
    (reversed_product, (X, Y), (0, 1)),
    (neighbours, (X,), 0),
    (transposed, (A,), 0),
    (transposed, (np.asfortranarray(A),), 0),
    (neighbours, (np.repeat(X, 2)[::2],), 0),
    (branches, (X, 1.0), 0),
    (branches, (X, -1.0), 0),
    (swapped, (X, Y), (0, 1)),
    (lambda p: np.sum(p["a"] * p["b"]) ** 2, ({"a": X, "b": Y, "c": 2.0},), 0),
]


def copied(x):
    if isinstance(x, dict):
        return {k: copied(v) for k, v in x.items()}
    return x.copy(order="K") if isinstance(x, np.ndarray) else x


@pytest.mark.daily(1)
@pytest.mark.parametrize("case", GRADIENTS, ids=lambda c: c[0].__name__)
@pytest.mark.filterwarnings("ignore::adjit.UnreachedArgumentWarning")
def test_gradients_are_the_same(case) -> None:
    function, args, argnums = case
    expected = value_and_grad(function, argnums=argnums)(*map(copied, args))
    f = value_and_grad(function, argnums=argnums, donate=argnums)
    for _ in range(2):
        value, found = f(*map(copied, args))
        assert value == expected[0]
        for a, b in zip(np.atleast_1d(found), np.atleast_1d(expected[1]), strict=True):
            if isinstance(b, dict):
                assert all(np.array_equal(a[k], b[k]) for k in b)
            else:
                np.testing.assert_allclose(a, b, rtol=1e-14)
    executable = f._stage_source().executable
    verify(executable.scheduled)
    leaves = [x for a in map(copied, args) for x in (a.values() if isinstance(a, dict) else [a])]
    given = copied(dict(enumerate(leaves)))
    plain = executable.run(list(given.values()), python=True)
    machine = run(executable.base.scheduled, leaves)
    for a, b in zip(plain, machine, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_array_itself_is_returned_where_it_serves() -> None:
    x = X.copy()
    slope = grad(smooth, donate=0)(x, 0.5)
    assert slope is x and np.array_equal(x, grad(smooth)(X, 0.5))
    a = A.copy()
    assert grad(eliminate, donate=0)(a) is a
    x, y = X.copy(), Y.copy()
    f = jit(lambda x, y: (x * 2.0 + y, x - y), donate=(0, 1))
    first, second = f(x, y)
    assert np.array_equal(first, X * 2.0 + Y) and np.array_equal(second, X - Y)
    x = X.copy()
    assert jit(lambda x: np.sin(x) * x, donate=0)(x) is x and np.allclose(x, np.sin(X) * X)
    x = X.copy()
    found = jit(lambda x: x[::-1] * 2.0, donate=0)(x)  # would overwrite what it reads later
    assert found is not x and np.array_equal(found, X[::-1] * 2.0)
    x = X.copy()
    found = jit(lambda x: np.cumsum(x) + x[0], donate=0)(x)
    assert np.array_equal(found, np.cumsum(X) + X[0])
    x = X.copy()
    assert jit(lambda x: x[1:], donate=0)(x).shape == (39,) and np.array_equal(x, X)


def test_the_schedule() -> None:
    f = jit(lambda x: x * 2.0, donate=0)
    f(X.copy())
    executable = f._stage_source().executable
    function, placed = results_in_arguments(executable.base.scheduled, [0])
    assert placed == {0: 0} and "buffer.alloc" not in str(function) and "buffer.alloc" in str(executable.base.scheduled)
    verify(function)
    assert results_in_arguments(executable.base.scheduled, [])[1] == {}


def test_refusals() -> None:
    x = X.copy()
    with pytest.raises(ArgumentError, match="donate="):
        grad(smooth, donate=2)(x, 0.5)
    with pytest.raises(ArgumentError, match="no argument number"):
        grad(smooth, donate="x")
    f = value_and_grad(lambda x, y: np.sum(x * y), donate=0)
    with pytest.raises(ArgumentError, match="share"):
        f(x, x)
    with pytest.raises(ArgumentError, match="share"):
        f(x[:20], x[10:30])
    fixed = X.copy()
    fixed.flags.writeable = False
    with pytest.raises(ArgumentError, match="read-only"):
        f(fixed, Y)
    with pytest.raises(ArgumentError, match=r"has no `\.into`"):
        f.into(np.empty(40), x, Y)
    with pytest.raises(ArgumentError, match="has `donate=`"):
        f.njit.resolve((x, Y))
    g = value_and_grad(lambda x, n: np.sum(x * 2.0 + np.zeros(n)), donate=0)
    assert g(X.copy(), 40)[0] == pytest.approx(np.sum(X * 2.0))
    with pytest.raises(ShapeError):  # not tried again with extents of 1 repeated: the argument may be changed already
        g(X.copy(), 1)
    assert value_and_grad(lambda x, n: np.sum(x * 2.0 + np.zeros(n)))(X, 1)[0] == pytest.approx(np.sum(X * 2.0))


def test_a_derivative_inside_does_not_donate() -> None:
    x = X.copy()
    inner = grad(smooth, donate=0)
    found = jit(lambda x: inner(x, 0.5) + x)(x)
    assert np.array_equal(x, X) and np.allclose(found, grad(smooth)(X, 0.5) + X)
