"""What may be passed for an array: read-only arrays, maps of files, objects with `__array__`, foreign layouts; by every
transform, and no result shares memory with them."""

import numpy as np
import optree
import pytest

from adjit import (
    ArgumentError,
    grad,
    hessian,
    hvp,
    jacfwd,
    jacobian,
    jacrev,
    jit,
    jvp,
    linearize,
    value_and_grad,
    vjp,
    vmap,
)

X = np.linspace(0.2, 1.4, 6)


def scalar(x):
    return np.sum(np.sin(x) * x)


def array(x):
    return x * x


def same(x):
    """A result that is the argument."""
    return x


class Wrapped:
    """An array-like: it knows how to become an array."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


def read_only(tmp_path):
    x = X.copy()
    x.flags.writeable = False
    return x


def broadcast(tmp_path):
    return np.broadcast_to(X[2], 6)


def map_to_read(tmp_path):
    X.tofile(tmp_path / "x")
    return np.memmap(tmp_path / "x", np.float64, "r")


def map_to_write(tmp_path):
    X.tofile(tmp_path / "x")
    return np.memmap(tmp_path / "x", np.float64, "r+")


def part_of_a_map(tmp_path):
    np.repeat(X, 2).tofile(tmp_path / "x")
    return np.memmap(tmp_path / "x", np.float64, "c")[::2]


def array_like(tmp_path):
    return Wrapped(X.copy())


def byte_swapped(tmp_path):
    return X.astype(">f8")


def unaligned(tmp_path):
    return np.frombuffer(b"?" + X.tobytes(), np.float64, offset=1)


INPUTS = (
    read_only,
    broadcast,
    map_to_read,
    map_to_write,
    part_of_a_map,
    array_like,
    byte_swapped,
    unaligned,
)
CALLS = {
    "grad": lambda x: grad(scalar)(x),
    "value_and_grad": lambda x: value_and_grad(scalar)(x),
    "jit": lambda x: jit(same)(x),
    "jit of two": lambda x: jit(lambda x: (array(x), x[1:], x))(x),
    "vjp": lambda x: (lambda value, pullback: (value, pullback(np.ones(6))))(*vjp(same, x)),
    "jvp": lambda x: jvp(array, (x,), (x,)),
    "linearize": lambda x: (lambda value, tangent: (value, tangent(X)))(*linearize(same, x)),
    "hvp": lambda x: hvp(scalar, x, x),
    "jacobian": lambda x: jacobian(array)(x),
    "jacfwd": lambda x: jacfwd(array)(x),
    "jacrev": lambda x: jacrev(array)(x),
    "hessian": lambda x: hessian(scalar)(x),
    "vmap": lambda x: vmap(lambda v: v)(x),
    "into": lambda x: grad(scalar).into(np.empty(6), x),
    "in a tree": lambda x: grad(lambda p: np.sum(p["a"] * p["b"][0]))({"a": x, "b": [x, 2.0]}),
}


@pytest.mark.parametrize("make", INPUTS, ids=lambda make: make.__name__)
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_inputs_are_read_and_results_are_apart(make, call, tmp_path):
    x = make(tmp_path)
    plain = np.array(np.asarray(x), np.float64)
    before = np.asarray(x).tobytes()
    found, expected = (optree.tree_leaves(call(v)) for v in (x, plain))
    assert len(found) == len(expected)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)
        assert type(f) is type(e)
        if isinstance(f, np.ndarray):
            assert f.dtype == e.dtype and f.flags.writeable and not np.shares_memory(f, np.asarray(x))
    for f in found:
        if isinstance(f, np.ndarray):
            f[...] = -1.0
    assert np.asarray(x).tobytes() == before


@pytest.mark.parametrize("make", [read_only, map_to_read])
def test_what_cannot_be_written_is_not(make, tmp_path):
    @jit
    def write(x):
        x[0] = 5.0
        return np.sum(x)

    x = make(tmp_path)
    with pytest.raises(ArgumentError, match="read-only"):
        write(x)
    np.testing.assert_array_equal(x, X)
    assert grad(lambda x: write.__wrapped__(x.copy()))(x)[0] == 0.0


def test_a_map_is_written_through(tmp_path):
    @jit
    def write(x):
        x[1:] *= 2.0

    x = map_to_write(tmp_path)
    write(x)
    x.flush()
    np.testing.assert_array_equal(np.fromfile(tmp_path / "x"), [X[0], *(2 * X[1:])])


def test_lists_are_trees_of_numbers():
    assert grad(lambda x: x[0] * x[1])([2.0, 3.0]) == [3.0, 2.0]
