"""Versions of a function for arrays of a few elements, whose extents are constants of the kernel.

In: a call. Out: the same call with the extents of its small arrays in their types (`with_extents`), and whether a
kernel made for these is worth it (`is_worthwhile`). In a program that steers itself by numbers, an optimizer's loop on
a point of the plane say, most time goes into allocating, counting references to and looping over arrays of two numbers;
where their extents are known, they are on the kernel's stack, if not in registers, and loops over them are written out.
The code is shorter, too:

    while (%x: f64[?] = ...) {                           while (%x: f64[2] = ...) {
      %n: i64 = dim %x {axis=0}
      %s: f64[?] = mul %rate, %slope         =>            %s: f64[2] = mul %rate, %slope
      ...

What is called with arrays of another size gets the version for all sizes, which is the only further one: a function is
compiled at most twice for arguments of the same types.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..codegen import entry
from ..ir.core import Function, Value, walk
from ..ir.types import Array
from .arguments import ZERO_D, Call
from .specialize import Specialization, Transform

__all__ = ["is_worthwhile", "may_fix_extents", "with_extents"]

LONGEST = 4
"""The largest extent of a small array."""


def may_fix_extents(transform: Transform) -> bool:
    """Whether there are such versions of a transform: not of halves that hand arrays to each other, not where memory is
    handed over, and only where the kernel itself looks at its arguments' extents."""
    return transform.kind != "vjp" and not transform.donate and not transform.loose and entry.supported()


def with_extents(call: Call) -> Call | None:
    """The call with the extents of its small arrays in their types; None where it has no small array."""
    types: list[Any] = []
    shapes: list[tuple[int, ...] | None] = []
    for x, t in zip(call.leaves, call.types, strict=True):
        shape: tuple[int, ...] | None = None
        if t is not None and isinstance(t[0], Array) and t[2] != ZERO_D and is_small(x.shape):
            shape = tuple(x.shape)
            t = (replace(t[0], dims=shape), *t[1:])
        types.append(t)
        shapes.append(shape)
    if not any(shapes):
        return None
    return Call(call.leaves, types, call.treespec, (call.key, tuple(shapes)))


def is_small(shape: tuple[int, ...]) -> bool:
    return max(shape) > 1 and all(1 <= n <= LONGEST for n in shape)


def is_worthwhile(spec: Specialization) -> bool:
    """Whether a function makes arrays of sizes it does not know in the turns of a `while`, and leaves its arguments as
    they are."""
    return not spec.written and not spec.donated and makes_arrays(spec.stages.optimized)


def makes_arrays(function: Function) -> bool:
    return any(
        is_open(result)
        for op in walk(function.body)
        if op.name == "while"
        for region in op.regions
        for inner in walk(region)
        if not inner.regions
        for result in inner.results
    )


def is_open(value: Value) -> bool:
    return isinstance(value.type, Array) and None in value.type.dims
