"""How machine code is made of a kernel's optimized LLVM module.

In: a scheduled function. Out: a context in which LLVM makes its code.

Most of the time that a kernel of many loops takes from optimized LLVM to machine code goes into *loop strength
reduction*, which looks for the cheapest set of running pointers of each loop. It weighs every address of a loop in
every form against every number that the loops around it carry, and that is much in one function of a hundred loops.
Kernels gain nothing by it on average: their rows are contiguous, the optimizer has moved what does not change out of
the loops, and what is left are additions of constants, which an instruction's address has room for. So kernels of
`MANY` loops go without. What the pass makes of `x[i, j + 1]` in the row of a stencil, and what stands there without it:

    add     rax, 32                                         add     rax, 4
    vmovupd ymm0, [rax + 8]                         =>      vmovupd ymm0, [rdx + 8*rax + 8]

The switch is one of LLVM's command line, hence one of the process: it is set under Numba's compiler lock, which all
that compiles through Numba holds, and set back. Code that somebody else compiles in the meantime, through llvmlite and
without that lock, is as correct.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import binding

from ...ir.core import Function, walk

__all__ = ["emission", "without_strength_reduction"]

MANY = 42
"""Loops of a kernel whose machine code is made without the pass: it took a fifth to a third less time to compile, and
ran as fast, for all that were measured. Of those with fewer loops, some ran up to a tenth longer (alternating sweeps of
a tridiagonal solver, bundle adjustment in lanes), and there is less to gain."""
KNOWN = 22
"""The latest version of LLVM that is known to have the switch: it ends the process over one that it has not."""


@contextmanager
def emission(function: Function) -> Iterator[None]:
    """In here, LLVM makes code as it suits a kernel. To be entered with Numba's compiler lock."""
    if has_many_loops(function) and binding.llvm_version_info[0] <= KNOWN:
        with without_strength_reduction():
            yield
    else:
        yield


def has_many_loops(function: Function) -> bool:
    return sum(1 for op in walk(function.body) if op.name in ("for", "while")) >= MANY


@contextmanager
def without_strength_reduction() -> Iterator[None]:
    binding.set_option("adjit", "-disable-lsr=1")
    try:
        yield
    finally:
        binding.set_option("adjit", "-disable-lsr=0")
