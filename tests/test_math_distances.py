"""`math.hypot` and `math.dist` of any number of coordinates, near the ends of the range too; attributes of numbers that
are there, but not known."""

import math

import numpy as np
import pytest
from differential import check_program

from adjit import ShapeError, TraceTypeError, UnsupportedError, grad, jit

X = np.array([1.5, -2.5, 0.5])


def distances(x):
    near = math.dist([x[0], x[1], x[2]], (x[2], x[0], 3.0)) + math.dist((x[1],), (x[2],))
    return near * math.hypot(x[0], x[1], x[2], 2.0) + math.hypot(x[0]) + math.hypot() + math.dist([3.0], [1.0])


def test_values_and_derivatives():
    check_program(distances, [(X,)], compile=True)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_squares_neither_overflow_nor_vanish(scale):
    def length(x):
        return math.hypot(x[0], x[1], x[2])

    x = scale * X
    assert jit(length)(x) == pytest.approx(math.hypot(*x), rel=1e-15)
    np.testing.assert_allclose(grad(length)(x), X / math.hypot(*X), rtol=1e-14)


def test_points_that_do_not_fit():
    with pytest.raises(ShapeError, match="coordinates"):
        jit(lambda x: math.dist([x[0]], [x[1], x[2]]))(X)
    with pytest.raises(UnsupportedError, match=r"np\.linalg\.norm"):
        jit(lambda x: math.dist(x, x))(X)


def test_attributes_of_numbers():
    with pytest.raises(UnsupportedError, match=r"`\.hex` of a NumPy number"):
        jit(lambda x: x[0].hex())(X)
    with pytest.raises(UnsupportedError, match=r"`\.hex` of a Python number"):
        jit(lambda x: x.hex())(1.0)
    with pytest.raises(TraceTypeError, match="no attribute `foo`"):
        jit(lambda x: x[0].foo)(X)
    with pytest.raises(TraceTypeError, match="no attribute `foo`"):
        jit(lambda x: x.foo)(1.0)
