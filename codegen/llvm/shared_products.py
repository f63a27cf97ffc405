"""Matrix products on several threads.

In: the function that computes a product on one thread. Out: a function that shares large products out to the pool of
`codegen.threads`, by rows of the product, or by columns where there are more of these. What is computed together
depends on extents alone, and in each part BLAS works alone: so products are the same from run to run, for any number of
threads.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ...ir.types import F64, DType
from ..threads import FORWARD
from . import alone
from .numba_parts import cgutils
from .scalars import integer, value_type

__all__ = ["gemm", "shared"]

I8, I32, I64 = (ir.IntType(n) for n in (8, 32, 64))
POINTER = I8.as_pointer()
PART = 1 << 19
"""The least number of multiplications in a part."""
PER_NANOSECOND = 16
"""Multiplications on one thread."""
PARTS = 16
NARROW = 128
"""The fewest rows (or columns) in a part: each part has BLAS rearrange all of the other factor."""
WIDTH = 16
"""Parts begin at multiples of this many rows or columns."""


def shared(module: ir.Module, name: str, whole: Any, dtype: DType, left: bool, right: bool) -> ir.Function:
    """f(out, a, b, rows, columns, inner, threads)"""
    found = module.globals.get(name)
    if found is not None:
        return found
    kinds = [a.type for a in whole.args]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [*kinds, I64]), name)
    function.linkage = "internal"
    context_type = ir.LiteralStructType([*kinds, I64])
    task = part_of(module, name, context_type, dtype, left, right)
    b = ir.IRBuilder(function.append_basic_block("entry"))
    context = b.alloca(context_type)
    *arguments, wanted = function.args
    rows, columns, inner = arguments[3:]
    longest = b.select(b.icmp_signed(">=", rows, columns), rows, columns)
    multiplications = b.mul(b.mul(rows, columns), inner)
    parts = b.udiv(multiplications, integer(PART))
    for most in (b.udiv(longest, integer(NARROW)), integer(PARTS)):
        parts = b.select(b.icmp_signed("<", parts, most), parts, most)
    for count in (2, 4, 8):  # a power of two: parts are shared out evenly
        between = b.and_(b.icmp_signed(">", parts, integer(count)), b.icmp_signed("<", parts, integer(2 * count)))
        parts = b.select(between, integer(count), parts)
    with b.if_then(b.icmp_signed("<=", parts, integer(1)), likely=False):
        b.call(whole, arguments)
        b.ret_void()
    for k, value in enumerate([*arguments, parts]):
        b.store(value, b.gep(context, [I32(0), I32(k)]))
    acquire = cgutils.get_or_insert_function(module, ir.FunctionType(I64, [I64, I64]), "adjit_threads_acquire")
    run = cgutils.get_or_insert_function(
        module, ir.FunctionType(ir.VoidType(), [POINTER, POINTER, I64, I64, I64]), "adjit_threads_run"
    )
    threads = b.call(acquire, [wanted, b.udiv(multiplications, integer(PER_NANOSECOND))])
    alone.enter(b)
    b.call(run, [b.bitcast(task, POINTER), b.bitcast(context, POINTER), parts, threads, integer(FORWARD)])
    alone.leave(b)
    b.ret_void()
    return function


def gemm(
    b: Any, places: Any, widths: Any, extents: Any, dtype: DType, left: bool, right: bool, add: bool = False
) -> None:
    """The product of parts of matrices: where they begin, how long the rows of their matrices are. BLAS thinks in
    columns: it is asked for the transpose of the product. `add`: it is added to what is there."""
    (out, x, y), (out_width, x_width, y_width), (rows, columns, inner) = places, widths, extents
    kind = value_type(dtype)
    generic = I8.as_pointer()
    signature = ir.FunctionType(
        I32, [I8, I8, I8, I64, I64, I64, generic, generic, I64, generic, I64, generic, generic, I64]
    )
    function = cgutils.get_or_insert_function(b.module, signature, "numba_xxgemm")

    def place(value: float) -> Any:
        return b.bitcast(cgutils.alloca_once_value(b, ir.Constant(kind, value)), generic)

    def letter(text: str) -> ir.Constant:
        return I8(ord(text))

    def memory(pointer: Any) -> Any:
        return b.bitcast(pointer, generic)

    b.call(
        function,
        [letter("d" if dtype is F64 else "s"), letter("T" if right else "N"), letter("T" if left else "N")]
        + [columns, rows, inner, place(1.0), memory(y), y_width]
        + [memory(x), x_width, place(float(add)), memory(out), out_width],
    )


def part_of(module: ir.Module, name: str, context_type: Any, dtype: DType, left: bool, right: bool) -> ir.Function:
    """The task of the pool: one part of the product."""
    task = ir.Function(module, ir.FunctionType(I64, [POINTER, I64, I64]), f"{name}.part")
    task.linkage = "internal"
    b = ir.IRBuilder(task.append_basic_block("entry"))
    context = b.bitcast(task.args[0], context_type.as_pointer())
    words = [b.load(b.gep(context, [I32(0), I32(k)])) for k in range(len(context_type.elements))]
    out, x, y, rows, columns, inner, parts = words
    by_rows = b.icmp_signed(">=", rows, columns)
    longest = b.select(by_rows, rows, columns)
    size = b.udiv(b.add(longest, b.sub(parts, integer(1))), parts)
    size = b.and_(b.add(size, integer(WIDTH - 1)), integer(-WIDTH))

    def least(value: Any) -> Any:
        return b.select(b.icmp_signed("<", value, longest), value, longest)

    begin = least(b.mul(task.args[1], size))
    count = b.sub(least(b.add(begin, size)), begin)
    widths = (columns, rows if left else inner, inner if right else columns)
    with b.if_then(b.icmp_signed(">", count, integer(0))):
        with b.if_else(by_rows) as (then, otherwise):
            with then:
                places = (
                    b.gep(out, [b.mul(begin, columns)]),
                    b.gep(x, [begin if left else b.mul(begin, inner)]),
                    y,
                )
                gemm(b, places, widths, (count, columns, inner), dtype, left, right)
            with otherwise:
                places = (b.gep(out, [begin]), x, b.gep(y, [b.mul(begin, inner) if right else begin]))
                gemm(b, places, widths, (rows, count, inner), dtype, left, right)
    b.ret(integer(0))
    return task
