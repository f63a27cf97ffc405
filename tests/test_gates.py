"""Jacobians of loops: terms that no seed of a chunk reaches are skipped, what chunks share is computed once, and the
results are those of every seed by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adjit import grad, hessian, jacfwd, jacrev
from adjit.api import compiled
from adjit.ir.adjoint import jacobian as ir_jacobian
from adjit.ir.adjoint.gates import gated
from adjit.ir.adjoint.hoist import shared

RNG = np.random.default_rng(8)


@pytest.fixture(autouse=True)
def traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier trace came to is not used again: it does not know what a test has replaced."""
    monkeypatch.setattr(compiled, "find_kept", lambda *given: None)
    monkeypatch.setattr(compiled, "keep", lambda *given: None)


def chain(angles: Any, points: Any, weights: Any) -> Any:
    """Points that follow the joints of a chain, as far as each weighs."""
    n = len(angles)
    turns = np.empty((n, 2, 2))
    out = np.zeros((len(points), 2))
    for j in range(n):
        c, s = np.cos(angles[j]), np.sin(angles[j])
        own = np.array([[c, -s], [s, c]])
        turns[j] = own if j == 0 else turns[j - 1] @ own
        out += weights[:, j : j + 1] * (points @ turns[j].T)
    return out


def tree(angles: Any, parents: Any, points: Any, weights: Any) -> Any:
    """The same of a tree; whose joints are whose is data."""
    n = len(angles)
    turns = np.empty((n, 2, 2))
    out = np.zeros((len(points), 2))
    for j in range(n):
        c, s = np.cos(angles[j]), np.sin(angles[j])
        own = np.array([[c, -s], [s, c]])
        turns[j] = own if parents[j] < 0 else turns[parents[j]] @ own
        out += weights[:, j][:, None] * (points @ turns[j].T)
    return out


def terms(coefficients: Any, basis: Any) -> Any:
    """A sum of functions, each with its own coefficient."""
    total = np.zeros(basis.shape[1])
    for k in range(len(coefficients)):
        total += np.exp(coefficients[k]) * basis[k]
    return np.tanh(total)


def in_place(coefficients: Any, basis: Any) -> Any:
    total = np.zeros((2, basis.shape[1]))
    for k in range(len(coefficients)):
        total[k % 2] += coefficients[k] ** 2 * basis[k]
        total[0, 1:] += coefficients[k] * basis[k, 1:]
    return total


def both(coefficients: Any, basis: Any) -> Any:
    """What is added depends on what was added before as well."""
    total = np.ones(basis.shape[1])
    for k in range(len(coefficients)):
        total = total + coefficients[k] * total * basis[k]
    return total


def counted(coefficients: Any, basis: Any) -> Any:
    total = np.zeros(basis.shape[1])
    k = 0
    while k < len(coefficients) and total[0] < 100.0:
        total += coefficients[k] * basis[k]
        k += 1
    return total


def loss(coefficients: Any, basis: Any) -> Any:
    return np.sum(terms(coefficients, basis) ** 2)


ANGLES = RNG.normal(size=11)
POINTS, WEIGHTS = RNG.normal(size=(9, 2)), RNG.random(size=(9, 11))
PARENTS = np.array([-1, 0, 1, -1, 3, 4, -1, 6, 7, 0, 9])
BASIS = RNG.normal(size=(11, 5))
PROGRAMS: list[tuple[Any, tuple[Any, ...]]] = [
    (chain, (ANGLES, POINTS, WEIGHTS)),
    (tree, (ANGLES, PARENTS, POINTS, WEIGHTS)),
    (terms, (ANGLES, BASIS)),
    (in_place, (ANGLES, BASIS)),
    (both, (ANGLES, BASIS)),
    (counted, (ANGLES, BASIS)),
]


def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every seed by itself, with nothing skipped and nothing shared."""
    monkeypatch.setattr(ir_jacobian, "gated", lambda program: None)
    monkeypatch.setattr(ir_jacobian, "shared", lambda program, differ: None)
    monkeypatch.setattr(ir_jacobian, "in_lanes", lambda *given: None)


def of_size(arguments: tuple[Any, ...], n: int) -> tuple[Any, ...]:
    """With the first n of what is differentiated: chunks are full, partly full, and overlap."""
    return (arguments[0][:n], *arguments[1:])


@pytest.mark.daily(1)
@pytest.mark.parametrize("transform", [jacfwd, jacrev])
@pytest.mark.parametrize(("function", "arguments"), PROGRAMS, ids=lambda v: getattr(v, "__name__", ""))
def test_as_seed_by_seed(transform: Any, function: Any, arguments: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = (11, 9, 8, 7, 1, 0)
    made = transform(function)
    found = [made(*of_size(arguments, n)) for n in sizes]
    plain(monkeypatch)
    made = transform(function)
    for n, result in zip(sizes, found, strict=True):
        wanted = made(*of_size(arguments, n))
        assert result.shape == wanted.shape
        np.testing.assert_allclose(result, wanted, rtol=1e-12, atol=1e-13)


def test_hessian_as_seed_by_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = hessian(loss)(0.1 * ANGLES, BASIS)
    np.testing.assert_allclose(found, found.T, rtol=1e-10, atol=1e-12)
    plain(monkeypatch)
    np.testing.assert_allclose(found, hessian(loss)(0.1 * ANGLES, BASIS), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("function", [chain, tree, terms, in_place], ids=lambda f: f.__name__)
def test_there_is_something_to_skip(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def watched(program: Any) -> Any:
        out = gated(program)
        seen.append(out is not None)
        return out

    monkeypatch.setattr(ir_jacobian, "gated", watched)
    arguments = next(given for made, given in PROGRAMS if made is function)
    jacfwd(function)(*arguments)
    assert seen == [True]


def test_what_is_shared_runs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum itself, which the derivative of `tanh` needs, is not added up again for every chunk."""
    seen: list[Any] = []

    def watched(program: Any, differ: Any) -> Any:
        out = shared(program, differ)
        seen.append(out)
        return out

    monkeypatch.setattr(ir_jacobian, "shared", watched)
    jacfwd(terms)(ANGLES, BASIS)
    ((first, rest),) = seen
    assert len(first.results) == 1 and len(first.args) == 2
    assert len(rest.args) == 5  # the arguments, the sum, who is reached, the seeds


def test_a_skipped_term_is_zero_by_structure() -> None:
    """What multiplies it may be infinite."""
    basis = BASIS.copy()
    basis[10, 2] = np.inf
    found = jacfwd(in_place)(ANGLES, basis)
    assert np.isinf(found[0, 2, 10])
    assert np.isfinite(found[:, :, 0]).all() and np.isfinite(found[:, [0, 1, 3, 4]]).all()


def test_inside_a_derivative() -> None:
    def spread(coefficients: Any) -> Any:
        return np.sum(jacfwd(terms)(coefficients, BASIS) ** 2)

    at, v = 0.1 * ANGLES, np.sin(ANGLES)
    h = 1e-6
    quotient = (spread(at + h * v) - spread(at - h * v)) / (2.0 * h)
    np.testing.assert_allclose(np.sum(grad(spread)(at) * v), quotient, rtol=1e-6)
