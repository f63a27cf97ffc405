"""Sums and extremes of short rows as two vectors: each element once, whatever the length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjit

pytestmark = pytest.mark.usefixtures("always_threads")

LENGTHS = [*range(1, 20), 24, 31, 33]


def shares(x: Any, w: Any) -> Any:
    """Largest and smallest values, sums of elementary functions that are kept, sums of what is read again."""
    top, low, norm = np.empty(len(x)), np.empty(len(x)), np.empty(len(x))
    share, total = np.zeros(x.shape), np.empty(len(x))
    for i in range(len(x)):
        top[i] = np.max(x[i])
        low[i] = np.min(x[i] * w)
        share[i] = np.exp(x[i] - top[i])
        norm[i] = np.sum(share[i])
        share[i] /= norm[i]
        total[i] = np.sum(share[i] * w) - np.sum(w)
    return top, low, norm, share, total


KERNEL = adjit.jit(shares)


@pytest.mark.parametrize("length", LENGTHS)
def test_each_element_counts_once(length: int) -> None:
    random = np.random.default_rng(length)
    x, w = random.normal(size=(5, length)) * 5.0, random.normal(size=length)
    for got, expected in zip(KERNEL(x, w), shares(x, w), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("length", LENGTHS)
def test_whole_numbers_are_exact(length: int) -> None:
    """Sums of whole numbers do not depend on their order: an element that counted twice, or not at all, shows."""
    x = 2.0 ** np.arange(length) * np.array([[1.0], [-3.0], [5.0]])
    w = np.ones(length)
    top, low, *_ = KERNEL(x, w)
    np.testing.assert_array_equal(top, np.max(x, axis=1))
    np.testing.assert_array_equal(low, np.min(x, axis=1))
    np.testing.assert_array_equal(SUMS(x), np.sum(x, axis=1))


def sums(x: Any) -> Any:
    out = np.empty(len(x))
    for i in range(len(x)):
        out[i] = np.sum(x[i])
    return out


SUMS = adjit.jit(sums)


@pytest.mark.parametrize("place", range(16))
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite(place: int, number: float) -> None:
    for length in (8, 11, 12, 13, 16):
        x = np.arange(3.0 * length).reshape(3, length) - 7.0
        if place < length:
            x[1, place] = number
            np.testing.assert_array_equal(SUMS(x), np.sum(x, axis=1))
            np.testing.assert_array_equal(KERNEL(x, np.ones(length))[0], np.max(x, axis=1))
            np.testing.assert_array_equal(KERNEL(x, np.ones(length))[1], np.min(x, axis=1))


def loss(x: Any, w: Any) -> Any:
    total = 0.0
    for i in range(len(x)):
        h = np.exp(x[i] * w) / np.sum(np.exp(x[i] * w))
        total += np.sum(h * h) + np.max(x[i] * w)
    return total


@pytest.mark.daily(1)
@pytest.mark.parametrize("length", [1, 7, 8, 9, 11, 12, 13, 15, 16, 17, 20])
def test_gradients(length: int) -> None:
    random = np.random.default_rng(length)
    x, w = random.normal(size=(4, length)), random.normal(size=length)
    assert adjit.check_grads(loss, (x, w))


def single(x: Any) -> Any:
    out = np.empty(len(x), np.float32)
    for i in range(len(x)):
        out[i] = np.sum(x[i]) + np.max(x[i])
    return out


SINGLE = adjit.jit(single)


def test_single_precision() -> None:
    for length in LENGTHS:
        x = np.random.default_rng(length).normal(size=(4, length)).astype(np.float32)
        got = SINGLE(x)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got - np.max(x, axis=1), np.sum(x.astype(np.float64), axis=1), rtol=1e-5, atol=1e-5)
