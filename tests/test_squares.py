"""Derivatives of products of a value with itself: twice the value is a factor, in either mode, as of a square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit


def product(x: Any) -> Any:
    return x * x * x * x


def of_elements(x: Any) -> Any:
    y = x - 1.0
    return np.sum(np.sqrt(y * y + 2.0) * y)


def squared(x: Any) -> Any:
    y = x - 1.0
    return np.sum(np.sqrt(np.square(y) + 2.0) * y)


def steps(x: Any) -> Any:
    """A force that is added to nothing, element by element."""
    place, speed = x.copy(), np.zeros(2)
    for _ in range(5):
        a, b = place[0] - 3.0, place[1]
        force = np.zeros(2)
        force[0] += a * a + b * b
        force[1] += a * b
        speed = speed - 0.01 * force
        place = place + 0.1 * speed
    return place[0] * place[1]


@pytest.mark.parametrize("function", [of_elements, steps], ids=lambda f: f.__name__)
def test_derivatives(function: Callable[..., Any]) -> None:
    check_program(function, [(np.array([0.3, -1.7]),), (np.array([1.0, 1.0]),)], (0,))


def test_products_are_squares() -> None:
    x = np.array([0.3, -1.7, 1e150, 1e-160])
    assert adjit.grad(of_elements)(x).tobytes() == adjit.grad(squared)(x).tobytes()


def test_higher_derivatives_of_a_number() -> None:
    third = adjit.grad(adjit.grad(adjit.grad(product)))
    assert third(1.5) == pytest.approx(24.0 * 1.5)
    assert adjit.jvp(adjit.grad(product), (1.5,), (1.0,))[1] == pytest.approx(12.0 * 1.5**2)


def test_single_precision_stays_so() -> None:
    given = np.array([0.3, -1.7], dtype=np.float32)
    found = adjit.grad(of_elements)(given)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, adjit.grad(of_elements)(given.astype(np.float64)), rtol=1e-5)


def test_twice_the_value_is_known_before_the_cotangent() -> None:
    text = adjit.grad(of_elements).compile(np.ones(3)).ir("adjoint")
    doubled = [line for line in text.splitlines() if "mul 2.0" in line]
    assert doubled and not any("_adj" in line.split("=")[1] for line in doubled)
