"""`callback`: Python functions called from compiled programs, their derivatives, effects, errors, threads, caches."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjit
from adjit import (
    ArgumentError,
    ShapeError,
    TraceTypeError,
    UnsupportedError,
    callback,
    check_grads,
    checkpoint,
    custom_vjp,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    sparse_hessian,
    sparse_jacobian,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)
from adjit.ir.text import parse, to_text

X = np.array([0.3, -1.2, 2.5])
A = np.arange(9.0).reshape(3, 3) - 3.0
ROOT = Path(adjit.__file__).resolve().parent
log: list[Any] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    log.clear()


@callback(result=lambda x: x)
def cube(x):
    return np.power(x, 3)


@cube.defvjp
def cube_vjp(dy, y, x):
    return (3.0 * x * x * dy,)


@callback(result=lambda x: x)
def exponential(x):
    return np.exp(x)


@exponential.defvjp
def exponential_vjp(dy, y, x):
    return (y * dy,)  # through the result: its own derivative is this rule


@callback(result=lambda x: x)
def product(x):
    return A @ x


@product.defvjp(callback=True)
def product_vjp(dy, y, x):
    return (A.T @ dy,)


@product.defjvp(callback=True)
def product_jvp(dx, y, x):
    return A @ dx[0]


@callback(result=lambda x: x)
def tangent_only(x):
    return np.sin(x)


@tangent_only.defjvp
def tangent_only_jvp(dx, y, x):
    return np.cos(x) * dx[0]


@callback
def note(*args):
    log.append(args)


# ---------------------------------------------------------------- values


def test_arguments_arrive_as_python_would_pass_them() -> None:
    kinds: list[Any] = []
    look = callback(lambda *args, **named: kinds.append((args, named)))

    @jit
    def f(x, k, flag, single, d):
        look(x, k, flag, single, d, (k, "text", None), named=[x[0], 1.5])
        return x[0]

    f(X, 3, True, np.float32(0.5), {"a": 2.0, "b": X})
    ((x, k, flag, single, d, t), named) = kinds[0]
    assert np.array_equal(x, X) and type(x) is np.ndarray
    assert type(k) is int and k == 3 and flag is True
    assert type(single) is np.float32 and single == 0.5
    assert type(d["a"]) is float and np.array_equal(d["b"], X) and list(d) == ["a", "b"]
    assert t == (3, "text", None) and named == {"named": [0.3, 1.5]} and type(named["named"][0]) is np.float64


def test_what_is_kept_or_changed_by_the_function_is_its_own() -> None:
    kept: list[Any] = []

    @callback
    def keep(x):
        kept.append(x)
        x[0] = 99.0

    @jit
    def f(x):
        y = x * 2.0
        for k in range(3):
            y[k] = -1.0
            keep(y)
        return y

    assert np.array_equal(f(X), [-1.0, -1.0, -1.0])
    f(X)
    assert [list(x[1:]) for x in kept[:3]] == [[-2.4, 5.0], [-1.0, 5.0], [-1.0, -1.0]]
    assert all(x[0] == 99.0 for x in kept)


@pytest.mark.parametrize(
    ("result", "value"),
    [
        (0.0, 2.5),
        (float, 2.5),
        (0, 7),
        (True, False),
        (np.float32, np.float32(0.5)),
        (np.zeros((2, 1)), np.array([[1.0], [2.0]])),
        (np.zeros(3, np.int64), np.array([1, 2, 3])),
        (np.zeros(0), np.zeros(0)),
        ((0.0, {"a": np.zeros(2), "b": [1]}), (1.5, {"a": np.array([3.0, 4.0]), "b": [5]})),
    ],
)
def test_results_are_what_an_example_says(result, value) -> None:
    given = callback(lambda x: value, result=result)
    found = jit(lambda x: given(x))(1.0)
    assert repr(found) == repr(value) or np.array_equal(found, value)
    assert type(found) is type(value)


def test_the_shape_of_a_result_may_depend_on_arguments() -> None:
    ones = callback(np.ones, result=lambda n: np.zeros(n))
    f = jit(lambda n, x: np.sum(ones(n)) + np.sum(rows(x)))
    rows = callback(lambda x: x[:, :2] * 2.0, result=lambda x: x[:, :2])
    assert f(4, np.ones((3, 5))) == 4 + 12
    assert f(0, np.ones((1, 2))) == 4
    literal = callback(lambda x: (x, 3), result=lambda x: (x, 0))
    assert jit(lambda x: literal(x)[1])(1.0) == 3  # the example's number is an example


def test_broadcasting_sees_extents_of_one() -> None:
    column = callback(lambda x: x[:, None], result=lambda x: x[:, None])
    assert np.array_equal(jit(lambda x: column(x) * x)(X), X[:, None] * X)


def test_methods_closures_and_rebinding() -> None:
    class Model:
        def __init__(self, k: float) -> None:
            self.k = k

        @callback(result=lambda self, x: x)
        def scaled(self, x):
            return self.k * x

    model = Model(2.0)
    f = jit(lambda x: model.scaled(x))
    assert np.array_equal(f(X), 2.0 * X)
    model.k = 3.0
    assert np.array_equal(f(X), 3.0 * X)
    chosen = callback(lambda x: x + 1.0, result=0.0)
    g = jit(lambda x: chosen(x))
    assert g(1.0) == 2.0
    chosen = callback(lambda x: x + 2.0, result=0.0)
    assert g(1.0) == 3.0


def test_named_inside_of_a_traced_function() -> None:
    f = jit(lambda x: callback(np.sort, result=lambda x: x)(x) * 2.0)
    assert np.array_equal(f(X), np.sort(X) * 2.0)


def test_a_callback_may_call_compiled_functions() -> None:
    @callback(result=0.0)
    def below(n):
        return 1.0 if n < 1 else float(factorial(n - 1) * n)

    factorial = jit(lambda n: below(n) + 0.0)
    assert factorial(5.0) == 120.0


# ---------------------------------------------------------------- derivatives


def squares(x):
    return np.sum(cube(x) * x)  # x⁴


def test_a_traced_rule_serves_every_mode_and_order() -> None:
    assert np.allclose(grad(squares)(X), 4 * X**3, rtol=1e-14)
    assert np.allclose(hessian(squares)(X), np.diag(12 * X**2), rtol=1e-14)
    assert np.allclose(jacfwd(squares)(X), 4 * X**3, rtol=1e-14)
    assert np.allclose(hvp(squares, X, np.ones(3)), 12 * X**2, rtol=1e-14)
    third = grad(lambda x: np.sum(grad(lambda x: np.sum(grad(squares)(x)))(x)))
    assert np.allclose(third(X), 24 * X, rtol=1e-14)
    assert np.allclose(vmap(grad(squares))(np.stack([X, 2 * X])), [4 * X**3, 32 * X**3], rtol=1e-14)
    y, pullback = vjp(cube, X)
    assert np.allclose(pullback(X)[0], 3 * X**3) and np.allclose(y, X**3)
    assert np.allclose(linearize(cube, X)[1](X), 3 * X**3)
    assert np.allclose(sparse_jacobian(cube)(X).toarray(), np.diag(3 * X**2))
    assert np.allclose(sparse_hessian(squares)(X).toarray(), np.diag(12 * X**2))
    check_grads(squares, (X,), order=3)


def test_a_rule_may_use_the_result() -> None:
    f = lambda x: np.sum(exponential(2.0 * x))
    assert np.allclose(grad(f)(X), 2 * np.exp(2 * X), rtol=1e-14)
    assert np.allclose(hessian(f)(X), np.diag(4 * np.exp(2 * X)), rtol=1e-14)
    third = grad(lambda x: np.sum(grad(lambda x: np.sum(grad(f)(x)))(x)))
    assert np.allclose(third(X), 8 * np.exp(2 * X), rtol=1e-14)


def test_rules_called_by_python() -> None:
    for transform in (jacobian, jacfwd, jacrev, lambda f: lambda x: sparse_jacobian(f)(x).toarray()):
        assert np.allclose(transform(product)(X), A)
    assert np.allclose(value_and_grad(lambda x: np.sum(product(x) ** 2))(X)[1], 2 * A.T @ A @ X)
    assert np.allclose(vmap(grad(lambda x: np.sum(product(x) ** 2)))(A), 2 * A @ A.T @ A)
    with pytest.raises(UnsupportedError, match="vjp rule of the callback `product`, which Python computes") as caught:
        hessian(lambda x: np.sum(product(x) ** 2))(X)
    assert "test_callbacks.py" in str(caught.value) and "^^^" in str(caught.value)


def test_a_rule_for_tangents_is_transposed() -> None:
    f = lambda x: np.sum(tangent_only(x) ** 2)
    assert np.allclose(grad(f)(X), np.sin(2 * X), rtol=1e-14)
    assert np.allclose(jvp(f, (X,), (X,))[1], np.sum(np.sin(2 * X) * X), rtol=1e-14)
    assert np.allclose(hessian(f)(X), np.diag(2 * np.cos(2 * X)), rtol=1e-13, atol=1e-15)


def test_structures_integers_and_single_precision() -> None:
    @callback(result=lambda d, n: ({"s": 0.0, "n": n}, d["u"]))
    def mixed(d, n):
        return {"s": float(np.sum(d["u"]) * d["v"]), "n": n + 1}, d["u"] * n

    @mixed.defvjp
    def _(dy, y, d, n):
        ds, du = dy[0]["s"], dy[1]
        return {"u": ds * d["v"] + du * n, "v": ds * np.sum(d["u"])}, None

    def f(d, n):
        first, second = mixed(d, n)
        return first["s"] * first["n"] + np.sum(second**2)

    found = grad(f)({"u": X, "v": 2.0}, 3)
    assert np.allclose(found["u"], 8.0 + 18.0 * X) and np.isclose(found["v"], 4 * np.sum(X))
    single = X.astype(np.float32)
    assert grad(squares)(single).dtype == np.float32
    assert np.allclose(grad(squares)(single), 4 * X**3, rtol=1e-5)


def test_in_loops_and_branches() -> None:
    def f(x, n):
        s = 0.0
        for k in range(n):
            if x[k] > 0.0:
                s += np.sum(cube(x * s)) + k
            else:
                s += x[k]
        s = np.sin(s)
        while s < 50.0:
            s = cube(s) + 2.0
        return s

    def plain(x, n):
        s = 0.0
        for k in range(n):
            if x[k] > 0.0:
                s += np.sum((x * s) ** 3) + k
            else:
                s += x[k]
        s = np.sin(s)
        while s < 50.0:
            s = s**3 + 2.0
        return s

    value, slope = value_and_grad(f)(X, 3)
    expected = value_and_grad(plain)(X, 3)
    assert np.isclose(value, expected[0], rtol=1e-12) and np.allclose(slope, expected[1], rtol=1e-11)
    assert np.allclose(hessian(f)(X, 3), hessian(plain)(X, 3), rtol=1e-10)


def test_without_a_derivative_it_is_refused_where_it_stands() -> None:
    floor = callback(np.floor, result=lambda x: x)

    def f(x):
        return np.sum(floor(x) * x)

    assert jit(f)(X) == np.sum(np.floor(X) * X)
    for transform in (grad, jacfwd, hessian):
        with pytest.raises(UnsupportedError, match="the derivative of the callback `floor` is not known") as caught:
            transform(f)(X)
        assert "return np.sum(floor(x) * x)" in str(caught.value) and "^^^^^^^^" in str(caught.value)
    assert np.array_equal(grad(lambda x: np.sum(floor(stop_gradient(x)) * x))(X), np.floor(X))
    zero = callback(np.floor, result=lambda x: x, derivative="zero")
    assert np.array_equal(grad(lambda x: np.sum(zero(x) * x))(X), np.floor(X))
    assert np.array_equal(jacfwd(lambda x: zero(x) * x)(X), np.diag(np.floor(X)))

    @custom_vjp
    def rounded(x):
        return floor(x)

    rounded.defvjp(lambda x: (floor(x), None), lambda _, dy: (dy,))
    assert np.array_equal(grad(lambda x: np.sum(rounded(x)))(X), np.ones(3))


# ---------------------------------------------------------------- effects


def test_effects_happen_once_and_in_order() -> None:
    def f(x):
        s = 0.0
        for k in range(len(x)):
            note("turn", k)
            if x[k] > 0.0:
                note("positive", k, x[k])
            s += np.exp(x[k]) * s + x[k]
        note("end")
        return s

    f(X)
    expected = list(log)
    assert len(expected) == 6
    for transform in (jit, grad, value_and_grad, vmap):
        log.clear()
        transform(f)(X[None] if transform is vmap else X)
        assert log == expected, transform
    log.clear()
    _, pullback = vjp(f, X)
    pullback(1.0)
    pullback(2.0)
    assert log == expected
    for call in (lambda: jvp(f, (X,), (X,)), lambda: hvp(f, X, X)):
        log.clear()
        call()
        assert log == expected


def test_effects_with_results_are_never_removed_or_merged() -> None:
    @callback(result=0.0, effects=True, derivative="zero")
    def count(x):
        log.append(x)
        return float(len(log))

    f = jit(lambda x: count(x) + 10 * count(x) + 0.0 * count(2.0 * x))
    assert f(1.0) == 21.0 and log == [1.0, 1.0, 2.0]
    log.clear()
    pure = callback(lambda x: log.append(x) or x, result=0.0)
    assert jit(lambda x: pure(x) * 0.0 + 1.0 + 0 * len([pure(x)]))(2.0) == 1.0 and len(log) <= 2
    log.clear()
    assert jit(lambda x: (pure(3.0 * x), x)[1])(2.0) == 2.0 and log == []


def test_effects_before_an_error_have_happened() -> None:
    @jit
    def f(x, n):
        s = 0.0
        for k in range(n):
            note(k)
            s += x[k]
        return s

    with pytest.raises(IndexError):
        f(X, 5)
    assert log == [(0,), (1,), (2,), (3,)]


def test_effects_are_refused_where_they_would_be_repeated() -> None:
    def f(x):
        note(1)
        return np.sum(x * x)

    def nested(x):
        y, pullback = vjp(f, x)
        return pullback(y)[0]

    def steps(x, n):
        for _ in checkpoint(range(n)):
            note(1)
            x = x * x
        return np.sum(x)

    refused = [
        lambda: jacobian(f)(X),
        lambda: hessian(f)(X),
        lambda: sparse_hessian(f)(X),
        lambda: linearize(f, X)[1](X),
        lambda: jit(nested)(X),
        lambda: grad(lambda x: checkpoint(f)(x))(X),
        lambda: grad(steps)(X, 4),
    ]
    for call in refused:
        with pytest.raises(UnsupportedError, match="`note`, which has effects"):
            call()


def test_a_function_with_effects_is_not_started_again_to_repeat_extents_of_one() -> None:
    @jit
    def f(x, n):
        note(n)
        return x + np.zeros(n)

    assert f(X, 3).shape == (3,)
    with pytest.raises(ShapeError, match="callback with effects"):
        f(X, 1)
    assert log == [(3,), (1,)]


def test_print(capsys) -> None:
    @value_and_grad
    def f(x):
        print("start", x, sep=": ")
        s = 0.0
        for k in range(2):
            s += x[k] ** 2
            print(f"{k}: {s:.3f} {x[k]!r}", end=";")
        print()
        return s

    f(X)
    assert capsys.readouterr().out == f"start: {X}\n0: 0.090 {X[0]!r};1: 1.530 {X[1]!r};\n"


# ---------------------------------------------------------------- errors


def test_exceptions_are_the_users_own() -> None:
    class Mine(Exception):
        pass

    error = Mine("no")

    @callback(result=0.0)
    def fails(x):
        if x > 1.0:
            raise error
        return x

    def f(x):
        y = np.zeros(100_000)
        for k in range(3):
            y[k] = fails(x + k)
        return np.sum(y)

    for _ in range(3):
        with pytest.raises(Mine) as caught:
            jit(f)(0.0)
        assert caught.value is error
    assert "y[k] = fails(x + k)" in caught.value.__notes__[0] and "^^^^^^" in caught.value.__notes__[0]
    assert jit(f)(-5.0) == -12.0

    stop = callback(lambda x: (_ for _ in ()).throw(KeyboardInterrupt()), result=0.0)
    with pytest.raises(KeyboardInterrupt):
        jit(lambda x: stop(x))(1.0)


@pytest.mark.parametrize(
    ("result", "value", "error", "message"),
    [
        (np.zeros(3), np.zeros(2), ShapeError, r"an array of shape \(2,\): `result=` says \(3,\)"),
        (0.0, np.zeros(2), ShapeError, r"shape \(2,\): `result=` says \(\)"),
        (0, 1.5, ArgumentError, "`result=` says int64"),
        (0.0, None, ArgumentError, "returned a NoneType"),
        (0.0, 1j, ArgumentError, "complex128"),
        ((0.0, 0.0), (1.0,), ArgumentError, "a tuple of 2"),
        ({"a": 0.0}, {"b": 0.0}, ArgumentError, "a dict with the keys 'a'"),
        (0.0, "text", ArgumentError, "returned a str"),
    ],
)
def test_results_that_do_not_fit(result, value, error, message) -> None:
    wrong = callback(lambda x: value, result=result)
    with pytest.raises(error, match=message) as caught:
        jit(lambda x: wrong(x))(1.0)
    assert "help:" in str(caught.value) and "wrong(x)" in str(caught.value)


def test_refusals() -> None:
    def inner(x):
        def own(y):
            return y

        return callback(own, result=0.0)(x)

    with pytest.raises(UnsupportedError, match="made inside of a traced function"):
        jit(inner)(1.0)
    with pytest.raises(ArgumentError, match="gives the function"):
        jit(lambda x: cube(np.sin))(1.0)
    with pytest.raises(ArgumentError, match="neither a result nor effects"):
        nothing = callback(lambda x: None, result=lambda x: None)
        jit(lambda x: nothing(x))(1.0)
    with pytest.raises(TraceTypeError, match="cube: too many positional arguments"):
        jit(lambda x: cube(x, 2))(1.0)
    with pytest.raises(ArgumentError, match="derivative=None"):
        callback(np.sin, result=0.0, derivative=None)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="has a rule already"):
        cube.defvjp(lambda dy, y, x: (dy,))
    with pytest.raises(ArgumentError, match='derivative="zero"'):
        callback(np.floor, result=0.0, derivative="zero").defvjp(lambda dy, y, x: (dy,))
    with pytest.raises(ArgumentError, match="takes a function"):
        callback(3.0)
    with pytest.raises(ArgumentError, match="captures `note`"):
        jit(lambda x: (note(x), x)[1]).njit.resolve((1.0,))

    @callback(result=lambda x: x)
    def wave(x):
        return np.sin(x)

    wave.defvjp(lambda dy, y, x: dy)
    with pytest.raises(ArgumentError, match="the vjp rule of `wave` returns"):
        grad(lambda x: np.sum(wave(x)))(X)


def test_debug_nans_does_not_call_effects_again() -> None:
    def f(x):
        note(1)
        return np.log(x)

    with pytest.raises(FloatingPointError, match="callback with effects"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jit(f, debug_nans=True)(-1.0)
    assert log == [(1,)]


# ---------------------------------------------------------------- threads, processes, forms of a program


def test_several_threads_at_once() -> None:
    f = jit(lambda x: np.sum(cube(x)))
    wrong: list[Any] = []

    @callback(result=0.0)
    def fails(x):
        raise ValueError(x)

    g = jit(lambda x: fails(x))

    def work(k: int) -> None:
        x = X + k
        for _ in range(50):
            if not np.isclose(f(x), np.sum(x**3)):
                wrong.append(k)
            try:
                g(float(k))
            except ValueError as error:
                if error.args != (float(k),):
                    wrong.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_loops_with_callbacks_are_serial() -> None:
    @jit(parallel=True)
    def f(x):
        out = np.empty(len(x))
        for k in range(len(x)):
            out[k] = np.cos(x[k])
            if k % 1000 == 0:
                note(k)
        return out

    x = np.linspace(0.0, 1.0, 5000)
    assert np.allclose(f(x), np.cos(x)) and log == [(0,), (1000,), (2000,), (3000,), (4000,)]


def test_pickling() -> None:
    assert pickle.loads(pickle.dumps(cube)) is cube
    f = pickle.loads(pickle.dumps(jit(cube)))
    assert np.array_equal(f(X), X**3)
    remade = pickle.loads(pickle.dumps(callback(np.sin, result=0.0, derivative="zero")))
    assert remade(0.5) == np.sin(0.5) and remade.derivative == "zero"


def test_the_program_is_text() -> None:
    f = grad(squares)
    f(X)
    for stage in ("traced", "optimized", "adjoint", "scheduled"):
        function = f.ir_function(stage)
        assert to_text(parse(to_text(function))) == to_text(function)
    assert "callback" in f.source() and "= callback %" in f.ir("optimized")


SCRIPT = """
import numpy as np
import adjit
from adjit import callback, grad, value_and_grad, hessian
from adjit.codegen.build import stats

@callback(result=lambda x: (x, 0.0))
def both(x):
    return np.sin(x), float(np.sum(x))

@both.defvjp
def _(dy, y, x):
    return (np.cos(x) * dy[0] + dy[1],)

@callback
def show(k, x, flag, single):
    print(k, x, flag, single)

@callback(result=np.zeros((2, 2), np.float32))
def table(x):
    return np.full((2, 2), x.sum(), np.float32)

def f(x):
    s = 0.0
    for k in range(len(x)):
        a, b = both(x * s)
        show(k, s, s > 1.0, np.float32(s))
        s += np.sum(a) * b + x[k]
    return s + np.sum(table(np.arange(3)))

x = np.array([0.5, 0.25, 2.0])
print(value_and_grad(f)(x))
try:
    value_and_grad(lambda x: both(x[::2])[0][7])(x)
except IndexError as error:
    print(type(error).__name__)
print("compiled", stats.compiled)
"""


def run_script(tmp_path: Path, cache: Path, **settings: str) -> str:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    path = os.pathsep.join(p for p in (str(ROOT.parent), os.environ.get("PYTHONPATH", "")) if p)
    environment = {**os.environ, "PYTHONPATH": path, "ADJIT_CACHE_DIR": str(cache), **settings}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_way_to_run_and_the_disk_cache(tmp_path) -> None:
    first = run_script(tmp_path, tmp_path / "cache")
    *lines, compiled = first.splitlines()
    assert int(compiled.split()[1]) > 0
    again = run_script(tmp_path, tmp_path / "cache").splitlines()
    assert again == [*lines, "compiled 0"]  # the machine code is another process's, the address is not
    numba = run_script(tmp_path, tmp_path / "other", ADJIT_BACKEND="numba").splitlines()
    assert numba[:-1] == lines
    interpreted = run_script(tmp_path, tmp_path / "third", ADJIT_DISABLE_JIT="1").splitlines()
    assert interpreted[:-1] == lines
