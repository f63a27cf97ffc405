"""`with stop_gradient():`, `debug_nans=True`, and pickling."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from adjit import UnsupportedError, grad, jit, jvp, stop_gradient, value_and_grad


def scaled(x, k):
    x = x * k
    return x + np.sin(x)


def numbers(x):
    with stop_gradient():
        a = x * x
        if x > 1.0:
            b, c = a * 2.0, (a, 3.0)
        else:
            b, c = 1.0, (x, 4.0)
    return a * x + b * x + c[0] * x


def numbers_slope(x):
    return x * x + (2 * x * x if x > 1 else 1.0) + (x * x if x > 1 else x)


def arrays(x):
    v = np.ones(3) * x
    with stop_gradient():
        y = np.zeros(3)
        for i in range(3):
            y[i] = scaled(v, 2.0)[i] * i
        z = y[1:]
        w = np.cos(v)
    return np.sum(y * v) + np.sum(z) * x + np.sum(w * v)


def arrays_slope(x):
    y = (2 * x + np.sin(2 * x)) * np.arange(3.0)
    return np.sum(y) + np.sum(y[1:]) + 3 * np.cos(x)


def in_a_loop(x):
    s = x
    for _ in range(3):
        with stop_gradient():
            step = s * 0.5
        s = s * step
    return s


def in_a_loop_slope(x):
    s = x
    out = 1.0
    for _ in range(3):
        out, s = out * (s * 0.5), s * (s * 0.5)
    return out


def with_containers(x):
    with stop_gradient():
        kept = [x, {"a": x * x}]
        kept.append(x)
    return x * (kept[0] + kept[1]["a"] + kept[2])


PROGRAMS = [
    (numbers, numbers_slope),
    (arrays, arrays_slope),
    (in_a_loop, in_a_loop_slope),
    (with_containers, lambda x: 2 * x + x * x),
]


@pytest.mark.parametrize(("program", "slope"), PROGRAMS)
@pytest.mark.parametrize("x", [0.4, 1.7])
def test_what_a_block_assigns_is_constant(program, slope, x):
    value, found = value_and_grad(program)(x)
    assert value == pytest.approx(program(x), rel=1e-14)
    assert found == pytest.approx(slope(x), rel=1e-13)
    assert jvp(program, (x,), (1.0,))[1] == pytest.approx(slope(x), rel=1e-13)


def writes(x):
    a = np.ones(3) * x
    with stop_gradient():
        a[0] = x
    return a[0]


def writes_through_a_helper(x):
    def put(a):
        a[0] = x

    a = np.ones(3) * x
    with stop_gradient():
        put(a)
    return a[0]


def views(x):
    a = np.ones(3) * x
    with stop_gradient():
        b = a[1:]
    return b[0]


def appends(x):
    kept = [x]
    with stop_gradient():
        kept.append(x)
    return kept[0]


def returns(x):
    with stop_gradient():
        return x * x


@pytest.mark.parametrize("program", [writes, writes_through_a_helper, views, appends, returns])
def test_what_would_mix_constants_with_others_is_refused(program):
    with pytest.raises(UnsupportedError, match="stop_gradient"):
        grad(program)(2.0)


# ---------------------------------------------------------------- debug_nans


def product(x):
    y = np.sqrt(x)
    return np.sum(y * np.log(x + 1.0))


def branch(x):
    s = 0.0
    for k in range(len(x)):
        if x[k] > 0:
            s += x[k] ** 0.5
        else:
            s += 1.0 / x[k]
    return s


@pytest.mark.parametrize(
    ("program", "x", "says"),
    [
        (product, [1.0, -0.5], r"`sqrt` gives nan\n.*test_pauses.py"),
        (product, [0.0, 1.0], "gives nan in the derivative of this line"),
        (product, [np.nan, 1.0], "the argument `x` holds nan"),
        (branch, [1.0, 0.0], r"`div` gives inf\n"),
        (lambda x: np.sum(x * x), [1.0, np.inf], "the argument `x` holds inf"),
    ],
)
def test_the_first_nan_is_named(program, x, says):
    x = np.array(x)
    with pytest.raises(FloatingPointError, match=says):
        grad(program, debug_nans=True)(x)
    grad(program)(x)
    with pytest.raises(FloatingPointError):
        value_and_grad(program, debug_nans=True)(x)


def test_good_results_pass():
    x = np.array([1.0, 4.0])
    np.testing.assert_array_equal(grad(product, debug_nans=True)(x), grad(product)(x))
    assert jit(product, debug_nans=True)(x) == pytest.approx(product(x))
    with pytest.raises(FloatingPointError, match="sqrt"):
        jit(product, debug_nans=True)(-x)


# ---------------------------------------------------------------- pickling


@grad
def decorated(x):
    return x * x * x


def test_pickles():
    assert pickle.loads(pickle.dumps(decorated)) is decorated
    again = pickle.loads(pickle.dumps(value_and_grad(product)))
    value, slope = again(np.ones(2))
    assert value == pytest.approx(product(np.ones(2)))
    np.testing.assert_array_equal(slope, grad(product)(np.ones(2)))
