"""Every function of NumPy, `math` and Python that the tracer binds: the interpreter of its IR gives what the function
gives, on numbers and arrays of several dtypes and shapes; promotion and result dtypes included."""

import functools
import math
import operator
from pathlib import Path

import numpy as np
import pytest
import tracing

from adjit.ir.errors import AdjitError
from adjit.tracer.bind_elementwise import BY_NUMPY, MATH
from adjit.tracer.bindings import TABLE

rng = np.random.default_rng(11)
x, y = rng.uniform(0.2, 0.9, (2, 5))
A, B = rng.uniform(0.2, 0.9, (2, 3, 4))
T = rng.uniform(0.2, 0.9, (2, 3, 4))
S = rng.standard_normal((3, 3))
i, j = rng.integers(1, 6, (2, 5))
mask = np.array([True, False, True, True, False])
f32 = x.astype(np.float32)

UFUNCS = sorted((f for f in BY_NUMPY if isinstance(f, np.ufunc)), key=lambda f: f.__name__)
INTEGER_ONLY = {
    "gcd",
    "lcm",
    "bitwise_count",
    "left_shift",
    "right_shift",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "invert",
}


def operands(ufunc, kind):
    """Operands of a kind for a ufunc, or None where NumPy has no such loop."""
    pool = {
        "float": (x, y),
        "single": (f32, (1.5 * f32).astype(np.float32)),
        "int": (i, j),
        "bool": (mask, ~mask),
        "mixed": (f32, i),
        "broadcast": (A, A[0]),
        "scalar": (np.float64(0.3), np.float64(0.7)),
        "python": (0.3, 0.7),
        "weak": (f32, 0.7),
    }[kind]
    args = list(pool[: ufunc.nin])
    if ufunc is np.arccosh:
        args = [a + 1 for a in args]
    if ufunc is np.ldexp:
        args[1] = np.asarray(3) if np.ndim(args[0]) == 0 else np.full(np.shape(args[0]), 3)
    try:
        with np.errstate(all="ignore"):
            result = ufunc(*args)
    except TypeError:
        return None
    return None if np.asarray(result).dtype == np.float16 or np.asarray(result).dtype.kind == "O" else args


@pytest.mark.parametrize("kind", ["float", "single", "int", "bool", "mixed", "broadcast", "scalar", "python", "weak"])
@pytest.mark.parametrize("ufunc", UFUNCS, ids=lambda f: f.__name__)
def test_ufunc(ufunc, kind):
    args = operands(ufunc, kind)
    if args is None:
        return
    call = (lambda a: ufunc(a)) if ufunc.nin == 1 else (lambda a, b: ufunc(a, b))
    traced, leaves = tracing.traced_of(call, tuple(args))
    found, _ = tracing.run_traced(traced, leaves)
    with np.errstate(all="ignore"):
        expected = ufunc(*args)
    assert np.asarray(found).dtype == np.asarray(expected).dtype
    assert tracing.same(found, expected, 1e-14)


@pytest.mark.parametrize("name", sorted(n for n in MATH if hasattr(math, n)))
def test_math_twin(name):
    function = getattr(math, name)
    args = (0.3, 0.7)[: MATH[name].nin]
    if name == "acosh":
        args = (1.3,)
    call = (lambda a: function(a)) if len(args) == 1 else (lambda a, b: function(a, b))
    traced, leaves = tracing.traced_of(call, args)
    assert traced.result.weak
    found, _ = tracing.run_traced(traced, leaves)
    assert found == pytest.approx(function(*args), rel=1e-15)


def cases():
    """(name, function, arguments): one line for each binding and for its interesting arguments."""
    yield (
        "sum_axis",
        lambda a: (np.sum(a, axis=0), a.sum(1), np.sum(a, axis=-1, keepdims=True), np.sum(a, keepdims=True)),
        (A,),
    )
    yield "sum_axes", lambda a: (np.sum(a, axis=(0, 2)), a.sum(axis=(1,)), np.sum(a, axis=())), (T,)
    yield "sum_dtypes", lambda i, m, f: (np.sum(i), np.sum(m), np.sum(f), m.sum(dtype=np.float64)), (i, mask, f32)
    yield "sum_small_integers", lambda i: (np.sum(i), np.prod(i), np.cumsum(i)), (i.astype(np.int32),)
    yield "sum_initial", lambda a: (np.sum(a, initial=2.0), np.max(a, initial=5.0), np.prod(a, initial=3.0)), (x,)
    yield "prod", lambda a: (np.prod(a), a.prod(axis=1)), (A,)
    yield "extremes", lambda a: (a.max(), np.min(a, axis=0), a.max(axis=1, keepdims=True), np.amax(a), np.amin(a)), (A,)
    yield "arg", lambda a: (np.argmax(a), np.argmin(a, axis=0), a.argmax(axis=1), a.argmin()), (S,)
    yield "any_all", lambda m, a: (np.any(m), np.all(m), m.any(), np.all(a > 0, axis=0), np.any(a)), (mask, S)
    yield "bool_extremes", lambda m: (m.max(), m.min(), m.argmax()), (mask,)
    yield "mean", lambda a, i: (np.mean(a), a.mean(axis=0), np.mean(i), i.mean(), a.mean(axis=1, keepdims=True)), (A, i)
    yield "var_std", lambda a: (np.var(a), a.var(axis=0), np.std(a, ddof=1), a.std(axis=1, keepdims=True)), (A,)
    yield "mean_f32", lambda a: (np.mean(a), np.var(a), np.std(a)), (f32,)
    yield "average", lambda a, w: (np.average(a), np.average(a, weights=w)), (x, y)
    yield "ptp_count", lambda a, m: (np.ptp(a), np.count_nonzero(m), np.count_nonzero(a > 0.5)), (x, mask)
    yield "cumulative", lambda a: (np.cumsum(a), a.cumsum(axis=0), np.cumprod(a, axis=1), a.cumprod()), (A,)
    yield (
        "norm",
        lambda v, a: (np.linalg.norm(v), np.linalg.norm(a), np.linalg.norm(a, axis=0), np.linalg.norm(v, 1)),
        (x, A),
    )
    yield (
        "norm_orders",
        lambda v: (np.linalg.norm(v, np.inf), np.linalg.norm(v, -np.inf), np.linalg.norm(v, 3), np.linalg.norm(v, 2)),
        (x,),
    )
    yield (
        "trace_diagonal",
        lambda a: (np.trace(a), np.diagonal(a), np.diag(a), np.diag(np.diag(a)), np.diagonal(a, 1)),
        (S,),
    )
    yield "where", lambda a, b: (np.where(a > b, a, b), np.where(a > 0.5, 1, 0), np.where(a > 0.5, a, 0)), (x, y)
    yield "where_broadcast", lambda a, m: np.where(m[:, None], a, 0.0), (rng.standard_normal((5, 2)), mask)
    yield "where_f32", lambda a: np.where(a > 0.5, a, 0.0), (f32,)
    yield "clip", lambda a: (np.clip(a, 0.3, 0.6), a.clip(0.4), np.clip(a, None, 0.5), a.clip(max=0.5)), (x,)
    yield "isclose_nan", lambda a: (np.isclose(a, a + 1e-9), np.nan_to_num(a * np.inf - np.inf)), (x,)
    yield "rounding", lambda a: (np.round(a, 2), np.around(a), a.round(1), np.round(a * 100, -1)), (x,)
    yield (
        "sinc_angles",
        lambda a: (np.sinc(a), np.deg2rad(a), np.rad2deg(a), np.radians(a), np.degrees(a), np.sinc(0.0)),
        (x,),
    )
    yield (
        "zeros",
        lambda n: (np.zeros(n), np.ones((n, 2)), np.full(n, 2.5), np.full((2, n), 3), np.zeros(3, dtype=int)),
        (4,),
    )
    yield (
        "likes",
        lambda a, i: (
            np.zeros_like(a),
            np.ones_like(i),
            np.full_like(a, 2),
            np.full_like(i, 7),
            np.zeros_like(i, dtype=float),
        ),
        (A, i),
    )
    yield "empty_written", empty_written, (A,)
    yield (
        "arange",
        lambda n: (np.arange(n), np.arange(2, n), np.arange(n, 0, -2), np.arange(0.0, 1.0, 0.1), np.arange(n) * 0.5),
        (7,),
    )
    yield "arange_float", lambda s, e: (np.arange(s, e, 0.25), np.arange(e), np.arange(3, dtype=np.float32)), (0.3, 2.1)
    yield (
        "linspace",
        lambda a, n: (np.linspace(0.0, a, 5), np.linspace(a, 2.0, n), np.linspace(0, 1, n, endpoint=False)),
        (1.7, 6),
    )
    yield "linspace_step", lambda a: np.linspace(0.0, a, 5, retstep=True), (1.7,)
    yield "linspace_short", lambda n: (np.linspace(0.0, 1.0, n), np.linspace(2.0, 3.0, 1)), (1,)
    yield "eye", lambda n: (np.eye(n), np.identity(n), np.eye(n, 4), np.eye(3, k=1), np.eye(n, dtype=int)), (3,)
    yield "tri", lambda a: (np.tril(a), np.triu(a), np.tril(a, -1), np.triu(a, 1)), (S,)
    yield (
        "array",
        lambda a, s: (np.array([s, 1.0, a[0]]), np.array([[s, 2], [3, 4]]), np.array((1, 2)), np.array([a, a * 2])),
        (x, 0.3),
    )
    yield (
        "array_dtype",
        lambda a: (np.array(a, dtype=np.float32), np.array([1, 2], dtype=float), np.asarray(a), np.array(a)),
        (x,),
    )
    yield "copies", lambda a: (np.copy(a), a.copy(), np.ascontiguousarray(a.T), +a), (A,)
    yield "meshgrid", lambda a, b: np.meshgrid(a, b), (x, y[:3].copy())
    yield (
        "reshape",
        lambda a: (a.reshape(4, 3), a.reshape(-1), np.reshape(a, (2, -1)), a.reshape((12, 1)), a.reshape(3, 2, 2)),
        (A,),
    )
    yield "ravel", lambda a: (a.ravel(), np.ravel(a.T), a.flatten(), a.T.flatten()), (A,)
    yield (
        "transposes",
        lambda a: (a.T, np.transpose(a), a.transpose(2, 0, 1), np.swapaxes(a, 0, 2), np.moveaxis(a, 0, -1)),
        (T,),
    )
    yield (
        "expand",
        lambda a: (
            np.expand_dims(a, 0),
            a[:, None],
            a[None],
            np.expand_dims(a, -1),
            np.atleast_2d(a),
            np.atleast_1d(2.0),
        ),
        (x,),
    )
    yield (
        "squeeze",
        lambda a: (np.squeeze(a[:, None]), a[None, :, None].squeeze(axis=0), a.sum(keepdims=True).squeeze()),
        (x,),
    )
    yield (
        "concatenate",
        lambda a, b: (np.concatenate((a, b)), np.concatenate([a, b], axis=1), np.concatenate((a, b), axis=None)),
        (A, B),
    )
    yield "concatenate_dtypes", lambda a, i: np.concatenate((a, i)), (x, i)
    yield "stack", lambda a, b: (np.stack((a, b)), np.stack([a, b], axis=1), np.stack((a, b), axis=-1)), (x, y)
    yield (
        "stacks",
        lambda a, b: (
            np.vstack((a, b)),
            np.hstack((a, b)),
            np.column_stack((a, b)),
            np.append(a, b),
            np.append(a, 1.0),
        ),
        (x, y),
    )
    yield "flip", lambda a: (np.flip(a), np.flip(a, 0), np.fliplr(a), np.flipud(a), a[::-1, ::-1]), (A,)
    yield (
        "roll",
        lambda v, a: (np.roll(v, 2), np.roll(v, -1), np.roll(a, 1, axis=0), np.roll(a, 2), np.roll(v, 7)),
        (x, A),
    )
    yield (
        "repeat_tile",
        lambda v, a: (np.repeat(v, 2), np.repeat(a, 2, axis=0), np.tile(v, 2), np.tile(a, (2, 1)), np.tile(v, (2, 2))),
        (x, A),
    )
    yield "broadcast_to", lambda v: np.broadcast_to(v, (3, 5)), (x,)
    yield "diff", lambda v, a: (np.diff(v), np.diff(v, 2), np.diff(a, axis=0), np.diff(a)), (x, A)
    yield "take", lambda v, i: (np.take(v, i), v.take([0, 2]), v[i], v[[0, 1, -1]]), (x, np.array([0, 3, 1]))
    yield (
        "shape_functions",
        lambda a: (np.shape(a), np.size(a), np.ndim(a), np.size(a, 0), a.shape, a.size, a.ndim, len(a)),
        (A,),
    )
    yield "copyto", copied_into, (x, y)
    yield "out_arguments", out_arguments, (x, y)
    yield "add_at", added_at, (x, np.array([0, 2, 0, 1, 0]), y)
    yield (
        "products",
        lambda a, b, v: (a @ b.T, np.dot(a, v), np.matmul(v, a.T), np.dot(v, v), v @ v, np.vdot(a, b)),
        (A, B, y[:4].copy()),
    )
    yield "outer_inner", lambda a, b: (np.outer(a, b), np.inner(a, b), np.kron(a, b), np.outer(a, 2.0)), (x, y)
    yield "inner_matrix", lambda a, b: (np.inner(a, b), np.kron(a, b)), (A, B)
    yield "cross", lambda a, b: np.cross(a, b), (x[:3].copy(), y[:3].copy())
    yield "batched", lambda a, b: a @ np.swapaxes(b, 1, 2), (T, T)
    yield "item", lambda a: (a[0, 1].item(), a[:1, :1].item(), a.item(1, 2), float(a[0, 0])), (A,)
    yield (
        "astype",
        lambda a, i: (a.astype(np.float32), i.astype(float), (a * 5).astype(int), a.astype("float32"), i.astype(bool)),
        (x, i),
    )
    yield (
        "scalars",
        lambda s, i: (
            np.float32(s),
            np.float64(i),
            np.int32(i),
            np.bool_(i),
            np.int64(s * 5),
            np.int16(i),
            np.positive(s),
        ),
        (0.7, 3),
    )
    yield "fill", filled, (A,)
    yield (
        "gather",
        lambda a, i, j: (a[i], a[i, j], a[:, j], a[i][:, j], a[1, j], a[i, 1]),
        (S, np.array([0, 2, 1]), np.array([1, -1, 0])),
    )
    yield "gather_split", lambda a, i: (a[i, :, 0], a[0, :, i], a[:, i, 1], a[i, :, i % 2]), (T, np.array([0, 1, 1]))
    yield "gather_2d", lambda a, i: (a[i], a[i, 1:]), (S, np.array([[0, 2], [1, 0]]))
    yield "scatter", scattered, (S.copy(), np.array([0, 2]), y[:2].copy())
    yield "masks", masked, (x.copy(), mask)
    yield (
        "index_mixture",
        lambda a: (a[..., 0], a[0, ..., 1], a[None, 0, :, None], a[-1, -1, -1], a[:, ::2, ::-1], a[1:, :2]),
        (T,),
    )
    yield "python_numbers", python_numbers, (2.7, -1.3, 7, -3)
    yield "python_functions", python_functions, (2.7, -1.3, 7)
    yield "operators", operators, (x, y, 3)
    yield "integer_arrays", integer_arrays, (i, j)
    yield (
        "unsigned",
        lambda u: (u + 1, u * u, np.sum(u), u // 2, u.astype(float) / 2),
        (np.array([3, 4], dtype=np.uint8),),
    )
    yield "mixed_precision", lambda a, b, s: (a * b, a * 2, a * s, a + 1.5, b * s, a / 3, a**2, a > b), (f32, x, 0.5)
    yield "mixed_strong", lambda a, s: (a * s, a + np.float64(2.0), a * np.float32(0.5)), (f32, np.float64(0.5))
    yield (
        "math_integers",
        lambda v: (math.floor(v), math.ceil(v), math.trunc(-v), int(v), round(v), round(-2.5)),
        (2.5,),
    )
    yield (
        "math_others",
        lambda v: (math.log(v, 2), math.hypot(v, v, v), math.isnan(v), math.isfinite(v), math.pi * v, math.gcd(12, 18)),
        (2.5,),
    )
    yield (
        "reduce_functions",
        lambda a: (np.add.reduce(a), np.maximum.reduce(a, axis=1), functools.reduce(operator.add, (a[0], a[1]))),
        (A,),
    )
    yield "float_power", lambda i: (np.float_power(i, 2), np.power(i, 2), i**2, 2**i, 2.0**i), (i,)


def empty_written(a):
    b = np.empty((3, 4))
    c = np.empty_like(a)
    b[:] = a
    c[...] = 2 * b
    return b, c


def copied_into(a, b):
    np.copyto(a, b * 2)
    np.copyto(b, 0.0, where=b > 0.5)
    return a.sum() + b.sum()


def out_arguments(a, b):
    np.add(a, b, out=a)
    np.multiply(a, 2.0, a)
    np.sum(np.stack((a, b)), axis=0, out=b)
    np.clip(b, 0.5, 3.0, out=b)
    return a, b


def added_at(a, k, v):
    np.add.at(a, k, v)
    np.add.at(a, k, 1.0)
    return a


def filled(a):
    a.fill(3.0)
    a[0].fill(1.5)
    return a.sum()


def scattered(a, k, v):
    a[k, 1] = v
    a[k] *= 2.0
    a[[0, 0], [1, 2]] += 1.0
    a[:, k] -= 0.5
    return a


def masked(a, m):
    a[m] = 0.25
    a[a > 0.5] = -a[0]
    return a


def python_numbers(p, q, n, m):
    return (
        p + q,
        p - q,
        p * q,
        p / q,
        p // q,
        p % q,
        -p,
        +q,
        abs(q),
        p**2,
        p**-1.5,
        2**n,
        n**2,
        (-2) ** 3,
        n + m,
        n - m,
        n * m,
        n / m,
        n // m,
        n % m,
        n & 5,
        n | 8,
        n ^ m,
        n << 2,
        n >> 1,
        ~n,
        divmod(n, m),
        p > q,
        p >= n,
        n == 7,
        n != m,
        not p,
        not n,
        True + n,
        (p > 0) + (q > 0),
        n * True,
        p == 2.7,
        n is None,
        n < m < 10,
        int(p) + n,
        float(n),
        bool(n),
        n**0.5,
    )


def python_functions(p, q, n):
    return (
        max(p, q),
        min(p, q, 0.5),
        max(n, 3),
        min(n, 100),
        abs(n),
        round(p),
        round(q),
        pow(p, 3),
        pow(n, 2),
        sum((p, q, n)),
        sum([p, q], 1.5),
        any((p > 0, q > 0)),
        all((p > 0, q > 0)),
        len("abc"),
        max((p, q), key=lambda v: -v),
        [k * p for k in range(3)],
        list(zip((1, 2), (p, q))),
        {"a": p}["a"],
        isinstance(p, float),
        isinstance(n, int),
        isinstance(p, (int, str)),
        type(p) is float,
        callable(max),
        [v * 2 for v in (p, q)],
        tuple(reversed((p, q))),
        sum(k * p for k in range(n)),
        sum(p * k for k in range(3) if k),
        sorted((3, 1, 2)),
        np.pi,
        hasattr(p, "real"),
    )


def operators(a, b, n):
    return (
        a + b,
        a - 1,
        2 * a,
        a / b,
        1 / a,
        a // 0.25,
        a % 0.3,
        a**n,
        n**a,
        -a,
        +a,
        abs(a - 0.5),
        a @ b,
        a > b,
        a <= 0.5,
        a == a,
        (a > 0.5) & (b > 0.5),
        (a > 0.5) | (b > 0.5),
        (a > 0.5) ^ (b > 0.5),
        ~(a > 0.5),
        (a > 0.5) * a,
        divmod(a, 0.3),
    )


def integer_arrays(i, j):
    return (
        i + j,
        i - j,
        i * j,
        i / j,
        i // j,
        i % j,
        i**2,
        -i,
        i & j,
        i | j,
        i ^ j,
        i << 1,
        i >> 1,
        i > j,
        i == j,
        i * 0.5,
        ~i,
    )


CASES = list(cases())


@pytest.mark.parametrize(("function", "args"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_binding(function, args):
    traced = tracing.check(function, *args, rtol=1e-13)
    leaves: list = []
    tracing.flatten(args, "x", leaves)
    found, _ = tracing.run_traced(traced, [np.copy(v) if isinstance(v, np.ndarray) else v for v in leaves])
    with np.errstate(all="ignore"):
        expected = function(*(np.copy(a) if isinstance(a, np.ndarray) else a for a in args))
    assert dtypes(found) == dtypes(expected)


def dtypes(value):
    if isinstance(value, tuple | list):
        return [dtypes(v) for v in value]
    return np.asarray(value).dtype if not isinstance(value, str | type(None)) else None


def test_every_binding_that_has_a_name_is_covered():
    """Bindings are reached by some test above; this lists those of NumPy that no case mentions."""
    files = Path(__file__).parent.glob("test_*.py")
    text = " ".join(f.read_text(encoding="utf-8") for f in files) + " ".join(f.__name__ for f in UFUNCS)
    missing = [
        f.__name__
        for f, binding in TABLE.items()
        if str(getattr(f, "__module__", "")).startswith("numpy")
        and getattr(f, "__name__", "x") not in text
        and not hasattr(binding, "refusal")
    ]
    assert set(missing) <= {"errstate", "uint16", "uint32", "uint64"}


@pytest.mark.parametrize(
    "function",
    [lambda a: np.max(a), lambda a: np.argmin(a), lambda a: a.min(axis=0)],
)
def test_extremes_of_nothing_are_refused_at_run_time(function):
    traced, _ = tracing.traced_of(function, (np.ones(3),))
    with pytest.raises(ValueError, match="without elements"):
        tracing.run_traced(traced, [np.ones(0)])


def test_shapes_are_checked_at_run_time():
    traced, _ = tracing.traced_of(lambda a, b: np.sum(a * b), (np.ones(3), np.ones(3)))
    with pytest.raises(ValueError, match="could not be broadcast") as caught:
        tracing.run_traced(traced, [np.ones(3), np.ones(4)])
    assert isinstance(caught.value, AdjitError)
    assert "test_tracer_numpy.py" in str(caught.value)


def test_indices_are_checked_at_run_time():
    traced, _ = tracing.traced_of(lambda a, k: a[k], (np.ones(3), 1))
    for k in (3, -4):
        with pytest.raises(IndexError):
            tracing.run_traced(traced, [np.ones(3), k])
    assert tracing.run_traced(traced, [np.arange(3.0), -3])[0] == 0.0
