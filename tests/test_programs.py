"""The programs themselves, in plain Python: that they run, are smooth where they are said to be, and that
the references other tests take from them (complex step, difference quotients) agree with each other."""

import math

import numpy as np
import pytest

from programs import PROGRAMS, Program, complex_step, difference_quotient, direction, of_kind

WITH_CALLS = [
    pytest.param(program, k, id=f"{program.name}-{k}") for program in PROGRAMS for k in range(1 + len(program.others))
]


@pytest.mark.parametrize(("program", "call"), WITH_CALLS)
def test_value_and_difference_quotient_are_finite(program: Program, call: int) -> None:
    args = list(program.calls())[call]
    value = program.function(*list(program.calls())[call])
    assert np.ndim(value) == 0
    assert math.isfinite(value)
    step = 1e-2 if "float32" in program.kinds else 1e-4
    slope, spread = difference_quotient(program, args, direction(args, program.argnums), step)
    assert math.isfinite(slope)
    if call == 0:
        tolerance = 1e-2 if "float32" in program.kinds else 1e-6
        assert spread <= tolerance * (1 + abs(slope)), "a branch changes close to the arguments"


@pytest.mark.parametrize("program", of_kind("complex"), ids=lambda p: p.name)
def test_complex_step_agrees_with_the_difference_quotient(program: Program) -> None:
    for args in program.calls():
        along = direction(args, program.argnums)
        exact = complex_step(program, args, along)
        slope, _ = difference_quotient(program, args, along)
        assert slope == pytest.approx(exact, rel=1e-6, abs=1e-7)
        assert complex_step(program, args, along, 1e-20) == pytest.approx(exact, rel=1e-13, abs=1e-300)


def test_every_program_differs_along_its_direction() -> None:
    """A derivative of zero would let a broken gradient pass."""

    for program in PROGRAMS:
        slope, _ = difference_quotient(
            program,
            program.fresh(),
            direction(program.args, program.argnums),
            1e-2 if "float32" in program.kinds else 1e-4,
        )
        assert abs(slope) > 1e-8, program.name
