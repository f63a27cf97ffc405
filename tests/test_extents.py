"""Kernels for small arrays whose extents are constants: which there are, when, and that they compute the same."""

import numpy as np
import pytest

from adjit import grad, hessian, jit, value_and_grad, vjp
from adjit.api.arguments import flatten_call
from adjit.api.extents import with_extents


def downhill(x):
    """Steps of its own length, until it is short."""
    y = x * 1.0
    while np.sum(y * y) > 0.5:
        y = y - 0.1 * y * np.cos(x)
    return np.sum(y * np.arange(1.0, len(x) + 1.0))


def of_numbers(x):
    """A `while` that makes no arrays."""
    s = 0.0
    while s < 3.0:
        s = s + x[0] * x[0] + 0.1
    return s * np.sum(x)


def without_while(x):
    y = x
    for _ in range(3):
        y = np.sin(y) * x
    return np.sum(y)


def inside(x, rate):
    """A matrix and a vector; a derivative inside."""
    point = np.zeros(x.shape[0])
    steps = 0
    while steps < 20:
        slope = grad(lambda p: np.sum((x @ p - 1.0) ** 2))(point)
        if np.sum(slope * slope) < 1e-6:
            break
        point = point - rate * slope
        steps += 1
    return np.sum(point * point) + steps


def overwriting(x, turns):
    while turns > 0:
        x[:] = x * 0.5 + 1.0
        turns -= 1
    return np.sum(x)


def at(n):
    return np.linspace(0.6, 1.2, n)


def types(compiled):
    return [str(s.forward.args[0].type) for s in compiled._specializations.values()]


def differences(function, x):
    return np.array([(function(x + e) - function(x - e)) / 2e-6 for e in 1e-6 * np.eye(len(x))])


def test_one_small_size_then_all():
    f = value_and_grad(downhill)
    for n in (2, 3, 2, 7, 4, 0, 2, 3):
        value, slope = f(at(n))
        assert value == pytest.approx(downhill(at(n)), rel=1e-13)
        np.testing.assert_allclose(slope, differences(downhill, at(n)), rtol=1e-7, atol=1e-9)
    assert types(f) == ["f64[2]", "f64[?]"]


def test_large_first():
    f = grad(downhill)
    for n in (9, 2, 3):
        np.testing.assert_allclose(f(at(n)), differences(downhill, at(n)), rtol=1e-7)
    assert types(f) == ["f64[?]"]


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [of_numbers, without_while])
def test_only_where_a_while_makes_arrays(function):
    f = grad(function)
    np.testing.assert_allclose(f(at(3)), differences(function, at(3)), rtol=1e-7)
    assert types(f) == ["f64[?]"]


def test_not_where_arguments_are_written_to():
    f = jit(overwriting)
    for n in (2, 3):
        x, y = at(n), at(n)
        assert f(x, 3) == overwriting(y, 3)
        np.testing.assert_array_equal(x, y)
    assert types(f) == ["f64[?]"]


def test_not_for_pullbacks():
    value, pullback = vjp(downhill, at(2))
    assert value == pytest.approx(downhill(at(2)))
    np.testing.assert_allclose(pullback(1.0)[0], differences(downhill, at(2)), rtol=1e-7)


def test_matrices_and_derivatives_inside():
    m = np.array([[1.0, 0.2], [-0.3, 0.8]])
    f = jit(inside)
    assert f(m, 0.1) == pytest.approx(reference(m, 0.1), rel=1e-12)
    assert types(f) == ["f64[2,2]"]
    wide = np.eye(3) + 0.1
    assert f(wide, 0.1) == pytest.approx(reference(wide, 0.1), rel=1e-12)
    assert types(f) == ["f64[2,2]", "f64[?,?]"]
    slope = grad(inside)(m, 0.1)
    for k in np.ndindex(2, 2):
        step = np.zeros((2, 2))
        step[k] = 1e-6
        quotient = (reference(m + step, 0.1) - reference(m - step, 0.1)) / 2e-6
        assert slope[k] == pytest.approx(quotient, rel=1e-6, abs=1e-8)


def reference(x, rate):
    point = np.zeros(x.shape[0])
    steps = 0
    while steps < 20:
        slope = 2.0 * x.T @ (x @ point - 1.0)
        if np.sum(slope * slope) < 1e-6:
            break
        point = point - rate * slope
        steps += 1
    return np.sum(point * point) + steps


def test_strides_and_layouts():
    wide = np.arange(1.0, 13.0).reshape(3, 4) / 9.0
    f = grad(downhill)
    for x in (wide[:, 1], wide[::-1, 0], wide[1, :3]):
        np.testing.assert_allclose(f(x), differences(downhill, x), rtol=1e-7)


def test_second_derivatives():
    exact = hessian(downhill)(at(3))
    rows = [(grad(downhill)(at(3) + e) - grad(downhill)(at(3) - e)) / 2e-6 for e in 1e-6 * np.eye(3)]
    np.testing.assert_allclose(exact, rows, rtol=1e-6, atol=1e-8)


def test_which_arrays_are_small():
    def dims(*args):
        call = with_extents(flatten_call(args, {}))
        return None if call is None else [t[0].dims for t in call.types if t is not None]

    assert dims(np.ones(2), np.ones(5), 1.0) == [(2,), (None,), ()]
    assert dims(np.ones((3, 4)), np.ones((1, 2)), np.ones((2, 5))) == [(3, 4), (1, 2), (None, None)]
    assert dims(np.ones(1), np.ones(0), np.ones((2, 0)), np.float64(1.0), np.array(2.0)) is None


def test_what_is_wrong_for_an_extent_is_said_when_it_runs():
    def f(x):
        y = x * 1.0
        while np.sum(y) > 1.0:
            y = 0.5 * y
        if y[0] > 100.0:
            y = y + np.ones(3)
        return np.sum(y)

    np.testing.assert_allclose(grad(f)(at(2)), differences(f, at(2)), rtol=1e-7)
