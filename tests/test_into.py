"""`f.into(out, ...)`: gradients and results in the caller's memory."""

import numpy as np
import pytest

from adjit import ArgumentError, ShapeError, grad, hessian, jacobian, jit, value_and_grad, vjp
from adjit.api.compiled import Transform
from adjit.api.into import executable_for
from adjit.api.transforms import _vjp_of
from adjit.ir.core import walk

X = np.linspace(0.1, 1.5, 7)
A, B = np.random.default_rng(1).normal(size=(2, 4, 3))


def vectorized(x):
    return np.sum(np.sin(x[1:]) * x[:-1] ** 2)


def loop(x):
    total = 0.0
    for i in range(1, x.size):
        total += np.sin(x[i] * x[i - 1]) * total + x[i]
    return total


def in_place(x):
    x = x.copy()
    for _ in range(3):
        for i in range(1, x.size):
            x[i] = 0.5 * x[i] + 0.1 * x[i - 1] ** 2
    return np.sum(x * x)


def stops(x):
    while np.sum(x) < 50.0:
        x = x * 1.5
    return np.sum(x[::2])


def unused(x):
    return 2.0


PROGRAMS = (vectorized, loop, in_place, stops, unused)


def filled(shape, dtype=np.float64):
    return np.full(shape, 77, dtype)


@pytest.mark.daily(1)
@pytest.mark.parametrize("program", PROGRAMS)
def test_gradients(program):
    g = grad(program)
    for x in (X, X[:0], X[:2], X[::2], X[::-1]):
        if program is stops and x.size < 7:
            continue
        out = filled(x.shape)
        assert g.into(out, x) is out
        np.testing.assert_array_equal(out, g(x))
        wide = filled((2, x.size, 3))
        g.into(wide[1, :, 1], x)  # not contiguous: a copy
        np.testing.assert_array_equal(wide[1, :, 1], g(x))
        assert np.count_nonzero(wide == 77) == wide.size - np.count_nonzero(wide[1, :, 1] != 77)
    value, given = value_and_grad(program).into(filled(7), X)
    expected = value_and_grad(program)(X)
    assert value == expected[0]
    np.testing.assert_array_equal(given, expected[1])


def test_it_is_written_where_it_belongs():
    for program in PROGRAMS:
        g = grad(program)
        g.into(filled(7), X)
        assert executable_for(g._latest, (0,)).direct == [0], program


def test_nothing_is_allocated_for_it():
    def allocations(executable):
        return sum(op.name == "buffer.alloc" for op in walk(executable.scheduled.body))

    for program in PROGRAMS:
        g = grad(program)
        g.into(filled(7), X)
        assert allocations(executable_for(g._latest, (0,))) == allocations(g._latest.executable) - 1


def test_trees_and_several_arguments():
    def f(params, x, s):
        return np.sum((x @ params["w"]) ** 2) * s + np.sum(params["b"] * x)

    args = ({"w": B[:3].copy(), "b": A}, B, 1.5)
    g = value_and_grad(f, argnums=(0, 2))
    out = ({"w": filled((3, 3)), "b": filled((4, 3))}, filled(()))
    value, given = g.into(out, *args)
    assert given is out
    expected, gradients = g(*args)
    assert value == expected and out[1] == gradients[1]
    for name in "wb":
        np.testing.assert_array_equal(out[0][name], gradients[0][name])
    with pytest.raises(ArgumentError, match="structure"):
        g.into((out[0], filled(()), filled(())), *args)


def test_aux_and_keywords():
    g = grad(lambda x, k=1: (np.sum(x**2) * k, x * 3), has_aux=True)
    out = filled(7)
    given, aux = g.into(out, X, k=3)
    assert given is out
    np.testing.assert_array_equal(out, 6 * X)
    np.testing.assert_array_equal(aux, 3 * X)


def test_a_parameter_named_out_and_changing_types():
    g = value_and_grad(lambda out, x=2.0: np.sum(out**2) * x)
    for _ in range(2):
        for a in (X, X.astype(np.float32), A, X[:3]):
            out = filled(a.shape, a.dtype)
            value, given = g.into(out, out=a)
            expected = g(a)
            assert value == expected[0] and given is out
            np.testing.assert_array_equal(out, expected[1])
            g.into(out, a, x=3.0)
            np.testing.assert_array_equal(out, g(a, 3.0)[1])
            with pytest.raises((ShapeError, ArgumentError)):
                g.into(filled(9), a)
            shared = np.concatenate([a.ravel(), a.ravel()])
            inside = shared[a.size // 2 :][: a.size].reshape(a.shape)
            g.into(inside, shared[: a.size].reshape(a.shape))
            np.testing.assert_array_equal(inside, expected[1])


def test_captured_values_are_read_again():
    scale = np.ones(7)

    def f(x):
        return np.sum(scale * x)

    g, out = grad(f), filled(7)
    for k in range(3):
        scale[:] = k
        np.testing.assert_array_equal(g.into(out, X), np.full(7, k))
    scale = np.arange(7.0)
    np.testing.assert_array_equal(g.into(out, X), scale)


def test_results_of_other_transforms():
    for compiled, shape in ((jit(lambda x: x * 2), 7), (hessian(loop), (7, 7)), (jacobian(lambda x: x**2), (7, 7))):
        out = filled(shape)
        assert compiled.into(out, X) is out
        np.testing.assert_array_equal(out, compiled(X))
        with pytest.raises(ShapeError, match="shape"):
            compiled.into(filled(np.add(shape, 1)), X)
    pair = jit(lambda x: (x, x[:3], np.sum(x)))
    out = filled(7), filled(3), filled(())
    pair.into(out, X)
    for a, b in zip(out, pair(X), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_dtypes(dtype):
    x = A.astype(dtype)
    out = filled(x.shape, dtype)
    g = grad(lambda x: np.sum(np.exp(x)))
    np.testing.assert_array_equal(g.into(out, x), g(x))
    for wrong in (np.float32 if dtype == "f8" else np.float64, np.int64, ">f8"):
        with pytest.raises(ArgumentError, match="`out` holds an array of"):
            g.into(filled(x.shape, wrong), x)


@pytest.mark.parametrize("order", ["C", "F"])
def test_layouts(order):
    g = grad(lambda x: np.sum(np.exp(x) * x))
    out = np.asfortranarray(filled((4, 3))) if order == "F" else filled((4, 3))
    for x in (A, np.asfortranarray(A), A[:, ::-1]):
        np.testing.assert_array_equal(g.into(out, x), g(x))
    ones = filled((4, 1))
    np.testing.assert_array_equal(g.into(ones, A[:, :1]), g(A[:, :1]))


@pytest.mark.parametrize("program", [vectorized, loop, in_place])
def test_memory_shared_with_arguments(program):
    g = grad(program)
    for shift in (0, 1, -2):
        memory = np.linspace(0.1, 1.0, 20)
        x, out = memory[5:12], memory[5 + shift : 12 + shift]
        expected = g(x.copy())
        g.into(out, x)
        np.testing.assert_array_equal(out, expected)
    with_captured = np.linspace(1.0, 2.0, 7)

    def captures(x):
        return np.sum(with_captured**2 * x)

    expected = with_captured**2
    grad(captures).into(with_captured, X)
    np.testing.assert_array_equal(with_captured, expected)


def test_what_cannot_be_written_is_refused():
    g = grad(vectorized)
    for shape in (6, 8, 1, (7, 1)):
        with pytest.raises((ShapeError, ArgumentError)):
            g.into(filled(shape), X)
    read_only = filled(7)
    read_only.flags.writeable = False
    with pytest.raises(ArgumentError, match="read-only"):
        g.into(read_only, X)
    for wrong in ([0.0] * 7, None, 1.0, np.ma.zeros(7)):
        with pytest.raises(ArgumentError):
            g.into(wrong, X)
    both = filled(10)
    with pytest.raises(ArgumentError, match="shares memory"):
        grad(lambda x, y: np.sum(x * y), argnums=(0, 1)).into((both[:7], both[3:]), X, X)

    @jit
    def writes(x):
        x[0] = 1.0
        return x * 2

    x = X.copy()
    with pytest.raises(ArgumentError, match="shares memory"):
        writes.into(x, x)
    out = filled(7)
    writes.into(out, x)
    assert x[0] == 1.0 and out[0] == 2.0
    with pytest.raises(ArgumentError, match="pullback"):
        _vjp_of(vectorized, Transform("vjp", None, False, ())).into(out, X)
    assert vjp(vectorized, X)[0] == jit(vectorized)(X)


def test_extents_that_turn_out_to_be_one():
    def f(x, n):
        return np.sum(x[:n] * x)

    g = grad(f)
    for n in (7, 1):
        out = filled(7)
        np.testing.assert_array_equal(g.into(out, X, n), g(X, n))


def test_memory_maps(tmp_path):
    out = np.memmap(tmp_path / "gradient", np.float64, "w+", shape=(7,))
    grad(vectorized).into(out, X)
    out.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "gradient"), grad(vectorized)(X))


def test_without_a_compiler(monkeypatch):
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    g = grad(vectorized)
    np.testing.assert_array_equal(g.into(filled(7), X), g(X))
