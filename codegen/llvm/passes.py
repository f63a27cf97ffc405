"""Which of LLVM's passes a kernel goes through.

In: the LLVM module of a kernel, as `lowering` wrote it and with what it calls linked in. Out: the same module,
optimized.

Numba optimizes each function, then the module cheaply, then the module thoroughly: its own code is full of stack slots
and of functions to be inlined. `lowering` writes one function in registers, so the first round is left out. The last
one is LLVM's -O3 without unrolling, which adds much to code size, hence to the time to compile, and gains nothing
measurable in kernels whose hot loops are vectorized (with interleaving, which stays). Loops that run a small, constant
number of times are unrolled all the same: `loop_hints` marks them. Kernels of `LARGE` operations go through -O2: what
-O3 adds are copies of loops for either side of a test that does not change in them, up to two fifths of the time that
such a kernel takes to compile, and none of them ran faster for it.

Before:

    br i1 %again, label %loop, label %endloop

with `loop_hints`:

    br i1 %again, label %loop, label %endloop, !llvm.loop !7      !7 = !{ !7, !8 }   !8 = !{ !"llvm.loop.unroll.full" }
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding

from ...ir.core import Const, Function, Op, walk

__all__ = [
    "is_large",
    "is_short",
    "optimize",
    "reads_neighbours",
    "speed_level",
]

TURNS = 8
"""The most turns of a loop that is unrolled."""
OPERATIONS = 96
"""And the most operations that it becomes."""


LARGE = 1100
"""Operations of a kernel that is compiled quickly. Some smaller ones (a factorization by dot products, means of
clusters) take up to a tenth longer by -O2."""


def optimize(module: Any, target: Any, neighbours: bool = True, speed: int = 3) -> None:
    """Optimize a module for a target machine. `neighbours`: numbers next to each other may be read and written as one
    vector (`reads_neighbours`); `speed`: LLVM's level (`speed_level`)."""
    first = binding.create_new_module_pass_manager()
    first.add_always_inliner_pass()
    first.add_loop_rotate_pass()  # what follows knows more loops, and vectorizes them, in this form
    first.add_instruction_combine_pass()
    first.add_jump_threading_pass()
    first.add_refprune_pass()  # while a retain and its release still stand close together
    first.run(module, builder(target, neighbours, speed))
    thorough = builder(target, neighbours, speed)
    thorough.getModulePassManager().run(module, thorough)


def builder(target: Any, neighbours: bool, speed: int) -> Any:
    """What makes managers of passes for a target machine."""
    options = binding.create_pipeline_tuning_options(speed_level=speed)
    options.loop_vectorization = options.loop_interleaving = True
    options.slp_vectorization = neighbours
    options.loop_unrolling = False  # where nothing asks for it
    return binding.create_pass_builder(target, options)


def speed_level(function: Function) -> int:
    """By which of LLVM's levels a kernel is optimized."""
    return 2 if is_large(function) else 3


def is_large(function: Function) -> bool:
    """Whether a kernel is to be compiled quickly."""
    return sum(1 for _ in walk(function.body)) >= LARGE


def reads_neighbours(function: Function) -> bool:
    """Whether numbers next to each other are read and written as vectors outside of vectorized loops (LLVM's SLP): not
    where a `while` goes on as its numbers say. Its turns read what the one before has just written, and to read as one
    vector what was written as two numbers waits until both are in memory: in the sweep back through the expansion of a
    determinant, a third of the time."""
    return not any(op.name == "while" for op in walk(function.body))


def is_short(loop: Op) -> bool:
    """Whether a `for` is to be unrolled: so many turns at most, known now, and no loops inside but such ones."""
    low, high = loop.operands[:2]
    if loop.attrs.get("functions"):  # to be made a vector of
        return False
    if not isinstance(low, Const) or not isinstance(high, Const):
        return False
    turns = high.value - low.value
    if not 1 < turns <= TURNS:
        return False
    inside = list(walk(loop.regions[0]))
    if turns * len(inside) > OPERATIONS:
        return False
    return all(op.name not in ("while", "buffer.call") and (op.name != "for" or is_short(op)) for op in inside)
