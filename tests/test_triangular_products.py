"""Products with triangular factors, which leave out what is zero, and what must not be left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjit


@adjit.jit
def plain(a: Any, b: Any) -> Any:
    return a @ b


@adjit.jit
def right(a: Any, b: Any) -> Any:
    return a @ b.T


@adjit.jit
def left(a: Any, b: Any) -> Any:
    return a.T @ b


KINDS = {"plain": plain, "right": right, "left": left}


def given(kind: str, a: Any, b: Any) -> tuple[Any, Any]:
    """The factors as the function takes them."""
    if kind == "left":
        a = np.ascontiguousarray(a.T)
    return a, np.ascontiguousarray(b.T) if kind == "right" else b


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("triangle", [np.tril, np.triu])
@pytest.mark.parametrize("second", [True, False])
def test_triangular_factors(kind: str, triangle: Any, second: bool) -> None:
    random = np.random.default_rng(1)
    for n, other, dtype in [(64, 64, np.float64), (65, 200, np.float64), (150, 70, np.float64), (130, 90, np.float32)]:
        half = triangle(random.normal(size=(n, n))).astype(dtype)
        a, b = (random.normal(size=(other, n)), half) if second else (half, random.normal(size=(n, other)))
        a, b = a.astype(dtype), b.astype(dtype)
        expected = a.astype(np.float64) @ b.astype(np.float64)
        tolerance = 1e-12 if dtype is np.float64 else 1e-4
        np.testing.assert_allclose(KINDS[kind](*given(kind, a, b)), expected, atol=tolerance * n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("triangle", [np.tril, np.triu])
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("second", [True, False])
def test_zeros_multiply(kind: str, triangle: Any, special: float, second: bool) -> None:
    """Zero times infinity is not a number, in a product as anywhere."""
    random = np.random.default_rng(2)
    half = triangle(random.normal(size=(70, 70)))
    other = random.normal(size=(70, 70))
    for row, column in [(0, 0), (69, 69), (0, 69), (69, 0), (33, 35)]:
        changed = other.copy()
        changed[row, column] = special
        a, b = (changed, half) if second else (half, changed)
        with np.errstate(invalid="ignore"):
            expected = a @ b
        np.testing.assert_allclose(KINDS[kind](*given(kind, a, b)), expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_element_off_the_triangle(kind: str) -> None:
    random = np.random.default_rng(3)
    for triangle in (np.tril, np.triu):
        for row, column in [(0, 1), (1, 0), (68, 69), (69, 68), (10, 60), (60, 10), (0, 69), (69, 0)]:
            for value in (1.0, np.nan):
                factor = triangle(random.normal(size=(70, 70)))
                factor[row, column] = value
                a = random.normal(size=(100, 70))
                np.testing.assert_allclose(KINDS[kind](*given(kind, a, factor)), a @ factor, atol=1e-12)


def centred(x: Any, m: Any, w: Any) -> Any:
    return np.sum(np.sin((x - m) @ w))


def centred_columns(x: Any, m: Any, w: Any) -> Any:
    return np.sum(np.sin(w @ (x - m[:, None])))


def test_sums_of_products_of_cotangents() -> None:
    """The cotangent of what was repeated along rows or columns is summed before it is multiplied."""
    random = np.random.default_rng(4)
    x, w = random.normal(size=(9, 5)), random.normal(size=(5, 7))
    m = random.normal(size=5)
    given = adjit.grad(centred, argnums=(0, 1, 2))(x, m, w)
    by_product = np.cos((x - m) @ w)
    expected = (by_product @ w.T, -np.sum(by_product @ w.T, axis=0), (x - m).T @ by_product)
    for got, wanted in zip(given, expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(adjit.grad(centred, argnums=1)(x, m, w), expected[1], rtol=1e-12, atol=1e-12)
    y, n, v = random.normal(size=(5, 9)), random.normal(size=5), random.normal(size=(7, 5))
    by_product = np.cos(v @ (y - n[:, None]))
    got = adjit.grad(centred_columns, argnums=1)(y, n, v)
    np.testing.assert_allclose(got, -np.sum(v.T @ by_product, axis=1), rtol=1e-12, atol=1e-12)
    again = adjit.hessian(centred, argnums=1)(x, m, w)
    step = 1e-6
    for k in range(5):
        ahead, behind = m.copy(), m.copy()
        ahead[k] += step
        behind[k] -= step
        slope = (adjit.grad(centred, argnums=1)(x, ahead, w) - adjit.grad(centred, argnums=1)(x, behind, w)) / (
            2 * step
        )
        np.testing.assert_allclose(again[k], slope, rtol=1e-6, atol=1e-6)


def products_in_a_loop(x: Any, w: Any, n: int) -> Any:
    for _ in range(n):
        x = np.tanh(x @ w)
    return np.sum(x * x)


def kept_in_branches(x: Any, w: Any, n: int) -> Any:
    total = 0.0
    for i in range(n):
        s = (x * (i + 1.0)) @ w
        total = total + np.sum(s * s * s)
        if total > 0.0:
            s = s + 1.0
        x = x + 0.1 * np.sin(s)
        s[0] = 0.0
        total = total + np.sum(s * s)
    return total


@pytest.mark.parametrize("function", [products_in_a_loop, kept_in_branches])
def test_products_on_tapes(function: Any) -> None:
    """What is computed on a tape is read, changed and carried as if it were elsewhere."""
    random = np.random.default_rng(5)
    x, w = random.normal(size=(6, 4)), 0.4 * random.normal(size=(4, 4))
    by_x, by_w = adjit.grad(function, argnums=(0, 1))(x, w, 4)
    for argument, gradient in ((0, by_x), (1, by_w)):
        for place in [(0, 0), (3, 2), (1, 3)]:
            step = 1e-6
            values = []
            for sign in (1, -1):
                changed = [x.copy(), w.copy()]
                changed[argument][place] += sign * step
                values.append(function(*changed, 4))
            np.testing.assert_allclose(gradient[place], (values[0] - values[1]) / (2 * step), rtol=2e-6, atol=1e-7)
