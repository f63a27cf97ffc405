"""Narrow products that take turns with loops, a block of rows at a time: the same numbers as one after the other."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from random_programs import load

import adjit
from adjit.api.arguments import flatten_call
from adjit.api.specialize import Transform, specialize
from adjit.codegen import scheduled
from adjit.codegen.lower import product_blocks, schedule
from adjit.ir import interp
from adjit.ir.core import Function, Op, Value, walk
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

ROWS = ["a", "b", "c"]
SQUARES = ["v", "w"]


def statement(rng: random.Random) -> str:
    """Something that is done to rows, to all of them at once, or across them."""
    a, b, c = (rng.choice(ROWS) for _ in range(3))
    v, w = (rng.choice(SQUARES) for _ in range(2))
    return rng.choice(
        [
            f"{a} = {b} @ {w}",
            f"{a} = ({b} - m) @ {w}.T",
            f"{a} = np.tanh({b} @ {w}) * {c}",
            f"{v} = 0.01 * ({a}.T @ ({b} * 0.5))",
            f"{v} = {v} + 0.1 * {w}",
            f"{a} = {b} * 0.5 + {c}",
            f"r = np.sum({a} * {b}, axis=1)",
            f"{a} = {b} - 0.1 * r[:, None]",
            f"{a}[:, 1] = r * 0.5",
            f"{a}[1:] = {b}[1:] - 0.5 * {c}[:-1]",
            f"m = np.sum({a}, axis=0) * 0.1",
            f"{a} = {a}[::-1] * 0.5 + {b}",
            f"r[0] = r[1] + {w}[0, 0]",
            f"m = 0.3 * ({w}.T @ m)",
            f"m = m @ {w} * 0.3",
            f"r = {a} @ ({w} @ m)",
            f"m = ({b}.T @ r) * 0.1",
            f"{v} = {w} * 0.5",
        ]
    )


def program(seed: int) -> str:
    rng = random.Random(seed)
    lines = ["n = x.shape[0]", "a = 1.0 * x", "b = x * 0.5", "c = np.cos(x)", "w = 0.3 * q", "v = q + 0.1"]
    lines += ["m = 0.1 * x[0]", "r = 0.5 * x[:, 0]"]
    lines += [statement(rng) for _ in range(rng.randint(0, 2))]
    lines.append("for _ in range(steps):")
    lines += [f"    {statement(rng)}" for _ in range(rng.randint(3, 7))]
    lines += [statement(rng) for _ in range(rng.randint(0, 2))]
    lines.append("return np.sum(a * b) + np.sum(c) + np.sum(v * w) + np.sum(r)")
    return "import numpy as np\n\n\ndef program(x, q, steps):\n" + "".join(f"    {line}\n" for line in lines)


def arguments(seed: int) -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(seed)
    sizes = ((2, 4, 1), (4, 5, 2), (9, 4, 2), (17, 5, 1), (3, 3, 1))
    return [(rng.uniform(-1, 1, (n, d)), rng.uniform(-1, 1, (d, d)), steps) for n, d, steps in sizes]


def traced(f: Any, args: tuple[Any, ...], argnums: tuple[int, ...] = (0, 1)) -> tuple[Function, Function]:
    """The primal and the adjoint, without compiling anything."""
    call = flatten_call(args, {})
    primal = specialize(f, Transform("jit", (), False, ()), call).stages.optimized
    return primal, specialize(f, Transform("grad", argnums, False, ()), call).forward


def blocks_of(function: Function) -> list[Op]:
    """Loops over blocks around parts of products."""
    loops = (op for op in walk(function.body) if op.name == "for" and made_by(op.operands[1], "floordiv"))
    return [op for op in loops if any(x.name == "buffer.call" for x in op.regions[0].ops)]


def made_by(value: Value, name: str) -> bool:
    return value.op is not None and value.op.name == name


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", range(40))
def test_random_programs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    f = load(program(seed))
    sets = arguments(seed)
    for function in traced(f, sets[0]):
        with monkeypatch.context() as patch:
            patch.setattr(product_blocks, "MEMBERS", 1)  # none
            plain = schedule(function)
        with monkeypatch.context() as patch:
            patch.setattr(product_blocks, "ROWS", 4)
            blocked = schedule(function)
        verify(blocked)
        assert to_text(parse(to_text(blocked))) == to_text(blocked)
        for args in sets:
            expected = interp.run(function, args)
            for given in (plain, blocked):
                for one, other in zip(scheduled.run(given, args), expected, strict=True):
                    np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.slow
def test_random_programs_have_blocks() -> None:
    found = [len(blocks_of(schedule(traced(load(program(seed)), arguments(seed)[0])[1]))) for seed in range(40)]
    assert sum(count > 0 for count in found) > 20


def mixture(alpha: Any, mu: Any, q: Any, x: Any) -> Any:
    beta = np.empty((len(x), len(alpha)))
    for c in range(len(alpha)):
        scaled = (x - mu[c]) @ q[c].T
        beta[:, c] = alpha[c] - 0.5 * np.sum(scaled * scaled, axis=1)
    top = np.max(beta, axis=1)
    return np.sum(top + np.log(np.sum(np.exp(beta - top[:, None]), axis=1)))


def by_hand(alpha: Any, mu: Any, q: Any, x: Any) -> tuple[Any, ...]:
    centred = x[None] - mu[:, None]
    scaled = np.einsum("cnj,cij->cni", centred, q)
    beta = alpha[:, None] - 0.5 * np.sum(scaled**2, axis=2)
    share = np.exp(beta - np.max(beta, axis=0))
    share = share / np.sum(share, axis=0)
    by_scaled = -share[:, :, None] * scaled
    of_q = np.einsum("cni,cnj->cij", by_scaled, centred)
    return np.sum(share, axis=1), -np.einsum("cni,cij->cj", by_scaled, q), of_q


GRADIENT = adjit.grad(mixture, argnums=(0, 1, 2))


@pytest.mark.parametrize("columns", [3, 4, 7, 8, 16, 31, 32, 33])
@pytest.mark.parametrize("rows", [1, 95, 96, 97, 250])
def test_a_mixture_of_any_size(rows: int, columns: int) -> None:
    random = np.random.default_rng(rows)
    alpha, mu = random.normal(size=3), random.normal(size=(3, columns))
    q, x = random.normal(size=(3, columns, columns)), random.normal(size=(rows, columns))
    for got, expected in zip(GRADIENT(alpha, mu, q, x), by_hand(alpha, mu, q, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


def test_what_lives_between_is_a_window() -> None:
    args = (np.ones(3), np.ones((3, 5)), np.ones((3, 5, 5)), np.ones((9, 5)))
    _, adjoint = traced(mixture, args, (0, 1, 2))
    (forward, backward) = blocks_of(schedule(adjoint))
    for loop in (forward, backward):
        windows = {v for op in walk(loop.regions[0]) for v in op.operands if is_window(v)}
        assert len(windows) == (1 if loop is forward else 2)


def is_window(value: Value) -> bool:
    return made_by(value, "buffer.alloc") and value.op is not None and made_by(value.op.operands[0], "select")


def kept(x: Any, w: Any) -> Any:
    """The rows in between are needed as a whole afterwards."""
    t = np.tanh(x)
    y = t @ w
    z = np.sum(y * y, axis=1)
    return z, t[::-1] * 2.0


@pytest.mark.parametrize("rows", [5, 97, 300])
def test_what_is_needed_afterwards_is_kept(rows: int) -> None:
    random = np.random.default_rng(rows)
    x, w = random.normal(size=(rows, 6)), random.normal(size=(6, 5))
    for got, expected in zip(adjit.jit(kept)(x, w), kept(x, w), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_what_is_not_finite_stays_in_its_row() -> None:
    x, w = np.ones((300, 6)), np.ones((6, 5))
    x[100, 2], x[299, 0], w[3, 3] = np.nan, np.inf, -np.inf
    z, _ = adjit.jit(kept)(x, w)
    np.testing.assert_array_equal(z, kept(x, w)[0])
