"""`adjit bench npbench`: on a checkout of its own, written here in NPBench's layout, the table says what holds and what
does not. No times are asserted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adjit import grad
from adjit.__main__ import main
from adjit.benchmarks import npbench, npbench_jax, suite_npbench, threads
from adjit.benchmarks.agreement import Mismatch
from adjit.benchmarks.options import Options
from adjit.benchmarks.references import difference_quotient, direction, relative
from adjit.benchmarks.timing import QUICK

PROGRAMS: dict[str, tuple[dict[str, Any], str, str]] = {
    # writes to an argument, and calls a helper of its module; a module constant; float and integer numbers
    "relax": (
        {
            "parameters": {"S": {"N": 12, "steps": 3}, "M": {"N": 20, "steps": 3}},
            "init": {"input_args": ["N"], "output_args": ["alpha", "A", "table"]},
            "input_args": ["steps", "alpha", "A", "table"],
            "output_args": ["A"],
        },
        """
import numpy as np


def initialize(N, datatype=np.float64):
    A = np.fromfunction(lambda i, j: (i * j % N) / N, (N, N), dtype=datatype)
    return datatype(0.3), A, np.arange(N) % 3
""",
        """
import numpy as np

QUARTER = 0.25


def neighbours(A):
    return QUARTER * (A[:-2, 1:-1] + A[2:, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:])


def kernel(steps, alpha, A, table):
    for _ in range(steps):
        A[1:-1, 1:-1] += alpha * (neighbours(A) - A[1:-1, 1:-1])
        A[table[0]] *= A[1, 0] + alpha
""",
    ),
    # returns an array, a number and a count; float32 data from the global generator
    "moments": (
        {
            "parameters": {"S": {"N": 30}},
            "init": {"input_args": ["N"], "output_args": ["x"]},
            "input_args": ["x", "N"],
            "output_args": [],
        },
        """
import numpy as np


def initialize(N):
    return np.random.rand(N, 3).astype(np.float32)
""",
        """
import numpy as np


def moments(x, N):
    mean = np.sum(x, axis=0) / N
    centered = x - mean
    count = 0
    while mean[0] < 10.0:
        mean = 2.0 * mean
        count += 1
    return centered * centered * mean, np.sum(mean), count
""",
    ),
    # bench_info does not say what it writes
    "silent": (
        {
            "parameters": {"S": {"N": 5}},
            "init": {"input_args": ["N"], "output_args": ["x", "y"]},
            "input_args": ["x", "y"],
            "output_args": ["y"],
        },
        """
import numpy as np


def initialize(N):
    return np.zeros(N), np.arange(1.0, N + 1.0)
""",
        """
def silent(x, y):
    x[:] = y * y + 3.0 * x
""",
    ),
    # rounds to float32 on the way: a function of steps
    "rounded": (
        {
            "parameters": {"S": {"N": 40}},
            "init": {"input_args": ["N"], "output_args": ["x"]},
            "input_args": ["x"],
            "output_args": [],
        },
        """
import numpy as np


def initialize(N):
    return np.random.default_rng(42).random(N, dtype=np.float32)
""",
        """
import numpy as np


def rounded(x):
    squares = np.empty(x.shape, dtype=np.float32)
    squares[:] = x * x / 3.0
    return squares + x
""",
    ),
    # chaotic: its derivative depends on the last bits of the arguments
    "chaos": (
        {
            "parameters": {"S": {"N": 30, "steps": 45}},
            "init": {"input_args": ["N"], "output_args": ["mix", "x"]},
            "input_args": ["mix", "x", "steps"],
            "output_args": ["x"],
        },
        """
import numpy as np


def initialize(N):
    return 0.9 * np.eye(N) + 0.1 / N, np.linspace(0.2, 0.3, N)
""",
        """
def chaos(mix, x, steps):
    for _ in range(steps):
        x[:] = mix @ (3.99 * x * (1.0 - x))
""",
    ),
    # refused
    "draws": (
        {
            "parameters": {"S": {"N": 5}},
            "init": {"input_args": ["N"], "output_args": ["x"]},
            "input_args": ["x"],
            "output_args": [],
        },
        """
import numpy as np


def initialize(N):
    return np.ones(N)
""",
        """
import numpy as np


def draws(x):
    return x + np.random.rand(x.shape[0])
""",
    ),
    # no real derivative
    "crc16": (
        {"parameters": {"S": {}}, "init": None, "input_args": [], "output_args": []},
        "",
        "def crc16():\n    return 1\n",
    ),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "bench_info").mkdir()
    for name, (info, initialize, program) in PROGRAMS.items():
        init = info["init"] and {"func_name": "initialize", **info["init"]}
        function = "kernel" if "def kernel" in program else name
        info = {**info, "init": init, "relative_path": f"some/{name}", "module_name": name, "func_name": function}
        (tmp_path / "bench_info" / f"{name}.json").write_text(json.dumps({"benchmark": info}), encoding="utf-8")
        folder = tmp_path / "npbench" / "benchmarks" / "some" / name
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text(initialize, encoding="utf-8")
        (folder / f"{name}_numpy.py").write_text(program, encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.MARK, "1")


def options(root: Path, **more: Any) -> Options:
    return Options(effort=QUICK, quick=True, memory=False, root=str(root), **more)


@pytest.mark.slow
def test_the_tables_say_what_holds_and_what_does_not(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADJIT_CACHE_DIR", str(root / "cache"))  # where nothing was compiled before
    report = root / "report.json"
    words = ["--root", str(root), "--quick", "--peers", "none", "--json", str(report)]
    assert main(["bench", "npbench", *words]) == 1
    printed = capsys.readouterr().out
    assert "5 of 6 programs hold." in printed
    assert "FAILED  npbench draws: UnsupportedError" in printed and "draws_numpy.py:6" in printed
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["options"]["preset"] == "S"
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == ["chaos", "draws", "moments", "relax", "rounded", "silent"]
    assert [name for name, row in rows.items() if row["failure"]] == ["draws"]
    facts = {name: row["facts"] for name, row in rows.items()}
    assert facts["draws"]["exact_error"] is None and not rows["draws"]["timings"]
    assert [name for name in facts if facts[name]["ill_conditioned"]] == ["chaos"]
    assert facts["chaos"]["exact_error"] > 1e-9
    assert facts["rounded"]["quotient_error"] is None and facts["rounded"]["exact_error"] < 1e-6
    for name in ("moments", "relax", "silent"):
        found = facts[name]
        assert found["quotient_error"] < 1e-7 and found["exact_error"] < 1e-12 and found["value_error"] < 1e-12
        assert {side: set(by) for side, by in rows[name]["timings"].items()} == {
            "adjit": {"primal", "derivative"}, "numpy": {"primal"}
        }  # fmt: skip
        assert {"trace", "optimize", "adjoint", "schedule", "render"} <= set(found["stages"])
        assert sum(found["stages"].values()) < rows[name]["first_calls"]["adjit"]


def test_only_some_programs_and_another_preset(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "npbench", "--root", str(root), "--quick", "--peers", "none", "--preset", "M"]
    assert main([*words, "--filter", "^relax$"]) == 0
    assert "1 of 1 programs hold." in capsys.readouterr().out
    assert main([*words, "--filter", "silent"]) == 1
    assert "silent has no preset M; it has S" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["npbench"], "needs --root"),
        (["npbench", "--root", "nowhere"], "is it a checkout of NPBench"),
        (["npbench", "--root", "ROOT", "--filter", "gemm"], "no row's name matches 'gemm'"),
        (["npbench", "--root", "ROOT", "--filter", "crc16"], "no row's name matches 'crc16'"),
    ],
)
def test_what_is_asked_wrongly(
    root: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as error:
        main(["bench", *(str(root) if a == "ROOT" else a for a in arguments)])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_problems_are_the_programs_of_the_checkout(root: Path) -> None:
    relax = npbench.problem(root, "relax")
    assert [np.shape(x) for x in relax.floats] == [(), (12, 12)]  # alpha and A
    assert relax.others[0] == 3 and relax.others[1].dtype.kind == "i"
    assert [np.shape(w) for w in relax.weights] == [(12, 12)]
    before = relax.fresh()
    relax.loss(*before)
    assert not np.array_equal(before[0][1], relax.floats[1])  # the loss writes to its arguments, not to the problem's
    moments = npbench.problem(root, "moments")
    assert moments.floats[0].dtype == np.float64
    assert np.array_equal(moments.floats[0], npbench.problem(root, "moments").floats[0])  # the same data each time
    assert [w is None for w in moments.weights] == [False, False, True]
    assert npbench.problem(root, "silent").weights[0].shape == (5,)  # x, which it writes, for y, which it is said to


def failure_with(root: Path, monkeypatch: pytest.MonkeyPatch, change: Any) -> str:
    """Why `relax` fails where `grad` is made to lie."""

    class Lying:
        def __init__(self, function: Any) -> None:
            self.compiled = grad(function)
            self.calls = 0

        def __call__(self, *arguments: Any) -> Any:
            self.calls += 1
            return change(self.compiled(*arguments), arguments, self.calls)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.compiled, name)

    monkeypatch.setattr(suite_npbench, "grad", Lying)
    return suite_npbench.measure("relax", options(root)).failure


def test_a_wrong_gradient_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failure = failure_with(root, monkeypatch, lambda g, arguments, calls: (g[0] * (1 + 1e-7), g[1]))
    assert failure.startswith("the gradient gives")  # though a difference quotient would not show it


def test_a_changed_argument_fails(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(gradient: Any, arguments: Any, calls: int) -> Any:
        arguments[0][1][3, 3] += 1e-9
        return gradient

    assert failure_with(root, monkeypatch, change) == "an argument has changed"


def test_other_bits_at_the_second_call_fail(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(gradient: Any, arguments: Any, calls: int) -> Any:
        return (np.nextafter(gradient[0], np.inf), gradient[1]) if calls == 2 else gradient

    assert failure_with(root, monkeypatch, change) == "a second call gives other bits"


def test_a_quotient_knows_how_good_it_is() -> None:
    along = direction([np.array([1.0, 2.0]), 0.5])
    found, estimate = difference_quotient(lambda at: np.sum(np.exp(at[0])) * at[1], [np.array([1.0, 2.0]), 0.5], along)
    exact = 0.5 * np.sum(np.exp([1.0, 2.0]) * along[0]) + np.sum(np.exp([1.0, 2.0])) * along[1]
    assert relative(found, float(exact)) < 1e-8 and estimate < 1e-7 * abs(found)
    # a function that wiggles faster than the smallest step: whatever comes out, it does not pass for exact
    found, estimate = difference_quotient(lambda at: np.sin(1e12 * at[1]), [np.zeros(2), 0.5], along)
    assert estimate > 1e-6 * abs(found)
    # fails on one side of the point at wide steps
    found, estimate = difference_quotient(lambda at: np.sqrt(at[1] - 0.4999), [np.zeros(2), 0.5], along)
    assert relative(found, 0.5 / np.sqrt(1e-4) * along[1]) < 1e-6


# ---------------------------------------------------------------- ports


def test_outputs_of_a_port_are_told_by_their_values(root: Path) -> None:
    given = npbench.problem(root, "moments")
    spread, total, count = given.outputs
    assert npbench_jax.places(given, [total, spread]) == [1, 0]  # the count has no weight
    assert npbench_jax.places(given, [count, spread]) == [1, None]
    assert npbench_jax.zeroed(given.weights, [1, 0]) is None
    weights = npbench_jax.zeroed(given.weights, [1, None])
    assert weights is not None and weights[0] is given.weights[0] and weights[1] == 0.0 and weights[2] is None
    with pytest.raises(Mismatch, match="none of the program's outputs"):
        npbench_jax.places(given, [2.0 * total])


def test_arguments_of_a_port_are_in_the_programs_order(root: Path) -> None:
    relax = npbench.problem(root, "relax")  # steps, alpha, A, table
    steps, alpha, a, table = npbench_jax.arguments(relax, {1: "moving"}, ["placed"])
    assert (steps, alpha, a, table) == (3, relax.floats[0], "moving", "placed")


PORTS = {
    "moments": """
import jax
import jax.numpy as jnp


@jax.jit
def moments(x, N):
    mean = jnp.sum(x, axis=0) / N
    centered = x - mean
    mean = jax.lax.while_loop(lambda m: m[0] < 10.0, lambda m: 2.0 * m, mean)
    return centered * centered * mean, jnp.sum(mean)
""",
    "relax": """
from functools import partial

import jax


@partial(jax.jit, static_argnums=(0, 1))
def kernel(steps, alpha, A, table):
    for _ in range(steps):
        near = 0.25 * (A[:-2, 1:-1] + A[2:, 1:-1] + A[1:-1, :-2] + A[1:-1, 2:])
        A = A.at[1:-1, 1:-1].add(alpha * (near - A[1:-1, 1:-1]))
        A = A.at[table[0]].multiply(A[1, 0] + alpha)
    return A
""",
    "silent": "def silent(x, y):\n    return y * y + 3.0 * x\n",
    "chaos": "def chaos(mix, x, steps):\n    return x\n",
}


@pytest.mark.parametrize("offset", [0.0, 14.6, 1e4, 1e8, 1e11])
def test_quotients_of_values_that_are_large(offset: float) -> None:
    """An estimate that counts is no accident: last bits agree by chance, the more often the smaller the step is."""
    generator = np.random.default_rng(4)
    for rate in 10.0 ** generator.uniform(-6, 1, 200):
        found, estimate = difference_quotient(lambda at, rate=rate: offset + np.sin(rate * at[0]), [0.3], [1.0])
        wanted = rate * np.cos(rate * 0.3)
        assert estimate > 0.0
        assert abs(found - wanted) <= 4.0 * estimate


@pytest.mark.parametrize(
    "name, note",
    [
        ("silent", ""),
        ("relax", "jax: with respect to arrays only"),  # alpha is static
        ("moments", "jax: ValueError: Reverse-mode differentiation does not work"),
        ("chaos", "jax: the port returns none of the program's outputs"),
        ("rounded", "jax: FileNotFoundError"),
    ],
)
def test_ports_to_jax(root: Path, name: str, note: str) -> None:
    pytest.importorskip("jax")
    if name in PORTS:
        folder = root / "npbench" / "benchmarks" / "some" / name
        (folder / f"{name}_jax.py").write_text(PORTS[name], encoding="utf-8")
    row = suite_npbench.measure(name, options(root, peers=("jax",)))
    assert not row.failure
    assert [text.startswith(note) for text in row.notes] == ([True] if note else [])
    taken = name in ("silent", "relax")
    assert ("jax" in row.timings) == ("jax" in row.first_calls) == taken
    if taken:
        assert set(row.timings["jax"]) == {"primal", "derivative"}
