"""Promotion, conversion and arithmetic of every mixture of numbers: values, dtypes and Python types as NumPy's.

Documented differences: Python's own floats divide by zero as NumPy does, negative numbers to fractional powers are NaN,
functions of 8-bit integers and booleans that NumPy computes in half precision are computed in double.
"""

from __future__ import annotations

import numpy as np
import pytest
from semantics import check, compare, differences, function_of, interpreted

from adjit import grad, jit

FLOATS = [-2.5, 0.0, 3.3, np.inf, np.nan, -0.0, 7.0]
WHOLE = [-7, 7, 0, 3, -1, 100, 2]
OPERANDS = {
    "f64": np.array(FLOATS),
    "f32": np.array(FLOATS, np.float32),
    "i64": np.array([*WHOLE[:5], 2**62, 2]),
    "i32": np.array([*WHOLE[:5], 2**30, 2], np.int32),
    "i8": np.array([*WHOLE[:5], -128, 2], np.int8),
    "u8": np.array([200, 7, 0, 3, 255, 2, 1], np.uint8),
    "b": np.array([True, False, True, False, True, True, False]),
    "one f64": np.float64(2.5),
    "one f32": np.float32(2.7),
    "one i64": np.int64(-3),
    "one i32": np.int32(5),
    "one u8": np.uint8(3),
    "one b": np.True_,
    "float": 2.5,
    "0.0": 0.0,
    "int": 3,
    "0": 0,
    "-3": -3,
    "bool": True,
}
PYTHON = {"float", "0.0", "int", "0", "-3", "bool"}
ZERO = {"0.0", "0"}


def pairs(skip=lambda a, b: False):
    for a, x in OPERANDS.items():
        for b, y in OPERANDS.items():
            if not skip(a, b):
                yield f"{a} and {b}", lambda x=x, y=y: (np.copy(x) if isinstance(x, np.ndarray) else x, y)


def python_divides_by_zero(a, b):
    return a in PYTHON and b in ZERO and not (a in ("int", "0", "-3", "bool") and b == "0")


def python_divides_by_any_zero(a, b):
    return a in PYTHON and b in ZERO


def python_power(a, b):
    """Where the dtype depends on the value of the power it is refused; complex results are NaN."""
    return (a in PYTHON and b == "-3") or (a == "-3" and b == "float") or (a == "b" and b in PYTHON)


BINARY = {
    "a + b": None,
    "a - b": None,
    "a * b": None,
    "a / b": python_divides_by_any_zero,
    "a // b": python_divides_by_zero,
    "a % b": python_divides_by_zero,
    "divmod(a, b)": python_divides_by_zero,
    "a ** b": python_power,
    "a & b": None,
    "a | b": None,
    "a ^ b": None,
    "a << b": None,
    "a >> b": None,
    "a < b": None,
    "a <= b": None,
    "a > b": None,
    "a >= b": None,
    "a == b": None,
    "a != b": None,
    "np.maximum(a, b)": None,
    "np.fmin(a, b)": None,
    "np.logical_and(a, b)": None,
    "a += b; return a": None,
    "a -= b; return a": None,
    "a *= b; return a": None,
    "a /= b; return a": python_divides_by_any_zero,
    "a //= b; return a": python_divides_by_zero,
    "a %= b; return a": python_divides_by_zero,
    "a **= b; return a": python_power,
    "a &= b; return a": None,
    "a <<= b; return a": None,
    "np.add(a, b, out=a); return a": None,
}


@pytest.mark.daily(1)
@pytest.mark.parametrize("body", BINARY)
def test_two_operands(body):
    function, skip = function_of("a, b", body), BINARY[body] or (lambda a, b: False)
    rtol = 1e-15 if "**" in body else 0.0  # powers are other implementations' to the last bit
    found = differences(function, pairs(skip), rtol=rtol)
    assert found == []


def test_where_takes_values_as_they_are():
    function = function_of("a, b", "np.where(a > b, a, b)")

    def too_large(a, b):  # NumPy wraps a Python integer that does not fit, adjit refuses
        return {a, b} in ({"u8", "-3"}, {"one u8", "-3"})

    assert differences(function, pairs(too_large)) == []


HALF = {"i8", "u8", "b", "one u8", "one b", "bool"}
"""What NumPy computes functions of in half precision."""

UNARY = {
    "-a": (),
    "+a": (),
    "~a": (),
    "abs(a)": (),
    "not a": (),
    "bool(a)": (),
    "float(a)": (),
    "int(a)": (),
    "round(a)": (),
    "math.floor(a)": (),
    "math.ceil(a)": (),
    "np.round(a)": HALF & {"b", "one b", "bool"},
    "np.float32(a)": (),
    "np.int32(a)": (),
    "np.bool_(a)": (),
    "a.astype(np.float32)": (),
    "a.astype(np.int64)": (),
    "a.astype(int)": (),
    "a.astype(bool)": (),
    "np.sign(a)": (),
    "np.floor(a)": (),
    "np.square(a)": (),
    "np.reciprocal(a)": (),
    "np.sqrt(a)": HALF,
    "np.isnan(a)": (),
    "np.logical_not(a)": (),
    "np.sum(a)": (),
    "np.prod(a)": (),
    "np.mean(a)": (),
    "np.max(a)": (),
    "np.argmax(a)": (),
    "np.cumsum(a)": (),
    "np.asarray(a)": (),
    "np.array(a)": (),
    "np.zeros_like(a)": (),
    "np.full(2, a)": (),
    "np.array([a, 1])": ("f64", "f32", "i64", "i32", "i8", "u8", "b"),
    "a * 2": (),
    "0.5 * a": (),
    "a ** 2": (),
    "type(a)": (),
    "(isinstance(a, float), isinstance(a, int), isinstance(a, np.ndarray), isinstance(a, np.floating))": (),
}


def one(skip):
    more = {"0-d": np.array(2.5), "0-d int": np.array(2), "one element": np.array([2.5]), "nothing": np.zeros(0)}
    for name, x in {**OPERANDS, **more, "nan": float("nan"), "inf": float("inf"), "list": [1.5]}.items():
        if name not in skip:
            yield name, lambda x=x: (x,)


@pytest.mark.parametrize("body", UNARY)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_one_operand(body):
    assert differences(function_of("a", body), one(UNARY[body])) == []


LITERALS = """
a + 1; a - 2.5; a * True; a / 2; 1 / a; a // 2; a % 3; a ** 2; a ** 0.5; a ** -1; 2.0 ** a; a < 1; 1 > a; a == -1;
np.maximum(a, 0); np.minimum(1.5, a); np.where(a > 0, a, 0); np.where(a > 0, 1, 0); a & 1; a << 1; a + np.float32(0.5);
a * np.int8(2); a + np.float64(1); np.clip(a, 0, 2); np.clip(a, None, 1.5); a - np.uint8(1); a < 300; a > -1; a == 2**40
""".replace("\n", " ").split("; ")


@pytest.mark.parametrize("body", [b.strip() for b in LITERALS])
def test_with_a_literal(body):
    arrays = ((k, lambda v=v: (v,)) for k, v in OPERANDS.items() if k not in PYTHON)
    exact = "**" not in body and "clip" not in body  # (np.clip leaves -0.0 where np.maximum gives 0.0)
    found = differences(function_of("a", body), arrays, rtol=0.0 if exact else 1e-15)
    assert found == []


STORES = (
    "a[1] = b; return a",
    "a[:] = b; return a",
    "a[1] += b; return a",
    "a[a > 1] = b; return a",
    "a[[0, 1]] = b; return a",
    "a.fill(b); return a",
    "np.copyto(a, b); return a",
    "np.full_like(a, b)",
)


@pytest.mark.parametrize("body", STORES)
def test_stores_convert_as_numpy(body):
    """Assignment converts whatever it gets (floats are cut off), `+=` and `out=` only within a kind."""
    function = function_of("a, b", body)
    whole = {"f64", "f32", "i64", "i32", "i8", "u8", "b"}
    scalars = [n for n in OPERANDS if n not in whole]
    values = {**OPERANDS, "nan": float("nan"), "300": 300}
    for target in whole:
        cases = (
            (f"{target} from {name}", lambda t=target, n=name: (OPERANDS[t].copy(), values[n]))
            for name in [*scalars, "nan", "300"]
            if not (name == "nan" and target == "u8")  # NumPy writes 0 and warns, adjit refuses
        )
        assert differences(function, cases, refusable=True) == []
        for name in scalars:
            if not (name in ("-3", "one i64") and target == "u8"):  # what does not fit may be refused
                strict = compare(
                    interpreted(function), function, lambda t=target, n=name: (OPERANDS[t].copy(), values[n])
                )
                assert not strict, f"{target} from {name}: {strict}"


def test_what_is_cut_off_has_no_derivative():
    def cut(x, k):
        n = np.zeros(3, dtype=int)
        n[0] = x
        n[1:] = k * x
        return np.sum(n) * x + n[2]

    k = np.array([2.7, -3.1])
    assert grad(cut)(1.6, k) == float(1 + 4 - 4)
    check(cut, lambda: (1.6, k), compile=True)


def test_strings_of_operators_compiled():
    def mixture(f, s, i, u, b, p, n):
        return (
            f * s + p,
            i // n,
            i % -n,
            u + 250,
            u * u,
            b + b,
            b & (f > 0),
            i / n,
            i << 2,
            i >> n,
            s // 0.7,
            s % np.float32(0.7),
            (i**2, n**3, 2.0**n),
            np.float32(p) * s,
            -(i * 2**40) * 2**22,
            i // 0,
            i % 0,
            f / 0,
            p // 0.3,
            round(p),
            int(f[0]),
            max(s, 1),
            abs(i),
        )

    values = (FLOATS[:3], np.float32(2.7), WHOLE, [200, 7, 255], [True, False, True], 2.5, 3)
    kinds = (np.float64, None, np.int64, np.uint8, bool, None, None)
    check(
        mixture,
        lambda: tuple(v if k is None else np.array(v, k) for v, k in zip(values, kinds)),
        compile=True,
        rtol=1e-15,
    )


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("make", [lambda k: k(1.5), lambda k: np.array(1.5, k), lambda k: np.array([1.5, 2.0], k)])
def test_gradients_are_of_the_arguments_type(kind, make):
    x = make(kind)
    found = grad(lambda x: np.sum(x * x) * 0.5)(x)
    assert np.asarray(found).dtype == kind and np.shape(found) == np.shape(x)
    assert isinstance(found, np.ndarray) == isinstance(x, np.ndarray)
    np.testing.assert_array_equal(found, x)


@pytest.mark.parametrize("value", [3, np.int32(3), np.array([1, 2]), True, np.array(3)])
def test_integers_have_no_derivative(value):
    with pytest.raises(TypeError, match="derivative"):
        grad(lambda x: np.sum(x * 2.0))(value)


@pytest.mark.parametrize(
    ("body", "args", "error"),
    [
        ("u + k", (np.array([1], np.uint8), 256), OverflowError),
        ("u + k", (np.array([1], np.uint8), -1), OverflowError),
        ("u ** k", (np.array([1, 2]), -1), ValueError),
        ("k ** u", (np.array([1, -2]), 3), ValueError),
        ("k // u[0]", (np.array([0]), 3), None),
        ("k // (k - 3)", (None, 3), ZeroDivisionError),
        ("k % (k - 3)", (None, 3), ZeroDivisionError),
        ("1 << k", (None, -1), ValueError),
        ("int(k * 1e308 * 10)", (None, 1), OverflowError),
        ("int(k * 1e308 * 10 - k * 1e308 * 10)", (None, 1), ValueError),
        ("round(k * 1e308 * 10)", (None, 1), OverflowError),
    ],
)
def test_run_time_errors_of_numbers(body, args, error):
    function = function_of("u, k", body)
    kernel = jit(function)
    if error is None:
        check(function, lambda: args)
        return
    for run in (interpreted(function), kernel, kernel):
        with pytest.raises(error):
            run(*args)
    with np.errstate(all="ignore"), pytest.raises(error):
        function(*args)


JOINS = ("max(a, b)", "min(a, b)", "a if c else b", "y = a; y = b if c else y; return y + 0 * a")


@pytest.mark.parametrize("body", JOINS)
def test_values_of_mixed_types_keep_their_value_or_are_refused(body):
    """Where paths meet, types are joined (an int becomes a float, a float of Python's one of the array's)."""
    function = function_of("a, b, c", body)
    names = [n for n in OPERANDS if n.startswith("one") or n in PYTHON]
    for a in names:
        for b in names:
            for c in (True, False):
                args = (OPERANDS[a], OPERANDS[b], c)
                with np.errstate(all="ignore"):
                    try:
                        wanted = function(*args)
                    except OverflowError:
                        continue
                try:
                    found = interpreted(function)(*args)
                except OverflowError:
                    assert {a, b} & {"one u8"} and {a, b} & {"-3"}
                    continue
                assert float(found) == float(wanted), (a, b, c)
