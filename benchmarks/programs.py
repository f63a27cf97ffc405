"""The programs that `adjit bench` times, as their users would write them.

In: nothing. Out: `PROGRAMS`, each a function of floats and arrays with a scalar result, and its arguments; `SECOND`,
those of which second derivatives are timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["PROGRAMS", "SECOND", "Benchmark"]


@dataclass(frozen=True)
class Benchmark:
    """A program and the arguments it is timed with; `argnums` are differentiated. `derivative`: "grad"; or "hessian" or
    "hvp" by the first argument, of which the latter takes the vector as the last argument."""

    name: str
    function: Callable[..., Any]
    arguments: Callable[[], tuple[Any, ...]]
    argnums: int | tuple[int, ...] = 0
    derivative: str = "grad"


def doubling(a: float) -> float:
    """The textbook's control flow: how often to double depends on the value."""
    b = 2.0 * a
    while abs(b) < 1000.0:
        b = 2.0 * b
    if b > 0.0:
        return b
    return 100.0 * b


def lu_by_rows(a: Any) -> Any:
    """LU factorization in place, by dot products, as NPBench writes it; the sum of squares of the factors."""
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j] -= a[i, :j] @ a[:j, j]
            a[i, j] /= a[j, j]
        for j in range(i, a.shape[0]):
            a[i, j] -= a[i, :i] @ a[:i, j]
    return np.sum(a * a)


def stencil(u: Any, steps: int) -> Any:
    """A 2-D 5-point stencil, in place."""
    for _ in range(steps):
        u[1:-1, 1:-1] += 0.1 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1])
    return np.sum(u * u)


def recurrence(x: float, c: float, steps: int) -> float:
    """x = x*x + c."""
    for _ in range(steps):
        x = x * x + c
    return x


def mixture(x: Any, means: Any, log_weights: Any) -> Any:
    """A Gaussian-mixture log-likelihood with log-sum-exp."""
    total = 0.0
    for i in range(x.shape[0]):
        terms = log_weights - 0.5 * np.sum((x[i] - means) ** 2, axis=1)
        top = np.max(terms)
        total += top + np.log(np.sum(np.exp(terms - top)))
    return total


def attention(q: Any, k: Any, v: Any) -> Any:
    """One head of attention: products, a softmax over rows, a product."""
    scores = q @ k.T / np.sqrt(q.shape[1])
    weights = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    weights = weights / np.sum(weights, axis=1, keepdims=True)
    return np.sum(np.tanh(weights @ v))


def rosenbrock(x: Any) -> Any:
    """Rosenbrock's function, as arrays."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_loop(x: Any) -> Any:
    """The same as a loop over its terms."""
    total = 0.0
    for i in range(len(x) - 1):
        total += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def two_layers(parameters: Any, x: Any) -> Any:
    """The textbook's network of two layers."""
    hidden = np.maximum(x @ parameters["W1"] + parameters["b1"], 0.0)
    return np.mean(np.maximum(hidden @ parameters["W2"] + parameters["b2"], 0.0) ** 2)


def _network() -> tuple[Any, ...]:
    x, w1, w2, b1, b2 = _random((7, 5), (5, 8), (8, 6), (8,), (6,))
    return {"W1": w1, "W2": w2, "b1": 0.1 * b1, "b2": 0.1 * b2}, x


def _random(*shapes: tuple[int, ...]) -> tuple[Any, ...]:
    generator = np.random.default_rng(0)
    return tuple(generator.normal(size=shape) for shape in shapes)


def _dominant(n: int) -> tuple[Any, ...]:
    return (_random((n, n))[0] + n * np.eye(n),)


PROGRAMS = [
    Benchmark("control flow", doubling, lambda: (0.3,)),
    Benchmark("recurrence 10^5", recurrence, lambda: (0.1, 0.2, 100_000), (0, 1)),
    Benchmark("LU by rows, 300", lu_by_rows, lambda: _dominant(300)),
    Benchmark("stencil 150^2, 50 steps", stencil, lambda: (*_random((150, 150)), 50)),
    Benchmark("mixture 1000 x 10 x 8", mixture, lambda: _random((1000, 8), (10, 8), (10,)), (1, 2)),
    Benchmark("attention 128 x 32", attention, lambda: _random((128, 32), (128, 32), (128, 32)), (0, 1, 2)),
]

SECOND = [
    Benchmark("Hessian, Rosenbrock 1000", rosenbrock, lambda: (np.linspace(0.5, 1.5, 1000),), derivative="hessian"),
    Benchmark(
        "Hessian, Rosenbrock 1000 as a loop",
        rosenbrock_loop,
        lambda: (np.linspace(0.5, 1.5, 1000),),
        derivative="hessian",
    ),
    Benchmark("Hessian, two-layer network", two_layers, _network, derivative="hessian"),
    Benchmark(
        "Hessian times vector, Rosenbrock 1000",
        rosenbrock,
        lambda: (np.linspace(0.5, 1.5, 1000), np.cos(np.arange(1000.0))),
        derivative="hvp",
    ),
    Benchmark(
        "Hessian times vector, Rosenbrock 1000 as a loop",
        rosenbrock_loop,
        lambda: (np.linspace(0.5, 1.5, 1000), np.cos(np.arange(1000.0))),
        derivative="hvp",
    ),
]
