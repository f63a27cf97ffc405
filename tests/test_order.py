"""Sorting, searching, quantiles and counting: NumPy's values to the last bit, NaN and ties included; derivatives."""

import numpy as np
import pytest
import snippets
from differential import check_program

from adjit import grad, jit, value_and_grad
from adjit.codegen.primitives import order as kernels
from adjit.tracer.bind_quantiles import METHODS

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value", "ignore:All-NaN slice")

rng = np.random.default_rng(2)
x = rng.standard_normal(7)
M = rng.standard_normal((4, 5))
T = rng.standard_normal((2, 3, 4))
with_nan, rows_with_nan = x.copy(), M.copy()
with_nan[2] = np.nan
rows_with_nan[1, 2] = np.nan
rows_with_nan[3] = np.nan
ties = np.array([3.0, 1.0, 2.0, 1.0, 3.0, 3.0, 0.0])
whole = np.array([2, 0, 2, 5, 1])
single = x.astype(np.float32)
nothing = np.zeros(0)
infinite = np.array([1.0, 2.0, np.inf])


def cases(table):
    return [
        pytest.param(body.strip(), args, id=body.strip())
        for bodies, *args in table
        for body in bodies.strip().split("\n")
    ]


ORDER = [
    ("np.sort(a)\nnp.sort(a, axis=None)\na.sort(); return a\nnp.sort(a, kind='stable')", x),
    ("np.sort(a)\nnp.argsort(a)\nnp.median(a)\nnp.nanmedian(a)\nnp.unique(a, return_counts=True)", with_nan),
    ("np.sort(a, axis=0)\nnp.argsort(a, axis=0)\nnp.argsort(a, axis=None)\na.sort(axis=0); return a", M),
    ("a[:, 1].sort(); return a\na[::-1].sort(); return a\na.T.sort(); return a", M),
    ("np.sort(a, axis=None)\nnp.argsort(a, axis=1)\nnp.sort(a, axis=0)", rows_with_nan),
    ("np.sort(a, axis=1)\nnp.sort(a)\nnp.argsort(a, axis=0)", T),
    ("np.sort(a)\nnp.argsort(a)", nothing),
    ("np.argsort(a, kind='stable')\nnp.argsort(a, stable=True)\na.argsort(kind='stable')", ties),
    ("np.sort(a)\na.argsort(kind='stable')\nnp.sort(a > 1)\nnp.argsort(a > 1, kind='stable')", whole),
    ("np.lexsort((a, b))\nnp.lexsort([b, a])\nnp.lexsort((b,))", x, ties),
    ("np.lexsort((a, b))\nnp.lexsort((a, b), axis=0)", M, np.round(M)),
    ("np.partition(a, 3)[3]\na[np.argpartition(a, 2)][2]\na.partition(3); return a[3]\nnp.partition(a, -2)[-2]", x),
    ("np.partition(a, 7)\nnp.partition(a, [1, -8])", x),
    ("np.searchsorted(np.sort(a), b)\nnp.searchsorted(np.sort(a), 0.3, side='right')", x, M),
    ("np.searchsorted(a, b, sorter=np.argsort(a))\na.searchsorted(b, 'right', np.argsort(a))", x, M),
    ("np.searchsorted(np.sort(a), b, 'right')\nnp.searchsorted(np.sort(a), b)", ties, ties),
    ("np.searchsorted(np.sort(a), b, 'right')\nnp.searchsorted(np.sort(a), b)", with_nan, with_nan),
    ("np.searchsorted(np.sort(a), b)\nnp.searchsorted(np.sort(b), a)\nnp.searchsorted(np.sort(a), 1.5)", whole, x),
    ("np.searchsorted(np.sort(a), 0.1)\nnp.searchsorted(np.sort(a), b)", single, x),
    ("np.digitize(a, b)\nnp.digitize(a, b, right=True)", x, np.array([-1.0, 0, 1])),
    ("np.digitize(a, b)\nnp.digitize(a, b, right=True)\nnp.digitize(a[0], b)", ties, np.array([0.0, 1, 3])),
    ("np.digitize(a, b)\nnp.digitize(a, b, True)", ties, np.array([3.0, 2, 1])),
    ("np.digitize(a, b)", ties, np.array([3.0, 2, 4])),
    ("np.digitize(a, b)\nnp.digitize(a, b[:1])", ties, np.ones(3)),
    ("np.ptp(a)\nnp.ptp(a, axis=0)\nnp.ptp(a, axis=1, keepdims=True)", M),
]
UNIQUE = [
    ("np.unique(a)\nnp.unique(a, True, True, True)\nnp.unique(a, return_counts=True)", ties),
    ("np.unique(a)\nnp.unique(a, True, True, True)", whole),
    ("np.unique(a, True, True, True)\nnp.unique(a)", nothing),
    ("np.unique(a, return_inverse=True)\nnp.unique(a, return_counts=True, return_inverse=True)", np.round(M)),
    (
        "np.unique(a, True, False, True)\nnp.unique(a, True, False, True, equal_nan=False)",
        np.array([np.nan, 1, np.nan]),
    ),
    ("np.unique(a > 0)", x),
]
QUANTILES = [
    ("np.median(a)\nnp.percentile(a, 30)\nnp.percentile(a, [10, 50, 99.0])\nnp.quantile(a, 1)\nnp.quantile(a, 0)", x),
    (
        "np.median(a)\nnp.median(a, axis=0)\nnp.median(a, axis=1, keepdims=True)\nnp.median(a, keepdims=True)",
        M,
    ),
    ("np.quantile(a, 0.25, axis=0)\nnp.quantile(a, [0.25, 0.5], axis=1)\nnp.quantile(a, 0.5, keepdims=True)", M),
    ("np.median(a, axis=(0, 2))\nnp.quantile(a, 0.4, axis=(0, 1))\nnp.quantile(a, 0.4, axis=(2, 0), keepdims=True)", T),
    ("np.quantile(a, np.array([[0.25, 0.5], [0.1, 1.0]]), axis=1, keepdims=True)", T),
    ("np.percentile(a, b)\nnp.percentile(a, b + 100)\nnp.quantile(a, b / 100)", x, 12.5),
    (
        "np.quantile(a, 0.4)\nnp.quantile(a, [0.1, 0.4])\nnp.nanquantile(a, 0.4)\nnp.nanpercentile(a, [40, 20.0])",
        with_nan,
    ),
    ("np.median(a, axis=1)\nnp.quantile(a, 0.4, axis=1)\nnp.quantile(a, [0.4, 0.1], axis=1)", rows_with_nan),
    ("np.nanmedian(a, axis=1)\nnp.nanmedian(a, axis=0)\nnp.nanmedian(a)\nnp.nanmedian(a, axis=(0, 1))", rows_with_nan),
    ("np.nanquantile(a, 0.4, axis=1)\nnp.nanpercentile(a, [40, 20.0], axis=0)\nnp.nanpercentile(a, 50)", rows_with_nan),
    ("np.nanmedian(a, axis=0, keepdims=True)\nnp.nanquantile(a, [0.2], axis=1, keepdims=True)", M),
    ("np.median(a)\nnp.nanmedian(a[:0] if a.size > 9 else a + 1.0 if a.size else np.ones(1))", nothing),
    ("np.median(a, axis=0)\nnp.median(a, axis=1)", np.zeros((0, 3))),
    ("np.percentile(a, 50)\nnp.percentile(a, 100)\nnp.median(a)\nnp.median(a[1:])", infinite),
    (
        "np.median(a)\nnp.percentile(a, 30)\nnp.percentile(a, 30, method='lower')\nnp.quantile(a, 1)\nnp.nanmedian(a)",
        whole,
    ),
    ("np.median(a)\nnp.percentile(a, 30)\nnp.percentile(a, [30, 20])\nnp.quantile(a, np.float64(0.3))", single),
]
COUNTS = [
    ("np.bincount(a)\nnp.bincount(a, minlength=9)\nnp.bincount(a.astype(np.int8))\nnp.bincount(a - 1)", whole),
    ("np.bincount(a, b)\nnp.bincount(a, weights=b, minlength=2)\nnp.bincount(a, b[:4])", whole, x[:5]),
    ("np.bincount(a, a)\nnp.bincount(a > 1)", whole),
    ("np.bincount(a)\nnp.bincount(a, minlength=3)", np.zeros(0, int)),
    ("np.histogram(a)\nnp.histogram(a, 4)\nnp.histogram(a, 4, range=(-1, 1))\nnp.histogram(a, 5, density=True)", M),
    ("np.histogram(a, 5, weights=b)\nnp.histogram(a, [-1, 0, 0.5], weights=b, density=True)", x, ties),
    ("np.histogram(a, b)\nnp.histogram(a, b, weights=a)", x, np.array([-1, -0.5, 0.2, 0.2, 1])),
    ("np.histogram(a, b)", ties, np.array([0.0, 1, 1, 3, 3])),
    ("np.histogram(a, b)", ties, np.array([0.0, 1, 0.5])),
    ("np.histogram(a, 3)\nnp.histogram(a, [0, 1])\nnp.histogram(a, 3, weights=a)", nothing),
    ("np.histogram(a, 3)\nnp.histogram(a, [1.0, 1.0])\nnp.histogram(a, 3, range=(1, 1))", np.ones(4)),
    ("np.histogram(a, b)\nnp.histogram(a, b - 3)", x, 3),
    ("np.histogram(a, 3)\nnp.histogram(a, [0, 1, 3], weights=a)\nnp.histogram(a, 3, weights=a)", whole),
    ("np.histogram(a, 3, weights=b)\nnp.histogram(a, [0, 2, 7], weights=b)", whole, single[:5]),
    ("np.histogram(a, 7)\nnp.histogram(a, 7, range=(-0.5, 0.7))\nnp.histogram(a, [-0.5, 0.1, 0.7])", single),
    (
        "np.histogram(a, 3)\nnp.histogram(a, 3, range=(0, 1))\nnp.histogram(a, [0, 0.5, 1])",
        np.array([0.5, np.nan, 1.0, 1.1]),
    ),
    ("np.histogram_bin_edges(a, 6)\nnp.histogram_bin_edges(a, [0, 1.0])", x),
    ("np.histogram2d(a, b, 4)\nnp.histogram2d(a, b, np.array([-1, 0, 1.0]))", x, ties),
    ("np.histogram2d(a, b, 3)\nnp.histogram2d(a, a, 3)\nnp.histogram2d(b, b.astype(int), 3)", single, ties),
    ("np.histogramdd(a, 3, range=[(-1, 1), (-1, 2)])\nnp.histogramdd(a, [2, np.array([0.0, 1])])", M[:, :2]),
    ("np.histogramdd([a, b, a * b], 3, density=True)\nnp.histogramdd((a, b), 2, weights=a)", x, ties),
    ("np.histogram2d(a, b, [-1, 0, 1.0])\nnp.histogram2d(a, b, [2, [0, 1, 3]])", x, ties),
    ("np.histogram2d(a, b, [3, 2], range=[[-1, 1], [0, 3]], weights=a, density=True)", x, ties),
    ("np.histogram2d(a, b, [np.array([-1, 0, 1.0]), np.array([0.0, 1, 3])])", x, ties),
]


@pytest.mark.parametrize("body, args", cases(ORDER + UNIQUE + QUANTILES + COUNTS))
def test_values(body, args):
    body = "\n".join(part.strip() for part in body.split(";"))
    args = [np.copy(a) if isinstance(a, np.ndarray) else a for a in args]
    snippets.agrees(snippets.program(body, args), *args)


@pytest.mark.parametrize("method", METHODS)
def test_methods_of_quantiles(method):
    q = np.array([0, 0.05, 1 / 6, 0.3, 0.5, 0.77, 1])
    for array in (x, x[:1], x[:2], ties):
        args = (array, q)
        snippets.agrees(snippets.program(f"np.quantile(a, b, method='{method}')", args), *args)
        snippets.agrees(snippets.program(f"np.nanquantile(a, b, method='{method}')", args), *args)


@pytest.mark.parametrize("bins", [1, 3, 7, 10, 49])
def test_elements_on_and_next_to_edges(bins):
    """What division says is put right by comparison with the edges, as NumPy does."""
    for low, high in ((0.0, 1.0), (-0.1, 0.7), (1e-3, 1e3), (-7.3, 2.9)):
        edges = np.linspace(low, high, bins + 1)
        a = np.concatenate([edges, np.nextafter(edges, -np.inf), np.nextafter(edges, np.inf), [low, high]])
        for array in (a, a[(a >= low) & (a <= high)], a.astype(np.float32)):
            snippets.agrees(snippets.program(f"np.histogram(a, {bins}, range=({low}, {high}))", (array,)), array)
            snippets.agrees(snippets.program(f"np.histogram(a, {bins})", (array,)), array)
            snippets.agrees(snippets.program("np.histogram(a, b)", (array, edges)), array, edges)


# ---------------------------------------------------------------- derivatives


def ordered(a, b):
    s = np.sort(a)
    t = np.sort(b, axis=0)
    o = np.argsort(a)
    u = np.unique(np.concatenate((a, a)))
    return np.sum(s * np.arange(7.0)) + np.sum(t**2 * b) + np.sum(a[o] * s**2) + np.sum(u**3) + np.ptp(a)


def quantiles(a, b, q):
    s = np.median(a) ** 2 + np.median(b, axis=0) @ np.median(b, axis=0) + np.percentile(a, 30.0) * np.quantile(a, q)
    for method in ("lower", "midpoint", "hazen"):
        s += np.sum(np.quantile(b, [0.2, 0.9], axis=1, method=method) ** 2)
    return s + np.sum(np.nanmedian(b, axis=1) ** 3) + np.nanquantile(b, 0.35)


def counted(a, w, i):
    counts, edges = np.histogram(a, 4)
    sums, _ = np.histogram(a, 4, weights=w)
    fine, _ = np.histogram(a, [-1.0, 0.1, 0.2, 2.0], weights=w * w, density=True)
    plane, _, _ = np.histogram2d(a, w, 3, weights=a * w)
    s = np.sum(counts * edges[1:] ** 2) + np.sum(sums**2 * edges[:-1]) + np.sum(fine**3) + np.sum(plane**2)
    return s + np.sum(np.bincount(i, w[:5] * a[:5]) ** 2) + np.searchsorted(np.sort(a), 0.1) * a[0]


def in_place(a, n):
    s = 0.0
    for k in range(n):
        a.sort()
        s += a[k] * a[-1] * np.median(a)
        a[k] = np.sin(a[k]) * 3
    return s


def grouped(a, n):
    s = 0.0
    for k in range(n):
        groups, inverse, counts = np.unique(np.floor(a * (k + 1)), return_inverse=True, return_counts=True)
        means = np.bincount(inverse, a) / counts
        s += np.sum(means**2 * groups) + np.sum((a - means[inverse]) ** 2)
    return s


PROGRAMS = [
    (ordered, (x, M), (0, 1)),
    (quantiles, (x, M, 0.43), (0, 1, 2)),
    (counted, (x, np.linspace(0.5, 1.5, 7), whole), (0, 1)),
    (in_place, (x, 3), (0,)),
    (grouped, (x, 3), (0,)),
]


@pytest.mark.parametrize("function, args, argnums", PROGRAMS, ids=[p[0].__name__ for p in PROGRAMS])
def test_derivatives(function, args, argnums):
    check_program(function, [args], argnums)


@pytest.mark.parametrize("function, args, argnums", PROGRAMS, ids=[p[0].__name__ for p in PROGRAMS])
def test_second_derivatives(function, args, argnums):
    snippets.second_order(function, args)


@pytest.mark.daily(1)
@pytest.mark.parametrize("function, args, argnums", [PROGRAMS[2], PROGRAMS[3]], ids=["counted", "in_place"])
def test_compiled(function, args, argnums):
    check_program(function, [args], argnums, compile=True)


LAYOUTS = {
    "fortran": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "spread": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_arguments_in_any_order_of_memory(layout):
    """Kernels get C order; also of arguments that were written to, which keep their own memory."""

    def f(a, b, m):
        a[a > 0] *= 2
        b[1:] += 1.0
        m[0] = True
        s = np.sum(np.sort(a, axis=None) * np.arange(a.size)) + np.sum(np.sort(a, axis=0) * a)
        a[m] += 1
        return s + np.searchsorted(b, b[0]) + np.sum(a[np.argsort(a[:, 1])] * a) + np.sum(np.argsort(b) * b)

    given = [M, np.sort(x), M > 0.2]
    args, expected = [LAYOUTS[layout](a.copy()) for a in given], [a.copy() for a in given]
    assert jit(f)(*args) == pytest.approx(f(*expected), rel=1e-13)
    for got, wanted in zip(args, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_the_derivative_goes_to_the_elements_that_stand_there():
    np.testing.assert_array_equal(grad(lambda a: np.sort(a)[1])(ties), [0, 1, 0, 0, 0, 0, 0])  # the first of the equal
    np.testing.assert_array_equal(grad(lambda a: np.median(a))(ties), [0, 0, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(grad(lambda a: np.median(a))(ties[:4]), [0, 0, 0.5, 0.5])  # 1, 1, 2, 3
    np.testing.assert_allclose(grad(lambda q: np.quantile(ties, q))(0.6), 6 * (3.0 - 2.0), rtol=1e-12)
    np.testing.assert_array_equal(grad(lambda a: np.nanmedian(a))(np.array([1, np.nan, 5.0])), [0.5, 0, 0.5])


def test_counts_are_data():
    def f(a):
        return np.sum(np.histogram(a, 3, range=(-1.0, 1.0))[0] * 2.0) + np.digitize(a, [0.0]).sum()

    value, gradient = value_and_grad(f)(x)
    assert value == f(x)
    np.testing.assert_array_equal(gradient, np.zeros(7))


def test_positions_are_found_outside_of_a_loop():
    def f(a, n):
        s = 0.0
        for k in range(n):
            s += np.sort(a)[0] * k + np.sum(a[a > 0])
        return s

    compiled = jit(f)
    assert compiled(x, 3) == pytest.approx(f(x, 3))
    body = compiled.ir("optimized").split(" = for ", 1)
    assert "argsort" in body[0] and "nonzero" in body[0]


# ---------------------------------------------------------------- kernels


@pytest.mark.daily(1)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_argsort_kernel(dtype):
    for n in (0, 1, 2, 15, 16, 17, 31, 32, 33, 100, 1000):
        for spread in (3, 1000):
            a = rng.integers(0, min(spread, 250), (2, n)).astype(dtype)
            if a.dtype.kind == "f":
                a[rng.random(a.shape) < 0.1] = np.nan
                a[rng.random(a.shape) < 0.1] = -0.0
            out = np.full(a.shape, -1)
            kernels.argsort(out, a)
            np.testing.assert_array_equal(out, np.argsort(a, axis=1, kind="stable"))


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted_kernel(side):
    search = getattr(kernels, f"searchsorted_{side}")
    for n in (0, 1, 2, 3, 8, 50):
        a = np.sort(rng.integers(0, 20, n).astype(float))
        for array in (a, np.append(a, [np.inf, np.nan, np.nan])):
            for v in (*range(-1, 21), 3.5, np.inf, -np.inf, np.nan):
                assert search(array, float(v)) == np.searchsorted(array, v, side)
