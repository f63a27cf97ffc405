"""The passes: golden cases one phenomenon each, and random programs, whose results must not change by a bit."""

from pathlib import Path

import pytest
from golden_support import cases, check_case, read_case
from ir_random import Generator, outcome
from tracing import traced_of

from adjit.ir.core import Function, walk
from adjit.ir.errors import InternalError
from adjit.ir.pipeline import PASSES, optimize
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify
from programs import PROGRAMS, Program


@pytest.mark.parametrize("path", cases("passes"), ids=lambda p: p.stem)
def test_golden(path: Path, request: pytest.FixtureRequest) -> None:
    check_case(read_case(path), request.config.getoption("--update-data"))


@pytest.mark.parametrize("seed", range(200))
def test_random_programs_mean_the_same_after_every_pass(seed: int) -> None:
    generator = Generator(seed)
    function = generator.function()
    calls = [generator.args() for _ in range(4)]
    text = to_text(function)
    wanted = [outcome(function, args) for args in calls]
    for name, run in [*PASSES, ("optimize", lambda f: optimize(f, verify=True))]:
        result = run(function)
        verify(result, after=name)
        assert to_text(function) == text, f"{name} changed its input"
        for args, expected in zip(calls, wanted):
            assert outcome(result, args) == expected, name


@pytest.mark.parametrize("seed", range(0, 80, 4))
def test_a_pass_that_changes_nothing_says_so(seed: int) -> None:
    function = optimize(Generator(seed).function())
    for _ in range(3):
        function = optimize(function)
    for name, run in PASSES:
        assert run(function) is function, name


def test_random_programs_exercise_every_pass() -> None:
    """Else the tests above would say nothing."""
    changed = {name: 0 for name, _ in PASSES}
    for seed in range(40):
        function = Generator(seed).function()
        for name, run in PASSES:
            result = run(function)
            changed[name] += result is not function
            function = result
    assert min(changed.values()) >= 10, changed


def test_the_pipeline_names_the_pass_that_broke_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = parse("func @f(%x: f64) -> f64 {\n  %y: f64 = mul %x, 2.0\n  return %y\n}")
    broken.body.ops[0].results[0].type = parse("func @g(%x: f32) -> f32 { return %x }").args[0].type

    def vandal(function: Function) -> Function:
        return broken if function is not broken else function

    monkeypatch.setattr("adjit.ir.pipeline.PASSES", [("vandal", vandal)])
    sound = parse("func @f(%x: f64) -> f64 {\n  %y: f64 = mul %x, 2.0\n  return %y\n}")
    with pytest.raises(InternalError, match="after vandal"):
        optimize(sound, verify=True)
    monkeypatch.setenv("ADJIT_VERIFY", "1")
    with pytest.raises(InternalError, match="after vandal"):
        optimize(sound)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_real_programs_mean_the_same_after_the_pipeline(program: Program) -> None:
    for args in program.calls():
        traced, leaves = traced_of(program.function, args)
        if traced.captures:
            return  # called with more than its arguments: not our subject
        before = outcome(traced.function, leaves)
        assert outcome(optimize(traced.function, verify=True), leaves) == before


def test_no_check_is_left_in_a_stencil_over_its_own_array() -> None:
    program = next(p for p in PROGRAMS if p.name == "stencil_five_point_loops")
    function = optimize(traced_of(program.function, program.fresh())[0].function)
    loops = [op for op in function.body.ops if op.name == "for"]
    assert loops and not [op.name for loop in loops for op in walk(loop.regions[0]) if op.name == "bound"]
