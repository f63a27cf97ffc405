"""Tapes that are pushed and popped in step are one stack, with room made once for pushes that follow each other."""

import numpy as np
import pytest
from differential import check_program

from adjit import grad, hessian, jacfwd, value_and_grad, vjp
from adjit.ir.core import walk
from adjit.ir.interp import run
from adjit.ir.passes import stacks
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

X = np.array([0.9, -0.4, 1.3, 0.2])


def walk_down(x, start: int):
    """Integers, floats and branches: what decides where it goes on is an integer."""
    total = 1.0
    k = start
    while k >= 0:
        here = x[k % 4]
        if k % 3 == 0:
            total = total * np.sin(here) + here
            k -= 2
        elif total > 1.0:
            total = total * np.exp(0.1 * here) * here
            k -= 1
        else:
            total = total + here * here
            k -= 1
    return total


def loops_between(x, turns: int):
    """Pushes before, inside and after a loop that pushes, in a loop that pushes."""
    y = 1.0
    i = 0
    while i < turns:
        y = np.sin(y * x[i % 4]) + 1.1
        a = y
        while a > 0.3:
            if a > 0.8:
                a = a * np.cos(0.5 * a)
            else:
                a = a * a * 0.9
            y = y * 1.01 + a * a
        y = y * np.exp(-a) * a
        i += 1
    return y


def loop_in_one_branch(x, turns: int):
    """Branches of which one pushes in a loop, the other in a branch of its own, and one pushes nothing."""
    y = 0.7
    for i in range(turns):
        if y > 0.5:
            if x[i % 4] > 0.0:
                y = y * np.sin(y) * x[i % 4]
            y = y * y + 0.3
        elif y > 0.1:
            while y < 0.6:
                y = y * np.exp(0.3 * y)
                if y > 0.4:
                    y = y * y + 0.25
        else:
            y = y + 0.4
    return y * np.sum(x)


def flags(x, turns: int):
    """Conditions on floats are kept, too."""
    y, low, high = 0.5, 0.0, 2.0
    i = 0
    while i < turns and abs(high - low) > 1e-9:
        y = 0.5 * (low + high) * x[0]
        p = y * y > x[2]
        q = np.sin(y) > x[3]
        if p:
            high = high * 0.9 * y
        if q and not p:
            low = low + 0.1 * y * y
        i += 1
    return y * y + high - low


def taken_apart(x, turns: int):
    """An array is written to in the loop: what is overwritten is kept for undoing it."""
    a = x * 1.0
    i, r = 0, 0
    while i < turns:
        if a[r] > 0.0:
            a[r] = a[r] * np.sin(a[(r + 1) % 4])
            r = (r + 3) % 4
        else:
            a[r] = a[r] * a[r] + 0.2
            r = (r + 1) % 4
        i += 1
    return np.sum(a * a)


def nested(x, turns: int):
    """A derivative inside, which has a stack of its own."""

    def inner(s):
        t = s
        while t < 4.0:
            if t > 1.0:
                t = t * np.exp(0.2 * s)
            else:
                t = t + s * s + 0.1
        return t * s

    y = abs(x[0])
    i = 0
    while i < turns:
        if y > 1.0:
            y = y / (1.0 + grad(inner)(0.3 * y))
        else:
            y = y + abs(x[i % 4])
        i += 1
    return y


def single(x, turns: int):
    """In single precision: integers and floats are of different sizes."""
    y = x[0] * np.float32(1.0)
    k = 0
    while k < turns:
        if y > np.float32(0.5):
            y = y * np.sin(x[k % 4])
            k += 1
        else:
            y = y * y + np.exp(x[(k + 1) % 4])
            k += 2
    return y


def collatz(x, n: int):
    """A rule that only integers decide."""
    y = x[0]
    while n != 1:
        if n % 2 == 0:
            n = n // 2
            y = y * np.cos(x[n % 4])
        else:
            n = 3 * n + 1
            y = y * 0.9 + x[n % 4] * y
    return y


CASES = [
    (walk_down, [(X, n) for n in (11, 0, -1, 40)]),
    (loops_between, [(X, n) for n in (5, 0, 1)]),
    (loop_in_one_branch, [(X, n) for n in (9, 0, 2)]),
    (flags, [(X, n) for n in (12, 0)]),
    (taken_apart, [(X, n) for n in (9, 0)]),
    (nested, [(X, n) for n in (4, 0)]),
    (collatz, [(X, n) for n in (27, 1)]),
]


def names(function):
    return [op.name for op in walk(function.body)]


@pytest.mark.daily(2)
@pytest.mark.parametrize(("function", "arguments"), CASES, ids=lambda c: getattr(c, "__name__", ""))
def test_gradients(function, arguments):
    check_program(function, arguments, (0,), compile=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    ("function", "turns"), [(walk_down, 11), (loops_between, 4), (flags, 6), (taken_apart, 6), (nested, 3)]
)
def test_second_derivatives(function, turns):
    """The adjoint is differentiated before its tapes become stacks."""

    def along(x, v):
        return np.sum(grad(function)(x, turns) * v)

    v = np.array([0.2, -0.5, 0.9, 0.4])
    exact = hessian(function)(X, turns)
    np.testing.assert_allclose(jacfwd(grad(function))(X, turns), exact, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad(along)(X, v), exact @ v, rtol=1e-9, atol=1e-12)


def test_single_precision():
    x = X.astype(np.float32)
    value, slope = value_and_grad(single)(x, 7)
    exact = grad(single_in_double)(X, 7)
    assert slope.dtype == np.float32
    np.testing.assert_allclose(value, single(x, 7), rtol=1e-5)
    np.testing.assert_allclose(slope, exact, rtol=1e-4, atol=1e-5)


def single_in_double(x, turns: int):
    y = x[0]
    k = 0
    while k < turns:
        if y > 0.5:
            y = y * np.sin(x[k % 4])
            k += 1
        else:
            y = y * y + np.exp(x[(k + 1) % 4])
            k += 2
    return y


@pytest.mark.parametrize("function", [walk_down, loop_in_one_branch, loops_between])
def test_longer_than_the_first_memory(function):
    """Stacks grow, in branches and loops, past what the pool hands out at first; the split form has tapes instead."""
    turns = 30_000
    slope = grad(function)(0.1 * X, turns)
    _, pullback = vjp(function, 0.1 * X, turns)
    np.testing.assert_allclose(slope, pullback(1.0)[0], rtol=1e-12)
    np.testing.assert_array_equal(slope, grad(function)(0.1 * X, turns))


def tapes_of(function, *args):
    compiled = grad(function)
    compiled(*args)
    return compiled.ir_function("adjoint")


def test_one_stack():
    for function in (walk_down, loops_between, taken_apart, collatz):
        assert names(tapes_of(function, X, 5)).count("tape.new") == 1, function


PUSHED = """
func @f(%x: f64, %n: i64) -> (f64, f64) {
  %a: tape[f64] = tape.new {stack=1}
  %b: tape[i64] = tape.new {stack=1}
  %c: tape[bool] = tape.new {stack=1}
  %y: f64, %m: i64, %a9: tape[f64], %b9: tape[i64], %c9: tape[bool] =
      while (%y0 = %x, %k = 0, %a0 = %a, %b0 = %b, %c0 = %c) {
    %go: bool = lt %k, %n
    test %go
  } do {
    %b1: tape[i64] = tape.push %b0, %k
    %two: i64 = mod %k, 2
    %even: bool = eq %two, 0
    %big: bool = gt %y0, 0.7
    %c1: tape[bool] = tape.push %c0, %big
    %y1: f64, %a2: tape[f64] = if %even {
      %a1: tape[f64] = tape.push %a0, %y0
      %s: f64 = sin %y0
      yield %s, %a1
    } else {
      %t: f64 = mul %y0, 1.5
      yield %t, %a0
    }
    %k1: i64 = add %k, 1
    yield %y1, %k1, %a2, %b1, %c1
  }
  %z: f64, %a8: tape[f64], %b8: tape[i64], %c8: tape[bool] =
      for %i in reverse(0, %m) (%z0 = 1.0, %a3 = %a9, %b3 = %b9, %c3 = %c9) {
    %b4: tape[i64], %j: i64 = tape.pop %b3
    %c4: tape[bool], %was: bool = tape.pop %c3
    %rest: i64 = mod %j, 2
    %even2: bool = eq %rest, 0
    %z1: f64, %a5: tape[f64] = if %even2 {
      %a4: tape[f64], %v: f64 = tape.pop %a3
      %d: f64 = mul %z0, %v
      yield %d, %a4
    } else {
      yield %z0, %a3
    }
    %more: f64 = add %z1, 0.25
    %z2: f64 = select %was, %more, %z1
    yield %z2, %a5, %b4, %c4
  }
  return %y, %z
}
"""


def merged(text):
    function = parse(text)
    verify(function)
    out = stacks.run(function)
    verify(out)
    assert to_text(parse(to_text(out))) == to_text(out)
    for n in (0, 1, 2, 7):
        np.testing.assert_array_equal(run(out, [0.8, n]), run(function, [0.8, n]))
    return function, out


def test_words_and_flags():
    function, out = merged(PUSHED)
    assert names(out).count("tape.new") == 1
    assert names(out).count("bitcast") == 2
    assert names(function).count("tape.new") == 3  # it is not changed itself


def test_only_where_it_is_promised():
    function, out = merged(PUSHED.replace(" {stack=1}", ""))
    assert out is function
    function, out = merged(PUSHED.replace("%a: tape[f64] = tape.new {stack=1}", "%a: tape[f64] = tape.new {stack=2}"))
    assert names(out).count("tape.new") == 2


def test_only_where_regions_mirror_each_other():
    """A pop that left its branch, a tape that is popped twice in a turn."""
    moved = PUSHED.replace("%even2: bool = eq %rest, 0", "%even2: bool = ne %rest, 1")
    assert names(merged(moved)[1]).count("tape.new") == 1  # what the condition is does not matter
    turned = """
      %z1: f64, %a5: tape[f64] = if %even2 {
      %a4: tape[f64], %v: f64 = tape.pop %a3
      %d: f64 = mul %z0, %v
      yield %d, %a4
    } else {
      yield %z0, %a3
    }"""
    other = """
      %odd: bool = eq %rest, 1
      %z1: f64, %a5: tape[f64] = if %odd {
      yield %z0, %a3
    } else {
      %a4: tape[f64], %v: f64 = tape.pop %a3
      %d: f64 = mul %z0, %v
      yield %d, %a4
    }"""
    assert turned.strip() in PUSHED
    swapped = PUSHED.replace(turned.strip(), other.strip())
    found = merged(swapped)[1]
    assert names(found).count("tape.new") == 3  # the branches changed places: nothing is merged


def test_the_adjoint_keeps_its_marks():
    """The mark is part of the text, so that what is read back can still be merged."""
    function = parse(PUSHED)
    again = parse(to_text(function))
    assert [op.attrs.get("stack") for op in walk(again.body) if op.name == "tape.new"] == [1, 1, 1]
