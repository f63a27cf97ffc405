"""The suite `threads`: what more threads gain, on programs of the other suites.

In: the rows of `gradbench`, and of `npbench` where a checkout is given; more than one thread (`--threads`). Out: for
each the times of adjit's primal and derivative on one thread and on several (the sides `adjit` and `adjit, N threads`),
interleaved in one process. Results must agree to rounding, and those of several threads must be the same bits from run
to run. BLAS gets as many threads as the side has.

A sample counts where small loops ran at full speed on all of the side's processors, near each other, right before and
after it (`processors`): a machine that others use, too, does not always give them. The facts `repeated` and `disturbed`
are how many samples were taken again for that, and how many count although they should not.

The fact `shared` names the quantities in whose calls several threads worked, by the processor time of the process. What
is not among them ran on one thread on both sides: mostly in the same machine code, so that a quotient of their times
says where memory happened to lie.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..api.blas import set_threads_of_blas
from . import suite_gradbench, suite_npbench
from .agreement import agree, leaves, reason
from .options import Contender, Options
from .processors import Processors, Watched
from .results import Row
from .suite_gradbench import time_all
from .timing import Side, first_call, per_call, threads_done

__all__ = ["contender", "measure", "names", "shared", "side_of"]

SUITES: dict[str, Any] = {"gradbench": suite_gradbench, "npbench": suite_npbench}
LONGER = 2.0
"""How many times as long a sample is as in other suites: the first call has to wake threads."""
IN_VAIN = 3.0
"""Seconds that may go by with waiting for processors and samples that do not count, for each second of samples."""
AGAIN = 2
"""How often a row is timed anew at most, if it turns out that processors can be nearer than known before."""
WATCHED = 0.03
"""Seconds of calls that are watched."""


def names(options: Options) -> Sequence[str]:
    """Programs, each after the name of its suite."""
    if options.threads < 2:
        raise ValueError("the suite threads compares several threads with one: say how many (--threads 2, or all)")
    out = [f"gradbench {name}" for name in suite_gradbench.names(options)]
    if options.root is not None:
        out += [f"npbench {name}" for name in suite_npbench.names(options)]
    return out


def side_of(threads: int) -> str:
    """The name of the side that uses that many."""
    return "adjit" if threads == 1 else f"adjit, {threads} threads"


def contender(name: str, side: str, options: Options) -> Contender:
    """A side of a program of another suite."""
    suite, _, program = name.partition(" ")
    threads = 1 if side == "adjit" else options.threads
    found: Contender = SUITES[suite].contender(program, "adjit", replace(options, threads=threads))
    return replace(
        found,
        name=side,
        derivative=found.derivative and with_blas(found.derivative, threads),
        primal=found.primal and with_blas(found.primal, threads),
    )


def with_blas(function: Callable[..., Any], threads: int) -> Callable[..., Any]:
    """`function`, run while BLAS has that many threads."""

    def called(*arguments: Any) -> Any:
        set_threads_of_blas(threads)
        return function(*arguments)

    return called


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("threads", name)
    effort = replace(options.effort, sample=LONGER * options.effort.sample)
    try:
        one, several = (contender(name, side_of(n), options) for n in (1, options.threads))
        several = replace(several, arguments=one.arguments)  # where arrays lie is some percent, with the same code
        for first, second in zip(one.sides(), several.sides(), strict=True):
            wanted, found = first_call(first)[1], first_call(second)[1]
            agree(wanted, found, f"{first.quantity}: one thread and {options.threads}")
            expect_same_bits(second, found)
        sides = [side for who in (one, several) for side in who.sides()]
        with Processors(options.threads) as processors:
            of_side = {one.name: 1, several.name: options.threads}.__getitem__
            time_near(row, sides, replace(options, effort=effort), processors, of_side)
        row.facts["shared"] = [side.quantity for side in several.sides() if shared(side)]
    except Exception as error:  # whatever it is, it belongs into the table
        row.failure = reason(error)
    gc.collect()
    return row


def time_near(
    row: Row, sides: Sequence[Side], options: Options, processors: Processors, threads: Callable[[str], int]
) -> None:
    """Time the sides into the row while they have their processors, near each other."""
    repeated, left = 0, AGAIN
    while True:
        watch = Watched(processors, threads, IN_VAIN * options.effort.seconds)
        time_all(row, sides, options, watch)
        repeated += watch.repeated
        if not left or not watch.outdated():
            break
        repeated += watch.counted
        left -= 1
    row.facts |= {"repeated": repeated, "disturbed": watch.disturbed}


def expect_same_bits(side: Side, found: Any) -> None:
    """ValueError if another call gives other bits than `found`."""
    for a, b in zip(leaves(found), leaves(first_call(side)[1]), strict=True):
        if np.asarray(a).tobytes() != np.asarray(b).tobytes():
            raise ValueError(f"{side.quantity}: two calls on {side.name} give different bits")


def shared(side: Side) -> bool:
    """Whether other threads than the calling one work in its calls."""
    threads_done()  # those that have worked look for more for a while
    begin, everybody, caller = time.perf_counter(), time.process_time(), time.thread_time()
    while time.perf_counter() - begin < WATCHED:
        per_call(side, 1)
    caller = time.thread_time() - caller
    return time.process_time() - everybody - caller > 0.02 * caller
