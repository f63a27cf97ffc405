"""Kernels keep their helper functions to themselves: code that Numba compiles later calls Numba's own.

Each program runs in a process of its own: who defines a name first in a process gives it to all that follow.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import adjit

TAPE = """
import numpy as np
from numba import njit, prange
from adjit import grad


def by_newton(x):  # a kernel with a tape, which counts references in its own code
    steps = 0
    while True:
        x = 0.5 * (x + 2.0 / x)
        steps += 1
        if steps > 10:
            break
    return x


def weighted(x):
    total = 0.0
    for i in range(len(x)):
        total += x[i] * x[i] * i
    return total


assert abs(grad(by_newton)(1.0)) < 1e-12
X = np.arange(12.0).reshape(4, 3)
"""
LATER = {
    "a derivative inside of prange": """
gradient = grad(weighted).njit


@njit(parallel=True)
def batch(X):
    out = np.empty_like(X)
    for i in prange(len(X)):
        out[i] = gradient(X[i])
    return out


assert np.array_equal(batch(X), 2 * X * np.arange(3))
""",
    "code of Numba's alone": """
@njit(error_model="numpy")
def row(x):
    return x[::1].copy()


@njit(parallel=True)
def batch(X):
    out = np.empty_like(X)
    for i in prange(len(X)):
        out[i] = row(X[i])
    return out


assert np.array_equal(batch(X), X)
""",
}


@pytest.mark.slow  # `prange` takes Numba a while
@pytest.mark.parametrize("later", LATER)
def test_later_code_calls_its_own_helpers(later: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(TAPE + LATER[later], encoding="utf-8")
    paths = [str(Path(adjit.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "ADJIT_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_an_object_shows_no_helpers() -> None:
    def by_newton(x):
        while x * x > 2.0:
            x = 0.5 * (x + 1.0 / x)
        return x

    compiled = adjit.grad(by_newton)
    compiled(1.5)
    definitions = [line for line in compiled.llvm().splitlines() if line.startswith(("define", "@"))]
    assert any("NRT_decref" in line and " private " in line for line in definitions)
    assert not [line for line in definitions if " internal " in line]
