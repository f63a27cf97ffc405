"""`vmap` over a few examples along last axes, whose number is known: side by side, as if each were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adjit import BoundsError, callback, custom_jvp, grad, jacfwd, jit, jvp, vmap

RNG = np.random.default_rng(8)
ROWS, EXAMPLES = 3, 5
X, W = RNG.normal(size=(ROWS, EXAMPLES)), RNG.normal(size=(ROWS, ROWS))


def known(x: Any) -> Any:
    """A copy whose extents the compiler knows."""
    out = np.zeros((3, 5))
    for i in range(3):
        for k in range(5):
            out[i, k] = x[i, k]
    return out


def by_branches(x):
    return x * 2.0 if x[0] > 0 else np.sin(x)


def by_steps(x):
    y, n = x.copy(), 0
    while np.sum(y * y) > 0.1:
        y = 0.5 * y
        n += 1
    return y * n


def by_where(x):
    return np.where(x > 0, np.sqrt(np.abs(x)), -x)


def in_place(x):
    x[0] = x[1] * x[2]
    x[1:] *= 2.0
    return x


def in_a_loop(x):
    s = np.zeros(2)
    for i in range(len(x)):
        s[i % 2] += x[i] * s[(i + 1) % 2] + x[i]
    return s


def of_the_adjoint(x):
    return grad(lambda y: np.sum(np.tanh(W @ y) ** 2))(x)


@custom_jvp
def tripled(x):
    return 3.0 * x


@tripled.defjvp
def tripled_rule(primals, tangents):
    return tripled(primals[0]), 30.0 * tangents[0]


SIDE_BY_SIDE = {
    "elementwise": lambda x: np.exp(x) * x[0],
    "a sum": lambda x: np.sum(x * x),
    "a maximum": np.max,
    "a choice": by_where,
    "the number of the largest": lambda x: x[0] * np.argmax(x),
    "scan": lambda x: np.cumsum(x)[::-1],
    "a product with few terms": lambda x: W @ x,
    "an outer product": lambda x: np.outer(x, x),
    "many terms": lambda x: np.ones((2, 3)) @ np.outer(x, np.arange(6.0)),
    "in place": in_place,
    "a loop": in_a_loop,
    "an adjoint": of_the_adjoint,
    "rule of the user's": lambda x: jvp(tripled, (x,), (x * x,))[1],
    "the same for all": lambda x: np.ones(2) + 0.0 * len(x),
    "two results": lambda x: (x[0] * x[1], np.array([x[2], 1.0])),
    "positions": lambda x: x[np.array([2, 0, 0, 1])],
}
ONE_BY_ONE = {
    "branches": by_branches,
    "steps": by_steps,
    "an integer": np.argmax,
    "booleans": lambda x: x > 0,
    "sorted": np.sort,
    "solved": lambda x: np.linalg.solve(W + np.outer(x, x), x),
}
PROGRAMS = {**SIDE_BY_SIDE, **ONE_BY_ONE}


def alone(function: Any, x: Any) -> Any:
    """Each column's results, stacked along a last axis."""
    results = [function(x[:, k].copy()) for k in range(x.shape[1])]
    if isinstance(results[0], tuple):
        return tuple(np.stack(parts, axis=-1) for parts in zip(*results))
    return np.stack(results, axis=-1)


def agree(found: Any, wanted: Any, rtol: float = 1e-13) -> None:
    if not isinstance(wanted, tuple):
        found, wanted = (found,), (wanted,)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_example_is_treated_alone(name):
    function = PROGRAMS[name]
    compiled = jit(lambda x: vmap(function, -1, -1)(known(x)))
    before = X.copy()
    agree(compiled(X), alone(function if name not in ("an adjoint", "rule of the user's") else jit(function), X))
    np.testing.assert_array_equal(X, before)
    assert ("%example" in compiled.ir("traced")) == (name in ONE_BY_ONE)


def test_what_is_not_finite_stays_in_its_lane():
    x = X.copy()
    x[0, 1], x[1, 2], x[2, 4] = np.inf, np.nan, -np.inf
    for name in ("elementwise", "a choice", "a sum", "a product with few terms", "a loop"):
        with np.errstate(all="ignore"):
            agree(jit(lambda y, f=PROGRAMS[name]: vmap(f, -1, -1)(known(y)))(x), alone(PROGRAMS[name], x))


@pytest.mark.parametrize("name", ["elementwise", "a choice", "in place", "a loop", "a product with few terms"])
def test_derivatives_through_it(name):
    function = PROGRAMS[name]

    def loss(x):
        return np.sum(np.sin(vmap(function, -1, -1)(known(x))))

    def of_one(x):
        return np.sum(np.sin(function(x)))

    wanted = alone(grad(of_one), X)
    agree(grad(loss)(X), wanted)
    assert jvp(loss, (X,), (X,))[1] == pytest.approx(np.sum(wanted * X), rel=1e-11)
    agree(jit(lambda x: vmap(grad(of_one), -1, -1)(known(x)))(X), wanted)
    agree(jit(lambda x: vmap(jacfwd(of_one), -1, -1)(known(x)))(X), wanted)


def test_what_is_shared_and_numbers():
    """An argument that is the same for all, numbers, other axes, and a batch in a batch."""

    def scaled(w, x, s):
        return (w @ x) * s

    @jit
    def run(w, x):
        a = known(x)
        return vmap(scaled, (None, -1, 0), -1)(w, a, a[0])

    agree(run(W, X), (W @ X) * X[0])

    @jit
    def rows(w, x):
        return vmap(lambda y: w @ y, -1, 0)(known(x))

    agree(rows(W, X), (W @ X).T)

    @jit
    def nested(x):
        a = known(x)
        return vmap(lambda y: vmap(lambda z: z * y[0] + y, -1, -1)(a), -1, -1)(a)

    agree(nested(X), X[:, :, None] * X[0] + X[:, None, :])


def test_positions_from_data():
    """Where an example's number decides on a position, it is checked and named as ever."""

    def picked(x):
        return x[int(x[0])]

    compiled = jit(lambda x: vmap(picked, -1, -1)(known(x)))
    x = np.abs(X) % 1.0
    x[0] = [0.0, 1.0, 2.0, 1.0, 0.0]
    agree(compiled(x), alone(picked, x))
    x[0, 3] = 3.0
    with pytest.raises(BoundsError):
        compiled(x)


def test_calls_are_made_for_every_example():
    seen: list[float] = []

    @callback
    def note(x):
        seen.append(float(x))

    def program(x):
        note(x[0])
        return x * 2.0

    agree(jit(lambda x: vmap(program, -1, -1)(known(x)))(X), 2.0 * X)
    assert seen == list(X[0])
