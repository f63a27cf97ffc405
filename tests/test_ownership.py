"""Memory that goes from hand to hand: through branches and loops, whatever way is taken, nothing is lost or released
twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from codegen_support import allocations

import adjit


def in_branches(x: Any, n: int) -> Any:
    """Tapes that grow in one branch, in the other, in both, in none."""
    s, i = 0.0, 0
    while i < n:
        t = x[i % len(x)]
        if i % 3 == 0:
            s += np.sin(s) * t
        elif i % 3 == 1:
            if t > 0.0:
                s = s * t + np.exp(-s * s)
        i += 1
    return s


def in_loops(x: Any, n: int) -> Any:
    """An inner loop goes on with what a branch had."""
    s = 0.0
    for i in range(n):
        if x[i % len(x)] > 0.0:
            j = 0
            while j < i % 4:
                s = np.sin(s) + x[j] * s
                if s > 0.5:
                    s = s * s
                j += 1
        else:
            s = s * x[0] + 1.0
    return s


def fails(x: Any, n: int) -> Any:
    """The program ends while branches and loops own memory."""
    s = 0.0
    for i in range(n):
        if x[i % len(x)] > 0.0:
            j = 0
            while j < 5:
                s = np.sin(s) + x[j % len(x)] * s + 1.0
                if j > 1:
                    s = np.cos(s * x[i % len(x)])
                    if i == n - 1:
                        raise ValueError("the last one")
                j += 1
    return s


def arrays(x: Any, n: int) -> Any:
    """Arrays chosen by branches, used afterwards or not."""
    a, b = x * 2.0, x + 1.0
    for i in range(n):
        if i % 2 == 0:
            c = a * b
            a = c + x
        elif np.sum(a) > 1.0:
            a = b - a
            b = a * 0.5
        if i == 3:
            b = a
    return np.sum(a * b)


def largest(y: Any, k: int) -> Any:
    if k % 2 == 0:
        return np.max(y * y)
    for v in y:
        if v > 1.5:
            return v
    return y[0] * y[0]


def in_the_test(x: Any, n: int) -> Any:
    """The test of a `while` branches over arrays that its body goes on with."""
    y, k = x * 0.5, 0
    while k < n and largest(y, k) < 30.0:
        z = y * 1.25 + 0.01 * k
        if k % 3 == 0:
            z = z - np.sum(y) * 0.01
        y = z
        k += 1
    return np.sum(y * y) / (1.0 + k)


def made_in_the_test(x: Any, n: int) -> Any:
    """The test makes arrays, in a branch and outside, and the body reads what it was made of."""
    y, k = x * 1.0, 0
    while np.sum((y + 1.0) ** 2 if k % 2 else y * y) > 1e-3 and k < n:
        w = y * y
        y = 0.75 * y + 0.05 * w if k % 2 else 0.8 * y
        k += 1
    return np.sum(y) + k


def left_with_break(x: Any, n: int) -> Any:
    """After `break` the test is not looked at: it is in a branch. Steps that do not help are taken back."""
    y, slope, rate, k = x * 1.0, 2.0 * x, 1.5, 0
    while np.sum(slope * slope) > 1e-12:
        moved = y - rate * slope
        new = 2.0 * moved + 0.1 * np.sin(moved)
        if np.sum(new * new) < np.sum(slope * slope):
            y, slope = moved, new
        else:
            rate = 0.5 * rate
        k += 1
        if k >= n:
            break
    return np.sum(y * y) + np.sum(slope) + k


PROGRAMS = [in_branches, in_loops, arrays, in_the_test, made_in_the_test, left_with_break]


@pytest.mark.parametrize("function", PROGRAMS)
def test_nothing_is_lost(function: Any) -> None:
    x = np.random.default_rng(1).uniform(-1.0, 1.0, 7)
    gradient = adjit.value_and_grad(function)
    value, slope = gradient(x, 50)
    counts = []
    for _ in range(3):
        for n in (0, 1, 2, 5, 50, 500):
            value, slope = gradient(x, n)
            assert value == pytest.approx(function(x, n), rel=1e-10, abs=1e-10, nan_ok=True)
            del value, slope
        counts.append(allocations())
    assert counts[0] == counts[1] == counts[2]


@pytest.mark.parametrize("size", [7, 20_000])  # large memory comes from the pool and goes back to it
@pytest.mark.parametrize("function", PROGRAMS)
def test_values_stay_as_they_are(function: Any, size: int) -> None:
    if function in (in_branches, in_loops) and size > 7:
        size = 50
    x = np.random.default_rng(5).uniform(-1.0, 1.0, size)
    gradient = adjit.value_and_grad(function)
    first, slope = gradient(x, 12)
    assert first == pytest.approx(function(x, 12), rel=1e-10, abs=1e-10)
    kept = slope.copy()
    for n in (12, 3, 12):
        gradient(x[::-1].copy(), n)
    value, again = gradient(x, 12)
    assert value == first
    np.testing.assert_array_equal(again, kept)
    np.testing.assert_array_equal(slope, kept)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", PROGRAMS)
def test_gradients(function: Any) -> None:
    x = np.random.default_rng(2).uniform(-1.0, 1.0, 7)
    along = np.random.default_rng(3).normal(size=7)
    slope = adjit.grad(function)(x, 9) @ along
    h = 1e-6
    assert slope == pytest.approx((function(x + h * along, 9) - function(x - h * along, 9)) / (2 * h), rel=1e-5)


def test_nothing_is_lost_where_a_program_fails() -> None:
    x = np.array([0.5, -0.25, 1.0])
    gradient = adjit.value_and_grad(fails)
    counts = []
    for _ in range(3):
        for n in (1, 3, 30, 300):
            with pytest.raises(ValueError, match="the last one"):
                gradient(x, n if n % 3 else n + 1)
        counts.append(allocations())
    assert counts[0] == counts[1] == counts[2]
