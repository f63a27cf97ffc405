"""Sections of machine code in which BLAS works on one thread.

In: an LLVM builder. Out: calls of two functions that are added to the module once. Sections nest, and may overlap in
several threads: the first to enter notes how many threads BLAS had, the last to leave puts that back. The words they
share are the process's (`codegen.blas_threads`), under a lock that is held for a few instructions.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .numba_parts import cgutils
from .scalars import integer

__all__ = ["enter", "leave"]

I32, I64 = ir.IntType(32), ir.IntType(64)


def enter(b: Any) -> None:
    """BLAS works alone from here."""
    b.call(section(b.module, "adjit_blas_enter", True), [])


def leave(b: Any) -> None:
    """The section ends here."""
    b.call(section(b.module, "adjit_blas_leave", False), [])


def section(module: ir.Module, name: str, enters: bool) -> Any:
    found = module.globals.get(name)
    if found is not None:
        return found
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), []), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    b = ir.IRBuilder(function.append_basic_block("entry"))
    kind = ir.ArrayType(I64, 3)
    words = module.globals.get("adjit_blas_words") or ir.GlobalVariable(module, kind, "adjit_blas_words")
    lock, inside, saved = (b.gep(words, [I32(0), I32(k)]) for k in range(3))
    get = cgutils.get_or_insert_function(module, ir.FunctionType(I32, []), "adjit_blas_threads")
    put = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [I32]), "adjit_set_blas_threads")
    wait, taken = b.append_basic_block("wait"), b.append_basic_block("taken")
    b.branch(wait)
    b.position_at_end(wait)
    tried = b.cmpxchg(lock, integer(0), integer(1), "acquire", "monotonic")
    b.cbranch(b.extract_value(tried, 1), taken, wait)
    b.position_at_end(taken)
    before = b.load(inside)
    after = b.add(before, integer(1 if enters else -1))
    b.store(after, inside)
    with b.if_then(b.icmp_signed("==", before if enters else after, integer(0))):
        if enters:
            b.store(b.sext(b.call(get, []), I64), saved)
        count = b.load(saved)
        with b.if_then(b.icmp_signed("!=", count, integer(1))):
            b.call(put, [I32(1) if enters else b.trunc(count, I32)])
    b.store_atomic(integer(0), lock, "release", 8)
    b.ret_void()
    return function
