"""`vmap`: every example as if the function were called on it alone; any nesting; any axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

from adjit import ArgumentError, ShapeError, grad, hessian, jacobian, jit, jvp, value_and_grad, vmap
from adjit.api.arguments import flatten_call
from adjit.api.specialize import Transform, specialize
from adjit.ir.text import parse, to_text

RNG = np.random.default_rng(3)
X, Y, W = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 3)), RNG.normal(size=(2, 3))


def by_newton(a):
    x = a
    while abs(x * x - a) > 1e-13 * a:
        x = 0.5 * (x + a / x)
    return x


def histogram(x):
    out = np.zeros(3)
    for i in range(len(x)):
        if x[i] > 0:
            out[i % 3] += x[i] * x[i]
    return out


def changes(x):
    x[0] = x[0] * x[1]
    x[1:] *= 2.0
    return x


def early(x):
    for i in range(len(x)):
        if x[i] < 0:
            return x[i] * 3.0
    return np.sum(x)


def layer(w, x):
    return np.tanh(w @ x)


def by_data(x):
    return np.ones(2 + 0 * int(x[0])) * x[0]


PROGRAMS: list[tuple[Callable[..., Any], Any, Any, tuple[Any, ...]]] = [
    (by_newton, 0, 0, (np.array([2.0, 9.0, 0.1]),)),
    (histogram, 0, 0, (X,)),
    (histogram, 1, 0, (X,)),
    (histogram, -1, -1, (X,)),
    (changes, 0, 0, (X,)),
    (early, 0, 0, (X,)),
    (layer, (None, 0), 0, (W, X)),
    (layer, (None, 1), 1, (W, X.T)),
    (layer, (0, None), 0, (np.stack([W, 2 * W]), X[0])),
    (lambda x, y: np.dot(x, y), 0, 0, (X, Y)),
    (lambda x, y: np.outer(x, y), (0, 0), 2, (X, Y)),
    (lambda x, y: np.outer(x, y), (0, 0), (1,), (X, Y)),
    (lambda x: x > 0, 0, 0, (X,)),
    (lambda x: np.argmax(x), 0, 0, (X,)),
    (lambda x, n: x * n, (0, None), 0, (X, 3)),
    (by_data, 0, 0, (np.abs(X),)),
]


def one_by_one(function, in_axes, out_axes, args):
    """The function called on each example, stacked."""
    axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
    count = next(np.shape(a)[k] for a, k in zip(args, axes, strict=True) if k is not None)
    rows = [
        function(*(a if k is None else np.take(a, n, axis=k).copy() for a, k in zip(args, axes, strict=True)))
        for n in range(count)
    ]
    return np.stack(rows, axis=out_axes[0] if isinstance(out_axes, tuple) else out_axes)


@pytest.mark.parametrize("case", range(len(PROGRAMS)))
def test_every_example_is_treated_alone(case):
    function, in_axes, out_axes, args = PROGRAMS[case]
    if isinstance(out_axes, tuple):

        def wrapped(*a):
            return (function(*a),)

        (found,) = vmap(wrapped, in_axes, out_axes)(*args)
    else:
        found = vmap(function, in_axes, out_axes)(*args)
    wanted = one_by_one(function, in_axes, out_axes, args)
    assert found.dtype == wanted.dtype and found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("case", [0, 1, 3, 4, 5])
def test_gradient_per_example(case):
    function, in_axes, _, args = PROGRAMS[case]

    def loss(x):
        return np.sum(function(x) ** 2)

    found = vmap(grad(loss), in_axes, in_axes)(*args)
    wanted = one_by_one(grad(loss), in_axes, in_axes, args)
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


@pytest.mark.parametrize("case", [0, 1, 4, 5])
def test_gradient_through_a_batch(case):
    function, in_axes, out_axes, args = PROGRAMS[case]

    def loss(x):
        return np.sum(vmap(function, in_axes, out_axes)(x) ** 2)

    def alone(x):
        return np.sum(function(x) ** 2)

    np.testing.assert_allclose(grad(loss)(*args), one_by_one(grad(alone), in_axes, 0, args), rtol=1e-13)
    x = args[0]
    _, tangent = jvp(loss, (x,), (np.ones_like(x),))
    assert tangent == pytest.approx(np.sum(grad(loss)(x)), rel=1e-12)


def test_arguments_are_not_changed():
    x = X.copy()
    vmap(changes)(x)
    np.testing.assert_array_equal(x, X)


def test_structures():
    class Point(NamedTuple):
        x: Any
        y: Any

    def f(p, d, *, scale):
        return {"sum": p.x + p.y * scale, "all": (d["w"] * p.x, None, 2.0)}

    found = vmap(f, in_axes=((0, None), {"w": 1}), out_axes=0)(
        Point(X[:, 0], 2.0), {"w": np.stack([Y[:, 0], Y[:, 1]])}, scale=np.arange(4.0)
    )
    np.testing.assert_allclose(found["sum"], X[:, 0] + 2.0 * np.arange(4.0))
    np.testing.assert_allclose(found["all"][0], np.stack([Y[:, 0], Y[:, 1]]).T * X[:, :1])
    assert found["all"][1] is None
    np.testing.assert_array_equal(found["all"][2], np.full(4, 2.0))


def test_nested_both_ways():
    table = vmap(vmap(lambda a, b: a * b, (None, 0)), (0, None))(X[:, 0], Y[:3, 1])
    np.testing.assert_allclose(table, np.outer(X[:, 0], Y[:3, 1]))
    second = vmap(hessian(lambda x: np.sum(x**3)))(X)
    np.testing.assert_allclose(second, np.stack([np.diag(6 * x) for x in X]))
    blocks = jacobian(vmap(lambda x: x[::-1] * x[0]))(X)
    assert blocks.shape == (4, 3, 4, 3)
    np.testing.assert_allclose(blocks[1, :, 1], jacobian(lambda x: x[::-1] * x[0])(X[1]))
    assert not np.any(blocks[1, :, 2])


def test_decorator_inside_and_outside():
    @vmap(in_axes=(0, None))
    def scaled(x, a):
        return np.sum(x) * a

    np.testing.assert_allclose(scaled(X, 2.0), 2 * X.sum(axis=1))

    @value_and_grad
    def loss(x):
        @vmap
        def square(row):
            return np.sum(row * row)

        return np.sum(square(x) * vmap(np.sum, in_axes=1)(x.T))

    value, slope = loss(X)
    assert value == pytest.approx(np.sum(np.sum(X * X, 1) * np.sum(X, 1)))
    np.testing.assert_allclose(slope, 2 * X * X.sum(1)[:, None] + np.sum(X * X, 1)[:, None])
    np.testing.assert_allclose(jit(vmap(np.sum))(X), X.sum(axis=1))


def test_no_examples():
    assert vmap(histogram)(np.zeros((0, 7))).shape == (0, 3)
    assert vmap(by_newton)(np.zeros(0)).shape == (0,)
    assert vmap(by_data)(np.zeros((0, 2))).shape[0] == 0
    assert grad(lambda x: np.sum(vmap(histogram)(x)))(np.zeros((0, 4))).shape == (0, 4)


def by_number(x, n):
    return np.ones(n) * x


def positive(x):
    return x[x > 0]


@pytest.mark.parametrize("numbers", [(2, 3), (3, 2), (1, 3), (3, 1), (2, 0)])
def test_results_of_other_shapes_are_refused(numbers):
    x, n = np.array([1.0, 2.0]), np.array(numbers)
    with pytest.raises(ShapeError, match="other shapes for other examples"):
        vmap(by_number)(x, n)
    with pytest.raises(ShapeError, match="other shapes for other examples"):
        grad(lambda x, n: np.sum(vmap(by_number)(x, n)))(x, n)
    with pytest.raises(ShapeError, match="other shapes for other examples"):
        vmap(positive)(np.array([[1.0, 2.0], [1.0, -1.0]]))
    np.testing.assert_array_equal(vmap(by_number)(x, np.array([2, 2])), [[1.0, 1.0], [2.0, 2.0]])


def test_dicts_of_axes_go_by_key():
    def f(d, e):
        return {"p": d["a"] * d["b"], "q": np.sum(e["x"]["u"] * d["b"]), "r": d["a"][0]}

    d = {"a": X, "b": Y[0]}
    e = {"x": {"u": X.T, "v": 3.0}, "n": 2}
    axes = ({"b": None, "a": 0}, {"n": None, "x": {"v": None, "u": -1}})
    found = vmap(f, in_axes=axes, out_axes={"r": 0, "q": -1, "p": 1})(d, e)
    np.testing.assert_allclose(found["p"], (X * Y[0]).T)
    np.testing.assert_allclose(found["q"], X @ Y[0])
    np.testing.assert_allclose(found["r"], X[:, 0])
    inside = jit(lambda d, e: vmap(f, in_axes=axes, out_axes={"r": 0, "q": -1, "p": 1})(d, e))(d, e)
    np.testing.assert_array_equal(inside["p"], found["p"])
    swapped = {"b": Y[0], "a": X}  # in another order
    np.testing.assert_array_equal(vmap(f, in_axes=axes)(swapped, e)["p"], X * Y[0])


def test_keyword_arguments():
    def f(x, w, *, scale=1.0):
        return np.sum(x * w) * scale

    expected = np.array([f(x, Y[0], scale=k) for k, x in enumerate(X)])
    for call in (lambda x, w, s: vmap(f, in_axes=(0, None))(x, w=w, scale=s),):
        np.testing.assert_allclose(call(X, Y[0], np.arange(4.0)), expected)
        np.testing.assert_allclose(jit(call)(X, Y[0], np.arange(4.0)), expected)
    with pytest.raises(ShapeError, match="argument 'scale'"):
        vmap(f, in_axes=(0, None))(X, Y[0], scale=np.arange(3.0))


def test_lists_and_negative_axes():
    found = vmap(lambda p, k: [p[0] + p[1], p[0]], in_axes=([-1, None], None), out_axes=[-2, -1])([X.T, Y[0]], 3)
    np.testing.assert_allclose(found[0], X + Y[0])
    np.testing.assert_allclose(found[1], X.T)


def test_results_without_an_axis_are_the_same_for_all_examples():
    def f(x, w):
        for _ in range(len(x)):
            w[0] += 1.0  # the function works on a copy, and the result does not depend on the example
        return x * w, w * 2.0, np.sum(w), len(x), (w[0] > 0.0, 3)

    out_axes = (0, None, None, None, None)
    y, w, s, n, rest = vmap(f, in_axes=(0, None), out_axes=out_axes)(X, Y[0])
    expected = f(X[1].copy(), Y[0].copy())
    np.testing.assert_allclose(y[1], expected[0])
    np.testing.assert_allclose(w, expected[1])
    assert s == pytest.approx(expected[2]) and (n, rest) == (3, expected[4])
    empty = vmap(f, in_axes=(0, None), out_axes=out_axes)(X[:0], Y[0])
    np.testing.assert_allclose(empty[1], expected[1])
    slope = grad(lambda w: np.sum(vmap(f, in_axes=(0, None), out_axes=out_axes)(X, w)[1]))(Y[0])
    np.testing.assert_allclose(slope, np.full(3, 2.0))
    only = vmap(lambda x, w: w, in_axes=(0, None), out_axes=None)(X, 2.0)
    assert only == 2.0

    def mapped(x, w):
        return w * (1.0 if x[0] > 0.0 else 2.0)

    for g in (mapped, lambda x, w: x, lambda x, w: np.sum(w) * x[0]):
        with pytest.raises(ArgumentError, match="out_axes of vmap is None for a result") as caught:
            vmap(g, in_axes=(0, None), out_axes=None)(X, Y[0])
        assert "help: give the axis" in str(caught.value)


def test_text_round_trip():
    args = (W, X)
    transform = Transform("vmap", None, False, (), options=((None, 0), 0))
    spec = specialize(layer, transform, flatten_call(args, {}))
    for function in (spec.stages.traced, spec.stages.optimized):
        assert to_text(parse(to_text(function))) == to_text(function)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: vmap(lambda a, b: a + b)(np.ones(3), np.ones(4)), ShapeError, "3 and 4"),
        (lambda: vmap(lambda a, b: a + b)(np.ones(3), 4.0), ArgumentError, "has 0 axes"),
        (lambda: vmap(lambda a: a, in_axes=2)(np.ones((2, 2))), ArgumentError, "axis 2"),
        (lambda: vmap(lambda a: a, out_axes=2)(np.ones((2, 2))), ArgumentError, "axis 2"),
        (lambda: vmap(lambda a: a, in_axes=None)(np.ones((2, 2))), ArgumentError, "no argument is batched"),
        (lambda: vmap(lambda a: a, in_axes=(0, 0))(np.ones((2, 2))), ArgumentError, "2 entries"),
        (lambda: vmap(lambda a: a, in_axes="rows"), ArgumentError, "no axis"),
        (lambda: vmap(lambda a: a, in_axes=((0, 0),))((np.ones(2),)), ArgumentError, "2 axes"),
        (
            lambda: vmap(lambda p, b: p["w"] + b, in_axes=({"w": 1}, 0))({"w": np.ones((2, 3))}, np.ones(4)),
            ShapeError,
            r"argument 0\['w'\] \(axis 1\) and argument 1 \(axis 0\) differ in their number of examples: 3 and 4",
        ),
        (
            lambda: vmap(lambda x, scale: x * scale)(np.ones(2), scale=np.ones(3)),
            ShapeError,
            "argument 0 .axis 0. and argument 1 .axis 0. differ",
        ),
        (lambda: vmap(lambda p: p, in_axes=({"a": 0},))({"b": np.ones(2)}), ArgumentError, "the keys 'a'"),
        (lambda: vmap(lambda p: p, in_axes=({"a": 0},))(np.ones(2)), ArgumentError, "the keys 'a'"),
        (lambda: vmap(lambda p: p, in_axes={"a": 0})({"a": np.ones(2)}), ArgumentError, "1 entries"),
        (lambda: vmap(lambda x: {"a": x}, out_axes={"b": 0})(np.ones(2)), ArgumentError, "the keys 'b'"),
        (lambda: vmap(lambda p: p["a"])({"a": 2.0}), ArgumentError, r"argument 0\['a'\] of `<lambda>`"),
    ],
)
def test_refusals(call, error, says):
    with pytest.raises(error, match=says):
        call()
