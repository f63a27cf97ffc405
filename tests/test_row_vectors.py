"""Rows as pairs of vectors that may overlap: each element once, whatever the length, and the same bits as alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import adjit
from adjit.codegen import vecmath
from adjit.codegen.llvm import row_vectors
from adjit.codegen.vecmath.wide import is_wide, widened

pytestmark = pytest.mark.usefixtures("always_threads")

LENGTHS = [*range(42), 47, 48, 49, 63, 64, 65, 100]


def accumulated(x: Any, w: Any) -> Any:
    """Reads and writes the same elements several times, with comparisons, choices and whole numbers between."""
    total = np.zeros(x.shape[1])
    last = np.zeros_like(x)
    for i in range(len(x)):
        total += np.exp(x[i]) * w
        last[i] = np.where(total > x[i] * 3.0, total, np.tanh(x[i]) / (1.0 + total))
        total = total + last[i] * np.arange(x.shape[1])
    return total, last


KERNEL = adjit.jit(accumulated)


@pytest.mark.parametrize("length", LENGTHS)
def test_each_element_of_a_row_counts_once(length: int) -> None:
    random = np.random.default_rng(length)
    x, w = random.normal(size=(4, length)), random.normal(size=length)
    for got, expected in zip(KERNEL(x, w), accumulated(x, w), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def backward(x: Any) -> Any:
    """Rows from their ends, so that turns run against the elements."""
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        for k in range(x.shape[1] - 1, -1, -1):
            out[i, k] = out[i, k] + np.exp(x[i, k]) * k
    return out


@pytest.mark.parametrize("length", [1, 3, 5, 8, 11, 17, 23, 24, 40])
def test_rows_from_their_ends(length: int) -> None:
    x = np.random.default_rng(length).normal(size=(3, length))
    np.testing.assert_allclose(adjit.jit(backward)(x), np.exp(x) * np.arange(length), rtol=1e-13)


def loss(x: Any, w: Any) -> Any:
    h = np.zeros(x.shape[1])
    for i in range(len(x)):
        h = np.tanh(h * w[0] + x[i]) / (1.0 + np.exp(-(h * w[1] + x[i])))
    return np.sum(h * h)


@pytest.mark.daily(1)
@pytest.mark.parametrize("length", [1, 2, 4, 7, 8, 9, 14, 16, 17, 31, 33])
def test_gradients_of_rows(length: int) -> None:
    random = np.random.default_rng(length)
    x, w = random.normal(size=(5, length)), random.normal(size=(2, length))
    assert adjit.check_grads(loss, (x, w))
    serial = adjit.grad(loss, argnums=(0, 1))(x, w)
    columns = [adjit.grad(loss, argnums=(0, 1))(x[:, k : k + 1].copy(), w[:, k : k + 1].copy()) for k in range(length)]
    for k, got in enumerate(serial):
        np.testing.assert_array_equal(got, np.concatenate([c[k] for c in columns], axis=1))


SPECIAL = [
    0.0,
    -0.0,
    np.inf,
    -np.inf,
    np.nan,
    5e-324,
    -1e-310,
    1e-20,
    0.5,
    -0.624,
    0.625,
    1.0,
    -1.0,
    20.0,
    700.0,
    -745.0,
]
NUMPY: dict[str, Callable[[Any], Any]] = {
    name: getattr(np, name) for name in vecmath.ELEMENTARY if is_wide(name) and hasattr(np, name)
}


def test_functions_without_rare_paths_are_wide() -> None:
    assert {"exp", "expm1", "log", "log1p", "tanh", "sinh", "arctan"} <= set(NUMPY)
    assert not is_wide("sin")
    assert not is_wide("power")
    assert not is_wide("unheard_of")


@pytest.mark.daily(2)
@pytest.mark.parametrize("name", sorted(NUMPY))
def test_vectors_have_the_bits_of_numbers(name: str) -> None:
    """Rows of 3 run turn by turn, of 4 to 7 in short vectors, longer ones in long ones."""
    function = NUMPY[name]

    def apply(x: Any) -> Any:
        out, also = np.empty_like(x), np.empty_like(x)
        for i in range(len(x)):
            out[i] = function(x[i])
            also[i] = np.exp(x[i])  # makes it worth while
        return out, also

    kernel = adjit.jit(apply)
    x = np.array([*SPECIAL, *np.random.default_rng(3).normal(size=8)])
    whole = kernel(np.array([x, x]))
    for width in (1, 3, 4, 6, 8, 12):
        parts = [kernel(x[start : start + width].reshape(1, -1).copy()) for start in range(0, len(x), width)]
        for got, expected in zip(whole, zip(*parts, strict=True), strict=True):
            joined = np.concatenate(expected, axis=1)[0]
            for row in got:
                np.testing.assert_array_equal(row.view(np.int64)[~np.isnan(row)], joined.view(np.int64)[~np.isnan(row)])
                np.testing.assert_array_equal(np.isnan(row), np.isnan(joined))


def test_the_text_of_vectors() -> None:
    line = "  %v1 = call double @llvm.fma.f64(double %x0, double 0x3FF0000000000000, double %v0)"
    wide = (
        "  %v1 = call <4 x double> @llvm.fma.v4f64(<4 x double> %x0, <4 x double> splat (double 0x3FF0000000000000), "
    )
    assert widened(line, 4) == wide + "<4 x double> %v0)"
    assert widened("  %v2 = shl i64 %v1, 52", 8) == "  %v2 = shl <8 x i64> %v1, splat (i64 52)"
    assert widened("  %v3 = xor i1 %v2, true", 2) == "  %v3 = xor <2 x i1> %v2, splat (i1 true)"


def written(function: Any, *arguments: Any, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Any, list[int]]:
    """What a new kernel gives, and the widths of the vectors that were written for its functions."""
    widths: list[int] = []
    write = row_vectors.write

    def noted(s: Any, loop: Any, vectors: Any) -> None:
        if row_vectors.worth(loop):
            widths.append(max(width for _, width in vectors))
        write(s, loop, vectors)

    monkeypatch.setattr(row_vectors, "write", noted)
    monkeypatch.setenv("ADJIT_CACHE_DIR", "")
    return adjit.jit(function, **options)(*arguments), widths


X = np.random.default_rng(1).normal(size=(4, 13))


def test_rows_are_written_as_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(x: Any) -> Any:
        out = np.zeros_like(x)
        for i in range(len(x)):
            out[i] = np.exp(x[i]) + i
        return out

    got, widths = written(rows, X, monkeypatch=monkeypatch)
    np.testing.assert_allclose(got, rows(X), rtol=1e-14)
    assert sorted(widths) == [4, 8]


def shifted(x: Any, p: Any) -> Any:
    out = x.copy()
    for i in range(x.shape[0]):
        for k in range(1, x.shape[1]):
            out[i, k] = np.exp(-out[i, k - 1])
    return out


def gathered(x: Any, p: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[i, k] = np.exp(x[i, p[k]])
    return out


def scattered(x: Any, p: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            out[i, p[k]] = out[i, p[k]] + np.exp(x[i, k])
    return out


def rare(x: Any, p: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        out[i] = np.exp(x[i]) + np.sin(x[i] * 1e12)
    return out


def checked(x: Any, p: Any) -> Any:
    out = np.zeros_like(x)
    for i in range(x.shape[0]):
        for k in range(x.shape[1]):
            if x[i, k] > 100.0:
                raise ValueError("too large")
            out[i, k] = np.exp(x[i, k])
    return out


@pytest.mark.parametrize("function", [shifted, gathered, scattered, rare, checked])
def test_rows_that_are_left_to_others(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.random.default_rng(2).integers(0, 13, 13)
    got, widths = written(function, X, p, monkeypatch=monkeypatch)
    np.testing.assert_allclose(got, function(X, p), rtol=1e-12)
    assert widths == []


def test_arrays_with_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(x: Any) -> Any:
        out = np.zeros(x.shape)
        for i in range(len(x)):
            out[i] = np.exp(x[i])
        return out

    wide = np.random.default_rng(1).normal(size=(8, 26))
    for x in (wide[::2, ::2], wide[::-1, ::-1], np.asfortranarray(wide), wide[:, 3:14]):
        got, _ = written(rows, x, monkeypatch=monkeypatch)
        np.testing.assert_allclose(got, np.exp(x), rtol=1e-14)


def differences(x: Any, m: Any) -> Any:
    """Plain arithmetic on rows, forwards, backwards and in place."""
    out, other = np.zeros(x.shape), x * 0.5
    for i in range(x.shape[0]):
        out[i] = x[i] - m
        for k in range(x.shape[1] - 1, -1, -1):
            other[i, k] = other[i, k] * m[k]
        other[i] += out[i]
    return out, other


PLAIN = adjit.jit(differences)


@pytest.mark.parametrize("length", LENGTHS)
def test_rows_of_plain_arithmetic(length: int) -> None:
    random = np.random.default_rng(length)
    x, m = random.normal(size=(4, length)), random.normal(size=length)
    for got, expected in zip(PLAIN(x, m), differences(x, m), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_short_rows_of_plain_arithmetic_are_written_as_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = []
    monkeypatch.setattr(row_vectors, "short_row", lambda s, loop, *rest: rows.append(loop) or SHORT_ROW(s, loop, *rest))
    monkeypatch.setenv("ADJIT_CACHE_DIR", "")
    adjit.jit(lambda x, m: differences(x, m))(X, X[0])
    assert len(rows) >= 3


SHORT_ROW = row_vectors.short_row


def test_threads_give_the_same_bits() -> None:
    def rows(x: Any) -> Any:
        out = np.zeros_like(x)
        for i in range(len(x)):
            out[i] = np.tanh(x[i]) / (1.0 + np.exp(x[i]))
        return out

    x = np.random.default_rng(5).normal(size=(3000, 21))
    np.testing.assert_array_equal(adjit.jit(rows, parallel=2)(x), adjit.jit(rows)(x))
