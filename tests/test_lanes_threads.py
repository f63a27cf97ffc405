"""Turns side by side, and blocks of sweeps, on threads: blocks go to threads, lanes stay vectors, and results are those
of one thread to rounding, the same bits from run to run."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_lanes import backwards, closest, inputs, nearest, neighbours, pairs_of_indices, stops

import adjit
from adjit.codegen.lower.parallel import Analysis, plans
from adjit.ir.core import Op, walk
from adjit.ir.text import parse

pytestmark = pytest.mark.usefixtures("always_threads")

EXTENTS = [(0, 3, 4), (1, 1, 1), (5, 2, 3), (15, 4, 3), (16, 3, 0), (17, 5, 9), (40, 2, 65)]
"""Less work than threads are woken for: no block, a whole one, something left over, columns that are too long."""
LARGE = (6001, 40, 9)
"""More."""
INDEPENDENT = [nearest, closest, neighbours, pairs_of_indices, stops]
"""Programs whose turns side by side depend on none before; `backwards` carries something on."""


def cost(p: Any, q: Any) -> Any:
    """What is accumulated has an index that is found side by side."""
    total = 0.0
    for i in range(len(p)):
        j = np.argmin(np.sum((q - p[i]) ** 2, axis=1))
        total += np.sum(np.abs(q[j] - p[i]) ** 3)
    return total


def leaves(x: Any) -> list[Any]:
    return [y for part in x for y in leaves(part)] if isinstance(x, tuple) else [np.asarray(x)]


def close(got: Any, wanted: Any) -> None:
    for a, b in zip(leaves(got), leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12 * (1.0 + np.max(np.abs(b), initial=0.0)))


def bits(x: Any) -> list[bytes]:
    return [part.tobytes() for part in leaves(x)]


def scheduled(function: Callable[..., Any], *arguments: Any) -> Any:
    compiled = adjit.jit(function, parallel=2).compile(*arguments)
    return compiled.ir_function("scheduled")


def lanes_of(op: Op) -> list[Op]:
    return [inner for region in op.regions for inner in walk(region) if inner.attrs.get("lanes")]


# ---------------------------------------------------------------- which loops


@pytest.mark.parametrize("function", INDEPENDENT)
def test_blocks_go_to_threads(function: Any) -> None:
    made = scheduled(function, *inputs((3, 4, 2)))
    with_lanes = [op for op in plans(made) if lanes_of(op)]
    assert with_lanes
    everywhere = [op for op in walk(made.body) if op.attrs.get("lanes")]
    assert sum(len(lanes_of(op)) for op in with_lanes) == len(everywhere)
    assert not any(op.attrs.get("parallel") for op in everywhere)


def test_what_is_carried_stays_in_order() -> None:
    made = scheduled(backwards, *inputs((3, 4, 2)))
    assert not [op for op in plans(made) if lanes_of(op)]
    lanes = [op for op in walk(made.body) if op.attrs.get("lanes")]
    assert lanes and not any(op.attrs.get("parallel") for op in lanes)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [closest, nearest])
def test_lanes_are_vectors_in_chunks(function: Any) -> None:
    compiled = adjit.jit(function, parallel=2).compile(*inputs((3, 4, 2)))
    bodies = re.findall(r"^define [^\n]*\.turns[^\n]*\{$(.*?)^\}", compiled.llvm(), re.MULTILINE | re.DOTALL)
    assert any(re.search(r"fmul <(4|8) x double>", body) for body in bodies)


# ---------------------------------------------------------------- values and gradients


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [*INDEPENDENT, backwards, cost])
def test_values(function: Any) -> None:
    serial = adjit.jit(function)
    made = {count: adjit.jit(function, parallel=count) for count in (1, 2, 3)}
    for extents in (*EXTENTS, LARGE):
        if 0 in extents and function is neighbours:
            continue
        p, q = inputs(extents)
        for given in ((p, q), (np.asfortranarray(p), q), (np.repeat(p, 2, axis=0)[::2], q[::-1])):
            wanted = serial(*given)
            found = made[2](*given)
            if function in (nearest, cost):
                close(found, wanted)
            else:
                assert np.array_equal(found, wanted)  # the same operations in the same order
            for count in (1, 2, 3) if given[0] is p else (2,):  # other layouts are other kernels
                assert bits(made[count](*given)) == bits(found)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [closest, nearest, stops, cost])
def test_gradients(function: Any) -> None:
    def weighted(p: Any, q: Any) -> Any:
        out = function(p, q)
        return np.sum(out * out)

    serial = adjit.value_and_grad(weighted, argnums=(0, 1))
    made = {count: adjit.value_and_grad(weighted, argnums=(0, 1), parallel=count) for count in (1, 2, 3)}
    for extents in ((0, 3, 4), (15, 4, 3), (33, 5, 9), LARGE):
        given = inputs(extents)
        first = made[2](*given)
        close(first, serial(*given))
        for _ in range(10):
            assert bits(made[2](*given)) == bits(first)
        for count in (1, 3):
            assert bits(made[count](*given)) == bits(first)


def test_forward_over_reverse() -> None:
    p, q = inputs(LARGE)

    def diagonal(p: Any, q: Any) -> Any:
        gradient = lambda at: adjit.grad(cost, argnums=1)(p, at)
        return adjit.jvp(gradient, (q,), (np.ones_like(q),))

    parallel = adjit.jit(diagonal, parallel=2)
    found = parallel(p, q)
    close(found, adjit.jit(diagonal)(p, q))
    assert bits(parallel(p, q)) == bits(found)


def test_specials() -> None:
    """The first NaN is the least; where threads meet, too."""

    def places(p: Any, q: Any) -> Any:
        out = np.zeros(len(p), dtype=np.int64)
        for i in range(len(p)):
            out[i] = np.argmin(np.sum(q * p[i], axis=1))
        return out

    rng = np.random.default_rng(5)
    p = rng.choice([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], (20003, 2))
    q = rng.choice([0.0, 1.0, -2.0], (30, 2))
    with np.errstate(all="ignore"):
        expected = places(p, q)
    assert np.array_equal(adjit.jit(places, parallel=2)(p, q), expected)


# ---------------------------------------------------------------- failures, callers


@pytest.mark.parametrize("at", [0, 5, 16, 3000, 5999, 6000])
def test_failing_in_the_middle(at: int) -> None:
    p, q = inputs(LARGE)
    p[at] = 1e9 * q[0]
    with pytest.raises(ValueError, match="too far"):
        adjit.jit(stops, parallel=2)(p, q)


def test_shapes_that_do_not_match() -> None:
    function = adjit.jit(nearest, parallel=2)
    p, q = inputs(LARGE)
    with pytest.raises(ValueError, match="broadcast"):
        function(p, q[:, :2])
    with pytest.raises(ValueError, match="without elements"):
        function(p, q[:0])
    assert function(p[:0], q[:0]) == 0.0


def test_several_callers() -> None:
    given = [inputs(extents) for extents in (LARGE, (2000, 60, 7), (17, 5, 9))]
    function = adjit.value_and_grad(cost, argnums=(0, 1), parallel=2)
    wanted = [bits(function(*arguments)) for arguments in given]
    wrong: list[int] = []

    def work(k: int) -> None:
        wrong.extend(k for _ in range(15) if bits(function(*given[k % 3])) != wanted[k % 3])

    callers = [threading.Thread(target=work, args=(k,)) for k in range(5)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


# ---------------------------------------------------------------- blocks of sweeps


def horner(c: Any, t: Any) -> Any:
    out = np.zeros(len(t))
    for j in range(len(c) - 1, -1, -1):
        out = out * t + c[j]
    return np.sum(out * out)


def in_blocks(c: Any, t: Any) -> Any:
    """As a user writes blocks."""
    y = t.copy()
    for b in range((len(t) + 99) // 100):
        for j in range(len(c)):
            for i in range(100 * b, min(100 * b + 100, len(t))):
                y[i] = y[i] * t[i] + c[j]
    return np.sum(y)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [horner, in_blocks])
def test_blocks_of_sweeps(function: Any) -> None:
    serial = adjit.value_and_grad(function, argnums=(0, 1))
    made = {count: adjit.value_and_grad(function, argnums=(0, 1), parallel=count) for count in (1, 2, 3)}
    rng = np.random.default_rng(8)
    for sweeps, size in ((0, 5), (3, 0), (4, 1), (5, 1023), (6, 1024), (9, 1025), (40, 20003)):
        given = rng.uniform(-0.9, 0.9, sweeps), rng.uniform(-0.9, 0.9, size)
        first = made[2](*given)
        close(first, serial(*given))
        assert np.isclose(first[0], function(*given), rtol=1e-12, atol=1e-12)
        for count in (1, 2, 3):
            assert bits(made[count](*given)) == bits(first)


def test_blocks_are_apart() -> None:
    compiled = adjit.jit(horner, parallel=2).compile(np.ones(4), np.ones(9))
    made = compiled.ir_function("scheduled")
    blocked = [op for op in made.body.ops if op.name == "for" and any(o.regions for o in op.regions[0].ops)]
    assert blocked and all(op.attrs.get("parallel") for op in blocked)


RANGES = """
func @f(%n: i64, %m: i64, %x: &f64[?]) -> &f64[?] {
  %y: &f64[?] = buffer.alloc %n {dtype=f64}
  for %b in ORDER(0, %m) {
    %lo: i64 = mul %b, STEP
    %end: i64 = add %lo, WIDTH
    %hi: i64 = LEAST %end, %n
    for %i in (%lo, %hi) {
      %at: i64 = add %i, AHEAD
      %a: f64 = buffer.load %y, %at
      %c: f64 = mul %a, 0.5
      buffer.store %c, %y, %i
      yield
    }
    yield
  }
  return %y
} with {layouts=("", "", "C")}
"""


@pytest.mark.parametrize(
    ("step", "width", "ahead", "least", "apart"),
    [
        ("16", "16", "0", "minimum", True),
        ("16", "15", "0", "minimum", True),
        ("16", "15", "1", "minimum", True),
        ("16", "17", "0", "minimum", False),
        ("16", "16", "1", "minimum", False),
        ("16", "16", "-1", "minimum", False),
        ("16", "16", "0", "maximum", False),
        ("0", "16", "0", "minimum", False),
        ("-16", "16", "0", "minimum", True),
        ("-16", "17", "0", "minimum", False),
        ("%m", "%m", "0", "minimum", True),
        ("%m", "16", "0", "minimum", False),
        ("16", "%m", "0", "minimum", False),
    ],
)
@pytest.mark.parametrize("order", ["", "reverse"])
def test_ranges_that_meet(step: str, width: str, ahead: str, least: str, apart: bool, order: str) -> None:
    """Blocks of `%m` elements are apart: there are turns only where that is positive."""
    text = RANGES
    words = {"STEP": step, "WIDTH": width, "AHEAD": ahead, "LEAST": least, "ORDER": order}
    for word, value in words.items():
        text = text.replace(word, value)
    function = parse(text)
    loop = next(op for op in function.body.ops if op.name == "for")
    assert (Analysis(function).plan(loop) is not None) == apart


# ---------------------------------------------------------------- when threads are woken


def test_many_small_pieces_wake_threads(tmp_path: Path) -> None:
    """One does not; nor does what runs as if there were no threads."""
    script = """
        import numpy as np
        from adjit import jit
        from adjit.codegen import threads
        from adjit.codegen.choosing import ChoosingExecutable

        ChoosingExecutable.pays = lambda self, arguments: True  # as in programs with larger loops besides

        @jit(parallel=2)
        def f(x):
            return np.sum(np.exp(x))

        small, tiny = np.ones(40000), np.ones(100)
        first = f(small)
        assert threads.started() == 0
        for _ in range(1000):
            f(tiny)
        assert threads.started() == 0
        for _ in range(100):
            assert f(small) == first
        assert threads.started() == 1
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(script))
    done = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
