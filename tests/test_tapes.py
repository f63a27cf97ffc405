"""Arrays on tapes: read where they are, in every way in which a reverse sweep may need them."""

import numpy as np
import pytest
from differential import check_program

from adjit import grad, hessian, jacfwd, jit, vjp
from adjit.codegen.lower.tapes import rows_in_place
from adjit.ir.text import parse

X = np.array([0.3, -0.7, 1.1, 0.2])
M = np.array([[0.1, 0.5, -0.2, 0.3], [0.2, -0.1, 0.4, 0.1], [0.3, 0.3, 0.1, -0.4], [-0.1, 0.2, 0.2, 0.2]])


def twice_and_turned(x, n: int):
    """Popped arrays are read several times, at other positions too."""
    y = x * 1.0
    for _ in range(n):
        y = np.sin(y) * y[::-1] + y * np.sum(y * y)
    return np.sum(y)


def matrices(m, n: int):
    """Popped matrices go to products."""
    y = m * 1.0
    for _ in range(n):
        y = np.tanh(y @ y + m)
    return np.sum(y * y)


def rows_in_loops(m, n: int):
    """Popped matrices are read row by row in loops further in, by products there."""
    y = m * 1.0
    total = 0.0
    for _ in range(n):
        y = np.cos(y) + 0.1 * m
        for i in range(y.shape[0]):
            total = total * 0.5 + np.sum((y @ y)[i] * np.exp(0.01 * y[i] * np.sin(total)))
    return total


def until_small(x, bound: float):
    """Nobody knows how much there will be on the tape."""
    y = x * 1.0
    turns = 0
    while np.sum(y * y) > bound and turns < 50:
        y = y - 0.1 * y * y * y - 0.05 * y
        if turns % 2 == 0:
            y = y * np.cos(0.1 * y)
        turns += 1
    return np.sum(y * np.arange(1.0, y.size + 1.0))


def swapped(x, n: int):
    """What is popped is carried on."""
    a, b = x * 1.0, x * x
    for _ in range(n):
        a, b = b * np.sin(a), a
    return np.sum(a * b)


def triangle(m, n: int):
    """Of another size in each turn."""
    y = m * 1.0
    total = 0.0
    for k in range(min(n, m.shape[0])):
        part = y[k:, k:] * 1.0
        total += np.sum(np.exp(0.1 * part) * part.T) * np.sum(part)
        y = np.sin(y) * y
    return total


CASES = [
    (twice_and_turned, [(X, n) for n in (3, 0, 1)]),
    (matrices, [(M, n) for n in (3, 0, 1)]),
    (rows_in_loops, [(M, n) for n in (3, 0)]),
    (until_small, [(X, 0.5), (X, 9.0)]),
    (swapped, [(X, n) for n in (3, 4, 0)]),
    (triangle, [(M, n) for n in (4, 2, 0)]),
]


@pytest.mark.daily(1)
@pytest.mark.parametrize(("function", "arguments"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_gradients(function, arguments):
    check_program(function, arguments, (0,), compile=True)


@pytest.mark.parametrize(
    ("function", "arguments"), [CASES[0], CASES[3], CASES[4]], ids=lambda c: getattr(c, "__name__", "")
)
def test_second_derivatives(function, arguments):
    """The adjoint is differentiated again: it pops, and what it does is pushed."""

    def along(x, extra, v):
        return np.sum(grad(function)(x, extra) * v)

    v = np.array([0.2, -0.5, 0.9, 0.4])
    for x, extra in arguments[:2]:
        exact = hessian(function)(x, extra)
        np.testing.assert_allclose(jacfwd(grad(function))(x, extra), exact, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(grad(along)(x, extra, v), exact @ v, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_a_pullback_leaves_its_tapes_alone():
    value, pullback = vjp(twice_and_turned, X, 3)
    first = pullback(1.0)
    again = pullback(1.0)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_allclose(first[0], grad(twice_and_turned)(X, 3), rtol=1e-12)
    assert value == pytest.approx(float(jit(twice_and_turned)(X, 3)))


def test_only_what_nothing_is_pushed_over_is_rows_in_place():
    function = parse(
        """func @f(%x: f64[?], %n: i64) -> f64 {
          %d: i64 = dim %x {axis=0}
          %t: tape[f64] = tape.new
          %t1: tape[f64] = tape.push %t, %x
          %t2: tape[f64] = tape.push %t1, %x
          %t3: tape[f64], %a: f64[?] = tape.pop %t2, %d
          %y: f64[?] = mul %x, 2.0
          %t4: tape[f64] = tape.push %t3, %y
          %t5: tape[f64], %b: f64[?] = tape.pop %t4, %d
          %t6: tape[f64], %c: f64[?] = tape.pop %t5, %d
          %p: f64[?] = mul %a, %b
          %q: f64[?] = mul %p, %c
          %s: f64 = reduce_sum %q {axes=(0)}
          return %s
        }"""
    )
    assert {v.name for v in rows_in_place(function)} == {"b", "c"}
