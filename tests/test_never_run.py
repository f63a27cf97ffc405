"""What is never run for arrays of one element, behind `n > 1`, say, needs no types that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import check_program

from adjit import ShapeError, grad, hessian, jacfwd, jit, value_and_grad
from adjit.ir import pipeline
from adjit.ir.core import walk
from adjit.ir.text import parse, to_text


def products(x: Any, n: Any) -> Any:
    z = 0.5 * x[::-1]
    for _ in range(1, n):
        z[: n - 1] *= 0.3 * x[:0:-1]
    return np.sum(z * z)


def inner_products(x: Any, n: Any) -> Any:
    z = 0.5 * x[::-1]
    for _ in range(1, n):
        z[: n - 1] = np.tanh(np.dot(z[: n - 1], x[1:])) * x[:0:-1]
    return np.sum(z * z)


def branch(x: Any, n: Any) -> Any:
    z = 0.5 * x[::-1]
    s = 0.0
    if n > 1:
        y = z[: n - 1] * x[1:]
        z[: n - 1] = np.where(z[: n - 1] > 0.1, y, np.maximum(x[1:], z[: n - 1]))
        z = z * np.sum(y) / np.sqrt(x[1:] ** 2 + z[: n - 1] ** 2 + 9).sum()
        s = y[0]
    return np.sum(z * x) + s


def tolerance(x: Any, n: Any) -> Any:
    z = 0.5 * x
    turns = 0
    while turns < n - 1 and np.sum(z[: n - 1] * x[1:]) < 50.0:
        z[: n - 1] = z[: n - 1] * 2.0 + x[1:] * z[: n - 1]
        turns += 1
    return np.sum(z * z)


def matrices(x: Any, n: Any) -> Any:
    m = np.outer(x, x) + np.eye(n)
    z = m.copy()
    if n > 1:
        z[: n - 1] = z[: n - 1] @ m[:, 1:] @ m[1:]
        z[: n - 1] = np.concatenate((z[: n - 1], m[1:]))[: n - 1] * m[1:]
        inverse = np.linalg.solve(m[: n - 1, : n - 1] + 9 * np.eye(n - 1), m[1:, 1:])
        z[:, : n - 1] += inverse.sum() * np.outer(m[:, 0], m[0, 1:])
    return np.sum(z)


PROGRAMS = [products, inner_products, branch, tolerance, matrices]


@pytest.mark.parametrize("function", PROGRAMS)
def test_arrays_of_one_element(function: Any) -> None:
    rng = np.random.default_rng(3)
    check_program(function, [(rng.uniform(0.2, 0.9, n), n) for n in (1, 2, 5)])


@pytest.mark.parametrize("function", [products, branch])
def test_all_kinds_of_derivatives(function: Any) -> None:
    x, step = np.array([0.7]), 1e-6
    slope = (function(x + step, 1) - function(x - step, 1)) / (2 * step)
    assert jit(function)(x, 1) == function(x, 1)
    for derivative in (grad(function), jacfwd(function), grad(function, parallel=2)):
        np.testing.assert_allclose(derivative(x, 1), [slope], rtol=1e-6)
    assert np.all(np.isfinite(hessian(function)(x, 1)))


@pytest.mark.parametrize("function", PROGRAMS[:-1])
def test_what_is_run_says_what_does_not_fit(function: Any) -> None:
    with pytest.raises(ShapeError):
        value_and_grad(function)(np.array([0.7]), 2)


def test_what_follows_a_check_that_fails_goes() -> None:
    text = """func @f(%x: f64[1], %n: i64) -> (f64[1], f64, f64[?]) {
      %y: f64[1], %s: f64, %z: f64[?] = for %k in (1, %n) (%y_1 = %x, %s_1 = 0.0, %z_1 = %x) {
        %a: f64 = index %y_1, 0 {spec="i"}
        %e: i64 = same_extent 1, 0 {what="parts"}
        %b: f64 = add %a, %s_1
        %y_2: f64[1] = update %y_1, %b, 0 {spec="i"}
        %z_2: f64[?] = fill %b, %n
        yield %y_2, %b, %z_2
      }
      return %y, %s, %z
    }"""
    done = pipeline.optimize(parse(text), verify=True)
    names = [op.name for op in walk(done.body)]
    assert "same_extent" in names and not {"add", "update", "fill"} & set(names), to_text(done)


def contradictions(x: Any, n: Any) -> Any:
    """What is known after an index that is outside would prove anything."""
    y = x.copy()
    z = 0.5 * x[::-1]
    for k in range(1, n):
        y[k] = z[n - k]
        y[: n - k] = 0.2 * (z[: n - k][::-1] * x[k:])
        z[1:] = np.tanh(y[:-1] + x[:-1])
    for k in range(-n, -1):
        y[k] *= z[k + 1]
        z[: n + k + 1] += 0.1 * (y[k:][: n + k + 1] * x[: n + k + 1])
    return np.sum(y * z)


def test_facts_that_contradict_each_other() -> None:
    rng = np.random.default_rng(5)
    sets = []
    for n in (1, 2, 5):
        try:
            contradictions(rng.uniform(0.2, 0.9, n), n)
        except ValueError:
            continue
        sets.append((rng.uniform(0.2, 0.9, n), n))
    assert len(sets) >= 2
    check_program(contradictions, sets)
    with pytest.raises(IndexError):
        value_and_grad(contradictions)(np.array([0.7]), 2)
    with pytest.raises(IndexError):
        jit(contradictions)(np.array([0.7]), 2)
