"""Interleaved timing: the one place where times are measured.

In: `Side`s, each a call that somebody's program makes, with its arguments. Out: a `Timing` for each, samples of the
seconds per call, one sample a round. A round asks each side in turn, and the next one starts with another side: what
disturbs the machine for a while disturbs all sides alike, so that quotients of samples of the same round (`Ratio`)
say more than quotients of times measured apart. A sample is as many calls as last some milliseconds (at least one),
and begins when no other thread works: what a side leaves to threads of its own, as JAX does giving memory back, is not
the next one's.

A side that has used up its share of the time sits out the remaining rounds: next to a slow side a fast one still gets
its samples. Sides that write to their arguments get fresh ones for each call, which is not timed.

A `Watch` may say when a sample can begin, and afterwards whether it counts, by what it knows of the machine: one that
does not is taken again.
"""

from __future__ import annotations

import copy
import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import repeat
from typing import Any, Protocol

__all__ = [
    "QUICK",
    "Effort",
    "Ratio",
    "Side",
    "Timing",
    "Watch",
    "first_call",
    "interleaved",
    "per_call",
    "ratio",
    "threads_done",
]

LOOK = 0.0005
"""Seconds between two looks at what other threads do."""
LOOKS = 2000
"""The most of them."""
ALIKE = 4
"""As many times the calls in a sample have sides that are about as fast as the slowest of them."""


@dataclass(frozen=True)
class Effort:
    """Seconds for all sides of a row, seconds that a sample should last, rounds at least and at most."""

    seconds: float = 3.0
    sample: float = 0.005
    least: int = 5
    most: int = 60


QUICK = Effort(seconds=0.05, sample=0.0005, least=2, most=5)


@dataclass(frozen=True)
class Side:
    """`call(*arguments)`, by whom (`name`) and what it computes (`quantity`: primal, derivative, …)."""

    name: str
    quantity: str
    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    writes: bool = False
    """Whether the call changes its arguments."""


class Watch(Protocol):
    """Looks at the machine before and after samples; it must let one count in the end."""

    def before(self, side: Side) -> None:
        """Return when a sample may begin."""

    def counts(self, side: Side) -> bool:
        """Whether the sample that has just ended does."""


@dataclass
class Timing:
    """Seconds per call, a sample a round, each the mean of `calls` calls."""

    samples: list[float]
    calls: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def minimum(self) -> float:
        return min(self.samples)

    @property
    def quartiles(self) -> tuple[float, float]:
        return quartiles(self.samples)

    def to_json(self) -> dict[str, Any]:
        low, high = self.quartiles
        summary = {"median": self.median, "minimum": self.minimum, "quartiles": [low, high]}
        return {**summary, **asdict(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Timing:
        return cls(list(data["samples"]), int(data["calls"]))


@dataclass(frozen=True)
class Ratio:
    """How many times as long one side takes as another: quotients of samples of the same round."""

    median: float
    quartiles: tuple[float, float]
    of_minima: float

    def to_json(self) -> dict[str, Any]:
        return {"median": self.median, "quartiles": list(self.quartiles), "of_minima": self.of_minima}


def quartiles(numbers: Sequence[float]) -> tuple[float, float]:
    """Where the middle half of the numbers begins and ends."""
    if len(numbers) < 2:
        return numbers[0], numbers[0]
    low, _, high = statistics.quantiles(numbers, n=4, method="inclusive")
    return low, high


def ratio(above: Timing, below: Timing) -> Ratio:
    """`above` over `below`, over the rounds that both took part in."""
    quotients = [a / b for a, b in zip(above.samples, below.samples)]
    return Ratio(statistics.median(quotients), quartiles(quotients), above.minimum / below.minimum)


def first_call(side: Side) -> tuple[float, Any]:
    """Seconds of one call, and its result."""
    arguments = copy.deepcopy(side.arguments) if side.writes else side.arguments
    begin = time.perf_counter()
    result = side.call(*arguments)
    return time.perf_counter() - begin, result


def per_call(side: Side, calls: int) -> float:
    """Mean seconds per call."""
    call, arguments = side.call, side.arguments
    if not side.writes:
        begin = time.perf_counter()
        for _ in repeat(None, calls):
            call(*arguments)
        return (time.perf_counter() - begin) / calls
    total = 0.0
    for _ in repeat(None, calls):
        fresh = copy.deepcopy(arguments)
        begin = time.perf_counter()
        call(*fresh)
        total += time.perf_counter() - begin
    return total / calls


@dataclass
class Turn:
    """A side's account: its calls per sample, its samples, the seconds it has used."""

    side: Side
    calls: int = 1
    used: float = 0.0
    samples: list[float] = field(default_factory=list)

    def calibrate(self, sample: float) -> None:
        """Choose `calls` so that a sample lasts long enough."""
        threads_done()
        while True:
            took = per_call(self.side, self.calls) * self.calls
            if took >= sample or self.calls >= 1_000_000:
                return
            wanted = self.calls * 1.2 * sample / max(took, 1e-9)
            self.calls = max(self.calls + 1, min(math.ceil(wanted), 10 * self.calls))

    def take(self, watch: Watch | None = None) -> None:
        """One more sample."""
        while True:
            threads_done()
            if watch is not None:
                watch.before(self.side)
            begin = time.perf_counter()
            sample = per_call(self.side, self.calls)
            took = time.perf_counter() - begin
            if watch is None or watch.counts(self.side):
                break
        self.samples.append(sample)
        self.used += took


def interleaved(sides: Sequence[Side], effort: Effort, watch: Watch | None = None) -> list[Timing]:
    """Time all sides, round robin. Each must have been called before: compiling is not what is measured."""
    turns = [Turn(side) for side in sides]
    with no_collection():
        for turn in turns:
            turn.calibrate(effort.sample)
        even_out(turns)
        share = effort.seconds / max(1, len(turns))
        for round_ in range(effort.most):
            active = [t for t in turns if round_ < effort.least or (len(t.samples) == round_ and t.used < share)]
            if not active:
                break
            first = round_ % len(active)
            for turn in active[first:] + active[:first]:
                turn.take(watch)
    return [Timing(t.samples, t.calls) for t in turns]


def even_out(turns: Sequence[Turn]) -> None:
    """Give sides as many calls in a sample as those of the same quantity that are about as fast: the first call of a
    sample, which finds other things in the caches, is slower than those after it."""
    found = [(turn.side.quantity, turn.calls) for turn in turns]
    for turn, (quantity, calls) in zip(turns, found, strict=True):
        turn.calls = max(other for of, other in found if of == quantity and other <= ALIKE * calls)


def threads_done() -> None:
    """Wait until the other threads of this process have nothing to do."""
    for _ in range(LOOKS):
        before = time.process_time() - time.thread_time()
        time.sleep(LOOK)
        if time.process_time() - time.thread_time() - before < 0.1 * LOOK:
            return


@contextmanager
def no_collection() -> Iterator[None]:
    """Without garbage collection, which would fall on whoever's turn it is."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
