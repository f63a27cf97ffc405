"""The suite `textbook`: small programs as their users would write them (`programs`), timed against plain Python and,
where somebody would write them so, against other tools (`textbook_peers`).

In: the programs. Out: for each the times of the compiled value, of the gradient and of plain Python and NumPy, first
calls, and the same of peers. The gradient is checked against a difference quotient of the plain function, a peer's
against adjit's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api import grad, jit
from .agreement import Mismatch, agree, reason
from .options import Contender, Options, Unavailable
from .programs import PROGRAMS, Benchmark
from .results import Row
from .suite_gradbench import time_all
from .textbook_peers import peer
from .timing import first_call

__all__ = ["check", "contender", "measure", "names"]


def names(options: Options) -> Sequence[str]:
    """All programs."""
    return [benchmark.name for benchmark in PROGRAMS]


def found(name: str) -> Benchmark:
    return next(benchmark for benchmark in PROGRAMS if benchmark.name == name)


def contender(name: str, side: str, options: Options) -> Contender:
    """A side: adjit, python (no derivative) or a peer."""
    benchmark = found(name)
    arguments = benchmark.arguments()
    if side == "python":
        return Contender("python", arguments, None, benchmark.function, primal_writes=True)
    if side != "adjit":
        return peer(side, benchmark)
    options_ = options.transforms()
    gradient = grad(benchmark.function, argnums=benchmark.argnums, **options_)
    return Contender("adjit", arguments, gradient, jit(benchmark.function, **options_), primal_writes=True)


def check(benchmark: Benchmark, gradient: Any, function: Callable[..., Any] | None = None) -> None:
    """`Mismatch` where the gradient does not agree with a difference quotient of the plain function."""
    function = benchmark.function if function is None else function
    numbers = benchmark.argnums if isinstance(benchmark.argnums, tuple) else (benchmark.argnums,)
    parts = gradient if isinstance(benchmark.argnums, tuple) else (gradient,)
    arguments = benchmark.arguments()
    generator = np.random.default_rng(1)
    steps = {k: generator.normal(size=np.shape(arguments[k])) for k in numbers}
    slope = sum(float(np.sum(g * steps[k])) for k, g in zip(numbers, parts, strict=True))

    def at(h: float) -> float:
        moved = [a + h * steps[k] if k in steps else a for k, a in enumerate(benchmark.arguments())]
        return float(function(*moved))

    h = 1e-5
    quotient = (at(h) - at(-h)) / (2 * h)
    if not np.isclose(slope, quotient, rtol=1e-4, atol=1e-7):
        raise Mismatch(f"{benchmark.name}: the gradient gives {slope}, a difference quotient {quotient}")


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("textbook", name)
    mine = contender(name, "adjit", options)
    primal, derivative = mine.side("primal"), mine.side("derivative")
    row.first_calls["adjit"], gradient = first_call(derivative)
    check(found(name), gradient)
    first_call(primal)
    others = [contender(name, "python", options)]
    for side in options.peers:
        try:
            other = contender(name, side, options)
            seconds, result = first_call(other.side("derivative"))
            agree(gradient, result, f"adjit and {side}")
            if other.primal is not None:
                first_call(other.side("primal"))
            row.first_calls[side] = seconds
            others.append(other)
        except Unavailable:
            continue
        except Exception as error:  # a peer's failure is not adjit's
            row.notes.append(f"{side}: {reason(error)}")
    time_all(row, [side for who in (mine, *others) for side in who.sides()], options)
    return row
