"""Arithmetic on extents and positions: i64 values, folded where they are constants.

In: IR values or Python ints. Out: IR values (constants where both operands are). Also remembers which values
cannot be negative, so that positions that count from the front need no test for the other case.
"""

from __future__ import annotations

from ..ir.core import Const, Value
from ..ir.types import I64
from .context import Tracer

__all__ = [
    "add",
    "clamp_low",
    "integer",
    "is_nonnegative",
    "known",
    "maximum",
    "minimum",
    "mul",
    "select_negative",
    "sub",
]

Int = Value | int


def integer(x: Int) -> Value:
    return x if isinstance(x, Value) else Const(x, I64)


def known(x: Int) -> int | None:
    """The number itself where it is known while tracing."""
    if isinstance(x, Const):
        return int(x.value)
    return x if isinstance(x, int) else None


def same(a: Int, b: Int) -> bool:
    """Whether two values are certainly equal."""
    x, y = known(a), known(b)
    return a is b or (x is not None and x == y)


def is_nonnegative(t: Tracer, x: Int) -> bool:
    value = known(x)
    if value is not None:
        return value >= 0
    assert isinstance(x, Value)
    return x in t.nonnegative or (x.op is not None and x.op.name == "dim")


def marked(t: Tracer, value: Value, nonnegative: bool) -> Value:
    if nonnegative:
        t.nonnegative.add(value)
    return value


def add(t: Tracer, a: Int, b: Int) -> Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return integer(x + y)
    if x == 0:
        return integer(b)
    if y == 0:
        return integer(a)
    positive = is_nonnegative(t, a) and is_nonnegative(t, b)
    return marked(t, t.emit1("add", [integer(a), integer(b)]), positive)


def sub(t: Tracer, a: Int, b: Int) -> Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return integer(x - y)
    if y == 0:
        return integer(a)
    if a is b:
        return integer(0)
    return t.emit1("sub", [integer(a), integer(b)])


def mul(t: Tracer, a: Int, b: Int) -> Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return integer(x * y)
    if x == 1:
        return integer(b)
    if y == 1:
        return integer(a)
    if 0 in (x, y):
        return integer(0)
    positive = is_nonnegative(t, a) and is_nonnegative(t, b)
    return marked(t, t.emit1("mul", [integer(a), integer(b)]), positive)


def minimum(t: Tracer, a: Int, b: Int) -> Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return integer(min(x, y))
    if a is b:
        return integer(a)
    if (x == 0 and is_nonnegative(t, b)) or (y == 0 and is_nonnegative(t, a)):
        return integer(0)
    positive = is_nonnegative(t, a) and is_nonnegative(t, b)
    return marked(t, t.emit1("minimum", [integer(a), integer(b)]), positive)


def maximum(t: Tracer, a: Int, b: Int) -> Value:
    x, y = known(a), known(b)
    if x is not None and y is not None:
        return integer(max(x, y))
    if a is b:
        return integer(a)
    if x == 0 and is_nonnegative(t, b):
        return integer(b)
    if y == 0 and is_nonnegative(t, a):
        return integer(a)
    positive = is_nonnegative(t, a) or is_nonnegative(t, b)
    return marked(t, t.emit1("maximum", [integer(a), integer(b)]), positive)


def clamp_low(t: Tracer, a: Int) -> Value:
    """max(a, 0)."""
    return maximum(t, a, 0)


def ceil_div(t: Tracer, a: Int, b: int) -> Value:
    """ceil(a / b) for a positive constant b."""
    x = known(a)
    if x is not None:
        return integer(-(-x // b))
    if b == 1:
        return integer(a)
    return t.emit1("floordiv", [add(t, a, b - 1), integer(b)])


def select_negative(t: Tracer, a: Value, n: Int) -> Value:
    """a where a >= 0, else a + n: a position that may count from the end."""
    x = known(a)
    if x is not None:
        return a if x >= 0 else add(t, n, x)
    if is_nonnegative(t, a):
        return a
    negative = t.emit1("lt", [a, integer(0)])
    return t.emit1("select", [negative, add(t, a, n), a])
