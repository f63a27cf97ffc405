"""Rules of `simplify` for elements: constants, arithmetic, logic, comparisons, conversions.

In: an operation's name and simplified operands. Out: a value it is equal to, or None.

Every rule holds bit for bit in IEEE arithmetic, signed zeros included: ``x - 0`` is x and ``x + -0.0`` is
x, but ``x + 0.0`` is not (it turns -0.0 into 0.0) and ``0 * x`` is not 0 (x may be infinite). Integers
wrap, so that their sums may be reassociated. No rule changes a derivative. Constants are folded with NumPy,
except where NumPy would warn.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Const, Value
from ..ops import REGISTRY
from ..types import BOOL, I64, DType, Scalar, Type
from .simplify import FALSE, TRUE, Rule, Simplifier

__all__ = ["RULES", "fold", "offset", "splat"]

RULES: dict[str, Rule] = {}


def fold(name: str, operands: list[Value], attrs: dict[str, Any]) -> Const | None:
    """The constant that an operation on constant elements is."""
    for v in operands:
        if type(v) is not Const:
            return None
    definition = REGISTRY[name]
    if definition.category != "elementwise" or definition.effect or definition.evaluate is None or not operands:
        return None
    (type_,) = definition.infer(operands, attrs, [])
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise", under="ignore"):
            value = definition.evaluate(*(v.value for v in operands), **attrs)  # type: ignore[attr-defined]
    except (ArithmeticError, ValueError, TypeError):
        return None
    return Const(value, type_.dtype) if isinstance(type_, Scalar) and np.ndim(value) == 0 else None


def splat(value: Value) -> Const | None:
    """The constant that every element of a value is."""
    if isinstance(value, Const):
        return value
    op = value.op
    if op is not None and op.name in ("fill", "broadcast") and isinstance(op.operands[0], Const):
        return op.operands[0]
    return None


def is_number(value: Value, number: float) -> bool:
    """Whether every element is surely `number` (0 and -0.0 are told apart)."""
    constant = splat(value)
    if constant is None:
        return False
    found = constant.value
    return bool(found == number) and (number != 0 or bool(np.signbit(found) == np.signbit(number)))


def defining(value: Value, name: str) -> list[Value] | None:
    """The operands of the operation that defines a value, if it has that name."""
    op = value.op
    return op.operands if op is not None and op.name == name else None


def offset(value: Value) -> tuple[Value | None, int]:
    """An i64 as (base, constant): ``i + 1 - 3`` is (i, -2); the base of a constant is None."""
    total = 0
    while True:
        if isinstance(value, Const):
            return None, total + int(value.value)
        op = value.op
        if op is None or op.name not in ("add", "sub") or not isinstance(value.type, Scalar):
            return value, total
        a, b = op.operands
        if isinstance(b, Const) and b.dtype.is_integer:
            value, total = a, total + (int(b.value) if op.name == "add" else -int(b.value))
        elif isinstance(a, Const) and a.dtype.is_integer and op.name == "add":
            value, total = b, total + int(a.value)
        else:
            return value, total


def with_offset(s: Simplifier, base: Value | None, constant: int, dtype: DType) -> Value:
    if base is None:
        return Const(wrapped(constant, dtype), dtype)
    if constant == 0:
        return base
    if constant < 0:
        return s.emit("sub", [base, Const(-constant, dtype)], None, s.span, s.hint)
    return s.emit("add", [base, Const(constant, dtype)], None, s.span, s.hint)


def wrapped(number: int, dtype: DType) -> Any:
    bits = 8 * dtype.itemsize
    number &= (1 << bits) - 1
    return number - (1 << bits) if dtype.kind == "i" and number >> (bits - 1) else number


# ---------------------------------------------------------------- arithmetic


def sums(s: Simplifier, name: str, a: Value, b: Value) -> Value | None:
    """Integer scalar sums: constants meet, and what is added and taken away again goes."""
    if not (a.dtype is I64 and isinstance(a.type, Scalar) and isinstance(b.type, Scalar)):
        return None
    sign = 1 if name == "add" else -1
    (x, c), (y, d) = offset(a), offset(b)
    if y is None or (x is None and name == "add"):
        base = x if y is None else y
        plain = base is (a if y is None else b)
        if not plain or base is None or c + sign * d == 0:
            return with_offset(s, base, c + sign * d, I64)
        return None
    if name == "sub":
        if x is y:
            return Const(wrapped(c - d, I64), I64)
        parts = defining(x, "add") if x is not None else None
        if parts and any(p is y for p in parts):  # (u + v + c) - (v + d)
            rest = parts[1] if parts[0] is y else parts[0]
            return with_offset(s, rest, c - d, I64)
    else:
        for (p, k), (q, m) in (((x, c), (y, d)), ((y, d), (x, c))):
            parts = defining(p, "sub") if p is not None else None
            if parts and parts[1] is q:  # (u - v + c) + (v + d)
                return with_offset(s, parts[0], k + m, I64)
    return None


def add(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    a, b = operands
    exact_zero = -0.0 if a.dtype.is_float else 0
    if is_number(b, exact_zero):
        return a
    if is_number(a, exact_zero):
        return b
    negated = defining(b, "neg")
    if negated:
        return s.make("sub", [a, negated[0]])
    negated = defining(a, "neg")
    if negated:
        return s.make("sub", [b, negated[0]])
    return sums(s, "add", a, b)


def sub(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    a, b = operands
    if is_number(b, 0):
        return a
    if is_number(a, -0.0 if a.dtype.is_float else 0):
        return s.make("neg", [b])
    negated = defining(b, "neg")
    if negated:
        return s.make("add", [a, negated[0]])
    return sums(s, "sub", a, b)


def mul(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    for x, k in (operands, operands[::-1]):
        if is_number(k, 1):
            return x
        if is_number(k, -1):
            return s.make("neg", [x])
        if x.dtype.is_integer and is_number(k, 0) and isinstance(type_, Scalar):
            return Const(0, x.dtype)
        negated = defining(x, "neg")
        if negated and isinstance(k, Const):
            return s.make("mul", [negated[0], s_negated(k)])
    return None


def s_negated(constant: Const) -> Const:
    return Const(np.negative(constant.value), constant.dtype)


def div(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    a, b = operands
    if not a.dtype.is_float:
        return None
    if is_number(b, 1):
        return a
    if is_number(b, -1):
        return s.make("neg", [a])
    if isinstance(b, Const) and np.frexp(np.abs(b.value))[0] == 0.5 and np.abs(np.log2(np.abs(b.value))) < 100:
        return s.make("mul", [a, Const(1 / b.value, b.dtype)])  # a power of two: its reciprocal is exact
    return None


def neg(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    (x,) = operands
    inner = defining(x, "neg")
    if inner:
        return inner[0]
    product = defining(x, "mul")
    if product:
        for k, rest in (product, product[::-1]):
            if isinstance(k, Const):
                return s.make("mul", [s_negated(k), rest])
    return None


def pow(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    x, k = operands
    if is_number(k, 1) and x.dtype is k.dtype:
        return x
    if is_number(k, 2) and x.dtype is k.dtype:  # both are the correctly rounded square
        return s.make("mul", [x, x])
    return None


def same_operands(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    """Operations that give x for (x, x)."""
    return operands[0] if operands[0] == operands[1] else None


# ---------------------------------------------------------------- logic and comparisons


def logical_and(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    for x, k in (operands, operands[::-1]):
        if k == TRUE:
            return x
        if k == FALSE:
            return FALSE
    return same_operands(s, operands, attrs, type_)


def logical_or(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    for x, k in (operands, operands[::-1]):
        if k == FALSE:
            return x
        if k == TRUE:
            return TRUE
    return same_operands(s, operands, attrs, type_)


NEGATED = {"eq": "ne", "ne": "eq"}
NEGATED_INTEGERS = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}  # of floats, nan is neither


def logical_not(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    op = operands[0].op
    if op is None:
        return None
    if op.name == "logical_not":
        return op.operands[0]
    name = NEGATED.get(op.name)
    if name is None and op.name in NEGATED_INTEGERS and op.operands[0].dtype.is_integer:
        name = NEGATED_INTEGERS[op.name]
    return s.make(name, op.operands) if name else None


def comparison(name: str) -> Rule:
    def rule(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
        a, b = operands
        if not isinstance(type_, Scalar):
            return None
        if a.dtype is BOOL and isinstance(b, Const) and name in ("eq", "ne"):
            return a if bool(b.value) == (name == "eq") else s.make("logical_not", [a])
        if a is b and name in ("lt", "gt", "ne") and (name != "ne" or not a.dtype.is_float):
            return FALSE
        if a.dtype is not I64 or b.dtype is not I64:
            return None
        (x, c), (y, d) = offset(a), offset(b)
        if x is y:  # i + 1 < i + 2
            return Const(INTEGER[name](c - d), BOOL)
        return None

    return rule


INTEGER = {
    "lt": lambda d: d < 0,
    "le": lambda d: d <= 0,
    "gt": lambda d: d > 0,
    "ge": lambda d: d >= 0,
    "eq": lambda d: d == 0,
    "ne": lambda d: d != 0,
}


def select(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    condition, a, b = operands
    constant = splat(condition)
    if constant is not None:
        return a if constant.value else b
    if a == b:
        return a
    inverted = defining(condition, "logical_not")
    if inverted:
        return s.make("select", [inverted[0], b, a])
    if a.dtype is BOOL:
        if a == TRUE and b == FALSE:
            return condition
        if a == FALSE and b == TRUE:
            return s.make("logical_not", [condition])
    return None


# ---------------------------------------------------------------- conversions


def keeps_every_value(source: DType, target: DType) -> bool:
    """Whether a conversion loses nothing (NumPy's "safe" includes i64 to f64, which rounds)."""
    if not np.can_cast(source.numpy, target.numpy, "safe"):
        return False
    if source.is_integer and target.is_float:
        return 8 * source.itemsize <= (24 if target.itemsize == 4 else 53)
    return True


def cast(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    (x,) = operands
    target = attrs["dtype"]
    if x.dtype is target:
        return x
    inner = defining(x, "cast")
    if inner and keeps_every_value(inner[0].dtype, x.dtype):
        return s.make("cast", [inner[0]], {"dtype": target})
    return None


# ---------------------------------------------------------------- checks


def bound(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    i, n = operands
    if isinstance(i, Const) and isinstance(n, Const) and -n.value <= i.value < n.value:
        return Const(i.value + n.value if i.value < 0 else i.value, I64)
    inner = defining(i, "bound")
    return i if inner and inner[1] == n else None


def same_extent(s: Simplifier, operands: list[Value], attrs: dict[str, Any], type_: Type) -> Value | None:
    (x, c), (y, d) = map(offset, operands)
    return operands[0] if x is y and c == d else None


RULES.update(
    add=add,
    sub=sub,
    mul=mul,
    div=div,
    neg=neg,
    pow=pow,
    maximum=same_operands,
    minimum=same_operands,
    logical_and=logical_and,
    logical_or=logical_or,
    logical_not=logical_not,
    select=select,
    cast=cast,
    bound=bound,
    same_extent=same_extent,
    **{name: comparison(name) for name in INTEGER},
)
