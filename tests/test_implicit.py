"""Solvers by the implicit function theorem: any solver, any mode, any order, whatever the equation captures."""

from __future__ import annotations

import numpy as np
import pytest

from adjit import (
    AdjitError,
    ArgumentError,
    ShapeError,
    custom_linear_solve,
    custom_root,
    fixed_point,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jit,
    jvp,
    vmap,
)

A = np.array([[4.0, 1.0, 0.3], [-0.5, 3.0, 0.2], [0.1, 0.7, 5.0]])
B = np.array([1.0, -2.0, 0.5])


def bisect(f, x):
    low, high = 0.0, 16.0
    for _ in range(70):
        middle = 0.5 * (low + high)
        if f(middle) > 0.0:
            high = middle
        else:
            low = middle
    return 0.5 * (low + high)


def cube_root(a):
    return custom_root(lambda x: x * x * x - a, 1.0, bisect)


def test_a_number():
    a = 8.0
    assert cube_root(a) == pytest.approx(2.0)
    assert jit(cube_root)(a) == pytest.approx(2.0, rel=1e-14)
    assert grad(cube_root)(a) == pytest.approx(1 / 12, rel=1e-12)
    assert jvp(cube_root, (a,), (2.0,))[1] == pytest.approx(1 / 6, rel=1e-12)
    np.testing.assert_allclose(vmap(grad(cube_root))(np.array([1.0, 8.0, 27.0])), [1 / 3, 1 / 12, 1 / 27])
    f = grad(cube_root)
    f(a)
    assert "while" not in f.ir("adjoint") and "tape" not in f.ir("adjoint")


def by_picard(f, x):
    for _ in range(200):
        x = x - 0.5 * f(x)
    return x


def equilibrium(w, b, x0):
    """x = tanh(w x + b), found by damped iteration."""
    return custom_root(lambda x: x - np.tanh(w @ x + b), x0, by_picard)


def unrolled(w, b, x0):
    x = x0
    for _ in range(400):
        x = np.tanh(w @ x + b)
    return x


def test_what_the_function_captures():
    w, x0 = 0.2 * A, np.zeros(3)

    def loss(solution):
        return lambda w, b: np.sum(solution(w, b, x0) * np.array([1.0, 2.0, -1.0]))

    for k, (one, other) in enumerate(
        zip(grad(loss(equilibrium), (0, 1))(w, B), grad(loss(unrolled), (0, 1))(w, B), strict=True)
    ):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12, err_msg=str(k))
    np.testing.assert_allclose(
        jacfwd(lambda b: equilibrium(w, b, x0))(B), jacrev(lambda b: equilibrium(w, b, x0))(B), rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(
        hessian(lambda b: loss(equilibrium)(w, b))(B), hessian(lambda b: loss(unrolled)(w, b))(B), rtol=1e-7, atol=1e-9
    )


def test_a_guess_has_no_derivative():
    assert grad(lambda g: custom_root(lambda x: x - 3.0, g, lambda f, x: x - f(x)))(1.0) == 0.0


def test_fixed_point():
    def by_iteration(a):
        return fixed_point(lambda x: np.cos(a * x), 0.5)

    x = by_iteration(1.0)
    assert x == pytest.approx(0.7390851332151607)
    assert grad(by_iteration)(1.0) == pytest.approx(-x * np.sin(x) / (1 + np.sin(x)), rel=1e-10)

    def vector(a):
        return np.sum(fixed_point(lambda x: 0.3 * np.sin(a * x) + a, np.ones(3)) ** 2)

    step = 1e-6
    wanted = [(vector(B + step * e) - vector(B - step * e)) / (2 * step) for e in np.eye(3)]
    np.testing.assert_allclose(grad(vector)(B), wanted, rtol=1e-7)
    with pytest.raises(ArithmeticError, match="converged"):
        grad(lambda a: fixed_point(lambda x: a * x + 1.0, 0.5))(2.0)


def richardson(matvec, b):
    x = np.zeros_like(b)
    for _ in range(300):
        x = x + 0.2 * (b - matvec(x))
    return x


def conjugate_gradients(matvec, b):
    x = np.zeros_like(b)
    r = b.copy()
    p = r.copy()
    k = 0
    while np.sum(r * r) > 1e-26 and k < 50:
        q = matvec(p)
        alpha = np.sum(r * r) / np.sum(p * q)
        x = x + alpha * p
        after = r - alpha * q
        p = after + np.sum(after * after) / np.sum(r * r) * p
        r = after
        k += 1
    return x


def general(a, b):
    return custom_linear_solve(lambda x: a @ x, b, richardson, richardson)


def symmetric(a, b):
    s = a @ a.T
    return custom_linear_solve(lambda x: s @ x, b, conjugate_gradients, symmetric=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(general, lambda a, b: np.linalg.solve(a, b)), (symmetric, lambda a, b: np.linalg.solve(a @ a.T, b))],
)
def test_linear_systems(ours, theirs):
    def loss(solution):
        return lambda a, b: np.sum(np.sin(solution(a, b)))

    np.testing.assert_allclose(ours(A, B), theirs(A, B), rtol=1e-10)
    for one, other in zip(grad(loss(ours), (0, 1))(A, B), grad(loss(theirs), (0, 1))(A, B), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    directions = (np.cos(A), np.sin(B))
    assert jvp(loss(ours), (A, B), directions)[1] == pytest.approx(jvp(loss(theirs), (A, B), directions)[1], rel=1e-9)
    second = [hessian(lambda b, f=f: loss(f)(A, b))(B) for f in (ours, theirs)]
    np.testing.assert_allclose(second[0], second[1], rtol=1e-8, atol=1e-11)
    third = [grad(lambda b, f=f: np.sum(hessian(lambda c: loss(f)(A, c))(b) * A))(B) for f in (ours, theirs)]
    np.testing.assert_allclose(third[0], third[1], rtol=1e-7, atol=1e-10)


def test_structures():
    def matvec(x):
        return {"u": 3.0 * x["u"] + x["v"], "v": 2.0 * x["v"] + 0.5 * np.sum(x["u"])}

    def relax(apply, b):
        x = {"u": np.zeros(2), "v": 0.0}
        for _ in range(200):
            r = apply(x)
            x = {"u": x["u"] + 0.25 * (b["u"] - r["u"]), "v": x["v"] + 0.25 * (b["v"] - r["v"])}
        return x

    def loss(u, v):
        x = custom_linear_solve(matvec, {"u": u, "v": v}, relax, relax)
        return np.sum(x["u"]) * x["v"]

    u, v, step = np.array([1.0, 2.0]), 0.7, 1e-6
    of_u, of_v = grad(loss, (0, 1))(u, v)
    assert of_v == pytest.approx((loss(u, v + step) - loss(u, v - step)) / (2 * step), rel=1e-7)
    wanted = [(loss(u + step * e, v) - loss(u - step * e, v)) / (2 * step) for e in np.eye(2)]
    np.testing.assert_allclose(of_u, wanted, rtol=1e-7)


def solves_wrongly(a):
    return np.sum(custom_linear_solve(lambda x: a * x, np.ones(2), lambda f, b: (b, b)))


def maps_wrongly(a):
    return np.sum(custom_linear_solve(lambda x: np.sum(a * x), np.ones(2), lambda f, b: b))


def integers(a):
    return custom_linear_solve(lambda x: a * x, 2, lambda f, b: b / a)


@pytest.mark.parametrize("program", [solves_wrongly, maps_wrongly, integers])
def test_refusals(program):
    with pytest.raises(AdjitError):
        grad(program)(2.0)


def relaxed(f, x):
    for _ in range(60):
        x = x - 0.2 * f(x)
    return x


PAIR = np.array([[4.0, 1.0], [1.0, 3.0]])


@pytest.mark.parametrize(
    "tangent_solve", [lambda g, y: y[0], lambda g, y: y[:1], lambda g, y: y[:, None] * y, lambda g, y: (y, y)]
)
def test_tangents_of_another_shape_are_refused(tangent_solve):
    with pytest.raises((ArgumentError, ShapeError), match="tangent_solve"):
        grad(lambda a: np.sum(custom_root(lambda x: PAIR @ x - a, np.zeros(2), relaxed, tangent_solve)))(np.ones(2))


@pytest.mark.parametrize(
    ("matvec", "solve"),
    [
        (lambda x: PAIR @ x, lambda _, b: b[:1]),
        (lambda x: PAIR @ x, lambda _, b: b[0]),
        (lambda x: PAIR @ x, lambda _, b: b.astype(np.float32)),
        (lambda x: (PAIR @ x)[:1], lambda _, b: 1.0 * b),
        (lambda x: (PAIR @ x).astype(np.float32), lambda _, b: 1.0 * b),
    ],
)
def test_systems_of_another_shape_are_refused(matvec, solve):
    with pytest.raises((ArgumentError, ShapeError)):
        grad(lambda b: np.sum(custom_linear_solve(matvec, b, solve, symmetric=True) ** 2))(np.ones(2))
