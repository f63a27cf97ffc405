"""Loops over the rows of a matrix that one nest reads and another adds up become one nest, sums of rows included."""

import numpy as np
import pytest
from differential import check_program

from adjit import grad


def normal(a, x):
    """The derivative with respect to `a` reads its rows, that with respect to `x` adds them up."""
    return np.sum((a @ x) @ a)


def both_sides(a, p, r):
    return np.sum(np.sin(a @ p)) + np.sum(np.cos(r @ a))


def cleared_again(a, x):
    """Two sums of rows, of which the second needs the first."""
    y = a @ x
    z = y @ a
    return np.sum((a @ z) @ a * x)


def ends_early(a, x):
    y = a @ x
    if not y[0] < 1e6:
        raise ValueError("too large")
    return np.sum(y @ a)


def matrices(*shapes):
    rng = np.random.default_rng(5)
    return [(rng.standard_normal(s), rng.standard_normal(s[1])) for s in shapes]


SHAPES = ((1, 1), (3, 5), (6, 4), (9, 70), (0, 3), (3, 0), (0, 0))


@pytest.mark.parametrize("program", [normal, cleared_again], ids=lambda f: f.__name__)
def test_sums_of_rows(program):
    check_program(program, matrices(*SHAPES), (0, 1))


def test_from_both_sides():
    rng = np.random.default_rng(6)
    sets = [(rng.standard_normal(s), rng.standard_normal(s[1]), rng.standard_normal(s[0])) for s in SHAPES]
    check_program(both_sides, sets, (0, 1, 2))


def test_a_check_between_the_loops():
    check_program(ends_early, matrices((3, 5), (9, 70)), (0, 1))
    (a, x), *_ = matrices((3, 5))
    with pytest.raises(ValueError, match="too large"):
        grad(ends_early, (0, 1))(a * 1e9, x)


def test_infinite_rows():
    a, x = np.array([[np.inf, 1.0], [2.0, 3.0]]), np.array([1.0, 2.0])
    plain = np.array([[np.inf, 1.0], [2.0, 3.0]])
    by_a, by_x = grad(normal, (0, 1))(a, x)
    ones = np.ones(2)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(by_x, (plain @ ones) @ plain)
        np.testing.assert_array_equal(by_a, np.outer(plain @ x, ones) + np.outer(plain @ ones, x))


def test_rows_are_read_by_one_nest_and_nothing_is_kept_between():
    gradient = grad(normal, (0, 1))
    gradient(*matrices((3, 5))[0])
    text = gradient.ir("scheduled")
    assert text.count("buffer.alloc") == 2, text  # the results
