"""Memory that kernels keep for their next call: reused, bounded, given back, and nobody else's."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from codegen_support import allocations

from adjit import clear_memory, grad, jit, value_and_grad
from adjit.api.arguments import flatten_tree
from adjit.codegen import pool
from adjit.codegen.pool.code import MAPPINGS
from adjit.codegen.pool.process import machine_memory
from programs import PROGRAMS

LARGE = 50_000  # numbers: several times the smallest block of the pool
LLVM = pytest.mark.skipif(os.environ.get("ADJIT_BACKEND") == "numba", reason="memory is Numba's own there")


@pytest.fixture(autouse=True)
def empty():
    """An empty pool of the size that the environment says."""
    pool.configure()
    gc.collect()
    clear_memory()
    yield
    pool.configure()
    clear_memory()


@jit
def scaled(x, c: float):
    return c / (1.0 + x * x)


@grad
def slopes(x):
    total = 0.0
    for i in range(1, x.size):
        total += np.sin(x[i] * x[i - 1]) * total + x[i]
    return total


@LLVM
def test_a_dropped_result_is_used_again():
    x = np.linspace(0.0, 1.0, LARGE)
    first = scaled(x, 1.0)
    at = first.ctypes.data
    assert pool.idle() == 0
    before = pool.reused()
    second = scaled(x, 2.0)  # the first is alive
    assert second.ctypes.data != at and pool.reused() == before
    del first
    assert pool.idle() >= 8 * LARGE
    third = scaled(x, 3.0)
    assert third.ctypes.data == at and pool.reused() == before + 1 and pool.idle() == 0
    np.testing.assert_array_equal(third, 3.0 / (1.0 + x * x))
    np.testing.assert_array_equal(second, 2.0 / (1.0 + x * x))


@LLVM
def test_a_view_keeps_its_memory():
    x = np.linspace(0.0, 1.0, LARGE)
    view = scaled(x, 1.0)[100:200]
    gc.collect()
    wanted = (1.0 / (1.0 + x * x))[100:200]
    assert pool.idle() == 0 and clear_memory() == 0
    others = [scaled(x, float(c)) for c in range(5)]
    np.testing.assert_array_equal(view, wanted)
    del others
    assert clear_memory() >= 5 * 8 * LARGE
    np.testing.assert_array_equal(view, wanted)
    del view
    assert pool.idle() > 0


@LLVM
def test_workspaces_are_used_again():
    x = np.linspace(0.0, 0.01, LARGE)
    first = slopes(x)
    kept, count = pool.idle(), pool.reused()
    assert kept >= 8 * LARGE  # a tape at least
    owned = allocations()
    for _ in range(5):
        np.testing.assert_array_equal(slopes(x), first)
    assert pool.reused() - count >= 5
    assert pool.idle() <= kept + 2 * 8 * LARGE  # and the result of each call
    assert allocations() == owned


@LLVM
def test_similar_sizes_share_blocks():
    for size in (LARGE, LARGE - 1, LARGE - 3000, LARGE // 2 + 4000, LARGE):
        x = np.ones(size)
        np.testing.assert_array_equal(scaled(x, 1.0), 0.5)
    assert pool.idle() < 16 * LARGE


@LLVM
def test_what_is_idle_is_bounded():
    block = 8 * LARGE * 9 // 8  # an eighth more than was asked for at most
    pool.configure(limit=3 * block)
    x = np.ones(LARGE)
    held = [scaled(x, float(c)) for c in range(8)]
    while held:
        held.pop()
        assert pool.idle() <= 3 * block
    assert pool.idle() >= 2 * 8 * LARGE
    pool.configure(limit=0)
    scaled(x, 1.0)
    clear_memory()
    scaled(x, 1.0)
    assert pool.idle() == 0
    pool.configure(limit=8 * LARGE // 2)  # a block larger than all that may be idle
    scaled(x, 1.0)
    assert pool.idle() == 0


@LLVM
def test_what_has_waited_longest_goes_first():
    sizes = [LARGE, 4 * LARGE, 16 * LARGE]
    places = {}
    pool.configure(limit=8 * 9 // 8 * 21 * LARGE * 2)
    for size in sizes:
        result = scaled(np.ones(size), 1.0)
        places[size] = result.ctypes.data
        del result
    kept = pool.idle()
    pool.configure(limit=kept)
    scaled(np.ones(64 * LARGE), 1.0)  # no room for it at all, whatever goes
    assert pool.idle() == kept
    scaled(np.ones(LARGE // 2), 1.0)  # the block of the first size has to go for it
    count = pool.reused()
    for size in sizes[1:]:
        assert scaled(np.ones(size), 1.0).ctypes.data == places[size]
    assert pool.reused() == count + 2
    assert pool.idle() <= kept


@LLVM
def test_more_blocks_than_slots():
    x = np.ones(LARGE)
    held = [scaled(x, float(c)) for c in range(70)]
    del held
    assert 0 < pool.idle() <= 70 * 8 * LARGE * 9 // 8
    for c in range(70):
        np.testing.assert_array_equal(scaled(x, float(c)), 0.5 * c)


@LLVM
def test_a_failed_check_gives_memory_back():
    @jit
    def checked(x, n: int):
        y = np.exp(x)
        z = y[::-1] * 2.0
        for i in range(n):
            z[i] += y[i]
        return z

    x = np.ones(LARGE)
    checked(x, 3)
    clear_memory()
    owned = allocations()
    for _ in range(3):
        with pytest.raises(IndexError):
            checked(x, LARGE + 1)
    assert allocations() == owned
    kept = pool.idle()
    with pytest.raises(IndexError):
        checked(x, LARGE + 1)
    assert pool.idle() == kept


def test_threads_share_memory_and_nothing_else():
    pool.configure(limit=20 * 8 * LARGE)
    wrong = []

    def work(number):
        for turn in range(60):
            size = LARGE - 500 * ((number + turn) % 7)
            x = np.full(size, 0.5)
            c = float(number * 1000 + turn)
            held = scaled(x, c), scaled(x, -c)
            if turn % 10 == 0:
                clear_memory()
            if not (np.all(held[0] == c / 1.25) and np.all(held[1] == -c / 1.25)):
                wrong.append((number, turn))

    expected = scaled(np.full(3, 0.5), 1.0)
    assert np.all(expected == 1.0 / 1.25)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pool.idle() <= 20 * 8 * LARGE
    clear_memory()
    assert pool.idle() == 0  # what was counted came and went in pairs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_forked_child_has_its_own():
    x = np.linspace(0.0, 1.0, LARGE)
    kept = scaled(x, 2.0)
    scaled(x, 1.0)
    wanted = 2.0 / (1.0 + x * x)
    waiting = pool.idle()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            fine = pool.idle() == 0 and bool(np.all(kept == wanted))
            fine = fine and bool(np.all(scaled(x, 2.0) == wanted))
            del kept
            fine = fine and bool(np.all(scaled(x, 2.0) == wanted))
            status = 0 if fine else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert pool.idle() == waiting
    np.testing.assert_array_equal(kept, wanted)


def run(file, **environment):
    given = {k: v for k, v in os.environ.items() if not k.endswith("_MEMORY")}
    done = subprocess.run(
        [sys.executable, file], env={**given, **environment}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PROGRAM = """
import builtins, numpy as np
from adjit import clear_memory, jit
from adjit.codegen import pool
assert clear_memory() == 0  # before there is a pool
double = jit(lambda x: x + x)
builtins.kept = double(np.ones(50_000))  # outlives every module
double(np.ones(50_000))
print(pool.idle() > 0, bool(np.isnan(builtins.kept).any()))
"""


@pytest.mark.slow
@LLVM
def test_the_environment_configures_it(tmp_path):
    file = tmp_path / "program.py"
    file.write_text(PROGRAM, encoding="utf-8")
    assert run(file) == "True False"
    assert run(file, ADJIT_IDLE_MEMORY="0") == "False False"
    assert run(file, ADJIT_IDLE_MEMORY="0.1") == "False False"
    assert run(file, ADJIT_IDLE_MEMORY="much", ADJIT_POISON_MEMORY="1") == "True False"
    assert 2**20 < machine_memory() < 2**60


@LLVM
def test_poison_is_seen_by_who_reads_before_writing():
    @jit
    def careless(n: int):
        return np.empty(n)

    for size in (10, LARGE):
        pool.configure(poison=True)
        assert np.isnan(careless(size)).all()
        pool.configure(poison=False)
    assert not np.isnan(scaled(np.ones(LARGE), 1.0)).any()


@pytest.mark.parametrize("program", PROGRAMS[::6], ids=lambda p: p.name)
def test_no_program_reads_memory_before_it_writes_it(program):
    """Both with whatever an earlier call has left and with NaNs."""
    compiled = value_and_grad(program.function, program.argnums)
    pool.configure(poison=False)
    plain = [flatten_tree(compiled(*args))[0] for args in program.calls()]
    pool.configure(poison=True)
    filled = [flatten_tree(compiled(*args))[0] for args in program.calls()]
    for a, b in zip(plain, filled, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)


@LLVM
def test_workspaces_that_do_not_overlap_in_time_share_memory():
    @jit
    def phases(x):
        twice = np.cumsum(np.concatenate((x, x)))
        first = np.sum(twice * twice[::-1])
        once = np.cumsum(x)
        return first + np.sum(once * once[::-1])

    x = np.linspace(0.0, 1.0, LARGE)
    twice, once = np.cumsum(np.concatenate((x, x))), np.cumsum(x)
    np.testing.assert_allclose(phases(x), np.sum(twice * twice[::-1]) + np.sum(once * once[::-1]), rtol=1e-12)
    clear_memory()
    phases(x)
    alone = pool.idle()
    assert alone <= 2 * 16 * LARGE * 9 // 8, "the second phase has its arrays where the first had its"


@LLVM
def test_a_growing_tape_is_as_large_at_once_as_it_became():
    @grad
    def decay(x: float, n: int):
        k = 0
        while k < n:
            x = x - 1e-6 * x * x
            k += 1
        return x

    n = 5 * LARGE
    exact = 1.0
    for _ in range(3):
        found = decay(0.5, n)
        y = 0.5
        exact = 1.0
        for _ in range(n):
            exact *= 1.0 - 2e-6 * y
            y = y - 1e-6 * y * y
        assert abs(found - exact) < 1e-9
    clear_memory()
    decay(0.5, n)
    assert pool.idle() <= 2 * 8 * n * 9 // 8 + 3 * 2**16  # nothing of half the size
    assert decay(0.5, 0) == 1.0
    for size in (10, 100_000, 20):
        assert 0.0 < decay(0.5, size) < 1.0


@grad
def slopes_of_many(x, turns: int):
    """The tape of a loop whose turns nobody knows before."""
    total, k = 0.0, 0
    while k < turns:
        total = total + x * np.sin(total) + np.exp(-total)
        k = k + 1
    return total


@LLVM
def test_a_tape_that_grows_keeps_what_it_has_and_its_pages():
    few, many = 3_000, 1_500_000
    pool.configure(poison=False)  # what is filled with NaNs is copied
    wanted = slopes_of_many(0.3, few)
    clear_memory()
    found = slopes_of_many(0.3, many)
    grown = pool.idle()
    clear_memory()
    assert slopes_of_many(0.3, many) == found  # what it was at last is asked for at once
    at_once = pool.idle()
    assert at_once >= 8 * many
    if MAPPINGS:  # elsewhere what the tape was before it grew is idle, too: as much again
        assert grown <= 1.25 * at_once
    pool.configure(poison=True)
    clear_memory()
    assert slopes_of_many(0.3, 2 * many) == pytest.approx(found, rel=1e-9)
    pool.configure()
    assert slopes_of_many(0.3, few) == wanted


@LLVM
def test_growing_tapes_of_several_threads():
    @grad
    def grown(x, turns: int):  # a kernel of its own, which remembers no size yet
        total, k = x, 0
        while k < turns:
            total = total + x * np.cos(total) - 0.1 * np.sin(total)
            k = k + 1
        return total

    pool.configure(poison=False)
    grown(0.1, 10)
    found: dict[int, float] = {}
    threads = [threading.Thread(target=lambda k=k: found.update({k: grown(0.1 * k, 1_200_000)})) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[k] for k in range(3)] == [grown(0.1 * k, 1_200_000) for k in range(3)]
