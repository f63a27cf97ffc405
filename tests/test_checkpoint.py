"""`checkpoint`: the same bits from less memory, in functions and loops, in any nesting."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from adjit import (
    ArgumentError,
    UnsupportedError,
    checkpoint,
    grad,
    hessian,
    jacfwd,
    jit,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)
from adjit.ir.text import parse, to_text


def everything(iterable):
    return iterable


def small(iterable):
    return checkpoint(iterable, memory="1 MB")


HOW = [checkpoint, small]


def oscillator(x0, force, n, how):
    x = x0.copy()
    y = np.zeros(len(x0))
    energy = 0.0
    for t in how(range(n)):
        y[:] = x
        x[0] = np.sin(y[-1]) + 0.1 * force[t % len(force)]
        x[1:] = 0.9 * y[:-1] + 0.1 * y[1:] ** 2
        if t % 3 == 1:
            energy += x[0] * x[1]
    return np.sum(x * x) + energy


def backwards(x0, force, n, how):
    x = x0.copy()
    for t in how(range(n - 1, -1, -1)):
        x[t % len(x)] = np.cos(x[(t + 1) % len(x)]) * force[t % len(force)]
    return np.prod(x)


def stepped(x0, force, n, how):
    s = 0.3
    for t in how(range(3, n, 2)):
        s = np.sin(s + force[t % len(force)]) + t * 1e-3
    return s * np.sum(x0)


def over_an_array(x0, force, n, how):
    s, count = x0[0], 0
    for f in how(force):
        s = s * f + x0[1]
        count += 1
    return s * count


def with_numbers(x0, force, n, how):
    s = 0.2
    for k, f in enumerate(how(force)):
        s = np.tanh(s * f) + k
    for f, g in zip(how(force), x0, strict=False):
        s = s * f + g
    return s


def with_tape_inside(x0, force, n, how):
    s = 0.1
    for t in how(range(n)):
        y, k = s + 2.0, 0
        while abs(y * y - 2.0 - s * s) > 1e-10 and k < 50:
            y = 0.5 * (y + (2.0 + s * s) / y)
            k += 1
        for i in range(t % 4):
            s = s * 0.5 + np.sin(y) * force[i]
    return s + x0[0]


def loop_in_loop(x0, force, n, how):
    s = 0.1
    for i in how(range(n % 12)):
        r = s
        for j in how(range(i)):
            r = np.sin(r + force[j % len(force)]) * x0[i % len(x0)]
        s = s + r
    return s


PROGRAMS = [oscillator, backwards, stepped, over_an_array, with_numbers, with_tape_inside, loop_in_loop]
X0, FORCE = np.linspace(0.1, 0.9, 5), np.array([0.7, -0.2, 1.1])


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("how", HOW)
def test_same_bits(program, how):
    def kept(x0, force, n):
        return program(x0, force, n, everything)

    def computed_again(x0, force, n):
        return program(x0, force, n, how)

    first, second = (value_and_grad(f, argnums=(0, 1)) for f in (kept, computed_again))
    for n in (0, 1, 2, 5, 30, 200):
        x0, force = X0.copy(), FORCE.copy()
        value, slopes = first(x0, force, n)
        again, found = second(x0, force, n)
        assert again == value == pytest.approx(computed_again(x0.copy(), force, n), rel=1e-13)
        for a, b in zip(slopes, found, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(x0, X0)


@pytest.mark.daily(2)
@pytest.mark.parametrize("program", PROGRAMS)
def test_against_forward_mode(program):
    def computed_again(x0, force):
        return program(x0, force, 40, checkpoint)

    along = (np.cos(np.arange(5.0)), np.array([0.3, 0.1, -0.4]))
    _, slope = jvp(computed_again, (X0, FORCE), along)
    found = grad(computed_again, argnums=(0, 1))(X0, FORCE)
    assert sum(np.sum(a * b) for a, b in zip(found, along, strict=True)) == pytest.approx(slope, rel=1e-10)


@pytest.mark.slow
def test_second_derivatives():
    def kept(x):
        return oscillator(x, FORCE, 12, everything)

    def computed_again(x):
        return oscillator(x, FORCE, 12, checkpoint)

    wanted = hessian(kept)(X0)
    np.testing.assert_allclose(hessian(computed_again)(X0), wanted, rtol=1e-11, atol=1e-13)
    twice = grad(lambda x: np.sum(grad(computed_again)(x) * FORCE[0]))
    np.testing.assert_allclose(twice(X0), FORCE[0] * wanted.sum(axis=0), rtol=1e-10, atol=1e-12)


@checkpoint
def layer(w, x):
    for _ in range(3):
        x = np.tanh(w @ x)
    return x, {"sum": np.sum(x), "count": 3}


def test_a_function():
    w = np.random.default_rng(0).normal(size=(4, 4))

    def network(w, x, apply):
        total = 0.0
        for k in range(4):
            x, more = apply(w * (k + 1), x)
            total += more["sum"] * more["count"]
        return total + x[0]

    def kept(w, x):
        return network(w, x, layer.__wrapped__)

    def computed_again(w, x):
        return network(w, x, layer)

    x = np.arange(4.0) / 4
    assert computed_again(w, x) == pytest.approx(kept(w, x))
    for a, b in zip(grad(kept, (0, 1))(w, x), grad(computed_again, (0, 1))(w, x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-16)
    assert jit(computed_again)(w, x) == pytest.approx(kept(w, x))
    value, _ = vjp(layer, w, x)
    np.testing.assert_allclose(value[0], layer(w, x)[0])
    batch = vmap(grad(computed_again, 1), in_axes=(None, 0))(w, np.stack([x, 2 * x]))
    np.testing.assert_allclose(batch[1], grad(kept, 1)(w, 2 * x), rtol=1e-13)


def test_what_a_function_captures_is_differentiated():
    def loss(x, a):
        @checkpoint
        def inner(y):
            return np.sin(y * a)

        return inner(x) * inner(2.0 * x)

    def plain(x, a):
        return np.sin(x * a) * np.sin(2.0 * x * a)

    found, wanted = (grad(f, argnums=(0, 1))(0.4, 1.5) for f in (loss, plain))
    assert found == pytest.approx(wanted, rel=1e-14)


def test_an_argument_given_twice():
    @checkpoint
    def product(a, b):
        return a * np.sin(b)

    assert grad(lambda x: product(x, x) + x)(0.7) == pytest.approx(np.sin(0.7) + 0.7 * np.cos(0.7) + 1.0)


def test_nothing_inside_is_kept():
    def loss(x):
        for _ in checkpoint(range(1000)):
            x = np.sin(x) * np.exp(-x)
        return x

    f = grad(loss)
    f(0.5)
    text = f.ir("adjoint")
    assert text[: text.index("reverse(")].count("tape.push") == 1  # of the states at the starts of segments
    assert text.count("tape.new") == 2  # and of one segment: not of the elementary functions
    traced = f.ir("traced")
    assert "recompute=func" in traced and to_text(parse(traced)) == traced


def test_limits_are_checked_when_the_loop_runs():
    def loss(x, n):
        for _ in checkpoint(range(n), snapshots=30):
            x = np.sin(x)
        return x

    assert grad(loss)(0.5, 100) != 0.0
    with pytest.raises(ValueError, match="30 are allowed by checkpoint"):
        grad(loss)(0.5, 10**6)

    def state(x, n):
        for _ in checkpoint(range(n), memory=4000):
            x = np.sin(x)
        return np.sum(x)

    assert np.all(grad(state)(np.ones(10), 8) != 0.0)
    with pytest.raises(ValueError, match="4000 are allowed by checkpoint"):
        grad(state)(np.ones(1000), 8)


def test_plain_python_sees_nothing_of_it():
    assert list(checkpoint(range(3), memory="1MB")) == [0, 1, 2]
    assert layer.__name__ == "layer"
    with pytest.raises(ArgumentError, match="for loops"):
        checkpoint(layer, snapshots=3)


def left_early(x):
    for k in checkpoint(range(int(x) + 10)):
        x = x * 2.0
        if x > k:
            break
    return x


def not_a_size(x):
    for _ in checkpoint(range(10), memory="much"):
        x = x * 2.0
    return x


def not_a_number(x):
    for _ in checkpoint(range(10), snapshots=0):
        x = x * 2.0
    return x


@pytest.mark.parametrize(
    ("function", "says"), [(left_early, "left by `break`"), (not_a_size, "memory="), (not_a_number, "snapshots=")]
)
def test_refusals(function, says):
    with pytest.raises(UnsupportedError, match=says):
        grad(function)(0.5)


MEASURE = """
import resource
import numpy as np
from adjit import checkpoint, grad

def loss(x, n):
    x = x.copy()
    for _ in checkpoint(range(n), memory="4MB"):
        x[1:] = 0.999 * x[:-1] + 0.001 * x[1:] ** 2
        x[0] = np.sin(x[-1])
    return np.sum(x)

f = grad(loss)
x = np.linspace(0.0, 1.0, 100)
f(x, 10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
f(x, 200_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is in kilobytes on Linux only")
def test_memory_stays_within_its_budget(tmp_path):
    """All states would be 160 MB."""
    script = tmp_path / "measure.py"
    script.write_text(MEASURE)
    found = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True, timeout=300)
    assert int(found.stdout) < 4_500


def not_taken(x, c):
    y = c(np.sqrt)(x)
    return y if x > 0.0 else x


def not_taken_outside(x, c):
    y = np.sqrt(x)
    z = c(lambda y: y * 3.0)(y)
    return z if x > 0.0 else x


def other_lane(x, c):
    v = np.stack((x, x + 1.0))
    return np.sum(np.where(v > 0.0, c(np.sqrt)(v), v))


def other_lane_outside(x, c):
    v = np.stack((x, x + 1.0))
    r = np.sqrt(v)
    z = c(lambda k: k * r)(2.0 * x)
    return np.sum(np.where(v > 0.0, z, v))


def other_result(x, c):
    _, b = c(lambda x: (np.sqrt(x), 2.0 * x))(x)
    return b


def larger(x, c):
    return np.maximum(c(lambda x: -np.sqrt(x) - 1.0)(x), x)


def no_turn(x, c):
    s = np.sqrt(x)
    for _ in c(range(int(x))):
        s = s * 0.5
    return x if x <= 0.0 else s


def not_read_after_the_loop(x, c):
    s = q = x
    for _ in c(range(4)):
        q = np.sqrt(s)
        s = s * 0.5
    return s if x <= 0.0 else q + s


def beside_a_constant(x, c):
    a, b = c(lambda x, k: (2.0 * x, 3.0 * k))(x, 0.0)
    return a + np.sqrt(b) + c(lambda x, k: x + np.sqrt(k))(x, b)


@pytest.mark.parametrize(
    "program",
    [
        not_taken, not_taken_outside, other_lane, other_lane_outside, other_result, larger, no_turn,
        not_read_after_the_loop, beside_a_constant,
    ],
)  # fmt: skip
def test_zeros_by_structure_stay_zero(program):
    """The infinite slope of a root at 0 that nothing depends on."""
    for how in (grad, jacfwd):
        wanted = how(lambda x: program(x, everything))(0.0)
        assert np.isfinite(wanted)
        assert how(lambda x: program(x, checkpoint))(0.0) == wanted
