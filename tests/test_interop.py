"""The same gradients from Python, in memory of the caller's, and inside `@njit` code, for many programs."""

import functools

import numba
import numpy as np
import optree
import pytest
import random_programs
from numba.core.errors import TypingError

from adjit import value_and_grad
from adjit.api import extents
from adjit.api.arguments import NAMESPACE, flatten_call
from programs import PROGRAMS


@pytest.fixture(autouse=True)
def one_kernel(monkeypatch):
    """A kernel for small arrays of known extents (only Python's calls have it) may add up in another order."""
    monkeypatch.setattr(extents, "LONGEST", 0)


@numba.njit
def through(f, *args):
    return f(*args)


def equal(found, expected, name):
    """But for the order of sums without an order: not every loop that writes to the caller's memory is rearranged."""
    assert len(found) == len(expected), name
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f, e, rtol=4e-15, atol=1e-15, err_msg=name)


def compare(function, argnums, calls, name, inside=True):
    """Compares on each of the `calls`, functions that give fresh arguments; `inside`: in `@njit` code, too."""
    compiled = value_and_grad(function, argnums=argnums)
    for fresh in calls:
        value, gradient = compiled(*fresh())
        expected = optree.tree_leaves((value, gradient), namespace=NAMESPACE)
        for _ in range(2):  # the general way, then the fast one
            out = optree.tree_map(
                lambda g: np.full(np.shape(g), 77, np.asarray(g).dtype), gradient, namespace=NAMESPACE
            )
            again, given = compiled.into(out, *fresh())
            assert given is out
            equal(optree.tree_leaves((again, out), namespace=NAMESPACE), expected, name)
        if not inside:
            continue
        leaves = flatten_call(fresh(), {}).dynamic
        try:
            found = through(compiled.njit.like(*fresh()), *leaves)
        except TypingError as error:
            assert "pass it as an argument" in str(error), (name, error)
        else:
            equal(found, expected, name)
        for a, b in zip(flatten_call(fresh(), {}).dynamic, leaves, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "program",
    [pytest.param(p, marks=() if k % 6 == 0 else pytest.mark.slow) for k, p in enumerate(PROGRAMS)],
    ids=lambda p: p.name,
)
def test_programs(program):
    compare(program.function, program.argnums, [program.fresh], program.name, program.name in called_inside())


@functools.cache
def called_inside():
    """Names of the acceptance list and of the first program for each tuple of arguments: what stands between `@njit`
    code and a kernel depends on their types alone, and Numba takes a while to compile it."""
    seen, names = set(), set()
    for program in PROGRAMS:
        kind = flatten_call(program.fresh(), {}).key, program.argnums
        if kind not in seen or "acceptance" in program.kinds:
            names.add(program.name)
        seen.add(kind)
    return names


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", [7001, 7002, 7003])
def test_random_programs(seed):
    program = random_programs.generate(seed)
    for args in program.argument_sets[:2]:

        def fresh(args=args):
            return tuple(x.copy() if isinstance(x, np.ndarray) else x for x in args)

        compare(program.function, random_programs.ARGNUMS, [fresh], str(seed))
