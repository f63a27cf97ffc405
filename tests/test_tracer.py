"""The tracer on every program of `programs`: the IR verifies, round-trips, and does in the interpreter what Python
does, on the arguments given and on those that take other branches, trip counts and shapes; a trace is quick."""

import copy

import numpy as np
import pytest
import tracing

from adjit.ir import types
from adjit.ir.core import walk
from adjit.ir.text import parse, to_text
from adjit.tracer import Leaf, trace
from programs import PROGRAMS, Program, named


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_program_means_what_python_means(program: Program) -> None:
    traced, _ = tracing.traced_of(program.function, program.fresh())
    text = to_text(traced.function)
    assert to_text(parse(text)) == text
    for args in program.calls():
        tracing.compare(program.function, traced, args, rtol=1e-12)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_every_operation_says_where_it_is_from(program: Program) -> None:
    """Only extents may lack a span: they are read where their array comes into being."""
    traced, _ = tracing.traced_of(program.function, program.fresh())
    for op in walk(traced.function.body):
        if op.name not in ("dim", "return"):
            assert op.span is not None, op
            assert op.span.line > 0
            assert op.span.file.endswith(".py")


def test_arguments_and_names() -> None:
    def f(x, params, k=2):
        y = x * params["a"]
        return {"y": y, "pair": (y + k, params["b"][0])}

    leaf = Leaf(types.Scalar(types.F64), "x", weak=True)
    a = Leaf(types.Scalar(types.F64), "params['a']")
    b = Leaf(types.Array(types.F64, (None,)), "params['b']")
    traced = trace(f, (leaf, {"a": a, "b": [b]}), {})
    assert [v.name for v in traced.function.args] == ["x", "params__a", "params__b"]
    assert traced.function.name == "f"
    assert traced.result["y"].index == 0
    assert not traced.result["y"].weak
    assert {"y"} <= {r.name for op in walk(traced.function.body) for r in op.results}


def test_mutated_arguments_are_reported() -> None:
    def f(a, b):
        a[0] = b[1]
        c = b[1:]
        c[0] = 2.0
        return a.sum()

    x, y = np.arange(3.0), np.arange(4.0)
    traced, leaves = tracing.traced_of(f, (x, y))
    assert traced.mutated == {0: 1, 1: 2}
    _, after = tracing.run_traced(traced, leaves)
    f(x, y)
    assert np.array_equal(after[0], x)
    assert np.array_equal(after[1], y)


def test_unwritten_arguments_are_not() -> None:
    def f(a):
        b = a.copy()
        b[0] = 1.0
        return b.sum()

    traced, _ = tracing.traced_of(f, (np.ones(3),))
    assert traced.mutated == {}


def test_weakness_of_results() -> None:
    def f(x, a):
        return x * 2, a[0] * 2, len(a), 3, np.sin(x), x > 1

    traced, _ = tracing.traced_of(f, (1.5, np.ones(2)))
    x, a, n, static, sine, flag = traced.result
    assert (x.weak, a.weak, n.weak, sine.weak, flag.weak) == (True, False, True, False, True)
    assert static == 3


def test_sources_are_listed() -> None:
    program = named("helper_passed_as_argument")
    traced, _ = tracing.traced_of(program.function, program.fresh())
    names = [name for _, name, _ in traced.sources]
    assert "global_helper" in names
    assert all("def " in text or "lambda" in text for _, _, text in traced.sources)


def test_deterministic() -> None:
    for name in ("choose_in_loop", "rotate_three_arrays", "closures_and_lambdas", "adaptive_rk_system"):
        program = named(name)
        first = str(tracing.traced_of(program.function, copy.deepcopy(program.args))[0].function)
        again = str(tracing.traced_of(program.function, copy.deepcopy(program.args))[0].function)
        assert first == again
