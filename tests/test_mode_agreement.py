"""Forward and reverse mode, and each applied to the other, give the same derivatives, on all programs.

Second derivatives in three ways, third derivatives in four: see `adjit.benchmarks.modes`. NPBench's programs, which are
not part of adjit, are compared where ADJIT_NPBENCH names a checkout:

    ADJIT_NPBENCH=DIR python -m pytest tests/test_mode_agreement.py -k npbench
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modes_cases import GRADBENCH, OWN, TEXTBOOK, Case, case_of, gradbench, textbook

from adjit import grad, hessian, jacrev
from adjit.benchmarks import modes
from adjit.benchmarks.gradbench import descent, particle
from adjit.benchmarks.modes import Agreement, Modes, agreement
from programs import of_kind

SINGLE = 1e-5
SECOND = {"F", "RR", "RF", "symmetric"}
THIRD = {"FRR", "RFF", "RRR"}

ACCEPTANCE = [program.name for program in of_kind("acceptance")]
DEAR = {
    "adaptive_heun",
    "cholesky",
    "adaptive_rk_system",
    "lstm",
    "gmm_loops",
    "gauss_seidel",
    "lu_right_looking",
    "lu_by_rows",
}
"""Of the acceptance list, where tests that run for long do."""

THIRD_ORDER = [
    "quadratic_recurrence",
    "lu_by_rows",
    "cholesky",
    "readme_loss",
    "leapfrog",
    "gmm_arrays",
    "batch_norm",
    "newton_sqrt",
    "bubble_sort",
    "secant",
    "copies_made_in_branches",
    "two_versions_in_a_branch",
    "view_of_view",
    "dictionary_arguments",
    "math_module",
    "elementwise_functions",
    "where_hides_infinity",
    "lstm",
]
THIRD_AT_ONCE = {"quadratic_recurrence", "newton_sqrt"}

COMPILED = [
    "copy_and_original_change",
    "quadratic_recurrence",
    "newton_sqrt",
    "cholesky",
    "lu_by_rows",
    "heat_two_buffers",
    "readme_loss",
    "leapfrog",
    "gmm_arrays",
    "kmeans_min",
    "two_layers",
    "batch_norm",
    "secant",
    "two_versions_in_a_branch",
    "copies_made_in_branches",
    "dictionary_arguments",
    "reductions",
    "where_hides_infinity",
]
COMPILED_AT_ONCE = {"newton_sqrt", "quadratic_recurrence"}


def cases(names: list[str], at_once: Any) -> list[Any]:
    return [pytest.param(n, id=n, marks=() if n in at_once else pytest.mark.slow) for n in names]


def check(case: Case, third: bool = False, **also: Any) -> None:
    allowed = SINGLE if case.single else modes.ALLOWED
    found = agreement(Modes(case.loss), case.x, case.rest, third, allowed)
    assert set(found.distances) == (SECOND | THIRD if third else SECOND)
    assert found.holds(allowed), found


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", cases(list(OWN), set(ACCEPTANCE) - DEAR))
def test_program(name: str) -> None:
    check(case_of(OWN[name]))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", cases(THIRD_ORDER, THIRD_AT_ONCE))
def test_third_derivatives(name: str) -> None:
    check(case_of(OWN[name]), third=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", cases(COMPILED, COMPILED_AT_ONCE))
def test_compiled(name: str) -> None:
    check(case_of(OWN[name]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["quadratic_recurrence", "secant"])
def test_third_derivatives_compiled(name: str) -> None:
    check(case_of(OWN[name]), third=True)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", cases(TEXTBOOK, TEXTBOOK))
def test_textbook(name: str) -> None:
    check(textbook(name))


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("name", cases(GRADBENCH, {"hello", "llsq", "lse", "kmeans"}))
def test_gradbench(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(particle, "STEP", 1.5)
    monkeypatch.setattr(descent, "FIRST_RATE", 0.2)
    monkeypatch.setattr(descent, "FLAT", 0.3)
    check(gradbench(name))


# ---------------------------------------------------------------- infinite slopes that nothing reaches


def energies(x, n):
    """As in a simulation of bodies: the distance of each from itself is 0, and is not used."""
    e = np.zeros(n)
    for t in range(n):
        r = np.sqrt((x[:, None] - x) ** 2)
        r[r > 0] = 1.0 / r[r > 0]
        e[t] = np.sum(np.triu(-x * r, 1))
        x = x + 0.1 * np.sin(x)
    return np.sum(e)


def roots(x, n):
    s = 0.0
    for _ in range(n):
        r = np.sqrt(x)
        s += np.sum(np.where(x > 0, r * r * r * np.sin(r), x * x))
        x = x * 1.2
    return s


def roots_one_by_one(x, n):
    s = 0.0
    for _ in range(n):
        for k in range(len(x)):
            r = np.sqrt(x[k])
            s += np.where(x[k] > 0, r * np.sin(r), 0.0)
        x = x * 1.2
    return s


def roots_in_branches(x, n):
    s = 0.0
    for t in range(n):
        if t % 2 == 0:
            r = np.sqrt(x)
            s += np.sum(np.where(x > 0, r * r * r * np.sin(r), x * x))
        else:
            r = np.exp(0.1 * x)
            s += np.sum(np.where(x > 0, r * r * r * np.sin(r), x * x))
        x = x * 1.2
    return s


def roots_while(x, n):
    s = 0.0
    while s < n:
        r = np.sqrt(x)
        s += np.sum(np.where(x > 0, r * r * r * np.sin(r), x * x))
        x = x * 1.2
    return s


def of_rows(function: Any) -> Case:
    return Case(lambda x, rest: function(x[0], rest[0]), (np.array([0.0, 1.0, 2.0]),), (3,))


@pytest.mark.daily(1)
@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("function", [energies, roots, roots_one_by_one, roots_in_branches, roots_while])
def test_slopes_that_nothing_reaches(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Masks of cotangents go through loops, on tapes of their own."""
    monkeypatch.setenv("ADJIT_VERIFY", "1")
    check(of_rows(function), third=True)


@pytest.mark.usefixtures("interpreted")
def test_slopes_that_nothing_reaches_row_by_row() -> None:
    x = np.linspace(0.0, 2.0, 11)
    np.testing.assert_allclose(jacrev(grad(roots))(x, 3), hessian(roots)(x, 3), rtol=1e-12, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("function", [energies, roots_in_branches])
def test_slopes_that_nothing_reaches_compiled(function: Any) -> None:
    check(of_rows(function))


# ---------------------------------------------------------------- the comparison itself


@pytest.mark.usefixtures("interpreted")
def test_a_wrong_derivative_is_found() -> None:
    """A rule that is not the derivative: reverse mode has it, forward mode does not."""
    right = Modes(lambda x, rest: np.sum(x[0] ** 3))
    wrong = Modes(lambda x, rest: np.sum(x[0] ** 3 * (1.0 + 1e-8)))
    x = (np.array([0.5, -1.2]),)
    assert agreement(right, x, ()).holds()
    for order in ("first", "second"):
        mixed = Modes(lambda x, rest: np.sum(x[0] ** 3))
        name = {"first": "F", "second": "RF"}[order]
        getattr(mixed, order)[name] = getattr(wrong, order)[name]
        found = agreement(mixed, x, ())
        assert not found.holds() and found.distances[name] == pytest.approx(1e-8, rel=0.5)


@pytest.mark.usefixtures("interpreted")
def test_an_ill_conditioned_program_is_known_by_how_far_it_moves() -> None:
    """The last bits of x are magnified by so many doublings."""

    def chaos(x: Any, rest: Any) -> Any:
        y = x[0]
        for _ in range(40):
            y = 4.0 * y * (1.0 - y)
        return y

    found = agreement(Modes(chaos), (0.3,), (), allowed=0.0)
    assert found.moved > 1e-6
    assert Agreement({"F": 2 * found.moved}, found.moved).holds()
    assert not Agreement({"F": 4 * found.moved}, found.moved).holds()
    assert not Agreement({"F": np.nan}, np.inf).holds()


# ---------------------------------------------------------------- NPBench


@pytest.mark.slow
@pytest.mark.skipif("ADJIT_NPBENCH" not in os.environ, reason="ADJIT_NPBENCH names no checkout of NPBench")
def test_npbench(monkeypatch: pytest.MonkeyPatch) -> None:
    from adjit.benchmarks.npbench import names
    from adjit.benchmarks.npbench_modes import SMALL, table

    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    root = Path(os.environ["ADJIT_NPBENCH"])
    assert set(names(root)) == set(SMALL)
    _, failed = table(root, [name for name in names(root) if name != "channel_flow"])  # 800 steps: for a kernel
    assert not failed
