"""The derivative of every operation as machine code: the pullbacks of many operations in few kernels.

In: the operation table and its cases. A batch of operations is one function; its values and gradients from the
compiled kernel equal those of the interpreter, which `test_ops` compares with complex step. Each kernel also runs on
arrays of nothing. The daily lane has one case of each operation, in float64; the slow one also float32, arrays with
gaps and negative strides, and the other cases.
"""

from functools import cache

import numpy as np
import pytest
from codegen_support import laid_out
from ops_cases import ELEMENTWISE, RULES, cases_of, empty_cases_of, in_dtype
from ops_derivatives import Derivatives, draws, program

from adjit.codegen import compile_function
from adjit.ir import pipeline
from adjit.ir.adjoint import vjp
from adjit.ir.core import Builder, Function, Region
from adjit.ir.interp import run
from adjit.ir.types import F32, F64
from adjit.ir.verify import verify

SIZES = {True: 20, False: 6}  # operations of a kernel: functions of elements are short


def fitting(name, case):
    """The same case with nothing in it, where there is such; else the case."""
    operands, attrs = case
    for empty, other in empty_cases_of(name):
        if str(attrs) == str(other) and list(map(np.ndim, empty)) == list(map(np.ndim, operands)):
            try:
                run(*program(name, empty, attrs))
            except ValueError:
                continue
            return empty
    return operands


def chosen(names, first):
    """Of each operation the case that shows most (a vector, or what comes first), or the others that differ."""
    for name in names:
        cases = cases_of(name)
        plain = [c for c in cases if not any(1 in np.shape(x) for x in c[0])]
        best = next((c for c in plain if all(np.ndim(x) == 1 for x in c[0])), plain[0])
        if first:
            yield name, best
        elif name in ELEMENTWISE:  # the loops are the same: three axes, and a scalar beside an array
            yield name, max(cases, key=lambda c: min(map(np.ndim, c[0])))
            yield from ((name, c) for c in plain[-1:] if len({np.ndim(x) for x in c[0]}) > 1)
        else:
            yield from ((name, c) for c in cases if c is not best)


def batches(first=True):
    out = []
    for of_elements, size in SIZES.items():
        found = list(chosen([n for n in RULES if (n in ELEMENTWISE) == of_elements], first))
        out += [found[k : k + size] for k in range(0, len(found), size)]
    return out


FIRST, OTHERS = batches(), batches(first=False)
IDS = [f"{b[0][0]}-{b[-1][0]}" for b in FIRST]


@cache
def combined(number, first, dtype):
    """One function of a batch of cases, its adjoint program, and two sets of arguments: something and nothing."""
    region, results, wrt, calls, nothing = Region(), [], [], [], []
    with Builder(region) as b:
        for k, (name, case) in enumerate((FIRST if first else OTHERS)[number]):
            f, args = program(name, in_dtype(case[0], dtype), case[1], dtype=dtype)
            empty = fitting(name, case) if first else case[0]
            _, empty = program(name, in_dtype(empty, dtype), case[1], dtype=dtype)
            (op,) = f.body.ops[:-1]
            wrt += [len(region.args) + j for j in Derivatives(f, args).wrt]
            for v in f.args:
                v.name = f"{v.name}_{k}"
            region.args += f.args
            results += b.emit(name, op.operands, op.attrs)
            calls += args
            nothing += empty
        b.emit("return", results)
    function = pipeline.optimize(Function("batch", region))
    seeds = ["argument" if v.dtype.is_float else None for v in function.results]
    adjoint = pipeline.optimize(vjp(function, wrt, seeds).function)
    verify(adjoint)
    sets = []
    for args in (calls, nothing):
        values = [v for v, s in zip(run(function, args), seeds, strict=True) if s]
        sets.append([*args, *draws(values, 0.5, 2.0, 3)])
    return adjoint, sets


def check(number, first, dtype, layout):
    function, sets = combined(number, first, dtype)
    layouts = [layout if v.is_array else "" for v in function.args]
    executable = compile_function(function, layouts, distinguish_ones=False)
    rtol = 1e-10 if dtype is F64 else 2e-4
    for args in sets:
        given = [laid_out(a, layout) if np.ndim(a) else a for a in args]
        kept = [np.array(a) for a in given]
        found = executable.run(given)
        for k, (got, expected) in enumerate(zip(found, run(function, args), strict=True)):
            assert np.shape(got) == np.shape(expected)
            np.testing.assert_allclose(got, expected, rtol, rtol * 1e-2, err_msg=f"result {k}: {function.results[k]}")
        for before, after in zip(kept, given, strict=True):
            np.testing.assert_array_equal(before, after)


def test_every_rule_is_compiled():
    assert {name for batch in FIRST for name, _ in batch} == set(RULES)


@pytest.mark.parametrize("number", range(len(FIRST)), ids=IDS)
def test_gradients(number):
    check(number, True, F64, "C")


def kinds():
    """Functions of elements of both at once: what is read from where is one thing, what is computed of it another. In
    routines on whole arrays it is not."""
    for number, batch in enumerate(FIRST):
        elements = all(name in ELEMENTWISE for name, _ in batch)
        for dtype, layout in [(F32, "A")] if elements else [(F32, "C"), (F64, "A")]:
            yield pytest.param(number, dtype, layout, id=f"{dtype}-{layout}-{IDS[number]}")


@pytest.mark.slow
@pytest.mark.parametrize("number, dtype, layout", kinds())
def test_gradients_in_float32_and_of_strided_arrays(number, dtype, layout):
    check(number, True, dtype, layout)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(OTHERS)))
def test_gradients_in_the_other_cases(number):
    check(number, False, F64, "C")
