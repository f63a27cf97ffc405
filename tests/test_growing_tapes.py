"""Loops whose tapes would outgrow their arrays get checkpoints where they become large: same bits, less memory."""

from __future__ import annotations

import numpy as np
import pytest

from adjit import grad, value_and_grad
from adjit.benchmarks.suite_scaling import durbin
from adjit.ir.adjoint import checkpoint, growing_tapes


def shortest_paths(r):
    paths = np.abs(np.add.outer(r, np.sin(3.0 * r))) + 0.01
    for k in range(paths.shape[0]):
        paths[:] = np.minimum(paths, np.add.outer(paths[:, k], paths[k, :]))
    return np.sum(paths * paths)


def backwards(r):
    x = r.copy()
    for k in range(len(r) - 1, -1, -2):
        x = np.sin(x) * (1.0 + x[k]) + 0.1 * x[::-1]
    return np.prod(1.0 + 0.1 * x)


def chosen_inside(r):
    x, s = r.copy(), 0.5
    for k in range(len(r)):
        if x[k] > 0.1:
            x[1:] = np.cos(x[:-1]) * x[1:] * s
            s = 0.5 * s + x[0]
        else:
            x[:] = x * np.exp(-x)
    return np.sum(x) * s


def under_an_if(r):
    x = r * 1.5
    if np.sum(x) > 0.0:
        for k in range(len(r) - 1):
            x[:] = np.tanh(x) + 0.2 * x[k] * x
    return np.sum(x**2)


def in_another_loop(r):
    x = r.copy()
    for _ in range(3):
        for k in range(len(x)):
            x[:] = x * np.cos(x[k]) + 0.1
    return np.sum(x)


def two_arrays(r):
    x, v = r.copy(), np.zeros((len(r), 2))
    for k in range(len(r)):
        v[:, 0] += 0.1 * np.sin(x) * v[k, 1]
        v[:, 1] = np.cos(v[:, 0] + x)
        x[:] = x * v[:, 1] + 0.01 * k
    return np.sum(x) + np.sum(v)


def in_place(r):
    for k in range(1, len(r)):
        r[:k] *= np.sin(r[k - 1] + r[:k])
    return np.sum(r)


PROGRAMS = [durbin, shortest_paths, backwards, chosen_inside, under_an_if, in_another_loop, two_arrays, in_place]


def renewed(function):
    """The function as another one, so that nothing is known of it."""

    def again(*arguments):
        return function(*arguments)

    return again


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", PROGRAMS)
def test_same_bits(program, monkeypatch):
    """In any number of segments, as the loop as it is."""
    inputs = [np.linspace(-0.2, 0.7, n) * 0.9**n for n in (2, 3, 5, 8, 9, 17, 40)]
    whole = grad(renewed(program))
    expected = [whole(r.copy()) for r in inputs]
    monkeypatch.setattr(growing_tapes, "LARGE", 0)
    for segments, shortest in [(256, 8), (3, 1), (2, 2)]:
        monkeypatch.setattr(checkpoint, "SEGMENTS", segments)
        monkeypatch.setattr(checkpoint, "SHORTEST", shortest)
        in_segments = value_and_grad(renewed(program))
        for r, slopes in zip(inputs, expected, strict=True):
            value, found = in_segments(r.copy())
            assert value == pytest.approx(program(r.copy()), rel=1e-12)
            np.testing.assert_array_equal(found, slopes)


@pytest.mark.daily(2)
@pytest.mark.parametrize("program", PROGRAMS)
def test_large_enough(program):
    """The branch in segments is there, and is taken from a size on."""
    gradient = grad(renewed(program))
    gradient(np.linspace(0.1, 0.5, 9))
    assert str(growing_tapes.LARGE) in gradient.ir("adjoint")
    assert "segment" in gradient.explain()


def over_time(r, steps=20):
    """As many turns as a number says: its tape is what the user asked for."""
    x = r.copy()
    for _ in range(steps):
        x[:] = np.sin(x) * x
    return np.sum(x)


def recurrence(r):
    """A state of a few numbers over a sequence."""
    state = np.zeros(4)
    for k in range(len(r)):
        state = np.tanh(state * 0.5 + r[k])
    return np.sum(state)


def elimination(r):
    """What is kept in all turns together is as much as the matrix."""
    a = np.outer(r, r) + 10.0 * np.eye(len(r))
    for k in range(len(r)):
        for i in range(k + 1, len(r)):
            a[i, k] /= a[k, k]
            a[i, k + 1 :] -= a[i, k] * a[k, k + 1 :]
    return np.sum(a)


def linear(r):
    x = r.copy()
    for _ in range(len(r)):
        x[1:-1] = 0.5 * (x[:-2] + x[2:])
    return np.sum(x * x)


def columns(r):
    """What is kept has nothing to do with the array that the turns fill, column by column."""
    out = np.empty((len(r), len(r)))
    for k in range(len(r)):
        a = np.outer(np.exp(r), r[k] * r)
        out[:, k] = np.sum(np.sin(a) @ a, axis=1)
    return np.sum(out)


def printed(r):
    x = r.copy()
    for k in range(len(r)):
        x[:] = np.sin(x) * x[k]
        print("turn", k)
    return np.sum(x)


@pytest.mark.parametrize("program", [over_time, recurrence, elimination, linear, columns, printed])
def test_loops_left_alone(program, capsys):
    gradient = grad(renewed(program))
    gradient(np.linspace(0.1, 0.5, 9))
    assert "segment" not in gradient.ir("adjoint")
    assert "segment" not in gradient.explain()


def test_errors_inside(monkeypatch):
    monkeypatch.setattr(growing_tapes, "LARGE", 0)

    def too_far(r):
        x = r.copy()
        for k in range(len(r)):
            x[:] = np.sin(x) * x[2 * k]
        return np.sum(x)

    with pytest.raises(IndexError, match="index 4 is out of bounds for axis 0 with size 4"):
        grad(too_far)(np.linspace(0.1, 0.5, 4))


@pytest.mark.slow
def test_on_threads(monkeypatch):
    """As in one thread where one is used, and the same from run to run."""
    monkeypatch.setattr(growing_tapes, "LARGE", 0)
    r = np.linspace(0.0, 1.0, 150)
    serial, threaded = grad(renewed(shortest_paths)), grad(renewed(shortest_paths), parallel=2)
    first = threaded(r)
    np.testing.assert_allclose(first, serial(r), rtol=1e-12)
    for _ in range(3):
        np.testing.assert_array_equal(threaded(r), first)
