"""Copies to tapes that no cache keeps: gradients of programs with large tapes, rows that begin anywhere in a line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from adjit import grad
from adjit.codegen.llvm.streaming import LEAST, STREAM


def rate(x: Any, y: Any) -> Any:
    out = np.empty_like(x)
    out[0] = x[0]
    out[1:] = x[1:] * y[:-1]
    return out


def chain(x: Any, steps: int) -> Any:
    """Steps of the midpoint method, which look at the state from several loops."""
    y = 0.5 * x
    for _ in range(steps):
        y = y + 0.1 * rate(x, y + 0.05 * rate(x, y))
    return np.sum(y * y)


def chain_while(x: Any, steps: int) -> Any:
    """A tape whose length nobody knows before."""
    y = 0.5 * x
    t = 0.0
    while t < steps - 0.5:
        y = y + 0.1 * rate(x, y + 0.05 * rate(x, y))
        t += 1.0
    return np.sum(y * y)


def rate_by_hand(x: np.ndarray, y: np.ndarray, adj: np.ndarray, x_adj: np.ndarray) -> np.ndarray:
    """What the adjoint of a rate adds to that of `x`, and that of `y`."""
    x_adj[0] += adj[0]
    x_adj[1:] += adj[1:] * y[:-1]
    return np.append(adj[1:] * x[1:], 0.0)


def chain_by_hand(x: np.ndarray, steps: int) -> np.ndarray:
    x = x.astype(float)
    states = [0.5 * x]
    for _ in range(steps):
        y = states[-1]
        states.append(y + 0.1 * rate(x, y + 0.05 * rate(x, y)))
    y_adj, x_adj = 2.0 * states[-1], np.zeros(len(x))
    for y in states[-2::-1]:
        middle_adj = rate_by_hand(x, y + 0.05 * rate(x, y), 0.1 * y_adj, x_adj)
        y_adj = y_adj + middle_adj + rate_by_hand(x, y, 0.05 * middle_adj, x_adj)
    return x_adj + 0.5 * y_adj


def diffusion(u0: Any, steps: int) -> Any:
    u = u0.copy()
    for _ in range(steps):
        v = u.copy()
        v[1:-1, 1:-1] = u[1:-1, 1:-1] + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] - 2.0 * u[1:-1, 1:-1]) * u[1:-1, 2:]
        u = v
    return np.sum(u * u)


def diffusion_by_hand(u0: np.ndarray, steps: int) -> np.ndarray:
    states = [u0]
    inner = (slice(1, -1), slice(1, -1))
    for _ in range(steps):
        u, v = states[-1], states[-1].copy()
        v[inner] = u[inner] + 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] - 2.0 * u[inner]) * u[1:-1, 2:]
        states.append(v)
    out = 2.0 * states[-1]
    for u in states[-2::-1]:
        v_adj, out = out, out.copy()
        d = 0.1 * v_adj[inner]
        out[inner] = v_adj[inner] - 2.0 * d * u[1:-1, 2:]
        out[2:, 1:-1] += d * u[1:-1, 2:]
        out[:-2, 1:-1] += d * u[1:-1, 2:]
        out[1:-1, 2:] += d * (u[2:, 1:-1] + u[:-2, 1:-1] - 2.0 * u[inner])
    return out


def streams(function: Callable[..., Any], *arguments: Any) -> bool:
    function(*arguments)
    return "adjit.stream" in function.llvm()


@pytest.mark.parametrize("n", [30000, 30001, 30003, 30007])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("program", [chain, chain_while], ids=["for", "while"])
def test_rows_begin_anywhere_in_a_line(n: int, dtype: Any, program: Callable[..., Any]) -> None:
    x = np.random.default_rng(n).random(n).astype(dtype)
    steps = STREAM // (n * x.itemsize) + 3
    derivative = grad(program)
    wanted = chain_by_hand(x, steps)
    for _ in range(2):  # the second time into memory that has been used
        np.testing.assert_allclose(derivative(x, steps), wanted, rtol=1e-10 if dtype is np.float64 else 1e-3)
    assert streams(derivative, x, steps)


@pytest.mark.parametrize("columns", [LEAST - 24, LEAST - 1, LEAST, LEAST + 1, 100, 129])
def test_rows_of_matrices(columns: int) -> None:
    u = np.random.default_rng(columns).random((20000 // columns, columns))
    steps = STREAM // u.nbytes + 5
    np.testing.assert_allclose(grad(diffusion)(u, steps), diffusion_by_hand(u, steps), rtol=1e-9, atol=1e-12)


def test_small_tapes_are_as_they_were() -> None:
    x = np.random.default_rng(1).random(1000)
    np.testing.assert_allclose(grad(chain)(x, 7), chain_by_hand(x, 7), rtol=1e-12)


def test_parallel() -> None:
    x = np.random.default_rng(2).random(40000)
    steps = STREAM // x.nbytes + 3
    np.testing.assert_allclose(grad(chain, parallel=2)(x, steps), chain_by_hand(x, steps), rtol=1e-10)
