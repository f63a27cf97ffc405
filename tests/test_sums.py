"""Library sums of a million terms: as accurate as NumPy's, in derivatives too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import adjit

pytestmark = pytest.mark.usefixtures("always_threads")

COUNT = 1_000_000
BOUND = 4e-15
"""Of the sum of magnitudes. One sum of so many equal terms, one after the other, is off by a thousand times as much."""


def samples() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    return {"equal": np.full(COUNT, 0.1), "uniform": rng.random(COUNT), "normal": rng.normal(size=COUNT)}


SAMPLES = samples()


def total(x: Any) -> Any:
    return np.sum(x)


def mean(x: Any) -> Any:
    return np.mean(x)


def variance(x: Any) -> Any:
    return np.var(x)


def dot(x: Any) -> Any:
    return np.dot(x, x)


def norm(x: Any) -> Any:
    return np.linalg.norm(x)


def exact_variance(x: Any) -> float:
    middle = math.fsum(x) / len(x)
    return math.fsum((x - middle) ** 2) / len(x)


CASES: list[tuple[Callable[[Any], Any], Callable[[Any], float], Callable[[Any], float]]] = [
    (total, math.fsum, lambda x: math.fsum(np.abs(x))),
    (mean, lambda x: math.fsum(x) / len(x), lambda x: math.fsum(np.abs(x)) / len(x)),
    (variance, exact_variance, lambda x: float(np.mean(x * x))),
    (dot, lambda x: math.fsum(x * x), lambda x: math.fsum(x * x)),
    (norm, lambda x: math.sqrt(math.fsum(x * x)), lambda x: math.sqrt(math.fsum(x * x))),
]


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize(("function", "exact", "scale"), CASES, ids=lambda case: getattr(case, "__name__", ""))
def test_values(function: Any, exact: Any, scale: Any, kind: str) -> None:
    x = SAMPLES[kind]
    assert abs(adjit.jit(function)(x) - exact(x)) <= BOUND * scale(x)


@pytest.mark.parametrize("kind", SAMPLES)
@pytest.mark.parametrize("shape", [(COUNT // 10, 10), (10, COUNT // 10), (1000, 1000), (COUNT // 3, 3), (2, 500, 1000)])
def test_shapes(shape: tuple[int, ...], kind: str) -> None:
    x = SAMPLES[kind][: math.prod(shape)]
    assert abs(adjit.jit(total)(x.reshape(shape)) - math.fsum(x)) <= BOUND * math.fsum(np.abs(x))


def along_last(x: Any) -> Any:
    return np.sum(x, axis=1)


def along_outer(x: Any) -> Any:
    return np.sum(x, axis=(0, 2))


@pytest.mark.parametrize("kind", SAMPLES)
def test_rows(kind: str) -> None:
    x = SAMPLES[kind].reshape(4, -1)
    found = adjit.jit(along_last)(x)
    assert all(abs(a - math.fsum(row)) <= BOUND * math.fsum(np.abs(row)) for a, row in zip(found, x, strict=True))
    x = SAMPLES[kind].reshape(2, 2, -1)
    found = adjit.jit(along_outer)(x)
    for k in range(2):
        assert abs(found[k] - math.fsum(x[:, k].ravel())) <= BOUND * math.fsum(np.abs(x[:, k].ravel()))


def scaled(s: Any, x: Any) -> Any:
    return np.sum(s * x)


def scaled_rows(s: Any, x: Any) -> Any:
    return np.sum(s[:, None] * x)


def logsumexp(x: Any) -> Any:
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


@pytest.mark.parametrize("kind", SAMPLES)
def test_adjoints_of_broadcasts(kind: str) -> None:
    x = SAMPLES[kind]
    assert abs(adjit.grad(scaled)(2.0, x) - math.fsum(x)) <= BOUND * math.fsum(np.abs(x))
    rows = x.reshape(8, -1)
    found = adjit.grad(scaled_rows)(np.ones(8), rows)
    for a, row in zip(found, rows, strict=True):
        assert abs(a - math.fsum(row)) <= BOUND * math.fsum(np.abs(row))
    columns = x.reshape(-1, 8)
    found = adjit.grad(scaled)(np.ones(8), columns)  # NumPy adds row by row, and the adjoint a few rows at a time
    exact = np.array([math.fsum(columns[:, k]) for k in range(8)])
    worst = np.max(np.abs(np.sum(columns, axis=0) - exact))
    for k in range(8):
        assert abs(found[k] - exact[k]) <= 2 * worst + BOUND * math.fsum(np.abs(columns[:, k]))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_gradient_of_logsumexp(kind: str) -> None:
    x = SAMPLES[kind]
    e = np.exp(x - np.max(x))
    assert np.max(np.abs(adjit.grad(logsumexp)(x) - e / math.fsum(e))) <= 1e-15


@pytest.mark.parametrize("shape", [(5000,), (100, 70), (0,), (0, 4), (2048,), (2049,), (4097,)])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e308, -0.0])
def test_infinite(shape: tuple[int, ...], value: float) -> None:
    """The rounding error of an infinite sum is NaN; the sum is not."""
    compiled = adjit.jit(total)
    with np.errstate(over="ignore", invalid="ignore"):
        x = np.full(shape, value)
        assert np.array_equal(compiled(x), np.sum(x), equal_nan=True)
        if x.size:
            x = np.ones(shape)
            x.flat[x.size // 2] = value
            assert np.isclose(compiled(x), np.sum(x), rtol=1e-14, equal_nan=True)
            x.flat[-1] = -value
            assert np.isclose(compiled(x), np.sum(x), rtol=1e-14, atol=1e300, equal_nan=True)


def summed_backwards(x: Any) -> Any:
    out = 0.0
    for i in range(len(x) - 1, -1, -1):
        out += np.sum(x[i])
    return out


def test_rows_in_a_loop() -> None:
    x = SAMPLES["uniform"].reshape(-1, 5000)
    exact = math.fsum(x.ravel())
    assert abs(adjit.jit(summed_backwards)(x) - exact) <= 1e-14 * exact
    assert np.array_equal(adjit.grad(summed_backwards)(x), np.ones_like(x))


def test_float32() -> None:
    x = np.full(COUNT, 0.1, dtype=np.float32)
    found = adjit.jit(total)(x)
    assert found.dtype == np.float32 and abs(float(found) / (COUNT * float(np.float32(0.1))) - 1) <= 1e-7


def test_threads_sum_as_well() -> None:
    x = SAMPLES["equal"]
    for shape in ((COUNT,), (COUNT // 10, 10)):
        found = adjit.jit(total, parallel=2)(x.reshape(shape))
        assert abs(found - math.fsum(x)) <= BOUND * math.fsum(x)
