"""Functions that plain Python calls as they are (`checkpoint`, rules, solvers) share memory with their caller.

What would be seen to work on copies is refused, everything else is as in plain Python."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from adjit import (
    UnsupportedError,
    checkpoint,
    custom_jvp,
    custom_linear_solve,
    custom_root,
    custom_vjp,
    grad,
    stop_gradient,
    value_and_grad,
)

X = np.array([1.0, 2.0, 3.0])


def writes(v):
    v[0] = 7.0
    return np.sum(v)


def itself(v):
    return v


def part(v):
    return v[1:]


def either(v):
    w = v * 1.0
    return w if v[0] > 1.5 else v


def twice(v):
    w = np.sin(v)
    return w, w[::-1]


def both(u, v):
    u[0] = 7.0
    return v[0] * 2.0


def with_jvp(function):
    out = custom_jvp(function)
    out.defjvp(lambda primals, tangents: (function(*primals), function(*tangents)))
    return out


def with_vjp(function):
    out = custom_vjp(function)
    out.defvjp(lambda *args: (function(*args), None), lambda _, dy: (None,))
    return out


KINDS = {"checkpoint": checkpoint, "jvp": with_jvp, "vjp": with_vjp}


def writes_to_argument(x, f):
    v = x.copy()
    s = f["writes"](v)
    return s + 10.0 * v[0]


def writes_to_one_of_two_names(x, f):
    v = x.copy()
    return f["both"](v, v)


def result_is_written(x, f):
    v = x.copy()
    w = f["itself"](v)
    w[0] = 7.0
    return v[0] * 10.0 + w[1]


def argument_is_written(x, f):
    v = x.copy()
    w = f["part"](v)
    v[1] = 7.0
    return w[0] * 10.0 + w[1]


def written_in_a_loop(x, f):
    v = x.copy()
    w = v
    for k in range(3):
        if v[0] > 1.2:
            w = f["either"](v)
        v[0] += 1.0 + k
    return np.sum(w)


def results_share(x, f):
    a, b = f["twice"](x)
    a[0] = 5.0
    return b[2] * 10.0


def stopped(x, f):
    v = x.copy()
    y = stop_gradient(v)
    y[0] = 7.0
    return v[0] * 10.0


def stopped_then_written(x, f):
    v = x.copy()
    y = stop_gradient(v)
    v[0] = 7.0
    return y[0] * 10.0


def stopped_list(x, f):
    v = [x[0], x[1]]
    y = stop_gradient(v)
    v.append(1.0)
    return len(y) * x[0]


def list_comes_back(x, f):
    s = [1.0]
    again = f["itself"](s)
    s.append(2.0)
    return len(again) * np.sum(x)


def list_comes_back_and_grows(x, f):
    s = [1.0]
    again = f["itself"](s)
    again.append(2.0)
    return len(s) * np.sum(x)


def list_grows(x, f):
    s = [1.0]
    f["grow"](s)
    return len(s) * np.sum(x)


def root_writes_to_guess(x, f):
    guess = x.copy()

    def solve(g, x0):
        for _ in range(60):
            x0 -= g(x0) / 2.0
        return x0

    y = custom_root(lambda z: z - x * 0.5, guess, solve, lambda g, y: y / g(np.ones(3)))
    return np.sum(y) + guess[0] * 10.0


def solver_writes_to_right_side(x, f):
    b = x.copy()

    def solve(_, b):
        b /= 2.0
        return b

    y = custom_linear_solve(lambda z: 2.0 * z, b, solve, symmetric=True)
    return np.sum(y) + b[0] * 10.0


SHARED = [
    writes_to_argument, writes_to_one_of_two_names, result_is_written, argument_is_written, written_in_a_loop,
    results_share, stopped, stopped_then_written, stopped_list, list_comes_back, list_comes_back_and_grows, list_grows,
    root_writes_to_guess, solver_writes_to_right_side,
]  # fmt: skip


def grow(s):
    s.append(1.0)
    return s[0]


def functions(kind):
    return {f.__name__: KINDS[kind](f) for f in (writes, itself, part, either, twice, both, grow)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", SHARED)
def test_what_would_be_a_copy_is_refused(program, kind):
    f = functions(kind)
    wanted = program(X.copy(), f)
    try:
        found = value_and_grad(lambda x: program(x, f))(X.copy())[0]
    except UnsupportedError:
        return
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize("kind", KINDS)
def test_most_of_these_programs_cannot_be_had(kind):
    """Their value would be wrong otherwise: that they are refused is what is tested above."""
    f = functions(kind)
    with pytest.raises(UnsupportedError, match="writes to an array that it is given"):
        grad(lambda x: writes_to_argument(x, f))(X)
    with pytest.raises(UnsupportedError, match="under this name and another"):
        grad(lambda x: result_is_written(x, f))(X)


def fresh_result(x, f):
    w = f["itself"](x * 2.0)
    w[0] = 7.0
    return np.sum(w)


def new_name_for_the_result(x, f):
    for _ in range(3):
        x = f["itself"](x) * 1.5
        x[0] = 0.5
    return np.sum(x)


def read_only_results(x, f):
    a, b = f["twice"](x)
    c = f["part"](x)
    return np.sum(a * b) + np.sum(c)


def containers(x, f):
    d = f["itself"]({"a": x * 2.0, "b": [1.0, x[0]]})
    return np.sum(d["a"]) + d["b"][1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("program", [fresh_result, new_name_for_the_result, read_only_results, containers])
def test_what_is_the_functions_own_may_be_written(program, kind):
    f = functions(kind)
    value, _ = value_and_grad(lambda x: program(x, f))(X.copy())
    assert value == pytest.approx(program(X.copy(), f))


@dataclass
class Point:
    w: Any
    b: Any


def test_objects_are_held_constant():
    assert grad(lambda x: stop_gradient(Point(x * 2.0, 1.0)).w * x)(3.0) == 6.0

    def loss(x):
        with stop_gradient():
            p = Point(x * 2.0, 1.0)
            values = [x, 1.0]
            other = values
        other.append(5.0)
        return p.w * x + values[0] * len(values) * x

    assert loss(3.0) == value_and_grad(loss)(3.0)[0]
    assert grad(loss)(3.0) == 2.0 * 3.0 + 3.0 * 3.0
