"""Every program in `programs` through every stage: see `differential`.

Kernels of the acceptance list are compiled in every lane, those of the others where slow tests run; all are rendered
and run under plain Python.
"""

import pytest
from differential import check_program

from programs import PROGRAMS, Program, of_kind


def cases(programs: list[Program], *marks: pytest.MarkDecorator) -> list[object]:
    return [pytest.param(program, id=program.name, marks=marks) for program in programs]


ACCEPTANCE = of_kind("acceptance")
BY_COMPLEX_STEP_ONLY = {"bisection", "power_iteration"}
"""They converge to rounding: no two points, however close, take the same branches."""
OTHERS = [program for program in PROGRAMS if "acceptance" not in program.kinds]


def check(program: Program, compile: bool) -> None:
    report = check_program(
        program.function,
        [program.args, *program.others],
        program.argnums,
        compile,
        analytic=program.function if "complex" in program.kinds else None,
    )
    calls = 1 + len(program.others)
    assert report.counts["adjoint in the interpreter"] == calls
    assert report.counts["kernel under Python"] == calls
    assert report.counts["compiled kernel"] == calls * compile
    if program.name not in BY_COMPLEX_STEP_ONLY:  # the first arguments are away from branch changes (see test_programs)
        assert report.counts["quotients that count"] >= 1


@pytest.mark.parametrize("program", cases(ACCEPTANCE))
def test_acceptance_program(program: Program) -> None:
    check(program, compile=True)


@pytest.mark.parametrize("program", cases(OTHERS))
def test_other_program(program: Program) -> None:
    check(program, compile=False)


@pytest.mark.parametrize("program", cases(OTHERS, pytest.mark.slow))
def test_other_program_compiled(program: Program) -> None:
    check(program, compile=True)


def test_the_acceptance_list_is_long_enough() -> None:
    """The milestone names sixteen kinds of program; none may be lost from the list."""
    assert len(ACCEPTANCE) >= 16
