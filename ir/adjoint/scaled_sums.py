"""Sums of multiples: where the sum of an array is known, the sum of its multiple is a multiple of it.

In: the cotangent of a scalar that every element of an array saw, before it is summed; the sums that the primal has
computed at its top level. Out: that sum, without going over the array, or None where none of them helps.

Before, for `e = exp(x - top)`, `s = sum(e)`, of which `c` is the cotangent of `s`:

    %x_adj: f64[?] = mul %c, %e
    %d: f64[?] = neg %x_adj
    %top_adj: f64 = reduce_sum %d {axes=(0,)}

After:

    %p: f64 = mul %c, %s
    %t: f64 = neg %p
    %q: bool = isfinite %t
    %top_adj: f64 = if %q {
      yield %t
    } else {
      %u: f64 = reduce_sum %d {axes=(0,)}
      yield %u
    } with {rare=1}

If the multiple of the sum is finite, so are the sum, every element, and the factor; both ways then differ by rounding
alone. If it is not, elements decide, as they would have: an infinite sum of finite elements times 0 is not 0. That
branch is marked as one that is hardly ever run: what it computes again need not be kept (`codegen.lower.fusion`).

Where `%c` is a quotient by `%s` itself, as after a logarithm, the two cancel: of `%c = div %seed, %s`, the first branch
yields `-%seed`, where `(seed / s) * s` would differ from it in the last bit. What adds `%seed` to it, as
`top + log(sum(exp(x - top)))` does, is then 0, and not 1e-16 for every element that is the maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..core import Builder, Const, Function, Region, Value, builder
from ..ops.reduce import CANCELS

__all__ = ["total", "total_sums"]


def total_sums(function: Function) -> dict[Value, Value]:
    """The sums of all elements of arrays that a function computes whatever happens, by the array."""
    return {
        op.operands[0]: op.result
        for op in function.body.ops
        if op.name == "reduce_sum" and not op.result.is_array and op.result.dtype.is_float
    }


def total(value: Value, sums: Mapping[Value, Value], residual: Callable[[Value], Value]) -> Value | None:
    """The sum of all elements of a cotangent, if one of `sums` gives it. `residual` stands in for a primal value."""
    multiple = multiple_of_sum(value, sums, residual)
    if multiple is None:
        return None
    exact = without_quotients(multiple)
    known = [multiple] if exact is None else [multiple, exact]
    function = finite_or_summed(value, known)
    if exact is not None:
        function.attrs[CANCELS] = True
    return builder().emit1("call", [value, *known], {"function": function})


def multiple_of_sum(value: Value, sums: Mapping[Value, Value], residual: Callable[[Value], Value]) -> Value | None:
    """The sum of an array that is a multiple of one whose sum is known, or that one itself."""
    op = value.op
    if op is None:
        return None
    if op.name == "residual":
        known = sums.get(op.attrs["of"])
        return None if known is None else residual(known)
    if op.name == "neg":
        below = multiple_of_sum(op.operands[0], sums, residual)
        return None if below is None else -below
    if op.name == "mul":
        for factor, array in (op.operands, op.operands[::-1]):
            scalar = uniform(factor)
            if scalar is not None and array.is_array:
                below = multiple_of_sum(array, sums, residual)
                if below is not None:
                    return scalar * below
    if op.name == "div":
        scalar = uniform(op.operands[1])
        below = (
            multiple_of_sum(op.operands[0], sums, residual) if scalar is not None and op.operands[0].is_array else None
        )
        if scalar is not None and below is not None:
            return below / scalar
    return None


def uniform(value: Value) -> Value | None:
    """The scalar that every element of a value is."""
    if not value.is_array:
        return value
    op = value.op
    if op is not None and op.name in ("fill", "broadcast") and not op.operands[0].is_array:
        return op.operands[0]
    return None


def without_quotients(product: Value) -> Value | None:
    """A product of scalars without what is both a factor and a divisor of it; None where nothing is."""
    negative, factors, divisors = parts(product)
    left = []
    for factor in factors:
        same = next((divisor for divisor in divisors if is_same(factor, divisor)), None)
        if same is None:
            left.append(factor)
        else:
            divisors.remove(same)
    if len(left) == len(factors):
        return None
    out: Value = left.pop(0) if left else Const(1.0, product.dtype)
    for factor in left:
        out = out * factor
    for divisor in divisors:
        out = out / divisor
    return -out if negative else out


def parts(product: Value) -> tuple[bool, list[Value], list[Value]]:
    """Whether a product of scalars is one with a minus sign, its factors and its divisors; without ones."""
    op = product.op
    if op is None or op.name not in ("neg", "mul", "div"):
        one = isinstance(product, Const) and product.value == 1.0
        return False, [] if one else [product], []
    negative, factors, divisors = parts(op.operands[0])
    if op.name == "neg":
        return not negative, factors, divisors
    other, *more = parts(op.operands[1])
    if op.name == "div":
        more.reverse()
    return negative != other, factors + more[0], divisors + more[1]


def is_same(a: Value, b: Value) -> bool:
    """Whether two scalars are one, or stand in for one value of the primal."""
    if a is b:
        return True
    of = [None if v.op is None or v.op.name != "residual" else v.op.attrs["of"] for v in (a, b)]
    return of[0] is not None and of[0] is of[1]


def finite_or_summed(value: Value, known: Sequence[Value]) -> Function:
    """Of an array and what its sum should be: the last of that, if all of it is finite, else the sum."""
    array, *sums = (Value(v.type, v.name) for v in (value, *known))
    body, kept, summed = Region([array, *sums]), Region(), Region()
    with Builder(kept) as b:
        b.emit("yield", [sums[-1]])
    with Builder(summed) as b:
        b.emit("yield", [b.emit1("reduce_sum", [array], {"axes": tuple(range(array.rank))})])
    with Builder(body) as b:
        finite = b.emit1("isfinite", [sums[0]])
        for other in sums[1:]:
            finite = b.emit1("logical_and", [finite, b.emit1("isfinite", [other])])
        b.emit("return", [b.emit1("if", [finite], {"rare": 1}, regions=[kept, summed])])
    return Function("total", body)
