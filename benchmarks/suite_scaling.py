"""The suite `scaling`: time and memory of a derivative against the size of the problem, next to those of the primal.

In: programs of different complexity, each with a way to make its input at a size. Out: for each the times at several
sizes, interleaved, and the exponents p of fits size^p to the best times and to the memory held (arguments, and what the
peak grows by). A derivative whose exponent exceeds the primal's by more than `ALLOWED` costs more than a constant
factor: an array copied for each element written, say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..api import grad, jit
from . import inputs
from .gradbench import lstm, ode
from .options import Contender, Options, Unavailable
from .programs import lu_by_rows
from .results import Row
from .rows import gradient_of
from .timing import Side, first_call, interleaved
from .worker import ask

__all__ = ["ALLOWED", "PROGRAMS", "Sweep", "contender", "exponent", "measure", "names"]

ALLOWED = 0.1
TIMES = 2
"""A row has so many more sides than one of another suite, and gets so many times as many seconds."""
MEMORY_SIZES = 3
"""Memory is measured at so many of the largest sizes: at small ones all of it hides in a few pages."""
FEW_PAGES = 2**20
READINGS = 5
"""Of what is less than `FEW_PAGES` bytes, some pages may be other things': the least of so many readings counts."""


def durbin(r: Any) -> Any:
    """Levinson and Durbin's recursion for the Yule-Walker equations; the sum of squares of the solution."""
    y = np.zeros_like(r)
    y[0] = alpha = -r[0]
    beta = 1.0
    for k in range(1, len(r)):
        beta *= 1.0 - alpha * alpha
        alpha = -(r[k] + np.dot(r[:k][::-1], y[:k])) / beta
        y[:k] += alpha * y[:k][::-1]
        y[k] = alpha
    return np.sum(y * y)


def seidel_2d(u: Any, steps: int) -> Any:
    """Gauss and Seidel's sweeps of means over nine neighbours, in place."""
    for _ in range(steps):
        for i in range(1, u.shape[0] - 1):
            for j in range(1, u.shape[1] - 1):
                above = u[i - 1, j - 1] + u[i - 1, j] + u[i - 1, j + 1]
                below = u[i + 1, j - 1] + u[i + 1, j] + u[i + 1, j + 1]
                u[i, j] = (above + u[i, j - 1] + u[i, j] + u[i, j + 1] + below) / 9.0
    return np.sum(u * u)


def jacobi_2d(u: Any, v: Any, steps: int) -> Any:
    """Jacobi's sweeps of means over five neighbours, from one array into another and back."""
    for _ in range(steps):
        v[1:-1, 1:-1] = 0.2 * (u[1:-1, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] + u[:-2, 1:-1] + u[2:, 1:-1])
        u[1:-1, 1:-1] = 0.2 * (v[1:-1, 1:-1] + v[1:-1, :-2] + v[1:-1, 2:] + v[:-2, 1:-1] + v[2:, 1:-1])
    return np.sum(u * u)


def hmm(start: Any, transitions: Any, emissions: Any, seen: Any) -> Any:
    """The log likelihood of what a hidden Markov model emits, by the forward recurrence on logarithms."""
    state = start + emissions[:, seen[0]]
    for t in range(1, len(seen)):
        paths = state[:, None] + transitions
        top = np.max(paths, axis=0)
        state = top + np.log(np.sum(np.exp(paths - top), axis=0)) + emissions[:, seen[t]]
    highest = np.max(state)
    return highest + np.log(np.sum(np.exp(state - highest)))


def drawn(*shape: int) -> Any:
    return np.random.default_rng(0).normal(size=shape)


def hmm_arguments(n: int) -> tuple[Any, ...]:
    seen = np.random.default_rng(1).integers(0, 20, size=n)
    return drawn(16), drawn(16, 16), drawn(16, 20), seen


@dataclass(frozen=True)
class Sweep:
    """A function, its arguments at a size, which of them are differentiated, the sizes from small to large."""

    function: Callable[..., Any]
    arguments: Callable[[int], tuple[Any, ...]]
    sizes: Sequence[int]
    small: Sequence[int]
    """Sizes for a quick look."""
    argnums: int | tuple[int, ...] = 0


PROGRAMS = {
    # no powers of two: the elements of a column would share few of the cache's sets
    "lu": Sweep(lu_by_rows, lambda n: (drawn(n, n) + n * np.eye(n),), (100, 140, 200, 280, 390, 550, 770), (8, 16, 32)),
    "durbin": Sweep(
        durbin, lambda n: (0.5 * 0.9 ** np.arange(n),), (1100, 1600, 2400, 3600, 5400, 8000, 12000, 18000), (20, 40, 80)
    ),
    "seidel_2d": Sweep(seidel_2d, lambda n: (drawn(n, n), 20), (60, 90, 120, 180, 240, 360), (8, 16, 32)),
    "jacobi_2d": Sweep(
        jacobi_2d, lambda n: (drawn(n, n), np.zeros((n, n)), 50), (60, 90, 120, 180, 240, 360), (8, 16, 32), (0, 1)
    ),
    "lstm": Sweep(
        lstm.objective,
        lambda n: lstm.prepare(inputs.lstm(None, 2, n)),
        (256, 512, 1024, 2048, 4096, 8192),
        (4, 8, 16),
        (0, 1),
    ),
    "ode": Sweep(
        ode.last,
        lambda n: ode.prepare(inputs.ode(None, n, 100)),
        (1000, 2000, 4000, 8000, 16000, 32000),
        (20, 40, 80),
    ),
    "hmm": Sweep(hmm, hmm_arguments, (250, 500, 1000, 2000, 4000, 8000), (5, 10, 20), (0, 1, 2)),
}


def names(options: Options) -> Sequence[str]:
    return list(PROGRAMS)


def contender(name: str, side: str, options: Options) -> Contender:
    """adjit's side at a size: `name` is that of the program, a space, and the size."""
    if side != "adjit":
        raise Unavailable(f"{side} takes no part in scaling")
    program, _, size = name.partition(" ")
    sweep = PROGRAMS[program]
    chosen = options.transforms()
    gradient = grad(sweep.function, argnums=sweep.argnums, **chosen)
    return Contender("adjit", sweep.arguments(int(size)), gradient, jit(sweep.function, **chosen), primal_writes=True)


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """p of the fit size^p."""
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def measure(name: str, options: Options) -> Row:
    """See the module's docstring."""
    row = Row("scaling", name)
    sweep = PROGRAMS[name]
    sizes = list(sweep.small if options.quick else sweep.sizes)
    first = contender(f"{name} {sizes[0]}", "adjit", options)
    primal, derivative = first.side("primal"), first.side("derivative")
    row.first_calls["adjit"], result = first_call(derivative)
    gradient_of(sweep.function, sweep.argnums)(first.arguments, result, copying)
    first_call(primal)
    sides = []
    for size in sizes:
        arguments = sweep.arguments(size)
        sides.append(Side("adjit", "primal", primal.call, arguments, writes=True))
        sides.append(Side("adjit", "derivative", derivative.call, arguments))
        for side in sides[-2:]:
            first_call(side)
    timings = interleaved(sides, replace(options.effort, seconds=TIMES * options.effort.seconds))
    row.facts["sizes"] = sizes
    row.facts["seconds"] = {
        "primal": [t.minimum for t in timings[0::2]],
        "derivative": [t.minimum for t in timings[1::2]],
    }
    row.facts["exponents"] = {quantity: exponent(sizes, costs) for quantity, costs in row.facts["seconds"].items()}
    if options.memory:
        measure_memory(row, name, sizes[-MEMORY_SIZES:], options)
    judge(row)
    return row


def copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """The compiled function, on copies: the programs write to their arguments."""
    compiled = jit(function)

    def called(*arguments: Any) -> Any:
        return compiled(*(a.copy() if isinstance(a, np.ndarray) else a for a in arguments))

    return called


def measure_memory(row: Row, name: str, sizes: Sequence[int], options: Options) -> None:
    """Bytes held, arguments included, at each size by primal and derivative, a process for each. What a call of a tiny
    problem needs is not counted: pages of code and of the interpreter, whatever the size."""
    held: dict[str, list[int]] = {"primal": [], "derivative": []}
    for quantity, bytes_ in held.items():
        tiny, _ = growth(name, quantity, PROGRAMS[name].small[0], options)
        for size in sizes:
            needed, arguments = growth(name, quantity, size, options)
            bytes_.append(max(needed - tiny, 0) + arguments)
    row.facts["memory sizes"] = list(sizes)
    row.facts["memory"] = held
    row.facts["memory exponents"] = {quantity: exponent(sizes, bytes_) for quantity, bytes_ in held.items()}


def growth(name: str, quantity: str, size: int, options: Options) -> tuple[int, int]:
    """By how many bytes a call lets the peak grow, and the bytes of its arguments."""
    readings: list[int] = []
    while not readings or (readings[0] < FEW_PAGES and len(readings) < READINGS):
        answer = ask("memory", "scaling", f"{name} {size}", "adjit", options, quantity=quantity)
        readings.append(answer["growth"])
    return min(readings), answer["arguments"]


def judge(row: Row) -> None:
    """A note where the derivative's exponent exceeds the primal's by more than allowed. Memory that grows no faster
    than the primal's time may be what a reverse sweep has to keep of each step, and the note says so."""
    of_time = row.facts["exponents"]["primal"]
    for kind, cost in (("exponents", "time"), ("memory exponents", "memory")):
        found = row.facts.get(kind)
        if found and found["derivative"] > found["primal"] + ALLOWED:
            note = f"{cost} grows faster: {found['derivative'] - found['primal']:+.2f}"
            kept = cost == "memory" and found["derivative"] <= of_time + ALLOWED
            row.notes.append(note + (", but no faster than the primal's time" if kept else ""))
