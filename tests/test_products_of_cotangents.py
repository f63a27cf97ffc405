"""Sums of products that are cotangents, and products that are computed where they are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjit


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


@pytest.mark.daily(1)
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


def softmax_twice(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1)[:, None])
    p = e / np.sum(e, axis=1)[:, None]
    return np.sum(p * np.log(1.0 + p * p) / np.sum(e * e, axis=1)[:, None])


@pytest.mark.parametrize("shape", [(3, 5), (1, 1), (4, 1), (1, 9), (2, 130)])
def test_rows_read_by_several_sums(shape: tuple[int, int]) -> None:
    """What several sums over a row need is computed once, and is the same for all of them."""
    x = np.random.default_rng(6).normal(size=shape)
    np.testing.assert_allclose(adjit.jit(softmax_twice)(x), softmax_twice(x), rtol=1e-13)
    gradient = adjit.grad(softmax_twice)(x)
    for place in {(0, 0), (shape[0] - 1, shape[1] - 1), (0, shape[1] // 2)}:
        values = []
        for sign in (1, -1):
            changed = x.copy()
            changed[place] += sign * 1e-6
            values.append(softmax_twice(changed))
        np.testing.assert_allclose(gradient[place], (values[0] - values[1]) / 2e-6, rtol=1e-5, atol=1e-8)


def test_rows_of_special_numbers() -> None:
    x = np.array([[1.0, np.nan, 2.0], [np.inf, 0.0, 1.0], [-np.inf, 0.5, 1.0]])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.isnan(adjit.jit(softmax_rows)(x)), np.isnan(softmax_rows(x)))


def softmax_rows(x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1)[:, None])
    return e / np.sum(e, axis=1)[:, None]
