"""The sum of a multiple of an array whose sum is known is a multiple of that, where both are finite."""

from collections.abc import Callable

import numpy as np
import pytest
from differential import check_program

from adjit import grad, hessian, jvp
from adjit.ir.adjoint import reverse
from adjit.ir.core import walk
from adjit.ir.text import parse, to_text


def logsumexp(x):
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def shifted(x, t):
    """The sum's cotangent is a factor of the shift's."""
    return np.log(np.sum(np.exp(x - t))) * t


def quotient(x, s, t):
    """Signs, cancellation, a division by a scalar; the scalar met every element."""
    y = x * x * x
    total = np.sum(y)
    z = np.sum(y * s) + np.sum((y + t) / s)
    return z * 0.5 + total * total


def on_a_plane(x, t):
    e = np.exp(x * t)
    return np.sum(e) * np.sum(e * t)


PROGRAMS: list[tuple[Callable[..., object], tuple[int, ...], tuple[object, ...]]] = [
    (logsumexp, (0,), (np.array([0.3, -1.2, 2.0, 0.7]),)),
    (shifted, (0, 1), (np.array([0.3, -1.2, 2.0]), 0.4)),
    (quotient, (0, 1, 2), (np.array([0.3, -1.2, 2.0]), 0.4, -1.5)),
    (on_a_plane, (0, 1), (np.arange(6.0).reshape(2, 3) / 5, 0.4)),
]


@pytest.mark.parametrize(("function", "argnums", "args"), PROGRAMS)
def test_values_and_gradients(
    function: Callable[..., object], argnums: tuple[int, ...], args: tuple[object, ...]
) -> None:
    check_program(function, [args], argnums, compile=True)


def sums(function: Callable[..., object], *args: object) -> int:
    """How many sums a gradient takes, whatever happens."""
    found = grad(function)
    found(*args)
    return sum(op.name == "reduce_sum" for op in found.ir_function("adjoint").body.ops)


def test_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the cotangents are summed, nor, where they cancel, the maxima counted."""
    x = np.array([0.3, -1.2, 2.0, 0.7])
    assert sums(logsumexp, x) == 1
    monkeypatch.setattr(reverse, "total_sums", lambda function: {})
    assert sums(lambda x: logsumexp(x), x) == 3


def test_the_multiple_is_not_kept() -> None:
    """What the branch would sum is computed there again: the result is the only array that is written twice."""
    found = grad(logsumexp)
    found(np.arange(5.0))
    function = found.ir_function("scheduled")
    top = [op for op in function.body.ops if op.name == "for"]
    assert len(top) == 2
    # exponentials, and the result, whose loop stands there twice
    assert sum(op.name == "buffer.store" for op in walk(function.body)) == 3


SPECIAL = [
    np.array([1.0, np.nan, 2.0]),
    np.array([1.0, np.inf, 2.0]),
    np.array([-np.inf, -np.inf]),
    np.array([-np.inf, 1.0]),
    np.array([1e308, -1e308]),
    np.array([800.0, 700.0, 1.0]),
    np.array([-800.0, -900.0]),
    np.array([5.0]),
]


def raw(x, t):
    return np.log(np.sum(np.exp(x - t)))


def scaled(x, t):
    y = x * 1.5
    return np.sum(y) * np.sum(y + t)


def divided(x, t):
    y = x * 1.5
    return np.sum(y) + np.sum((y * t) / t)


def compare_with_plain(
    function: Callable[..., object], arrays: list[np.ndarray], monkeypatch: pytest.MonkeyPatch, leeway: float = 0.0
) -> None:
    """The gradients at numbers of all kinds are those without knowing sums; `leeway`: of what cancels, by its parts."""
    cases = [(x, t) for x in arrays for t in (0.0, -0.0, 1.0, np.inf, np.nan, 1e-310, 1e300)]
    found = grad(function, argnums=(0, 1))
    results = [found(x, t) for x, t in cases]
    monkeypatch.setattr(reverse, "total_sums", lambda function: {})
    plain = grad(lambda x, t: function(x, t), argnums=(0, 1))
    for (x, t), (dx, dt) in zip(cases, results, strict=True):
        expected_x, expected_t = plain(x, t)
        scale = (abs(t) if np.isfinite(t) else 0.0) + np.max(
            np.abs(np.where(np.isfinite(expected_x), expected_x, 0.0)), initial=0.0
        )
        np.testing.assert_allclose(dx, expected_x, rtol=1e-13, atol=leeway * scale, err_msg=f"{x} {t}")
        np.testing.assert_allclose(dt, expected_t, rtol=1e-13, err_msg=f"{x} {t}")


@pytest.mark.parametrize("function", [raw, scaled, divided])
def test_where_numbers_end(function: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Infinite and NaN where the sum of the elements is, finite where it is."""
    compare_with_plain(function, SPECIAL, monkeypatch)


def test_no_elements() -> None:
    found = grad(scaled, argnums=(0, 1))
    dx, dt = found(np.zeros(0), 2.0)
    assert dx.shape == (0,) and dt == 0.0


def test_other_modes() -> None:
    x = np.array([0.3, -1.2, 2.0, 0.7])
    p = np.exp(x - 2.0) / np.sum(np.exp(x - 2.0))
    np.testing.assert_allclose(hessian(logsumexp)(x), np.diag(p) - np.outer(p, p), atol=1e-14)
    v = np.array([1.0, 0.5, -0.25, 2.0])
    value, tangent = jvp(lambda x: grad(logsumexp)(x), (x,), (v,))
    np.testing.assert_allclose(value, p, rtol=1e-14)
    np.testing.assert_allclose(tangent, p * v - p * (p @ v), atol=1e-14)
    np.testing.assert_allclose(grad(lambda x: np.sum(grad(logsumexp)(x) * v))(x), p * v - p * (p @ v), atol=1e-14)


def test_text() -> None:
    found = grad(logsumexp)
    found(np.arange(5.0))
    function = found.ir_function("adjoint")
    branches = [op for op in function.body.ops if op.name == "if"]
    assert [branch.attrs["rare"] for branch in branches] == [1, 1]
    assert to_text(parse(to_text(function))) == to_text(function)


def test_a_reciprocal() -> None:
    """The derivative of 1 / x is made of the result: -y * y."""

    def f(x):
        return np.sum(1.0 / x)

    check_program(f, [(np.array([0.3, -1.2, 2.0]),)], compile=True, analytic=f)
    x = np.array([0.0, -0.0, np.inf, -np.inf, 1e-310, -1e-200, 1e200, 1e308, 3.0])
    with np.errstate(all="ignore"):
        expected = -(1.0 / x) / x
    np.testing.assert_allclose(grad(f)(x), expected, rtol=4e-16)
    found = grad(f)
    found(x)
    assert [op.name for op in found.ir_function("adjoint").body.ops].count("div") == 1


# ---------------------------------------------------------------- what cancels


def with_minimum(x, t):
    """The other extreme; a factor, a division and a sign between the logarithm and the result."""
    low = np.min(x)
    return (low * t - np.log(np.sum(np.exp(low - x))) * t) / 2.0


def tied(x, t):
    top = np.max(x)
    return (top + np.log(np.sum(np.exp(x - top)))) * t + top * top


def kept_apart(x, t):
    """The maximum's cotangent does not cancel."""
    top = np.max(x)
    return np.log(np.sum(np.exp(x - top))) * t


def of_a_plane(x, t):
    plane = np.reshape(x, (2, -1)) * t
    top = np.max(plane)
    return top + np.log(np.sum(np.exp(plane - top)))


CANCELLING = [with_minimum, tied, kept_apart, of_a_plane]


@pytest.mark.parametrize("function", CANCELLING)
def test_what_cancels(function: Callable[..., object]) -> None:
    x = np.array([0.3, -1.2, 2.0, 0.7])
    check_program(function, [(x, 0.4), (x[::-1].copy(), -3.0)], (0, 1), compile=True)


@pytest.mark.parametrize("function", CANCELLING)
def test_what_cancels_where_numbers_end(function: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same elements are infinite or NaN as without knowing sums, and ties have equal shares."""
    even = [x for x in SPECIAL if x.size % 2 == 0] + [np.array([2.0, 1.0, 2.0, 2.0]), np.array([0.0, -0.0])]
    compare_with_plain(function, even, monkeypatch, leeway=1e-15)


def test_the_gradient_is_that_of_softmax() -> None:
    """To the last bit, with whatever seed: nothing is left over where the maximum is."""
    x = np.random.default_rng(0).normal(size=1000)
    e = np.exp(x - np.max(x))
    gradient = grad(logsumexp)(x)
    np.testing.assert_allclose(gradient, e / np.sum(e), rtol=2e-15)
    assert gradient[np.argmax(x)] == max(gradient)
    factor = 1.0 / (e[0] / gradient[0])
    np.testing.assert_allclose(gradient / e, factor, rtol=3e-16)


def test_second_derivatives_of_what_cancels() -> None:
    x = np.array([0.3, -1.2, 2.0, 0.7])
    p = np.exp(x) / np.sum(np.exp(x))
    np.testing.assert_allclose(hessian(logsumexp)(x), np.diag(p) - np.outer(p, p), atol=1e-15)
    _, tangent = jvp(grad(logsumexp), (x,), (np.ones(4),))
    np.testing.assert_allclose(tangent, np.zeros(4), atol=1e-16)
