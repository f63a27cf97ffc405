"""Banded Jacobians and Hessians: dense results from few runs equal those of one seed at a time, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from random_programs import generate
from tracing import traced_of

from adjit import grad, hessian, jacfwd, jacrev, jvp
from adjit.api import compiled
from adjit.ir.adjoint import compress
from adjit.ir.adjoint import jacobian as ir_jacobian
from adjit.ir.adjoint import jvp as ir_jvp
from adjit.ir.adjoint import vjp as ir_vjp
from adjit.ir.adjoint.windows import bands
from adjit.ir.interp import run
from adjit.ir.pipeline import optimize


def differences(x: Any) -> Any:
    return x[1:] - x[:-1] ** 2


def pointwise(x: Any) -> Any:
    return np.exp(-x) * np.sin(x)


def stencil(u: Any) -> Any:
    out = np.zeros_like(u)
    out[1:-1, 1:-1] = u[:-2, 1:-1] * u[2:, 1:-1] + u[1:-1, :-2] ** 2 - u[1:-1, 2:]
    return out


def by_rows(a: Any) -> Any:
    return np.sum(a * a * a, axis=1)


def softmax_of_rows(a: Any) -> Any:
    e = np.exp(a - np.max(a, axis=1)[:, None])
    return e / np.sum(e, axis=1)[:, None]


def turned(a: Any) -> Any:
    return np.sin(a.T)


def layer(a: Any) -> Any:
    return np.tanh(a @ np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]]))


def shifted_loop(x: Any) -> Any:
    out = np.empty(len(x))
    for i in range(len(x)):
        out[i] = x[i] * x[i]
        if i > 0:
            out[i] += np.sin(x[i - 1])
        if i + 2 < len(x):
            out[i] -= x[i + 2] * x[i]
    return out


def ends(x: Any) -> Any:
    out = x * x
    out[0] = x[0] * x[1]
    out[len(x) - 1] = x[len(x) - 2] ** 3
    return out


def scanned(x: Any) -> Any:
    return np.cumsum(x * x)


def round_about(x: Any) -> Any:
    return np.roll(x, 1) * x


def every_other(x: Any) -> Any:
    return x[::2] * x[1::2]


def backwards(x: Any) -> Any:
    return x[::-1] * x


def steps(x: Any) -> Any:
    u = x.copy()
    for _ in range(3):
        u[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2.0 * u[1:-1] + u[:-2]) * u[1:-1]
    return u


def carried(x: Any) -> Any:
    out = np.empty(len(x))
    before = x[0]
    for i in range(len(x)):
        out[i] = before * x[i]
        before = x[i]
    return out


def by_index(x: Any) -> Any:
    which = np.array([2, 0, 1, 3, 3, 1])
    return x[which] * x[:6]


def to_places(x: Any) -> Any:
    which = np.array([2, 0, 1, 5, 3, 4])
    out = np.zeros(len(x))
    for k in range(6):
        out[which[k]] += x[which[k]] ** 2 * x[k]
    return out


def joined(x: Any) -> Any:
    return np.concatenate((x[:2] * 2.0, np.sin(x), x[-2:] ** 2))


def reshaped(x: Any) -> Any:
    return np.sum(x.reshape(len(x) // 2, 2) ** 2, axis=1)


def diagonal(a: Any) -> Any:
    n = min(a.shape[0], a.shape[1])
    out = np.empty(n)
    for i in range(n):
        out[i] = a[i, i] ** 2
    return out


def last(x: Any) -> Any:
    return np.maximum(x[-3:], x[:3]) * x[2:5]


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_loop(x: Any) -> Any:
    s = 0.0
    for i in range(len(x) - 1):
        s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return s


def energy(u: Any) -> Any:
    return np.sum((u[1:, :] - u[:-1, :]) ** 4) + np.sum(np.cos(u[:, 1:] * u[:, :-1]))


def far(x: Any) -> Any:
    return np.sum(x[2:-2] * x[4:] * x[:-4] ** 2)


def of_a_sum(x: Any) -> Any:
    return np.sum(x * x) ** 2


def chain(x: Any) -> Any:
    s = 0.0
    p = x[0]
    for i in range(1, len(x)):
        p = np.sin(p) * x[i]
        s += p
    return s


X = np.array([0.3, -1.2, 0.8, 1.7, -0.4, 0.9, 2.1, -0.6])
A = np.arange(24.0).reshape(4, 6) / 7.0 - 1.0
B = np.cos(np.arange(14.0)).reshape(7, 2)
MAPS = [
    (differences, X),
    (pointwise, X),
    (stencil, A),
    (by_rows, A),
    (softmax_of_rows, A),
    (turned, A),
    (layer, B),
    (shifted_loop, X),
    (ends, X),
    (scanned, X),
    (round_about, X),
    (every_other, X),
    (backwards, X),
    (steps, X),
    (carried, X),
    (by_index, X),
    (to_places, X),
    (joined, X),
    (reshaped, X),
    (diagonal, A),
    (last, X),
]
SCALARS = [
    (rosenbrock, X),
    (rosenbrock_loop, X),
    (energy, A),
    (far, X),
    (of_a_sum, X),
    (chain, X),
]


@pytest.fixture(autouse=True)
def traced_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an earlier trace came to is not used again: it does not know what a test has replaced."""
    monkeypatch.setattr(compiled, "find_kept", lambda *given: None)
    monkeypatch.setattr(compiled, "keep", lambda *given: None)


@contextmanager
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as m:
        m.setattr(ir_jacobian, "compressed", lambda *given: None)
        yield


def shorter(x: Any) -> list[Any]:
    """The same input, and ones with less along the first axis, which meet the ends of the bands."""
    return [x, *(x[:n] for n in (5, 3, 2, 1, 0) if n < len(x))]


def results(made: Callable[..., Any], x: Any) -> list[Any]:
    """The results at an input and shorter ones; where the function fails, that it fails."""
    out: list[Any] = []
    for at in shorter(x):
        try:
            out.append(made(at))
        except (ValueError, IndexError) as error:
            out.append(type(error))
    return out


@pytest.mark.daily(2)
@pytest.mark.parametrize(("function", "x"), MAPS, ids=lambda v: getattr(v, "__name__", ""))
@pytest.mark.parametrize("transform", [jacfwd, jacrev])
def test_jacobians(transform: Any, function: Any, x: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = results(transform(function), x)
    with one_by_one(monkeypatch):
        wanted = results(transform(function), x)
    assert isinstance(found[0], np.ndarray)
    for a, b in zip(found, wanted, strict=True):
        if isinstance(a, np.ndarray):  # sums of several seeds at once may be added in another order
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-300)
        else:
            assert a is b


@pytest.mark.parametrize(("function", "x"), SCALARS, ids=lambda v: getattr(v, "__name__", ""))
def test_hessians(function: Any, x: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = results(hessian(function), x)
    with one_by_one(monkeypatch):
        wanted = results(hessian(function), x)
    assert isinstance(found[0], np.ndarray)
    for a, b in zip(found, wanted, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-300)
        else:
            assert a is b


def widths(transform: Any, function: Any, x: Any, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The widths of the bands that are found."""
    seen: list[Any] = []

    def watched(program: Any) -> Any:
        found = bands(program)
        seen.append([None if band is None else band.width for band in found])
        return found

    with monkeypatch.context() as m:
        m.setattr(compress, "bands", watched)
        transform(function)(x)
    return seen


@pytest.mark.parametrize(
    ("transform", "function", "x", "wanted"),
    [
        (jacfwd, differences, X, [2]),
        (jacrev, differences, X, [2]),
        (jacfwd, pointwise, X, [1]),
        (jacfwd, stencil, A, [3, 3]),
        (jacrev, stencil, A, [3, 3]),
        (jacfwd, by_rows, A, [1, None]),
        (jacfwd, softmax_of_rows, A, [1, None]),
        (jacfwd, turned, A, [1, 1]),
        (jacfwd, layer, B, [1, None]),
        (jacfwd, shifted_loop, X, [4]),
        (jacfwd, scanned, X, [None]),
        (jacfwd, backwards, X, [None]),
        (jacfwd, every_other, X, [None]),
        (jacfwd, to_places, X, [None]),
        (hessian, rosenbrock, X, [3]),
        (hessian, rosenbrock_loop, X, [3]),
        (hessian, energy, A, [3, 3]),
        (hessian, far, X, [9]),
        (hessian, of_a_sum, X, [None]),
        (hessian, chain, X, [None]),
    ],
)
def test_widths(transform: Any, function: Any, x: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert widths(transform, function, x, monkeypatch) == [wanted]


def test_zeros_by_structure_are_zero() -> None:
    """An infinite derivative stays in its own place: no other entry is a product of zero with it."""
    found = jacfwd(np.sqrt)(np.array([0.0, 1.0, 4.0]))
    np.testing.assert_array_equal(found, [[np.inf, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.25]])


def test_a_derivative_that_is_not_a_number_stays_in_its_window() -> None:
    def f(x: Any) -> Any:
        return np.log(x[1:]) * x[:-1]

    found = jacfwd(f)(np.array([1.0, -1.0, 2.0, 3.0]))
    assert np.isnan(found[0, 0]) and not np.isnan(found[1:]).any()
    assert found[0, 2] == 0.0 and found[0, 3] == 0.0


def test_several_arguments() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.sum(x[1:] * y[:-1] ** 2 + x[:-1] ** 3)

    (xx, xy), (yx, yy) = hessian(f, argnums=(0, 1))(X, X + 1.0)
    np.testing.assert_array_equal(xx, np.diag(np.append(6.0 * X[:-1], 0.0)))
    np.testing.assert_array_equal(xy, np.diag(2.0 * (X[:-1] + 1.0), -1))
    np.testing.assert_array_equal(yx, xy.T)
    np.testing.assert_array_equal(yy, np.diag(np.append(2.0 * X[1:], 0.0)))


def test_inside_a_program_and_differentiated() -> None:
    def trace_of_hessian(x: Any) -> Any:
        return np.sum(hessian(rosenbrock)(x) * np.ones((len(x), len(x))))

    v = np.sin(X)
    slope = float(np.sum(grad(trace_of_hessian)(X) * v))
    tangent = jvp(trace_of_hessian, (X,), (v,))[1]
    h = 1e-6
    quotient = (trace_of_hessian(X + h * v) - trace_of_hessian(X - h * v)) / (2.0 * h)
    np.testing.assert_allclose([slope, tangent], [quotient, quotient], rtol=1e-7)


@pytest.mark.parametrize("seed", range(5020, 5028))
def test_random_programs_stay_in_their_bands(seed: int) -> None:
    assert_in_bands(seed)


def assert_in_bands(seed: int) -> int:
    """Tangents and cotangents of a random program, seed by seed, are zero outside of the bands; how many there were."""
    program = generate(seed)
    traced, leaves = traced_of(program.function, program.argument_sets[0])
    function = optimize(traced.function)
    values = [*leaves, *(c.read() for c in traced.captures)]
    results = run(function, values)
    floats = [k for k, r in enumerate(function.results) if r.dtype.is_float]
    arrays = [k for k, a in enumerate(function.args) if a.dtype.is_float and a.is_array]
    found = 0
    programs = [(ir_jvp(function, [k], keep=[]), values[k]) for k in arrays]
    seeds = [["argument" if j == k else None for j in range(len(function.results))] for k in floats]
    for k, given in zip(floats, seeds, strict=True):
        if function.results[k].is_array:
            programs.append((ir_vjp(function, arrays, given, keep=[]).function, results[k]))
        else:
            ones = ["one" if g else None for g in given]
            programs += [
                (ir_jvp(ir_vjp(function, [j], ones, keep=[]).function, [j], keep=[]), values[j]) for j in arrays
            ]
    for single, like in programs:
        for axis, band in enumerate(bands(single)):
            if band is None:
                continue
            found += 1
            for at in np.ndindex(np.shape(like)):
                one_hot = np.zeros(np.shape(like))
                one_hot[at] = 1.0
                for result, window in zip(run(single, [*values, one_hot]), band.windows, strict=True):
                    if window is None:
                        assert not np.any(np.nan_to_num(result))
                    else:
                        along, low, high = window
                        apart = at[axis] - np.nonzero(np.nan_to_num(result))[along]
                        assert np.all((apart >= low) & (apart <= high)), (seed, window, at)
    return found
