"""Results that are what was computed, in another shape: their memory is handed over, not copied, and is their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adjit import grad, jacfwd, jit, value_and_grad


def doubled(x: Any) -> Any:
    return (2.0 * x).reshape(2, x.size // 2)


def three_shapes(x: Any) -> Any:
    y = 2.0 * x
    return y.reshape(2, x.size // 2), y, y.reshape(x.size // 2, 2)


def argument(x: Any) -> Any:
    return x.reshape(2, x.size // 2)


def twice(x: Any) -> Any:
    y = (2.0 * x).reshape(x.size)
    return y.reshape(2, x.size // 2), y + 1.0


def constant_size(x: Any) -> Any:
    return np.array([x, 2.0 * x, 3.0 * x, 4.0]).reshape(2, 2)


def of_a_loop(x: Any) -> Any:
    rows = np.empty((x.size, 3, 4))
    for k in range(4):
        rows[:, :, k] = k * x[:, None]
    return rows.reshape(3 * x.size, 4)


def of_a_branch(x: Any) -> Any:
    y = 2.0 * x if x[0] > 1.0 else x + 1.0
    return y.reshape(2, x.size // 2)


PROGRAMS = [doubled, three_shapes, argument, twice, of_a_loop, of_a_branch]


@pytest.fixture(params=["", "numba"])
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ADJIT_BACKEND", request.param)
    return str(request.param)


@pytest.mark.usefixtures("backend")
@pytest.mark.parametrize("size", [4, 100, 40_000])
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_results_are_their_own(function: Any, size: int) -> None:
    made = jit(function)
    x = np.linspace(0.5, 2.0, size)
    kept = []
    for turn in range(4):  # memory that was given back too early would be used again
        found = made(x + turn)
        kept.append((found, function(x + turn)))
    for found, wanted in kept:
        several = found if isinstance(found, tuple) else (found,)
        for a, b in zip(several, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
            np.testing.assert_array_equal(a, b)
        several[0][0, 0] = -7.0
        assert x[0] == 0.5 and all(other.ravel()[0] != -7.0 for other in several[1:])


@pytest.mark.usefixtures("backend")
def test_small_results() -> None:
    np.testing.assert_array_equal(jit(constant_size)(2.0), [[2.0, 4.0], [6.0, 4.0]])
    np.testing.assert_array_equal(jacfwd(constant_size)(2.0), [[1.0, 2.0], [3.0, 0.0]])


def test_nothing_is_copied() -> None:
    made = jit(of_a_loop)
    made(np.ones(6))
    assert made.source().count("np.empty") == 1


def test_gradients_through_them() -> None:
    def loss(x: Any) -> Any:
        return np.sum(of_a_branch(x) ** 3)

    x = np.linspace(1.5, 2.0, 6)
    value, slope = value_and_grad(loss)(x)
    np.testing.assert_allclose(value, np.sum(8.0 * x**3))
    np.testing.assert_allclose(slope, 24.0 * x**2)
    np.testing.assert_allclose(grad(lambda x: np.sum(doubled(x)))(x), np.full(6, 2.0))
