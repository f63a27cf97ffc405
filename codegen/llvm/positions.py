"""The positions where a mask is true, in machine code.

In: memory of the mask and of as many positions as it has, both in C order. Out: a call of a function that is added to
the module once; it does what `nonzero` of `codegen.primitives.order` does, which takes Numba's front end longer than
the rest of a small kernel.

Where one of more than `SPARSE` elements is true, eight elements at a time are one word, mostly of zeros:

    words:   %word = load i64, the next eight           %more = icmp ne i64 %word, 0
    bits:    out[found] = 8 * words + cttz(%word) / 8   found += 1     %word = %word & (%word - 1)

Else each is written, and the next one over it if it was none, without a branch. That loop begins at a multiple of 32
bytes: processors fetch instructions in such pieces, and so short a loop takes half as long again where it lies across
two of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir

from .loop_hints import Hints
from .memory import Memories, Memory
from .numba_parts import cgutils
from .scalars import integer

__all__ = ["positions"]

I1, I8, I64 = ir.IntType(1), ir.IntType(8), ir.IntType(64)
NAME = "adjit_positions"
SPARSE = 8
"""Elements of which one is true, at least, where each position is written."""


def positions(memories: Memories, out: Memory, mask: Memory) -> bool:
    """Write the positions where the mask is true; False where its memory needs the general way."""
    if sys.byteorder != "little" or out.strides is not None or mask.strides is not None:
        return False
    (count,), (size,) = out.extents, mask.extents
    memories.b.call(function_in(memories.module), [out.data, mask.data, count, size])
    return True


def function_in(module: ir.Module) -> ir.Function:
    """f(out, mask, how many are true, how many there are)"""
    found = module.globals.get(NAME)
    if found is not None:
        return found
    kinds = [I64.as_pointer(), I8.as_pointer(), I64, I64]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), NAME)
    function.linkage = "internal"
    function.attributes.add("noinline")
    for argument in function.args[:2]:
        argument.add_attribute("noalias")
    out, mask, count, size = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    found = cgutils.alloca_once_value(b, integer(0))
    with b.if_then(b.icmp_signed("<", b.mul(count, integer(SPARSE)), size)):
        few_positions(b, out, mask, size, found)
        b.ret_void()
    many_positions(b, out, mask, count, found)
    b.ret_void()
    return function


def few_positions(b: Any, out: Any, mask: Any, size: Any, found: Any) -> None:
    """Word by word, then what is left; `found`: where the number of those that were found stands."""

    def write(position: Any) -> None:
        number = b.load(found)
        b.store(position, b.gep(out, [number], inbounds=True))
        b.store(b.add(number, integer(1)), found)

    words = b.lshr(size, integer(3))
    rest = cgutils.alloca_once(b, I64)
    with cgutils.for_range(b, words) as loop:
        start = b.shl(loop.index, integer(3))
        place = b.bitcast(b.gep(mask, [start], inbounds=True), I64.as_pointer())
        b.store(b.load(place, align=1), rest)
        with while_(b, lambda: b.icmp_unsigned("!=", b.load(rest), integer(0))):
            word = b.load(rest)
            write(b.add(start, b.lshr(b.cttz(word, I1(1)), integer(3))))
            b.store(b.and_(word, b.sub(word, integer(1))), rest)
    with cgutils.for_range_slice(b, b.shl(words, integer(3)), size, integer(1)) as (position, _):
        with b.if_then(b.icmp_unsigned("!=", b.load(b.gep(mask, [position], inbounds=True)), I8(0))):
            write(position)


def many_positions(b: Any, out: Any, mask: Any, count: Any, found: Any) -> None:
    """Every position, where the next true one belongs: there are `count`, so that is a place in `out`."""
    position = cgutils.alloca_once_value(b, integer(0))
    with while_(b, lambda: b.icmp_signed("<", b.load(found), count), aligned=True):
        at, number = b.load(position), b.load(found)
        b.store(at, b.gep(out, [number], inbounds=True))
        one = b.zext(b.load(b.gep(mask, [at], inbounds=True)), I64)
        b.store(b.add(number, one), found)
        b.store(b.add(at, integer(1)), position)


@contextmanager
def while_(b: Any, condition: Callable[[], Any], aligned: bool = False) -> Iterator[None]:
    """A loop around what is written in here, tested before each turn."""
    body, after = b.append_basic_block("while.body"), b.append_basic_block("while.end")
    b.cbranch(condition(), body, after)
    b.position_at_end(body)
    yield
    back = b.cbranch(condition(), body, after)
    if aligned:
        Hints(b.module).align(back)
    b.position_at_end(after)
