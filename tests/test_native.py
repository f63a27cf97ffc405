"""`f.njit`: compiled functions inside users' own `@njit` code."""

import dataclasses
import gc
import os
import pickle
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba.core.errors import TypingError

from adjit import (
    ArgumentError,
    BoundsError,
    ShapeError,
    grad,
    hessian,
    hvp,
    jacobian,
    jit,
    jvp,
    value_and_grad,
    vmap,
)
from adjit.api.native import NativeFunction

X = np.linspace(0.1, 1.0, 5)


@value_and_grad
def wave(x, p):
    s = 0.0
    for i in range(x.size):
        s += np.sin(x[i] * p)
    return s


@jit
def at(x, i):
    return x[i]


wave_native, at_native = wave.njit, at.njit


@numba.njit
def through(f, *args):
    return f(*args)


def same(found, expected):
    """Equal values, and equal dtypes where they are arrays."""
    if isinstance(expected, tuple):
        assert isinstance(found, tuple) and len(found) == len(expected)
        for a, b in zip(found, expected, strict=True):
            same(a, b)
        return
    np.testing.assert_array_equal(found, expected)
    assert np.shape(found) == np.shape(expected)
    if isinstance(found, np.ndarray):  # Numba makes Python's own numbers of numbers
        assert found.dtype == expected.dtype


def agrees(compiled, *args):
    """The call in @njit code gives what the call from Python gives, flat."""
    native = compiled.njit
    same(through(native, *args), native(*args))


# ---------------------------------------------------------------- values


def test_as_a_global_a_closure_variable_and_an_argument():
    inner = wave.njit

    @numba.njit
    def by_global(x, p):
        value, gradient = wave_native(x, p)
        return value, gradient

    @numba.njit
    def by_closure(x, p):
        return inner(x, p)

    expected = wave(X, 2.0)
    for found in (by_global(X, 2.0), by_closure(X, 2.0), through(wave_native, X, 2.0)):
        same(found, expected)
    (signature,) = by_global.nopython_signatures
    assert str(signature.return_type) == "Tuple(float64, array(float64, 1d, C))"


@pytest.mark.slow
def test_derivatives_of_all_kinds():
    def f(x):
        return np.sum(np.sin(x) * x)

    def elementwise(x):
        return x * np.exp(x)

    for compiled in (jit(f), grad(f), value_and_grad(f), hessian(f), jacobian(elementwise), jit(elementwise)):
        agrees(compiled, X)
    agrees(grad(grad(lambda x: x * x * x)), 2.0)
    agrees(vmap(lambda x: x * x), X)
    agrees(jit(lambda x, v: jvp(f, (x,), (v,))), X, X[::-1].copy())
    agrees(jit(lambda x, v: hvp(f, (x,), (v,))), X, X)


def test_results_are_flat():
    def pair(x, y):
        return {"b": x * y, "a": (x + y, np.sum(x))}, 3

    agrees(jit(pair), X, 2.0)
    assert len(through(jit(pair).njit, X, 2.0)) == 4
    agrees(grad(lambda x, y: (np.sum(x * y), {"n": x.size, "s": np.sum(x)}), argnums=(1, 0), has_aux=True), X, 2.0)
    agrees(value_and_grad(lambda x: (np.sum(x * x), x + 1), has_aux=True), X)


def test_a_result_twice_and_constants():
    agrees(jit(lambda x: (x, x * 2, x)), X)
    agrees(jit(lambda x: (x, float("inf"), -2, True)), X)
    agrees(jit(lambda x: 1.5), X)


@pytest.mark.daily(2)
@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i4", "u1", "?"])
def test_dtypes(dtype):
    def f(x, s):
        return x, x * s, s

    x = np.array([0, 1, 1]).astype(dtype)
    native = jit(f).njit

    @numba.njit
    def user(x):
        return native(x, x[1])

    same(user(x), jit(f)(x, x[1]))
    assert str(user.nopython_signatures[0].return_type[2]) == str(numba.from_dtype(x.dtype))


def test_python_numbers_are_weak():
    x = np.ones(3, np.float32)
    found = through(jit(lambda x, s, n: x * s + n).njit, x, 0.5, 3)
    assert found.dtype == np.float32
    agrees(grad(lambda x, s: np.sum(x * s)), x, 0.5)


@pytest.mark.daily(1)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_layouts(rank):
    def f(x, w):
        return np.sum(np.sin(x) * w)

    base = np.random.default_rng(rank).normal(size=(6,) * rank)
    strided = base[tuple(slice(None, None, 2) for _ in range(rank))]
    backwards = base[tuple(slice(None, None, -2) for _ in range(rank))]
    for k, x in enumerate((strided.copy(), np.asfortranarray(strided), strided, backwards)):
        for j, w in enumerate((strided.copy(), np.asfortranarray(backwards), backwards)):
            if rank == 2 or k % 3 == j:  # matrices in all combinations, else each layout of either
                agrees(grad(f, argnums=(0, 1)), x, w)


def test_read_only_arrays_and_empty_ones():
    x = X.copy()
    x.flags.writeable = False
    agrees(wave, x, 2.0)
    agrees(wave, X[:0], 2.0)


class Point(NamedTuple):
    a: float
    b: np.ndarray


def test_tuples_as_arguments():
    def f(pair, k):
        (a, b), c = pair
        return np.sum(a * b) * c * k

    agrees(grad(f), ((2.0, X), 3.0), 2)
    agrees(value_and_grad(lambda p: p.a * np.sum(p.b)), Point(2.0, X))
    agrees(jit(lambda t: t[0] + t[1]), (1.0, 2.0))


@dataclasses.dataclass
class Model:
    w: np.ndarray
    power: float


def test_like_an_example():
    def f(params, model, kind, n, scale=1.0):
        total = np.sum(params["w"] * model.w) * params["b"] ** model.power * scale
        return total if kind == "plain" else np.exp(total) * n

    g = value_and_grad(f, static_argnames="n")
    params, model = {"w": X, "b": 1.5}, Model(X / 9, 2.0)
    native = g.njit.like(params, model, "exp", 3, scale=0.5)

    @numba.njit
    def user(b, w, v, p, s):
        return native(b, w, v, p, s)

    value, gradient = g(params, model, "exp", 3, scale=0.5)
    for found in (native(1.5, X, model.w, 2.0, 0.5), user(1.5, X, model.w, 2.0, 0.5)):
        same(found, (value, gradient["b"], gradient["w"]))
    with pytest.raises(TypingError, match="takes 5 numbers and arrays, not 1"):
        through(native, X)
    with pytest.raises(TypingError, match=r"\.njit\.like"):
        through(g.njit, X, 1.0, 2.0, 3)


@pytest.mark.slow
def test_extents_of_one():
    @grad
    def f(x, w):
        return np.sum(x * w)

    x, w = np.ones((3, 1)), np.arange(6.0).reshape(3, 2)
    with pytest.raises(ValueError, match="extent 1 of argument 0 is 1"):
        through(f.njit, x, w)
    native = f.njit.like(x, w)
    for a in (x, np.asfortranarray(x), np.ones((6, 1))[::2], np.ones((3, 4))[:, 1:2]):
        same(through(native, a, w), f(x, w))
    with pytest.raises(ValueError, match="extent 1 of argument 0 is not 1"):
        through(native, w, w)
    with pytest.raises(ValueError, match="extent 0 of argument 1 is 1"):
        through(native, x, np.ones((1, 2)))
    one = np.ones((1, 1))
    same(through(f.njit.like(one, one), np.ones((2, 2))[:1, 1:], one), f(one, one))


# ---------------------------------------------------------------- what is written


@pytest.mark.slow
def test_arguments_that_are_written_to():
    @jit
    def fill(x, y):
        x[:] = y
        x[0] = 7.0
        return np.sum(x)

    native = fill.njit

    @numba.njit
    def user(x, y):
        return native(x, y)

    x = np.zeros(5)
    assert user(x, X) == 7.0 + np.sum(X[1:])
    np.testing.assert_array_equal(x, [7.0, *X[1:]])
    base = np.arange(12.0)
    for a, b in ((base[:5], base[2:7]), (base[5::-1], base[:6]), (base[:5], base[:5])):
        with pytest.raises(ValueError, match="argument 0 is written to and may share memory with argument 1"):
            user(a, b)
    user(base[:5], base[5:10])
    np.testing.assert_array_equal(base[:5], [7.0, *base[6:10]])
    x.flags.writeable = False
    with pytest.raises(TypingError, match="argument 0 is written to"):
        user(x, X)


def test_results_are_nobody_elses():
    native = jit(lambda x: (x, x)).njit

    @numba.njit
    def user(x):
        a, b = native(x)
        a[0] = -1.0
        b[1] = -2.0
        return a, b

    x = X.copy()
    a, b = user(x)
    np.testing.assert_array_equal(x, X)
    assert a[0] == -1.0 and b[1] == -2.0


# ---------------------------------------------------------------- errors


def test_failed_checks_raise_as_from_python():
    with pytest.raises(BoundsError, match="index 7 is out of bounds for axis 0 with size 5") as caught:
        through(at_native, X, 7)
    assert caught.value.span is not None
    with pytest.raises(ShapeError):
        through(jit(lambda a, b: a + b).njit, X, X[:3])

    def positive(x):
        if x < 0:
            raise ValueError("negative")
        assert x < 10.0, "large"
        return x**0.5

    root = jit(positive).njit
    with pytest.raises(ValueError, match="negative"):
        through(root, -1.0)
    with pytest.raises(AssertionError, match="large"):
        through(root, 11.0)
    assert through(root, 4.0) == 2.0


def test_errors_can_be_caught_in_nopython_code():
    @numba.njit
    def guarded(x, i):
        try:
            return at_native(x, i)
        except Exception:
            return -1.0

    assert guarded(X, 99) == -1.0 and guarded(X, 0) == X[0]


def test_a_repeated_extent_by_chance_says_so():
    @jit
    def f(x, n):
        return x[:n] + x

    with pytest.raises(ShapeError, match="not repeated in @njit code"):
        through(f.njit, X, 1)


SCALE = 2.0
TABLE = np.ones(5)
COUNT = 3
OPTIONS = {"n": 2}


def helper(x):
    return np.sum(x * x)


def test_what_may_change_is_refused():
    def number(x):
        return x * SCALE

    def array(x):
        return x * TABLE

    def count(x):
        return x * COUNT

    def options(x):
        return x * OPTIONS["n"]

    local = 5

    def cell(x):
        return x * local

    for f in (number, array, count, options, cell):
        with pytest.raises(TypingError, match="pass it as an argument"):
            through(jit(f).njit, X)


def test_functions_modules_and_defaults_are_constant():
    def f(x, n=3, scale=2.0):
        for _ in range(n):
            x = x * scale
        return helper(x) + np.pi

    agrees(grad(f), X)
    agrees(grad(f), X, 2)


def test_what_has_no_native_form_is_refused():
    with pytest.raises(TypingError, match="numbers, arrays and tuples"):
        through(wave_native, "x", 2.0)
    with pytest.raises(TypingError, match="without axes"):
        through(wave_native, np.array(1.0), 2.0)
    with pytest.raises(TypingError, match="complex"):
        through(wave_native, X, 2j)
    with pytest.raises(TypingError, match="a gradient is of one float"):
        through(grad(lambda x: x * 2).njit, X)
    with pytest.raises(TypingError, match="no number"):
        through(jit(lambda x: (x, "text")).njit, X)

    @numba.njit
    def by_keyword(x):
        return wave_native(x, p=2.0)

    with pytest.raises(TypingError, match="by position"):
        by_keyword(X)


# ---------------------------------------------------------------- memory, threads, processes


def test_a_million_calls_do_not_leak():
    big = jit(lambda x: (np.sin(x), np.cos(x), x)).njit

    @numba.njit
    def loop(x, y, n):
        total = 0.0
        for _ in range(n):
            value, gradient = wave_native(x, 2.0)
            total += value + gradient[0]
        for _ in range(n // 1000):
            a, _b, c = big(y)
            total += a[0] + c[1]
        for _ in range(n // 100):
            try:
                total += at_native(x, 99)
            except Exception:
                total += 1.0
        return total

    y = np.ones(100_000)
    loop(X, y, 20_000)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loop(X, y, 1_000_000)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 8_000  # kilobytes; 1e6 results of 40 bytes or 1e3 of 800 kB would be far more


def test_results_outlive_the_function():
    def make():
        compiled = grad(lambda x: np.sum(x * x * x))
        native = compiled.njit

        @numba.njit
        def user(x):
            return native(x)

        return user(np.ones(100_000)), user

    first, user = make()
    gc.collect()
    np.testing.assert_array_equal(first, np.full(100_000, 3.0))
    np.testing.assert_array_equal(user(np.full(100_000, 2.0)), np.full(100_000, 12.0))


def test_from_several_threads_at_once():
    native = value_and_grad(lambda x, p: np.sum(np.sin(x * p))).njit

    @numba.njit(nogil=True)
    def user(x, p, n):
        out = 0.0
        for _ in range(n):
            value, gradient = native(x, p)
            out = value + np.sum(gradient)
        return out

    found = {}

    def work(k):
        found[k] = user(X, float(k), 2000)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in range(6):
        assert found[k] == user(X, float(k), 1)


SCRIPT = """
import sys
import numba, numpy as np
from adjit import value_and_grad
from adjit.codegen.build import stats

@value_and_grad
def f(x, p):
    return np.sum(np.sin(x * p))

native = f.njit

@numba.njit(cache=True)
def user(x, p):
    value, gradient = native(x, p)
    return value + gradient[1]

print(user(np.arange(4.0), 2.0), stats.compiled, stats.loaded_from_cache)
"""


def test_in_another_process_from_the_disk(tmp_path: Path):
    """The kernel is loaded; Numba's cache does not keep what points into a process."""
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    env = {**os.environ, "ADJIT_CACHE_DIR": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": str(tmp_path / "numba")}
    outputs = []
    for _ in range(2):
        done = subprocess.run([sys.executable, str(file)], env=env, capture_output=True, text=True, check=True)
        outputs.append(done.stdout.split())
    assert outputs[0] == [outputs[1][0], "1", "0"]
    assert outputs[1][1:] == ["0", "1"]


def test_pickling():
    again = pickle.loads(pickle.dumps(wave_native))
    assert isinstance(again, NativeFunction)
    same(through(again, X, 2.0), wave(X, 2.0))
    same(pickle.loads(pickle.dumps(wave.njit.like(np.ones(1), 1.0)))(np.ones(1), 2.0), wave(np.ones(1), 2.0))


def test_refusals_before_any_call():
    with pytest.raises(ArgumentError, match="debug_nans"):
        _ = grad(helper, debug_nans=True).njit
    with pytest.raises(ArgumentError, match="without axes"):
        wave.njit.like(X, np.array(2.0))
