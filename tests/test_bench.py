"""The benchmark runner: every gradient is checked, and the table has a row for each program. No times are asserted."""

from __future__ import annotations

import dataclasses

import pytest

from adjit import grad
from adjit.__main__ import main
from adjit.benchmarks import runner
from adjit.benchmarks.programs import PROGRAMS, Benchmark


def test_the_table_has_a_row_for_each_program(capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setattr(runner, "BUDGET", 0.0)
    assert main(["bench", "control", "mixture"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["control flow", "mixture 1000 x 10 x 8"]


@pytest.mark.parametrize("benchmark_", PROGRAMS, ids=lambda b: b.name)
def test_gradients_are_right(benchmark_: Benchmark) -> None:
    gradient = grad(benchmark_.function, argnums=benchmark_.argnums)(*benchmark_.arguments())
    if "recurrence" not in benchmark_.name:  # its derivative underflows after so many steps
        runner.check(benchmark_, gradient)


def test_a_wrong_gradient_is_not_timed() -> None:
    lie = dataclasses.replace(PROGRAMS[0], name="lie")
    with pytest.raises(ValueError, match="lie: the gradient gives"):
        runner.check(lie, 17.0)
