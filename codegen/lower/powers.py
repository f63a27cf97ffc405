"""Powers with small constant exponents are products and square roots.

In: a scheduled function, changed in place. Out: nothing.

    %y: f64 = pow %x, 3.0                  %1: f64 = mul %x, %x
    %g: f64 = pow %x, -1.5                 %y: f64 = mul %x, %1
                                     =>    %2: f64 = sqrt %x
                                           %3: bool = eq %x, -inf
                                           %4: f64 = select %3, -inf, %2
                                           %5: f64 = mul %x, %4
                                           %g: f64 = div 1.0, %5

Whole exponents up to `LARGEST` and those that end in one half (up to `LARGEST_HALF`), of either sign: binary powering,
which rounds in each step: a result may be off by as many units in the last place as the exponent is large, and one more
(`pow`: by 0.7), and takes a tenth of the time. Infinities, NaNs and signed zeros come out as those of `pow`; results
that would not be normal numbers may be 0 or inf.
"""

from __future__ import annotations

import math

from ...ir.core import Builder, Const, Function, Op, Region, Value, const

__all__ = ["write_powers"]

LARGEST = 8
LARGEST_HALF = 2.5


def write_powers(function: Function) -> None:
    """See the module's docstring."""
    written(function.body, {})


def written(region: Region, renamed: dict[Value, Value]) -> None:
    """Write the powers of a region and of those inside; `renamed`: what stands for their results."""
    ops = region.ops[:]
    region.ops.clear()
    builder = Builder(region)
    for op in ops:
        op.operands = [renamed.get(v, v) for v in op.operands]
        exponent = small_exponent(op)
        if exponent is None:
            region.ops.append(op)
            for inner in op.regions:
                written(inner, renamed)
        else:
            with builder, builder.at(op.span):
                renamed[op.result] = product(builder, op.operands[0], exponent)


def small_exponent(op: Op) -> float | None:
    """The exponent of a power that shall be written as a product."""
    if op.name != "pow" or not op.result.dtype.is_float or op.operands[0].dtype is not op.result.dtype:
        return None
    exponent = op.operands[1]
    if not isinstance(exponent, Const):
        return None
    size = abs(float(exponent.value))
    allowed = (size.is_integer() and 1 <= size <= LARGEST) or (size % 1 == 0.5 and size <= LARGEST_HALF)
    return float(exponent.value) if allowed else None


def product(b: Builder, x: Value, exponent: float) -> Value:
    """x to the power of a whole number or of one and a half, say."""
    half, whole = math.modf(abs(exponent))
    factors = factors_of(b, x, int(whole))
    if half:
        factors.append(root(b, x, negative=int(whole) % 2 == 1))
    result = factors[0]
    for factor in factors[1:]:
        result = b.emit1("mul", [result, factor])
    return b.emit1("div", [const(1.0, x.dtype), result]) if exponent < 0 else result


def factors_of(b: Builder, x: Value, whole: int) -> list[Value]:
    """x, x**2, x**4, ..., those of which x**whole is the product (binary powering)."""
    found = []
    while whole:
        if whole & 1:
            found.append(x)
        whole >>= 1
        if whole:
            x = b.emit1("mul", [x, x])
    return found


def root(b: Builder, x: Value, negative: bool) -> Value:
    """The square root of x, where -inf and -0.0 have roots: inf and 0.0, or -inf and -0.0 if `negative`. Times an even
    or odd power of x, these give inf and 0.0."""
    found = b.emit1("sqrt", [x])
    if not negative:
        found = b.emit1("add", [found, const(0.0, x.dtype)])
    infinite = b.emit1("eq", [x, const(-math.inf, x.dtype)])
    return b.emit1("select", [infinite, const(-math.inf if negative else math.inf, x.dtype), found])
