"""Products with a transposed matrix whose own memory a loop takes over: the transpose is what it was before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import adjit


def rows(q: Any, x: Any, steps: int) -> Any:
    v = q + 0.1
    w, y = v, x
    for _ in range(steps):
        y = np.tanh(y @ v.T)
        w = w * 0.5 + y.T @ y
    return np.sum(w) + np.sum(y)


def left(q: Any, x: Any, steps: int) -> Any:
    v = q + 0.1
    w, y = v, x.T
    for _ in range(steps):
        y = np.tanh(v.T @ y)
        w = w * 0.5 + y @ y.T
    return np.sum(w * w) + np.sum(y)


def vector_right(q: Any, x: Any, steps: int) -> Any:
    v = q + 0.1
    w, y = v, x[0]
    for _ in range(steps):
        y = np.tanh(v.T @ y)
        w = w * 0.5 + y
    return np.sum(w * w) + np.sum(y)


def vector_left(q: Any, x: Any, steps: int) -> Any:
    v = q + 0.1
    w, y = v, x[0]
    for _ in range(steps):
        y = y @ v.T * 0.5 + y
        w = w * 0.5 + y
    return np.sum(w * w) + np.sum(y)


def virtual(q: Any, x: Any, steps: int) -> Any:
    """The product is read where it is needed, element by element."""
    v = q + 0.1
    w, y = v, x[0]
    for k in range(steps):
        y = y + np.exp(-((x[k] @ v.T) ** 2))
        w = w * 0.5 + y
    return np.sum(w * w) + np.sum(y)


def while_loop(q: Any, x: Any, steps: int) -> Any:
    v = q + 0.1
    w, y, k = v, x, 0
    while k < steps:
        y = np.tanh(y @ v.T)
        w = w * 0.5 + y.T @ y
        k += 1
    return np.sum(w) + np.sum(y)


PROGRAMS = [rows, left, vector_right, vector_left, virtual, while_loop]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_the_transpose_is_what_it_was(program: Any) -> None:
    random = np.random.default_rng(0)
    q, x = random.normal(size=(5, 5)), random.normal(size=(9, 5))
    compiled = adjit.jit(program)
    for steps in range(4):
        np.testing.assert_allclose(compiled(q, x, steps), program(q, x, steps), rtol=1e-12)


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__)
def test_gradients(program: Any) -> None:
    random = np.random.default_rng(1)
    q, x = random.normal(size=(4, 4)), random.normal(size=(6, 4))
    gradient = adjit.grad(program, argnums=(0, 1))
    for steps in (1, 3):
        for k, got in enumerate(gradient(q, x, steps)):
            expected = np.empty_like(got)
            for at in np.ndindex(got.shape):
                args = [q.astype(complex), x.astype(complex)]
                args[k][at] += 1e-30j
                expected[at] = program(*args, steps).imag / 1e-30
            np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)
