"""Threads: which loops are parallel, that results do not depend on threads, and the pool's behaviour in a process."""

import gc
import multiprocessing
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from adjit import grad, hessian, jacrev, jit, jvp, linearize, value_and_grad, vjp
from adjit.codegen import blas_threads, threads
from adjit.codegen.lower.parallel import plans
from adjit.ir.errors import ArgumentError
from adjit.ir.text import parse, to_text

pytestmark = pytest.mark.usefixtures("always_threads")
RNG = np.random.default_rng(7)
BIG = 30000


def array(*shape):
    return RNG.standard_normal(shape)


# ---------------------------------------------------------------- programs


def map_(x):
    y = np.empty_like(x)
    for i in range(len(x)):
        y[i] = np.exp(np.sin(x[i]))
    return np.sum(y * y)


def expression(x):
    return np.sum(np.tanh(x) * np.exp(-x * x))


def map_and_sum(x):
    s = 0.0
    for i in range(len(x)):
        s += np.exp(np.sin(x[i])) * x[i]
    return s


def conditional_sum(x):
    s = 0.0
    for i in range(len(x)):
        if x[i] > 0.0:
            s += np.exp(-x[i])
    return s


def largest(x):
    return np.max(np.exp(np.sin(x))) + np.min(np.tanh(x))


def stencil(x):
    y = np.exp(x[1:-1]) * x[2:] - np.sin(x[:-2])
    return np.sum(y * y)


def in_time(x):
    u = x.copy()
    for _ in range(3):
        u[1:-1, 1:-1] = 0.2 * (u[1:-1, 1:-1] + u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2])
    return np.sum(np.exp(u))


def gather_add(x, index):
    total = 0.0
    for i in range(len(index)):
        total += np.sin(x[index[i]]) * np.exp(x[index[i]])
    return total


def scatter(x, index):
    y = np.zeros(len(x))
    for i in range(len(index)):
        y[index[i]] = np.exp(x[i])
    return np.sum(y * x)


def prefix(x):
    y = np.empty_like(x)
    s = 0.0
    for i in range(len(x)):
        s = 0.5 * s + np.sin(x[i])
        y[i] = s
    return np.sum(y * y)


def running(x):
    y = np.empty_like(x)
    y[0] = x[0]
    for i in range(1, len(x)):
        y[i] = 0.5 * y[i - 1] + np.exp(-x[i])
    return np.sum(y * y)


def triangular(x):
    n = x.shape[0]
    total = 0.0
    for i in range(n):
        for j in range(i):
            total += np.exp(x[i, j]) * x[j, i]
    return total


def triangular_store(x):
    n = x.shape[0]
    y = np.zeros((n, n))
    for i in range(n):
        for j in range(i + 1, n):
            y[i, j] = np.exp(x[i, j]) * x[i, 0]
    return np.sum(y * x)


def rows(a, b):
    s = 0.0
    for i in range(a.shape[0]):
        w = np.exp(a[i]) * b
        s += np.sum(w * w[::-1])
    return s


def products(a, b):
    s = 0.0
    for k in range(a.shape[0]):
        m = np.tanh(a[k] @ b)
        s += np.sum(m * m)
    return s


def histories(x):
    s = 0.0
    for i in range(len(x)):
        v = x[i]
        for _ in range(5):
            v = v - 0.1 * np.sin(v) * v
        s += v * v
    return s


def shared_weights(x, w):
    s = 0.0
    for i in range(x.shape[0]):
        h = np.tanh(w @ x[i])
        s += np.sum(h * h)
    return s


def convolution(x, k):
    n, m = x.shape[0] - k.shape[0] + 1, k.shape[0]
    out = np.empty((n, x.shape[1]))
    for i in range(n):
        out[i] = np.sum(np.exp(x[i : i + m]) * k, axis=0)
    return np.sum(out * out)


def nearest(c, p):
    total = 0.0
    for i in range(len(p)):
        best = np.argmin(np.sum((c - p[i]) ** 2, axis=1))
        total += np.sum((c[best] - p[i]) ** 2)
    return total


def singles(x):
    return np.sum(np.exp(x) * np.float32(2.0))


def alternating(x):
    even = np.sum(np.exp(x[::2]))
    y = np.zeros_like(x)
    y[::2] = np.sin(x[::2])
    y[1::2] = np.exp(x[1::2])
    return even + np.sum(y * y)


def backwards(x):
    y = np.empty_like(x)
    for i in range(len(x) - 1, -1, -1):
        y[i] = np.exp(np.sin(x[i]))
    return np.sum(y[::-1] * x)


INDEX = RNG.integers(0, BIG, BIG)
PROGRAMS = {  # function, arguments, how many of the value's loops are parallel (None: any number)
    map_: ((array(BIG),), 1),
    expression: ((array(BIG),), 1),
    map_and_sum: ((array(BIG),), 1),
    conditional_sum: ((array(BIG),), 1),
    largest: ((array(BIG),), None),
    stencil: ((array(BIG),), 1),
    in_time: ((array(150, 170),), None),
    gather_add: ((array(BIG), INDEX), 1),
    scatter: ((array(BIG), INDEX), None),
    prefix: ((array(BIG),), None),
    running: ((array(BIG),), None),
    triangular: ((array(200, 200),), 1),
    triangular_store: ((array(200, 200),), None),
    rows: ((array(40, 500), array(500)), 1),
    products: ((array(12, 30, 40), array(40, 20)), 1),
    histories: ((array(BIG // 4),), 1),
    shared_weights: ((array(4000, 12), array(10, 12)), 1),
    convolution: ((array(400, 100), array(7, 100)), None),
    nearest: ((array(40, 3), array(2000, 3)), 2),  # blocks of turns side by side, and what is left over
    singles: ((array(BIG).astype(np.float32),), 1),
    alternating: ((array(BIG),), None),
    backwards: ((array(BIG),), None),
}


def leaves(x):
    return [y for part in x for y in leaves(part)] if isinstance(x, tuple) else [np.asarray(x)]


def float_arguments(args):
    return tuple(k for k, a in enumerate(args) if a.dtype.kind == "f")


def close(got, wanted):
    for a, b in zip(leaves(got), leaves(wanted), strict=True):
        tolerance = 1e-4 if a.dtype == np.float32 else 1e-11
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * (1.0 + np.max(np.abs(b), initial=0.0)))


def identical(got, wanted):
    for a, b in zip(leaves(got), leaves(wanted), strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_value_and_gradient(function):
    args, _ = PROGRAMS[function]
    wrt = float_arguments(args)
    serial = value_and_grad(function, argnums=wrt)(*args)
    made = {count: value_and_grad(function, argnums=wrt, parallel=count) for count in (1, 2, 3)}
    first = made[2](*args)
    close(first, serial)
    for _ in range(20):
        identical(made[2](*args), first)
    for count in (1, 3):
        identical(made[count](*args), first)


@pytest.mark.daily(2)
@pytest.mark.parametrize("function", [f for f in PROGRAMS if PROGRAMS[f][1] is not None], ids=lambda f: f.__name__)
def test_loops_of_the_value_are_marked(function):
    args, count = PROGRAMS[function]
    compiled = jit(function, parallel=True).compile(*args)
    assert compiled.ir("scheduled").count("in parallel (") == count
    assert "in parallel" not in jit(function).compile(*args).ir("scheduled")


@pytest.mark.parametrize("function", [prefix, running])
def test_recurrences_stay_serial(function):
    scheduled = jit(function, parallel=True).compile(array(10)).ir_function("scheduled")
    bodies = [op.regions[0] for op in plans(scheduled)]
    powers = [inner for body in bodies for inner in body.ops if inner.name in ("sin", "exp")]
    assert not powers  # what is in the recurrence


def test_writes_through_an_index_stay_serial():
    scheduled = jit(scatter, parallel=True).compile(array(10), INDEX[:10] % 10).ir_function("scheduled")
    assert not [op for op in plans(scheduled) if any(inner.name == "exp" for inner in op.regions[0].ops)]


def test_ranges_that_are_read_in_a_turn_stay_serial():
    """Where a turn writes begins at a number that is another one in each turn, under one name."""

    def places(x, start, size):
        y = np.ones(size)
        for b in range(len(start)):
            low = abs(start[b])
            for i in range(low, low + 3):
                y[i + 3 * b] = y[i + 3 * b] * 0.5 + x[b]
        return y

    count = 50000
    arguments = array(count), np.array([3 * (count - b) for b in range(count)]), 3 * count + 3
    compiled = jit(places, parallel=2).compile(*arguments)
    assert "%b in parallel" not in compiled.ir("scheduled")
    assert compiled(*arguments).tobytes() == places(*arguments).tobytes()


def test_marks_are_text():
    scheduled = grad(histories, parallel=True).compile(array(10)).ir_function("scheduled")
    text = to_text(scheduled)
    assert "in parallel reverse(" in text and "in parallel (" in text
    assert to_text(parse(text)) == text
    assert [p.sums for p in plans(parse(text)).values()] == [p.sums for p in plans(scheduled).values()]


def test_the_source_says_it():
    compiled = jit(map_and_sum, parallel=True).compile(array(10))
    assert "# parallel" in compiled.source()
    assert "# parallel" not in jit(map_and_sum).compile(array(10)).source()


@pytest.mark.daily(1)
@pytest.mark.parametrize("function", [map_and_sum, triangular_store], ids=lambda f: f.__name__)
def test_the_other_backend_runs_the_same_program(function, monkeypatch):
    args, _ = PROGRAMS[function]
    wanted = value_and_grad(function, parallel=2)(*args)
    monkeypatch.setenv("ADJIT_BACKEND", "numba")
    close(value_and_grad(function, parallel=2)(*args), wanted)


# ---------------------------------------------------------------- sizes


@pytest.mark.daily(2)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 63, 64, 65, 1000, 12345])
def test_sizes(size):
    x = array(size)
    for function in (map_, expression, map_and_sum, stencil if size > 2 else map_):
        close(value_and_grad(function, parallel=3)(x), value_and_grad(function)(x))


def test_few_heavy_turns():
    def heavy(x):
        s = 0.0
        for i in range(x.shape[0]):
            s += np.sum(np.exp(x[i])) * np.sum(np.sin(x[i]))
        return s

    for count in (1, 2, 3, 5):
        x = array(count, 20000)
        close(value_and_grad(heavy, parallel=2)(x), value_and_grad(heavy)(x))


def test_signs_of_zeros_and_specials():
    def total(x):
        s = -0.0
        for i in range(len(x)):
            s += x[i]
        return s

    zeros = np.full(10 * BIG, -0.0)
    assert np.signbit(jit(total)(zeros)) and np.signbit(jit(total, parallel=2)(zeros))
    for special in (np.inf, -np.inf, np.nan):
        x = array(10 * BIG)
        x[BIG + 5] = special
        np.testing.assert_equal(jit(total, parallel=2)(x), jit(total)(x))


# ---------------------------------------------------------------- failures, writes


def checked(x, index):
    s = 0.0
    for i in range(len(index)):
        if x[i] < -50.0:
            raise ValueError("too small")
        s += np.exp(np.sin(x[index[i]]))
    return s


def test_the_first_failure_is_told():
    x, index = array(BIG), INDEX.copy()
    function = jit(checked, parallel=3)
    close(function(x, index), jit(checked)(x, index))
    index[BIG - 1] = BIG + 7
    with pytest.raises(IndexError, match=str(BIG + 7)):
        function(x, index)
    index[BIG // 2] = -BIG - 9
    for _ in range(20):
        with pytest.raises(IndexError, match=str(-BIG - 9)):
            function(x, index)
    x[BIG // 4] = -100.0
    for _ in range(20):
        with pytest.raises(ValueError, match="too small"):
            function(x, index)


def test_failures_leave_the_callers_arrays_as_python_does():
    def fill(y, x, index):
        for i in range(len(index)):
            y[i] = np.exp(x[index[i]])

    x, index = array(BIG), INDEX.copy()
    index[BIG // 3] = BIG
    mine, python = np.zeros(BIG), np.zeros(BIG)
    with pytest.raises(IndexError):
        jit(fill, parallel=3)(mine, x, index)
    with pytest.raises(IndexError):
        fill(python, x, index)
    np.testing.assert_allclose(mine, python, rtol=1e-14)


def test_arguments_are_changed_as_by_python():
    def relax(u, v):
        for _ in range(2):
            v[1:-1] = 0.5 * (u[2:] + u[:-2])
            u[1:-1] = np.tanh(v[1:-1]) + np.exp(-u[1:-1])

    for layout in (slice(None), slice(None, None, 3)):
        mine, python = ([array(3 * BIG)[layout], np.zeros(3 * BIG)[layout]] for _ in range(2))
        python[0][...] = mine[0]
        jit(relax, parallel=2)(*mine)
        relax(*python)
        for a, b in zip(mine, python, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_memory_of_a_caller_that_overlaps_itself():
    def fill(y, x):
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                y[i, j] = np.exp(x[i]) + j

    x = array(5000)
    mine, python = np.zeros(5010), np.zeros(5010)
    windows = [np.lib.stride_tricks.as_strided(a, (5000, 10), (8, 8)) for a in (mine, python)]
    jit(fill, parallel=2)(windows[0], x)
    fill(windows[1], x)
    np.testing.assert_allclose(mine, python, rtol=1e-14)


# ---------------------------------------------------------------- transforms


@pytest.mark.slow
def test_all_transforms():
    def function(x):
        return np.sum(np.exp(np.sin(x)) * x)

    x, v = array(BIG), array(BIG)
    identical(grad(function, parallel=2)(x), value_and_grad(function, parallel=2)(x)[1])
    close(jvp(function, (x,), (v,), parallel=2), jvp(function, (x,), (v,)))
    value, pullback = vjp(function, x, parallel=2)
    other, back = vjp(function, x)
    close((value, *pullback(1.5)), (other, *back(1.5)))
    value, push = linearize(function, x, parallel=2)
    close((value, push(v)), (other, linearize(function, x)[1](v)))
    small = array(70)
    close(hessian(function, parallel=2)(small), hessian(function)(small))
    close(jacrev(lambda x: np.exp(x) * x[0], parallel=2)(small), jacrev(lambda x: np.exp(x) * x[0])(small))


def test_nested_transforms_take_the_outer_ones_threads():
    @grad
    def outer(x):
        return np.sum(grad(expression, parallel=True)(x) ** 2)

    x = array(50)
    close(outer(x), grad(lambda x: np.sum(grad(expression)(x) ** 2))(x))


PRODUCTS = {  # functions, and which of their arguments are transposed
    "nn": (lambda a, b: a @ b, False, False),
    "tn": (lambda a, b: a.T @ b, True, False),
    "nt": (lambda a, b: a @ b.T, False, True),
    "tt": (lambda a, b: a.T @ b.T, True, True),
}


@pytest.mark.daily(1)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", PRODUCTS)
def test_products_are_shared_out(kind, dtype):
    function, left, right = PRODUCTS[kind]
    tolerance = 1e-3 if dtype is np.float32 else 1e-11
    for rows, columns, inner in ((200, 300, 250), (1000, 40, 64), (40, 1000, 64), (17, 5000, 33), (300, 1, 900)):
        a = array(*((inner, rows) if left else (rows, inner))).astype(dtype)
        b = array(*((columns, inner) if right else (inner, columns))).astype(dtype)
        made = [jit(function, parallel=count)(a, b) for count in (1, 2, 3)]
        np.testing.assert_allclose(made[0], function(a, b), rtol=tolerance, atol=tolerance)
        identical(made[1], made[0])
        identical(made[2], made[0])


def test_blas_has_its_threads_back():
    before = blas_threads.threads_of_blas()
    args = PROGRAMS[products][0]
    for how in (False, 2):
        value_and_grad(products, argnums=(0, 1), parallel=how)(*args)
        jit(PRODUCTS["nn"][0], parallel=how)(array(150, 150), array(150, 150))
        assert blas_threads.threads_of_blas() == before


def test_numbers_of_threads():
    for wrong in (0, -1, 1.5, "all", None):
        with pytest.raises(ArgumentError, match="parallel"):
            grad(map_, parallel=wrong)
    x = array(BIG)
    identical(grad(map_, parallel=16)(x), grad(map_, parallel=True)(x))


def test_parallel_and_serial_kernels_are_different_ones():
    x = array(100)
    serial, parallel = jit(map_).compile(x), jit(map_, parallel=2).compile(x)
    assert serial._stage_source().executable.machine_code.key != parallel._stage_source().executable.machine_code.key
    other = jit(map_, parallel=3).compile(x)
    assert other._stage_source().executable.machine_code.key != parallel._stage_source().executable.machine_code.key


# ---------------------------------------------------------------- the pool in a process


def test_concurrent_callers():
    x = array(BIG)
    function = value_and_grad(map_and_sum, parallel=2)
    wanted = function(x)
    wrong = []

    def work():
        for _ in range(40):
            got = function(x)
            if got[0] != wanted[0] or got[1].tobytes() != wanted[1].tobytes():
                wrong.append(got)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_children_have_their_own_pool():
    x = array(BIG)
    function = value_and_grad(map_and_sum, parallel=2)
    wanted = function(x)
    assert threads.started() >= 1
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            function(x)

    other = threading.Thread(target=busy)
    other.start()  # the pool may be at work when the process forks
    try:
        for _ in range(5):
            child = os.fork()
            if child == 0:
                fine = threads.started() == 0
                got = function(x)
                fine = fine and threads.started() >= 1 and got[0] == wanted[0]
                fine = fine and got[1].tobytes() == wanted[1].tobytes()
                os._exit(0 if fine else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        other.join()
    identical(function(x), wanted)


SCRIPT = """
    import threading, time
    import numpy as np
    from adjit import grad
    from adjit.codegen import blas_threads, threads

    def function(x):
        return np.sum(np.exp(np.sin(x)))

    g = grad(function, parallel=2)
    x = np.linspace(0.0, 1.0, 100000)
    g(x)
    assert threads.started() == 1, threads.started()
    {rest}
    print("end")
"""


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "time.sleep(0.2)  # the workers sleep",
        "threading.Thread(target=lambda: [g(x) for _ in range(10**9)], daemon=True).start(); time.sleep(0.1)",
        "threading.Thread(target=lambda: [g(x) for _ in range(200)]).start()",
        "import atexit; atexit.register(lambda: g(x))",
    ],
    ids=["at once", "asleep", "daemon", "thread", "atexit"],
)
def test_exit(rest, tmp_path):
    done = run_script(textwrap.dedent(SCRIPT).replace("{rest}", rest), tmp_path)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "end", "")


def run_script(text, folder):
    file = folder / "script.py"
    file.write_text(textwrap.dedent(text))
    return subprocess.run([sys.executable, str(file)], capture_output=True, text=True, timeout=120, check=False)


def compute(x):
    return float(value_and_grad(map_and_sum, parallel=2)(x)[0])


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_multiprocessing():
    x = array(BIG)
    wanted = compute(x)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(compute, [x] * 4) == [wanted] * 4


def test_threads_are_started_when_they_are_needed(tmp_path):
    script = """
        import numpy as np
        from adjit import jit
        from adjit.codegen import blas_threads, threads

        @jit(parallel=2)
        def f(x):
            return np.sum(np.exp(x))

        f(np.ones(10))
        assert threads.started() == 0
        f(np.ones(100000))
        assert threads.started() == 1
    """
    done = run_script(script, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def held():
    _nrt_python.memsys_enable_stats()
    stats = rtsys.get_allocation_stats()
    return stats.mi_alloc - stats.mi_free


def test_memory_is_given_back():
    args = PROGRAMS[shared_weights][0]
    function = value_and_grad(shared_weights, argnums=(0, 1), parallel=2)
    failing = jit(checked, parallel=2)
    x, index = array(BIG), INDEX.copy()
    index[100] = BIG
    function(*args)
    gc.collect()
    before = held()
    for _ in range(5):
        function(*args)
        with pytest.raises(IndexError):
            failing(x, index)
    gc.collect()
    assert held() == before
