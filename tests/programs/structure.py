"""Functions and data structure: arguments, closures, helpers, containers, captured values, type joins."""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from .registry import Program

GRAVITY = 9.81
TABLE = np.array([0.5, -1.0, 2.0, 0.25])


@dataclass
class Spring:
    stiffness: float
    rest: np.ndarray


class State(NamedTuple):
    position: np.ndarray
    velocity: np.ndarray


def star_arguments(x, *coefficients, scale=2.0, **options):
    s = 0.0
    for k, c in enumerate(coefficients):
        s += c * x**k
    return scale * s + options.get("offset", 1.0) * x


def calls_with_stars(x, y):
    rest = (y, x * y)
    options = {"offset": 3.0, "scale": 0.5}
    return star_arguments(x, *rest, **options) + star_arguments(x, y, scale=y) + star_arguments(x)


def keywords_and_defaults(x, a=2.0, *, b=3.0, power=2):
    def inner(t, shift=a, *, factor=b):
        return factor * (t - shift) ** power

    return inner(x) + inner(x, 1.0) + inner(shift=x, t=2.0, factor=0.5)


def closures_and_lambdas(x, y):
    square = lambda t: t * t

    def adder(k):
        def add(t):
            return t + k * y

        return add

    plus, twice = adder(x), adder(2.0)

    def compose(*functions):
        def composed(t):
            for f in functions:
                t = f(t)
            return t

        return composed

    return compose(square, plus, twice, math.sin)(x) + partial(np.multiply, y)(x)


def nonlocal_counter(x, n):
    total = 0.0
    calls = 0

    def accumulate(v):
        nonlocal total, calls
        calls += 1
        total = total * 0.9 + v

    for k in range(n):
        accumulate(x * k)
    return total * calls + x


def comprehensions(x, y):
    powers = [x**k for k in range(4)]
    table = {name: v * y for name, v in zip("abcd", powers)}
    pairs = tuple(p * q for p in powers[1:] for q in (1.0, 2.0) if p is not None)
    return sum(powers) + table["c"] * sum(pairs) + sum(v for v in table.values()) + max(powers) - min(powers)


def dictionary_arguments(params, x):
    layers = params["layers"]
    for layer in layers:
        x = np.tanh(layer["W"] @ x + layer["b"])
    return np.sum(x) * params["scale"]


def nested_containers(p):
    (a, b), c = p
    out = {"s": a * b}
    out["t"] = out["s"] + c["k"]
    lst = [a, b]
    lst.append(out["t"])
    lst[0] = lst[2] * lst[1]
    return lst[0] * len(lst) + lst[-1]


def dataclass_fields(spring, state, steps, h):
    q, v = state.position.copy(), state.velocity.copy()
    for _ in range(steps):
        force = -spring.stiffness * (q - spring.rest)
        force[1] -= GRAVITY * 0.1
        v = v + h * force
        q = q + h * v
    final = State(q, v)
    return np.sum(final.position**2) + 0.5 * final.velocity @ final.velocity


def captured_values(x):
    s = 0.0
    for k in range(len(TABLE)):
        s += TABLE[k] * x**k * GRAVITY
    return s


def type_joins(x, n):
    s = 0
    flag = False
    best = 0
    for i in range(n):
        s += x[i]
        if x[i] > best:
            best = x[i]
            flag = True
    m = 1 if n > 3 else x[0]
    return s * m + (best if flag else -1)


def integer_index_arithmetic(x, n, k):
    s = 0.0
    for i in range(n):
        j = (i * k + 3) % n
        left, right = (i - 1) % n, -(i + 1)
        s += x[j] * x[left] * (1 + i // 2) - x[right] * (i & 1) + (i << 1) * 0.01 * x[n - 1 - i]
    q, r = divmod(n * 7, 4)
    return s * q + r * x[int(n / 2)]


def asserted(x):
    assert len(x) > 1, "at least two numbers"
    s = 0.0
    for v in x:
        if v <= 0:
            raise ValueError("positive numbers only")
        s += math.log(v)
        assert s < 1e6
    return s


def math_module(x, y):
    a = math.sqrt(x) + math.exp(-y) * math.sin(x) + math.cos(y) - math.tan(0.1 * x)
    b = math.log(x) + math.log1p(y) + math.expm1(0.1 * y) + math.log2(x) + math.log10(y) + math.log(x, 3)
    c = math.atan2(y, x) + math.hypot(x, y) + math.asin(0.1 * x) + math.acos(0.1 * y) + math.atan(x * y)
    d = math.sinh(0.3 * x) + math.cosh(y) + math.tanh(x) + math.pow(x, y) + math.fabs(-x) + math.pi * x
    return a + 2.0 * b - c * d + math.floor(x) * math.ceil(y) + math.copysign(x, -y) + math.fmod(7.3 * x, y)


def python_builtins(x, y):
    s = abs(x - y) + pow(x, 2) + max(x, y, 0.1) - min(x, y) + round(x) * y
    s += float(3) * int(y) + sum((x, y, 1.0)) + bool(x) * y + divmod(7, 2)[1] * x + x // y + (x * 5) % y
    return s if isinstance(x, float) else -s


def none_and_strings(x, y=None, kind="sum"):
    if y is None:
        y = 2.0 * x
    if kind in ("sum", "mean"):
        return x + y
    return x * y


def scalar_of_array(x):
    """Single elements, 0-d results and shapes used as numbers."""
    total = x.sum()
    n = x.size
    rows, cols = x.shape
    mean = total / n
    first = float(x[0, 0])
    return (mean - first) * rows / cols + x.ndim * total * x.mean() + x[-1, -1].item()


class Model:
    """An object of the user's: static structure whose arrays are read at call time."""

    def __init__(self):
        self.rate = 0.5
        self.weights = np.array([1.0, -2.0, 0.5])

    def loss(self, x):
        r = self.predict(x) - 1.0
        return r * r

    def predict(self, x):
        return self.rate * np.sum(self.weights * x)


model = Model()


def global_helper(x, f):
    return f(x) * f(2.0 * x)


def helper_passed_as_argument(x):
    return global_helper(x, np.sin) + global_helper(x, lambda t: t**2) + global_helper(x, math.exp)


def annotated(x: float, n: int = 3) -> float:
    total: float = 0.0
    unset: float
    for k in range(n):
        total += x**k / math.factorial(k)
    return total


rng = np.random.default_rng(7)
x5 = rng.standard_normal(5)
network = {
    "layers": [
        {"W": rng.standard_normal((4, 3)), "b": rng.standard_normal(4)},
        {"W": rng.standard_normal((2, 4)), "b": rng.standard_normal(2)},
    ],
    "scale": 1.7,
}

T = {"tracing"}
TK = {"tracing", "kink"}
TC = {"tracing", "complex"}

PROGRAMS = [
    Program("star_arguments", star_arguments, (0.8, 1.5, -0.5, 0.25), (0, 1, 3), TC, ((0.8, 1.5, 0.5, 0.25),)),
    Program("calls_with_stars", calls_with_stars, (0.8, 1.7), (0, 1), TC),
    Program("keywords_and_defaults", keywords_and_defaults, (0.8,), (0,), TC),
    Program("closures_and_lambdas", closures_and_lambdas, (0.8, 1.7), (0, 1), T),
    Program("nonlocal_counter", nonlocal_counter, (0.8, 4), (0,), TC, ((0.8, 0),)),
    Program("comprehensions", comprehensions, (0.8, 1.7), (0, 1), TK, ((1.8, 1.7),)),
    Program("dictionary_arguments", dictionary_arguments, (network, rng.standard_normal(3)), (0, 1), TC),
    Program("nested_containers", nested_containers, (((0.7, -1.2), {"k": 0.3}),), (0,), TC),
    Program(
        "dataclass_fields",
        dataclass_fields,
        (Spring(1.3, np.array([0.5, 0.2])), State(*rng.standard_normal((2, 2))), 6, 0.1),
        (0, 1, 3),
        TC,
        ((Spring(1.3, np.array([0.5, 0.2])), State(*rng.standard_normal((2, 2))), 0, 0.1),),
    ),
    Program("captured_values", captured_values, (0.8,), (0,), TC),
    Program("type_joins", type_joins, (x5, 5), (0,), TK, ((-np.abs(x5), 5), (x5, 2), (x5, 0))),
    Program("integer_index_arithmetic", integer_index_arithmetic, (x5, 5, 7), (0,), TC, ((x5, 4, 2), (x5, 1, -3))),
    Program("asserted", asserted, (np.abs(x5) + 0.1,), (0,), T),
    Program("math_module", math_module, (1.3, 0.7), (0, 1), TK),
    Program("python_builtins", python_builtins, (2.3, 0.7), (0, 1), TK, ((0.3, 1.7),)),
    Program("none_and_strings", none_and_strings, (2.3,), (0,), TC, ()),
    Program("none_and_strings_given", none_and_strings, (2.3, 0.5, "product"), (0, 1), TC),
    Program("scalar_of_array", scalar_of_array, (rng.standard_normal((2, 3)),), (0,), T),
    Program("bound_method", model.loss, (x5[:3].copy(),), (0,), TC),
    Program("helper_passed_as_argument", helper_passed_as_argument, (0.8,), (0,), T),
    Program("annotated", annotated, (0.8,), (0,), TC),
]
