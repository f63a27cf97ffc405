"""Products of narrow matrices, around the extents at which another way of computing them is taken."""

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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("columns", [1, 3, 4, 5, 8, 10, 15, 16, 17])
def test_narrow_products(columns: int, dtype: Any) -> None:
    random = np.random.default_rng(columns)
    tolerance = 1e-12 if dtype is np.float64 else 1e-4
    for rows, inner in [
        (8, 64),
        (9, 57),
        (500, 10),
        (1001, 16),
        (23, 900),
        (32, 4096),
        (33, 300),
        (32, 4097),
        (7, 900),
    ]:
        a = random.normal(size=(rows, inner)).astype(dtype)
        b = random.normal(size=(inner, columns)).astype(dtype)
        expected = a.astype(np.float64) @ b.astype(np.float64)
        given = [
            plain(a, b),
            right(a, np.ascontiguousarray(b.T)),
            left(np.ascontiguousarray(a.T), b),
        ]
        for product in given:
            assert product.dtype == dtype
            np.testing.assert_allclose(product, expected, rtol=tolerance, atol=tolerance * inner)


def test_special_numbers_stay_in_their_rows_and_columns() -> None:
    a, b = np.ones((600, 11)), np.ones((11, 10))
    a[3, 4], a[599, 0], b[5, 9] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(plain(a, b), a @ b)


def loss(x: Any, m: Any, w: Any) -> Any:
    scaled = (x - m) @ w.T
    return np.sum(np.tanh(scaled) * scaled)


def test_gradient_of_narrow_products() -> None:
    random = np.random.default_rng(1)
    x, m, w = random.normal(size=(210, 11)), random.normal(size=11), random.normal(size=(9, 11))
    given = adjit.grad(loss, argnums=(0, 1, 2))(x, m, w)
    s = (x - m) @ w.T
    by_s = np.tanh(s) + s * (1 - np.tanh(s) ** 2)
    for got, expected in zip(given, (by_s @ w, -np.sum(by_s @ w, axis=0), by_s.T @ (x - m)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)
