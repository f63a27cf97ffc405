"""Arrays that a turn makes part by part, needed in a loop inside of it: computed again once, before that."""

from __future__ import annotations

import numpy as np
import pytest
from differential import check_program

from adjit import grad

U = np.random.default_rng(1).uniform(0.2, 0.9, (5, 6))


def source_of_steps(u, c, steps):
    """What `b` is multiplied with is differentiated, in each inner turn."""
    p = u * 0.5
    for _ in range(steps):
        b = np.zeros_like(u)
        b[1:-1] = u[2:] * u[:-2]
        b[0] = u[1] / u[0]
        for _ in range(3):
            p[1:-1] = 0.3 * (p[2:] + p[:-2]) - c * c * b[1:-1] * p[1:-1]
            p[0] = p[1] * b[0]
        u[1:-1] = u[1:-1] + 0.1 * p[1:-1] * u[:-2]
    return np.sum(u * u) + np.sum(p)


def under_a_condition(u, c, steps):
    p = u * 0.5
    for k in range(steps):
        b = np.empty_like(u)
        b[:] = u * u
        b[0] = c * u[1]
        if k != 1:
            for _ in range(2):
                for i in range(2):
                    p[i] = p[i] * p[i + 1] + b[i] * c * p[i]
        else:
            p[1] = p[0] * b[0]
        u[:] = u * np.sin(p)
    return np.sum(u) * np.sum(p)


@pytest.mark.parametrize("program", [source_of_steps, under_a_condition])
def test_values_and_gradients(program):
    check_program(program, [(U, 0.3, 3), (U, 0.3, 1), (U, 0.3, 0)], argnums=(0, 1), compile=True)


def test_not_kept():
    f = grad(source_of_steps, argnums=(0, 1))
    f(U.copy(), 0.3, 2)
    assert not any(line.startswith(("b:", "?:")) for line in f.explain().splitlines())
