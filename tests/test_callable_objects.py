"""Objects with a `__call__` in Python are differentiated as functions: a model, say. Each call reads their state."""

import dataclasses
import functools

import numpy as np
import pytest

from adjit import UnsupportedError, grad, hessian, jit, jvp, value_and_grad, vjp, vmap

X = np.array([1.0, 2.0])


class Model:
    def __init__(self, weights):
        self.weights = weights
        self.power = 2

    def __call__(self, x, factor=1.0):
        return np.sum(self.weights * x) ** self.power * factor


@dataclasses.dataclass(frozen=True)
class Scale:
    factor: float

    def __call__(self, x):
        return self.factor * x * x


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        return x * x


def test_an_object_is_a_function():
    model = Model(np.array([1.0, 3.0]))
    assert jit(model)(X) == model(X) == 49.0
    np.testing.assert_array_equal(grad(model)(X), [14, 42])
    np.testing.assert_array_equal(value_and_grad(model)(X, factor=2.0)[1], [28, 84])
    np.testing.assert_array_equal(hessian(model)(X), [[2, 6], [6, 18]])
    assert jvp(model, (X,), (X,)) == (49.0, 98.0)
    np.testing.assert_array_equal(vjp(model, X)[1](1.0)[0], [14, 42])
    np.testing.assert_array_equal(vmap(grad(model))(np.stack((X, 2 * X))), [[14, 42], [28, 84]])


def test_its_state_is_read_at_each_call():
    model = Model(np.array([1.0, 3.0]))
    slope = grad(model)
    slope(X)
    model.weights[1] = 0.0
    np.testing.assert_array_equal(slope(X), [2, 0])
    model.weights = np.array([0.0, 1.0])
    np.testing.assert_array_equal(slope(X), [0, 4])
    model.power = 1
    np.testing.assert_array_equal(slope(X), [0, 1])
    other = Model(np.array([1.0, 3.0]))
    np.testing.assert_array_equal(grad(other)(X), [14, 42])
    assert (grad(Scale(3.0))(1.0), grad(Scale(4.0))(1.0)) == (6.0, 8.0)


def test_it_is_not_changed():
    counting = Counting()
    with pytest.raises(UnsupportedError, match="attribute `calls`"):
        grad(counting)(1.0)
    assert counting.calls == 0


class Base:
    factor = 2.0

    @classmethod
    def scaled(cls, x):
        return x * cls.factor

    @staticmethod
    def power(x):
        return x * x

    def __call__(self, x):
        return 5.0 * x


class Derived(Base):
    factor = 3.0

    @classmethod
    def scaled(cls, x):
        return super().scaled(x) * x + super().power(x)

    @staticmethod
    def power(x):
        return x * x * x

    def both(self, x):
        return super(Derived, self).scaled(x) * super().power(x) + Derived.power(x)  # noqa: UP008


class Wrapper(Base):
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, x):
        return super().__call__(self.function(x))


@Wrapper
def wrapped(x):
    return x * x


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (Derived.scaled, 16.0),
        (Derived().scaled, 16.0),
        (Derived().both, 48.0),
        (wrapped, 20.0),
        (lambda x: wrapped(x) + Derived().scaled(x), 36.0),
    ],
)
def test_super_of_classes_and_wrapped_objects(function, slope):
    assert jit(function)(2.0) == function(2.0)
    assert grad(function)(2.0) == slope
