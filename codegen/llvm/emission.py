"""How machine code is made of a kernel's optimized LLVM module.

In: a scheduled function, and which of its loops were written as rows of vectors. Out: a context in which LLVM makes its
code.

*Running pointers.* Most of the time that a kernel of many loops takes from optimized LLVM to machine code goes into
*loop strength reduction*, which looks for the cheapest set of running pointers of each loop. It weighs every address of
a loop in every form against every number that the loops around it carry, and that is much in one function of a hundred
loops. Kernels gain nothing by it on average: their rows are contiguous, the optimizer has moved what does not change
out of the loops, and what is left are additions of constants, which an instruction's address has room for. So kernels
of `MANY` loops go without. What the pass makes of `x[i, j + 1]` in the row of a stencil, and what stands there without:

    add     rax, 32                                         add     rax, 4
    vmovupd ymm0, [rax + 8]                         =>      vmovupd ymm0, [rdx + 8*rax + 8]

Kernels in which a row of vectors (`row_vectors`) touches more places than there are registers for go without as well.
Such a row is no loop of its own, and the loop around it would carry a running pointer for each place: those that no
register is left for lie on the stack, and each turn adds to them there. The derivative of a stack of LSTM layers took
0.37 to 0.50 ms with them, as the stack happened to lie, and 0.34 without.

The switch is one of LLVM's command line, hence one of the process: it is set under Numba's compiler lock, which all
that compiles through Numba holds, and set back. Code that somebody else compiles in the meantime, through llvmlite and
without that lock, is as correct.

*Frames.* A row of several elementary functions needs more vectors at a time than there are registers. If LLVM finds
that out when it hands out registers, it is too late to align the frame, and a vector on the stack lies across two cache
lines or not as the stack happened to begin, from process to process. So a kernel with such a row has frames at
multiples of `LINE` bytes from the start. Others do not: it costs a register.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

from llvmlite import binding, ir

from ...ir.core import Function, Op, walk
from ..lower.loops import affine
from .row_vectors import elementary

__all__ = ["align_frames", "emission", "overflows", "without_strength_reduction"]

MANY = 42
"""Loops of a kernel whose machine code is made without the pass: it took a fifth to a third less time to compile, and
ran as fast, for all that were measured. Of those with fewer loops, some ran up to a tenth longer (alternating sweeps of
a tridiagonal solver, bundle adjustment in lanes), and there is less to gain."""
PLACES = 15
"""Places that a row touches, with a running pointer for each in the loop around it: the general registers of x86-64 but
for that of the stack."""
LINE = 64
"""Bytes of a cache line, and of the longest vectors."""
FUNCTIONS = 2
"""Elementary functions of a row that needs more vectors than there are registers."""
KNOWN = 22
"""The latest version of LLVM that is known to have the switch: it ends the process over one that it has not."""


def overflows(rows: Collection[Op]) -> bool:
    """Whether some row needs more vectors at a time than there are registers."""
    return any(sum(elementary(op) for op in row.regions[0].ops) >= FUNCTIONS for row in rows)


def align_frames(module: ir.Module) -> None:
    """Have the functions of a module begin their frames at a cache line."""
    for function in module.functions:
        if function.blocks:
            function.attributes.add("nounwind")  # llvmlite writes the alignment only next to another attribute
            function.attributes.alignstack = LINE


@contextmanager
def emission(function: Function, rows: Collection[Op] = ()) -> Iterator[None]:
    """In here, LLVM makes code as it suits a kernel. To be entered with Numba's compiler lock."""
    many = has_many_loops(function) or any(places(row) > PLACES for row in rows)
    if many and binding.llvm_version_info[0] <= KNOWN:
        with without_strength_reduction():
            yield
    else:
        yield


def has_many_loops(function: Function) -> bool:
    return sum(1 for op in walk(function.body) if op.name in ("for", "while")) >= MANY


def places(row: Op) -> int:
    """How many places the turns of a loop touch that differ by more than a constant."""
    found = set()
    for op in row.regions[0].ops:
        if op.name in ("buffer.load", "buffer.store"):
            buffer, *where = op.operands if op.name == "buffer.load" else op.operands[1:]
            found.add((buffer, tuple(frozenset(affine(p)[0].items()) for p in where)))
    return len(found)


@contextmanager
def without_strength_reduction() -> Iterator[None]:
    binding.set_option("adjit", "-disable-lsr=1")
    try:
        yield
    finally:
        binding.set_option("adjit", "-disable-lsr=0")
