"""The suite `textbook`: small programs as their users would write them (`programs`), timed against plain Python and,
where somebody would write them so, against other tools (`textbook_peers`).

In: the programs. Out: for each the times of the compiled value, of the gradient (the Hessian, its product with a
vector) and of plain Python and NumPy, first
calls, and the same of peers. The gradient is checked against a difference quotient of the plain function, a peer's
against adjit's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..api import grad, hessian, hvp, jit
from .agreement import Mismatch, agree, leaves, reason
from .options import Contender, Options, Unavailable
from .programs import PROGRAMS, SECOND, Benchmark
from .results import Row
from .suite_gradbench import time_all
from .textbook_peers import peer
from .timing import first_call

__all__ = ["check", "contender", "measure", "names"]


def names(options: Options) -> Sequence[str]:
    """All programs."""
    return [benchmark.name for benchmark in (*PROGRAMS, *SECOND)]


def found(name: str) -> Benchmark:
    return next(benchmark for benchmark in (*PROGRAMS, *SECOND) if benchmark.name == name)


def contender(name: str, side: str, options: Options) -> Contender:
    """A side: adjit, python (no derivative) or a peer."""
    benchmark = found(name)
    arguments = benchmark.arguments()
    if side == "python":
        return Contender("python", arguments, None, of_point(benchmark, benchmark.function), primal_writes=True)
    if side != "adjit":
        return peer(side, benchmark)
    options_ = options.transforms()
    value = of_point(benchmark, jit(benchmark.function, **options_))
    return Contender("adjit", arguments, derivative(benchmark, options_), value, primal_writes=True)


def derivative(benchmark: Benchmark, options: Mapping[str, Any]) -> Callable[..., Any]:
    """adjit's derivative of a program."""
    if benchmark.derivative == "hvp":
        return lambda x, v: hvp(benchmark.function, x, v)
    transform = hessian if benchmark.derivative == "hessian" else grad
    made: Callable[..., Any] = transform(benchmark.function, argnums=benchmark.argnums, **options)
    return made


def of_point(benchmark: Benchmark, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, where there is a vector among the arguments, without it."""
    return (lambda *arguments: function(*arguments[:-1])) if benchmark.derivative == "hvp" else function


def check(benchmark: Benchmark, gradient: Any, function: Callable[..., Any] | None = None) -> None:
    """`Mismatch` where the gradient does not agree with a difference quotient of the plain function."""
    if benchmark.derivative != "grad":
        return check_second(benchmark, gradient)
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


def check_second(benchmark: Benchmark, result: Any) -> None:
    """The same of second derivatives: along a direction, against a second difference."""
    point, *others = benchmark.arguments()
    keys = sorted(point) if isinstance(point, dict) else None
    parts = [point] if keys is None else [point[k] for k in keys]
    if benchmark.derivative == "hvp":
        steps = [others.pop()]
        curvature = float(np.sum(steps[0] * result))
    else:
        generator = np.random.default_rng(1)
        steps = [generator.normal(size=np.shape(x)) for x in parts]
        blocks = iter(leaves(result))
        curvature = sum(
            float(np.tensordot(v, np.tensordot(next(blocks), w, w.ndim), v.ndim)) for v in steps for w in steps
        )

    def at(h: float) -> float:
        moved = [x + h * v for x, v in zip(parts, steps, strict=True)]
        return float(benchmark.function(moved[0] if keys is None else dict(zip(keys, moved, strict=True)), *others))

    h = 1e-4
    quotient = (at(h) - 2.0 * at(0.0) + at(-h)) / h**2
    if not np.isclose(curvature, quotient, rtol=1e-3, atol=1e-7):
        raise Mismatch(f"{benchmark.name}: the second derivative gives {curvature}, a difference quotient {quotient}")


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
