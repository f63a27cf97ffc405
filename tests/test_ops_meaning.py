"""Operations mean what the NumPy functions they are bound to mean: dtypes, values, special values, refusals.

The twins that run on complex numbers agree with the real functions bit for bit.
"""

import math
import runpy
from functools import reduce
from pathlib import Path

import numpy as np
import pytest
from ops_cases import ELEMENTWISE, RULES, M, domains, is_free, sample

import adjit
from adjit.ir.core import Value
from adjit.ir.ops import REGISTRY
from adjit.ir.types import BOOL, DTYPES, F32, F64, I64, dtype_of, make

inf, nan = math.inf, math.nan

SPECIALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e300, -1e-300, 5e-324, inf, -inf, nan])
WHOLES = np.array([0, 1, -1, 2, -7, 63, 64, 2**62, -(2**63), 2**63 - 1])


def grid(definition, values):
    return [np.ravel(g) for g in np.meshgrid(*[values] * len(domains(definition)), indexing="ij")]


@pytest.mark.parametrize(
    "name", [n for n, d in ELEMENTWISE.items() if d.evaluate_complex and n in RULES and n != "cast"]
)
def test_twin_agrees_with_the_real_function(name):
    """On complex numbers without imaginary part: the real part bit for bit, and no derivative out of nothing."""
    definition = REGISTRY[name]
    operands = grid(definition, SPECIALS)
    if "int" in domains(definition):
        operands[1] = np.trunc(np.nan_to_num(operands[1], posinf=5, neginf=-5) % 7).astype(np.int64)
    with np.errstate(all="ignore"):
        expected = definition.evaluate(*operands)
        got = definition.evaluate_complex(*(x.astype(complex) if is_free(x) else x for x in operands))
        np.testing.assert_array_equal(definition.evaluate_complex(*operands), expected)
    np.testing.assert_array_equal(got.real, expected)
    np.testing.assert_array_equal(np.signbit(got.real[expected == 0]), np.signbit(expected[expected == 0]))
    np.testing.assert_array_equal(got.imag, 0)


CASTS_FIRST = {np.float_power, np.fabs, np.where}  # bound to an operation after a cast, or without dtype rules
BINDINGS = [
    pytest.param(n, f, id=f"{n}-{f.__name__}") for n, d in ELEMENTWISE.items() for f in d.numpy if f not in CASTS_FIRST
]


@pytest.mark.parametrize("name, function", BINDINGS)
@pytest.mark.parametrize("dtype", list(DTYPES.values()), ids=str)
def test_dtype_and_values_are_those_of_numpy(name, function, dtype):
    """Where an operation accepts a dtype, its result has the dtype and the values of the NumPy function."""
    definition = REGISTRY[name]
    dtypes = [I64 if d == "int" and name == "ldexp" else dtype for d in domains(definition)]
    try:
        (inferred,) = definition.infer([Value(make(d, (None,))) for d in dtypes], {}, [])
    except TypeError:
        assert dtype.kind not in "f" or "int" in domains(definition) or "bool" in domains(definition)
        return
    wholes = np.array([0, 1, 2, 3, 7, 5]) if name in ("pow", "left_shift", "ldexp") else WHOLES
    columns = grid(definition, SPECIALS if dtype.is_float else wholes)
    with np.errstate(all="ignore"):
        operands = [np.asarray(c).astype(d.numpy) for c, d in zip(columns, dtypes)]
        if name == "ldexp":
            operands[1] = np.arange(operands[0].size) % 9 - 4
        expected = function(*operands)
        got = definition.evaluate(*operands)
        one = definition.evaluate(*(o[1] for o in operands))
    assert dtype_of(expected.dtype) is inferred.dtype
    np.testing.assert_array_equal(got, expected)
    assert type(one) is expected.dtype.type  # scalars stay scalars


def test_integer_division_by_zero_is_zero():
    zero, x = np.int64(0), np.array([5, -5, 0])
    with np.errstate(all="ignore"):
        for name in ("floordiv", "mod", "fmod"):
            np.testing.assert_array_equal(REGISTRY[name].evaluate(x, zero), [0, 0, 0])


REFUSED = {
    "exp": [[BOOL], [I64]],
    "sqrt": [[I64]],
    "div": [[I64, I64], [F32, F64]],
    "sub": [[BOOL, BOOL]],
    "maximum": [[F32, F64], [I64, F64]],
    "pow": [[BOOL, BOOL], [F64, I64]],
    "ldexp": [[F64, F64], [I64, I64]],
    "bitwise_and": [[F64, F64], [I64, BOOL]],
    "left_shift": [[BOOL, BOOL]],
    "gcd": [[F64, F64], [BOOL, BOOL]],
    "matmul": [[BOOL, BOOL], [F32, F64]],
    "cumsum": [[BOOL]],
    "recurrence": [[F32, F64]],
    "reduce_sum": [[BOOL]],
    "reduce_prod": [[BOOL]],
    "reduce_all": [[F64]],
    "reduce_or": [[F64], [BOOL]],
}


@pytest.mark.parametrize("name, dtypes", [(n, d) for n, all_ in REFUSED.items() for d in all_])
def test_operands_that_do_not_fit_are_refused(name, dtypes):
    attrs = {"axes": (0,), "axis": 0, "reverse": False}
    with pytest.raises(TypeError, match=dtypes[0].name):
        REGISTRY[name].infer([Value(make(d, (None,))) for d in dtypes], attrs, [])


@pytest.mark.parametrize("axes", [(), (1,), (0, 0), (-1,)])
def test_axes_that_do_not_exist_are_refused(axes):
    with pytest.raises(TypeError, match="axes"):
        REGISTRY["reduce_sum"].infer([Value(make(F64, (None,)))], {"axes": axes}, [])


def test_matmul_dims():
    rule = REGISTRY["matmul"].infer
    a, b = Value(make(F64, (3, None))), Value(make(F64, (4, 2)))
    assert rule([a, b], {}, []) == [make(F64, (3, 2))]
    assert rule([Value(make(F64, (4,))), b], {}, []) == [make(F64, (2,))]
    assert rule([Value(make(F64, (4,))), Value(make(F64, (None,)))], {}, []) == [make(F64, ())]
    with pytest.raises(TypeError, match="inner extents"):
        rule([b, b], {}, [])
    with pytest.raises(TypeError, match="vectors and matrices"):
        rule([Value(make(F64, (2, 2, 2))), b], {}, [])


@pytest.mark.parametrize("name", ["reduce_sum", "reduce_prod", "reduce_max", "reduce_min"])
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 1)])
def test_reductions_are_those_of_numpy(name, axes):
    function = getattr(np, name.removeprefix("reduce_"))
    for x in (M, np.where(M > 0, nan, M), M.astype(np.float32), (M * 9).astype(np.int64), (M * 9).astype(np.int32)):
        if x.dtype == np.int32 and name in ("reduce_sum", "reduce_prod"):
            expected = function(x, axis=axes, dtype=np.int32)
        else:
            expected = function(x, axis=axes)
        got = REGISTRY[name].evaluate(x, axes=axes)
        np.testing.assert_array_equal(got, expected)
        (inferred,) = REGISTRY[name].infer([Value(make(dtype_of(x.dtype), x.shape))], {"axes": axes}, [])
        assert dtype_of(got.dtype) is inferred.dtype and np.shape(got) == inferred.dims
        if x.dtype.kind == "f":
            stepped = REGISTRY[name].evaluate_complex(x + 0j, axes=axes)
            np.testing.assert_array_equal(np.real(stepped), expected if x.dtype == np.float64 else np.real(stepped))


def test_empty_reductions():
    empty = np.zeros((0, 3))
    np.testing.assert_array_equal(REGISTRY["reduce_sum"].evaluate(empty, axes=(0,)), [0, 0, 0])
    np.testing.assert_array_equal(REGISTRY["reduce_prod"].evaluate(empty, axes=(0,)), [1, 1, 1])
    with pytest.raises(ValueError, match="zero-size"):
        REGISTRY["reduce_max"].evaluate(empty, axes=(0,))


def test_argmax_takes_the_first_and_nan():
    x = np.array([[1.0, 3.0, 3.0], [nan, 5.0, nan]])
    for value in (x, x + 1e-30j):
        np.testing.assert_array_equal(REGISTRY["argmax"].evaluate(value, axis=1), [1, 0])
        np.testing.assert_array_equal(REGISTRY["argmin"].evaluate(value, axis=1), [0, 0])


def test_reversed_scans():
    x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    scan = lambda name, **attrs: REGISTRY[name].evaluate(x, **attrs)
    np.testing.assert_array_equal(scan("cumsum", axis=1, reverse=True), [[6, 5, 3], [15, 11, 6]])
    np.testing.assert_array_equal(scan("cumprod", axis=0, reverse=True), [[4, 10, 18], [4, 5, 6]])
    y = REGISTRY["recurrence"].evaluate(x, x, axis=1, reverse=False)
    by_hand = [reduce(lambda y, v: v * y + v, row[1:k], row[0]) for row in x for k in (1, 2, 3)]
    np.testing.assert_array_equal(np.ravel(y), by_hand)


def test_math_module_agrees():
    """`math.f` and the operation of the same meaning agree to two units in the last place."""
    for name, other in {"arcsin": "asin", "arctan2": "atan2", "abs": "fabs", "rint": "rint", "mod": "mod"}.items():
        twin = {"rint": lambda x: float(round(x)), "mod": lambda a, b: a % b}.get(name) or getattr(math, other)
        xs = [float(sample(d, (), 3)) for d in domains(REGISTRY[name])]
        assert float(REGISTRY[name].evaluate(*xs)) == pytest.approx(twin(*xs), rel=5e-16)
    for name in ELEMENTWISE:
        if hasattr(math, name) and name not in ("pow", "gcd", "lcm", "ldexp"):
            xs = [float(sample(d, (), 3)) for d in domains(REGISTRY[name])]
            assert float(REGISTRY[name].evaluate(*xs)) == pytest.approx(float(getattr(math, name)(*xs)), rel=5e-16)


def test_the_published_table_is_the_declarations():
    script = Path(adjit.__file__).resolve().parent / "docs" / "operations.py"
    page = runpy.run_path(str(script))["page"]()
    assert script.with_suffix(".md").read_text(encoding="utf-8") == page, "run python docs/operations.py"
