"""What a loop has found about its index holds for the index of a later loop over the same range."""

import numpy as np
import pytest
from differential import check_program

from adjit import grad, jit
from adjit.codegen import lower
from adjit.ir.core import walk
from adjit.ir.errors import ShapeError
from adjit.ir.passes import equations
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

TWO = """func @f(%x: f64[?], %n: i64, %o: i64) -> f64 {
  %m: i64 = dim %x {axis=0}
  %s: f64 = for %i in (FIRST) (%t = 0.0) {
    %a: i64 = add %i, STEP
    %k: i64 = minimum %a, %m
    CHECK
    yield %t
  }
  %r: f64 = for %j in (SECOND) (%u = %s) {
    %b: i64 = add %j, OTHER
    %l: i64 = minimum %b, %m
    %v: f64[?] = index %x, 0, %l, 1 {spec="s"}
    %z: f64 = reduce_sum %v {axes=(0,)}
    %w: f64 = add %u, %z
    yield %w
  }
  return %r
}"""
AT_ONCE = "%e: i64 = same_extent %a, %k"
INSIDE = """%q: f64 = for %h in (0, %o) (%g = 0.0) {
      %e: i64 = same_extent %a, %k
      yield %g
    }"""


def slices(first: str = "0, %n", second: str = "0, %n", check: str = AT_ONCE, step: str = "1", other: str = "1") -> str:
    text = TWO.replace("FIRST", first).replace("SECOND", second).replace("CHECK", check)
    function = equations.run(parse(text.replace("STEP", step).replace("OTHER", other)))
    verify(function)
    return next(line for line in to_text(function).splitlines() if "index %x" in line)


def test_the_index_of_a_later_loop_over_the_range() -> None:
    assert "%l" not in slices()


def test_backwards() -> None:
    text = TWO.replace("for %j in (SECOND)", "for %j in reverse(0, %n)").replace("FIRST", "0, %n")
    function = equations.run(parse(text.replace("CHECK", AT_ONCE).replace("STEP", "1").replace("OTHER", "1")))
    assert "%l, 1" not in to_text(function)


@pytest.mark.parametrize(
    "case",
    [
        {"second": "0, %o"},  # other turns
        {"first": "1, %n"},  # one turn more
        {"other": "2"},  # another number
        {"check": INSIDE},  # where perhaps no turn was run
    ],
)
def test_what_was_not_tested_does_not_follow(case: dict[str, str]) -> None:
    assert "index %x, 0, %l, 1" in slices(**case)


def test_what_a_loop_inside_has_found() -> None:
    text = """func @f(%x: f64[?], %n: i64, %o: i64) -> f64 {
      %m: i64 = dim %x {axis=0}
      %s: f64 = for %i in (0, %n) (%t = 0.0) {
        %k: i64 = minimum %i, %m
        %q: f64 = for %h in (0, %i) (%g = %t) {
          %p: i64 = minimum %h, %k
          %e: i64 = same_extent %h, %p
          %c: i64 = same_extent %i, %k
          yield %g
        }
        yield %q
      }
      %r: f64 = for %j in reverse(0, %n) (%u = %s) {
        %l: i64 = minimum %j, %m
        %d: f64 = for %y in reverse(0, RANGE) (%z = %u) {
          %a: i64 = minimum %y, %l
          %v: f64[?] = index %x, %a, %l, 1 {spec="s"}
          %b: f64 = reduce_sum %v {axes=(0,)}
          %w: f64 = add %z, %b
          yield %w
        }
        yield %d
      }
      return %r
    }"""
    assert "index %x, %y, %j, 1" in to_text(equations.run(parse(text.replace("RANGE", "%j"))))
    assert "index %x, %a, %l, 1" in to_text(equations.run(parse(text.replace("RANGE", "%n"))))


def triangular(c: np.ndarray, a: np.ndarray, s: float) -> float:
    """As in a symmetric update: slices up to the row's number, of arrays that need not be long enough for that."""
    for i in range(c.shape[0]):
        for k in range(a.shape[1]):
            c[i, : i + 1] += s * a[i, k] * a[: i + 1, k]
    return (c * c).sum()


def test_derivatives_of_triangular_updates() -> None:
    generator = np.random.default_rng(5)
    square = (generator.standard_normal((5, 5)), generator.standard_normal((5, 3)), 0.7)
    long = (generator.standard_normal((3, 4)), generator.standard_normal((6, 2)), -1.1)
    check_program(triangular, [square, long], (0, 1, 2))


def test_two_sweeps_of_a_triangle_are_one_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        lower, "sweep_triangles", lambda function, few: (set(few), set())
    )  # that keep rows of their own
    generator = np.random.default_rng(5)
    derivative = grad(triangular, argnums=(0, 1, 2))
    derivative(generator.standard_normal((5, 5)), generator.standard_normal((5, 3)), 0.7)
    rows = [op for op in walk(derivative.ir_function("scheduled").body) if op.name == "buffer.alloc"]
    assert all(len(op.operands) == 2 for op in rows)  # matrices: no row is kept between the sweeps


def test_an_array_that_is_too_short_is_found() -> None:
    generator = np.random.default_rng(5)
    short = generator.standard_normal((5, 3)), generator.standard_normal((5, 3)), 0.7
    for compiled in (jit(triangular), grad(triangular, argnums=1)):
        with pytest.raises((ShapeError, ValueError), match="broadcast"):
            compiled(*short)
