"""What errors say: arguments of transforms, cotangents, messages of `assert` and `raise`, refusals in libraries."""

from __future__ import annotations

import array

import numpy as np
import pytest

from adjit import grad, jacfwd, jit, value_and_grad, vjp
from adjit.ir.errors import AdjitError, ArgumentError, UnsupportedError
from adjit.tracer import numeric


def square(x):
    return x * x


def scaled(x, w):
    return x * w[0]


@pytest.mark.parametrize("transform", [grad, value_and_grad, jacfwd])
@pytest.mark.parametrize("argnums", ["x", (), None, 1.0, True, ("x",)])
def test_argnums_are_numbers(transform, argnums):
    with pytest.raises(ArgumentError, match="is no argument number"):
        transform(square, argnums=argnums)


def test_argnums_in_a_list():
    assert grad(square, argnums=[0])(2.0) == (4.0,)
    assert grad(square, argnums=np.int64(0))(2.0) == 4.0


@pytest.mark.parametrize("value", [np.ones(2), [np.ones(2)], {0: np.ones(2)}])
def test_arrays_are_not_static(value):
    f = jit(scaled, static_argnames="w")
    for _ in range(2):
        with pytest.raises(ArgumentError, match="argument 1 is named in static_argnames, but holds an array"):
            f(2.0, value)
        assert f(2.0, (3.0,)) == 6.0
    with pytest.raises(ArgumentError, match="static_argnames=3"):
        jit(scaled, static_argnames=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [memoryview(b"abc"), bytearray(b"abc"), array.array("d", [1.0])])
def test_buffers_are_no_arrays(value):
    for f in (jit(scaled), grad(scaled)):
        with pytest.raises(ArgumentError, match=f"argument 1 is of type {type(value).__name__}"):
            f(2.0, value)


def test_cotangents_have_the_structure_of_the_value():
    _, pullback = vjp(square, np.ones(3))
    with pytest.raises(ArgumentError, match=r"a list of 3 .*the value is an array of shape") as caught:
        pullback([1.0, 1.0, 1.0])
    assert "pass an array of shape (3,)" in caught.value.help
    _, pullback = vjp(lambda x: (x, {"a": x}), 1.0)
    with pytest.raises(ArgumentError, match="the cotangent is a number, the value is a tuple of 2"):
        pullback(1.0)


# ---------------------------------------------------------------- assert and raise


def shape_wrong(x):
    assert x.shape == (2, 3), f"bad {x.shape}"
    return np.sum(x)


def shape_alone(x):
    assert x.shape[0] == 2, x.shape
    return np.sum(x)


def formats(x, n):
    if x > 1.0:
        raise ValueError(f"x={x:.2f} or {x} or {x:>9.3e}, n={n:>4d}|{n:{5}d}")
    return x


def width_at_run_time(x, n):
    assert x < 1.0, f"{x:{n}.2f}"
    return x


def in_a_dict(p, n):
    assert p["a"] > 2.0, f"{p} of {[n]} at {'k'!r} {3.14159:.2f}"
    return p["a"]


@pytest.mark.parametrize(
    "function, args",
    [
        (shape_wrong, (np.ones((3, 3)),)),
        (shape_alone, (np.ones(3),)),
        (formats, (2.56789, 3)),
        (in_a_dict, ({"a": 1.5}, 7)),
    ],
)
def test_messages_are_pythons(function, args):
    with pytest.raises((AssertionError, ValueError)) as expected:
        function(*args)
    with pytest.raises(type(expected.value)) as found:
        jit(function)(*args)
    assert str(found.value).splitlines()[0] == str(expected.value).splitlines()[0]


def many(x, a, b, c):
    assert x < 1.0, f"{a} {b} {c} {square}"
    return x


def test_what_does_not_fit_is_shown_by_its_source():
    with pytest.raises(AssertionError, match=r"^1 2 c square\n?"):
        jit(many)(2.0, 1, 2, 3)
    with pytest.raises(AssertionError, match=r"^x\n?"):
        jit(width_at_run_time)(2.0, 8)


# ---------------------------------------------------------------- words


def test_no_internal_names():
    values = [numeric.KINDS[k] for k in ("DictObject", "GeneratorValue", "FunctionValue")]
    assert values == ["a dict", "a generator expression", "a function"]
    programs = [
        lambda x: {"a": x} + x,
        lambda x: (k * x for k in range(3)) + x,
        lambda x: np.fromiter((k * x for k in range(3)), float),
        lambda x: np.sin({"a": x}),
        lambda x: np.sin(lambda y: y) + x,
        lambda x: np.sin(range(int(x))) + x,
    ]
    for program in programs:
        with pytest.raises(AdjitError) as caught:
            jit(program)(1.0)
        message = caught.value.message + caught.value.help
        assert not [k for k in numeric.KINDS if k in message and not k.islower() and k.endswith(("Value", "Object"))]


def test_every_kind_of_value_of_the_tracer_has_a_name():
    from adjit.tracer import expressions, iteration, values

    kinds = [
        values.DictObject,
        values.FunctionValue,
        values.BoundMethod,
        values.ClassMethodOf,
        values.Partial,
        expressions.GeneratorValue,
        iteration.Range,
        iteration.Enumerate,
        iteration.Zip,
        iteration.Reversed,
    ]
    for kind in kinds:
        assert numeric.describe(object.__new__(kind)) == numeric.KINDS[kind.__name__]


def test_refusals_in_libraries_name_the_line_that_called():
    from scipy.integrate import solve_ivp

    def f(x):
        found = solve_ivp(lambda t, y: -x * y, (0.0, 1.0), [1.0])
        return found.y[0, -1]

    with pytest.raises(UnsupportedError) as caught:
        jit(f)(1.0)
    text = str(caught.value)
    assert caught.value.caller is not None and caught.value.caller.file == __file__
    assert text.index("called from") < text.index("found = solve_ivp(") < text.index("help:")


def test_joined_dicts_as_the_help_says():
    other = {"b": 2.0}

    def f(p):
        q = {**p, **other}
        return q["a"] * q["b"]

    assert jit(f)({"a": 1.5}) == 3.0
