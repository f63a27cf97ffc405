"""Whether a program that could use several processors has them at the moment.

In: how many. Out: `Processors`, which runs a small loop on each of them, all at once, and compares how long they take
with the fastest so far; and `Watched`, which lets only samples of times count that were taken while they were there.

On a machine that runs others' programs as well, two processors may be one: a virtual machine's host puts both on one
core, mostly when the second wakes, and leaves them there for tens of milliseconds. Then whatever works on both takes up
to 2.7 times as long, and so do these loops, which touch nothing but a page each. What a sample measures does not matter
for whether it counts.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .timing import Side

__all__ = ["Processors", "Watched"]

SIZE = 512
"""Numbers in each loop's array: 4 KB, in anybody's first cache."""
SECONDS = 0.001
"""How long a loop lasts."""
SLOWER = 1.15
"""As much longer than the fastest may a loop take that had a processor for itself."""
PATIENCE = 0.5
"""Seconds that a sample waits for processors."""
IN_ALL = 10.0
"""Seconds of waiting and of samples in vain, after which all samples count."""


@functools.cache
def burst() -> Callable[[Any, int], None]:
    """Code for `turns` passes over a small array, without the interpreter's lock."""
    import numba

    def loop(numbers: Any, turns: int) -> None:
        for _ in range(turns):
            for i in range(numbers.shape[0]):
                numbers[i] = numbers[i] * 0.999 + 0.001

    compiled: Callable[[Any, int], None] = numba.njit("void(f8[::1], i8)", nogil=True)(loop)
    return compiled


def page() -> Any:
    """Numbers that share no cache line with anything else, nor a fetch of two."""
    room = np.ones(3 * SIZE)
    begin = -room.ctypes.data % (8 * SIZE) // 8
    return room[begin : begin + SIZE]


class Processors:
    """`count` processors, the calling thread's among them; a context, with threads of its own for the others."""

    def __init__(self, count: int) -> None:
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.own = allowed[:count] if len(allowed) >= count else []
        """A processor for each loop; empty where the system does not tell."""
        self.allowed = set(allowed)
        self.arrays = [page() for _ in range(count)]
        self.pools = [ThreadPoolExecutor(1) for _ in range(count - 1)]
        self.turns = 100
        self.fastest = float("inf")
        self.run(0, None)  # it compiles
        while (took := self.run(0, None)) < SECONDS:
            self.turns = max(self.turns + 1, int(1.2 * self.turns * min(10.0, SECONDS / took)))
        for _ in range(20):
            self.fastest = min(self.fastest, self.run(0, None))

    def __enter__(self) -> Processors:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self.pools:
            pool.shutdown()

    def run(self, number: int, together: threading.Barrier | None) -> float:
        """Seconds of one loop."""
        if self.own:
            os.sched_setaffinity(0, {self.own[number]})
        if together is not None:
            together.wait()
        begin = time.perf_counter()
        burst()(self.arrays[number], self.turns)
        took = time.perf_counter() - begin
        if self.own and number == 0:
            os.sched_setaffinity(0, self.allowed)
        return took

    def given(self, threads: int) -> bool:
        """Whether that many processors are there now."""
        together = threading.Barrier(threads) if threads > 1 else None
        others = [pool.submit(self.run, k + 1, together) for k, pool in enumerate(self.pools[: threads - 1])]
        times = [self.run(0, together), *(other.result() for other in others)]
        self.fastest = min(self.fastest, *times)
        return max(times) <= SLOWER * self.fastest


class Watched:
    """A `timing.Watch` for sides that use as many processors as `threads` says of them."""

    def __init__(self, processors: Processors, threads: Callable[[Side], int]) -> None:
        self.processors, self.threads = processors, threads
        self.repeated = 0
        """Samples that did not count."""
        self.disturbed = 0
        """Samples that count although processors were missing: there was no more time for others."""
        self.spent = 0.0
        self.began = 0.0

    def before(self, side: Side) -> None:
        """Return when the processors are there, or patience is at its end."""
        begin = now = time.perf_counter()
        end = begin + min(PATIENCE, IN_ALL - self.spent)
        while not self.processors.given(self.threads(side)) and now < end:
            now = time.perf_counter()
        self.spent += now - begin
        self.began = time.perf_counter()

    def counts(self, side: Side) -> bool:
        """Whether they are there still."""
        took = time.perf_counter() - self.began
        if self.processors.given(self.threads(side)):
            return True
        if self.spent >= IN_ALL:
            self.disturbed += 1
            return True
        self.spent += took
        self.repeated += 1
        return False
