"""Products of vectors in loops, made for blocks of turns (`codegen.lower.panels`): values and gradients against complex
step and Python, with blocks so short that small arrays take several; and what must be left alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.codegen import lower
from adjit.codegen.lower import panels
from adjit.codegen.scheduled import run
from adjit.ir.core import walk

pytestmark = pytest.mark.usefixtures("always_threads")

Program = Callable[..., Any]


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(panels, "BLOCK", 3)
    yield


def trailing(a, w):
    n = a.shape[1]
    c = np.zeros((n, n))
    for i in range(n):
        c[i:n, i] = c[i, i:n] = a[:, i] @ a[:, i:n]
    return np.sum(w * c * c)


def after_diagonal(a, w):
    n = a.shape[1]
    c = np.eye(n)
    for i in range(n - 1):
        c[i + 1 : n, i] = c[i, i + 1 : n] = a[:, i] @ a[:, i + 1 : n]
    return np.sum(w * np.sin(c))


def leading(a, w):
    n = a.shape[0]
    c = np.zeros((n, n))
    for i in range(n):
        c[i, : i + 1] = np.tanh(a[: i + 1, :] @ a[i, :])
    return np.sum(w * c)


def backwards(a, w):
    n = a.shape[0]
    c = np.zeros((n, n))
    for i in range(n - 1, -1, -1):
        c[i, : i + 1] = a[: i + 1, :] @ a[i, :]
    return np.sum(w * c * c)


def summed_over_a_moving_range(a, w):
    n = a.shape[1]
    y = np.zeros((n, a.shape[0]))
    for i in range(n):
        y[i] = a[:, i:] @ w[i, i:n]
    return np.sum(np.sin(y))


def summed_over_what_grows(a, w):
    n = a.shape[0]
    s = 0.0
    for i in range(n):
        y = w[i, : i + 1] @ a[: i + 1, :]
        s += np.sum(y * y)
    return s


def whole_matrix(a, w):
    s = 0.0
    for i in range(a.shape[0]):
        h = np.tanh(w[: a.shape[1], : a.shape[1]] @ a[i])
        s += np.sum(h * h) * (i + 1)
    return s


def two_layers(a, w):
    s = 0.0
    m = a.shape[1]
    for i in range(a.shape[0]):
        h = np.tanh(w[:m, :m] @ a[i])
        y = h @ w[:m, :m]
        s += np.sum(y * a[i])
    return s


def recurrent(a, w):
    h = np.zeros(w.shape[0])
    for i in range(a.shape[0]):
        h = np.tanh(w @ h + w.T @ a[i])
    return np.sum(h * h)


def state_used_later(a, w):
    m = a.shape[1]
    total, running = 0.0, np.ones(m)
    for i in range(a.shape[0]):
        y = w[:m, :m] @ np.sin(a[i])
        running = running * 0.5 + a[i]
        total = total + np.sum(y * running) + total * 0.1
    return total


def scalars_kept(a, w):
    m = a.shape[1]
    t, s = 1.0, 0.0
    for i in range(a.shape[0]):
        t = t * 0.9 + np.sum(a[i])
        y = w[:m, :m] @ (a[i] * t)
        s += np.sum(y) * t
    return s


def outer_by_user(a, w):
    n, m = a.shape
    g = np.zeros((m, n))
    for i in range(n):
        g += np.outer(a[i], w[i, :n])
    return np.sum(g * g)


def written_and_read(a, w):
    n = min(a.shape[0], a.shape[1])
    x = a.copy()
    for i in range(n):
        x[i, :] = x[i, :] + 0.1 * (w[: a.shape[1], : a.shape[1]] @ x[i, :])
        x[:, i] = x[:, i] * 0.9
    return np.sum(x * x)


def solved_by_rows(a, w):
    n = min(a.shape)
    x = np.zeros(n)
    for i in range(n):
        x[i] = a[i, 0] - w[i, :i] @ x[:i]
    return np.sum(x * x)


def inside_another_loop(a, w):
    m = a.shape[1]
    s, b = 0.0, w[:m, :m]
    for k in range(3):
        for i in range(a.shape[0]):
            s += np.sum((b @ a[i]) ** 2) * (k + 1)
        b = b * 0.5 + 0.1
    return s


def rows_of_a_stack(a, w):
    m = a.shape[1]
    stack = np.zeros((2, m, m))
    stack[0] = w[:m, :m]
    stack[1] = w[:m, :m].T
    s = 0.0
    for k in range(2):
        for i in range(a.shape[0]):
            s += np.sum(np.sin(stack[k] @ a[i]))
    return s


def with_branches(a, w):
    m = a.shape[1]
    s = 0.0
    for i in range(a.shape[0]):
        y = w[:m, :m] @ a[i]
        if y[0] > 0.1:
            s += np.sum(y * y)
        else:
            s += 3.0 * y[0]
    return s


def every_other(a, w):
    m = a.shape[1]
    s = 0.0
    for i in range(1, a.shape[0], 2):
        s += np.sum(np.cos(w[:m, :m] @ a[i]))
    return s


BLOCKED = [trailing, after_diagonal, leading, backwards, summed_over_a_moving_range,
           whole_matrix, two_layers, recurrent, state_used_later, scalars_kept, outer_by_user, inside_another_loop,
           rows_of_a_stack, with_branches]  # fmt: skip
ALONE = [solved_by_rows]
ANY = [written_and_read, every_other, summed_over_what_grows]


def arguments(seed: int, n: int = 8, m: int = 7) -> tuple[Any, Any]:
    generator = np.random.default_rng(seed)
    most = max(n, m)
    return generator.standard_normal((n, m)), generator.standard_normal((most, most))


def square(seed: int, n: int) -> tuple[Any, Any]:
    return arguments(seed, n, n)


def products(function: Any) -> int:
    return sum(
        op.name == "buffer.call" and op.attrs["kernel"].startswith("add_product")
        for op in walk(function.ir_function("scheduled").body)
    )


@pytest.mark.parametrize("program", [*BLOCKED, *ALONE, *ANY], ids=lambda p: p.__name__)
def test_values_and_gradients(program: Program) -> None:
    sizes = [square(k, n) for k, n in enumerate((8, 7, 1, 3))]
    check_program(program, sizes, argnums=(0, 1))


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", [*BLOCKED, *ALONE, *ANY], ids=lambda p: p.__name__)
def test_compiled(program: Program) -> None:
    check_program(program, [square(1, 8), square(2, 4)], argnums=(0, 1), compile=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", BLOCKED, ids=lambda p: p.__name__)
def test_blocks_are_found(program: Program) -> None:
    a, w = square(0, 8)
    derivative = adjit.grad(program, argnums=(0, 1))
    derivative(a, w)
    assert products(derivative) >= 1


@pytest.mark.parametrize("program", ALONE, ids=lambda p: p.__name__)
def test_left_alone(program: Program) -> None:
    a, w = square(0, 8)
    compiled = adjit.jit(program)
    compiled(a, w)
    assert products(compiled) == 0


def gram(a):
    n = a.shape[1]
    c = np.zeros((n, n))
    for i in range(n):
        c[i:n, i] = c[i, i:n] = a[:, i] @ a[:, i:n]
    return c


def network(x, first, second):
    total = 0.0
    for i in range(x.shape[0]):
        y = second @ np.tanh(first @ x[i])
        total += np.sum(y * y)
    return total


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_where_it_is(bad: float, monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).standard_normal((6, 8))
    a[2, 4] = bad
    with np.errstate(all="ignore"):
        expected = gram(a)
    found = adjit.jit(gram)(a)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found[np.isfinite(expected)], expected[np.isfinite(expected)], rtol=1e-12)

    derivative = adjit.grad(lambda a, w: np.sum(w * gram(a)))
    derivative(a, expected)
    function = derivative.ir_function("adjoint")
    weights = np.zeros((8, 8))
    weights[1, 2] = weights[6, 7] = weights[5, 5] = 1.0
    blocked = run(lower.schedule(function), [a, weights])
    monkeypatch.setattr(lower, "make_panels", lambda function: function)
    plain = run(lower.schedule(function), [a, weights])
    assert not np.all(np.isfinite(plain[0])) and np.any(np.isfinite(plain[0]))
    np.testing.assert_allclose(blocked[0], plain[0], rtol=1e-12)


@pytest.mark.parametrize("threads", [1, 2])
def test_threads(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panels, "BLOCK", 32)
    generator = np.random.default_rng(0)
    x, first, second = (generator.standard_normal(s) * 0.3 for s in ((700, 40), (50, 40), (40, 50)))
    expected = adjit.value_and_grad(network, argnums=(0, 1, 2))(x, first, second)
    derivative = adjit.value_and_grad(network, argnums=(0, 1, 2), parallel=threads)
    found = derivative(x, first, second)
    assert products(derivative) >= 4
    for one, other in zip([found[0], *found[1]], [expected[0], *expected[1]]):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)
    again = derivative(x, first, second)
    for one, other in zip([found[0], *found[1]], [again[0], *again[1]]):
        np.testing.assert_array_equal(one, other)


def test_one_product_after_another() -> None:
    generator = np.random.default_rng(0)
    arguments = tuple(generator.standard_normal(s) for s in ((8, 4), (5, 4), (4, 5)))
    compiled = adjit.jit(network)
    np.testing.assert_allclose(compiled(*arguments), network(*arguments), rtol=1e-12)
    assert products(compiled) == 2


def test_single_precision() -> None:
    generator = np.random.default_rng(0)
    arguments = [generator.standard_normal(s) for s in ((9, 8), (7, 8), (8, 7))]
    exact = adjit.grad(network, argnums=(1, 2))(*arguments)
    single = adjit.grad(network, argnums=(1, 2))(*(x.astype(np.float32) for x in arguments))
    for one, other in zip(single, exact):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_strided_and_empty_arguments() -> None:
    generator = np.random.default_rng(0)
    x, first, second = (generator.standard_normal(s) for s in ((18, 8), (10, 8), (4, 10)))
    given = x[::2, ::2], np.asfortranarray(first)[::2, ::2], np.asfortranarray(second[:, ::2])
    derivative = adjit.grad(network, argnums=(0, 1, 2))
    for one, other in zip(derivative(*given), derivative(*map(np.ascontiguousarray, given))):
        np.testing.assert_allclose(one, other, rtol=1e-12)
    for shapes in (((0, 4), (5, 4), (4, 5)), ((3, 0), (5, 0), (4, 5)), ((3, 4), (0, 4), (4, 0))):
        for found, shape in zip(derivative(*map(np.ones, shapes)), shapes):
            assert found.shape == shape and np.all(found == 0)


def test_a_check_that_fails_half_way_leaves_what_was_written() -> None:
    def in_place(a, w, n: int):
        for i in range(n):
            a[:, i] = w @ a[:, i]

    generator = np.random.default_rng(0)
    a, w = generator.standard_normal((5, 7)), generator.standard_normal((5, 5))
    expected = a.copy()
    with pytest.raises(IndexError):
        in_place(expected, w, 9)
    with pytest.raises(IndexError):
        adjit.jit(in_place)(a, w, 9)
    np.testing.assert_allclose(a, expected, rtol=1e-12)
