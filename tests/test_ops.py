"""The operation table, walked: every declaration has a right derivative, of first and of second order.

Nothing here lists operations by hand: what is tested follows from the declarations (see `ops_cases`), so an operation
without a domain or a rule without cases fails. For each case, in the interpreter:

* results have the declared dtype and rank, and the extents that the rule for extents says;
* the reverse derivative equals complex step to 1e-10, and the forward derivative to 1e-12 in the inner product;
* so do those of second order: forward over reverse against complex step, reverse over reverse against that;
* the same with extents in the types, in float32, and with nothing in the arrays.
"""

from dataclasses import replace
from functools import cache, wraps

import numpy as np
import pytest
from ops_cases import (
    CASES,
    ELEMENTWISE,
    EMPTY,
    MACHINE,
    OUTSIDE,
    PROGRAMS,
    REFUSE_EMPTY,
    RULES,
    cases_of,
    domains,
    empty_cases_of,
    in_dtype,
    is_free,
)
from ops_derivatives import (
    STEP,
    Derivatives,
    close,
    forward_is_reverse,
    program,
    reverse_is_exact,
    second_order_is_exact,
    shapes_fit,
)

from adjit.ir.core import Builder, Function, Region, Value, as_value, builder, walk
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY
from adjit.ir.text import parse
from adjit.ir.types import F32, F64, make
from adjit.ir.verify import verify

TESTED = [n for n, d in REGISTRY.items() if d.category not in OUTSIDE | MACHINE and d.effect == "" and n != "empty"]


def label(case):
    return ",".join(str(np.shape(x)) for x in case[0])


def on_every_case(names, cases=cases_of):
    """Makes of a check of (name, number of the case) a test of each operation, on all of its cases."""

    def decorate(check):
        @pytest.mark.parametrize("name", [n for n in names if cases(n)])
        def test(name):
            for k, case in enumerate(cases(name)):
                try:
                    check(name, k)
                except Exception as error:
                    error.add_note(f"in case {k} of {name}: {label(case)} {case[1]}")
                    raise

        test.__doc__ = check.__doc__
        return test

    return decorate


@cache
def found(name, k, static=False):
    """The derivatives of an operation in one of its cases."""
    operands, attrs = cases_of(name)[k]
    return Derivatives(*program(name, operands, attrs, static))


# ---------------------------------------------------------------- the table is complete


@pytest.mark.parametrize("name", REGISTRY)
def test_every_operation_is_tested(name):
    """With something, with nothing, and, of operations that a program is made of, in a program."""
    definition = REGISTRY[name]
    if definition.category in OUTSIDE or name == "bound":
        assert name in operations_of_programs()
    elif name in TESTED:
        assert cases_of(name), f"give {name} a domain, or cases in ops_cases.CASES"
        arrays = any(np.ndim(x) for operands, _ in cases_of(name) for x in operands)
        if arrays and name != "dim":
            assert empty_cases_of(name), f"give {name} an empty case in ops_cases.EMPTY"
    else:
        assert definition.category in MACHINE or name == "empty"
        assert not definition.differentiable


@cache
def operations_of_programs():
    functions = []
    for text, (args, *_) in PROGRAMS.values():
        d = Derivatives(parse(text), args)
        functions += [d.function, d.pullback_program, d.tangent_program, d.second.tangent_program]
    return {op.name for f in functions for op in walk(f.body)}


def test_cases_are_of_declared_operations():
    assert {*CASES, *EMPTY, *REFUSE_EMPTY} <= set(REGISTRY)


@pytest.mark.parametrize("name", [n for n, d in RULES.items() if d.category == "elementwise"])
def test_functions_of_elements_are_tested_in_every_rank(name):
    ranks = {tuple(np.ndim(x) for x in operands) for operands, _ in cases_of(name)}
    assert {max(r) for r in ranks} == {0, 1, 2, 3}
    if name != "cast" and len(domains(REGISTRY[name])) > 1:
        assert any(0 in r and max(r) for r in ranks)


def test_forward_mode_can_be_derived_from_every_rule():
    for name, d in RULES.items():
        ways = [d.partials is not None, bool(d.linear) or d.bilinear, d.jvp is not None]
        assert sum(ways) == 1, name
        assert d.transpose is None or d.linear or d.bilinear, name
        assert d.jvp is None or d.vjp is not None, name


def test_operations_without_rule_say_that_their_derivative_is_zero():
    """A float function of floats has a rule, or its kinks say why not."""
    for name, d in ELEMENTWISE.items():
        if not d.differentiable and name != "stop_gradient" and set(map(type, domains(d))) == {tuple}:
            values = [Value(make(F64, ())) for _ in domains(d)]
            if d.infer(values, {}, [])[0].dtype is F64:
                assert "0" in d.kinks, name


# ---------------------------------------------------------------- results


@on_every_case(TESTED)
def test_results_have_the_types_and_extents_that_are_declared(name, k):
    operands, attrs = cases_of(name)[k]
    f, args = program(name, operands, attrs)
    (op,) = f.body.ops[:-1]
    results = run(f, args)
    for value, result in zip(f.results, results, strict=True):
        assert np.asarray(result).dtype == value.dtype.numpy and np.ndim(result) == value.rank
    if REGISTRY[name].extents is None:
        assert not any(v.is_array for v in f.results)
        return
    measured = Function("extents", Region(f.args, [op]))
    with Builder(measured.body) as b:
        extents = REGISTRY[name].extents(op)
        b.emit("return", [e for of_one in extents for e in of_one])
    verify(measured)
    assert [len(of_one) for of_one in extents] == [v.rank for v in f.results]
    assert [int(e) for e in run(measured, args)] == [n for r in results for n in np.shape(r)]


# ---------------------------------------------------------------- derivatives


@on_every_case(RULES)
def test_first_order(name, k):
    """With extents that are known only when it runs, and with extents in the types."""
    for static in (False, True):
        d = found(name, k, static)
        assert d.wrt and (d.floats or name == "cast")
        shapes_fit(d)
        forward_is_reverse(d)
        reverse_is_exact(d)


@on_every_case(RULES)
def test_first_order_against_differences(name, k):
    """Complex step depends on what an operation does with complex numbers; differences do not."""
    d = found(name, k)
    close([d.along(d.directions)], [d.difference(d.directions)], 1e-6, 1e-8)


@on_every_case(RULES)
def test_forward_along_single_operands(name, k):
    """Tangents that are absent, not merely zero."""
    from adjit.ir.adjoint.forward import jvp

    d = found(name, k)
    whole = [np.zeros(np.shape(x)) for x in d.directions]
    for j, along in enumerate(d.directions if len(d.wrt) > 1 else ()):
        tangents = run(jvp(d.function, [d.wrt[j]], keep=[]), [*d.args, along])
        close([d.flat(tangents)], [d.along([*whole[:j], along, *whole[j + 1 :]])], 1e-10 if d.is_analytic else 1e-6)


@on_every_case(RULES)
def test_second_order(name, k):
    second_order_is_exact(found(name, k))


@on_every_case(RULES)
def test_in_float32(name, k):
    """Value, gradient and second derivative in single precision against the same in double."""
    operands, attrs = cases_of(name)[k]
    narrow, wide = Derivatives(*program(name, in_dtype(operands, F32), attrs, dtype=F32)), found(name, k)
    shapes_fit(narrow)
    close([np.float64(v) for v in narrow.value], wide.value, 3e-5, 3e-6)
    close(narrow.gradients, wide.gradients, 3e-5, 3e-6)
    close(narrow.tangents, wide.tangents, 3e-5, 3e-6)
    narrow.second.directions = [np.asarray(d, np.float32)[()] for d in wide.second.directions]
    close(narrow.second.tangents, wide.second.tangents, 1e-4, 1e-5)


@on_every_case(TESTED, empty_cases_of)
def test_of_nothing(name, k):
    """Extents of 0: values of the right shape, gradients of the right shape, or NumPy's refusal."""
    operands, attrs = empty_cases_of(name)[k]
    f, args = program(name, operands, attrs)
    d = Derivatives(f, args)
    try:
        results = d.value
    except ValueError:
        assert name in REFUSE_EMPTY
        return
    assert all(np.asarray(r).dtype == v.dtype.numpy for v, r in zip(f.results, results, strict=True))
    if name in RULES and d.wrt:
        for each in (d, d.second):
            shapes_fit(each)
            forward_is_reverse(each)
        reverse_is_exact(d)


@pytest.mark.parametrize("name", [n for n, d in ELEMENTWISE.items() if not d.differentiable and n != "stop_gradient"])
def test_operations_without_rule_do_not_move(name):
    """Between jumps, functions that have no derivative do not change at all with their operands."""
    for operands, attrs in cases_of(name):
        if not all(map(is_free, operands)):
            continue
        f, _ = program(name, operands, attrs)
        (y,) = run(f, operands)
        for k, x in enumerate(operands):
            near = [*operands[:k], np.asarray(x)[()] * (1 + 1e-13), *operands[k + 1 :]]
            np.testing.assert_array_equal(run(f, near)[0], y)
            stepped = [*operands[:k], x + 1j * STEP, *operands[k + 1 :]]
            assert not np.any(np.imag(run(f, stepped)[0]))


# ---------------------------------------------------------------- operations that programs are made of


@pytest.mark.parametrize("name, k", [(n, k) for n, (_, calls) in PROGRAMS.items() for k in range(len(calls))])
def test_programs(name, k):
    text, calls = PROGRAMS[name]
    d = Derivatives(parse(text), calls[k])
    verify(d.function)
    shapes_fit(d)
    forward_is_reverse(d)
    reverse_is_exact(d)
    second_order_is_exact(d)


# ---------------------------------------------------------------- the checks can fail


def changed(rule, change):
    """A rule whose first derivative is changed."""

    @wraps(rule)
    def other(*operands, **keywords):
        parts = list(rule(*operands, **keywords))
        k = next(k for k, part in enumerate(parts) if part is not None)
        first = parts[k]
        parts[k] = lambda: change(first() if callable(first) else as_value(first, operands[k]))
        return tuple(parts)

    return other


def wrongly(monkeypatch, name, change):
    """The derivatives of an operation whose rule is changed, in its last case."""
    d = REGISTRY[name]
    field = next(f for f in ("partials", "transpose", "vjp") if getattr(d, f) is not None)
    monkeypatch.setitem(REGISTRY, name, replace(d, **{field: changed(getattr(d, field), change)}))
    return Derivatives(*program(name, *cases_of(name)[-1]))


SOME = ["sin", "mul", "maximum", "matmul", "cumsum", "reduce_prod", "cumprod"]


@pytest.mark.parametrize("name", SOME)
def test_a_wrong_rule_is_noticed(name, monkeypatch):
    d = wrongly(monkeypatch, name, lambda part: part * (1 + 1e-9))
    with pytest.raises(AssertionError):
        reverse_is_exact(d)
    if REGISTRY[name].partials is None:  # forward mode does not have the same error
        with pytest.raises(AssertionError):
            forward_is_reverse(d)


@pytest.mark.parametrize("name", ["sin", "mul", "matmul", "reduce_prod", "cumprod"])
def test_a_rule_that_is_wrong_in_the_second_order_is_noticed(name, monkeypatch):
    d = wrongly(monkeypatch, name, lambda part: builder().emit1("stop_gradient", [part]))
    reverse_is_exact(d)
    with pytest.raises(AssertionError):
        second_order_is_exact(d)
