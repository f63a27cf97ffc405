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


@pytest.mark.parametrize("function", [in_branches, in_loops, arrays])
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


@pytest.mark.parametrize("function", [in_branches, in_loops, arrays])
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
