"""Functions of one element that are not elementary: NumPy's meaning under plain Python, branch-free code under
Numba.

In: NumPy scalars (or Python numbers). Out: NumPy scalars. Where vectorized loops call a function, Numba gets LLVM
instructions directly (`instructions`), which costs nothing at compile time and leaves no branch; rare ones are
compiled from a Python body (`body`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types

__all__ = ["FUNCTIONS"]

unliteral: Any = types.unliteral

FUNCTIONS: dict[str, Callable[..., Any]] = {}

Emit = Callable[[Any, list[Any], Any], Any]
"""(LLVM builder, operands of one type, that type) -> result."""


def twin(name: str, function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A plain Python function of its own, so that Numba can be told about it."""

    if count == 1:

        def plain(x: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(x)
    elif count == 2:

        def plain(x: Any, y: Any) -> Any:  # type: ignore[misc]
            with np.errstate(all="ignore"):
                return function(x, y)
    else:

        def plain(x: Any, y: Any, z: Any) -> Any:  # type: ignore[misc]
            with np.errstate(all="ignore"):
                return function(x, y, z)

    plain.__name__ = plain.__qualname__ = name
    plain.__doc__ = function.__doc__
    FUNCTIONS[name] = plain
    return plain


def common(context: Any, arguments: tuple[Any, ...]) -> Any:
    """The type that Numba gives the operands together; integers and literals as int64."""
    found = context.unify_types(*(unliteral(a) for a in arguments))
    return found


def instructions(
    name: str, function: Callable[..., Any], count: int, emit: Emit, result: Any = None, first: bool = False
) -> None:
    """Declare a function by its LLVM instructions. `result`: its type where it is not the operands'; `first`: the
    first operand is a boolean apart (a condition)."""
    plain = twin(name, function, count)

    def typer(context: Any, *arguments: Any) -> Any:
        kind = common(context, arguments[1:] if first else arguments)
        return result or kind

    if count == 1:

        def type_it(context: Any) -> Any:
            def rule(x: Any) -> Any:
                return typer(context, x)

            return rule
    elif count == 2:

        def type_it(context: Any) -> Any:
            def rule(x: Any, y: Any) -> Any:
                return typer(context, x, y)

            return rule
    else:

        def type_it(context: Any) -> Any:
            def rule(x: Any, y: Any, z: Any) -> Any:
                return typer(context, x, y, z)

            return rule

    def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kinds = signature.args[1:] if first else signature.args
        kind = common(context.typing_context, kinds)
        values = list(arguments[:1]) if first else []
        values += [
            context.cast(builder, value, unliteral(given), kind)
            for value, given in zip(arguments[len(values) :], kinds, strict=True)
        ]
        return emit(builder, values, kind)

    numba: Any = extending
    numba.type_callable(plain)(type_it)
    numba.lower_builtin(plain, *[types.Any] * count)(lower)


def body(name: str, function: Callable[..., Any], count: int, implementation: Callable[[Any], Any]) -> None:
    """Declare a function by a Python body for Numba, made by `implementation(type of the first operand)`."""
    plain = twin(name, function, count)

    if count == 1:

        def choose(x: Any) -> Any:
            return implementation(unliteral(x))
    else:

        def choose(x: Any, y: Any) -> Any:  # type: ignore[misc]
            return implementation(unliteral(x))

    numba: Any = extending
    numba.overload(plain, strict=False)(choose)


def is_float(kind: Any) -> bool:
    return isinstance(kind, types.Float)


def intrinsic(builder: Any, name: str, operands: list[Any]) -> Any:
    kind = operands[0].type
    short = {ir.DoubleType: "f64", ir.FloatType: "f32"}.get(type(kind)) or f"i{kind.width}"
    wanted = f"llvm.{name}.{short}"
    found = builder.module.globals.get(wanted)
    if found is None:
        found = ir.Function(builder.module, ir.FunctionType(kind, [kind] * len(operands)), wanted)
    return builder.call(found, operands)


def number(value: Any, like: Any) -> Any:
    return ir.Constant(like.type, value)


# ---------------------------------------------------------------- sums in any order, selection, division

ANY_ORDER = ("reassoc",)


def plus(b: Any, v: list[Any], kind: Any) -> Any:
    return b.fadd(*v, flags=ANY_ORDER) if is_float(kind) else b.add(*v)


def times(b: Any, v: list[Any], kind: Any) -> Any:
    return b.fmul(*v, flags=ANY_ORDER) if is_float(kind) else b.mul(*v)


def total(x: Any, y: Any) -> Any:
    """x + y in a sum that may be evaluated in any order."""
    return x + y


def product(x: Any, y: Any) -> Any:
    """x * y in a product that may be evaluated in any order."""
    return x * y


instructions("plus", total, 2, plus)
instructions("times", product, 2, times)
instructions(
    "where",
    lambda condition, x, y: x if condition else y,
    3,
    lambda b, v, kind: b.select(v[0], v[1], v[2]),
    first=True,
)
instructions(
    "divide", lambda x, y: np.float64(x) / y if isinstance(x, float) else x / y, 2, lambda b, v, kind: b.fdiv(*v)
)


def to_integer(b: Any, v: list[Any], kind: Any) -> Any:
    """Truncated; what int64 cannot hold is its least number, as NumPy gives on the common machines."""
    if not is_float(kind):
        return v[0]
    x = v[0]
    wide = b.fpext(x, ir.DoubleType()) if not isinstance(x.type, ir.DoubleType) else x
    low = b.fcmp_ordered(">=", wide, number(-(2.0**63), wide))
    high = b.fcmp_ordered("<", wide, number(2.0**63, wide))
    out = b.fptosi(wide, ir.IntType(64))
    return b.select(b.and_(low, high), out, ir.Constant(ir.IntType(64), -(2**63)))


instructions("to_integer", lambda x: np.asarray(x).astype(np.int64)[()], 1, to_integer, result=types.int64)
instructions(
    "bits_of_float",
    lambda x: np.float64(x).view(np.int64),
    1,
    lambda b, v, kind: b.bitcast(v[0], ir.IntType(64)),
    result=types.int64,
)
instructions(
    "float_of_bits",
    lambda x: np.int64(x).view(np.float64),
    1,
    lambda b, v, kind: b.bitcast(v[0], ir.DoubleType()),
    result=types.float64,
)


def position(x: Any) -> Any:
    """x, which is not negative. Numba would otherwise see to it that -1 means the last element, in every access."""
    return x


instructions("at", position, 1, lambda b, v, kind: v[0], result=types.uintp)

# ---------------------------------------------------------------- choice and sign


def larger(float_name: str, compare: str) -> Emit:
    def emit(b: Any, v: list[Any], kind: Any) -> Any:
        if is_float(kind):
            return intrinsic(b, float_name, v)
        if isinstance(kind, types.Boolean):
            return b.or_(*v) if compare == ">" else b.and_(*v)
        signed = getattr(kind, "signed", True)
        test = b.icmp_signed(compare, *v) if signed else b.icmp_unsigned(compare, *v)
        return b.select(test, *v)

    return emit


instructions("maximum", np.maximum, 2, larger("maximum", ">"))
instructions("minimum", np.minimum, 2, larger("minimum", "<"))
instructions("fmax", np.fmax, 2, larger("maxnum", ">"))
instructions("fmin", np.fmin, 2, larger("minnum", "<"))


def absolute(b: Any, v: list[Any], kind: Any) -> Any:
    (x,) = v
    if is_float(kind):
        return intrinsic(b, "fabs", v)
    if isinstance(kind, types.Boolean) or not kind.signed:
        return x
    return b.select(b.icmp_signed("<", x, number(0, x)), b.neg(x), x)


def sign(b: Any, v: list[Any], kind: Any) -> Any:
    (x,) = v
    zero = number(0, x)
    if is_float(kind):
        up, down = b.fcmp_ordered(">", x, zero), b.fcmp_ordered("<", x, zero)
        out = b.fsub(b.uitofp(up, x.type), b.uitofp(down, x.type))
        return b.select(b.fcmp_unordered("uno", x, x), x, out)
    up = b.zext(b.icmp_signed(">", x, zero) if kind.signed else b.icmp_unsigned(">", x, zero), x.type)
    return b.sub(up, b.zext(b.icmp_signed("<", x, zero), x.type)) if kind.signed else up


instructions("absolute", np.absolute, 1, absolute)
instructions("sign", np.sign, 1, sign)
instructions("square", lambda x: x * x, 1, lambda b, v, kind: (b.fmul if is_float(kind) else b.mul)(v[0], v[0]))


def reciprocal(b: Any, v: list[Any], kind: Any) -> Any:
    (x,) = v
    if is_float(kind):
        return b.fdiv(number(1, x), x)
    unit = b.icmp_signed("==", x, number(1, x))
    if kind.signed:
        unit = b.or_(unit, b.icmp_signed("==", x, number(-1, x)))
    least = -(2 ** (x.type.width - 1)) if kind.signed else 0
    out = b.select(unit, x, number(0, x))
    return b.select(b.icmp_signed("==", x, number(0, x)), number(least, x), out)


def fraction(b: Any, v: list[Any], kind: Any) -> Any:
    (x,) = v
    infinite = magnitude_below_infinity(b, x, "==")
    rest = b.select(infinite, number(0, x), b.fsub(x, intrinsic(b, "trunc", [x])))
    return intrinsic(b, "copysign", [rest, x])


instructions("reciprocal", np.reciprocal, 1, reciprocal)
instructions("modf_fraction", lambda x: np.modf(x)[0], 1, fraction)
instructions("copysign", np.copysign, 2, lambda b, v, kind: intrinsic(b, "copysign", v))
instructions("rint", np.rint, 1, lambda b, v, kind: intrinsic(b, "rint", v))


def heaviside(b: Any, v: list[Any], kind: Any) -> Any:
    x, at_zero = v
    zero = number(0, x)
    out = b.select(b.fcmp_ordered(">", x, zero), number(1, x), zero)
    out = b.select(b.fcmp_ordered("==", x, zero), at_zero, out)
    return b.select(b.fcmp_unordered("uno", x, x), x, out)


instructions("heaviside", np.heaviside, 2, heaviside)

# ---------------------------------------------------------------- predicates


def bits(b: Any, x: Any) -> tuple[Any, int]:
    width = 64 if isinstance(x.type, ir.DoubleType) else 32
    return b.bitcast(x, ir.IntType(width)), width


def magnitude_below_infinity(b: Any, x: Any, compare: str) -> Any:
    return b.fcmp_ordered(compare, intrinsic(b, "fabs", [x]), number(math.inf, x))


def float_predicate(name: str, function: Callable[..., Any], emit: Callable[[Any, Any], Any], otherwise: bool) -> None:
    def either(b: Any, v: list[Any], kind: Any) -> Any:
        return emit(b, v[0]) if is_float(kind) else ir.Constant(ir.IntType(1), int(otherwise))

    instructions(name, function, 1, either, result=types.boolean)


float_predicate("isnan", np.isnan, lambda b, x: b.fcmp_unordered("uno", x, x), False)
float_predicate("isinf", np.isinf, lambda b, x: magnitude_below_infinity(b, x, "=="), False)
float_predicate("isfinite", np.isfinite, lambda b, x: magnitude_below_infinity(b, x, "<"), True)


def negative(b: Any, v: list[Any], kind: Any) -> Any:
    if is_float(kind):
        whole, _ = bits(b, v[0])
        return b.icmp_signed("<", whole, number(0, whole))
    return (
        b.icmp_signed("<", v[0], number(0, v[0])) if getattr(kind, "signed", False) else ir.Constant(ir.IntType(1), 0)
    )


instructions("signbit", np.signbit, 1, negative, result=types.boolean)

# ---------------------------------------------------------------- bits of integers

instructions("bitwise_and", np.bitwise_and, 2, lambda b, v, kind: b.and_(*v))
instructions("bitwise_or", np.bitwise_or, 2, lambda b, v, kind: b.or_(*v))
instructions("bitwise_xor", np.bitwise_xor, 2, lambda b, v, kind: b.xor(*v))
instructions("invert", np.invert, 1, lambda b, v, kind: b.not_(v[0]))


def shift(left: bool) -> Emit:
    """A shift by the width or more (or a negative one) gives 0, or -1 for a negative number shifted right."""

    def emit(b: Any, v: list[Any], kind: Any) -> Any:
        x, by = v
        width = x.type.width
        inside = b.icmp_unsigned("<", by, number(width, by))
        count = b.select(inside, by, number(0, by))
        if left:
            return b.select(inside, b.shl(x, count), number(0, x))
        if kind.signed:
            return b.ashr(x, b.select(inside, by, number(width - 1, by)))
        return b.select(inside, b.lshr(x, count), number(0, x))

    return emit


instructions("left_shift", np.left_shift, 2, shift(True))
instructions("right_shift", np.right_shift, 2, shift(False))


def count_bits(b: Any, v: list[Any], kind: Any) -> Any:
    x = absolute(b, v, kind)
    out = intrinsic(b, "ctpop", [x])
    byte = ir.IntType(8)
    return out if x.type.width == 8 else b.trunc(out, byte)


instructions("bitwise_count", np.bitwise_count, 1, count_bits, result=types.uint8)

# ---------------------------------------------------------------- rare ones, from a Python body


def as_numpy(ufunc: Any, count: int = 2) -> Callable[[Any], Any]:
    """A body that calls Numba's own version of a ufunc, in the operands' type."""

    def implementation(kind: Any) -> Any:
        convert = kind
        if count == 1:
            return lambda x: convert(ufunc(x))
        return lambda x, y: convert(ufunc(x, y))

    return implementation


def divided(b: Any, x: Any, y: Any) -> tuple[Any, Any]:
    """The whole quotient and the remainder with the divisor's sign, as NumPy computes them (`npy_divmod`)."""
    zero = number(0, x)
    rest = b.frem(x, y)
    quotient = b.fdiv(b.fsub(x, rest), y)
    there = b.fcmp_unordered("!=", rest, zero)
    negative_rest, negative_y = b.fcmp_ordered("<", rest, zero), b.fcmp_ordered("<", y, zero)
    wrong = b.and_(there, b.xor(negative_rest, negative_y))
    fixed = b.select(there, b.select(wrong, b.fadd(rest, y), rest), intrinsic(b, "copysign", [zero, y]))
    quotient = b.select(wrong, b.fsub(quotient, number(1, x)), quotient)
    whole = intrinsic(b, "floor", [quotient])
    short = b.fcmp_ordered(">", b.fsub(quotient, whole), number(0.5, x))
    whole = b.select(short, b.fadd(whole, number(1, x)), whole)
    plain = b.fdiv(x, y)
    whole = b.select(b.fcmp_unordered("!=", quotient, zero), whole, intrinsic(b, "copysign", [zero, plain]))
    by_zero = b.fcmp_ordered("==", y, zero)
    return b.select(by_zero, plain, whole), b.select(by_zero, rest, fixed)


def whole_divided(b: Any, x: Any, y: Any, kind: Any) -> tuple[Any, Any, Any]:
    """Quotient and remainder of integers, rounded down, and the remainder of C. Of a division by zero all are 0;
    nor may the machine divide its least number by -1."""
    zero, one = number(0, x), number(1, x)
    by_zero = b.icmp_signed("==", y, zero)
    if not kind.signed:
        safe = b.select(by_zero, one, y)
        rest = b.select(by_zero, zero, b.urem(x, safe))
        return b.select(by_zero, zero, b.udiv(x, safe)), rest, rest
    minus = b.icmp_signed("==", y, number(-1, x))
    safe = b.select(b.or_(by_zero, minus), one, y)
    quotient = b.select(minus, b.neg(x), b.sdiv(x, safe))
    rest = b.srem(x, safe)
    down = b.and_(b.icmp_signed("!=", rest, zero), b.icmp_signed("<", b.xor(rest, safe), zero))
    floor = b.sub(quotient, b.zext(down, x.type))
    return (
        b.select(by_zero, zero, floor),
        b.select(by_zero, zero, b.select(down, b.add(rest, safe), rest)),
        b.select(by_zero, zero, rest),
    )


def part(which: int) -> Emit:
    """0: the whole quotient, 1: the remainder with the divisor's sign, 2: with the dividend's."""

    def emit(b: Any, v: list[Any], kind: Any) -> Any:
        x, y = v
        if is_float(kind):
            return b.frem(x, y) if which == 2 else divided(b, x, y)[which]
        return whole_divided(b, x, y, kind)[which]

    return emit


instructions("floor_divide", np.floor_divide, 2, part(0))
instructions("remainder", np.remainder, 2, part(1))
instructions("fmod", np.fmod, 2, part(2))
body("gcd", np.gcd, 2, as_numpy(np.gcd))
body("lcm", np.lcm, 2, as_numpy(np.lcm))
body("logaddexp", np.logaddexp, 2, as_numpy(np.logaddexp))
body("logaddexp2", np.logaddexp2, 2, as_numpy(np.logaddexp2))
body("nextafter", np.nextafter, 2, as_numpy(np.nextafter))
body("spacing", np.spacing, 1, as_numpy(np.spacing, 1))
body("ldexp", np.ldexp, 2, lambda kind: lambda x, y: kind(math.ldexp(x, y)))
body("frexp_mantissa", lambda x: np.frexp(x)[0], 1, lambda kind: lambda x: kind(math.frexp(x)[0]))
body("frexp_exponent", lambda x: np.int64(np.frexp(x)[1]), 1, lambda kind: lambda x: np.int64(math.frexp(x)[1]))


def integer_power(kind: Any) -> Any:
    def implementation(x: Any, y: Any) -> Any:
        out = kind(1)
        base = x
        exponent = y
        while exponent > 0:
            if exponent & 1:
                out = kind(out * base)
            base = kind(base * base)
            exponent >>= 1
        return out

    return implementation


body("integer_power", np.power, 2, integer_power)
