"""Numbers that are few next to a gradient are computed again; elsewhere the value of an elementary function is kept."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from differential import check_program

from adjit import grad, hessian, jacrev, value_and_grad, vjp
from adjit.ir.adjoint import lower_order
from adjit.ir.adjoint import vjp as ir_vjp
from adjit.ir.adjoint.lower_order import LowerOrder
from adjit.ir.adjoint.prepare import prepare
from adjit.ir.core import walk
from adjit.ir.text import parse

SQUARE = np.random.default_rng(1).uniform(0.1, 0.9, (6, 6))
WIDE = np.random.default_rng(2).uniform(0.1, 0.9, (4, 7))
CUBE = np.random.default_rng(3).uniform(0.1, 0.9, (3, 5, 5))
NONE = np.empty((0, 0))

# ---------------------------------------------------------------- a row and a column of places for each turn


def diagonal(a):
    trace = 0.0
    for i in range(a.shape[0]):
        trace += np.tanh(a[i, i])
    return np.sum(a * (a + trace))


def below_the_diagonal(a):
    s = 0.0
    for i in range(a.shape[0] - 1):
        s += np.exp(np.sin(a[i, i + 1])) * a[i, 0]
    return s


def backwards_on_a_condition(a):
    s = 1.0
    for i in range(a.shape[0] - 1, -1, -1):
        if a[i, i] > 0.3:
            s += np.tanh(a[i, i] * a[i, 0])
        else:
            s -= np.exp(a[0, i])
    return s


def found_equal(a, b):
    """`a` is as wide as `b` is long, which is as long as `a`."""
    s = np.sum(a @ b) + np.sum(a * b)
    for i in range(b.shape[0]):
        s += np.tanh(a[0, i])
    return s


def planes(x):
    """As many turns as a plane has elements; there are as many planes as rows."""
    s = np.sum(x[0] * x[1])
    for i in range(x.shape[0]):
        s += x[i, i, i]
        for j in range(i):
            s += np.tanh(x[i, j, i]) * x[j, i, j]
    return s


def several_functions(a):
    s = 0.0
    for i in range(a.shape[0]):
        s += np.tanh(np.exp(np.tanh(a[i, i])))
    return s


COMPUTED_AGAIN = [
    (diagonal, [(SQUARE,), (WIDE,), (SQUARE[:1, :1],), (NONE,)]),
    (below_the_diagonal, [(SQUARE,), (WIDE,), (SQUARE[:1, :2],)]),
    (backwards_on_a_condition, [(SQUARE,), (NONE,)]),
    (found_equal, [(SQUARE, SQUARE.T.copy())]),
    (planes, [(np.stack([SQUARE + 0.1 * k for k in range(6)]),)]),
    (several_functions, [(SQUARE,), (WIDE,)]),
]

# ---------------------------------------------------------------- as many turns as elements, or more


def first_column(x):
    """Points of a few coordinates: the gradient is not much larger than the turns are many."""
    s = 0.0
    for i in range(x.shape[0]):
        s += np.tanh(x[i, 0]) * x[i, 1]
    return s


def all_of_it(a):
    s = 0.0
    for i in range(a.shape[0]):
        for j in range(i + 1):
            s += np.tanh(a[i, j])
    return s


def many_small_diagonals(x):
    s = 0.0
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            s += np.tanh(x[b, i, i])
    return s


def needed_in_each_column(a):
    """A value for each row, of which the derivative asks for each element."""
    s = 0.0
    for i in range(a.shape[0]):
        t = np.tanh(a[i, i])
        for j in range(a.shape[1]):
            s += t * a[i, j] * a[j, i]
    return s


def repeated(a, times):
    s = 0.0
    for _ in range(times):
        for i in range(a.shape[0]):
            s += np.tanh(s * a[i, i])
    return s


def until(a):
    s, i = 0.0, 0
    while s < 0.6:
        s += np.tanh(a[i, i])
        i += 1
    return s


def of_another_array(a):
    """`b` is needed no more once the numbers are there."""
    b = np.linalg.inv(a + 3.0 * np.eye(a.shape[0]))
    s = 0.0
    for i in range(b.shape[0]):
        s += np.tanh(b[i, i])
    return s


def of_what_is_overwritten(a):
    s = 0.0
    for i in range(a.shape[0]):
        s += np.tanh(a[i, i])
        a[i, i] = s
    return np.sum(a)


def of_what_has_no_gradient(x, a):
    s = 0.0
    for i in range(a.shape[0]):
        s += np.tanh(x[i] * a[i, i])
    return s


def rows_too(a):
    """What each turn does with its row is not put into branches."""
    s = 0.0
    for i in range(a.shape[0]):
        s += np.tanh(a[i, i]) * np.sum(a[i] * a[0])
    return s


def written_to(a):
    s = 0.0
    b = a * 1.0
    for i in range(a.shape[0]):
        s += np.tanh(a[i, i])
        b[i, 0] = s * b[i, 0]
    return np.sum(b)


KEPT = [
    (first_column, [(WIDE,), (SQUARE,)]),
    (all_of_it, [(SQUARE,)]),
    (many_small_diagonals, [(CUBE,)]),
    (needed_in_each_column, [(SQUARE,)]),
    (repeated, [(SQUARE, 3), (SQUARE, 0)]),
    (until, [(SQUARE,)]),
    (of_another_array, [(SQUARE,)]),
    (of_what_is_overwritten, [(SQUARE,)]),
    (of_what_has_no_gradient, [(SQUARE[0], SQUARE)]),
    (rows_too, [(SQUARE,)]),
    (written_to, [(SQUARE,)]),
]


@pytest.fixture
def long(monkeypatch):
    """Extents of 4 are large, those of 3 are not."""
    monkeypatch.setattr(lower_order, "LONG", 4)


def smaller(x):
    """An argument of extents that are not large."""
    return x[tuple(slice(0, 3) for _ in x.shape)].copy() if isinstance(x, np.ndarray) else x


def differentiated(program):
    return (0, 1) if program is found_equal else (0,)


def renewed(function):
    """The function as another one, so that nothing is known of it."""

    def again(*arguments):
        return function(*arguments)

    return again


def gradient_of(program, arguments):
    f = value_and_grad(renewed(program), argnums=differentiated(program))
    f(*copy.deepcopy(arguments))
    return f


@pytest.mark.parametrize(("program", "arguments"), COMPUTED_AGAIN + KEPT)
def test_values_and_gradients(program, arguments, long):
    more = [tuple(smaller(x) for x in given) for given in arguments]
    check_program(program, arguments + more, argnums=differentiated(program), compile=True)


@pytest.mark.parametrize(("program", "arguments"), COMPUTED_AGAIN)
def test_the_same_bits(program, arguments, long, monkeypatch):
    """Computed again or kept."""
    again = value_and_grad(renewed(program), argnums=differentiated(program))
    found = [again(*copy.deepcopy(given)) for given in arguments]
    again.compile(*arguments[0])
    assert f", {lower_order.LONG}" in again.ir("adjoint")
    monkeypatch.setattr(lower_order, "LONG", 1 << 40)
    kept = value_and_grad(renewed(program), argnums=differentiated(program))
    for given, (value, gradients) in zip(arguments, found, strict=True):
        expected, slopes = kept(*copy.deepcopy(given))
        assert value == expected
        for one, other in zip(gradients, slopes, strict=True):
            np.testing.assert_array_equal(one, other)


def test_infinite_slopes(long, monkeypatch):
    """Zeros by structure stay zeros, true singularities are as loud as they are."""

    def steep(a):
        s = 0.0
        for i in range(a.shape[0]):
            if a[i, 0] > 0.2:
                s += np.tanh(np.sqrt(a[i, i])) * a[i, 0]
            else:
                s += np.exp(a[0, i])
        return s

    a = SQUARE.copy()
    a[2, 2] = a[4, 4] = 0.0
    a[:, 0] = [0.1, 0.3, 0.0, 0.3, 0.3, 0.3]
    found = grad(renewed(steep))(a)
    assert found[2, 2] == 0.0 and np.isinf(found[4, 4]) and np.isfinite(found).sum() == 35
    monkeypatch.setattr(lower_order, "LONG", 1 << 40)
    np.testing.assert_array_equal(grad(renewed(steep))(a), found)


def branches(f):
    """What the bodies of loops do in the version for large extents and in the other one: texts of both."""
    found = [op for op in walk(f.ir_function("adjoint").body) if op.name == "if"]
    found = [op for op in found if op.operands[0].op is not None and op.operands[0].op.name == "ge"]
    return [" ".join(inner.name for op in found for inner in walk(op.regions[k])) for k in (0, 1)]


@pytest.mark.parametrize(("program", "arguments"), COMPUTED_AGAIN)
def test_nothing_is_kept_where_extents_are_large(program, arguments, long):
    large, other = branches(gradient_of(program, arguments[0]))
    assert "tape" not in large and "tape.push" in other and "tape.pop" in other


@pytest.mark.parametrize(("program", "arguments"), KEPT)
def test_values_are_kept(program, arguments, long):
    f = gradient_of(program, arguments[0])
    text = f.ir("adjoint")
    assert "8 bytes" in f.explain() and text.count("tape.push") == f.explain().count("8 bytes")
    assert branches(f) == ["", ""]


def test_each_is_computed_once_more(long):
    for program, calls in [(diagonal, 2), (several_functions, 6)]:
        large, other = branches(gradient_of(program, (SQUARE,)))
        for text, count in ((large, calls), (other, calls // 2)):
            assert sum(text.split().count(name) for name in ("tanh", "exp")) == count


def test_many_functions_are_kept(long):
    def chain(a):
        s = 0.0
        for i in range(a.shape[0]):
            x = a[i, i]
            for _ in (1, 2, 3, 4, 5):
                x = np.exp(np.sin(x) * np.cos(x)) * np.tanh(x)
            s += x * a[i, 0]
        return s

    check_program(chain, [(SQUARE,)], compile=True)
    assert branches(gradient_of(chain, (SQUARE,))) == ["", ""]


def test_a_branch_of_the_users_own():
    """What the user asked is known, too."""

    def asked(a):
        s = 0.0
        if a.shape[0] >= 2000 and a.shape[1] >= 1500:
            for i in range(a.shape[0]):
                s += np.tanh(a[i, 0])
        return s

    assert "nothing is kept" in gradient_of(asked, (SQUARE,)).explain()
    check_program(asked, [(SQUARE,)])


def trace(a):
    s = 0.0
    for i in range(a.shape[0]):
        s += np.tanh(a[i, i])
    return s


def test_a_pullback_keeps_the_numbers(long):
    """Not a copy of the matrix, which it would have to read again."""
    value, pullback = vjp(renewed(trace), SQUARE)
    assert value == pytest.approx(np.sum(np.tanh(np.diag(SQUARE))))
    np.testing.assert_allclose(pullback(2.0)[0], np.diag(2.0 / np.cosh(np.diag(SQUARE)) ** 2), rtol=1e-13, atol=0)
    optimized = gradient_of(trace, (SQUARE,)).ir_function("optimized")
    forward, _ = ir_vjp(optimized, [0], ["argument"]).split()
    assert not any(v is a for v in forward.results for a in forward.args)


def test_arguments_that_are_given_up_are_not_read_longer(long):
    def function(a, w):
        s = 0.0
        for i in range(a.shape[0]):
            s += np.tanh(a[i, i])
        return np.sum(w * (a + s))

    a, w = SQUARE.copy(), np.ones((6, 6))
    expected = grad(function)(SQUARE, w)
    assert grad(renewed(function), donate=0)(a, w) is a
    np.testing.assert_array_equal(a, expected)


def test_second_derivatives(long):
    expected = np.zeros((6, 6, 6, 6))
    t = np.tanh(np.diag(SQUARE))
    for i in range(6):
        expected[i, i, i, i] = -2.0 * t[i] * (1.0 - t[i] ** 2)
    for second in (hessian(renewed(trace)), jacrev(grad(renewed(trace)))):
        np.testing.assert_allclose(second(SQUARE), expected, rtol=1e-13, atol=1e-15)
    inner = grad(lambda a: np.sum(grad(trace)(a) ** 2))
    slopes = np.diag(expected[range(6), range(6), range(6), range(6)] * 2.0 * (1.0 - t**2))
    np.testing.assert_allclose(inner(SQUARE), slopes, rtol=1e-13, atol=1e-15)


def of_lower_order(text):
    """For each loop of a program, whether its body is of lower order than a large gradient of the first argument."""
    prepared = prepare(parse(text))
    order = LowerOrder(prepared, prepared.function.args[:1])
    return [order.grows(op.regions[0]) is not None for op in walk(prepared.function.body) if op.name == "for"]


def test_what_is_known_of_extents():
    program = """func @f(%x: f64[?,?], %n: i64) -> f64 {{
      %r: i64 = dim %x {{axis=0}}
      %c: i64 = dim %x {{axis=1}}
      {before}
      %s: f64 = for %i in ({lo}, {hi}) (%t = 0.0) {{
        {inside}
        %e: f64 = index %x, %i, %i {{spec="ii"}}
        %u: f64 = add %t, %e
        yield %u
      }}
      return %s
    }}"""

    def asked(before="", lo="0", hi="%r", inside=""):
        return of_lower_order(program.format(before=before, lo=lo, hi=hi, inside=inside))

    assert asked() == [False]
    assert asked(before="%k: i64 = same_extent %r, %c") == [True]
    assert asked(inside="%k: i64 = bound %i, %c") == [True]
    assert asked(inside="%j: i64 = add %i, 1\n %k: i64 = bound %j, %c") == [True]
    assert asked(inside="%j: i64 = sub %c, %i\n %k: i64 = bound %j, %c") == [False]
    assert asked(hi="%n", inside="%k: i64 = bound %i, %c") == [False]
    assert asked(hi="%n", inside="%k: i64 = bound %i, %c\n %l: i64 = bound %i, %r") == [True]
    assert asked(lo="%n", hi="%r", inside="%k: i64 = bound %i, %c") == [False]
    assert asked(hi="3", inside="%k: i64 = bound %i, %c\n %l: i64 = bound %i, %r") == [False]


def test_loops_around_loops():
    text = """func @f(%x: f64[?,?,?], %y: f64[?,?]) -> f64 {
      %n: i64 = dim %x {axis=0}
      %d: i64 = dim %x {axis=1}
      %e: i64 = dim %x {axis=2}
      %k: i64 = same_extent %d, %e
      %s: f64 = for %i in (0, %n) (%t = 0.0) {
        %u: f64 = for %j in (0, %d) (%v = %t) {
          yield %v
        }
        yield %u
      }
      %a: f64 = for %i in (0, %d) (%b = %s) {
        %g: f64 = for %j in (0, %e) (%h = %b) {
          yield %h
        }
        yield %g
      }
      return %a
    }"""
    assert of_lower_order(text) == [False, False, True, False]
    assert of_lower_order(text.replace("%k: i64 = same_extent %d, %e", "%k: i64 = same_extent %d, %n")) == [
        True,
        False,
        True,
        False,
    ]
    both = "%k: i64 = same_extent %d, %n\n      %l: i64 = same_extent %d, %e"
    assert of_lower_order(text.replace("%k: i64 = same_extent %d, %e", both)) == [True] * 4
