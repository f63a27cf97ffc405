"""The suite `gradbench`: adjit's derivatives of GradBench's programs against references and other tools.

In: the table of rows. Out: for each row times of primals and derivatives of all sides, interleaved, first calls, and
the growth of memory. adjit's derivative is checked against a difference quotient (of the plain program at a small
input, of the compiled one at the row's), the other sides' results against adjit's: a side that disagrees or fails is
not timed, and a note says so.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from ..api import jit
from .agreement import agree, reason
from .options import Contender, Options, Unavailable, start_jax
from .results import Row
from .rows import PROGRAMS, ROWS, GradBenchRow, Program
from .timing import Effort, Side, Watch, first_call, interleaved
from .worker import ask

__all__ = ["contender", "measure", "names"]

FEW_PAGES = 1 << 18
"""Bytes of memory that may be other things' than a call's."""
PROCESSES = 5
"""How many processes are asked, at most, for so few."""
TRIAL = Effort(seconds=0.2, sample=0.002, least=3, most=10)


def names(options: Options) -> Sequence[str]:
    """All rows."""
    return [row.name for row in ROWS]


def found(name: str) -> GradBenchRow:
    """The row of that name."""
    return next(row for row in ROWS if row.name == name)


def arguments_of(row: GradBenchRow, program: Program, options: Options) -> tuple[Any, ...]:
    """At a row's sizes; the small ones where it shall be quick."""
    return program.arguments(options.data, program.small if options.quick else row.sizes)


def module_of(peer: str, program: str) -> ModuleType:
    """Where a peer's functions are. `Unavailable` where nobody has written them."""
    name = f".reference.{program}" if peer == "numba" else f".peers.{peer}_{program}"
    try:
        return importlib.import_module(name, __package__)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{__package__}{name}".startswith(error.name):
            raise Unavailable(f"{peer} has no {program}") from None
        raise


def contender(name: str, side: str, options: Options) -> Contender:
    """A side of a row. adjit's is the first of several derivatives; see `measure` for the fastest."""
    row = found(name)
    program = PROGRAMS[row.program]
    arguments = arguments_of(row, program, options)
    if side == "adjit":
        return ours(program, arguments, next(iter(program.derivatives.values())), options)
    return theirs(side, row.program, arguments)


def ours(program: Program, arguments: tuple[Any, ...], derivative: Callable[..., Any], options: Options) -> Contender:
    """adjit's side."""
    chosen = options.transforms()
    primal = None if program.primal is None else jit(program.primal, **chosen)
    return Contender("adjit", arguments, derivative(**chosen), primal)


def theirs(peer: str, program: str, arguments: tuple[Any, ...]) -> Contender:
    """A peer's side. Of a program that contains its own derivatives nothing is a primal."""
    module = module_of(peer, program)
    if peer == "jax":
        arguments = placed(arguments)
    primal = None if PROGRAMS[program].primal is None else getattr(module, "primal", None)
    return Contender(peer, arguments, getattr(module, "derivative", None), primal)


def placed(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays as JAX's, so that a timed call converts none; integers inside of a structure (the hand's skeleton) decide
    what is traced, and stay NumPy's."""
    jax = start_jax()

    def inner(x: Any) -> Any:
        return jax.device_put(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x

    return tuple(jax.device_put(x) if isinstance(x, np.ndarray) else jax.tree.map(inner, x) for x in arguments)


def fastest(program: Program, arguments: tuple[Any, ...], options: Options, row: Row) -> Contender:
    """adjit's side with the fastest of its derivatives, each checked and called once."""
    made: list[tuple[str, Contender, float]] = []
    for variant, derivative in program.derivatives.items():
        candidate = ours(program, arguments, derivative, options)
        side = candidate.side("derivative")
        seconds, result = first_call(side)
        made.append((variant, candidate, seconds))
        program.check(arguments, result, jit)
        if not options.quick:
            small = program.arguments(options.data, program.small)
            program.check(small, side.call(*small), lambda function: function)
    if len(made) > 1:
        trials = interleaved([candidate.side("derivative") for _, candidate, _ in made], TRIAL)
        best = min(range(len(made)), key=lambda k: trials[k].median)
        row.facts["variants"] = {made[k][0]: trials[k].to_json() for k in range(len(made))}
        row.notes.append(f"adjit: {made[best][0]} of {', '.join(variant for variant, _, _ in made)}")
    else:
        best = 0
    row.first_calls["adjit"] = made[best][2]
    return made[best][1]


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("gradbench", name)
    given = found(name)
    program = PROGRAMS[given.program]
    arguments = arguments_of(given, program, options)
    if options.quick and program.small:
        row.notes.append("at a small size")
    mine = fastest(program, arguments, options, row)
    wanted = {side.quantity: first_call(side)[1] for side in mine.sides()}
    others = []
    for peer in options.peers:
        try:
            other = theirs(peer, given.program, arguments)
            for side in reversed(other.sides()):  # the derivative first: it may call the primal's kernels
                seconds, result = first_call(side)
                if side.quantity == "derivative":
                    row.first_calls[peer] = seconds
                if side.quantity in wanted:
                    agree(wanted[side.quantity], result, f"{side.quantity}: adjit and {peer}")
            others.append(other)
        except Unavailable:
            continue
        except Exception as error:  # a peer's failure is not adjit's
            row.first_calls.pop(peer, None)
            row.notes.append(f"{peer}: {reason(error)}")
    del wanted
    time_all(row, [side for who in (mine, *others) for side in who.sides()], options)
    if options.memory:
        measure_memory(row, name, [who.name for who in (mine, *others)], options)
    return row


def time_all(row: Row, sides: Sequence[Side], options: Options, watch: Watch | None = None) -> None:
    """Time the sides, interleaved, into the row."""
    for side, timing in zip(sides, interleaved(sides, options.effort, watch), strict=True):
        row.timings.setdefault(side.name, {})[side.quantity] = timing


def measure_memory(row: Row, name: str, sides: Sequence[str], options: Options) -> None:
    """The growth of memory over one call of each side's derivative, a process for each: the least of several processes
    where it is a few pages, which the allocator takes in one process and not in the next."""
    for side in sides:
        try:
            for _ in range(PROCESSES):
                growth = ask("memory", row.suite, name, side, options, quantity="derivative")["growth"]
                row.memory[side] = min(growth, row.memory.get(side, growth))
                if not 0 < row.memory[side] <= FEW_PAGES:
                    break
        except RuntimeError as error:
            row.notes.append(f"memory of {side}: {error}")
