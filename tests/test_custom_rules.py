"""`custom_vjp` and `custom_jvp`: the rule is what counts, everywhere, to any order; wrong rules are refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjit import (
    ArgumentError,
    ShapeError,
    UnsupportedError,
    custom_jvp,
    custom_vjp,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    value_and_grad,
    vjp,
    vmap,
)
from adjit.ir.text import parse, to_text

X = np.array([0.3, -1.2, 2.5])
SCALE = np.array([1.0, 2.0, 3.0])


@custom_vjp
def times_seven(x):
    return x * x


times_seven.defvjp(lambda x: (x * x, x), lambda x, dy: (7.0 * x * dy,))


@custom_jvp
def softplus(x):
    return np.log1p(np.exp(x))


@softplus.defjvp
def softplus_rule(primals, tangents):
    (x,), (dx,) = primals, tangents
    return softplus(x), dx / (1.0 + np.exp(-x))


@custom_vjp
def exponential(x):
    return np.exp(x)


def exponential_forward(x):
    y = exponential(x)
    return y, y


exponential.defvjp(exponential_forward, lambda y, dy: (dy * y,))


@custom_vjp
def scaled(x, power, n):
    for _ in range(n):
        x = np.sin(x) * SCALE
    return {"y": x, "n": n}, np.sum(x) ** power


def scaled_forward(x, power, n):
    return scaled(x, power, n), (x, power, n)


def scaled_backward(kept, cotangents):
    x, power, n = kept
    first, second = cotangents
    return first["y"] * x * SCALE * n, second * power, None


scaled.defvjp(scaled_forward, scaled_backward)


@pytest.mark.parametrize("x", [3.0, X])
def test_reverse_rule(x):
    def loss(x):
        return np.sum(np.cos(times_seven(2.0 * x)))

    assert loss(x) == pytest.approx(np.sum(np.cos(4 * x * x)))  # plain Python calls the function
    value, slope = value_and_grad(loss)(x)
    assert value == pytest.approx(loss(x))
    np.testing.assert_allclose(slope, -np.sin(4 * x * x) * 7.0 * 2 * x * 2, rtol=1e-14)


def test_rule_of_structures_inside_control_flow():
    def loss(x, power):
        total = 0.0
        for k in range(3):
            if k != 1:
                parts, extra = scaled(x * k, power, k + 1)
                total += np.sum(parts["y"]) * parts["n"] + 10.0 * extra
        return total

    slope, of_power = grad(loss, argnums=(0, 1))(X, 2.0)
    wanted = sum((k * X) * SCALE * (k + 1) * (k + 1) * k for k in (0, 2))
    np.testing.assert_allclose(slope, wanted, rtol=1e-14)
    assert of_power == pytest.approx(2 * 10.0 * 2.0)


def test_jvp_rule_serves_both_modes():
    sigmoid = 1 / (1 + np.exp(-X))
    np.testing.assert_allclose(grad(lambda x: np.sum(softplus(x)))(X), sigmoid, rtol=1e-14)
    np.testing.assert_allclose(jvp(softplus, (X,), (SCALE,))[1], sigmoid * SCALE, rtol=1e-14)
    np.testing.assert_allclose(jacfwd(softplus)(X), np.diag(sigmoid), rtol=1e-14)
    np.testing.assert_allclose(jacrev(softplus)(X), np.diag(sigmoid), rtol=1e-14)
    second = sigmoid * (1 - sigmoid)
    np.testing.assert_allclose(hessian(lambda x: np.sum(softplus(x)))(X), np.diag(second), rtol=1e-13)
    assert grad(softplus)(1000.0) == 1.0  # what the rule is for: without it, inf/inf


def test_higher_orders_use_the_rule_again():
    assert grad(grad(exponential))(0.5) == pytest.approx(np.exp(0.5))
    assert grad(grad(grad(exponential)))(0.5) == pytest.approx(np.exp(0.5))
    assert grad(grad(softplus))(1000.0) == 0.0
    assert grad(grad(times_seven))(2.0) == 7.0
    with pytest.raises(UnsupportedError, match="calls `exponential` itself"):
        grad(grad(grad(grad(grad(exponential)))))(0.5)


def test_one_rule_per_argument():
    @custom_jvp
    def product(x, y):
        return x * y

    product.defjvps(lambda dx, value, x, y: 2.0 * dx * y, None)
    assert grad(product, argnums=(0, 1))(3.0, 4.0) == (8.0, 0.0)
    assert jvp(product, (3.0, 4.0), (1.0, 1.0)) == (12.0, 8.0)


def test_arguments_that_are_not_differentiated():
    @custom_vjp
    def applied(f, x, power):
        return f(x) ** power

    def wrong(f, x, power):
        return applied(f, x, power), x

    applied = custom_vjp(applied.__wrapped__, nondiff_argnums=(0, 2))
    applied.defvjp(wrong, lambda f, power, x, dy: (dy * f(x) * power * 100.0,))
    assert grad(lambda x: applied(np.sin, x, 2))(0.5) == pytest.approx(np.sin(0.5) * 200.0)


def test_a_second_rule_is_refused_and_a_new_function_has_its_own():
    @custom_jvp
    def f(x):
        return x * x

    f.defjvp(lambda primals, tangents: (f(*primals), 2.0 * primals[0] * tangents[0]))

    def loss(x):
        return f(x)

    slope = grad(loss)
    assert slope(3.0) == 6.0
    for give in (f.defjvp, f.defjvps):
        with pytest.raises(ArgumentError, match="has a rule already"):
            give(lambda *_: 0.0)
    with pytest.raises(ArgumentError, match="has a rule already"):
        times_seven.defvjp(exponential_forward, exponential_forward)
    f = custom_jvp(f.__wrapped__)
    f.defjvp(lambda primals, tangents: (f(*primals), 20.0 * primals[0] * tangents[0]))
    assert slope(3.0) == 60.0


def test_methods():
    class Model:
        def __init__(self, k):
            self.k = k

        @custom_vjp
        def f(self, x):
            return self.k * x

    def forward(self, x):
        return self.f(x), self.k

    Model.f.defvjp(forward, lambda k, dy: (None, dy * k * 10.0))
    model = Model(3.0)
    assert model.f(2.0) == 6.0
    assert grad(lambda x: model.f(x))(2.0) == 30.0


def test_transforms_compose():
    np.testing.assert_allclose(vmap(grad(times_seven))(X), 7 * X)
    np.testing.assert_allclose(jit(times_seven)(X), X * X)
    value, back = vjp(times_seven, X)
    np.testing.assert_allclose(value, X * X)
    np.testing.assert_allclose(back(SCALE)[0], 7 * X * SCALE)
    np.testing.assert_allclose(grad(lambda x: np.sum(vmap(softplus)(x)))(X), 1 / (1 + np.exp(-X)))
    assert grad(lambda x: grad(times_seven)(x) ** 2)(3.0) == pytest.approx(2 * 21 * 7)


def test_a_rule_belongs_outside_of_traced_code():
    def loss(x):
        @custom_vjp
        def inner(y):
            return y * x

        return inner(2.0 * x)

    with pytest.raises(UnsupportedError, match="custom_vjp"):
        grad(loss)(3.0)


def test_text_round_trip():
    f = grad(lambda x: np.sum(softplus(times_seven(x)) * x))
    f(X)
    for stage in ("traced", "optimized", "adjoint"):
        text = f.ir(stage)
        assert to_text(parse(text)) == text
    assert " = custom " in f.ir("optimized") and " = custom " not in f.ir("adjoint")


def of(forward, backward):
    @custom_vjp
    def f(x, n):
        return x * n

    f.defvjp(forward, backward)
    return lambda x: np.sum(f(x, 2))


def plain(x, n):
    return x * n, x


WRONG: list[tuple[Any, type[Exception], str]] = [
    (of(plain, lambda x, dy: (dy,)), ArgumentError, "for 2 arguments"),
    (of(plain, lambda x, dy: dy), ArgumentError, "for 2 arguments"),
    (of(plain, lambda x, dy: (np.sum(dy), None)), ArgumentError, "a cotangent of argument 0"),
    (of(plain, lambda x, dy: ((dy, dy), None)), ArgumentError, "a cotangent of argument 0"),
    (of(plain, lambda x, dy: (dy[1:], None)), ShapeError, "another shape"),
    (of(lambda x, n: x * n, lambda x, dy: (dy, None)), ArgumentError, "forward rule"),
    (of(None, None), ArgumentError, "has no rule"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_rules_are_refused(case):
    loss, error, says = WRONG[case]
    with pytest.raises(error, match=says):
        grad(loss)(X)


def test_forward_mode_of_a_reverse_rule_is_refused():
    with pytest.raises(UnsupportedError, match="custom_vjp") as found:
        jvp(times_seven, (2.0,), (1.0,))
    assert "custom_jvp" in str(found.value)


SCRIPT = """
import numpy as np
from adjit import custom_jvp, grad
from adjit.codegen.build import stats

@custom_jvp
def softplus(x):
    return np.log1p(np.exp(x))

@softplus.defjvp
def rule(primals, tangents):
    (x,), (dx,) = primals, tangents
    return softplus(x), dx * FACTOR / (1.0 + np.exp(-x))

print(grad(lambda x: softplus(x))(0.0), stats.traces)
"""


@pytest.mark.slow
def test_a_changed_rule_is_noticed_by_the_cache(tmp_path: Path) -> None:
    def run(factor: str) -> list[str]:
        script = tmp_path / "script.py"
        script.write_text(SCRIPT.replace("FACTOR", factor))
        environment = dict(os.environ, ADJIT_CACHE_DIR=str(tmp_path / "cache"))
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        return done.stdout.split()

    assert run("1.0")[0] == "0.5"
    assert run("1.0")[0] == "0.5"
    assert run("3.0")[0] == "1.5"
