"""Broadcasting: the common shape of arrays, and arrays repeated to it.

In: extents as IR values. Out: the extents of the result, checked at run time where they are not known to fit, and
values of that shape. What was compared is remembered. An extent of 1 may be

* known from the type: of an argument it belongs to the signature;
* at most 1 by construction (`x[i:i+1]`, `x[-1:]`, in `Tracer.short`): `stretch` repeats it at run time;
* 1 by chance (`x[:n]`, `np.zeros(n)`): the program is compiled for extents that are equal, which loops over them are
  faster for. Where it meets a 1, the check fails with `repeats`, and it is traced again, `Tracer.loose`, with
  `stretch` here too.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Const, Value
from ..ir.types import I64
from . import integers
from .context import Tracer

__all__ = ["agree", "broadcast_shapes", "broadcast_to", "fits"]

Extents = list[Value]


def may_be_one(t: Tracer, extent: Value) -> bool:
    """Whether an extent that is not known while tracing is to be treated as one that can be 1."""
    return (t.loose or extent in t.short) and could_be_one(t, extent)


def could_be_one(t: Tracer, extent: Value) -> bool:
    """Whether an extent can be 1 (an open one of an argument cannot: its type would say)."""
    if integers.known(extent) is not None:
        return False
    op = extent.op
    if op is not None and op.name == "dim":
        return not any(op.operands[0] is v for v in t.captures.values)
    return True


def broadcast_shapes(t: Tracer, shapes: Sequence[Sequence[Value]], what: str) -> Extents:
    """The common extents of shapes under broadcasting."""
    rank = max(len(s) for s in shapes)
    out: Extents = []
    for k in range(rank):
        chosen: Value = Const(1, I64)
        for shape in shapes:
            at = k - rank + len(shape)
            if at >= 0:
                chosen = joined(t, chosen, shape[at], f"{what} could not be broadcast together")
        out.append(chosen)
    return out


def joined(t: Tracer, a: Value, b: Value, what: str) -> Value:
    """The extent of two together."""
    if integers.known(b) == 1 or integers.same(a, b):
        return a
    if integers.known(a) == 1:
        return b
    first, second = may_be_one(t, a), may_be_one(t, b)
    if not first and not second:
        return agree(t, a, b, what, repeats=could_be_one(t, a) or could_be_one(t, b))
    if not first:
        return fits(t, a, b, what)
    if not second:
        return fits(t, b, a, what)
    if proven(t, a, b):
        return a
    ones = [t.emit1("eq", [x, Const(1, I64)]) for x in (a, b)]
    equal = t.emit1("eq", [a, b])
    check(t, t.emit1("logical_or", [equal, t.emit1("logical_or", ones)]), a, b, what)
    out = t.emit1("select", [ones[0], b, a])
    t.nonnegative.add(out)
    return out


def fits(t: Tracer, target: Value, own: Value, what: str) -> Value:
    """`target`, checked to be what an extent `own` can be repeated to: the same, unless `own` is 1."""
    if integers.known(own) == 1 or integers.same(target, own) or proven(t, target, own):
        return target
    if not may_be_one(t, own):
        return agree(t, target, own, what, repeats=could_be_one(t, own))
    fine = t.emit1("logical_or", [t.emit1("eq", [own, target]), t.emit1("eq", [own, Const(1, I64)])])
    check(t, fine, target, own, what)
    return target


def check(t: Tracer, fine: Value, a: Value, b: Value, what: str) -> None:
    t.emit("check", [fine, a, b], {"error": "ShapeError", "message": f"{what}: {{0}} and {{1}}"})


def proven(t: Tracer, a: Value, b: Value) -> bool:
    """Whether two extents have been compared where we are."""
    region = t.equal.get(frozenset((a, b)))
    return region is not None and t.visible(region)


def agree(t: Tracer, a: Value, b: Value, what: str, repeats: bool = False) -> Value:
    """One of two extents that must be equal (checked at run time where that is not known); `what` is wrong if not.

    `repeats`: NumPy would repeat an extent of 1.
    """
    if integers.same(a, b):
        return a
    x, y = integers.known(a), integers.known(b)
    if x is not None and y is not None:
        t.shape_error(f"{what}: extents {x} and {y}")
    if x is not None:
        a, b = b, a
    if not proven(t, a, b):
        t.emit1("same_extent", [a, b], {"what": what, **({"repeats": True} if repeats else {})})
        t.equal[frozenset((a, b))] = t.region
    return b if x is not None else a


def broadcast_to(t: Tracer, value: Value, own: Sequence[Value], target: Sequence[Value]) -> Value:
    """An array value of extents `own` repeated to extents `target` (which it is known to fit)."""
    if not value.is_array:
        return value
    offset = len(target) - len(own)
    loose = [
        not integers.same(a, b) and may_be_one(t, a) and integers.known(b) != 1 and not proven(t, a, b)
        for a, b in zip(own, target[offset:])
    ]
    if any(loose):
        extents = [b if free else a for a, b, free in zip(own, target[offset:], loose)]
        steps = [step(t, a) if free else Const(1, I64) for a, free in zip(own, loose)]
        value, own = t.emit1("stretch", [value, *extents, *steps]), extents
    if offset == 0 and all(integers.known(a) != 1 or integers.known(b) == 1 for a, b in zip(own, target)):
        return value
    return t.emit1("broadcast", [value, *target], {"axes": tuple(range(offset, len(target)))})


def step(t: Tracer, extent: Value) -> Value:
    """0 where an extent is 1, else 1."""
    out = t.emit1("cast", [t.emit1("ne", [extent, Const(1, I64)])], {"dtype": I64})
    t.nonnegative.add(out)
    return out
