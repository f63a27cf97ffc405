"""`sparse_jacobian` and `sparse_hessian`: the matrix is the dense one, and the pattern misses nothing."""

import builtins
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

import adjit
from adjit import ArgumentError, custom_jvp, grad, hessian, jacfwd, sparse_hessian, sparse_jacobian, stop_gradient
from adjit.api.coloring import color_columns
from adjit.api.probing import find_pattern
from adjit.ir import interp
from adjit.ir.adjoint.pattern import dependence
from adjit.ir.core import walk
from adjit.ir.text import parse
from adjit.ir.verify import verify

RNG = np.random.default_rng(7)


def rosenbrock(x):
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def rosenbrock_loop(x):
    s = 0.0
    for i in range(len(x) - 1):
        a = x[i + 1] - x[i] * x[i]
        b = 1.0 - x[i]
        s += 100.0 * a * a + b * b
    return s


def dense(f, args, argnum=0):
    """The dense Jacobian, with results and arguments as vectors."""
    J = np.asarray(jacfwd(f, argnum)(*args))
    return J.reshape(-1, np.size(args[argnum]))


def check(derivative, expected, *args):
    """The matrix, its pattern and its colours at some arguments. Returns the pattern, dense."""
    found = derivative(*args)
    assert isinstance(found, csr_array) and found.has_sorted_indices
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-10, atol=1e-10)
    pattern = derivative.pattern(*args)
    assert pattern.dtype == bool and pattern.shape == expected.shape
    assert np.array_equal(pattern.indices, found.indices) and np.array_equal(pattern.indptr, found.indptr)
    assert not (expected[~pattern.toarray()] != 0).any()
    return pattern.toarray()


def runs_of(derivative):
    """How many dependence programs' patterns are kept."""
    return [len(p.structures) for p in derivative._programs.values()]


# ---------------------------------------------------------------- the chained Rosenbrock function


@pytest.mark.parametrize("f", [rosenbrock, rosenbrock_loop])
def test_the_hessian_of_a_chain_is_tridiagonal(f):
    H = sparse_hessian(f)
    for n in (2, 3, 70, 300):
        x = RNG.normal(size=n)
        pattern = check(H, hessian(f)(x), x)
        assert np.array_equal(pattern, abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1)
        assert len(set(H.colors(x))) == min(n, 3)


@pytest.mark.parametrize("f", [rosenbrock, rosenbrock_loop])
def test_a_long_chain(f):
    n = 100_000
    x = RNG.normal(size=n)
    H = sparse_hessian(f)(x)
    assert H.nnz == 3 * n - 2
    v = RNG.normal(size=n)
    np.testing.assert_allclose(H @ v, adjit.hvp(f, x, v), rtol=1e-9, atol=1e-7)


# ---------------------------------------------------------------- structures of Jacobians


def tridiagonal(x):
    y = 2.0 * x
    y[1:] = y[1:] - np.sin(x[:-1])
    y[:-1] = y[:-1] - x[1:] ** 2
    return y


def blocks(x):
    A = x.reshape(len(x) // 3, 3)
    return A * np.sum(A, axis=1, keepdims=True)


def in_place(x):
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] += x[i] * x[i]
        if i % 3 == 0:
            y[i] = x[0]
        if i >= 2:
            y[i - 2] *= x[i]
    return y


def with_where(x):
    return np.where(x[1:] > 0.0, x[1:] ** 2, x[:-1]) + np.maximum(x[:-1], 0.1)


def with_branch(x):
    y = np.zeros(len(x) - 1)
    for i in range(len(x) - 1):
        a, b = x[i], x[i + 1]
        if a > 0.0:
            if b > 1.0:
                a = 1.0
            else:
                a = a * a
        else:
            a = b
        y[i] = a
    return y


def sweep(x):
    y = x.copy()
    for i in range(1, len(x)):
        y[i] = x[i] - 0.3 * y[i - 1]
    return y


def tail(x):
    return x[-1] * x[::2], np.cumsum(x[:3])[::-1]


def laplacian(u):
    out = np.zeros_like(u)
    out[1:-1, 1:-1] = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4.0 * u[1:-1, 1:-1] ** 2
    return out


def constants(x):
    return np.floor(x) + stop_gradient(x) + np.ones(len(x)) + np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0]) * x[0]


X = RNG.normal(size=30)
STRUCTURES = {
    "tridiagonal": (tridiagonal, X, 3),
    "blocks": (blocks, X, 3),
    "in_place": (in_place, X, None),
    "with_where": (with_where, X, 2),
    "with_branch": (with_branch, X, 2),
    "sweep": (sweep, X, 30),
    "laplacian": (laplacian, RNG.normal(size=(8, 9)), None),
    "transposed": (lambda x: (x.T * x.T[0])[1:], RNG.normal(size=(4, 5)), 2),
    "constants": (constants, X[:6], 1),
    "diagonal": (lambda x: np.exp(x) * x, X, 1),
    "scalar": (lambda x: x[3] * x[5], X, 2),
    "of a scalar": (lambda t: t * np.arange(4.0), 1.5, 1),
    "shifted": (lambda x: np.concatenate([x[5:], x[:5]]) * np.roll(x, 1), X, None),
    "maxima": (lambda x: np.max(x.reshape(6, 5), axis=1), X, 0),
    "triangle": (lambda x: np.cumsum(x), X, 30),
    "product": (lambda x: x.reshape(6, 5) @ np.ones((5, 2)), X, None),
    "both factors": (lambda x: x[:6].reshape(2, 3) @ x[6:18].reshape(3, 4), X, None),
    "solved": (lambda x: np.linalg.solve(np.eye(3) * 4.0 + np.outer(x[:3], x[:3]), x[3:6]), X, None),
}


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", STRUCTURES)
def test_jacobians(name):
    f, x, colors = STRUCTURES[name]
    J = sparse_jacobian(f)
    check(J, dense(f, (x,)), x)
    if colors is not None:
        assert J.colors(x).max() + 1 == colors
    assert (J.row_colors(x).max() >= 0) == (name in ("maxima", "product"))
    assert runs_of(J) == [1]


def test_a_pattern_is_no_larger_than_it_must_be():
    pattern = sparse_jacobian(in_place).pattern(X).toarray()
    expected = np.zeros((30, 30), bool)
    for i in range(30):
        expected[i, 0 if i % 3 == 0 else i] = True
        if i + 2 < 30:
            expected[i, i + 2] = True
    assert np.array_equal(pattern, expected)
    assert sparse_jacobian(constants).pattern(X[:6]).sum() == 6


def test_both_branches_count_where_floats_decide():
    for f in (with_where, with_branch):
        J = sparse_jacobian(f)
        for x in (abs(X), -abs(X), X):
            pattern = check(J, dense(f, (x,)), x)
            assert pattern.sum() == 2 * 29
        assert runs_of(J) == [1]


# ---------------------------------------------------------------- data


def test_index_arrays_are_data():
    n, m = 60, 80
    idx, jdx = RNG.integers(0, n, m), RNG.integers(0, n, m)

    def springs(x, i, j):
        return np.sum((x[i] - x[j]) ** 4)

    def forces(x, i, j):
        out = np.zeros(len(x))
        for k in range(len(i)):
            d = x[i[k]] ** 2 - x[j[k]]
            out[i[k]] += d
            out[j[k]] -= d
        return out

    x = RNG.normal(size=n)
    H, J = sparse_hessian(springs), sparse_jacobian(forces)
    for i, j in ((idx, jdx), (jdx, np.sort(idx)), (idx, jdx)):
        pattern = check(H, hessian(springs)(x, i, j), x, i, j)
        expected = np.zeros((n, n), bool)
        expected[i, j] = expected[j, i] = True
        expected[i, i] = expected[j, j] = True
        assert np.array_equal(pattern, expected)
        check(J, dense(forces, (x, i, j)), x, i, j)
    assert runs_of(H) == runs_of(J) == [2]
    assert H.colors(x, idx, jdx).max() + 1 < n / 2
    assert H.data(x, i, j) == J.data(x, i, j) == ("i", "j")
    i[0] = (i[0] + 1) % n  # changed in place
    check(H, hessian(springs)(x, i, j), x, i, j)
    assert runs_of(H) == [3]


def test_what_floats_decide_is_looked_at_again():
    def f(x):
        y = np.zeros(len(x))
        k = 0
        while k < len(x) and x[k] > 0.0:
            y[k] = x[k] * x[k - 1]
            k += 1
        return y

    J = sparse_jacobian(f)
    for x in (abs(X), X, -X, abs(X)):
        check(J, dense(f, (x,)), x)
    sorting = sparse_jacobian(lambda x: np.sort(x) ** 2)
    for x in (X, -X):
        check(sorting, dense(lambda x: np.sort(x) ** 2, (x,)), x)


def test_a_number_that_decides_is_data():
    def shifted(x, k):
        return x[k:] * x[: len(x) - k]

    J = sparse_jacobian(shifted)
    for k in (1, 4, 1):
        check(J, dense(shifted, (X, k)), X, k)


def test_the_second_call_keeps_the_pattern(monkeypatch):
    J, H = sparse_jacobian(tridiagonal), sparse_hessian(rosenbrock)
    J(X), H(X)
    assert J.data(X) == H.data(X) == ()
    with monkeypatch.context() as patched:
        patched.setattr("adjit.api.sparse.detected", lambda *_: pytest.fail("found again"))
        check(J, dense(tridiagonal, (X + 1.0,)), X + 1.0)
        check(H, hessian(rosenbrock)(2.0 * X), 2.0 * X)
    check(J, dense(tridiagonal, (X[:11],)), X[:11])  # another shape is another pattern
    assert runs_of(J) == [2]


def test_captured_arrays_are_read_at_each_call():
    chosen = np.array([0, 2, 4])

    def f(x):
        return x[chosen] ** 2

    J = sparse_jacobian(f)
    check(J, dense(f, (X[:6],)), X[:6])
    chosen[:] = [1, 1, 5]
    check(J, dense(f, (X[:6],)), X[:6])


# ---------------------------------------------------------------- dense rows, structures of Hessians


def arrow(x):
    return np.sum((x[1:-1] * x[0]) ** 2) + np.exp(x[-1]) * np.sum(x[1:-1]) + x[0] ** 3


def test_an_arrow_needs_few_colors():
    for n in (10, 64, 65, 200, 5000):
        x = RNG.normal(size=n)
        H = sparse_hessian(arrow)
        if n < 500:
            check(H, hessian(arrow)(x), x)
        else:
            v = RNG.normal(size=n)
            np.testing.assert_allclose(H(x) @ v, adjit.hvp(arrow, x, v), rtol=1e-9, atol=1e-9)
        if n >= 64:
            assert H.colors(x).max() + 1 == 3 and (H.row_colors(x) >= 0).sum() == 2


def with_total(x, k):
    return np.sum(x * x), x[1:] * x[:-1], k[0] * np.sum(x[::2]), np.sum(x[5:9] ** 3)


def test_dense_rows_of_a_jacobian_are_computed_as_rows():
    J = sparse_jacobian(with_total)
    k = np.array([2.0])
    for n in (30, 200, 3000):
        x = RNG.normal(size=n)
        found = J(x, k)
        assert found.shape == (n + 2, n)
        assert found.nnz == n + 2 * (n - 1) + (n + 1) // 2 + 4
        expected = np.zeros((n + 2, n))
        expected[0] = 2.0 * x
        expected[np.arange(1, n), np.arange(1, n)] = x[:-1]
        expected[np.arange(1, n), np.arange(n - 1)] = x[1:]
        expected[n, ::2] = 2.0
        expected[n + 1, 5:9] = 3.0 * x[5:9] ** 2
        np.testing.assert_allclose(found.toarray(), expected, rtol=1e-12)
        rows = J.row_colors(x, k)
        assert sorted(np.flatnonzero(rows >= 0)) == [0, n] and J.colors(x, k).max() < 4


def test_few_rows_are_computed_as_rows():
    def f(x):
        y = np.zeros(3)
        for i in range(len(x)):
            y[i % 3] += x[i] ** 2
        return y

    x = RNG.normal(size=2000)
    J = sparse_jacobian(f)
    check(J, dense(f, (x,)), x)
    assert J.row_colors(x).tolist() == [0, 0, 0] and J.colors(x).max() == -1

    def twice(x):
        y = np.sum(x.reshape(5, 40) ** 2, axis=1)
        return y, {"a": x[0] * x, "b": y}

    J = sparse_jacobian(twice)
    x = x[:200]
    expected = dense(lambda x: np.concatenate([twice(x)[0], twice(x)[1]["a"], twice(x)[1]["b"]]), (x,))
    check(J, expected, x)
    J = sparse_jacobian(lambda x: (twice(x)[0], twice(x)[1]["b"]))
    check(J, expected[[0, 1, 2, 3, 4, -5, -4, -3, -2, -1]], x)
    assert J.colors(x).max() == -1


def test_data_of_dense_rows():
    def f(x, i):
        return np.sum(x[i] ** 2), x[1:] * x[:-1], np.max(x) if x[0] > 0.0 else np.sum(x[:50])

    J = sparse_jacobian(f)
    x = RNG.normal(size=400)
    for i in (np.arange(0, 400, 2), np.arange(1, 400, 2), np.arange(100)):
        for start in (1.0, -1.0):
            x[0] = start
            expected = dense(lambda x, i: np.concatenate([[f(x, i)[0]], f(x, i)[1], [f(x, i)[2]]]), (x, i))
            check(J, expected, x, i)


def test_separable_and_linear_functions():
    check(sparse_hessian(lambda x: np.sum(np.cos(x))), np.diag(-np.cos(X)), X)
    linear = sparse_hessian(lambda x: 3.0 * np.sum(x) + x[0])
    assert linear(X).shape == (30, 30) and linear(X).nnz == 0


def test_a_solved_tridiagonal_system():
    def energy(b):
        n = len(b)
        d, y = np.full(n, 3.0), b.copy()
        for i in range(1, n):
            w = -1.0 / d[i - 1]
            d[i] += w
            y[i] -= w * y[i - 1]
        y[n - 1] /= d[n - 1]
        for i in range(n - 2, -1, -1):
            y[i] = (y[i] + y[i + 1]) / d[i]
        return np.sum(y**3)

    check(sparse_hessian(energy), hessian(energy)(X), X)


# ---------------------------------------------------------------- arguments and results


def test_trees_of_arguments_and_results():
    def f(p, k, c):
        return {"a": p["w"] * p["b"], "c": (p["w"][0] * c, np.sum(p["w"]) * c[:2, 0])}

    p = {"w": X[:3], "b": 2.0}
    c = RNG.normal(size=(3, 2))
    flat = np.concatenate([[p["b"]], p["w"], c.ravel()])  # dicts are in the order of their keys

    def g(v):
        r = f({"b": v[0], "w": v[1:4]}, 1, v[4:].reshape(3, 2))
        return np.concatenate([r["a"].ravel(), r["c"][0].ravel(), r["c"][1].ravel()])

    check(sparse_jacobian(f, argnums=(0, 2)), jacfwd(g)(flat), p, 1, c)
    check(sparse_jacobian(f, argnums=2), jacfwd(g)(flat)[:, 4:], p, 1, c)


def test_hessian_of_several_arguments():
    def f(a, b, s):
        return s * np.sum(a * b[::-1]) + np.sum(a**3) + s**2

    a, b, s = X[:4], X[4:8], 0.7
    whole = hessian(lambda v: f(v[:4], v[4:8], v[8]))(np.concatenate([a, b, [s]]))
    check(sparse_hessian(f, argnums=(0, 1, 2)), whole, a, b, s)
    check(sparse_hessian(f, argnums=1), whole[4:8, 4:8], a, b, s)


def test_single_precision():
    x = X.astype(np.float32)
    J = sparse_jacobian(tridiagonal)(x)
    assert J.dtype == np.float32
    np.testing.assert_allclose(J.toarray(), dense(tridiagonal, (x,)), rtol=1e-5)


def test_nothing_and_one():
    J = sparse_jacobian(lambda x: x * x)
    assert J(np.zeros(0)).shape == (0, 0)
    assert J(np.array([3.0])).toarray().tolist() == [[6.0]]
    assert J(3.0).toarray().tolist() == [[6.0]]
    assert sparse_hessian(lambda x: x**3)(2.0).toarray().tolist() == [[12.0]]
    assert sparse_jacobian(lambda x: x[:0])(X).shape == (0, 30)


def test_more_colors_than_lanes():
    n = 60

    def f(x):
        y = np.zeros(n)
        for i in range(n):
            for j in range(max(0, i - 6), min(n, i + 7)):
                y[i] += np.sin(x[i] * x[j])
        return y

    x = RNG.normal(size=n)
    J = sparse_jacobian(f)
    check(J, dense(f, (x,)), x)
    assert J.colors(x).max() + 1 == 13


def test_arguments_are_not_changed():
    def f(x):
        x[1:] *= x[:-1]
        return x

    x = X.copy()
    J = sparse_jacobian(f)(x)
    assert np.array_equal(x, X)
    np.testing.assert_allclose(J.toarray(), dense(f, (X.copy(),)))


def test_a_given_pattern_is_used():
    pattern = np.eye(30, dtype=bool)
    J = sparse_jacobian(lambda x: np.sin(x), pattern=pattern)
    check(J, np.diag(np.cos(X)), X)
    assert runs_of(J) == [0]
    with pytest.raises(ArgumentError, match="30 columns"):
        J(X[:5])
    with pytest.raises(ArgumentError, match="30 rows"):
        sparse_jacobian(lambda x: x[1:], pattern=pattern)(X)


def test_rules_of_the_users():
    @custom_jvp
    def clipped(x):
        return np.clip(x, 0.0, 1.0)

    @clipped.defjvp
    def rule(primals, tangents):
        return clipped(primals[0]), 0.5 * tangents[0]

    def f(x):
        return clipped(x[1:]) * x[0]

    check(sparse_jacobian(f), dense(f, (X,)), X)
    assert sparse_jacobian(lambda x: clipped(x)).pattern(X).nnz == 30


@pytest.mark.slow
def test_checkpointed_loops():
    def f(x):
        y = x * 1.0
        for k in adjit.checkpoint(range(4)):
            y[1:] = y[1:] + 0.1 * np.sin(y[:-1]) * k
        return np.sum(y * y)

    check(sparse_hessian(f), hessian(f)(X[:9]), X[:9])


def test_refusals():
    with pytest.raises(ArgumentError, match="only floats have a derivative"):
        sparse_jacobian(lambda x: x * 2)(3)
    with pytest.raises(ArgumentError, match="no derivative"):
        sparse_jacobian(lambda x: (x, len(x)))(X)
    with pytest.raises(ArgumentError, match="a gradient is of one float"):
        sparse_hessian(lambda x: x)(X)
    with pytest.raises(ArgumentError, match="function"):
        sparse_jacobian(3)


def test_errors_of_the_program_are_raised():
    J = sparse_jacobian(lambda x, i: x[i] * 2.0)
    with pytest.raises(IndexError):
        J(X, np.array([0, 30]))

    def positive(x):
        assert x[0] > 0.0, "not positive"
        return x * x

    with pytest.raises(AssertionError, match="not positive"):
        sparse_jacobian(positive)(-abs(X))
    assert sparse_jacobian(positive)(abs(X)).nnz == 30


def test_as_decorators_and_of_transforms():
    @sparse_jacobian(argnums=1)
    def f(a, x):
        return a * x

    assert np.array_equal(f(2.0, X).toarray(), 2.0 * np.eye(30))
    check(sparse_jacobian(grad(rosenbrock)), hessian(rosenbrock)(X), X)
    assert "sparse_jacobian of" in repr(f) and f.__name__ == "f"


def test_pickles_and_threads():
    H = pickle.loads(pickle.dumps(sparse_hessian(rosenbrock)))
    points = [RNG.normal(size=n) for n in (40, 41, 42, 43) * 4]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(H, points))
    for x, h in zip(points, found, strict=True):
        np.testing.assert_allclose(h.toarray(), hessian(rosenbrock)(x), rtol=1e-10, atol=1e-10)


def test_static_arguments():
    @sparse_jacobian(static_argnames="kind")
    def f(x, kind):
        return x * x[0] if kind == "first" else np.sin(x)

    assert f(X, "first").nnz == 59
    assert f(X, kind="other").nnz == 30


def test_by_the_interpreter(monkeypatch):
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    check(sparse_jacobian(in_place), dense(in_place, (X,)), X)
    check(sparse_hessian(rosenbrock_loop), hessian(rosenbrock_loop)(X), X)


def test_pictures(tmp_path, monkeypatch):
    H = sparse_hessian(rosenbrock)
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(builtins, "__import__", missing)
        with pytest.raises(ArgumentError, match="matplotlib"):
            H.plot_pattern(X)
    pytest.importorskip("matplotlib")
    H.plot_pattern(X, path=tmp_path / "pattern.png")
    assert (tmp_path / "pattern.png").stat().st_size > 1000


# ---------------------------------------------------------------- the parts


@pytest.mark.parametrize("shape", [(1, 1), (3, 0), (0, 3), (5, 64), (7, 65), (90, 500), (2, 5000)])
@pytest.mark.parametrize("density", [0.0, 0.02, 0.3, 1.0])
def test_a_pattern_is_found_from_products(shape, density):
    wanted = csr_array(random_array(shape, density=density, rng=RNG)).astype(bool)

    def run(bits):
        return np.array([np.bitwise_or.reduce(bits[row], initial=0) for row in rows], np.int64)

    def transposed(bits):
        return np.array([np.bitwise_or.reduce(bits[column], initial=0) for column in columns], np.int64)

    other = wanted.T.tocsr()
    rows, columns = np.split(wanted.indices, wanted.indptr[1:-1]), np.split(other.indices, other.indptr[1:-1])
    found = find_pattern(run, transposed, shape)
    assert found.shape == shape and (found != wanted).nnz == 0


def test_columns_of_one_color_share_no_row():
    for shape, density in (((50, 40), 0.05), ((40, 60), 0.3), ((30, 30), 0.0), ((5, 9), 1.0)):
        pattern = csr_array(random_array(shape, density=density, rng=RNG)).astype(bool)
        colors = color_columns(pattern)
        A = pattern.toarray()
        for c in range(colors.max() + 1):
            assert (A[:, colors == c].sum(axis=1) <= 1).all()
            assert (colors == c).any()


OPERATIONS = """func @f(%x: f64[?], %i: i64[?], %A: f64[?,?]) -> (f64[?], f64[?], f64[?], f64[?,?], f64[?]) {
  %n: i64 = dim %x {axis=0}
  %z: f64[?] = fill 0.0, %n
  %a: f64[?] = scatter_add %z, %x, %i {axes=(0,)}
  %s: f64[?] = cumsum %x {axis=0, reverse=true}
  %r: f64[?] = recurrence %x, %x {axis=0, reverse=false}
  %B: f64[?,?] = scatter_add %A, 1.0, %i, %i {axes=(0, 1)}
  %C: f64[?,?] = cumprod %B {axis=1, reverse=false}
  %t: f64[?] = accumulate %z, %x, 0, %n, 0 {spec="s"}
  return %a, %s, %r, %C, %t
}"""


def test_sets_of_operations():
    f = parse(OPERATIONS)
    program = dependence(f, [0, 2])
    verify(program)
    assert {op.name for op in walk(program.body)} >= {"bitwise_or", "for", "update"}
    n = 4
    x, i, A = np.ones(n), np.array([1, 1, 3, 0]), np.ones((n, n))
    bits, more = 1 << np.arange(n), 1 << np.arange(n, n + n * n).reshape(n, n)
    a, s, r, C, t = interp.run(program, [x, i, A, bits, more])
    assert a.tolist() == [8, 3, 0, 4]
    assert s.tolist() == [15, 14, 12, 8]
    assert r.tolist() == [1, 3, 7, 15]
    assert np.array_equal(C, np.bitwise_or.accumulate(more, axis=1))
    assert t.tolist() == [15, 0, 0, 0]
