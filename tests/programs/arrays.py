"""Array expressions: broadcasting, reductions, shapes, masks, joining, single precision."""

import numpy as np

from .registry import Program


def broadcasting_both_ways(A, row, column, s):
    B = A * row + column
    C = row[None, :] - column * s
    D = column[:, 0][:, None] * np.ones_like(A)
    E = row + s
    return np.sum(B * C) + np.sum(np.sin(D) / (1.0 + A * A)) + np.sum(E**2)


def broadcast_into_slices(A, row, s):
    A[1:] = row
    A[:, 1] = s
    A[0] += s * row
    A[:, 2:] *= row[2:]
    return np.sum(A * A * A)


def reductions(A):
    s = A.sum() + np.sum(A, axis=0)[1] * np.sum(A, axis=-1, keepdims=True)[0, 0]
    m = np.mean(A, axis=1) @ A.mean(axis=1)
    p = np.prod(A[0]) + np.prod(A, axis=0).sum()
    v = np.var(A) + np.std(A, axis=0)[0] + A.var(axis=1, ddof=1).sum()
    return s + m * p - v


def extremes(A):
    s = np.max(A) * np.min(A) + A.max(axis=0) @ A.min(axis=0)
    s += np.sum(np.maximum(A, 0.2) * np.minimum(A, 0.5))
    i = np.argmax(A, axis=1)
    for k in range(A.shape[0]):
        s += A[k, i[k]] ** 2
    if np.any(A > 10.0) or np.all(A > 0.0):
        s = -s
    return s + A[np.argmin(A) // A.shape[1], 0]


def where_clip(x, y):
    a = np.where(x > y, x * y, x - y)
    b = np.clip(x, -0.5, 0.5) * np.clip(y, None, 0.3)
    c = np.abs(x) + np.sign(x) * y
    d = np.where(x > 0, np.log(np.where(x > 0, x, 1.0)), 0.0)
    return np.sum(a * b + c * d)


def where_hides_infinity(x):
    """The lane that is not taken has an infinite derivative; it must not reach the gradient."""
    return np.sum(np.where(x > 0, np.sqrt(np.maximum(x, 0.0)), x * x))


def joining(x, y, s):
    a = np.concatenate((x, y * s, x[:2]))
    b = np.stack([x, y[: len(x)]], axis=1)
    c = np.array([s, x[0], 2.0])
    d = np.concatenate([b, b * b], axis=0)
    return np.sum(a * a) * np.sum(b[:, 0] * b[:, 1]) + c @ c + d[-1, 0] * d[0, 1]


def cumulative(x, A):
    c = np.cumsum(x)
    d = np.cumsum(A, axis=0)
    return np.sum(c * x) + np.sum(d[-1] * d[0]) + np.cumsum(A)[-1]


def shapes(x, A):
    B = x.reshape(2, -1)
    C = A.T @ B.T if B.shape[1] == A.shape[0] else A.T
    D = np.transpose(A)[::-1]
    E = A.ravel()[1:4] * A.reshape(-1)[:3]
    F = A[np.newaxis, :, :] * x[0]
    return np.sum(C**2) + np.sum(D[0]) * E.sum() + np.sum(F[0, :, 1])


def products(A, B, x, y):
    s = np.sum(A @ B) + x @ A @ B @ y
    s += np.dot(A, B)[0, 1] + np.inner(x, x) + np.vdot(y, y)
    s += np.sum(np.outer(x, y) ** 2) + np.dot(A.T, x)[0] * (A @ B @ y)[1]
    return s + np.dot(2.0, s)


def makers(x):
    n = len(x)
    a = np.zeros(n) + np.ones(n) * x
    b = np.full(n, x[0]) * np.arange(n) + np.linspace(0.0, 1.0, n)
    c = np.eye(n) @ x + np.empty_like(x) * 0.0 if n < 0 else np.eye(n) @ x
    d = np.zeros((n, 2))
    d[:, 0] = a
    d[:, 1] = b
    e = np.full_like(x, 2.0) + np.zeros_like(d[:, 0]) + np.arange(1.0, 1.0 + n) * x
    return np.sum(d[:, 0] * d[:, 1] * c) + e @ e


def strides_and_negatives(x):
    return (x[::2].sum() * x[-1] + x[::-1][0] * x[-3:].sum() + np.sum(x[1:-1] * x[2:]) + x[-2] ** 2) * x[5:2:-1].sum()


def elementwise_functions(x, y):
    a = np.exp(x) + np.expm1(x) - np.log(y) + np.log1p(y) * np.log2(y) - np.log10(y) + np.exp2(x)
    b = np.sin(x) * np.cos(x) - np.tan(0.3 * x) + np.arcsin(0.3 * x) + np.arccos(0.3 * x) * np.arctan(x)
    c = np.sinh(x) + np.cosh(x) * np.tanh(x) + np.arcsinh(x) + np.arccosh(1.0 + y) + np.arctanh(0.3 * x)
    d = np.sqrt(y) + np.cbrt(y) + np.square(x) - np.reciprocal(y) + np.power(y, x) + y**-1.5 + 2.0**x
    e = np.arctan2(x, y) + np.hypot(x, y) + np.logaddexp(x, y) + np.fmax(x, y) + np.fmin(x, y) + np.heaviside(x, 0.5)
    f = np.float_power(y, x) + np.deg2rad(x) + np.rad2deg(x) + np.sinc(x) + np.copysign(x, y) + np.floor(x) * x
    return np.sum(a + b * c - d + e * f) + np.sum(np.mod(5.0 * x, y)) - np.sum(-x + (+y))


def float32_network(x, W, b):
    h = np.tanh(W @ x + b)
    s = 0.0
    for i in range(len(h)):
        s += h[i] * 0.5
    return s * np.sum(h**2)


def float32_loop(x, a):
    out = np.zeros_like(x)
    for i in range(1, len(x)):
        out[i] = 0.5 * x[i] * a + 2 * out[i - 1] / (1 + x[i - 1] ** 2)
    return np.sum(out)


def mixed_precision(x32, y64):
    z = x32 * y64
    x32[0] = y64[1] * 2.0
    return np.sum(z) * x32[0] + np.float64(x32[1]) + np.sum(x32.astype(np.float64) * y64)


def boolean_data(x, y, on):
    s = 0.0
    for i in range(len(on)):
        if on[i]:
            s += x[i] * y
        s += (x[i] > y) * x[i] * 0.5
    mask = (x > 0) & ~(x > 1.0) | on
    return s + np.sum(np.where(mask, x, 0.0)) + np.sum(mask) * y


def batched_products(A, B, x):
    s = 0.0
    for k in range(A.shape[0]):
        s += np.sum(np.tanh(A[k] @ B[k])) + A[k, 0] @ x
    return s + np.sum(A * np.sum(B))


def three_dimensions(A, s):
    B = A.transpose(2, 0, 1)
    C = np.sum(B, axis=(0, 2))
    A[:, 1:, 0] = s
    A[0, :, :] *= A[1, :, :]
    A[..., -1] += 1.0
    return np.sum(C * C) + np.sum(A.sum(axis=1) ** 2)


rng = np.random.default_rng(8)
A, B = rng.standard_normal((2, 3, 4))
row = rng.standard_normal(4)
column = rng.standard_normal((3, 1))
x, y = rng.standard_normal((2, 6))
positive = np.abs(y) + 0.3

T = {"tracing"}
TK = {"tracing", "kink"}
TC = {"tracing", "complex"}


def single(*arrays):
    return tuple(a.astype(np.float32) for a in arrays)


PROGRAMS = [
    Program("broadcasting_both_ways", broadcasting_both_ways, (A, row, column, 0.7), (0, 1, 2, 3), TC),
    Program("broadcast_into_slices", broadcast_into_slices, (A, row, 0.7), (0, 1, 2), TC),
    Program("reductions", reductions, (A,), (0,), T, ((B[:2].copy(),),)),
    Program("extremes", extremes, (A,), (0,), TK, ((np.abs(A),), (A * 100,))),
    Program("where_clip", where_clip, (x, y), (0, 1), TK, ((y, x),)),
    Program("where_hides_infinity", where_hides_infinity, (x,), (0,), TK),
    Program("joining", joining, (x, y, 0.7), (0, 1, 2), TC),
    Program("cumulative", cumulative, (x, A), (0, 1), TC),
    Program("shapes", shapes, (x, A), (0, 1), TC, ((rng.standard_normal(8), A),)),
    Program("products", products, (A, B.T.copy(), A[:, 0].copy(), B[:, 1].copy()), (0, 1, 2, 3), T),
    Program("makers", makers, (x,), (0,), T, ((x[:2].copy(),),)),
    Program("strides_and_negatives", strides_and_negatives, (x,), (0,), TC),
    Program("elementwise_functions", elementwise_functions, (0.6 * x, positive), (0, 1), TK),
    Program("float32_network", float32_network, single(row, A, column[:, 0]), (0, 1, 2), {"tracing", "float32"}),
    Program("float32_loop", float32_loop, (*single(x), np.float32(0.7)), (0, 1), {"tracing", "float32"}),
    Program("mixed_precision", mixed_precision, (*single(x), y), (0, 1), {"tracing", "float32"}),
    Program("boolean_data", boolean_data, (x, 0.2, np.array([True, False, False, True, True, False])), (0, 1), TK),
    Program(
        "batched_products",
        batched_products,
        (rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 4, 2)), row),
        (0, 1, 2),
        TC,
    ),
    Program("three_dimensions", three_dimensions, (rng.standard_normal((2, 3, 4)), 0.7), (0, 1), TC),
]
