"""`adjit bench`: times every program's value, gradient, and plain Python, interleaved in one process.

In: the programs. Out: a table of times and, what counts, ratios: gradient / compiled value (the price of the
derivative) and plain Python and NumPy / compiled value. Each gradient is checked before it is timed: its product with
a direction against a difference quotient of the plain function.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..api import grad, jit
from .programs import PROGRAMS, Benchmark

__all__ = ["Row", "main", "measure"]

BUDGET = 1.0
"""Seconds spent on a program."""


class Row:
    """The timings of one program: the best of several interleaved rounds, in seconds."""

    def __init__(self, name: str, python: float, value: float, gradient: float, first_call: float) -> None:
        self.name = name
        self.python = python
        self.value = value
        self.gradient = gradient
        self.first_call = first_call

    def text(self) -> str:
        return (
            f"{self.name:26s}{scaled(self.value)}{scaled(self.gradient)}{self.gradient / self.value:10.2f}"
            f"{self.python / self.value:12.1f}{self.first_call:10.2f} s"
        )


def scaled(seconds: float) -> str:
    """A time with a unit, 12 characters wide."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:9.2f} {unit:2s}"
    return f"{seconds / 1e-9:9.0f} ns"


def check(benchmark: Benchmark, gradient: Any) -> None:
    """ValueError where the gradient does not agree with a difference quotient."""
    numbers = benchmark.argnums if isinstance(benchmark.argnums, tuple) else (benchmark.argnums,)
    parts = gradient if isinstance(benchmark.argnums, tuple) else (gradient,)
    arguments = benchmark.arguments()
    generator = np.random.default_rng(1)
    steps = {k: generator.normal(size=np.shape(arguments[k])) for k in numbers}
    slope = sum(float(np.sum(g * steps[k])) for k, g in zip(numbers, parts, strict=True))

    def at(h: float) -> float:
        moved = [a + h * steps[k] if k in steps else a for k, a in enumerate(benchmark.arguments())]
        return float(benchmark.function(*moved))

    h = 1e-5
    quotient = (at(h) - at(-h)) / (2 * h)
    if not np.isclose(slope, quotient, rtol=1e-4, atol=1e-7):
        raise ValueError(f"{benchmark.name}: the gradient gives {slope}, a difference quotient {quotient}")


def once(function: Callable[..., Any], arguments: Sequence[Any], times: int) -> float:
    """Seconds per call, over `times` calls, each with its own arguments (programs write to theirs)."""
    given = [copy.deepcopy(tuple(arguments)) for _ in range(times)]
    begin = time.perf_counter()
    for a in given:
        function(*a)
    return (time.perf_counter() - begin) / times


def measure(benchmark: Benchmark) -> Row:
    """Check and time one program."""
    arguments = benchmark.arguments()
    value, gradient = jit(benchmark.function), grad(benchmark.function, argnums=benchmark.argnums)
    begin = time.perf_counter()
    found = gradient(*arguments)
    first_call = time.perf_counter() - begin
    check(benchmark, found)
    once(value, arguments, 1)
    times = max(1, min(1000, int(0.002 / once(gradient, arguments, 1))))
    best = {"value": np.inf, "gradient": np.inf, "python": np.inf}
    begin = time.perf_counter()
    rounds = 0
    while rounds < 3 or time.perf_counter() - begin < BUDGET:
        best["value"] = min(best["value"], once(value, arguments, times))
        best["gradient"] = min(best["gradient"], once(gradient, arguments, times))
        if rounds < 3:
            best["python"] = min(best["python"], once(benchmark.function, arguments, 1))
        rounds += 1
    return Row(benchmark.name, best["python"], best["value"], best["gradient"], first_call)


def main(names: Sequence[str] = ()) -> int:
    """Time the programs whose names contain one of `names` (all unless given) and print the table."""
    print(f"{'program':26s}{'value':>12s}{'gradient':>12s}{'ratio':>10s}{'Python x':>12s}{'first call':>12s}")
    for benchmark in PROGRAMS:
        if not names or any(n in benchmark.name for n in names):
            print(measure(benchmark).text(), flush=True)
    return 0
