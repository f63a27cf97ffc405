"""Functions in lanes: every lane is a run of its own, whatever the operation; Jacobians by chunks of seeds are those of
seeds one by one. And what the code generator makes of small arrays."""

import numpy as np
import pytest
from differential import check_program
from random_programs import generate
from tracing import traced_of

from adjit import hessian, jacfwd, jacrev, value_and_grad
from adjit.codegen.lower import schedule
from adjit.codegen.scheduled import run as run_scheduled
from adjit.ir.adjoint import jacobian as blocks
from adjit.ir.adjoint import jvp, vjp
from adjit.ir.adjoint.lanes import in_lanes
from adjit.ir.interp import run
from adjit.ir.pipeline import optimize
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

RNG = np.random.default_rng(11)
M = RNG.normal(size=(4, 3))
SQUARE = RNG.normal(size=(3, 3)) + 3 * np.eye(3)
V = RNG.normal(size=3)
K = np.array([2, 0, 1, 2])


def mixed(x, y, k):
    s = x[0] * y[1] + np.sin(x[1])
    return s * y + x, np.where(y > 0, x, s), x[k] * 2.0 + y[k], s > 0


def rearranged(x, y, k):
    a = np.outer(x, y)
    b = a.T[:, 1:] + y[:, None]
    return b.reshape(6), np.concatenate((x, y, x * y)), np.stack((x, y)), np.cumsum(a, axis=0), a.sum(axis=1), np.max(x)


def written(x, y, k):
    a = np.zeros((3, 4))
    a[:, 1] = x
    a[2] += x[1]
    a[0, :2] = 5.0
    a[:, k] += np.outer(x, np.ones(4))
    b = y.copy()
    b[1] = x[0]
    b[::2] += x[2] * 3.0
    b[k[:2]] = x[:2]
    return a, b


def products(x, y, k):
    a = np.outer(x, y)
    return a @ SQUARE, SQUARE @ a, x @ SQUARE, SQUARE @ x, x @ y, y @ x, a @ y, y @ a, (M @ a) @ SQUARE.T


def fixed_products(x, y, k):
    a = np.array([[x[0], y[0]], [1.0, x[1] * x[2]]])
    c = np.array([[y[0], 2.0], [y[1], y[2]]])
    v = np.array([x[0], y[0]])
    w = np.array([y[1], y[2]])
    return a @ c, c @ a, a @ w, c @ v, w @ a, v @ c, v @ w, w @ v


def library(x, y, k):
    return np.linalg.solve(SQUARE, x), np.linalg.solve(SQUARE, np.outer(x, y)), np.cumprod(x), np.argsort(x)


def loops(x, y, k):
    s = np.zeros(3)
    t = 0.0
    n = 0
    for i in range(3):
        u = y.copy()
        for j in range(i):
            if y[j] > 0:
                u[j] = x[i] * t
                t += u[j] * y[i]
            else:
                t -= x[j]
        s += u * x[i]
        n += i
    c = 1.0
    while c < 10.0:
        c *= 2.0
        t = t * 0.5 + x[0]
    return s, t, n, c


PROGRAMS = [mixed, rearranged, written, products, fixed_products, library, loops]


def lanes_of(values, lanes):
    return [np.stack([v[k] for v in values], -1) for k in lanes]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.parametrize("optimized", [False, True])
def test_every_lane_is_a_run(program, optimized):
    args = (RNG.normal(size=3), V, K)
    traced, leaves = traced_of(program, args)
    function = optimize(traced.function, verify=True) if optimized else traced.function
    captured = [c.read() for c in traced.captures]
    several = in_lanes(function, [0], 5)
    assert several is not None
    verify(several)
    assert to_text(parse(to_text(several))) == to_text(several)
    xs = RNG.normal(size=(3, 5))
    found = run(several, [xs, *leaves[1:], *captured])
    for lane in range(5):
        expected = run(function, [xs[:, lane], *leaves[1:], *captured])
        for got, want, result in zip(found, expected, function.results, strict=True):
            got = np.asarray(got)
            got = got[..., lane] if got.ndim > np.ndim(want) else got
            assert not result.dtype.is_float or np.asarray(got).shape == np.shape(want)
            np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("program", [mixed, loops, written], ids=lambda p: p.__name__)
def test_tapes_in_lanes(program):
    traced, leaves = traced_of(program, (RNG.normal(size=3), V, K))
    function = optimize(traced.function)
    seeds = ["argument" if v.dtype.is_float else None for v in function.results]
    adjoint = vjp(function, [0], seeds, keep=[]).function
    several = in_lanes(adjoint, [0], 2)
    assert several is not None
    verify(several)
    xs = RNG.normal(size=(3, 2))
    cotangents = [
        RNG.normal(size=np.shape(v))
        for v, r in zip(run(function, [xs[:, 0], *leaves[1:]]), function.results)
        if r.dtype.is_float
    ]
    (found,) = run(several, [xs, *leaves[1:], *cotangents])
    for lane in range(2):
        (want,) = run(adjoint, [xs[:, lane], *leaves[1:], *cotangents])
        np.testing.assert_allclose(found[..., lane], want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("seed", range(5000, 5008))
def test_derivatives_of_random_programs_in_lanes(seed):
    program = generate(seed)
    traced, leaves = traced_of(program.function, program.argument_sets[0])
    function = optimize(traced.function)
    values = [*leaves, *(c.read() for c in traced.captures)]
    wrt = [next(k for k, a in enumerate(function.args) if a.dtype.is_float)]
    outputs = [v for v, r in zip(run(function, values), function.results, strict=True) if r.dtype.is_float]
    tangent = jvp(function, wrt, keep=[])
    cotangent = vjp(function, wrt, ["argument" if r.dtype.is_float else None for r in function.results], keep=[])
    for single, like in ((tangent, [values[wrt[0]]]), (cotangent.function, outputs)):
        single = optimize(single)
        several = in_lanes(single, range(len(values), len(single.args)), 3)
        assert several is not None
        several = optimize(several, verify=True)
        seeds = [RNG.normal(size=(*np.shape(v), 3)).astype(np.asarray(v).dtype) for v in like]
        every = run(several, [*values, *seeds])
        scheduled = run_scheduled(schedule(several), [*values, *seeds])
        for lane in range(3):
            alone = run(single, [*values, *(s[..., lane] for s in seeds)])
            for want, *found in zip(alone, every, scheduled, strict=True):
                size = 1.0 + np.max(np.abs(want), initial=0.0, where=np.isfinite(want))
                for got in found:
                    np.testing.assert_allclose(np.asarray(got)[..., lane], want, rtol=1e-10, atol=1e-10 * size)


def decides(x, y, k):
    return y if x[0] > 0 else x


def counts(x, y, k):
    t = x[1]
    while t < 3.0:
        t += 1.0
    return t


def checks(x, y, k):
    assert x[0] > -100.0
    return x


def factors(x, y, k):
    return np.linalg.solve(np.outer(x, x) + 5.0 * np.eye(3), y)


def sorts(x, y, k):
    return np.sort(x) * y


@pytest.mark.parametrize("program", [decides, counts, checks, factors, sorts], ids=lambda p: p.__name__)
def test_what_must_agree_is_not_in_lanes(program):
    traced, _ = traced_of(program, (RNG.normal(size=3), V, K))
    assert in_lanes(traced.function, [0], 4) is None


# ---------------------------------------------------------------- Jacobians by chunks


def sequential(x):
    s = np.zeros(3)
    for i in range(len(x)):
        s[0] += np.sin(x[i]) * (1.0 + s[1])
        s[1] = s[0] * x[i]
        if x[i] > 0:
            s[2] += s[1] * np.exp(-x[i] * x[i])
    return s


def relaxed(x):
    y = 2.0 * x
    while np.sum(y * y) > 0.5:
        y = 0.6 * y + 0.01 * np.cos(y)
    return y


def projected(x):
    a = np.outer(x, x) + 2.0 * np.eye(len(x))
    return np.linalg.solve(a, x) @ a


def matrix_power(a):
    p = a
    for _ in range(2):
        p = p @ a
    return p


def scalar(x):
    s = 0.0
    for i in range(1, len(x)):
        s += (x[i] - x[i - 1] ** 2) ** 2 * np.cos(x[i])
    return s


CASES = [(f, RNG.normal(size=n)) for f in (sequential, relaxed, projected) for n in (1, 2, 7, 8, 9, 17)]
CASES += [(matrix_power, 0.5 * RNG.normal(size=(n, n))) for n in (1, 3, 4)]


@pytest.mark.parametrize(("function", "x"), CASES, ids=lambda c: getattr(c, "__name__", str(np.shape(c))))
def test_chunks_give_what_single_seeds_give(function, x, monkeypatch):
    for mode in (jacfwd, jacrev):
        found = mode(function)(x)
        with monkeypatch.context() as patched:
            patched.setattr(blocks, "in_lanes", lambda *given: None)
            alone = mode(lambda x: function(x))(x)
        assert found.shape == alone.shape
        np.testing.assert_allclose(found, alone, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(jacfwd(function)(x), jacrev(function)(x), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 20])
def test_hessians_by_chunks(n, monkeypatch):
    x = RNG.normal(size=n)
    found = hessian(scalar)(x)
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "in_lanes", lambda *given: None)
        alone = hessian(lambda x: scalar(x))(x)
    np.testing.assert_allclose(found, alone, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-13)


def test_no_seeds():
    assert jacfwd(sequential)(np.zeros(0)).shape == (3, 0)
    assert hessian(scalar)(np.zeros(0)).shape == (0, 0)


def test_singular_points_stay_where_they_are():
    def roots(x):
        s = np.zeros(2)
        for i in range(len(x)):
            s[0] += np.where(x[i] > 0, np.sqrt(x[i]), x[i])
            s[1] += x[i]
        return s

    found = jacfwd(roots)(np.array([0.0, 4.0, -1.0]))
    np.testing.assert_array_equal(found, [[1.0, 0.25, 1.0], [1.0, 1.0, 1.0]])


def test_derivatives_inside_and_outside():
    def total(x):
        return np.sum(jacfwd(sequential)(x) ** 2)

    x = RNG.normal(size=5)
    value, slope = value_and_grad(total)(x)
    step = 1e-6
    for k in range(5):
        e = np.zeros(5)
        e[k] = step
        assert abs((total_of(x + e) - total_of(x - e)) / (2 * step) - slope[k]) < 1e-6 * (1 + abs(slope[k]))
    assert np.isclose(value, total_of(x))


def total_of(x):
    return np.sum(np.asarray(jacrev(sequential)(x)) ** 2)


# ---------------------------------------------------------------- small arrays: stack slots and vectors


def swapped(x):
    a = np.zeros(8)
    b = np.ones(8)
    for i in range(len(x)):
        c = a * x[i] + b
        a = b
        b = c
    return np.sum(a * b)


def history(x):
    previous = np.zeros(3)
    total = 0.0
    for i in range(len(x)):
        now = np.array([x[i], x[i] * x[i], 1.0])
        total += now @ previous
        previous = now
    return total


def either(x):
    a = np.array([x[0], 1.0, 2.0])
    for i in range(len(x)):
        if x[i] > 0:
            b = np.array([x[i], a[2], a[1]])
        else:
            b = a * x[i]
        a = 0.5 * (a + b)
    return np.sum(a * a)


def shifted(x):
    w = np.zeros(9)
    for i in range(len(x)):
        w[0] = x[i]
        w[1:] = w[:-1] * 1.1
        w[:8] += np.sin(w[0])
    return np.sum(w[1:] * w[:8])


def masked(x):
    kinds = np.arange(8)
    out = np.zeros(8)
    for i in range(len(x)):
        chosen = (kinds - i > 2) | (kinds * x[i] < 1.0)
        out = np.where(chosen, out + x[i] * kinds, -out / 3.0)
    return np.sum(out)


def kept(x):
    rows = np.zeros((len(x), 8))
    for i in range(len(x)):
        row = np.ones(8) * x[i]
        row[i % 8] = 0.0
        rows[i] = row * row
    return np.sum(rows * rows)


def small_matrices(x):
    t = np.eye(3)
    for i in range(len(x)):
        c, s = np.cos(x[i]), np.sin(x[i])
        t = t @ np.array([[c, -s, 0.1], [s, c, x[i]], [0.0, 0.0, 1.0]])
        t = t.T if i % 3 == 2 else t
    return np.sum(t * t)


def reshaped(x):
    total = 0.0
    for i in range(len(x)):
        a = np.outer(np.array([x[i], 1.0]), np.array([2.0, x[i], 3.0]))
        b = np.linalg.solve(np.eye(2) + a[:, :2] * a[:, :2], a).reshape(3, 2)
        c = b.reshape(6)
        c[0] += b[0, 0]
        total += np.sum(c * b.reshape(6))
    return total


SMALL = [swapped, history, either, shifted, masked, kept, small_matrices, reshaped]


@pytest.mark.parametrize("program", SMALL, ids=lambda p: p.__name__)
def test_small_arrays(program):
    check_program(program, [(RNG.normal(size=n),) for n in (5, 1, 12)], compile=True)


def stored(x):
    out = []
    a = np.zeros(3)
    for i in range(3):
        a[i] = x[i] * x[i]
        out.append(a.copy())
    return out, a, np.array([x[0], x[1]])


def test_small_results_are_the_callers():
    from adjit import jit

    compiled = jit(stored)
    first = compiled(np.array([1.0, 2.0, 3.0]))
    second = compiled(np.array([4.0, 5.0, 6.0]))
    np.testing.assert_array_equal(first[1], [1.0, 4.0, 9.0])
    np.testing.assert_array_equal(first[0][1], [1.0, 4.0, 0.0])
    np.testing.assert_array_equal(first[2], [1.0, 2.0])
    np.testing.assert_array_equal(second[1], [16.0, 25.0, 36.0])
