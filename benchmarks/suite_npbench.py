"""The suite `npbench`: every real program of NPBench, unmodified, differentiated, checked and timed.

In: a checkout of NPBench (`--root`; see `npbench`). Out: for each program the times of adjit's gradient and compiled
value, of NumPy, and of the gradient and value of NPBench's own port to JAX, interleaved; first calls, adjit's stage by
stage; and how far the gradient is from its references (see `npbench_check`). A row fails if the program is refused or
breaks, or if a check fails. Where the port to JAX fails, a note says why.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..api import grad, jit
from .agreement import agree, reason
from .npbench import Problem, problem
from .npbench import names as programs_of
from .npbench_check import Checked, check
from .npbench_jax import contender as jax_contender
from .options import Contender, Options, Unavailable
from .results import Row
from .suite_gradbench import measure_memory, time_all
from .timing import first_call
from .worker import stages

__all__ = ["contender", "measure", "names"]


def checkout(options: Options) -> Path:
    """The folder of NPBench. ValueError where none is given."""
    if options.root is None:
        raise ValueError("the suite npbench needs --root DIR, a checkout of NPBench")
    return Path(options.root)


def names(options: Options) -> Sequence[str]:
    """The programs of the checkout."""
    return programs_of(checkout(options))


def ours(given: Problem, options: Options) -> Contender:
    """adjit's side."""
    chosen = options.transforms()
    return Contender("adjit", given.fresh(), grad(given.loss, **chosen), jit(given.loss, **chosen), primal_writes=True)


def contender(name: str, side: str, options: Options) -> Contender:
    """A side of a program."""
    given = problem(checkout(options), name, options.preset)
    if side == "adjit":
        return ours(given, options)
    if side != "jax":
        raise Unavailable(f"NPBench has no gradients for {side}")
    return jax_contender(checkout(options), given)[0]


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("npbench", name)
    checked = Checked()
    try:
        given = problem(checkout(options), name, options.preset)
        mine = ours(given, options)
        derivative, primal = mine.side("derivative"), mine.side("primal")
        row.first_calls["adjit"], found = first_call(derivative)
        row.facts["stages"] = stages(derivative.call)
        first_call(primal)
        check(given, derivative.call, primal.call, found, checked)
        others = [Contender("numpy", given.fresh(), None, given.loss, primal_writes=True)]
        if "jax" in options.peers:
            others += theirs(given, derivative.call, found, row, options)
        del found
        time_all(row, [side for who in (mine, *others) for side in who.sides()], options)
        if options.memory:
            measure_memory(row, name, ["adjit", *(who.name for who in others if who.derivative)], options)
    except Exception as error:  # whatever it is, it belongs into the table
        row.failure = reason(error)
    row.facts |= vars(checked)
    gc.collect()
    return row


def theirs(given: Problem, gradient: Any, found: Sequence[Any], row: Row, options: Options) -> list[Contender]:
    """The port to JAX, if it works and agrees; else a note."""
    try:
        other, port = jax_contender(checkout(options), given)
        row.first_calls["jax"], result = first_call(other.side("derivative"))
        wanted = found if port.weights is None else gradient(*given.fresh()[:2], port.weights)
        agree([wanted[k] for k in port.moving], result, "adjit and jax")
        first_call(other.side("primal"))
    except Exception as error:  # a peer's failure is not adjit's
        row.first_calls.pop("jax", None)
        row.notes.append(f"jax: {reason(error)}")
        return []
    if len(port.moving) < len(given.floats):
        row.notes.append("jax: with respect to arrays only")
    if port.weights is not None:
        row.notes.append("jax: not all outputs")
    return [other]
