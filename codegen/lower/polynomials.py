"""Integers of a schedule as polynomials, and how far apart two positions are.

In: i64 values. Out: polynomials in those values that are no sums or products themselves (extents, loop indices, what is
read from memory), bounds of polynomials over the ranges of loop indices, and proofs that one is never negative.

    %16: i64 = mul %c, %13                 with %13 = n n:    c n n
    %39: i64 = add (mul %i, n), %j                            c n n + i n + j
    %40: i64 = add %16, %39                for i, j < n:      c n n up to c n n + n n - 1

so that positions `%40` of different turns of the loop over `%c` are different.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...ir.core import Const, Value
from ...ir.types import I64, Scalar

__all__ = [
    "Polynomial",
    "Range",
    "add",
    "bound_above",
    "bound_below",
    "constant",
    "expand",
    "is_atom",
    "multiply",
    "never_negative",
    "scale",
]

Polynomial = dict[tuple[Value, ...], int]
"""Coefficients by monomials; a monomial is its factors, sorted."""
Same = Callable[[Value], Value]
"""One value for all that are known to be equal."""
TERMS = 40  # polynomials of more are not looked at


@dataclass(frozen=True)
class Range:
    """A loop index runs from `lo` to `last`, both included."""

    index: Value
    lo: Polynomial
    last: Polynomial


def constant(number: int) -> Polynomial:
    return {(): number} if number else {}


def add(a: Polynomial, b: Polynomial, times: int = 1) -> Polynomial:
    out = dict(a)
    for monomial, coefficient in b.items():
        out[monomial] = out.get(monomial, 0) + times * coefficient
    return {m: c for m, c in out.items() if c}


def scale(a: Polynomial, by: int) -> Polynomial:
    return add({}, a, by)


def multiply(a: Polynomial, b: Polynomial) -> Polynomial:
    out: Polynomial = {}
    for m, c in a.items():
        for n, d in b.items():
            key = tuple(sorted((*m, *n), key=id))
            out[key] = out.get(key, 0) + c * d
    return {m: c for m, c in out.items() if c}


def expand(value: Value, same: Same, known: Mapping[Value, Polynomial] | None = None) -> Polynomial:
    """A value as a polynomial; `known`: values that have one already."""
    if known is not None and value in known:
        return known[value]
    if isinstance(value, Const):
        return constant(int(value.value))
    op = value.op
    if op is not None and op.name in ("add", "sub", "mul", "neg") and value.type == Scalar(I64):
        parts = [expand(x, same, known) for x in op.operands]
        if op.name == "neg":
            return scale(parts[0], -1)
        if op.name != "mul":
            return add(parts[0], parts[1], 1 if op.name == "add" else -1)
        if len(parts[0]) * len(parts[1]) <= TERMS:
            return multiply(*parts)
    equal = same(value)
    return constant(int(equal.value)) if isinstance(equal, Const) else {(equal,): 1}


def is_atom(value: Value) -> bool:
    """Whether `expand` takes a value as it is."""
    return not isinstance(value, Const) and expand(value, lambda v: v) == {(value,): 1}


def never_negative_value(value: Value, indices: frozenset[Value] = frozenset()) -> bool:
    """Whether a value is at least 0 wherever it is used; `indices`: loop indices of which that is known."""
    if isinstance(value, Const):
        return int(value.value) >= 0
    if value in indices:
        return True
    op = value.op
    if op is None:
        return False
    if op.name in ("buffer.dim", "bound"):
        return True
    if op.name in ("minimum", "add", "mul"):
        return all(never_negative_value(x, indices) for x in op.operands)
    if op.name in ("maximum", "same_extent"):
        return any(never_negative_value(x, indices) for x in op.operands)
    return False


def never_negative(p: Polynomial, indices: frozenset[Value] = frozenset()) -> bool:
    """Whether a polynomial is at least 0, as far as its monomials tell one by one."""
    return all(c > 0 and all(never_negative_value(v, indices) for v in m) for m, c in p.items())


def bound_above(p: Polynomial, ranges: Sequence[Range]) -> Polynomial | None:
    """The largest that `p` gets while indices run through their ranges (an inner range may depend on an outer index);
    None where that cannot be told."""
    for k in reversed(range(len(ranges))):
        outer = frozenset(r.index for r in ranges[:k] if never_negative(r.lo))
        found = replaced(p, ranges[k], outer)
        if found is None:
            return None
        p = found
    return p


def bound_below(p: Polynomial, ranges: Sequence[Range]) -> Polynomial | None:
    """The smallest that `p` gets, as `bound_above`."""
    found = bound_above(scale(p, -1), ranges)
    return None if found is None else scale(found, -1)


def replaced(p: Polynomial, range_: Range, outer: frozenset[Value]) -> Polynomial | None:
    out: Polynomial = {}
    for monomial, coefficient in p.items():
        times = monomial.count(range_.index)
        if not times:
            out = add(out, {monomial: coefficient})
            continue
        rest = tuple(v for v in monomial if v is not range_.index)
        if times > 1 or not all(never_negative_value(v, outer) for v in rest):
            return None
        end = range_.last if coefficient > 0 else range_.lo
        out = add(out, multiply({rest: coefficient}, end))
        if len(out) > TERMS:
            return None
    return out
