"""Chunks of turns that add to the same elements where they meet: which loops, which turns, and that results are those
of one thread, the same from run to run."""

from __future__ import annotations

import ctypes
import itertools
import threading
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

import adjit
from adjit.codegen.llvm.parallel import bounds
from adjit.codegen.llvm.tails import part_of
from adjit.codegen.lower.parallel import Plan, plans

pytestmark = pytest.mark.usefixtures("always_threads")
I64 = ir.IntType(64)


def windows(x: Any, w: Any) -> Any:
    """Of each window of rows, something of its sum with weights."""
    k = w.shape[0]
    total = 0.0
    for i in range(x.shape[0] - k + 1):
        total += np.exp(np.sum(x[i : i + k] * w))
    return total


def backwards(x: Any, w: Any) -> Any:
    k = w.shape[0]
    total = 0.0
    for i in range(x.shape[0] - k, -1, -1):
        total += np.sin(np.sum(x[i : i + k] * w))
    return total


def strided(x: Any, w: Any) -> Any:
    """Every other window, and one row more."""
    k = w.shape[0]
    total = 0.0
    for i in range((x.shape[0] - k - 1) // 2):
        total += np.sin(np.sum(x[2 * i : 2 * i + k] * w)) * np.cos(x[2 * i + k, 0])
    return total


def turned(x: Any, w: Any) -> Any:
    """Windows that go down while the index goes up."""
    n, k = x.shape[0], w.shape[0]
    total = 0.0
    for i in range(n - k + 1):
        total += np.sin(np.sum(x[n - k - i : n - i] * w))
    return total


def image(x: Any, w: Any) -> Any:
    """A convolution in single precision, element by element."""
    k = w.shape[0]
    out = np.empty((x.shape[0] - k + 1, x.shape[1] - k + 1), dtype=np.float32)
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            out[i, j] = np.sum(x[i : i + k, j : j + k] * w[:, :k])
    return np.sum(out * out)


PROGRAMS = (windows, strided, turned, image)
EXTENTS = [
    (3, 1, 3),
    (40, 41, 7),
    (700, 40, 2),
    (701, 33, 3),
    (400, 60, 17),
    (120, 200, 40),
    (300, 90, 280),
    (64, 400, 1),
]
"""Rows, their lengths, and windows: nothing to do, a little, near turns, far ones, nearly all rows, and one row."""


def arguments(rows: int, length: int, window: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(rows * 1000 + length)
    x, w = rng.uniform(-1.0, 1.0, (rows, length)), rng.uniform(-1.0, 1.0, (window, length))
    return x, w / np.sqrt(w.size)


def gradient(function: Callable[..., Any], threads: int | None = None) -> Any:
    chosen = {} if threads is None else {"parallel": threads}
    return adjit.value_and_grad(function, argnums=(0, 1), **chosen)


def flat(result: Any) -> list[Any]:
    return [np.asarray(result[0]), *result[1]]


def near(function: Callable[..., Any]) -> list[Plan]:
    compiled = gradient(function, 2).compile(*arguments(20, 9, 3))
    return [plan for plan in plans(compiled.ir_function("scheduled")).values() if plan.near]


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [*PROGRAMS, backwards], ids=lambda f: f.__name__)
def test_turns_are_near_each_other(function: Callable[..., Any]) -> None:
    (plan,) = near(function)
    assert set(plan.near) < set(plan.accumulated)  # the weights' derivative has copies


def test_far_turns_have_copies() -> None:
    """Where elements are is read from memory, or grows by a number that is not known."""

    def gathered(x: Any, w: Any) -> Any:
        total = 0.0
        for i in range(x.shape[0] - 3):
            total += np.sin(np.sum(x[int(abs(w[0, 0])) * i : int(abs(w[0, 0])) * i + 3]))
        return total

    def by_extents(x: Any, w: Any) -> Any:
        total = 0.0
        for i in range(x.shape[0] // w.shape[0] - 1):
            total += np.sin(np.sum(x[w.shape[0] * i : w.shape[0] * i + w.shape[0] + 1])) * w[0, 0]
        return total

    assert near(gathered) == [] and near(by_extents) == []


@pytest.mark.daily(1)
@pytest.mark.parametrize("extents", EXTENTS, ids=str)
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_value_and_gradient(function: Callable[..., Any], extents: tuple[int, int, int]) -> None:
    given = arguments(*extents)
    if function is image and extents[1] < extents[2]:
        given = arguments(200, 150, 3)
    wanted = flat(gradient(function)(*given))
    found = flat(gradient(function, 2)(*given))
    for a, b in zip(found, wanted, strict=True):
        size = np.max(np.abs(b), initial=0.0)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12 * (1.0 + size))
    again = gradient(function, 2)
    for _ in range(10):
        assert [a.tobytes() for a in flat(again(*given))] == [a.tobytes() for a in found]


@pytest.mark.slow
def test_numbers_of_threads() -> None:
    given = arguments(701, 40, 3)
    found = flat(gradient(backwards, 2)(*given))
    for a, b in zip(found, flat(gradient(backwards)(*given)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    wanted = [a.tobytes() for a in found]
    for threads in (1, 3):
        assert [a.tobytes() for a in flat(gradient(backwards, threads)(*given))] == wanted


def test_concurrent_callers() -> None:
    given = arguments(700, 40, 2)
    made = gradient(windows, 2)
    wanted = [a.tobytes() for a in flat(made(*given))]
    wrong = []

    def work() -> None:
        for _ in range(30):
            if [a.tobytes() for a in flat(made(*given))] != wanted:
                wrong.append(True)

    callers = [threading.Thread(target=work) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_second_derivatives() -> None:
    x, w = arguments(60, 30, 2)

    def along(x: Any, w: Any) -> Any:
        _, pushed = adjit.jvp(adjit.grad(windows), (x, w), (np.ones_like(x), np.zeros_like(w)))
        return pushed

    def along_in_threads(x: Any, w: Any) -> Any:
        _, pushed = adjit.jvp(adjit.grad(windows, parallel=2), (x, w), (np.ones_like(x), np.zeros_like(w)))
        return pushed

    np.testing.assert_allclose(along_in_threads(x, w), along(x, w), rtol=1e-10, atol=1e-12)


# ---------------------------------------------------------------- which turns


class Compiled:
    """(begin, end) of job j, as the code of tasks computes it."""

    def __init__(self) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        module = ir.Module("turns")
        module.triple = llvm.get_default_triple()
        kind = ir.FunctionType(ir.VoidType(), [I64, I64, I64, ir.IntType(64), I64, I64.as_pointer()])
        function = ir.Function(module, kind, "turns")
        b = ir.IRBuilder(function.append_basic_block())
        trips, chunks, reach, tails, job, out = function.args
        part = part_of(b, job, chunks, b.trunc(tails, ir.IntType(1)))
        for k, value in enumerate((*bounds(b, trips, chunks, part, reach), part.chunk, part.record)):
            b.store(value, b.gep(out, [I64(k)]))
        b.ret_void()
        machine = llvm.Target.from_default_triple().create_target_machine()
        self.engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
        self.engine.finalize_object()
        address = self.engine.get_function_address("turns")
        self.call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5, ctypes.c_void_p)(address)
        self.out = (ctypes.c_int64 * 4)()

    def __call__(self, trips: int, chunks: int, reach: int, tails: bool, job: int) -> tuple[range, int, int]:
        self.call(trips, chunks, reach, tails, job, ctypes.addressof(self.out))
        begin, end, chunk, record = self.out
        return range(begin, end), chunk, record


def test_heads_and_tails() -> None:
    """Every turn once; what may run at once is further apart than the reach; records are in the order of turns."""
    turns = Compiled()
    for trips, reach in itertools.product((8, 31, 64, 200, 1000, 1025), (0, 1, 2, 3, 7, 20, 100)):
        most = min(trips // max(2 * reach, 1), 16)
        for chunks in range(2, most + 1):
            jobs = [turns(trips, chunks, reach, True, job) for job in range(2 * chunks)]
            ordered = sorted(jobs, key=lambda job: job[2])
            assert [t for job in ordered for t in job[0]] == list(range(trips))
            assert [job[2] for job in ordered] == list(range(2 * chunks))
            for (k, (first, own, _)), (j, (second, other, _)) in itertools.combinations(enumerate(jobs), 2):
                waits = j >= chunks > k and own in (other, other + 1)
                if first and second and not waits:
                    apart = second[0] - first[-1] if second[0] > first[-1] else first[0] - second[-1]
                    assert apart > reach, (trips, reach, chunks, k, j)


def test_chunks_without_tails() -> None:
    turns = Compiled()
    for trips, chunks in itertools.product((1, 2, 31, 64, 1000), (1, 2, 3, 8)):
        jobs = [turns(trips, chunks, 0, False, job) for job in range(chunks)]
        assert [t for job in jobs for t in job[0]] == list(range(trips))
        assert [(job[1], job[2]) for job in jobs] == [(k, k) for k in range(chunks)]
    assert turns(31, 1, 5, False, 0)[0] == range(31)  # a reach of which nothing came
