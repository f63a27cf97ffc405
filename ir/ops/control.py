"""Control flow, checks and tapes: the operations that are not about elements.

In: the declaration helpers. Out: registry entries. Control flow is described in `ir.core`; here are its type rules.

Checks may end the program: they carry a message and stay in order. A check yields what it proved, so that what
depends on the proof depends on the check:

    %k: i64 = bound %i, %n {what="index", axis=0}     %i normalized to 0 <= %k < %n (negative counts from the end),
                                                      else IndexError
    %m: i64 = same_extent %n1, %n2 {what=...}         %n1, which equals %n2, else ValueError (shapes do not match)
    check %ok, %a, %b {error="AssertionError", message="…"}

Tapes are stacks, used linearly (every tape value has one consumer on every path):

    %t0: tape[f64] = tape.new
    %t1: tape[f64] = tape.push %t0, %v
    %t0: tape[f64], %v: f64 = tape.pop %t1            of arrays: tape.pop %t1, extents...
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Region, Value, builder
from ..types import BOOL, I64, Array, Scalar, Tape, Type, join_dims, make
from .declare import OpDef, declare, elementwise, extents_of, scalar_type, types_of

__all__ = ["join_types"]


def join_types(a: Type, b: Type, where: str) -> Type:
    """The type of a value that is `a` on one path and `b` on the other; TypeError where there is none."""
    if a == b:
        return a
    if isinstance(a, Array) and isinstance(b, Array) and a.dtype is b.dtype and a.rank == b.rank:
        return make(a.dtype, join_dims(a.dims, b.dims))
    raise TypeError(f"{where}: {a} does not agree with {b}")


def compatible(a: Type, b: Type) -> bool:
    """Whether a value of type `b` can be carried as `a`: equal up to extents that one of them leaves open."""
    if isinstance(a, Array) and isinstance(b, Array):
        same = a.dtype is b.dtype and a.rank == b.rank
        return same and all(x == y or x is None or y is None for x, y in zip(a.dims, b.dims, strict=True))
    return a == b


def infer_if(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    scalar_type(operands[0], "if", BOOL)
    then, other = (types_of(r.terminator.operands) for r in regions)
    if len(then) != len(other):
        raise TypeError("if: branches yield different numbers of values")
    return [join_types(a, b, "if") for a, b in zip(then, other, strict=True)]


def carried_types(args: list[Value], inits: list[Value], yielded: list[Value], where: str) -> list[Type]:
    if not len(args) == len(inits) == len(yielded):
        raise TypeError(f"{where}: {len(inits)} initial, {len(args)} carried, {len(yielded)} yielded values")
    for arg, init, new in zip(args, inits, yielded, strict=True):
        for x in (init, new):
            if not compatible(arg.type, x.type):
                raise TypeError(f"{where}: carried {arg.type} cannot hold {x.type}")
    return types_of(args)


def infer_for(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    lo, hi, *inits = operands
    scalar_type(lo, "for", I64)
    scalar_type(hi, "for", I64)
    (body,) = regions
    return carried_types(body.args[1:], inits, body.terminator.operands, "for")


def infer_while(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    before, body = regions
    scalar_type(before.terminator.operands[0], "while", BOOL)
    return carried_types(before.args, operands, body.terminator.operands, "while")


def nothing(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    return []


for name, rule in (("if", infer_if), ("for", infer_for), ("while", infer_while)):
    declare(OpDef(name, rule, category="control"))
for name in ("return", "yield", "test"):
    declare(OpDef(name, nothing, category="terminator", effect="terminator"))

# ---------------------------------------------------------------- checks

check = declare(OpDef("check", nothing, effect="check", category="check"))

bound = elementwise(
    "bound",
    lambda i, n: np.where(i < 0, i + n, i)[()],
    result=I64,
    effect="check",
)

same_extent = declare(
    OpDef(
        "same_extent",
        lambda operands, attrs, regions: [Scalar(I64)],
        evaluate=lambda a, b: a,
        effect="check",
        category="check",
        extents=lambda op: [[]],
    )
)

# ---------------------------------------------------------------- tapes


def infer_push(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    tape, value = operands
    if not isinstance(tape.type, Tape) or not isinstance(value.type, Scalar | Array):
        raise TypeError(f"tape.push: {tape.type}, {value.type}")
    join_types(tape.type.element, value.type, "tape.push")
    return [tape.type]


def infer_pop(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    tape, *extents = operands
    if not isinstance(tape.type, Tape) or len(extents) != tape.type.element.rank:
        raise TypeError(f"tape.pop: {tape.type} with {len(extents)} extents")
    return [tape.type, tape.type.element]


tape_new = declare(
    OpDef(
        "tape.new",
        lambda operands, attrs, regions: [Tape(attrs["element"])],
        evaluate=lambda *, element, stack=0: None,
        category="tape",
    )
)
tape_push = declare(
    OpDef(
        "tape.push",
        infer_push,
        evaluate=lambda tape, value: (tape, value),
        effect="tape",
        category="tape",
        vjp=lambda tape, value, *, dy: pop_like(dy, value),
    )
)
tape_pop = declare(
    OpDef(
        "tape.pop",
        infer_pop,
        evaluate=lambda tape, *extents: tape,
        effect="tape",
        category="tape",
        extents=lambda op: [[], op.operands[1:]],
        vjp=lambda tape, *extents, dy: (builder().emit1("tape.push", dy),),
    )
)


def pop_like(tape: Value, value: Value) -> tuple[Value, Value]:
    """The cotangents of a push: the tape's own, and the value's, popped from it."""
    rest, cotangent = builder().emit("tape.pop", [tape, *extents_of(value)])
    return rest, cotangent
