"""What users call: transforms, structures of arguments, captures, specializations, the cache, what is kept."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import adjit
from adjit import grad, jit, stop_gradient, value_and_grad, vjp
from adjit.codegen.build import stats
from adjit.ir.core import walk
from adjit.ir.text import parse

# ---------------------------------------------------------------- transforms and argnums


def weighted(x, y, k=2.0):
    return np.sum(x * x * y) * k


X, Y = np.array([1.0, -2.0, 0.5]), np.array([3.0, 0.25, -1.0])


def test_argnums() -> None:
    np.testing.assert_allclose(grad(weighted)(X, Y), 4 * X * Y)
    np.testing.assert_allclose(grad(weighted, argnums=1)(X, Y), 2 * X * X)
    gx, gy = grad(weighted, argnums=(0, 1))(X, Y, k=1.0)
    np.testing.assert_allclose(gx, 2 * X * Y)
    np.testing.assert_allclose(gy, X * X)
    assert isinstance(grad(weighted, argnums=2)(X, Y, 3.0), float)
    assert grad(weighted, argnums=-1)(X, Y, 3.0) == pytest.approx(np.sum(X * X * Y))


def test_decorators_with_and_without_arguments() -> None:
    @grad
    def f(x):
        return x * x

    @grad(argnums=1)
    def g(x, y):
        return x * y

    @value_and_grad(has_aux=True)
    def h(x):
        return x * x, {"twice": 2 * x, "name": "h"}

    assert f(3.0) == 6.0
    assert g(3.0, 4.0) == 3.0
    assert h(3.0) == ((9.0, {"twice": 6.0, "name": "h"}), 6.0)
    assert f.__name__ == "f" and f.__wrapped__(3.0) == 9.0


def test_has_aux_of_grad_gives_the_pair_of_gradient_and_aux() -> None:
    gradient, aux = grad(lambda x: (np.sum(x**2), x + 1), has_aux=True)(X)
    np.testing.assert_allclose(gradient, 2 * X)
    np.testing.assert_allclose(aux, X + 1)


def test_arguments_are_not_changed_and_jit_changes_what_python_would() -> None:
    def f(a):
        a[0] = a[1] * 2
        a += 1
        return np.sum(a * a)

    a, b = X.copy(), X.copy()
    value, gradient = value_and_grad(f)(a)
    np.testing.assert_array_equal(a, X)
    compiled = jit(f)
    assert value == compiled(a) == f(b)
    text = compiled.ir("optimized")
    assert "donated=" in text and str(parse(text)) == text
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(gradient, [0.0, 4 * (2 * X[1] + 1) + 2 * (X[1] + 1), 2 * (X[2] + 1)])


def test_calling_twice_gives_the_same_bits() -> None:
    f = value_and_grad(lambda x: np.sum(np.exp(np.sin(x)) / (1 + x * x)))
    x = np.linspace(-3, 3, 1001)
    (v1, g1), (v2, g2) = f(x), f(x)
    assert v1 == v2
    np.testing.assert_array_equal(g1, g2)


# ---------------------------------------------------------------- structures


class Point(NamedTuple):
    x: float
    y: np.ndarray[Any, Any]


@dataclasses.dataclass
class Layer:
    w: np.ndarray[Any, Any]
    b: float
    kind: str = "tanh"


def test_pytrees_of_arguments() -> None:
    def f(p):
        return p["a"] * np.sum(p["point"].y) * p["list"][1] + p["point"].x ** 2

    p = {"a": 2.0, "point": Point(3.0, X), "list": [1.0, (4.0)]}
    with pytest.warns(adjit.UnreachedArgumentWarning, match=r"argument 0 \(`p`\)\['list'\]\[0\]"):
        g = grad(f)(p)
    assert g["a"] == pytest.approx(4 * X.sum()) and g["list"] == [0.0, pytest.approx(2 * X.sum())]
    assert type(g["point"]) is Point and g["point"].x == 6.0
    np.testing.assert_allclose(g["point"].y, np.full(3, 8.0))


def test_dataclasses_and_strings() -> None:
    def f(layer, x):
        z = np.sum(layer.w * x) + layer.b
        return np.tanh(z) if layer.kind == "tanh" else z

    with pytest.raises(adjit.ArgumentError, match="no derivative"):
        grad(f)(Layer(X, 0.5), Y)  # the string is part of the first argument
    np.testing.assert_allclose(grad(f, argnums=1)(Layer(X, 0.5, "linear"), Y), X)
    z = np.tanh(np.sum(X * Y) + 0.5)
    np.testing.assert_allclose(grad(f, argnums=1)(Layer(X, 0.5), Y), (1 - z * z) * X)


def test_methods_partials_and_lambdas() -> None:
    class Model:
        def __init__(self, w):
            self.w = w

        @grad
        def loss(self, x):
            return np.sum(self.w * x * x)

    m = Model(X)
    np.testing.assert_allclose(m.loss(Y), 2 * X * Y)
    m.w = Y  # attributes are read at each call
    np.testing.assert_allclose(m.loss(Y), 2 * Y * Y)
    other = Model(X)
    np.testing.assert_allclose(other.loss(Y), 2 * X * Y)
    np.testing.assert_allclose(grad(functools.partial(weighted, X))(Y), 2 * X * X)
    np.testing.assert_allclose(grad(lambda x: np.sum(x**3))(X), 3 * X**2)


def test_static_arguments() -> None:
    def f(x, axis, mode=None, power=2):
        s = np.sum(x**power, axis=axis)
        return np.sum(np.sqrt(s)) if mode == "root" else s[0]

    x = np.arange(1.0, 7.0).reshape(2, 3)
    g = grad(f, static_argnames=("axis", "power"))
    np.testing.assert_allclose(g(x, 0), [[2, 0, 0], [8, 0, 0]])
    np.testing.assert_allclose(g(x, 1), [[2, 4, 6], [0, 0, 0]])
    np.testing.assert_allclose(g(x, 0, "root"), x / np.sqrt(np.sum(x**2, 0)))
    np.testing.assert_allclose(g(x, 0, power=3), [[3, 0, 0], [48, 0, 0]])
    with pytest.raises(adjit.ArgumentError, match="no parameter 'axes'"):
        grad(f, static_argnames="axes")


# ---------------------------------------------------------------- specializations, captures, cache


def test_a_new_shape_does_not_compile_and_a_new_rank_does() -> None:
    f = grad(lambda x: np.sum(np.sin(x) * x))
    f(np.ones(3))
    before = stats.compiled + stats.loaded_from_cache
    for n in (2, 5, 100, 0):
        x = np.linspace(0, 1, n)
        np.testing.assert_allclose(f(x), np.cos(x) * x + np.sin(x), rtol=1e-14)
    assert stats.compiled + stats.loaded_from_cache == before
    f(np.ones((2, 3)))
    assert stats.compiled + stats.loaded_from_cache == before + 1


SCALE = 2.0
TABLE = np.array([1.0, 2.0, 3.0])
COUNT = 3


def test_captured_values_are_read_at_each_call() -> None:
    global SCALE, TABLE, COUNT
    local = np.array([1.0, 1.0, 1.0])

    def f(x):
        for _ in range(COUNT):
            x = x * SCALE
        return np.sum(x * TABLE * local)

    g = grad(f)
    np.testing.assert_allclose(g(X), 8 * TABLE)
    SCALE = 3.0
    np.testing.assert_allclose(g(X), 27 * TABLE)
    TABLE = TABLE + 1
    np.testing.assert_allclose(g(X), 27 * TABLE)
    local[1] = 5.0
    np.testing.assert_allclose(g(X), 27 * TABLE * local)
    COUNT = 1
    np.testing.assert_allclose(g(X), 3 * TABLE * local)
    SCALE, TABLE, COUNT = 2.0, np.array([1.0, 2.0, 3.0]), 3


PROGRAM = """
import numpy as np
from adjit import grad
from adjit.codegen.build import stats

def f(x):
    s = 0.0
    for i in range(len(x)):
        s = s * x[i] + np.sin(x[i])
    return s

print(grad(f)(np.array([0.5, 1.5, 2.5])).tolist())
print(stats.compiled, stats.loaded_from_cache)
"""


def test_a_second_process_starts_from_the_cache(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "ADJIT_CACHE_DIR": str(tmp_path / "cache")}
    environment.pop("ADJIT_DISABLE_JIT", None)
    runs = [
        subprocess.run([sys.executable, str(program)], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    (first, counts), (second, again) = (r.stdout.splitlines() for r in runs)
    assert first == second
    assert (counts, again) == ("1 0", "0 1")


def test_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    before = stats.compiled + stats.loaded_from_cache
    f = value_and_grad(lambda x: np.sum(x * np.exp(x)))
    value, gradient = f(X)
    assert value == pytest.approx(np.sum(X * np.exp(X)))
    np.testing.assert_allclose(gradient, np.exp(X) * (1 + X))
    seen = []
    jit(lambda x: seen.append(x))(3)  # plain Python
    assert seen == [3]
    assert stats.compiled + stats.loaded_from_cache == before


def test_compile_warms_up() -> None:
    f = grad(lambda x: np.cos(x) * x).compile(1.0)
    before = stats.compiled + stats.loaded_from_cache
    assert f(0.5) == pytest.approx(np.cos(0.5) - 0.5 * np.sin(0.5))
    assert stats.compiled + stats.loaded_from_cache == before
    for stage in ("traced", "optimized", "adjoint", "scheduled"):
        assert f.ir(stage).startswith("func @")
    assert "def " in f.source() and "define" in f.llvm() and len(f.asm()) > 100


# ---------------------------------------------------------------- vjp


def test_pullbacks_are_independent_and_reusable() -> None:
    def f(x, n):
        for _ in range(n):
            x = np.sin(x) * x
        return x, np.sum(x)

    (y1, s1), first = vjp(f, X, 2)
    (y2, s2), second = vjp(f, Y, 3)
    one = first((np.ones(3), 0.0))
    two = second((np.zeros(3), 2.0))
    np.testing.assert_array_equal(first((np.ones(3), 0.0))[0], one[0])
    np.testing.assert_allclose(one[0], grad(lambda x: np.sum(f(x, 2)[0]))(X), rtol=1e-14)
    np.testing.assert_allclose(two[0], 2 * grad(lambda x: f(x, 3)[1])(Y), rtol=1e-14)
    assert one[1] is None and s1 == pytest.approx(y1.sum()) and s2 == pytest.approx(y2.sum())
    with pytest.raises(adjit.ArgumentError, match="shape"):
        first((np.ones(4), 0.0))


def test_stop_gradient() -> None:
    u = X * X
    np.testing.assert_allclose(grad(lambda x: np.sum(stop_gradient(x * x) * x))(X), u)
    assert stop_gradient(3.0) == 3.0


# ---------------------------------------------------------------- NumPy's types


def test_dtypes_follow_numpy() -> None:
    x = np.array([1.5, -0.5], np.float32)
    value, gradient = value_and_grad(lambda x: np.sum(x * 2.5 * x))(x)
    assert gradient.dtype == np.float32 and type(value) is np.float32
    assert type(grad(lambda x: x * x)(np.float32(1.5))) is np.float32
    assert type(jit(lambda x: x + 1)(2)) is int
    assert type(jit(np.mean)(X)) is np.float64


@pytest.mark.parametrize("make", [np.asfortranarray, lambda a: a[::-1, ::2], lambda a: a.T], ids=["F", "strided", "T"])
def test_layouts(make: Any) -> None:
    a = make(np.arange(1.0, 13.0).reshape(3, 4))
    a.flags.writeable = False
    np.testing.assert_allclose(grad(lambda a: np.sum(np.log(a) * a))(a), np.log(a) + 1, rtol=1e-14)


# ---------------------------------------------------------------- what is kept


def lu(a):
    for i in range(a.shape[0]):
        for j in range(i):
            a[i, j] -= a[i, :j] @ a[:j, j]
            a[i, j] /= a[j, j]
        for j in range(i, a.shape[0]):
            a[i, j] -= a[i, :i] @ a[:i, j]


def pushes(f: Any) -> int:
    return sum(op.name == "tape.push" for op in walk(f.ir_function("adjoint").body))


def test_lu_keeps_nothing_but_a_working_copy() -> None:
    def loss(a):
        lu(a)
        return np.sum(a * a)

    f = value_and_grad(loss)
    n = 60
    a = np.random.default_rng(0).normal(size=(n, n)) + n * np.eye(n)
    _, gradient = f(a)
    step = np.random.default_rng(1).normal(size=(n, n))
    plus, minus = (jit(loss)(a + h * step) for h in (1e-6, -1e-6))
    assert np.sum(gradient * step) == pytest.approx((plus - minus) / 2e-6, rel=1e-6)
    assert pushes(f) == 0


def test_recurrences_keep_what_they_must() -> None:
    def quadratic(x, c, n):
        for _ in range(n):
            x = x * x + c
        return x

    def linear(x, c, n):
        for _ in range(n):
            x = 0.5 * x + c
        return x

    def stencil(u, n):
        for _ in range(n):
            u[1:-1, 1:-1] += 0.1 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1])
        return np.sum(u * u)

    q = grad(quadratic).compile(0.3, 0.1, 10)
    assert q.explain() == q.explain() and "8 bytes" in q.explain() and pushes(q) == 1
    assert pushes(grad(linear).compile(0.3, 0.1, 10)) == 0
    assert pushes(grad(stencil).compile(np.ones((5, 5)), 3)) == 0
