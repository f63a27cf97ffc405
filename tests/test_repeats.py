"""Loops and branches that are the same as one before are run once."""

from __future__ import annotations

from typing import Any

import numpy as np
from differential import check_program

import adjit
from adjit.ir.core import walk
from adjit.ir.interp import run as interpret
from adjit.ir.passes import repeats
from adjit.ir.text import parse
from adjit.ir.verify import verify

HEAD = "func @f(%x: f64[?], %n: i64, %c: bool) -> (f64[?], f64[?]) {"

FILLED = """
  %{0}: f64[?] = fill {1}, %n
  %{0}r: f64[?] = for %i in (0, %n) (%t = %{0}) {{
    %p: i64 = bound %i, %m {{what="index", axis=0}}
    %v: f64 = index %x, %p {{spec="i"}}
    %w: f64 = {2} %v
    %u: f64[?] = update %t, %w, %i {{spec="i"}}
    yield %u
  }}"""


def function_of(*parts: str, results: str) -> Any:
    return parse("\n".join([HEAD, "  %m: i64 = dim %x {axis=0}", *parts, f"  return {results}", "}"]))


def loops(function: Any, name: str = "for") -> int:
    return sum(op.name == name for op in walk(function.body))


def same(function: Any, once: Any) -> None:
    verify(once)
    x = np.linspace(-1.0, 2.0, 5)
    for n in (0, 3, 5):
        for c in (False, True):
            expected, found = (interpret(f, [x.copy(), n, c]) for f in (function, once))
            for a, b in zip(expected, found, strict=True):
                assert np.array_equal(a, b)


def test_equal_loops() -> None:
    function = function_of(FILLED.format("a", 0.5, "sin"), FILLED.format("b", 0.5, "sin"), results="%ar, %br")
    once = repeats.run(function)
    assert loops(once) == 1
    same(function, once)


def test_loops_that_differ() -> None:
    for other in (FILLED.format("b", 0.25, "sin"), FILLED.format("b", 0.5, "cos"),
                  FILLED.format("b", 0.5, "sin").replace("(0, %n)", "reverse(0, %n)"),
                  FILLED.format("b", 0.5, "sin").replace("update %t, %w", "update %t, %v")):  # fmt: skip
        function = function_of(FILLED.format("a", 0.5, "sin"), other, results="%ar, %br")
        assert repeats.run(function) is function


def test_equal_results_are_written_to_apart() -> None:
    """One of them is changed afterwards, the other is not."""
    text = '  %k: f64[?] = for %i in (0, %n) (%t = %br) {\n%u: f64[?] = update %t, 7.0, %i {spec="i"}\nyield %u\n}'
    function = function_of(FILLED.format("a", 0.5, "sin"), FILLED.format("b", 0.5, "sin"), text, results="%ar, %k")
    once = repeats.run(function)
    assert loops(once) == 2
    same(function, once)


def test_what_follows_equal_loops() -> None:
    more = """
  %{0}s: f64[?] = for %i in (0, %n) (%t = %{0}r) {{
    %v: f64 = index %{0}r, %i {{spec="i"}}
    %w: f64 = exp %v
    %u: f64[?] = update %t, %w, %i {{spec="i"}}
    yield %u
  }}"""
    parts = [p.format(k, 0.5, "sin") for k in "ab" for p in (FILLED, more)]
    function = function_of(*parts, results="%as, %bs")
    once = repeats.run(function)
    assert loops(once) == 2
    same(function, once)


def test_only_what_is_in_sight() -> None:
    branch = f"  %g: f64[?] = if %c {{{FILLED.format('a', 0.5, 'sin')}\n yield %ar\n }} else {{\n yield %x\n }}"
    function = function_of(branch, FILLED.format("b", 0.5, "sin"), results="%g, %br")
    assert repeats.run(function) is function
    function = function_of(FILLED.format("b", 0.5, "sin"), branch, results="%g, %br")
    once = repeats.run(function)
    assert loops(once) == 1
    same(function, once)


def test_branches_and_whiles() -> None:
    text = """
  %{0}: f64 = while (%v = 1.0) {{
    %l: bool = lt %v, 9.0
    test %l
  }} do {{
    %w: f64 = mul %v, 2.5
    yield %w
  }}
  %{0}g: f64[?] = if %c {{
    %e: f64[?] = mul %x, %{0}
    yield %e
  }} else {{
    %e: f64[?] = add %x, %{0}
    yield %e
  }}"""
    function = function_of(text.format("a"), text.format("b"), results="%ag, %bg")
    once = repeats.run(function)
    assert loops(once, "while") == loops(once, "if") == 1
    same(function, once)


def running(x: Any) -> Any:
    y = np.zeros(len(x))
    for i in range(1, len(x)):
        y[i] = np.sin(y[i - 1]) + x[i]
    return y


def test_a_value_and_derivatives_share_the_loop() -> None:
    def together(x: Any, v: Any) -> Any:
        y = running(x)
        _, dot = adjit.jvp(lambda z: running(z) * 2.0, (x,), (v,))
        y[0] = 5.0
        return np.sum(y * dot)

    compiled = adjit.jit(together)
    x, v = np.linspace(-1.0, 1.0, 7), np.cos(np.arange(7.0))
    y, h = running(x), 1e-6
    dot = (running(x + h * v) - running(x - h * v)) / h
    y[0] = 5.0
    assert np.isclose(compiled(x, v), np.sum(y * dot), rtol=1e-8)
    check_program(lambda z: np.sum(running(z) * running(z)), [(x,)], (0,), compile=True)
