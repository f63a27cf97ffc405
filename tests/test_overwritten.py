"""Arrays that are written to in places above an infinite slope: zeros by structure stay zero in reverse mode."""

import random

import numpy as np
import pytest
from differential import check_program
from random_programs import load

from adjit import grad, hessian, jacfwd, jacrev, jit, jvp, vmap
from adjit.ir.adjoint.overwritten import overwritten
from adjit.ir.core import walk
from adjit.ir.text import parse
from adjit.ir.types import F64

ROOTS = np.array([0.0, 0.3, 0.7, 0.0, 1.2])
"""Slopes of `sqrt` are infinite at the first one and the fourth."""
ALL = np.array([0.2, 0.3, 0.7, 0.1, 1.2])


def read_in_part(x):
    y = np.sqrt(x)
    s = x[0] * x[3]
    for i in range(1, 3):
        y[i] = y[i] * y[2]
        s += y[i]
    return s


def made_in_a_loop(x):
    y = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        y[i] = np.sqrt(x[i])
    s = x[0]
    for i in range(1, x.shape[0]):
        if i != 3:
            s += y[i] * x[i - 1]
    return s


def overwritten_before_read(x):
    y = np.sqrt(x)
    y[0] = 1.0
    y[3] = x[2]
    for i in range(1, x.shape[0]):
        y[i] = y[i] * y[i - 1]
    return y.sum()


def overwritten_on_a_condition(x):
    y = np.sqrt(x)
    for i in range(x.shape[0]):
        if x[i] < 0.1:
            y[i] = 2.0 * x[i]
    return (y * x).sum()


def slices(x):
    y = np.sqrt(x)
    y[0:4:3] = x[0:2] * 3.0
    y[1:3] += y[3:5]
    return (y * y).sum()


def rows(x):
    y = np.zeros((3, x.shape[0]))
    for k in range(3):
        y[k] = np.sqrt(x * (k + 1.0))
    y[0, 0] = x[1]
    y[0, 3] = x[1]
    s = 0.0
    for k in range(2):
        for i in range(x.shape[0]):
            if x[i] > 0.1:
                s += y[k, i] * y[k + 1, i]
    return s + y[0, 0]


def until(x):
    y = np.sqrt(x)
    i, s = 0, 1.0
    while i < x.shape[0] and s < 50.0:
        y[i] = s if x[i] < 0.1 else y[i] * s
        s += y[i] ** 2
        i += 1
    return s


def other_roots(x):
    y = x**0.5 + np.cbrt(x)
    z = np.hypot(x, 0.0) ** 1.5
    for i in range(x.shape[0]):
        if x[i] < 0.1:
            y[i] = 0.0
            z[i] = x[i] * 3.0
    return (y * z).sum()


def chosen(x):
    y = np.sqrt(x)
    s = np.where(x > 0.1, y, 0.0).sum()
    for i in range(x.shape[0]):
        if x[i] > 0.1:
            s += y[i] * y[i] * x[i - 1]
    return s


PROGRAMS = [
    read_in_part, made_in_a_loop, overwritten_before_read, overwritten_on_a_condition, slices, rows, until, other_roots,
    chosen,
]  # fmt: skip


def along(function, x, u):
    """Second derivatives along u, forward over reverse and reverse over reverse."""
    slope = grad(function)

    def forward(x, u):
        return jvp(slope, (x,), (u,))[1]

    def inner(x, u):
        return (slope(x) * u).sum()

    return jit(forward)(x, u), grad(inner)(x, u)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", PROGRAMS)
def test_reverse_is_finite_where_forward_is(function):
    for x in (ROOTS, ALL):
        expected = jacfwd(function)(x.copy())
        assert np.isfinite(expected).all()
        assert np.allclose(grad(function)(x.copy()), expected, rtol=1e-12, atol=1e-14)
        assert np.allclose(jacrev(function)(x.copy()), expected, rtol=1e-12, atol=1e-14)
    both = vmap(grad(function))(np.stack([ROOTS, ALL]))
    assert np.allclose(both[0], grad(function)(ROOTS.copy())) and np.allclose(both[1], expected)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", PROGRAMS)
def test_second_derivatives_of_both_kinds(function):
    u = np.array([0.3, -1.1, 0.4, 0.9, -0.2])
    for x in (ROOTS, ALL):
        forward, reverse = along(function, x.copy(), u)
        assert np.isfinite(forward).all()
        assert np.allclose(forward, reverse, rtol=1e-11, atol=1e-12)
    assert np.allclose(hessian(function)(ALL.copy()) @ u, forward, rtol=1e-11, atol=1e-12)


def test_what_is_read_stays_loud():
    def everything(x):
        y = np.sqrt(x)
        for i in range(1, x.shape[0]):
            y[i] = y[i] + 0.5 * y[i - 1]
        return y[-1]

    slope = grad(everything)(ROOTS.copy())
    assert not np.isfinite(slope[[0, 3]]).any() and np.isfinite(slope[[1, 2, 4]]).all()


ROOTS_IN_A_LOOP = """
func @f(%x: f64[?]) -> f64 {
  %n: i64 = dim %x {axis=0}
  %z: f64[?] = fill 0.0, %n
  %r: f64[?] = for %j in (0, %n) (%l = %z) {
    %d: f64 = index %x, %j {spec="i"}
    %s: f64 = sqrt %d
    %m: f64[?] = update %l, %s, %j {spec="i"}
    yield %m
  }
"""
READ_ONCE = """
  %t: f64 = for %i in (0, %n) (%u = 0.0) {
    %p: f64 = index %r, %i {spec="i"}
    %q: f64 = add %u, %p
    yield %q
  }
  return %t
}
"""
READ_OFTEN = """
  %t: f64 = for %i in (0, %n) (%u = 0.0) {
    %w: f64 = for %k in (0, %n) (%v = %u) {
      %p: f64 = index %r, %k {spec="i"}
      %q: f64 = add %v, %p
      yield %q
    }
    yield %w
  }
  return %t
}
"""


@pytest.mark.parametrize("reads, kept", [(READ_ONCE, {"z", "l", "m", "r"}), (READ_OFTEN, set())])
def test_no_masks_where_they_are_more_work_than_the_slopes(reads, kept):
    """As on the diagonal of a Cholesky factor, whose elements are read again and again."""
    function = parse(ROOTS_IN_A_LOOP + reads)
    values = {v for op in walk(function.body) for v in (*op.results, *(a for r in op.regions for a in r.args))}
    assert {v.name for v in overwritten(function, {v for v in {*values, *function.args} if v.dtype is F64})} == kept


# ---------------------------------------------------------------- random programs


def expression(rng):
    place = rng.choice(["i", "i - 1", "0", "-1", "2"])
    return rng.choice(
        [f"y[{place}] * x[i]", f"y[{place}]", f"np.sin(y[{place}])", "x[i] * x[i - 1]", f"s * y[{place}]"]
    )


def statement(rng, indent):
    pad = "    " * indent
    place = rng.choice(["i", "i", "i - 1", "1", "-2"])
    kind = rng.randrange(7)
    if kind == 0:
        return [f"{pad}y[{place}] = {expression(rng)}"]
    if kind == 1:
        return [f"{pad}y[{place}] += 0.5 * {expression(rng)}"]
    if kind == 2:
        return [f"{pad}s = np.tanh(s + {expression(rng)})"]
    if kind == 3:
        return [f"{pad}y[{place}] = np.sqrt(x[{rng.choice(['i', '0', '-1'])}])"]
    if kind == 4:
        return [f"{pad}if x[i] < {rng.choice(['0.1', '0.5', 's'])}:", *statement(rng, indent + 1),
                f"{pad}else:", *statement(rng, indent + 1)]  # fmt: skip
    if kind == 5:
        return [f"{pad}if i % 2 == {rng.randrange(2)}:", *statement(rng, indent + 1)]
    return [f"{pad}y[{rng.choice(['0', '3'])}] = {rng.choice(['1.0', 's', 'x[1]', 'x[i]'])}"]


def program(seed):
    rng = random.Random(seed)
    lines = [
        "def program(x):",
        "    s = 0.1",
        f"    y = {rng.choice(['np.sqrt(x)', 'np.zeros(5)', 'np.sqrt(x) * 2.0'])}",
    ]
    for _ in range(rng.randint(1, 3)):
        lines.append(f"    for i in {rng.choice(['range(5)', 'range(1, 5)', 'range(4, -1, -1)'])}:")
        for _ in range(rng.randint(1, 3)):
            lines += statement(rng, 2)
        lines += rng.choice([[], ["    y[1:3] = x[2:4]"], ["    y[2:] *= s"], ["    y = y + x"]])
    return "\n".join(
        [*lines, f"    return s + {rng.choice(['y[1] * y[2]', 'y.sum()', 'y[4]', '(y[1:] * x[1:]).sum()'])}"]
    )


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", range(12))
def test_random_programs(seed):
    function = load(program(seed))
    for x in (ALL, ROOTS):
        forward = jacfwd(function)(x.copy())
        reverse = grad(function)(x.copy())
        known = np.isfinite(forward)
        assert np.allclose(reverse[known], forward[known], rtol=1e-11, atol=1e-13), program(seed)


def of_another_origin(x):
    """Whether the extents agree is seen when the loop runs."""
    a, b = np.ones(4), np.logaddexp(x, 0.2)
    for _ in range(3):
        if x[0] < 0.5:
            a[:] = b
        a[0] -= 0.3 * a[1]
    return np.sum(a)


def shorter_each_turn(x):
    y = np.sqrt(x)
    for i in range(2):
        y[0] = x[i]
        y = y[1:] * 2.0
    return y[-1] + y[0]


def longer_each_turn(x):
    y = np.sqrt(x[:2])
    for i in range(3):
        y[0] = 0.5
        y = np.append(y, x[i] * y[-1])
    return np.sum(y[1:])


def from_another_argument(x, z):
    for i in range(3):
        if x[i] > 0.1:
            x = z.copy()
        x[0] = 0.5 * x[1]
        x[i] *= np.sqrt(x[2])
    return np.sum(x)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [of_another_origin, shorter_each_turn, longer_each_turn])
@pytest.mark.parametrize("x", [np.array([0.3, 0.2, 0.7, 0.4]), np.array([0.9, 0.1, 0.6, 0.5])])
def test_extents_that_change_in_the_loop(function, x):
    found = grad(function)(x.copy())
    np.testing.assert_allclose(found, jacfwd(function)(x.copy()), rtol=1e-12)


def test_extents_of_two_arguments():
    x, z = np.array([0.05, 0.2, 0.7, 0.4]), np.array([0.9, 0.3, 0.6, 0.5])
    slopes = jacfwd(from_another_argument, argnums=(0, 1))(x, z)
    for found, expected in zip(grad(from_another_argument, argnums=(0, 1))(x, z), slopes, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def changing_shapes(x, a, b):
    w = a[1:3]
    for i in range(1, len(a)):
        for _ in w:
            w = 0.6 * a[1:3]
        b[1, 1] += x
        x *= np.where(a[i] <= 1.25, np.arctan2(w[i % 1], 1.3), b[2, i])
    return x


def test_masks_begin_outside_of_loops_in_which_extents_are_computed():
    """Arrays whose extents are asked of what a loop carries, inside of it."""
    rng = np.random.default_rng(4)
    check_program(changing_shapes, [(1.0, rng.standard_normal(4), rng.standard_normal((5, 5)))], (0, 1, 2))
