"""Sums over the rows and over the columns of one array are one pass over it, which stores nothing of it."""

from __future__ import annotations

import numpy as np
import pytest

from adjit import grad
from adjit.ir.core import walk

from .differential import check_program


def shortest_paths(paths):
    for k in range(paths.shape[0]):
        paths[:] = np.minimum(paths, np.add.outer(paths[:, k], paths[k, :]))
    return np.sum(paths * paths)


def centred(a):
    for _ in range(3):
        b = np.tanh(a)
        b -= np.mean(b, axis=0)
        b -= np.mean(b, axis=1)[:, None]
        a = a * b
    return np.sum(a)


def outer_sums(x, y, w):
    table = np.zeros((len(x), len(y)))
    for k in range(3):
        z = np.exp(-np.abs(x[:, None] - y[None, :]) * w[k])
        table += z
        x = x + 0.1 * np.sum(z, axis=1)
        y = y - 0.1 * np.sum(z, axis=0)
    return np.sum(table * table) + np.sum(x) + np.sum(y)


def two_weights(x, y, m):
    return np.sum(np.sin(m * x[:, None] * y[None, :]))


def square(n, seed=0):
    return np.random.default_rng(seed).uniform(0.2, 1.7, (n, n))


def rows(n, m, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(0.2, 1.7, n), rng.uniform(0.3, 0.9, m), rng.uniform(0.5, 1.5, (n, m))


@pytest.mark.parametrize("n", [3, 9])
def test_values(n):
    x, y, w = rows(n, n + 2)
    check_program(shortest_paths, [(square(n),)], (0,))
    check_program(centred, [(square(n),)], (0,))
    check_program(outer_sums, [(x, y, w[0, :3])], (0, 1, 2))
    check_program(two_weights, [(x, y, w)], (0, 1, 2))


def test_one_pass():
    """What is added to rows and columns is computed once, and is in no memory; its loop carries on one matrix."""
    gradient = grad(shortest_paths)
    gradient(square(5))
    body = gradient.ir_function("scheduled").body
    backwards = [op for op in walk(body) if op.name == "for" and op.attrs.get("reverse")]
    turns = [op for op in backwards if not any(i.attrs.get("reverse") for i in op.regions[0].ops)]
    assert len(turns) == 2, "of the loop as a whole, and of its segments"
    loops = [op for op in turns[-1].regions[0].ops if op.name == "for"]
    nests = [op for op in loops if any(inner.name == "for" for inner in op.regions[0].ops)]
    assert len(nests) == 1
    stores = [op for op in walk(nests[0].regions[0]) if op.name == "buffer.store"]
    assert len([op for op in stores if len(op.operands) == 4]) == 1
    assert len([op for op in stores if len(op.operands) == 3]) == 2
    assert not turns[-1].results
