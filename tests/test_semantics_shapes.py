"""Shapes: broadcasting (extents of 1 known beforehand or not), slices of any bounds and steps, nothing, loops."""

from __future__ import annotations

import numpy as np
import pytest
from semantics import check, compare, differences, function_of, interpreted

from adjit import grad, jit, value_and_grad


def counting(*shape):
    return np.arange(float(np.prod(shape))).reshape(shape) + 1


# ---------------------------------------------------------------- broadcasting

SHAPES = (
    [((3, 4), s) for s in [(4,), (3, 1), (1, 4), (3,), (1, 1), (0,), (1, 3, 4), (2, 3, 4), (1,)]]
    + [((4,), (3, 4)), ((1, 4), (3, 4)), ((3, 1), (3, 4)), ((0, 4), (1, 4)), ((0, 4), (4,)), ((3,), (1,)), ((1,), (3,))]
    + [((1,), (0,)), ((0,), (1,)), ((0,), (0,)), ((2, 3, 4), (3, 1)), ((1, 1), (1,))]
)
TWO_ARRAYS = (
    "a + b",
    "a < b",
    "np.maximum(a, b)",
    "np.where(a > b, a, b)",
    "a += b; return a",
    "a[...] = b; return a",
    "a[:] *= b; return a",
    "np.add(a, b, out=a); return a",
    "np.copyto(a, b); return a",
    "np.broadcast_to(b, a.shape)",
)


@pytest.mark.parametrize("body", TWO_ARRAYS)
def test_broadcasting(body):
    function = function_of("a, b", body)
    cases = ((f"{s} and {t}", lambda s=s, t=t: (counting(*s), 2 * counting(*t))) for s, t in SHAPES)
    leading = "[" in body or "copyto" in body  # leading extents of 1 go away in assignments: refused where not known
    assert differences(function, cases, refusable=leading) == []


DECIDED_AT_RUN_TIME = (
    "x[:1] + x",
    "x[n - 1:n] * x",
    "x[:n] + x",
    "x[:n] == x",
    "x + x[:n] + x[n:]",
    "x[:] = x[:n]; return x",
    "x += x[:n]; return x",
    "y = np.zeros(3); y[:] = x[:n]; return y",
    "y = np.zeros((2, 3)); y[0] += x[:n]; return y",
    "y = np.zeros(n); return y + x",
    "y = np.zeros((n, 3)); return y + x[:, None]",
    "y = np.full((n, n), 2.0); return y + x",
    "y = np.ones(n) * 2; y += x; return y",
    "y = x[:n]; y[:] = x; return y",
    "np.where(x[n:] > 1, x[n:], x)",
    "np.outer(x[:n], x) + x[:n]",
    "np.broadcast_to(x[:n], (2, 3)) + 1",
    "np.linspace(0, 1, n) - x",
    "np.sum(np.zeros((n, 3)), axis=1) + x",
    "np.ones(n) * np.ones(2) + x[:2]",
    "np.clip(x, x[:n], 2.0)",
    "np.mean(x[:n]) + x",
    "(x[:, None] - x[:n][None, :]).sum(axis=0) + x",
    "y = x[:n]; y = y + x; return y * x[:n]",
    "for i in range(n): x = x + x[:n]; return x",
)


@pytest.mark.parametrize("body", DECIDED_AT_RUN_TIME)
def test_extents_that_happen_to_be_one(body):
    body = body.replace("; return", "\n    return") if body.startswith("for") else body
    function = function_of("x, n", body)
    cases = ((f"n = {n}, {k} elements", lambda n=n, k=k: (counting(k), n)) for n in (0, 1, 2, 3) for k in (3, 1))
    assert differences(function, cases) == []


def test_gradients_of_extents_that_happen_to_be_one():
    def f(x, n, w):
        y = x[:n] * 2
        z = y + x
        z += x[:n] * w
        z[:] = z * y + np.zeros((2, n)).sum(axis=0)
        rows = (x[:n, None] * np.ones((n, 3))) * x
        return np.sum(z * w) + np.sum(rows * w)

    x, w = np.array([1.0, 2.0, 3.0]), np.array([0.3, 0.4, 0.5])
    compiled = value_and_grad(f, argnums=(0, 2))
    for n in (1, 3, 1):
        value, found = compiled(x, n, w)
        assert value == pytest.approx(f(x, n, w), rel=1e-14)
        for k, (at, part) in enumerate(zip((x, w), found)):
            step = 1e-6 * np.eye(3)
            ends = [[f(*(at + s * h if a is at else a for a in (x, n, w))) for h in (1, -1)] for s in step]
            np.testing.assert_allclose(part, [(p - q) / 2e-6 for p, q in ends], rtol=1e-8, err_msg=f"{n}, {k}")
    with pytest.raises(ValueError, match="could not be broadcast together: 2 and 3"):
        compiled(x, 2, w)


def test_extents_that_happen_to_be_one_compiled():
    def f(x, n):
        return np.zeros(n) + x[:n] * x

    kernel = jit(f)
    for n, size in ((3, 3), (1, 3), (3, 3), (1, 3), (1, 1)):
        assert compare(kernel, f, lambda n=n, size=size: (counting(size), n)) == ""

    def window(x, w):
        for i in range(len(x)):
            x[i : i + 1] += w[i : i + 1] * np.ones(1)
            w[:] = w * x[i : i + 1] + w[-1:]
        return np.sum(w)

    check(window, lambda: (counting(3) * 0.5, counting(3)), compile=True)

    def write(x, n):
        x[0] = 5.0
        x += x[:n]
        return x[0]

    kernel = jit(write)
    assert kernel(counting(3), 3) == 10.0
    with pytest.raises(ValueError, match="not repeated in a function that writes"):
        kernel(counting(3), 1)
    assert grad(write)(counting(3), 1).tolist() == [0.0, 0.0, 0.0]


# ---------------------------------------------------------------- slices and positions

SLICES = """
1:  -2:  :-2  -100:100  100:  :-100  ::-1  ::2  ::-2  5:1:-1  1:5:-1  -1:-4:-1  :n  n:  n:m  m:n  -n:  :-n  n::-1  :n:-1
n:m:2  m:n:-2  ::n  m::-n  n:m:k  m:n:k  m::k  :m:k  n  m  -n  n-1  -1  -7  -8  7
""".split()
BOUNDS = (
    (0, 0, 1),
    (1, 3, 2),
    (3, -1, -1),
    (-2, 5, -3),
    (100, -100, 7),
    (7, 6, -100),
    (-1, 2, 0),
    (2, -3, 3),
    (-7, -8, -2),
)


USES = (
    "return x[{}]",
    "x[{}] = 99.0; return x",
    "x[{}] += 5.0; return x",
    "y = np.ones((3, 1)) * x; v = y[1:, {}]; v[0] = -1.0; return v, y",
)


@pytest.mark.parametrize("text", SLICES)
@pytest.mark.parametrize("use", USES, ids=["read", "write", "add", "view"])
def test_slices(text, use):
    function = function_of("x, n, m, k", use.format(text))
    cases = ((f"{b}, {size}", lambda b=b, size=size: (counting(size), *b)) for b in BOUNDS for size in (7, 0))
    assert differences(function, cases) == []


def test_steps_at_run_time_compiled():
    def stepped(x, n, m, k):
        v = x[n:m:k]
        v *= 3.0
        w = x[::k][1:]
        x[::-k] += 1.0
        return np.sum(v), w * 2.0, x[m::k].shape

    kernel = jit(stepped)
    for bounds in ((1, 6, 2), (6, 0, -2), (0, 7, 1), (-1, -100, -3), (3, 3, 5)):
        assert compare(kernel, stepped, lambda b=bounds: (counting(7), *b)) == ""
    with pytest.raises(ValueError, match="slice step cannot be zero"):
        kernel(counting(7), 0, 7, 0)

    def loss(x, k):
        y = x[::k]
        x[1::k] *= y[: len(x[1::k])]
        return np.sum(x * x)

    gradient = grad(loss)
    for k in (1, 2, 3, -1, -2):
        x = np.linspace(0.5, 1.5, 7)
        step = 1e-6 * np.eye(7)
        wanted = [(loss(x + s, k) - loss(x - s, k)) / 2e-6 for s in step]
        np.testing.assert_allclose(gradient(x, k), wanted, rtol=1e-7, atol=1e-8)


# ---------------------------------------------------------------- nothing

REDUCTIONS = (
    "sum",
    "prod",
    "max",
    "min",
    "any",
    "all",
    "argmax",
    "argmin",
    "cumsum",
    "cumprod",
    "mean",
    "std",
    "var",
    "ptp",
)


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.filterwarnings("ignore:Mean of empty", "ignore:Degrees of freedom")
def test_reductions_of_nothing(name):
    shapes = [(0,), (0, 3), (3, 0), (2, 3)]
    cases = [(str(s), lambda s=s: (np.zeros(s),)) for s in shapes] + [("int", lambda: (np.zeros(0, int),))]
    assert differences(function_of("x", f"np.{name}(x)"), cases) == []
    assert differences(function_of("x", f"np.{name}(x, axis=0)"), cases) == []


def test_nothing_compiled():
    def f(x, y):
        return (
            np.sum(x),
            x * 2,
            np.prod(x),
            x @ y,
            y.T @ np.ones((0, 2)),
            np.cumsum(x),
            x[:0],
            np.mean(y, axis=1),
            np.mean(x),
        )

    with pytest.warns(RuntimeWarning):
        check(f, lambda: (np.zeros(0), np.zeros((0, 3))), compile=True)
    for reduction in (np.max, np.min, np.argmax):
        with pytest.raises(ValueError):
            jit(lambda x, r=reduction: r(x), static_argnames="r")(np.zeros(0))
    for x in (np.zeros(0), np.zeros((0, 3))):
        found = grad(lambda x: np.sum(x * x))(x)
        assert found.shape == x.shape and found.dtype == x.dtype


# ---------------------------------------------------------------- loops

LOOPS = (
    "for i in range(n): x[i] = i\n    return i, x",
    "i = 7\n    for i in range(n): x[i] = i\n    return i, x",
    "for i in range(n, 0, -1): x[i] += i\n    return x",
    "for i in range(0, 4, n): x[i] += i\n    return x",
    "for i, v in enumerate(x[n:]): x[i] += v\n    return x",
    "k = 0\n    while k < n: k += 1\n    return k, x[k]",
    "v = x[0]\n    for v in x[:n]: pass\n    return v * 2",
    "for i in range(n):\n        j = i\n    return j",
    "for i in range(n):\n        if i == 2: break\n    else: x[0] = 9.0\n    return x",
)


@pytest.mark.parametrize("body", LOOPS)
def test_loops_that_may_not_run(body):
    function = function_of("x, n", body)
    assert differences(function, ((f"n = {n}", lambda n=n: (counting(4), n)) for n in (0, 1, 3, -2))) == []


def test_loop_variables_are_unbound_in_kernels():
    def last(n):
        for i in range(n):
            k = 2.0 * i
        return k + i

    kernel = jit(last)
    assert kernel(3) == 6.0
    with pytest.raises(UnboundLocalError):
        kernel(0)


# ---------------------------------------------------------------- shapes in arithmetic, truth, Python's functions

OF_X = """
x.shape[0] * 2 | x.shape[0] / 2 | x.size // 2 + x.ndim | len(x) * x | x / len(x) | x.shape == (3,) | x.shape + (1,)
x.reshape(*x.shape, 1) | x.reshape(x.size, -1) | -x.shape[0] | np.float32(x.shape[0]) * x | range(len(x))[-1]
x[len(x) - 1] | x[x.shape[0] // 2] | x[-x.size] | np.zeros(x.shape, x.dtype) | x.dtype.itemsize | x.dtype == np.float64
x.dtype.kind | x.T.shape | isinstance(len(x), int) | type(x.shape[0]) is int | isinstance(x[0], np.floating)
x[0].shape
0 < x < 2 | x if x else 1 | not x | x == 1 and x > 0 | 1 if x > 0 else 2 | bool(x) | 1.0 in x | x is x | x is None
max(x) | min(x) | np.float64(max(x[0], 2.0)) | np.float64(min(x[0], float("nan"))) | np.float64(max(float("nan"), x[0]))
np.float64(sum(x[:2])) | sum([x, x])
sum(np.ones((2, 1)) * x) | sum([x[0], x[1]], 2) | any(x) | all(x > 0) | sorted(x) | len(x) | abs(x) | round(x[0])
divmod(x, 2) | divmod(x[0], 2) | divmod(7, x[1]) | pow(x, 2) | pow(2, x) | int(x[0]) | float(x[0]) | float(x) | int(x)
x[()] | x[...] | x[0][()] | x.item(1) | x[True] | x[1.0] | x[np.int8(1)] | x[[True, False, True]] | x['a'] | x[0, 0]
x[..., ...]
x[5] | x[-4] | x[3:][0] | x + None | x @ 2.0 | x.foo | np.add(x) | np.sin() | np.sum(x, axis=1) | np.sum(x, axis=-2)
x.reshape(2) | x.reshape(-1, -1) | np.concatenate([x, x[None]]) | np.stack([x, x[:2]]) | np.ones(-1)
np.arange(0, 3, 0)
x[0] // 0 | x // 0 | x % 0 | 1 // x[0] | x[0] / 0 | np.eye(-1) | np.broadcast_to(x, (2, 2)) | np.squeeze(x, axis=0)
np.expand_dims(x, 3) | np.swapaxes(x, 0, 1) | np.dot(x, x[:2]) | x @ x[:2] | np.split(x, 2) | np.reshape(x, (2, 2))
x += x[:2] | x + x[:2]
"""
ARRAYS = {
    "three": lambda: (counting(3),),
    "nan": lambda: (np.array([1.0, np.nan, 3.0]),),
    "one": lambda: (np.array([2.0]),),
    "none": lambda: (np.zeros(0),),
    "whole": lambda: (np.array([0, 1, 2]),),
    "single": lambda: (np.array([1.5, 2.0, 0.1], np.float32),),
}


@pytest.mark.parametrize("text", [e.strip() for line in OF_X.strip().splitlines() for e in line.split(" | ")])
def test_expressions_of_an_array(text):
    function = function_of("x", f"{text}; return x" if "+=" in text else text)
    assert differences(function, ARRAYS.items(), refusable=True, rtol=1e-15) == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("if x: return 1.0", "ambiguous"),
        ("return 0 < x < 1", "ambiguous"),
        ("return x[5]", "index 5 is out of bounds for axis 0 with size 3"),
        ("x += np.ones((2, 3)); return x", "non-broadcastable output operand"),
        ("return x + np.ones(4)", "could not be broadcast together"),
        ("return np.sin(x, x, x)", "np.sin takes 1 argument, not 3"),
        ("return np.add(x)", "np.add takes 2 arguments, not 1"),
        ("return (lambda y: y)(x, x)", "takes 1 argument, 2 were given"),
        ("return float(x)", "0-dimensional"),
    ],
)
def test_messages(body, message):
    body = body if "return 1.0" not in body else "y = 1.0 if x else 2.0; return y"
    with pytest.raises(Exception, match=message):
        interpreted(function_of("x", body))(counting(3))


INITIAL = (
    "np.max(x, initial=0.5)",
    "np.min(x, axis=0, initial=2.0)",
    "x.max(axis=(0, 1), keepdims=True, initial=-1.0)",
    "np.max(x > 3, initial=False)",
    "np.min(x > 3, axis=1, initial=True)",
    "np.max(x, initial=4.0, where=x > 2)",
    "np.linalg.norm(x, np.inf, axis=1)",
)


@pytest.mark.parametrize("text", INITIAL)
def test_extremes_with_an_initial_value(text):
    function = function_of("x", text)
    shapes = [(2, 3), (0, 3), (3, 0), (1, 2)]
    assert differences(function, ((str(s), lambda s=s: (counting(*s),)) for s in shapes)) == []


def test_extremes_with_an_initial_value_compiled():
    def f(x):
        return np.max(x * x, initial=0.25) + np.sum(np.min(x[:, None], axis=1, initial=9.0) * x)

    compiled = value_and_grad(f)
    for x in (counting(3), np.zeros(0), np.array([0.1, 0.2])):
        value, found = compiled(x)
        assert value == pytest.approx(f(x))
        step = 1e-6 * np.eye(len(x))
        np.testing.assert_allclose(found, [(f(x + s) - f(x - s)) / 2e-6 for s in step], rtol=1e-7)
