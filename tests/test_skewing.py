"""Loops that take turns block by block, and the windows between them: the same bits as loops one after the other."""

import random

import numpy as np
import pytest
from random_programs import load

from adjit import grad, jit, value_and_grad
from adjit.api.arguments import flatten_call
from adjit.api.specialize import Transform, specialize
from adjit.benchmarks.gradbench.ode import solution
from adjit.codegen import scheduled
from adjit.codegen.lower import schedule, skewing
from adjit.ir.core import Const, walk
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

pytestmark = pytest.mark.usefixtures("always_threads")

NAMES = ["x", "a", "b", "c", "d"]


def small_blocks(monkeypatch, turns=4, row_bytes=200):
    monkeypatch.setattr(skewing, "SMALLEST", turns)
    monkeypatch.setattr(skewing, "LARGEST", turns)
    monkeypatch.setattr(skewing, "ROW_BYTES", row_bytes)


def no_blocks(monkeypatch):
    monkeypatch.setattr(skewing, "LOOPS", 1)


def blocks_of(function):
    """The loops over blocks of a scheduled function: those with several loops inside."""
    return [
        op
        for op in walk(function.body)
        if op.name == "for" and op.operands[1].op is not None and op.operands[1].op.name == "floordiv"
    ]


def part(name, rng, width):
    """A shifted slice of an array, with `width` elements missing."""
    low = rng.randint(0, width)
    high = width - low
    return f"{name}[{low}:{f'n - {high}' if high else ''}]"


def term(rng, width, names):
    return f"{rng.choice(['0.5', '1.25', 'w', '-0.75'])} * {part(rng.choice(names), rng, width)}"


def statement(rng, names):
    width = rng.randint(0, 3)
    value = " + ".join(term(rng, width, names) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.4:
        value = f"({value}) * {part(rng.choice(names), rng, width)}"
    target = rng.choice(NAMES[1:])
    kind = rng.random()
    if kind < 0.3:
        return [f"{target} = np.zeros(n)", f"{part(target, rng, width)} = {value}"]
    if kind < 0.5:
        first = rng.randint(0, width)
        lines = [f"new = {value}", f"{target} = np.empty(n)"]
        lines += [f"{target}[{k}] = x[{rng.randint(0, 3)}]" for k in range(first)]
        lines += [f"{target}[n - {k + 1}] = w" for k in range(width - first)]
        lines.append(f"{target}[{first}:{f'n - {width - first}' if width > first else ''}] = new")
        return lines
    if kind < 0.8:
        return [f"{part(target, rng, width)} {rng.choice(['=', '+=', '-='])} {value}"]
    if kind < 0.9:
        return [f"{target} = {target} + w * ({' + '.join(term(rng, 0, names) for _ in range(2))})"]
    return [f"{target}[{rng.randint(0, 3)}] = {rng.choice(names)}[{rng.randint(0, 3)}] * w"]


def program(seed):
    """Statements over shifted slices of five arrays, most of them in a loop over time."""
    rng = random.Random(seed)
    lines = ["n = x.shape[0]", "a = 2.0 * x", "b = np.zeros(n)", "c = x * x", "d = np.ones(n)"]
    for _ in range(rng.randint(0, 2)):
        lines += statement(rng, NAMES)
    lines.append("for _ in range(steps):")
    for _ in range(rng.randint(2, 6)):
        lines += [f"    {line}" for line in statement(rng, NAMES)]
    for _ in range(rng.randint(0, 2)):
        lines += statement(rng, NAMES)
    lines.append("return np.sum(a * b) + np.sum(c * d)" if rng.random() < 0.5 else "return a + b * c + d")
    return "def program(x, w, steps):\n" + "".join(f"    {line}\n" for line in lines)


def loaded(text):
    return load("import numpy as np\n\n\n" + text)


def traced(f, args):
    """The primal and the adjoint of a sum of its results, without compiling anything."""
    call = flatten_call(tuple(args), {})
    primal = specialize(f, Transform("jit", (), False, ()), call).stages.optimized

    def total(x, w, steps):
        return np.sum(np.sin(f(x, w, steps)))

    return primal, specialize(total, Transform("grad", (0,), False, ()), call).forward


def arguments(seed):
    rng = np.random.default_rng(seed)
    return [(rng.uniform(-1, 1, n), 0.5, steps) for n, steps in ((5, 1), (6, 0), (9, 3), (23, 2))]


def runs(function, sets):
    return [scheduled.run(function, args) for args in sets]


def same_bits(one, other):
    for x, y in zip(one, other, strict=True):
        for p, q in zip(x, y, strict=True):
            np.testing.assert_array_equal(p, q)


@pytest.mark.daily(1)
@pytest.mark.parametrize("seed", range(24))
def test_random_programs_have_the_same_bits_with_and_without_blocks(seed, monkeypatch):
    f = loaded(program(seed))
    sets = arguments(seed)
    primal, adjoint = traced(f, sets[0])
    for function in (primal, adjoint):
        with monkeypatch.context() as patch:
            no_blocks(patch)
            plain = schedule(function)
        with monkeypatch.context() as patch:
            small_blocks(patch)
            blocked = schedule(function)
        verify(blocked)
        assert to_text(parse(to_text(blocked))) == to_text(blocked)
        same_bits(runs(blocked, sets), runs(plain, sets))
        if function is primal:
            for args, (found, *_) in zip(sets, runs(blocked, sets), strict=True):
                np.testing.assert_allclose(found, f(args[0].copy(), *args[1:]), rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_most_random_programs_have_blocks_and_windows(monkeypatch):
    """Else the test above would say nothing."""
    small_blocks(monkeypatch)
    blocks = windows = 0
    for seed in range(12):
        for function in traced(loaded(program(seed)), arguments(seed)[0]):
            made = schedule(function)
            blocks += bool(blocks_of(made))
            windows += any(op.name == "buffer.alloc" and isinstance(op.operands[0], Const) for op in walk(made.body))
    assert blocks >= 18 and windows >= 4, (blocks, windows)


def steps_of_runge_and_kutta(x, steps):
    y = np.zeros_like(x)
    for _ in range(steps):
        k1, k2 = np.empty_like(x), np.empty_like(x)
        k1[0] = k2[0] = x[0]
        k1[1:] = x[1:] * y[:-1]
        z = y + 0.1 * k1
        k2[1:] = x[1:] * z[:-1]
        y = y + 0.2 * k2
    return y


def test_one_state_of_each_step_is_kept_and_the_stages_are_computed_again():
    gradient = grad(lambda x, steps: np.sum(steps_of_runge_and_kutta(x, steps)))
    x = np.linspace(0.5, 1.5, 700)
    found = gradient(x, 6)
    assert len(gradient.explain().strip().splitlines()) == 1
    assert gradient.ir("adjoint").count("tape.push") == 1
    h = 1e-6
    for k in (0, 1, 350, 699):
        up, down = x.copy(), x.copy()
        up[k] += h
        down[k] -= h
        slope = (steps_of_runge_and_kutta(up, 6).sum() - steps_of_runge_and_kutta(down, 6).sum()) / (2 * h)
        assert found[k] == pytest.approx(slope, rel=1e-6)


def test_arrays_that_two_loops_fill_are_windows():
    """The cotangent of a stage is written by a loop over slices and one over the border that they leave; behind both,
    its first element is read."""
    _, adjoint = traced(lambda x, w, steps: solution(x, steps), (np.ones(9), 0.5, 3))
    made = schedule(adjoint)
    whole = [op for op in walk(made.body) if op.name == "buffer.alloc" and not isinstance(op.operands[0], Const)]
    assert len(whole) == 3  # the state, its cotangent before and after a step, of which one is a result
    gradient = grad(lambda x, steps: np.sum(np.sin(solution(x, steps))))
    x = np.linspace(0.5, 1.5, 700)
    found = gradient(x, 4)
    for k in (0, 1, 254, 255, 256, 257, 699):
        shift = np.zeros(700)
        shift[k] = 1e-6
        up, down = (np.sum(np.sin(solution(x + d, 4))) for d in (shift, -shift))
        assert found[k] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-8)


def test_kernels_with_real_blocks_agree_with_numpy_to_the_bit():
    for n in (0, 1, 2, 3, 255, 256, 257, 1023, 5000):
        x = np.random.default_rng(n).uniform(-1, 1, n)
        if n:
            np.testing.assert_array_equal(jit(steps_of_runge_and_kutta)(x, 5), steps_of_runge_and_kutta(x.copy(), 5))


def test_infinities_and_nans_stay_where_they_are():
    x = np.random.default_rng(0).uniform(-1, 1, 3000)
    x[[100, 511, 512, 2000]] = np.nan, np.inf, -np.inf, np.nan
    with np.errstate(all="ignore"):
        expected = steps_of_runge_and_kutta(x.copy(), 5)
    np.testing.assert_array_equal(jit(steps_of_runge_and_kutta)(x, 5), expected)


def rows(u, steps):
    for _ in range(steps):
        flux = u[1:] - u[:-1]
        lap = flux[1:] - flux[:-1]
        v = u.copy()
        v[1:-1, 1:-1] = u[1:-1, 1:-1] + 0.1 * lap[:, 1:-1] + 0.1 * (u[1:-1, 2:] - u[1:-1, :-2])
        u = v * 1.0
    return u


def test_rows_take_turns_along_the_first_axis(monkeypatch):
    small_blocks(monkeypatch)
    compiled = jit(rows)
    u = np.random.default_rng(3).uniform(-1, 1, (13, 7))
    np.testing.assert_array_equal(compiled(u, 3), rows(u.copy(), 3))
    function = schedule(parse(compiled.ir("optimized")))
    assert blocks_of(function)
    for shape in ((13, 7), (3, 3), (40, 2)):
        u = np.random.default_rng(4).uniform(-1, 1, shape)
        np.testing.assert_array_equal(scheduled.run(function, [u, 3])[0], rows(u.copy(), 3))


def test_loops_of_which_one_reads_what_far_turns_of_another_write_do_not_take_turns(monkeypatch):
    small_blocks(monkeypatch)

    def reversed_reads(x):
        a = np.empty_like(x)
        n = x.shape[0]
        for i in range(n):
            a[i] = x[i] * 2.0
        b = np.empty_like(x)
        for i in range(n):
            b[i] = a[n - 1 - i] + a[0]
        return b

    compiled = jit(reversed_reads)
    x = np.arange(19.0)
    np.testing.assert_array_equal(compiled(x), reversed_reads(x))
    function = schedule(parse(compiled.ir("optimized")))
    assert not blocks_of(function)
    np.testing.assert_array_equal(scheduled.run(function, [x])[0], reversed_reads(x))


def test_what_is_read_beside_a_write_passes_it_by():
    function = parse("""func @f(%a: f64[?], %v: f64[?], %m: i64) -> f64 {
      %n: i64 = dim %a {axis=0}
      %k: i64 = sub %n, 1
      %b: f64[?] = update %a, 0.0, 1, %k, 1 {spec="s"}
      %x: f64 = index %b, 0 {spec="i"}
      %c: f64[?] = update %a, 0.0, 0, %m, 1 {spec="s"}
      %y: f64 = index %c, %m {spec="i"}
      %d: f64[?] = update %a, 7.0, 0, %m, 1 {spec="s"}
      %p: i64 = sub %m, 1
      %z: f64 = index %d, %p {spec="i"}
      %s: f64 = add %x, %y
      %t: f64 = add %s, %z
      return %t
    }""")
    from adjit.ir.interp import run
    from adjit.ir.passes import bypass, dce

    simpler = dce.run(bypass.run(function))
    assert [op.name for op in walk(simpler.body)].count("update") == 1  # the last one is read where it writes
    a = np.array([1.0, 2.0, 3.0, 4.0])
    for m in (1, 2, 3):
        assert run(simpler, [a, a, m]) == run(function, [a, a, m])
    assert bypass.run(simpler) is simpler


def test_nothing_moves_in_front_of_the_check_that_it_stands_behind(monkeypatch):
    small_blocks(monkeypatch)
    function = parse("""func @f(%x: f64[?], %v: f64[?], %k: i64) -> (f64[?], f64) {
      %n: i64 = dim %x {axis=0}
      %m: i64 = sub %n, 1
      %a: f64[?] = mul %x, 2.0
      %e: f64[?] = empty %n {dtype=f64}
      %u: f64[?] = update %e, %a, 0, %n, 1 {spec="s"}
      %p: f64[?] = index %u, 1, %m, 1 {spec="s"}
      %s: f64 = index %u, 1 {spec="i"}
      %ok: bool = lt %s, 100.0
      check %ok, %k {error="ValueError", message="no: {0}"}
      %w: f64 = index %v, %k {spec="i"}
      %q: f64[?] = mul %p, %w
      return %q, %w
    }""")
    made = schedule(function)
    x = np.arange(20.0)
    found = scheduled.run(made, [x, np.ones(3), 2])
    np.testing.assert_array_equal(found[0], 2 * x[1:])
    x[1] = 60.0
    with pytest.raises(Exception, match="no: 7"):  # and not that there is no element 7
        scheduled.run(made, [x, np.ones(3), 7])


def test_what_a_loop_overwrites_in_no_turns_is_read_later(monkeypatch):
    small_blocks(monkeypatch)

    def overwritten(x, turns):
        n = x.shape[0]
        a = x * 2.0
        b = np.zeros(n)
        b[:] = a
        b[1:] = b[1:] + x[:-1] * a[1:]
        c = b + a
        for _ in range(turns):
            for i in range(n):
                c[i] = x[i]
        return c * 1.0 + b

    x = np.arange(1.0, 20.0)
    primal = specialize(overwritten, Transform("jit", (), False, ()), flatten_call((x, 1), {})).stages.optimized
    for turns in (0, 1, 2):
        np.testing.assert_array_equal(scheduled.run(schedule(primal), [x, turns])[0], overwritten(x, turns))


@pytest.mark.daily(1)
@pytest.mark.parametrize("n", [3, 4, 9, 5000])
def test_with_two_threads_too(n):
    """Sweeps over one axis in each step of a loop take turns there as well: the same bits."""

    def steps(x, count):
        for _ in range(count):
            a = np.zeros(x.shape[0])
            a[1:-1] = np.sin(x[2:]) - x[:-2] * x[1:-1]
            b = np.zeros(x.shape[0])
            b[1:-1] = a[2:] * a[:-2] + np.exp(-a[1:-1] * a[1:-1])
            x = x + 0.01 * (a + b)
        return np.sum(x * x)

    x = np.random.default_rng(n).standard_normal(n)
    value, gradient = value_and_grad(steps)(x, 5)
    again, on_two = value_and_grad(steps, parallel=2)(x, 5)
    np.testing.assert_array_equal(gradient, on_two)
    np.testing.assert_allclose(value, again, rtol=1e-14)
