"""Checks stand early, what they have made equal goes by one name, also in the loops that mirror theirs."""

import numpy as np
import pytest
from differential import check_program

from adjit import grad, jit, value_and_grad
from adjit.codegen.scheduled import run
from adjit.ir.core import Function, Op, walk
from adjit.ir.errors import ShapeError
from adjit.ir.interp import run as interpret
from adjit.ir.passes import early_checks, equations
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify


def body(text: str) -> str:
    """The operations of a function's text, without indentation."""
    return "\n".join(line.strip() for line in text.strip().splitlines()[1:-1])


def passed(module: object, text: str) -> str:
    function = module.run(parse(text))
    verify(function)
    return body(to_text(function))


# ---------------------------------------------------------------- checks


def test_a_check_passes_what_only_computes() -> None:
    text = """func @f(%x: f64[?], %w: f64[?], %s: f64) -> f64[?] {
      %n: i64 = dim %x {axis=0}
      %y: f64[?] = mul %x, %s
      %m: i64 = dim %w {axis=0}
      %k: i64 = sub %m, 1
      %e: i64 = same_extent %n, %k
      %z: f64[?] = add %y, %s
      return %z
    }"""
    lines = passed(early_checks, text).splitlines()
    assert [line.split(":")[0] for line in lines] == ["%n", "%m", "%k", "%e", "%y", "%z", "return %z"]


def test_checks_keep_their_order() -> None:
    text = """func @f(%x: f64[?], %i: i64, %j: i64) -> f64 {
      %n: i64 = dim %x {axis=0}
      %y: f64[?] = exp %x
      %a: i64 = bound %i, %n {what="index", axis=0}
      %u: f64 = index %y, %a {spec="i"}
      %q: bool = gt %u, 0.0
      check %q {error="ValueError", message="negative"}
      %v: f64[?] = exp %y
      %b: i64 = bound %j, %n {what="index", axis=0}
      %w: f64 = index %v, %b {spec="i"}
      return %w
    }"""
    lines = passed(early_checks, text).splitlines()
    names = [line.split(":")[0].split(" {")[0] for line in lines]
    assert names == ["%n", "%a", "%y", "%u", "%q", "check %q", "%b", "%v", "%w", "return %w"]
    function = parse(text)
    moved = early_checks.run(function)
    for i, j in ((7, 9), (0, 9), (-1, 0)):
        for which in (function, moved):
            try:
                found = interpret(which, [np.arange(3.0) - 1, i, j])
            except Exception as error:
                found = str(error)
            if which is function:
                expected = found
        np.testing.assert_equal(found, expected)


def test_loops_with_checks_are_not_passed() -> None:
    text = """func @f(%x: f64[?], %n: i64, %j: i64) -> f64 {
      %m: i64 = dim %x {axis=0}
      %s: f64 = for %i in (0, %n) (%t = 0.0) {
        %a: i64 = bound %i, %m {what="index", axis=0}
        %v: f64 = index %x, %a {spec="i"}
        %u: f64 = add %t, %v
        yield %u
      }
      %b: i64 = bound %j, %m {what="index", axis=0}
      %w: f64 = index %x, %b {spec="i"}
      %r: f64 = add %s, %w
      return %r
    }"""
    function = parse(text)
    assert early_checks.run(function) is function


# ---------------------------------------------------------------- equations

SLICES = """func @f(%x: f64[?], %y: f64[?]) -> f64[?] {
  %n: i64 = dim %y {axis=0}
  %m: i64 = dim %x {axis=0}
  %d: i64 = mul 2, %n
  %k: i64 = minimum %d, %m
  %l: i64 = sub %k, %n
  %e: i64 = same_extent %n, %l
  %v: f64[?] = index %x, %n, %l, 1 {spec="s"}
  %w: f64[?] = mul %v, %y
  return %w
}"""


def test_a_slice_by_what_its_end_follows_from() -> None:
    text = SLICES.replace("index %x, %n", "index %x, %k")
    lines = passed(equations, text).splitlines()
    assert '%v: f64[?] = index %x, %0, %n, 1 {spec="s"}' in lines or any(
        line.startswith("%v: f64[?] = index %x,") and "%n, 1" in line and "%k" not in line for line in lines
    )
    assert any("mul %n, 2" in line for line in lines)


def test_without_a_check_nothing_follows() -> None:
    function = parse(SLICES.replace("  %e: i64 = same_extent %n, %l\n", ""))
    assert equations.run(function) is function


def loops(first: str, second: str, between: str = "") -> str:
    """Two loops; the first checks, the second takes a slice."""
    return f"""func @f(%x: f64[?], %y: f64[?], %p: i64, %q: i64, %c: bool) -> f64 {{
      %n: i64 = dim %y {{axis=0}}
      %m: i64 = dim %x {{axis=0}}
      %s: f64 = for %i in (0, {first}) (%t = 0.0) {{
        %e: i64 = same_extent %n, %m
        yield %t
      }}
      {between}
      %r: f64 = for %j in (0, {second}) (%u = %s) {{
        %v: f64[?] = index %x, 0, %m, 1 {{spec="s"}}
        %w: f64[?] = mul %v, %y
        %a: f64 = reduce_sum %w {{axes=(0,)}}
        %b: f64 = add %u, %a
        yield %b
      }}
      return %r
    }}"""


def test_a_loop_knows_what_one_over_its_range_has_found() -> None:
    assert "index %x, 0, %n, 1" in passed(equations, loops("%p", "%p"))
    assert "index %x, 0, %m, 1" in passed(equations, loops("%p", "%q"))  # the first may not have run


def test_what_a_branch_has_found_is_forgotten() -> None:
    text = """func @f(%x: f64[?], %y: f64[?], %c: bool) -> f64[?] {
      %n: i64 = dim %y {axis=0}
      %m: i64 = dim %x {axis=0}
      if %c {
        %e: i64 = same_extent %n, %m
        yield
      } else {
        yield
      }
      %v: f64[?] = index %x, 0, %m, 1 {spec="s"}
      return %v
    }"""
    assert "index %x, 0, %m, 1" in passed(equations, text)


def test_the_mirror_of_a_while_runs_over_its_turns() -> None:
    text = """func @f(%x: f64[?], %y: f64[?], %p: i64) -> f64 {
      %n: i64 = dim %y {axis=0}
      %m: i64 = dim %x {axis=0}
      %k: i64, %o: i64 = while (%a = START, %b = %p) {
        %g: bool = lt %b, 10
        test %g
      } do {
        %e: i64 = same_extent %n, %m
        %c: i64 = add %a, 1
        %d: i64 = add %b, 2
        yield %c, %d
      }
      %r: f64 = for %j in (0, %k) (%u = 0.0) {
        %v: f64[?] = index %x, 0, %m, 1 {spec="s"}
        %z: f64 = reduce_sum %v {axes=(0,)}
        %f: f64 = add %u, %z
        yield %f
      }
      return %r
    }"""
    assert "index %x, 0, %n, 1" in passed(equations, text.replace("START", "0"))
    assert "index %x, 0, %m, 1" in passed(equations, text.replace("START", "1"))  # not the number of turns


def test_what_is_made_in_a_loop_stays_there() -> None:
    text = """func @f(%x: f64[?], %y: f64[?], %p: i64) -> f64 {
      %n: i64 = dim %y {axis=0}
      %m: i64 = dim %x {axis=0}
      %d: i64 = mul 3, %n
      %k: i64 = minimum %d, %m
      %r: f64 = for %j in (0, %p) (%u = 0.0) {
        %e: i64 = same_extent %k, %d
        %v: f64[?] = index %x, 0, %k, 1 {spec="s"}
        %z: f64 = reduce_sum %v {axes=(0,)}
        %f: f64 = add %u, %z
        yield %f
      }
      %w: f64[?] = index %x, 0, %k, 1 {spec="s"}
      %a: f64 = reduce_sum %w {axes=(0,)}
      %b: f64 = add %a, %r
      return %b
    }"""
    lines = passed(equations, text).splitlines()
    assert '%w: f64[?] = index %x, 0, %k, 1 {spec="s"}' in lines
    assert '%v: f64[?] = index %x, 0, %k, 1 {spec="s"}' not in lines


# ---------------------------------------------------------------- programs


def cells(w, b, state, steps):
    n = state.shape[1]
    h = state.copy()
    total = 0.0
    for t in range(len(steps)):
        a = steps[t] * 2.0
        for i in range(len(state)):
            keep = 1.0 / (1.0 + np.exp(-(a * w[i, :n] + b[i, :n])))
            enter = np.tanh(h[i] * w[i, n : 2 * n] + b[i, n : 2 * n])
            leave = np.exp(a * w[i, 2 * n :] + b[i, 2 * n :])
            a = keep * enter + 0.1 * leave
            h[i] = a
        total += np.sum(a * a)
    return total


def counted(w, x, limit):
    n = len(x)
    h = x * 1.0
    level = 0.0
    while level < limit:
        a = np.tanh(h * w[:n])
        c = np.exp(-(a * w[n:]))
        h = a + 0.5 * c
        level = level + 1.0
    return np.sum(h * h)


def arguments(layers: int, count: int, n: int, m: int | None = None, parts: int = 3) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    shapes = (layers, parts * n), (layers, parts * n), (layers, n), (count, n if m is None else m)
    return tuple(rng.normal(size=shape) * 0.5 for shape in shapes)


def test_cells() -> None:
    sets = [arguments(*sizes) for sizes in ((2, 3, 4), (1, 1, 5), (3, 2, 1), (2, 0, 3), (0, 2, 3), (2, 2, 0))]
    check_program(cells, sets, (0, 1, 2, 3), compile=True, analytic=cells)


def test_counted() -> None:
    rng = np.random.default_rng(4)
    sets = [(rng.normal(size=2 * n) * 0.5, rng.normal(size=n), limit) for n, limit in ((4, 3.0), (3, 0.0), (0, 2.0))]
    check_program(counted, sets, (0, 1), compile=True)


def innermost(function: Function) -> list[Op]:
    return [
        op
        for op in walk(function.body)
        if op.name == "for" and not any(inner.name == "for" for inner in walk(op.regions[0]))
    ]


def test_the_reverse_of_a_cell_is_one_loop() -> None:
    found = grad(cells, argnums=(0, 1, 2))
    found(*arguments(2, 3, 4))
    function = found.ir_function("scheduled")
    (sweep,) = [op for op in walk(function.body) if op.name == "for" and depth_of(op) == 3 and op.attrs.get("reverse")]
    (cell,) = [op for op in walk(sweep.regions[0]) if op.name == "for" and op.attrs.get("reverse")]
    assert len([op for op in walk(cell.regions[0]) if op.name == "for"]) == 1


def depth_of(loop: Op) -> int:
    return 1 + max((depth_of(op) for op in walk(loop.regions[0]) if op.name == "for"), default=0)


WRONG = [
    (arguments(2, 3, 4, 5), "operands"),
    (arguments(2, 3, 40, 4), "operands"),
    (arguments(2, 3, 4, parts=2), "operands"),
    ((*arguments(2, 3, 4)[:2], np.ones((2, 40)), np.ones((3, 40))), "operands"),
    ((np.ones((1, 12)), np.ones((2, 12)), np.ones((2, 4)), np.ones((3, 4))), "index"),
    ((np.ones((2, 12)), np.ones((1, 12)), np.ones((2, 4)), np.ones((3, 4))), "index"),
]


@pytest.mark.daily(1)
@pytest.mark.parametrize(("args", "message"), WRONG)
def test_no_loop_runs_ahead_of_what_keeps_it_inside(args: tuple[np.ndarray, ...], message: str) -> None:
    """In the schedule of the reference interpreter, which would say that a position is outside of memory."""
    right = arguments(2, 3, 4)
    for transformed in (jit(cells), grad(cells, argnums=(0, 1, 2, 3)), value_and_grad(cells, (0, 2))):
        transformed(*right)
        with pytest.raises((ShapeError, IndexError), match=message):
            run(transformed.ir_function("scheduled"), [np.array(a) for a in args])
        with pytest.raises((ShapeError, IndexError), match=message):
            transformed(*args)


def test_rows_that_are_written_are_checked_first() -> None:
    def f(x, w, n):
        h = w.copy()
        total = 0.0
        for i in range(n):
            t = np.exp(x * h[0])
            h[i] = t * w[i + 1]
            total += np.sum(h[i] * t)
        return total

    g = grad(f, argnums=(0, 1))
    x, w = np.linspace(0.1, 0.5, 5), np.linspace(0.2, 1.0, 20).reshape(4, 5)
    g(x, w, 3)
    check_program(f, [(x, w, 3), (x, w, 0)], (0, 1), compile=True)
    for rows in (4, 5, 40):
        with pytest.raises(IndexError, match="out of bounds"):
            run(g.ir_function("scheduled"), [x, w, rows])
        with pytest.raises(IndexError, match="out of bounds"):
            g(x, w, rows)
