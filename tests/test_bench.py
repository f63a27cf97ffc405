"""`adjit bench`: suites at small sizes, what is wrong is not timed, files and reports. No times are asserted."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optree
import pytest

from adjit import grad, jit
from adjit.__main__ import main
from adjit.benchmarks import command, inputs, plots, rows, suite_gradbench, suite_overhead, suite_scaling, threads
from adjit.benchmarks import suite_textbook as textbook
from adjit.benchmarks.agreement import Mismatch
from adjit.benchmarks.gradbench import lse
from adjit.benchmarks.options import Contender, Options, Unavailable
from adjit.benchmarks.programs import PROGRAMS, SECOND, Benchmark
from adjit.benchmarks.results import Row, Run
from adjit.benchmarks.timing import QUICK
from adjit.benchmarks.worker import ask, growth

OPTIONS = Options(effort=QUICK, quick=True, memory=False)


@pytest.fixture(autouse=True)
def this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(threads.MARK, "1")


def measured(tmp_path: Path, *arguments: str) -> tuple[int, Run]:
    """The exit status of a quick run, and what it measured."""
    file = tmp_path / "run.json"
    status = main(["bench", *arguments, "--quick", "--peers", "none", "--json", str(file)])
    return status, Run.load(file)


# ---------------------------------------------------------------- the command


def test_suites_and_rows_are_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, run = measured(tmp_path, "textbook", "overhead", "--filter", "control|mixture|scalar")
    assert status == 0 and not run.failed
    assert [(row.suite, row.name) for row in run.rows] == [
        ("textbook", "control flow"), ("textbook", "mixture 1000 x 10 x 8"), ("overhead", "scalar")
    ]  # fmt: skip
    assert set(run.rows[0].timings) == {"adjit", "python"} and set(run.rows[0].timings["python"]) == {"primal"}
    assert set(run.rows[2].timings["adjit"]) == {"primal", "derivative"}
    assert run.options["quick"] and run.machine["threads"] == "1"
    written = capsys.readouterr()
    assert "derivative / primal" in written.out and "mixture 1000 x 10 x 8" in written.out
    assert "adjit bench 3/3: overhead: scalar" in written.err


def test_rows_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "all", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if line.startswith("gradbench: ")]) == 20
    assert {line.partition(":")[0] for line in lines} == set(command.SUITES) - {"npbench", "threads"}
    assert main(["bench", "scaling", "--list", "--filter", "2d$"]) == 0
    assert capsys.readouterr().out.splitlines() == ["scaling: seidel_2d", "scaling: jacobi_2d"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["mixture"], "no suite 'mixture'"),
        (["textbook", "--filter", "nothing"], "no row's name matches 'nothing'"),
        (["textbook", "--filter", "("], "unterminated"),
        (["textbook", "--peers", "matlab"], "no peer 'matlab'; there are numba, jax, torch, autograd"),
        (["textbook", "--threads", "none"], "invalid literal"),
        (["npbench"], "needs --root"),
        (["threads"], "say how many"),
        (["npbench", "--derivatives"], "needs --root"),
        (["textbook", "--derivatives"], "for the suite npbench alone"),
        (["--load", "nowhere.json"], "nowhere.json"),
    ],
)
def test_what_is_asked_wrongly(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as error:
        main(["bench", *arguments])
    assert error.value.code == 2
    assert message in capsys.readouterr().err


def test_peers_that_are_not_there_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "installed", lambda peer: peer in ("numba", "jax"))
    assert command.peers_of(None) == ("numba", "jax")
    assert command.peers_of("torch,jax") == ("jax",)
    assert "torch is not installed" in capsys.readouterr().err
    assert command.peers_of("none") == ()


def test_threads_are_set_before_anything_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(threads.MARK)
    asked = []
    monkeypatch.setattr(command, "again", lambda arguments, number: asked.append((arguments, number)) or 7)
    assert main(["bench", "overhead", "--threads", "2"]) == 7
    assert asked == [(["overhead", "--threads", "2"], "2")]
    one, two = threads.environment(1), threads.environment(2)
    assert one["OPENBLAS_NUM_THREADS"] == "1" and "multi_thread_eigen=false" in one["XLA_FLAGS"]
    assert two["OMP_NUM_THREADS"] == "2" and "XLA_FLAGS" not in two
    assert threads.count("all") == threads.processors() >= 1
    with pytest.raises(ValueError, match="0 threads"):
        threads.count("0")


@pytest.mark.slow
def test_a_run_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(threads.MARK)
    file = tmp_path / "run.json"
    words = ["overhead", "--quick", "--filter", "scalar", "--peers", "numba", "--threads", "1", "--json", str(file)]
    subprocess.run([sys.executable, "-m", "adjit", "bench", *words], check=True, capture_output=True)
    run = Run.load(file)
    assert run.machine["threads"] == "1" and set(run.rows[0].timings) == {"adjit", "numba"}
    assert run.rows[0].ratio(("numba", "derivative"), ("adjit", "derivative")) is not None


def test_what_was_measured_before_an_interruption_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(suite: str, name: str, options: Options) -> Row:
        if name != "scalar":
            raise KeyboardInterrupt
        return Row(suite, name)

    monkeypatch.setattr(command, "measure", measure)
    status, run = measured(tmp_path, "overhead")
    assert status == 1 and [row.name for row in run.rows] == ["scalar"]
    written = capsys.readouterr()
    assert "stopped after 1 of 3 rows" in written.err and "scalar" in written.out


@pytest.mark.slow
def test_a_report_is_written_and_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, run = measured(tmp_path, "textbook", "scaling", "--filter", "control|durbin", "--report", f"{tmp_path}/one")
    assert status == 0
    page = (tmp_path / "one" / "results.md").read_text(encoding="utf-8")
    assert "## textbook" in page and "| control flow" in page and "| durbin" in page
    assert "a smoke test" in page and run.versions["numpy"] in page
    assert "![scaling](scaling.png)" in page
    for name in ("scaling.png", "scaling.svg"):
        assert (tmp_path / "one" / name).stat().st_size > 1000
    assert main(["bench", "--load", str(tmp_path / "one" / "results.json"), "--report", f"{tmp_path}/two"]) == 0
    assert (tmp_path / "two" / "results.md").read_text(encoding="utf-8") == page
    assert "durbin" in capsys.readouterr().out


def test_pictures_of_sides(tmp_path: Path) -> None:
    run = Run([])
    row = textbook.measure("control flow", dataclasses.replace(OPTIONS, peers=()))
    row.timings["jax"] = row.timings["adjit"]
    run.rows.append(row)
    assert plots.draw(run, tmp_path) == {"textbook": "textbook.png"}
    del row.timings["jax"]
    assert plots.draw(run, tmp_path) == {}


# ---------------------------------------------------------------- suites


@pytest.mark.daily(1)
@pytest.mark.parametrize("benchmark_", PROGRAMS, ids=lambda b: b.name)
def test_gradients_are_right(benchmark_: Benchmark) -> None:
    gradient = grad(benchmark_.function, argnums=benchmark_.argnums)(*benchmark_.arguments())
    if "recurrence" not in benchmark_.name:  # its derivative underflows after so many steps
        textbook.check(benchmark_, gradient)


@pytest.mark.daily(1)
@pytest.mark.parametrize("benchmark_", SECOND, ids=lambda b: b.name)
def test_second_derivatives_are_right(benchmark_: Benchmark) -> None:
    result = textbook.derivative(benchmark_, {})(*benchmark_.arguments())
    textbook.check(benchmark_, result)
    with pytest.raises(Mismatch, match="the second derivative gives"):
        textbook.check(benchmark_, optree.tree_map(lambda x: 1.1 * x, result))


def test_a_wrong_gradient_is_not_timed() -> None:
    lie = dataclasses.replace(PROGRAMS[0], name="lie")
    with pytest.raises(Mismatch, match="lie: the gradient gives"):
        textbook.check(lie, 17.0)


def test_overhead_measures_the_same_derivative(monkeypatch: pytest.MonkeyPatch) -> None:
    options = dataclasses.replace(OPTIONS, peers=("numba",))
    for name in suite_overhead.names(options):
        row = suite_overhead.measure(name, options)
        assert set(row.timings) == {"adjit", "numba"} and set(row.timings["numba"]) == {"derivative"}
    function, argnums, _ = suite_overhead.CASES["scalar"]
    monkeypatch.setitem(suite_overhead.CASES, "scalar", (function, argnums, lambda x: x))
    with pytest.raises(Mismatch):
        suite_overhead.measure("scalar", options)


@pytest.mark.parametrize("name", suite_scaling.names(OPTIONS))
def test_scaling_programs_are_differentiated_rightly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a difference quotient of plain Python, in the interpreter."""
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    sweep = suite_scaling.PROGRAMS[name]
    arguments = sweep.arguments(sweep.small[0])
    result = grad(sweep.function, argnums=sweep.argnums)(*arguments)
    check = rows.gradient_of(sweep.function, sweep.argnums)

    def plain(function: Any) -> Any:
        return lambda *given: function(*(x.copy() if isinstance(x, np.ndarray) else x for x in given))

    check(arguments, result, plain)
    with pytest.raises(Mismatch):
        parts = result if isinstance(result, tuple) else (result,)
        wrong = tuple(1.001 * part for part in parts)
        check(arguments, wrong if isinstance(result, tuple) else wrong[0], plain)


@pytest.mark.slow
def test_scaling_fits_exponents() -> None:
    row = suite_scaling.measure("durbin", OPTIONS)
    assert row.facts["sizes"] == [20, 40, 80]
    assert set(row.facts["exponents"]) == set(row.facts["seconds"]) == {"primal", "derivative"}
    assert all(len(costs) == 3 and min(costs) > 0 for costs in row.facts["seconds"].values())
    assert "memory" not in row.facts


@pytest.mark.slow
def test_first_calls_in_processes_of_their_own(tmp_path: Path) -> None:
    status, run = measured(tmp_path, "compile", "--filter", "imports|gradbench lse")
    assert status == 0
    imports, program = run.rows
    assert set(imports.timings) == {"adjit", "numba"}
    assert set(program.first_calls) == {"adjit", "adjit warm"}
    cold, warm = program.facts["adjit"], program.facts["adjit warm"]
    assert "compile" in cold["stages"] and "compile" not in warm["stages"] and "load" in warm["stages"]
    assert cold["process"] > cold["first_call"] > 0 and cold["start"] > 0


# ---------------------------------------------------------------- GradBench's rows

SMALL = {name: program for name, program in rows.PROGRAMS.items() if program.small}


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", SMALL)
def test_programs_are_checked_at_small_inputs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    program = SMALL[name]
    arguments = program.arguments(None, program.small)
    result = program.derivatives[""]()(*arguments)
    program.check(arguments, result, lambda function: function)

    def scaled(tree: Any) -> Any:
        if isinstance(tree, tuple):
            return tuple(map(scaled, tree))
        return tree * 1.001 if tree.dtype.kind == "f" else tree

    with pytest.raises(Mismatch):
        program.check(arguments, scaled(result), lambda function: function)


def test_known_answers_are_compared() -> None:
    for name, right in (("particle", 0.2071918746486116), ("saddle", np.full(4, 8.246324826140356e-06))):
        check = rows.PROGRAMS[name].check
        check((), right, jit)
        with pytest.raises(Mismatch):
            check((), right * 1.001, jit)


def test_rows_are_of_programs_and_have_names_of_their_own() -> None:
    assert len({row.name for row in rows.ROWS}) == len(rows.ROWS) == 20
    assert {row.program for row in rows.ROWS} == set(rows.PROGRAMS)


def peer(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    """A reference with these functions; only for lse."""

    def module_of(name: str, program: str) -> Any:
        if (name, program) != ("numba", "lse"):
            raise Unavailable("nobody has written it")
        return SimpleNamespace(**functions)

    monkeypatch.setattr(suite_gradbench, "module_of", module_of)


ASKED = dataclasses.replace(OPTIONS, peers=("numba", "jax"))


def by_hand(x: Any) -> Any:
    weights = np.exp(x - np.max(x))
    return weights / np.sum(weights)


def test_a_row_has_the_sides_that_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    peer(monkeypatch, primal=lse.logsumexp, derivative=by_hand)
    row = suite_gradbench.measure("lse n80000", ASKED)
    assert {side: set(by) for side, by in row.timings.items()} == {
        "adjit": {"primal", "derivative"}, "numba": {"primal", "derivative"}
    }  # fmt: skip
    assert set(row.first_calls) == {"adjit", "numba"} and row.notes == ["at a small size"]


@pytest.mark.parametrize(
    "functions, note",
    [
        ({"primal": lse.logsumexp, "derivative": lambda x: by_hand(x)[::-1]}, "numba: derivative: adjit and numba"),
        ({"primal": lambda x: np.sum(x), "derivative": by_hand}, "numba: primal: adjit and numba disagree"),
        ({"derivative": lambda x: [][1]}, "numba: IndexError: list index out of range"),
    ],
    ids=["derivative", "primal", "error"],
)
def test_a_side_that_is_wrong_is_not_timed(
    functions: dict[str, Any], note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer(monkeypatch, **functions)
    row = suite_gradbench.measure("lse n80000", ASKED)
    assert set(row.timings) == {"adjit"} and set(row.first_calls) == {"adjit"}
    assert any(text.startswith(note) for text in row.notes)


def test_a_side_without_a_primal(monkeypatch: pytest.MonkeyPatch) -> None:
    peer(monkeypatch, derivative=by_hand)
    row = suite_gradbench.measure("lse n80000", ASKED)
    assert set(row.timings["numba"]) == {"derivative"}


def test_where_adjit_is_wrong_the_row_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def twice(**options: Any) -> Any:
        return jit(lambda x: 2.0 * grad(lse.logsumexp)(x))

    lying = dataclasses.replace(rows.PROGRAMS["lse"], derivatives={"": twice})
    monkeypatch.setitem(rows.PROGRAMS, "lse", lying)
    status, run = measured(tmp_path, "gradbench", "--filter", "lse n80000")
    assert status == 1
    assert "a difference quotient" in run.rows[0].failure and not run.rows[0].timings
    assert "FAILED  gradbench lse n80000" in capsys.readouterr().out


def test_of_several_derivatives_the_fastest_is_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(**options: Any) -> Any:
        def call(x: Any) -> Any:
            for _ in range(200):
                by_hand(x)
            return by_hand(x)

        return call

    two = dataclasses.replace(rows.PROGRAMS["lse"], derivatives={"slow": slow, "quick": lambda **options: by_hand})
    monkeypatch.setitem(rows.PROGRAMS, "lse", two)
    row = suite_gradbench.measure("lse n80000", OPTIONS)
    assert "adjit: quick of slow, quick" in row.notes and set(row.facts["variants"]) == {"slow", "quick"}


def test_reverse_and_missing_modules() -> None:
    with pytest.raises(Unavailable, match="torch has no lse"):
        suite_gradbench.module_of("torch", "lse")


# ---------------------------------------------------------------- inputs


def test_inputs_are_the_same_each_time_and_as_the_evals_make_them() -> None:
    assert np.array_equal(inputs.ode(None, 4, 1)["x"], np.random.RandomState(31337).rand(4))
    given = inputs.kmeans(None, 3, 20, 4)
    assert np.array_equal(given["centroids"], given["points"][-3:])
    draw = np.random.default_rng(31337)
    gmm = inputs.gmm(None, 3, 2, 4)
    assert np.array_equal(gmm["x"], draw.normal(size=(4, 3))) and np.array_equal(gmm["alpha"], draw.normal(size=2))
    assert gmm["l"].shape == (2, 3)


def test_data_files_are_read(tmp_path: Path) -> None:
    data = tmp_path / "evals" / "lstm" / "data"
    data.mkdir(parents=True)
    (data / "lstm_full.txt").write_text("aé" + 100 * "z", encoding="utf-8")
    bits = inputs.lstm(tmp_path, 2, 2)["sequence"]
    assert [int("".join(str(int(bit)) for bit in row), 2) for row in bits] == [ord("a"), ord("é")]
    assert bits.shape == inputs.lstm(None, 2, 2)["sequence"].shape == (2, 14)

    data = tmp_path / "evals" / "ba" / "data"
    data.mkdir(parents=True)
    lines = ["2 3 12", " ".join(str(k / 7) for k in range(11)), "1 2 3", "0.5", "6 7"]
    (data / "ba1_n2_m3_p12.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (data / "ba10_n2_m3_p12.txt").write_text("", encoding="utf-8")  # 1 is not 10
    given = inputs.ba(tmp_path, 1)
    assert (given["n"], given["m"], given["p"], given["w"]) == (2, 3, 12, 0.5)
    assert given["cam"].shape == (11,) and given["feat"].tolist() == [6.0, 7.0]
    assert inputs.ba(None, 1)["p"] == 31843

    data = tmp_path / "evals" / "ht" / "data" / "complicated_small"
    (data / "model").mkdir(parents=True)
    identity = ":".join(str(x) for x in np.eye(4).ravel())
    (data / "model" / "bones.txt").write_text(f"a:-1:{identity}:{identity}\nb:0:{identity}:{identity}\n")
    (data / "model" / "vertices.txt").write_text("1:2:3:0:0:0:0:0:2:0:0.25:1:0.75\n4:5:6:0:0:0:0:0:1:1:1.0\n")
    (data / "model" / "triangles.txt").write_text("0:1:1\n1:0:0\n")
    (data / "hand1_t3_c2.txt").write_text("2 3\n1 1 2 3\n0 4 5 6\n0.1 0.2\n0.3 0.4\n0.7\n0.8\n0.9\n")
    hand = inputs.ht(tmp_path, "small", 1)
    model = hand["data"]["model"]
    assert hand["theta"].tolist() == [0.7, 0.8, 0.9] and hand["us"].tolist() == [[0.1, 0.2], [0.3, 0.4]]
    assert hand["data"]["correspondences"] == [1, 0] and hand["data"]["points"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert model["weights"].tolist() == [[0.25, 0.75], [0.0, 1.0]] and model["parents"] == [-1, 0]
    assert model["base_positions"].tolist() == [[1, 2, 3, 1], [4, 5, 6, 1]]


# ---------------------------------------------------------------- processes of their own


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak cannot be reset")
def test_memory_grows_by_what_a_call_allocates() -> None:
    size = 4_000_000

    def call() -> Any:
        kept = np.ones(size)
        np.ones(size)  # at the same time as the first
        return kept

    assert 15 * size < growth(Contender("numpy", (), call), "derivative") < 18 * size
    assert growth(Contender("numpy", (), lambda: None), "derivative") < size


@pytest.mark.parametrize(
    ("answers", "asked", "kept"),
    [([1 << 20], 1, 1 << 20), ([0], 1, 0), ([8192, 4096, 0], 3, 0), ([8192] * 9, 5, 8192), ([4096, 1 << 20, 0], 3, 0)],
)
def test_few_pages_are_read_again(monkeypatch, answers: list[int], asked: int, kept: int) -> None:
    left = list(answers)
    monkeypatch.setattr(suite_gradbench, "ask", lambda *given, **more: {"growth": left.pop(0)})
    row = Row("gradbench", "saddle")
    suite_gradbench.measure_memory(row, "saddle", ["adjit"], OPTIONS)
    assert row.memory == {"adjit": kept} and len(answers) - len(left) == asked


@pytest.mark.slow
def test_a_worker_answers() -> None:
    answer = ask("memory", "scaling", "durbin 40", "adjit", OPTIONS, quantity="derivative")
    assert answer["arguments"] == 320 and answer["growth"] >= 0
    json.dumps(answer)
    with pytest.raises(Unavailable, match="jax takes no part in scaling"):
        ask("memory", "scaling", "durbin 40", "jax", OPTIONS, quantity="derivative")
    with pytest.raises(RuntimeError, match="KeyError: 'nothing'"):
        ask("memory", "scaling", "nothing 40", "adjit", OPTIONS, quantity="derivative")
