"""Leaves that correspond by name, not by position: dicts in any order of their keys, one value twice in a result,
values that are static, for `vjp`, custom rules and implicit derivatives."""

import dataclasses
import itertools

import numpy as np
import pytest

from adjit import (
    UnsupportedError,
    custom_jvp,
    custom_linear_solve,
    custom_root,
    custom_vjp,
    grad,
    hvp,
    jacfwd,
    jacrev,
    jit,
    jvp,
    linearize,
    vjp,
)

X = np.array([1.0, 2.0])
ONE, TWO = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def unsorted_keys(x):
    return {"b": x * 2.0, "a": x * 3.0, "c": (x[0], {"z": x, "k": x * x})}


def test_pullback_of_a_dict_takes_cotangents_by_key():
    y, pullback = vjp(unsorted_keys, X)
    assert list(y) == ["b", "a", "c"]
    zero = np.zeros(2)
    cotangent = {"b": ONE, "a": TWO, "c": (0.0, {"z": zero, "k": zero})}
    np.testing.assert_array_equal(pullback(cotangent)[0], [2.0, 3.0])
    np.testing.assert_array_equal(pullback(dict(reversed(cotangent.items())))[0], [2.0, 3.0])
    assert pullback({**cotangent, "c": (5.0, {"k": TWO, "z": zero})})[0].tolist() == [7.0, 7.0]


def test_pullback_of_a_dict_with_leaves_of_different_types():
    y, pullback = vjp(lambda x: {"x": x[0] * x[1], "n": 3, "a": x * 2.0, "name": "y"}, X)
    assert y["n"] == 3
    np.testing.assert_array_equal(pullback({**y, "x": 1.0, "a": np.zeros(2)})[0], [2.0, 1.0])


def test_pullback_of_a_value_that_comes_twice():
    def twice(x):
        y = x * 2.0
        return y, (y, x), 3.0

    _, pullback = vjp(twice, X)
    np.testing.assert_array_equal(pullback((ONE, (TWO * 10.0, ONE), 0.0))[0], [3.0, 20.0])
    _, pullback = vjp(lambda x: (x[0], x[0], x[1]), X)
    np.testing.assert_array_equal(pullback((1.0, 10.0, 100.0))[0], [11.0, 100.0])


def test_pullback_with_auxiliary_dict():
    def with_aux(x):
        return {"z": x * 2.0, "b": x * 3.0}, {"y": x, "a": 7.0}

    _, pullback, aux = vjp(with_aux, X, has_aux=True)
    assert list(aux) == ["y", "a"]
    np.testing.assert_array_equal(pullback({"z": ONE, "b": TWO})[0], [2.0, 3.0])


def test_pullback_inside_a_traced_function():
    def pulled(x):
        _, pullback = vjp(unsorted_keys, x)
        return pullback({"c": (0.0, {"k": x, "z": x}), "a": TWO, "b": ONE})[0]

    wanted = np.array([2.0, 3.0]) + X + 2.0 * X * X
    np.testing.assert_allclose(jit(pulled)(X), wanted)


def test_pullback_of_a_gradient_of_a_dict():
    def energy(p):
        return np.sum(p["x"] * p["x"] * p["m"][0]) * p["m"][1]

    p = {"x": X, "m": (np.array([3.0, 4.0]), 0.5)}
    along = {"m": (np.zeros(2), 0.0), "x": ONE}
    (found,) = vjp(lambda p: grad(energy)(p), p)[1](along)
    forward = hvp(energy, p, along)
    np.testing.assert_allclose(found["x"], forward["x"])
    np.testing.assert_allclose(found["x"], [3.0, 0.0])
    np.testing.assert_allclose(found["m"][0], forward["m"][0])
    np.testing.assert_allclose(found["m"][1], forward["m"][1])


@dataclasses.dataclass
class State:
    x: np.ndarray
    a: float


def test_tangents_by_key():
    def f(p):
        return p["b"] * 2.0 + p["a"] * 3.0

    p, v = {"b": X, "a": X}, {"a": TWO, "b": ONE}
    np.testing.assert_array_equal(jvp(f, (p,), (v,))[1], [2.0, 3.0])
    np.testing.assert_array_equal(linearize(f, p)[1](v), [2.0, 3.0])
    np.testing.assert_array_equal(jit(lambda x: jvp(f, ({"b": x, "a": x},), ({"a": TWO, "b": ONE},))[1])(X), [2.0, 3.0])
    y, pullback = vjp(lambda x: State(x * 2.0, x[1]), X)
    np.testing.assert_array_equal(pullback(State(ONE, 5.0))[0], [2.0, 5.0])
    assert isinstance(y, State)


def test_custom_rules_by_key():
    @custom_jvp
    def pair(x):
        return {"b": x * 2.0, "a": x * 3.0}

    @pair.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return {"b": x * 2.0, "a": x * 3.0}, {"a": dx * 30.0, "b": dx * 20.0}

    @custom_vjp
    def product(p):
        return {"b": p["y"] * 2.0, "a": p["x"] * 3.0}

    def forward(p):
        return product(p), ()

    def backward(_, given):
        return ({"x": given["a"] * 30.0, "y": given["b"] * 20.0},)

    product.defvjp(forward, backward)
    for f in (pair, lambda x: product({"y": x, "x": x})):
        np.testing.assert_array_equal(vjp(f, X)[1]({"b": ONE, "a": TWO})[0], [20.0, 30.0])
        np.testing.assert_array_equal(grad(lambda x, f=f: f(x)["b"][0] + f(x)["a"][1])(X), [20.0, 30.0])


@pytest.mark.daily(2)
@pytest.mark.parametrize("order", list(itertools.product([False, True], repeat=3))[1::2], ids=str)
def test_roots_by_key(order):
    def system(a):
        def equations(x):
            p, q = x["v"] ** 2 - a[0], x["b"] ** 3 - a[1] * a[0]
            return {"b": q, "v": p} if order[0] else {"v": p, "b": q}

        def newton(f, x):
            for _ in range(30):
                v = x["v"] - f(x)["v"] / (2.0 * x["v"])
                b = x["b"] - f(x)["b"] / (3.0 * x["b"] ** 2)
                x = {"b": b, "v": v} if order[1] else {"v": v, "b": b}
            return x

        def tangent(jacobian, y):
            slopes = jacobian({"b": 1.0, "v": 1.0})
            v, b = y["v"] / slopes["v"], y["b"] / slopes["b"]
            return {"b": b, "v": v} if order[2] else {"v": v, "b": b}

        x = custom_root(equations, {"v": 1.0, "b": 1.0}, newton, tangent)
        return x["v"] + 10.0 * x["b"]

    a = np.array([4.0, 2.0])
    for derivative in (jacfwd, jacrev):
        np.testing.assert_allclose(derivative(system)(a), [0.25 + 5.0 / 3.0, 10.0 / 3.0])


@pytest.mark.daily(1)
@pytest.mark.parametrize("order", [(True,) * 4, *(tuple(j == k for j in range(4)) for k in range(4))], ids=str)
def test_linear_systems_by_key(order):
    def solution(c):
        def matvec(v):
            p, q = c[2] * v["p"] + v["q"], 0.5 * v["p"] + 2.0 * v["q"]
            return {"q": q, "p": p} if order[0] else {"p": p, "q": q}

        def solve(matvec, r):
            one = matvec({"q": 0.0, "p": 1.0} if order[1] else {"p": 1.0, "q": 0.0})
            two = matvec({"p": 0.0, "q": 1.0})
            d = one["p"] * two["q"] - two["p"] * one["q"]
            p = (r["p"] * two["q"] - r["q"] * two["p"]) / d
            q = (one["p"] * r["q"] - one["q"] * r["p"]) / d
            return {"q": q, "p": p} if order[2] else {"p": p, "q": q}

        right = {"q": c[1], "p": c[0]} if order[3] else {"p": c[0], "q": c[1]}
        x = custom_linear_solve(matvec, right, solve, solve)
        return x["p"] + 10.0 * x["q"]

    c = np.array([1.0, 2.0, 3.0])
    a = np.array([[3.0, 1.0], [0.5, 2.0]])
    w, x = np.linalg.solve(a.T, [1.0, 10.0]), np.linalg.solve(a, c[:2])
    for derivative in (jacfwd, jacrev):
        np.testing.assert_allclose(derivative(solution)(c), [w[0], w[1], -w[0] * x[0]])


def test_advice_for_integers_names_what_there_is():
    with pytest.raises(Exception, match="lambda x: f") as caught:
        jvp(lambda x, n: x * n, (X, 2), (X, 0))
    assert "argnums" not in str(caught.value)


class Held:
    def __init__(self, x, swapped):
        if swapped:
            self.b, self.a = x, 2.0
        else:
            self.a, self.b = x * x, 1.0


def test_keys_in_another_order_on_another_path_are_named_as_such():
    def with_dict(x):
        d = {"a": x[0], "b": 1.0}
        if x[1] > 0.0:
            d = {"b": 2.0, "a": x[0] * x[0]}
        return d["a"] + d["b"]

    def with_object(x):
        held = Held(x[0], False)
        if x[1] > 0.0:
            held = Held(x[0], True)
        return held.a * held.b

    for function, parts in ((with_dict, "keys"), (with_object, "attributes")):
        with pytest.raises(UnsupportedError, match=f"the same {parts} in another order"):
            grad(function)(X)
