"""The choice between the kernel for threads and the one without: by extents and integers alone, the same at each call;
errors name the same lines; nothing is compiled before it is chosen."""

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from adjit import grad, jit, value_and_grad, vjp
from adjit.codegen import choosing
from adjit.codegen.build import stats
from adjit.codegen.choosing import ChoosingExecutable

RNG = np.random.default_rng(11)
SMALL, LARGE = 50, 40000


def total(x, w):
    s = 0.0
    for i in range(len(x)):
        s += np.exp(np.sin(x[i])) * w[i]
    return s


def repeated(x, n):
    s = 0.0
    for k in range(n):
        s += np.exp(np.sin(x[k % 3])) * k
    return s


def checked(x, index):
    s = 0.0
    for i in range(len(index)):
        if x[i] < -50.0:
            raise ValueError("too small")
        s += np.exp(np.sin(x[index[i]]))
    return s


def listed(starts, x):
    s = 0.0
    for i in range(starts[1], starts[2]):
        s += np.exp(x[i])
    return s


def eliminated(a):
    a = a.copy()
    for k in range(a.shape[0]):
        for i in range(k + 1, a.shape[0]):
            a[i, k] /= a[k, k]
            for j in range(k + 1, a.shape[0]):
                a[i, j] -= a[i, k] * a[k, j]
    return np.sum(np.log(np.abs(np.diag(a))))


def products(a, b):
    return np.sum(np.tanh(a @ b))


def executable(compiled) -> ChoosingExecutable:
    found = compiled._stage_source().executable
    assert isinstance(found, ChoosingExecutable)
    return found


def arguments(size):
    return RNG.standard_normal(size), RNG.standard_normal(size)


def same_bits(a, b):
    for x, y in zip(a, b, strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def test_small_calls_are_those_without_threads_and_large_ones_are_not():
    serial, parallel = (value_and_grad(total, argnums=(0, 1), parallel=how) for how in (False, 2))
    small, large = arguments(SMALL), arguments(LARGE)
    first = parallel(*small)
    made = executable(parallel)
    assert made.choice(small).executable is made.alone
    assert "kernel" not in made.several.__dict__
    same_bits([first[0], *first[1]], [serial(*small)[0], *serial(*small)[1]])
    wanted = parallel(*large)
    assert made.choice(large).executable is made.several
    np.testing.assert_allclose(wanted[0], serial(*large)[0], rtol=1e-12)
    for _ in range(3):
        for args, found in ((small, first), (large, wanted)):
            again = parallel(*args)
            same_bits([again[0], *again[1]], [found[0], *found[1]])


def test_the_first_call_compiles_one_kernel():
    def fresh(x, w):
        return total(x, w) * 1.25

    for size in (SMALL, LARGE):
        before = stats.compiled + stats.loaded_from_cache
        jit(fresh, parallel=2)(*arguments(size))
        assert stats.compiled + stats.loaded_from_cache == before + 1


def test_integers_decide():
    function, serial = jit(repeated, parallel=2), jit(repeated)
    x = RNG.standard_normal(3)
    for n in (-5, 0, 10, LARGE, 10, np.int64(LARGE)):
        assert np.isclose(function(x, n), serial(x, n), rtol=1e-12)
        made = executable(function)
        assert made.choice((x, n)).executable is (made.several if n == LARGE else made.alone)


def test_what_cannot_be_told_is_left_to_the_program():
    starts = np.array([0, 3, 40000])
    x = RNG.standard_normal(40000)
    function = jit(listed, parallel=2)
    assert np.isclose(function(starts, x), jit(listed)(starts, x), rtol=1e-12)
    made = function._stage_source().executable
    assert getattr(made, "chances", None) is None  # a later process knows of no choice
    assert made.function.attrs["threads"] == 2
    assert made.kernel.key != jit(listed).compile(starts, x)._stage_source().executable.kernel.key


def test_without_loops_to_share_there_is_one_kernel():
    def scalar(x):
        return x * x + 1.0

    function = grad(scalar, parallel=2)
    assert function(3.0) == 6.0
    assert executable(function).chances == ""
    assert executable(function).kernel is executable(function).alone.kernel


@pytest.mark.parametrize("size", [SMALL, LARGE])
def test_errors_name_what_failed(size):
    function = jit(checked, parallel=2)
    x, index = RNG.standard_normal(size), np.arange(size)
    good = function(x, index)
    other = LARGE if size == SMALL else SMALL
    function(RNG.standard_normal(other), np.arange(other))  # both kernels are there
    index[size // 2] = size + 7
    for _ in range(2):  # the general way, then the fast one
        with pytest.raises(IndexError, match=str(size + 7)):
            function(x, index)
    x[size // 3] = -100.0
    with pytest.raises(ValueError, match="too small"):
        function(x, index)
    x[size // 3], index[size // 2] = 0.0, 0
    assert function(x, index) != good


def test_other_arguments_find_their_own_kernels():
    function = value_and_grad(total, parallel=2)
    x, w = arguments(SMALL)
    wanted = function(x, w)[0]
    assert np.isclose(function(x[::-1], w[::-1])[0], wanted)
    assert np.isclose(function(x.astype(np.float32), w)[0], wanted, rtol=1e-4)
    assert np.isclose(function(np.stack([x, w], 1)[:, 0], w)[0], wanted)
    with pytest.raises(Exception, match=r"extent|shape|len|range|out of"):
        function(np.append(x, x), w)
    with pytest.raises(TypeError, match="no len"):
        function(1.0, w)
    assert function(x, w)[0] == wanted


def test_halves_of_a_derivative_choose_for_themselves():
    def function(x):
        return np.exp(np.sin(x)) * x

    for size in (SMALL, LARGE, SMALL):
        x = RNG.standard_normal(size)
        value, pullback = vjp(function, x, parallel=2)
        other, back = vjp(function, x)
        np.testing.assert_allclose(value, other, rtol=1e-13)
        np.testing.assert_allclose(pullback(value)[0], back(value)[0], rtol=1e-13)
        with pytest.raises(Exception, match=r"shape|cotangent|extent"):
            pullback(np.ones(size + 1))


def test_arguments_that_are_written_to():
    def relax(u, n):
        for _ in range(n):
            for i in range(1, len(u) - 1):
                u[i] = np.exp(-u[i]) + np.sin(u[i])

    function = jit(relax, parallel=2)
    for size in (SMALL, LARGE, SMALL):
        mine = RNG.standard_normal(size)
        python = mine.copy()
        function(mine, 2)
        for _ in range(2):
            python[1:-1] = np.exp(-python[1:-1]) + np.sin(python[1:-1])
        np.testing.assert_allclose(mine, python, rtol=1e-12, atol=1e-14)


def test_several_python_threads_with_sizes_of_their_own():
    function = value_and_grad(total, parallel=2)
    cases = [arguments(size) for size in (10, SMALL, 9000, LARGE)]
    wanted = [value_and_grad(total, parallel=2)(*args) for args in cases]
    wrong = []

    def work(k):
        for turn in range(30):
            at = (k + turn) % len(cases)
            value, gradient = function(*cases[at])
            if value != wanted[at][0] or gradient.tobytes() != wanted[at][1].tobytes():
                wrong.append(at)

    callers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


def test_many_extents():
    function, serial = jit(total, parallel=2), jit(total)
    for size in range(2, 1100):
        x = np.full(size, 0.5)
        assert np.isclose(function(x, x), serial(x, x), rtol=1e-13)
    assert len(executable(function).table) <= 1000


def estimate(function, *args):
    made = executable(jit(function, parallel=2).compile(*args))
    found = {"a": list(args)}
    exec(made.chances, found)
    return found["work"], found["saved"]


@pytest.mark.parametrize(
    ("function", "sizes"),
    [
        (total, lambda n: (np.ones(n), np.ones(n))),
        (repeated, lambda n: (np.ones(3), n)),
        (eliminated, lambda n: (np.eye(n // 50),)),
        (products, lambda n: (np.ones((n // 50, n // 50)), np.ones((n // 50, n // 50)))),
    ],
    ids=lambda p: getattr(p, "__name__", "") if callable(p) else None,
)
def test_estimates(function, sizes):
    before = -1.0
    for n in (150, 500, 990, 60000):
        work, saved = estimate(function, *sizes(n))
        assert 0.0 <= saved <= 0.5 * work
        assert work > before
        before = work
    if function is not eliminated:
        assert saved > 0.3 * work


def test_estimates_of_nothing():
    for size in (0, 2):
        assert estimate(total, np.ones(size), np.ones(size))[1] == 0.0
    assert estimate(products, np.ones((0, 3)), np.ones((3, 0)))[1] == 0.0


def test_branches_that_are_hardly_ever_run_do_not_count():
    def logsumexp(x):
        top = np.max(x)
        return top + np.log(np.sum(np.exp(x - top)))

    def shifted(x):
        return np.log(np.sum(np.exp(x - 0.5)))

    x = np.ones(LARGE)
    both = []
    for function in (logsumexp, shifted):
        compiled = grad(function, parallel=2)
        compiled(x)
        made = executable(compiled)
        found = {"a": [x]}
        exec(made.chances, found)
        both.append(found["work"])
    # the maximum, and a branch with two loops: not the loops over what does not cancel
    assert both[0] < 1.2 * both[1]


def sparse_product(starts, columns, values, x):
    y = np.zeros(len(starts) - 1)
    for i in range(len(starts) - 1):
        for k in range(starts[i], starts[i + 1]):
            y[i] += values[k] * x[columns[k]]
    return y


@pytest.mark.parametrize(("rows", "pays"), [(4096, False), (400_000, True)])
def test_rows_of_unknown_length_are_thought_short(rows, pays):
    """Two numbers in each: threads do not pay for 4096 of them, 20 us of work."""
    starts, columns = np.arange(0, 2 * rows + 1, 2), np.arange(2 * rows) // 2
    args = (starts, columns, np.ones(2 * rows), np.ones(rows))
    work, saved = estimate(sparse_product, *args)
    assert (saved >= choosing.LEAST_SAVED * work) is pays


def steps(x, end, step):
    time, total = 0.0, 0.0
    for _ in range(int(np.ceil(end / step))):
        x = x + step * np.sin(x) * np.exp(-x)
    while time < end:
        time += step
        total += np.sum(np.exp(np.sin(x * time)))
    return total


@pytest.mark.parametrize("differentiate", [jit, grad])
def test_steps_of_unknown_number_do_not_matter(differentiate):
    """Of loops whose turns numbers decide, the arrays inside say whether threads pay; forward and reverse."""
    function, serial = differentiate(steps, parallel=2), differentiate(steps)
    for size in (SMALL, LARGE):
        args = (RNG.standard_normal(size), 0.5, 0.1)
        np.testing.assert_allclose(function(*args), serial(*args), rtol=1e-12)
        made = executable(function)
        assert made.choice(args).executable is (made.several if size == LARGE else made.alone)


def test_native_callers_have_the_kernel_for_threads():
    from numba import njit

    compiled = jit(total, parallel=2)
    inner = compiled.njit

    @njit
    def outer(x, w):
        return inner(x, w)

    for size in (SMALL, LARGE):
        x, w = arguments(size)
        assert np.isclose(outer(x, w), total(x, w), rtol=1e-12)


SCRIPT = """
    import sys
    import numpy as np
    from adjit import value_and_grad
    from adjit.codegen.build import stats
    from chosen_program import f

    g = value_and_grad(f, parallel=2)
    for size in (50, 40000):
        x = np.linspace(0.0, 1.0, size)
        value, gradient = g(x)
        print(size, value.hex(), float(np.sum(gradient)).hex())
    print(stats.traces, stats.compiled, file=sys.stderr)
"""


PROGRAM = """
    import numpy as np

    def f(x):
        return np.sum(np.exp(np.sin(x)))
"""


@pytest.mark.slow
def test_a_later_process_chooses_likewise(tmp_path):
    (tmp_path / "chosen_program.py").write_text(
        "import numpy as np\n\ndef f(x):\n    return np.sum(np.exp(np.sin(x)))\n"
    )
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "ADJIT_CACHE_DIR": str(tmp_path / "cache")}
    outputs = []
    for traced, compiled in ((1, 2), (0, 0)):
        done = subprocess.run(
            [sys.executable, str(script)], capture_output=True, text=True, timeout=120, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.split() == [str(traced), str(compiled)]
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


def test_results_written_to_given_arrays():
    serial = value_and_grad(total, argnums=(0, 1))
    function = value_and_grad(total, argnums=(0, 1), parallel=2)
    for size in (SMALL, LARGE, SMALL, LARGE, SMALL + 1):
        args = arguments(size)
        out = np.empty(size), np.empty(size)
        for _ in range(2):
            value, _ = function.into(out, *args)
            wanted = function(*args)
            assert value == wanted[0]
            same_bits(out, wanted[1])
            np.testing.assert_allclose(value, serial(*args)[0], rtol=1e-12)


def test_errors_of_either_kernel_where_results_are_written():
    def gathered(x, index):
        s = 0.0
        for i in range(len(index)):
            s += np.exp(np.sin(x[index[i]]))
        return s

    function = grad(gathered, parallel=2)
    for size in (SMALL, LARGE, SMALL):
        x, index, out = RNG.standard_normal(size), np.arange(size), np.empty(size)
        function.into(out, x, index)
        function.into(out, x, index)
        index[3] = size + 5
        with pytest.raises(IndexError, match=str(size + 5)):
            function.into(out, x, index)
