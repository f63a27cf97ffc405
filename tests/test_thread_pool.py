"""The pool of threads by itself: every chunk once, in the order that was asked for, failures, where workers run."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import time

import pytest
from test_parallel import run_script

from adjit import jit
from adjit.codegen.threads import BACKWARD, FORWARD, IN_ORDER
from adjit.codegen.threads.process import address_of, pool

TASK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
WORK = 1_000_000
"""Nanoseconds, told to the pool: enough to wake sleepers."""


@pytest.fixture(scope="module", autouse=True)
def prepared():
    """LLVM knows this machine once something has been compiled."""
    jit(lambda x: x + 1.0)(1.0)


def function(name, result, *kinds):
    return ctypes.CFUNCTYPE(result, *kinds)(pool().engine.get_function_address(name))


def run(task, chunks, threads, order):
    """Run a Python function of chunk and thread; how many threads the pool gave."""
    word = ctypes.c_int64
    acquire = function("adjit_threads_acquire", word, word, word)
    run = function("adjit_threads_run", None, ctypes.c_void_p, ctypes.c_void_p, word, word, word)
    callback = TASK(lambda _, chunk, thread: task(chunk, thread))
    given = acquire(threads, WORK) if threads > 1 else 1
    run(address_of(callback), None, chunks, given, order)
    return given


def noting(begun):
    """A task that notes which chunk is run by which thread."""
    return lambda chunk, thread: begun.append((chunk, thread)) or 0


@pytest.mark.parametrize("order", [IN_ORDER, FORWARD, BACKWARD])
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_chunk_once(threads, order):
    for chunks in (0, 1, 2, 3, 7, 64):
        begun = []
        given = run(noting(begun), chunks, threads, order)
        assert given == threads
        assert sorted(chunk for chunk, _ in begun) == list(range(chunks))
        assert {thread for _, thread in begun} <= set(range(threads))


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("order", [FORWARD, BACKWARD])
def test_threads_begin_with_their_parts(threads, order):
    chunks, begun, lock = 12, [], threading.Lock()

    def task(chunk, thread):
        with lock:
            begun.append((chunk, thread))
        time.sleep(0.002)
        return 0

    helped = 0
    for _ in range(10):
        begun.clear()
        run(task, chunks, threads, order)
        for thread in range(threads):
            mine = [k for k, (_, by) in enumerate(begun) if by == thread]
            part = thread if order == FORWARD else threads - 1 - thread
            start = part * chunks // threads
            if mine:  # who comes late finds his part begun
                before = [chunk for chunk, _ in begun[: mine[0]]]
                assert begun[mine[0]][0] == start or start in before
                helped += thread > 0
    assert helped


def test_in_order():
    begun, lock = [], threading.Lock()

    def task(chunk, thread):
        with lock:
            begun.append(chunk)
        time.sleep(0.001)
        return 0

    run(task, 20, 3, IN_ORDER)
    # two that begin at nearly one time may note it the other way round
    assert all(abs(chunk - k) < 3 for k, chunk in enumerate(begun))


def failing(begun, bad):
    """A slow task that fails on some chunks."""

    def task(chunk, thread):
        begun.append(chunk)
        time.sleep(0.0005)
        return int(chunk in bad)

    return task


@pytest.mark.parametrize("order", [IN_ORDER, FORWARD, BACKWARD])
@pytest.mark.parametrize("bad", [{0}, {11}, {5}, {3, 9}, {2, 6, 10}])
def test_all_chunks_before_the_first_failure_are_run(bad, order):
    for _ in range(5):
        begun = []
        run(failing(begun, bad), 12, 2, order)
        assert len(set(begun)) == len(begun)
        assert set(range(min(bad) + 1)) <= set(begun)


def test_one_thread_stops_at_once():
    begun = []
    run(lambda chunk, thread: begun.append(chunk) or int(chunk == 3), 10, 1, FORWARD)
    assert begun == [0, 1, 2, 3]


WHERE = """
    import os, threading, time
    import numpy as np
    from adjit import grad

    def function(x):
        return np.sum(np.exp(np.sin(x)))

    g = grad(function, parallel=2)
    x = np.linspace(0.0, 1.0, 100000)
    grad(function)(x)  # starts what other threads there are
    before = set(os.listdir("/proc/self/task"))
    g(x)
    worker, = (int(t) for t in set(os.listdir("/proc/self/task")) - before)
    for processor in [*sorted(os.sched_getaffinity(0)), min(os.sched_getaffinity(0))]:
        os.sched_setaffinity(0, {processor})
        end = time.monotonic() + 20.0
        while processor in os.sched_getaffinity(worker) and time.monotonic() < end:
            g(x)
        print(processor in os.sched_getaffinity(worker))
    os.sched_setaffinity(worker, os.sched_getaffinity(0))  # there is no other place: nothing breaks
    g(x)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2,
    reason="workers are kept from the caller's processor on Linux, where there is another",
)
def test_workers_leave_the_processor_of_the_caller(tmp_path):
    done = run_script(WHERE, tmp_path)
    assert done.stderr == ""
    assert set(done.stdout.split()) == {"False"}


def test_one_processor_is_enough(tmp_path):
    """Workers that have nowhere else to go stay, and results are the same."""
    script = """
        import os
        import numpy as np
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        from adjit import value_and_grad

        def function(x):
            return np.sum(np.exp(np.sin(x)))

        x = np.linspace(0.0, 1.0, 100000)
        one, two = value_and_grad(function)(x), value_and_grad(function, parallel=2)(x)
        assert abs(one[0] - two[0]) < 1e-12 * abs(one[0])
        np.testing.assert_allclose(one[1], two[1], rtol=1e-13)
        print("end")
    """
    done = run_script(script, tmp_path)
    assert (done.stdout.strip(), done.stderr) == ("end", "")
