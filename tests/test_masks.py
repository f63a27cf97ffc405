"""Boolean masks, and functions that choose by conditions: values, writes, empty selections, derivatives, errors."""

import numpy as np
import pytest
import snippets
from differential import check_program
from tracing import check, traced_of

from adjit import grad, jit, value_and_grad
from adjit.codegen.primitives.order import nonzero
from adjit.ir.core import Builder, Function, Region, Value, const
from adjit.ir.errors import BoundsError, UnsupportedError
from adjit.ir.interp import run
from adjit.ir.types import BOOL, make

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")

rng = np.random.default_rng(5)
x = rng.standard_normal(7)
M = rng.standard_normal((4, 5))
T = rng.standard_normal((2, 3, 4))
rows = M[:, 0] > 0
columns = np.array([True, False, True, True, False])
plane = T[0] > 0

READS = [
    "a[b]",
    "a[b].sum()",
    "a[b].mean()",
    "a[b][0]",
    "a[b][1:].size",
    "np.sum(a[b] * 2)",
    "a[~b]",
    "a[b & (a < 1)]",
    "a[a > 100]",
    "a[a > 100].mean()",
    "a[a > 100].sum()",
    "len(a[b])",
    "a[b].shape",
    "c = a[b]\nc[0] = 9\nreturn a, c",
]
WRITES = [
    "a[b] = 0",
    "a[b] = a[b] * 2",
    "a[b] = a[b][::-1]",
    "a[b] += 1.5",
    "a[b] *= a[b]",
    "a[b] -= a[~b].sum()",
    "b[:] = False\na[b] = 3",
    "a[b] = np.arange(float(np.sum(b)))",
    "a[a > 100] = 1",
    "a[a > 100] += np.ones(0)",
    "np.add.at(a, b, 1)",
    "np.multiply.at(a, b, 2)",
    "np.maximum.at(a, b, 0.5)",
]
PARTS = {
    "rows": (
        M,
        rows,
        "a[b]; a[b, 1]; a[b, 1:3]; a[b][:, 0]; a[b, [0]]; a[b[:, None] & (a > 0)]; a[b, None]; a[b, ::-2]",
    ),
    "columns": (M, columns, "a[:, b]; a[0, b]; a[..., b]; a[[0, 3, 1], b]; a[:, b].sum(axis=1); a[[0, 1], :][:, b]"),
    "planes": (T, plane, "a[:, b]; a[0, b]; a[..., b]; a[a > 0]; a[:, b][1, 0]; a[:, b, None]; a[None, :, b]"),
}
PART_WRITES = {
    "rows": (M, rows, "a[b] = 0; a[b] = a[b][::-1]; a[b, 1] = 7; a[b, 1] += 7; a[b, ::2] *= 2; a[b] = a[0] * 2"),
    "columns": (M, columns, "a[:, b] = 0; a[:, b] += 1; a[1, b] = a[2, b]; a[:, b] = a[:, :1]"),
    "planes": (T, plane, "a[1, b] = 5; a[:, b] = 5; a[:, b] *= a[:, b]; a[a > 0] = 0; a[0][b] = 1"),
}
FUNCTIONS = [
    "np.nonzero(a > 0)",
    "np.nonzero(a)",
    "np.nonzero(a[0])[0]",
    "(a > 0).nonzero()",
    "np.flatnonzero(a > 0)",
    "np.argwhere(a > 0)",
    "np.where(a > 0)",
    "np.where(a[0] > 0)[0].size",
    "a[np.nonzero(a > 0)]",
    "a[np.where(a > 0)] = 0\nreturn a",
    "a[np.argwhere(a[:, 0] > 0)[:, 0]]",
    "np.extract(a > 0, a)",
    "np.extract(a > 100, a)",
    "np.compress([True, False, True], a, axis=0)",
    "np.compress(a[:, 0] > 0, a, axis=0)",
    "np.compress([0, 1, 1], a)",
    "a.compress([True, False, True], axis=1)",
    "np.compress(np.ones(30), a)",
    "np.place(a, a > 0, [1.0, 2.0])\nreturn a",
    "np.place(a, a > 0, 7)\nreturn a",
    "np.place(a, a > 100, [])\nreturn a",
    "np.place(a, a > 0, [])\nreturn a",
    "np.putmask(a, a > 0, [1.0, 2.0, 3.0])\nreturn a",
    "np.putmask(a, a > 0, a * 2)\nreturn a",
    "np.putmask(a, a > 0, 0)\nreturn a",
    "np.copyto(a, 1.5, where=a > 0)\nreturn a",
    "np.copyto(a, np.arange(5.0), where=a > 0)\nreturn a",
    "np.copyto(a[:, 1:3], 2)\nreturn a",
    "np.count_nonzero(a > 0)",
    "np.count_nonzero(a > 0, axis=1)",
    "np.select([a > 1, a > 0], [a * 2, a], -1)",
    "np.select([a > 1, a > 0], [1, 2])",
    "np.select([a > 1, a[0] > 0], [a, a[0].astype(np.float32)], a[:, :1])",
    "np.choose((a > 0).astype(int), [a, a * 2])",
    "np.choose([0, 1, 2], [10.0, a[0, :3], a[1, :3]])",
    "np.choose([0, 4, -2], [10.0, 20.0, 30.0], mode='clip')",
    "np.choose([0, 4, -2], [10.0, 20.0, 30.0], mode='wrap')",
    "np.choose([0, 4], [10.0, 20.0, 30.0])",
    "np.choose([[0, 0], [0, 0]], [a[0, 0]])",
    "np.piecewise(a, [a < 0, a > 0.5], [lambda v: -v, lambda v: v**2, 3.0])",
    "np.piecewise(a, [a < 0], [np.exp, 0])",
    "np.piecewise(a[0], a[0] < 0, [lambda v, k: v * k, lambda v, k: v], 2.0)",
    "np.piecewise(a, [a < 0, a >= 0], [lambda v: -v, lambda v: v.sum()])",
]


def entries(table):
    return [
        pytest.param(body.strip(), args, id=body.strip())
        for array, mask, bodies in table.values()
        for body, args in ((b, (array, mask)) for b in bodies.split(";"))
    ]


@pytest.mark.parametrize("body", READS)
@pytest.mark.parametrize("array", [x, M, T], ids=["vector", "matrix", "cube"])
def test_reads(body, array):
    args = (array.copy(), array > -0.3)
    snippets.agrees(snippets.program(body, args), *args)


@pytest.mark.parametrize("body", WRITES)
@pytest.mark.parametrize("array", [x, M], ids=["vector", "matrix"])
def test_writes(body, array):
    args = (array.copy(), array > -0.3)
    snippets.agrees(snippets.program(f"{body}\nreturn a, b", args), *args)


@pytest.mark.parametrize("body, args", entries(PARTS))
def test_masks_of_some_axes(body, args):
    snippets.agrees(snippets.program(body, args), *args)


@pytest.mark.parametrize("body, args", entries(PART_WRITES))
def test_writes_of_some_axes(body, args):
    args = [np.copy(a) for a in args]
    snippets.agrees(snippets.program(f"{body}\nreturn a", args), *args)


@pytest.mark.parametrize("body", FUNCTIONS)
def test_functions_of_conditions(body):
    snippets.agrees(snippets.program(body, (M,)), M.copy())


@pytest.mark.parametrize("array", [x.astype(np.float32), np.arange(-3, 4), np.arange(7) % 2 == 0], ids=str)
def test_dtypes(array):
    for body in ("a[a > 0]", "a[a > 0] = a[1]\nreturn a", "np.nonzero(a)", "np.select([a > 0], [a], a)"):
        snippets.agrees(snippets.program(body, (array,)), array.copy())


def test_one_trace_serves_masks_with_any_number_of_true():
    def f(a, m):
        a[m] = a[m][::-1] + 1
        return a[~m], a[m].sum(), a[m].size

    others = [(x.copy(), np.zeros(7, bool)), (x.copy(), np.ones(7, bool)), (np.zeros(0), np.zeros(0, bool))]
    check(f, x.copy(), x > 0, others=others)


# ---------------------------------------------------------------- derivatives


def selected(a):
    return np.sum(a[a > 0] ** 2) + a[a < 0].mean()


def both_ways(a, b):
    m = a > b
    a[m] = b[m] * 2 * a[m]
    a[~m] += a[~m] ** 2
    return np.sum(a * b)


def powers(a):
    inv = np.exp(a)
    inv[inv > 1] = inv[inv > 1] ** -1.5
    return inv.sum() + (a[:, a[0] > 0] ** 2).sum() + a[a[:, 0] > 0, 1].sum()


def bins(a, n):
    out = np.zeros(n)
    for i in range(n):
        inside = a[(a >= i * 0.3) & (a < (i + 1) * 0.3)]
        out[i] = np.sum(inside**3) + inside.size
    return np.sum(out**2)


def until_small(a):
    steps = 0.0
    while np.sum(a) > 1.0:
        m = a > np.mean(a)
        a[m] *= 0.5 * a[m]
        steps += np.sum(a[m])
    return steps + np.sum(a)


def by_functions(a, b):
    np.place(a, a > 0.5, b)
    np.putmask(a, b[:7] > 0, b * 2)
    c = np.select([a > 0, b[:7] > 0], [a**2, a * b[:7]], np.exp(a))
    d = np.piecewise(a, [a < 0], [np.sin, lambda v: v**3])
    return np.sum(c * d) + np.sum(np.compress(a > 0, b[:7]) ** 2) + np.sum(np.extract(a < 0, a * b[:7]))


def shrinking(a):
    """An array that gets shorter in every turn."""
    s = 0.0
    while a.size > 1:
        a = a[a > a.mean()]
        s += np.sum(a**2)
    return s


def quickselect(a, k):
    for _ in range(50):
        low, high = a[a < a[0]], a[a > a[0]]
        if k < low.size:
            a = low
        elif k < a.size - high.size:
            return a[0] ** 2
        else:
            k -= a.size - high.size
            a = high
    return a[0]


def of_one_kind(a):
    b = a[a > 0] if a[0] > 0 else a[a < 0] * 2
    parts = np.concatenate([a[a > k * 0.5] * k for k in range(3)])
    gaps = a[a > 0][:, None] - a[a < 0][None, :]
    return np.sum(b**2) + np.sum(parts**2) + np.sum(gaps**2) * b.size


def rows_and_columns(a):
    r = a[a.sum(axis=1) > 0]
    c = r[:, r.sum(axis=0) > 0]
    m = np.zeros(a.shape, dtype=bool)
    m[1:-1, 1:-1] = True
    a[m] = 0.25 * (a[m] + 1) ** 2
    return np.sum(c**3) + np.sum(r @ r.T) + np.sum(a * a)


PROGRAMS = [
    (shrinking, [(x,), (np.abs(x),)], (0,)),
    (quickselect, [(x, 4), (x, 0), (x, 6)], (0,)),
    (of_one_kind, [(x,), (-x,)], (0,)),
    (rows_and_columns, [(M,)], (0,)),
    (selected, [(x,), (np.abs(x) * [1, -1, 1, 1, 1, 1, 1],)], (0,)),
    (both_ways, [(x, x[::-1].copy()), (x, x + 1)], (0, 1)),
    (powers, [(M,), (-M,)], (0,)),
    (bins, [(np.abs(x), 4), (np.abs(x), 0)], (0,)),
    (until_small, [(np.abs(x) + 0.5,)], (0,)),
    (by_functions, [(x, rng.standard_normal(9))], (0, 1)),
]


@pytest.mark.parametrize("function, arguments, argnums", PROGRAMS, ids=lambda p: getattr(p, "__name__", None))
def test_programs_and_their_derivatives(function, arguments, argnums):
    check_program(function, arguments, argnums)


@pytest.mark.parametrize("function, arguments, argnums", PROGRAMS, ids=lambda p: getattr(p, "__name__", None))
def test_second_derivatives(function, arguments, argnums):
    snippets.second_order(function, arguments[0])


@pytest.mark.daily(2)
@pytest.mark.parametrize(
    "function, arguments, argnums", [PROGRAMS[k] for k in (0, 5, 7)], ids=["shrinking", "both_ways", "bins"]
)
def test_compiled(function, arguments, argnums):
    check_program(function, arguments, argnums, compile=True)


def test_what_no_mask_chose_has_no_derivative():
    """A zero by structure: an infinite local derivative does not turn it into NaN."""

    def read(a):
        y = np.sqrt(a)
        return np.sum(y[a > 0] * 2)

    def written(a):
        y = np.sqrt(a)
        y[a <= 0] = np.exp(a[a <= 0])
        return np.sum(y * 2)

    def kept(a):
        y = np.sqrt(a)
        y[y > 0] = 1.0 / y[y > 0]
        return np.sum(np.where(a > 0, y, 0.0))

    a = np.array([4.0, 0.0, 1.0])
    np.testing.assert_allclose(value_and_grad(read)(a)[1], [0.5, 0.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(value_and_grad(written)(a)[1], [0.5, 2.0, 1.0], rtol=1e-14)
    np.testing.assert_allclose(value_and_grad(kept)(a)[1], [-0.0625, 0.0, -0.5], rtol=1e-14)


def test_a_loop_keeps_positions_only():
    """The reverse sweep needs where the chosen elements are, not the masks: as many numbers as were chosen."""

    def f(a, n):
        s = 0.0
        for i in range(n):
            s += a[a > i * 0.1].mean()
        return s

    g = grad(f)
    g(np.abs(x), 3)
    assert "tape.push" in g.ir("adjoint") and "bool[?]" not in g.ir("adjoint").split("reverse(0", 1)[1]


# ---------------------------------------------------------------- errors, and the operation itself


def test_a_mask_of_another_shape_is_refused_when_the_program_runs():
    def f(a, m):
        return np.sum(a[m])

    def write(a, m):
        a[m] = a[m] + 1.0

    check(f, x, x > 0, others=[(x, np.ones(3, bool)), (x[:2], np.ones(3, bool))])
    check(write, x.copy(), x > 0, others=[(x.copy(), np.ones(9, bool))])
    compiled = jit(f)
    assert compiled(x, x > 0) == np.sum(x[x > 0])
    with pytest.raises(BoundsError, match=r"size of axis is 7 but size of the boolean axis is 3") as caught:
        compiled(x, np.ones(3, bool))
    assert caught.value.span is not None and caught.value.span.line == f.__code__.co_firstlineno + 1


def test_values_that_do_not_fit_the_number_of_true():
    def f(a, v):
        a[a > 0] = v
        return a

    check(f, x.copy(), np.ones(int((x > 0).sum())), others=[(x.copy(), np.ones(2)), (-np.abs(x), np.ones(0))])


def test_unsupported_indices_say_so():
    with pytest.raises(UnsupportedError, match="single bool"):
        traced_of(snippets.function_of("a[True]", "a"), (x,))


@jit
def flat_positions(mask):
    return np.flatnonzero(mask)


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (8,), (17,), (3, 5), (2, 0, 3), (9, 64), (1003,)])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.12, 0.3, 1.0])
def test_nonzero_kernel(shape, share):
    """What Numba compiles, and what kernels have instead."""
    mask = rng.random(shape) < share
    for _ in range(2):
        expected = np.flatnonzero(mask)
        out = np.full(expected.size, -1)
        nonzero(out, mask.ravel())
        np.testing.assert_array_equal(out, expected)
        np.testing.assert_array_equal(flat_positions(mask), expected)
        mask[..., -1:] = True  # the last element, which is in no whole word


def test_few_positions_of_any_layout():
    """Masks of one in many, which are looked through word by word: they begin anywhere, in any order of memory."""

    def f(x, mask):
        return np.sum(x[mask] ** 2) + np.flatnonzero(mask)[0]

    found = grad(f)
    x = rng.random(200)
    for mask in (np.zeros(201, bool)[1:], np.zeros(400, bool)[::2], np.zeros(600, bool)[::-3]):
        for positions in ([0, 77, 199], [8], [63, 64]):
            mask[:] = False
            mask[positions] = True
            np.testing.assert_array_equal(found(x, mask), np.where(mask, 2.0 * x, 0.0))
    wide = np.zeros((20, 20), bool).T
    wide[3, 4] = wide[17, 2] = True
    y = rng.random((20, 20))
    np.testing.assert_array_equal(found(y, wide), np.where(wide, 2.0 * y, 0.0))


def test_the_operation_refuses_a_wrong_count():
    mask, count = Value(make(BOOL, (None,)), "mask"), const(2)
    f = Function("f", Region([mask]))
    with Builder(f.body) as b:
        b.emit("return", [b.emit1("nonzero", [mask, count])])
    np.testing.assert_array_equal(run(f, [np.array([True, False, True])])[0], [0, 2])
    with pytest.raises(ValueError, match="1 elements are true, not 2"):
        run(f, [np.array([True, False, False])])
