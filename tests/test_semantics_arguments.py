"""What may be passed: every kind of number and array, in any layout, twice, overlapping, or refused with a way out."""

from __future__ import annotations

import copy
import enum
import pickle

import numpy as np
import pytest
from semantics import check, difference

from adjit import grad, jit, value_and_grad, vjp
from adjit.ir.errors import AdjitError, ArgumentError, UnsupportedError

X = np.arange(6.0).reshape(2, 3) + 1


def read(x):
    return np.sum(x * x) * 0.5


def written(x):
    x[0] *= 3.0
    return np.sum(x * x) * 0.5


def unaligned(x):
    out = np.ndarray(x.shape, x.dtype, buffer=bytearray(x.nbytes + 1), offset=1)
    out[...] = x
    assert not out.flags.aligned
    return out


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


def mapped(x, path):
    out = np.memmap(path, dtype=x.dtype, mode="w+", shape=x.shape)
    out[...] = x
    return out


ARRAYS = {
    "C": np.copy,
    "F": np.asfortranarray,
    "reversed": lambda x: x[::-1, ::-1],
    "strided": lambda x: np.repeat(x, 2, 1)[:, ::2],
    "transposed": lambda x: x.T.copy().T,
    "read-only": read_only,
    "unaligned": unaligned,
    "swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "repeated": lambda x: np.broadcast_to(x[0], (4, 3)),
    "unpickled": lambda x: pickle.loads(pickle.dumps(x)),
    "single": lambda x: x.astype(np.float32),
    "one row": lambda x: x[:1].copy(),
    "nothing": lambda x: x[:0].copy(),
}
FUNCTIONS = [jit(read), value_and_grad(read)]


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_in_any_layout(name):
    x = ARRAYS[name](X)
    before = x.copy()
    for _ in range(2):
        assert not difference(FUNCTIONS[0](x), read(before.astype(before.dtype.newbyteorder("="))), 1e-15)
        value, found = FUNCTIONS[1](x)
        assert value == read(before)
        assert found.shape == x.shape and found.dtype == x.dtype.newbyteorder("=") and found.flags.writeable
        np.testing.assert_array_equal(found, before)
        assert not np.shares_memory(found, x)


@pytest.mark.parametrize("name", [n for n in ARRAYS if n not in ("repeated", "nothing")])
def test_arrays_that_are_written(name):
    """A derivative leaves its arguments alone; `jit` does what the function does, or says that it cannot."""
    x, plain = ARRAYS[name](X), ARRAYS[name](X).copy()
    before = x.copy()
    value, found = value_and_grad(written)(x)
    assert difference(np.asarray(x), np.asarray(before)) == ""
    assert value == pytest.approx(float(written(plain)), rel=1e-6)
    factor = np.ones(x.shape)
    factor[0] = 9.0
    np.testing.assert_allclose(found, factor * before, rtol=1e-6)
    kernel = jit(written)
    if name in ("read-only", "unaligned", "swapped"):
        with pytest.raises(ArgumentError, match="written to, but"):
            kernel(x)
    else:
        kernel(x)
        np.testing.assert_allclose(x, plain)


def test_memory_mapped_files(tmp_path):
    x = mapped(X, tmp_path / "x.bin")
    value, found = value_and_grad(read)(x)
    assert value == read(X) and type(found) is np.ndarray
    np.testing.assert_array_equal(found, X)
    jit(written)(x)
    np.testing.assert_array_equal(x[0], 3 * X[0])


class Unit(np.ndarray):
    """A subclass of ndarray."""


class Choice(enum.IntEnum):
    TWO = 2


REFUSED = {
    "complex": (1j, "complex numbers are not supported yet"),
    "complex scalar": (np.complex64(1), "complex numbers are not supported yet"),
    "complex array": (np.ones(2, complex), "complex numbers are not supported yet"),
    "matrix": (np.matrix(X), "matrix is not supported"),
    "masked": (np.ma.masked_array(X), "MaskedArray is not supported"),
    "subclass": (X.view(Unit), "Unit is not supported"),
    "half": (X.astype(np.float16), "dtype float16"),
    "long double": (X.astype(np.longdouble), "which adjit does not know"),
    "objects": (X.astype(object), "dtype object"),
    "strings": (np.array(["a"]), "which adjit does not know"),
    "dates": (np.array(["2020-01-01"], "M8[D]"), "which adjit does not know"),
    "records": (np.zeros(2, [("a", float)]), "which adjit does not know"),
    "too large": (2**63, "does not fit 64 bits"),
    "list": ([1.0, 2.0], "repeated"),
    "None": (None, "NoneType"),
    "text": ("a", "repeated"),
    "set": ({1.0}, "set"),
}


@pytest.mark.parametrize("transform", [jit, grad])
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, transform):
    value, message = REFUSED[name]
    with pytest.raises(AdjitError, match=message) as caught:
        transform(lambda x: np.sum(x * 2.0))(value)
    assert caught.value.help
    assert "static" not in caught.value.help or name == "list"


def test_errors_say_which_argument():
    f = jit(lambda a, b, c=None: a + b["w"][1])
    with pytest.raises(ArgumentError, match=r"argument 1\['w'\]\[1\] is complex"):
        f(1.0, {"w": (2.0, 1j)})
    with pytest.raises(ArgumentError, match=r"argument 2 has dtype float16"):
        f(1.0, {"w": (2.0, 3.0)}, np.float16(1))


@pytest.mark.parametrize(
    "value",
    [
        3,
        -(2**63),
        2**62,
        True,
        np.int32(3),
        np.uint64(2**63),
        np.bool_(True),
        2.5,
        np.float32(2.5),
        Choice.TWO,
        np.array(3),
    ]
    + [np.ones(2, np.longlong), np.ones(2, np.ulonglong), np.ones(2, bool), np.array(1.5, np.float32)],
)
def test_numbers_of_all_kinds(value):
    def f(x):
        return x * 2.5, x == 3, np.sum(x)

    kernel = jit(f)
    for _ in range(2):
        assert difference(kernel(value), f(value)) == ""


def test_lists_and_tuples_are_structures():
    def f(x, w):
        return np.sum(np.array(x) * 2.0) + w[0] * w[1][0]

    value, found = value_and_grad(f, argnums=(0, 1))([1.0, 2.0], (3.0, [0.5]))
    assert value == f([1.0, 2.0], (3.0, [0.5]))
    assert found == ([2.0, 2.0], (0.5, [3.0]))
    with pytest.raises(TypeError):
        jit(lambda x: -x)([1.0, 2.0])


def test_none_and_static_defaults():
    def f(x, scale=None, mode="twice", *, flag=False):
        y = x if scale is None else x * scale
        if mode == "twice":
            y = y * 2
        return np.sum(y) if not flag else np.sum(y * y)

    for args, more in (((X,), {}), ((X, 2.0), {}), ((X, None, "once"), {}), ((X,), {"flag": True}), ((X, X), {})):
        assert jit(f)(*args, **more) == f(*args, **more)
        assert grad(f)(*args, **more).shape == X.shape


# ---------------------------------------------------------------- arrays without axes

NO_AXES = np.array(0.5)


def test_arrays_without_axes():
    check(
        lambda x: (x, x + 1, x[()], np.sum(x), x.shape, x.ndim, float(x), x.item()),
        lambda: (np.array(2.5),),
        compile=True,
    )
    check(lambda x: np.where(x > 1, x, 0.0), lambda: (np.array(2.5),), compile=True)
    check(lambda x: np.where(x > 1, x, 0.0), lambda: (2.5,), compile=True)
    kernel = jit(lambda x: isinstance(x, np.ndarray))
    assert [kernel(v) for v in (np.array(1.0), np.float64(1.0), np.array(1.0), 1.0)] == [True, False, True, False]


def test_arrays_without_axes_are_not_changed_behind_the_callers_back():
    def changed(x):
        x += 1.0
        return x * 2

    for transform in (jit, grad):
        with pytest.raises(UnsupportedError, match="belongs to the caller"):
            transform(changed)(np.array(1.5))
    assert jit(changed)(np.float64(1.5)) == 5.0

    def global_changed(x):
        y = NO_AXES
        y += x
        return y

    with pytest.raises(UnsupportedError, match="belongs to the caller"):
        jit(global_changed)(1.0)

    def copied(x):
        y = np.array(x)
        y += 1.0
        return y * x + NO_AXES

    check(copied, lambda: (np.array(1.5),), compile=True)


def set_item(p):
    p["a"] = p["a"] * 2.0
    return p["a"]


def add_to_item(p):
    p["b"] += p["a"]
    return p["b"]


def delete_item(p):
    del p["b"]
    return p["a"]


def set_first(p):
    p[0] = 2.0 * p[1]
    return p[0]


def extend_in_place(p):
    p += [1.0]
    return p[0] * p[1]


def change_in_loop(p):
    for k in range(2):
        p[k] = p[k] * 2.0
    return p[0]


def change_inner(p):
    p[1].append(p[0])
    return p[0]


def change_through_other_name(p):
    q = p
    q.insert(0, 1.0)
    return p[0] * p[1]


@pytest.mark.parametrize(
    "function, argument",
    [
        *((f, {"a": 3.0, "b": 2.0}) for f in (set_item, add_to_item, delete_item)),
        (lambda p: p.pop("a"), {"a": 3.0}),
        (lambda p: p.setdefault("c", 1.0) * p["a"], {"a": 3.0}),
        (lambda p: p.update(a=1.0) or p["a"], {"a": 3.0}),
        *((f, [1.0, 2.0]) for f in (set_first, extend_in_place, change_in_loop, change_through_other_name)),
        (lambda p: p.append(2.0) or p[0], [1.0, 2.0]),
        (lambda p: p.pop(), [1.0, 2.0]),
        (lambda p: p.reverse() or p[0], [1.0, 2.0]),
        (change_inner, (1.0, [2.0])),
    ],
)
def test_containers_of_the_caller_are_not_changed_behind_its_back(function, argument):
    before = copy.deepcopy(argument)
    with pytest.raises(UnsupportedError, match=r"`p.*` belongs to the caller and is changed here") as caught:
        jit(function)(argument)
    assert caught.value.span is not None and "return it" in caught.value.help
    assert argument == before
    step = 1e-6
    gradient = grad(function)(argument)  # derivatives leave arguments unchanged, and so may change their copy
    assert argument == before
    moved = lambda h: map_leaves(lambda x, g: x + h * g, before, gradient)
    expected = (function(moved(step)) - function(moved(-step))) / (2 * step)
    assert sum(squares(gradient)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def map_leaves(function, a, b):
    if isinstance(a, dict):
        return {k: map_leaves(function, v, b[k]) for k, v in a.items()}
    if isinstance(a, list | tuple):
        return type(a)(map_leaves(function, v, w) for v, w in zip(a, b, strict=True))
    return function(a, b)


def squares(tree):
    if isinstance(tree, float):
        return [tree * tree]
    return [s for x in (tree.values() if isinstance(tree, dict) else tree) for s in squares(x)]


def test_arrays_in_containers_are_written_to():
    def f(p):
        p["w"][0] = 3.0
        q = dict(p)
        q["a"] = 2.0
        return q["a"] * p["w"][0]

    argument = {"a": 1.0, "w": np.ones(2)}
    assert jit(f)(argument) == 6.0
    assert argument["a"] == 1.0 and list(argument["w"]) == [3.0, 1.0]


# ---------------------------------------------------------------- one array, several arguments


def product(a, b):
    return np.sum(a * b * b)


def mixed(a, b):
    a[0] = 2.0 * b[1]
    return np.sum(a * b)


GLOBAL = np.arange(4.0)


def with_global(a):
    a *= 2.0
    return np.sum(a * GLOBAL)


def test_one_array_for_two_arguments():
    x = np.array([1.0, 2.0, 3.0])
    both = grad(product, argnums=(0, 1))
    for _ in range(2):
        for a, b in ((x, x), (x[:-1], x[1:]), (x[::-1], x)):
            for found, wanted in zip(both(a, b), (b * b, 2 * a * b)):
                np.testing.assert_array_equal(found, wanted)
        assert jit(product)(x, x) == product(x, x)


@pytest.mark.parametrize("transform", [jit, grad, value_and_grad])
def test_arrays_that_overlap_and_are_written_are_refused(transform):
    f = transform(mixed)
    x = np.arange(1.0, 6.0)
    for warm in (False, True):
        for a, b in ((x, x), (x[:-1], x[1:]), (x, x[::-1]), (x[1:4], x[2:])):
            before = x.copy()
            with pytest.raises(ArgumentError, match="a is written to and shares memory with b"):
                f(a, b)
            np.testing.assert_array_equal(x, before)
        f(x[:2].copy(), x[3:])
        f(x[::2].copy(), x[2:])  # the fast way in, from here on
        assert not warm or f(np.ones(2), x[:2]) is not None
    interleaved = np.arange(8.0)
    f(interleaved[::2], interleaved[1::2])  # the same block of memory, no element in common


@pytest.mark.parametrize("transform", [jit, grad])
def test_an_argument_that_is_a_global_too(transform):
    f = transform(with_global)
    for _ in range(2):
        f(np.ones(4))
        with pytest.raises(ArgumentError, match="a is written to and shares memory with GLOBAL"):
            f(GLOBAL)
    np.testing.assert_array_equal(GLOBAL, np.arange(4.0))


def test_overlaps_are_refused_by_pullbacks_and_the_interpreter(monkeypatch):
    x = np.arange(1.0, 6.0)
    with pytest.raises(ArgumentError, match="shares memory"):
        vjp(mixed, x, x)
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    with pytest.raises(ArgumentError, match="shares memory"):
        grad(mixed)(x[:-1], x[1:])
    assert isinstance(value_and_grad(lambda x: x * x)(2.0)[0], float)


# ---------------------------------------------------------------- other shapes, other types, one function


def test_one_function_for_many_types():
    f = jit(lambda a, b: (a + b, a * 2, b))
    cases = [
        X,
        X[:1],
        X[:, :1],
        X[:, :0],
        X.T,
        X.astype(np.float32),
        X.astype(int),
        2.0,
        np.float32(2),
        3,
        X[0],
        X[0, :1],
    ]
    for a in cases:
        for b in (X[0], 1.5, np.float32(0.5), X[:1]):
            try:
                wanted = (a + b, a * 2, b)
            except ValueError:
                with pytest.raises(ValueError):
                    f(a, b)
            else:
                assert difference(f(a, b), wanted) == "", (a, b)
