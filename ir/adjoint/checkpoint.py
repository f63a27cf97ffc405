"""Loops and functions whose reverse sweep computes the forward sweep again instead of keeping it.

In: a function, or the parts of a `for`. Out: operations in their place, with the same results to the last bit, whose
reverse sweep keeps little.

`recomputed` marks the results of a function with a rule (`ir.ops.custom`): reverse mode over the function, forward
sweep included, at the place of the reverse sweep. So only what the function reads is kept in between.

`segmented` cuts a loop of T steps into segments, and each into segments of its own, so that only the carried values
at their starts are kept (snapshots). Segments become shorter towards the end, where more snapshots are held at the same
time: with two levels, c, c-1, ..., 1 steps, hence about sqrt(2 T) snapshots and steps on tape, for one more forward
sweep; with three, c(c+1)/2, ..., 3, 1 steps, about cbrt(6 T), for two more. These are the binomial schedules of
Griewank and Walther (Algorithm 799: revolve, ACM TOMS 26, 2000) for that many sweeps. `evenly` segmented, a loop keeps
the states at `SEGMENTS` steps, whatever T is, or at every eighth where these are fewer: for one more forward sweep, a
tape for so few steps that it stays in a cache, and memory that grows no faster than a state.

    %y: f64 = for %i in (0, %n) (%s = %x) {         %y: f64 = for %j in (0, %c) (%s = %x) {
      ...                                             %a: i64, %b: i64 = ... the j-th segment ...
                                            =>        %t: f64 = for %i in (%a, %b) (%u = %s) { ... }
      yield %t                                        %z: f64 = custom %s, %t, %a, %b, %s {recompute=func ...}
    }                                                 yield %z
                                                    }
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..core import Builder, Const, Function, Region, Value, builder, const
from ..ops import extents_of
from ..ops.callback import refuse_effects
from ..pipeline import optimize
from ..rewrite import clone_region, free_values, inline
from ..types import F64, I64, Scalar
from .activity import is_differentiable_type

__all__ = ["bytes_of", "capacity", "recomputed", "segmented"]

SEGMENTS = 512
SHORTEST = 8
"""The shortest segment of those of even length: to copy the state costs little next to so many steps."""


def recomputed(function: Function, operands: Sequence[Value]) -> list[Value]:
    """The results of `function` on `operands`; its reverse sweep will start from the operands."""
    refuse_effects(function.body, "a checkpoint")
    found = inline(function, operands)
    wrt = [v for v in operands if is_differentiable_type(v)]
    outs = [k for k, v in enumerate(found) if is_differentiable_type(v)]
    if not wrt or not outs:
        return found
    attrs = {"args": len(wrt), "outs": len(outs), "recompute": function}
    marked = builder().emit("custom", [*wrt, *(found[k] for k in outs), *operands], attrs)
    for k, value in zip(outs, marked, strict=True):
        found[k] = value
    return found


def segmented(
    lo: Value, hi: Value, inits: Sequence[Value], body: Region, reverse: bool, levels: int, evenly: bool = False
) -> list[Value]:
    """The results of ``for i in (lo, hi) (inits) body``, in segments of `levels` levels (1: the loop as it is)."""
    assert levels == 2 or not evenly
    free = free_values(body)
    carried = [Value(v.type, v.name) for v in body.args[1:]]
    return inline(level(body, free, carried, reverse, levels, evenly), [lo, hi, *inits, *free])


def level(
    body: Region, free: Sequence[Value], carried: Sequence[Value], reverse: bool, levels: int, evenly: bool = False
) -> Function:
    """The loop as a function of its bounds, its carried values and what it reads."""
    lo, hi = Value(Scalar(I64), "lo"), Value(Scalar(I64), "hi")
    begins = [Value(v.type, v.name) for v in carried]
    read = [Value(v.type, v.name) for v in free]
    region = Region([lo, hi, *begins, *read])
    attrs = {"reverse": reverse}
    with Builder(region, builder().span) as b:
        if levels == 1:
            inner = clone_region(body, dict(zip(free, read, strict=True)))
            ends = b.emit("for", [lo, hi, *begins], attrs, [inner])
        else:
            segment = level(body, free, carried, reverse, levels - 1)
            count = b.emit1("maximum", [hi - lo, const(0)])
            begin = even_segments(count) if evenly else binomial_segments(count, levels)
            turns = Region([Value(Scalar(I64), "segment"), *(Value(v.type, v.name) for v in carried)])
            with Builder(turns, b.span) as inside:
                j, *now = turns.args
                first, last = begin.step(j), begin.step(j + const(1))
                bounds = [hi - last, hi - first] if reverse else [lo + first, lo + last]
                inside.emit("yield", recomputed(segment, [*bounds, *now, *read]))
            ends = b.emit("for", [const(0), begin.segments, *begins], {"reverse": False}, [turns])
        b.emit("return", ends)
    return optimize(Function("segment" if levels == 1 else "segments", region))


@dataclass(frozen=True)
class Segments:
    """How many segments there are, and the step with which the k-th begins."""

    segments: Value
    step: Callable[[Value], Value]


def binomial_segments(count: Value, levels: int) -> Segments:
    """Segments that become shorter towards the end."""
    most = capacity(count, levels)
    total = steps(most, levels)
    return Segments(most, lambda k: builder().emit1("minimum", [total - steps(most - k, levels), count]))


def even_segments(count: Value) -> Segments:
    """Segments of one length (the last may be shorter)."""
    length = builder().emit1("maximum", [ceiling(count, const(SEGMENTS)), const(SHORTEST)])
    return Segments(ceiling(count, length), lambda k: builder().emit1("minimum", [k * length, count]))


def ceiling(a: Value, b: Value) -> Value:
    """a / b, rounded up."""
    return builder().emit1("floordiv", [a + b - const(1), b])


def steps(c: Value, levels: int) -> Value:
    """How many steps c snapshots are enough for, in so many levels: c, c(c+1)/2, c(c+1)(c+2)/6."""
    out, product = c, 1
    for k in range(1, levels):
        out = out * (c + const(k))
        product *= k + 1
    return builder().emit1("floordiv", [out, Const(product, I64)]) if product > 1 else out


def capacity(count: Value, levels: int) -> Value:
    """A number of snapshots with which `count` steps are possible: hardly more than the least."""
    number = builder().emit1("cast", [count], {"dtype": F64})
    if levels == 2:
        root = builder().emit1("sqrt", [number * const(2.0)])
    else:
        assert levels == 3, levels
        root = builder().emit1("cbrt", [number * const(6.0)])
    return builder().emit1("cast", [builder().emit1("ceil", [root])], {"dtype": I64}) + const(1)


def bytes_of(values: Sequence[Value]) -> Value:
    """The bytes of a state."""
    total: Value = const(0)
    for v in values:
        size: Value = Const(v.dtype.itemsize if v.is_array else 8, I64)
        for n in extents_of(v):
            size = size * n
        total = total + size
    return total
