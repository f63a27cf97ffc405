"""Whether a program that could use several processors has them at the moment.

In: how many. Out: `Processors`, which runs a small loop on each of them, all at once, and sends a cache line to and fro
between them, and compares how long that takes with the least so far; and `Watched`, which lets only samples of times
count that were taken while they were there.

On a machine that runs others' programs as well, two processors may be one: a virtual machine's host puts both on one
core, mostly when the second wakes, and leaves them there for tens of milliseconds. Then whatever works on both takes up
to 2.7 times as long, and so do these loops, which touch nothing but a page each. Or it moves one of them to a core that
does not share a cache with the other's, and data takes five times as long from one to the other. What a sample measures
does not matter for whether it counts. How near processors can be is known when they were: samples that counted before
that may have to be taken anew (`Watched.outdated`).
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import numpy as np

from .timing import Side

__all__ = ["Processors", "Watched"]

SIZE = 512
"""Numbers in each loop's array: 4 KB, in anybody's first cache."""
SECONDS = 0.001
"""How long a loop lasts."""
SLOWER = 1.15
"""As much longer than the fastest may a loop take that had a processor for itself."""
ROUNDS = 300
"""How often the cache line goes to and fro."""
FARTHER = 3.0
"""As many times the least may that take between processors that share a cache."""
PATIENCE = 0.5
"""Seconds that a sample waits for processors."""


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


EXCHANGE = """
define void @exchange(ptr %word, i64 %first, i64 %count) {
  br label %wait
wait:                                     ; for numbers first, first + 2, ..., each answered by the next one
  %k = phi i64 [ 0, %0 ], [ %k, %wait ], [ %k1, %answer ]
  %twice = shl i64 %k, 1
  %number = add i64 %first, %twice
  %now = load atomic i64, ptr %word acquire, align 8
  %mine = icmp eq i64 %now, %number
  br i1 %mine, label %answer, label %wait
answer:
  %next = add i64 %number, 1
  store atomic i64 %next, ptr %word release, align 8
  %k1 = add i64 %k, 1
  %more = icmp slt i64 %k1, %count
  br i1 %more, label %wait, label %done
done:
  ret void
}
"""


@functools.cache
def exchange() -> tuple[Callable[[int, int, int], None], Any]:
    """Code for one end of `count` exchanges of a word: it waits for `first`, and says the next number. And what keeps
    it."""
    llvm = importlib.import_module("llvmlite.binding")
    importlib.import_module("numba.core.codegen")  # it prepares LLVM for this machine
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(EXCHANGE), machine)
    engine.finalize_object()
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    return kind(engine.get_function_address("exchange")), engine


def page() -> Any:
    """Numbers that share no cache line with anything else, nor a fetch of two."""
    room = np.ones(3 * SIZE)
    begin = -room.ctypes.data % (8 * SIZE) // 8
    return room[begin : begin + SIZE]


class Processors:
    """`count` processors, the first of those that this process may use; a context, with threads of its own for all but
    one loop, which is the calling thread's.

    >>> with Processors(1) as processors:
    ...     seen = [processors.given(1) for _ in range(3)]
    >>> set(seen) <= {True, False}
    True
    """

    nearest: ClassVar[float] = float("inf")
    """Seconds of the fastest exchanges in this process."""

    def __init__(self, count: int) -> None:
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.own = allowed[:count] if len(allowed) >= count else []
        """The processor of each loop; empty where the system does not tell, or there are too few."""
        self.allowed = set(allowed)
        self.arrays = [page() for _ in range(count)]
        self.pools = [ThreadPoolExecutor(1) for _ in range(count - 1)]
        self.turns = 100
        self.fastest = float("inf")
        self.apart = 0.0
        """Seconds of exchanges when the processors were looked at last: of the slowest."""
        self.run(0, None)  # it compiles
        exchange()
        while (took := self.run(0, None)) < SECONDS:
            self.turns = max(self.turns + 1, int(1.2 * self.turns * min(10.0, SECONDS / took)))
        for _ in range(20):
            self.fastest = min(self.fastest, self.run(0, None))
        self.leave()

    def __enter__(self) -> Processors:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self.pools:
            pool.shutdown()

    def stay(self, number: int) -> None:
        """Let the calling thread run on a loop's processor alone."""
        if self.own:
            os.sched_setaffinity(0, {self.own[number]})

    def leave(self) -> None:
        """Let it run anywhere again."""
        if self.own:
            os.sched_setaffinity(0, self.allowed)

    def run(self, number: int, together: threading.Barrier | None) -> float:
        """Seconds of one loop."""
        self.stay(number)
        if together is not None:
            together.wait()
        begin = time.perf_counter()
        burst()(self.arrays[number], self.turns)
        return time.perf_counter() - begin

    def talk(self, number: int, first: int) -> float:
        """Seconds of one end of exchanges between the calling thread (`first`: 0) and thread `number` (`first`: 1)."""
        code, _ = exchange()
        self.stay(first * number)
        word = self.arrays[number].ctypes.data
        code(word, first, 10)  # now both are there
        begin = time.perf_counter()
        code(word, first + 20, ROUNDS)
        return time.perf_counter() - begin

    def given(self, threads: int) -> bool:
        """Whether that many processors are there now, near each other. A few milliseconds."""
        together = threading.Barrier(threads) if threads > 1 else None
        others = [pool.submit(self.run, k + 1, together) for k, pool in enumerate(self.pools[: threads - 1])]
        times = [self.run(0, together), *(other.result() for other in others)]
        self.fastest = min(self.fastest, *times)
        there = max(times) <= SLOWER * self.fastest
        self.apart = 0.0
        if self.own and there:  # only then they are sure to be different ones
            self.apart = max((self.exchanges(k) for k in range(1, threads)), default=0.0)
        self.leave()
        return there and self.near(self.apart)

    def near(self, apart: float) -> bool:
        """Whether processors share a cache whose exchanges take so long."""
        return apart <= FARTHER * Processors.nearest

    def exchanges(self, number: int) -> float:
        """Seconds of exchanges between the processor of thread `number` and the calling one's."""
        self.arrays[number][0] = 0.0  # as a word, 0
        other = self.pools[number - 1].submit(self.talk, number, 1)
        took = self.talk(number, 0)
        other.result()
        self.arrays[number][0] = 1.0
        Processors.nearest = min(Processors.nearest, took)
        return took


class Watched:
    """A `timing.Watch` for sides that use as many processors as `threads` says of their names. After `seconds` of
    waiting and of samples in vain all samples count."""

    def __init__(self, processors: Processors, threads: Callable[[str], int], seconds: float) -> None:
        self.processors, self.threads, self.seconds = processors, threads, seconds
        self.repeated = 0
        """Samples that did not count."""
        self.disturbed = 0
        """Samples that count although processors were missing."""
        self.counted = 0
        self.apart = self.farthest = 0.0
        """Seconds of exchanges before a sample, and the most around one that counts."""
        self.spent = 0.0
        self.began = 0.0

    def before(self, side: Side) -> None:
        """Return when the processors are there, or patience is at its end."""
        begin = now = time.perf_counter()
        end = begin + min(PATIENCE, self.seconds - self.spent)
        while not self.processors.given(self.threads(side.name)) and now < end:
            now = time.perf_counter()
        self.spent += now - begin
        self.apart = self.processors.apart
        self.began = time.perf_counter()

    def counts(self, side: Side) -> bool:
        """Whether they are there still."""
        took = time.perf_counter() - self.began
        if self.processors.given(self.threads(side.name)):
            self.farthest = max(self.farthest, self.apart, self.processors.apart)
            self.counted += 1
            return True
        if self.spent >= self.seconds:
            self.counted += 1
            self.disturbed += 1
            return True
        self.spent += took
        self.repeated += 1
        return False

    def outdated(self) -> bool:
        """Whether samples counted whose processors were far from each other, as has turned out since."""
        return not self.processors.near(self.farthest)
