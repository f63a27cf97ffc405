"""Every operation of the table has a lowering: interpreter, schedule, rendered Python and machine code agree on
its cases."""

import itertools

import numpy as np
import pytest
from codegen_support import compare, outcome
from ops_cases import CASES, ELEMENTWISE, MORE, REFUSE_EMPTY, cases_of, domains, empty_cases_of, sample
from ops_cases import RULES as DIFFERENTIABLE

from adjit.codegen.lower import fusion, schedule
from adjit.codegen.lower.rules import RULES
from adjit.codegen.lower.scheduler import CONTROL
from adjit.ir.core import Builder, Const, Function, Region, Value, walk
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY
from adjit.ir.types import BOOL, F32, F64, I64, Array, Scalar, dtype_of

SPECIALS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.7, 1e-310, 1e300, -1e300, np.inf, -np.inf, np.nan])
INTEGERS = np.array([0, 1, -1, 2, -3, 7, 63, 64, -64, 2**62, -(2**63)])
LIBRARY = [n for n, d in REGISTRY.items() if d.category in ("library", "reduction", "shape")]
COUNTS = {"select": 3, "logical_not": 1, "stop_gradient": 1}


def value_of(operand, name):
    array = np.asarray(operand)
    dtype = dtype_of(array.dtype)
    return Value(Array(dtype, (None,) * array.ndim) if array.ndim else Scalar(dtype), name)


def function_of(name, operands, attrs):
    """A function that does one operation on its arguments. An array of extent 1 that is stretched has it in its
    type."""
    args = [value_of(x, f"x{k}") for k, x in enumerate(operands)]
    if name == "broadcast":
        wanted = [operands[1 + a] for a in attrs["axes"]]
        dims = tuple(1 if n == 1 and m != 1 else None for n, m in zip(np.shape(operands[0]), wanted))
        args[0] = Value(Array(args[0].dtype, dims), "x0") if dims else args[0]
    region = Region(args)
    with Builder(region) as b:
        b.emit("return", b.emit(name, args, attrs))
    return Function("f", region, {})


def test_every_operation_is_lowered():
    """By a rule of its own, or from its elements, which the code generator fuses."""
    scalar = ("elementwise", "check", "terminator", "buffer", "internal", "rule")  # rules are gone before that
    missing = [
        name
        for name, d in REGISTRY.items()
        if not (d.category in scalar or d.element is not None or name in RULES or name in CONTROL or name == "dim")
    ]
    assert not missing


@pytest.mark.parametrize("name", LIBRARY)
def test_moving_and_reducing(name):
    cases = [*cases_of(name), *MORE.get(name, [])]
    assert cases or name == "empty"
    for k, (operands, attrs) in enumerate(cases):
        compare(function_of(name, operands, attrs), operands, compiled=not k, both=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIBRARY)
def test_moving_and_reducing_compiled(name):
    """By way of Numba's front end, too; and more cases."""
    for k, (operands, attrs) in enumerate([*cases_of(name), *MORE.get(name, [])][:3]):
        compare(function_of(name, operands, attrs), operands, both=not k)


@pytest.mark.parametrize("name", LIBRARY)
def test_of_nothing_and_of_strided_arrays(name):
    """Compiled only where no derivative is: the others are, in all layouts, with their derivatives."""
    compiled = name not in DIFFERENTIABLE
    for k, (operands, attrs) in enumerate(cases_of(name)):
        compare(function_of(name, operands, attrs), operands, compiled=compiled and not k, both=False, layout="A")
    for k, (operands, attrs) in enumerate(empty_cases_of(name)):
        function = function_of(name, operands, attrs)
        if name in REFUSE_EMPTY and outcome(lambda f=function, xs=operands: run(f, xs))[0] == "fails":
            continue  # a check before it, which the tracer emits, has failed then
        compare(function, operands, compiled=compiled and not k, both=False)


def grids(name):
    """Arguments for an elementwise operation: its domain, special values, and the other dtypes it takes."""
    definition = ELEMENTWISE[name]
    count = len(domains(definition)) if definition.domain is not None else COUNTS.get(name, 2)
    if name == "cast":
        return
    if name.startswith("logical"):
        table = np.array(list(itertools.product([True, False], repeat=count))).T
        yield list(table)
        return
    if definition.domain is not None:
        yield [sample(d, (9,), k) for k, d in enumerate(domains(definition))]
    if name == "select":
        yield [np.arange(13) % 2 == 0, SPECIALS, SPECIALS[::-1].copy()]
        return
    for dtype in (F64, F32, I64):
        with np.errstate(all="ignore"):
            values = SPECIALS.astype(dtype.numpy) if dtype.is_float else INTEGERS
            if name == "pow":  # NumPy's own scalars and arrays disagree about (-inf) ** 0.5
                values = values[values != -np.inf]
            if name == "lcm":
                values = INTEGERS[:-2]  # what the others overflow to is nobody's promise
            table = np.array(list(itertools.product(values, repeat=count)), dtype=dtype.numpy).T
        yield [row.copy() for row in table]


def accepts(name, args):
    definition = REGISTRY[name]
    try:
        definition.infer([value_of(a, "x") for a in args], {}, [])
    except TypeError:
        return False
    integer = args[0].dtype.kind == "i"
    if name == "ldexp":
        return not integer and args[1].dtype.kind == "i"
    if integer and name == "pow":
        return False  # negative exponents: tested below
    if integer and dtype_of(args[0].dtype) is I64:
        with np.errstate(all="ignore"):
            return np.asarray(definition.evaluate(*args)).dtype.kind in "ib" or name == "bitwise_count"
    return True


def by_dtypes(name):
    """The grids that an operation accepts, those of the same dtypes together, with the accuracy to expect."""
    found = {}
    for args in grids(name):
        if accepts(name, args):
            found.setdefault(tuple(a.dtype for a in args), []).append(args)
    for dtypes, several in found.items():
        yield [np.concatenate(parts) for parts in zip(*several, strict=True)], 1e-5 if np.float32 in dtypes else 1e-12


def of_all_dtypes(name):
    """One function with a loop for each of them, which is cheaper than as many kernels; its arguments; accuracies."""
    tried = list(by_dtypes(name))
    assert tried
    region = Region([value_of(a, f"x{k}_{j}") for k, (args, _) in enumerate(tried) for j, a in enumerate(args)])
    values = iter(region.args)
    with Builder(region) as b:
        b.emit("return", [b.emit1(name, [next(values) for _ in args]) for args, _ in tried])
    function = Function("f", region, {})
    together = [a for args, _ in tried for a in args]
    assert outcome(lambda: run(function, together))[0] == "ok"
    return function, together, [rtol for _, rtol in tried]


ELEMENTS = sorted(n for n in ELEMENTWISE if n not in ("cast", "bitcast"))


@pytest.mark.parametrize("name", ELEMENTS)
def test_elements(name):
    function, args, tolerances = of_all_dtypes(name)
    compare(function, args, both=False, rtol=tolerances)
    for args, rtol in by_dtypes(name):
        scalars = [a[len(a) // 2] for a in args]
        compare(function_of(name, scalars, {}), scalars, compiled=False, rtol=rtol)


@pytest.mark.slow
@pytest.mark.parametrize("name", ELEMENTS)
def test_elements_by_way_of_numba(name):
    function, args, tolerances = of_all_dtypes(name)
    compare(function, args, rtol=tolerances)


def test_bits_of_floats_and_back():
    """Signs of zeros and what a NaN carries included."""
    words = np.array([0, 1, -1, 1 << 62, -(1 << 63), 0x7FF0000000000000, 0x7FF8000000000123], np.int64)
    floats = words.view(np.float64)
    compare(function_of("bitcast", [words], {"dtype": F64}), [words])
    compare(function_of("bitcast", [floats], {"dtype": I64}), [floats])
    function = function_of("bitcast", [floats], {"dtype": I64})
    (found,) = run(function, [floats])
    assert found.tobytes() == words.tobytes()
    with pytest.raises(TypeError, match="bitcast"):
        function_of("bitcast", [floats.astype(np.float32)], {"dtype": I64})


@pytest.mark.parametrize("source", [F64, F32, I64, BOOL])
def test_casts(source):
    values = np.array([0.0, 1.0, -1.5, 3.9, 100.0]).astype(source.numpy)
    for target in (F64, F32, I64, BOOL):
        compare(function_of("cast", [values], {"dtype": target}), [values], compiled=target in (I64, BOOL))


def test_casting_what_no_integer_holds():
    values = np.array([np.nan, np.inf, -np.inf, 1e300, -(2.0**63), 2.0**63])
    compare(function_of("cast", [values], {"dtype": I64}), [values])


def test_integer_powers():
    args = [np.array([2, -3, 0, 10, 3]), np.array([5, 3, 0, 18, 41])]
    compare(function_of("pow", args, {}), args)


def test_division_by_zero_of_python_numbers():
    region = Region([Value(Scalar(F64), "x"), Value(Scalar(F64), "y")])
    with Builder(region) as b:
        q = b.emit1("div", region.args)
        r = b.emit1("div", [Const(-1.0, F64), region.args[1]])
        b.emit("return", [q, r, b.emit1("mod", region.args), b.emit1("pow", region.args)])
    for args in ([1.0, 0.0], [0.0, 0.0], [-8.0, 1 / 3], [0.0, -1.0], [1e300, 2.0]):
        compare(Function("f", region, {}), args, rtol=1e-12)


def test_empty_is_allocated():
    region = Region([Value(Scalar(I64), "n")])
    with Builder(region) as b:
        array = b.emit1("empty", region.args, {"dtype": F64})
        full = b.emit1("update", [array, Const(2.0, F64)], {"spec": ":"})
        b.emit("return", [full])
    rendered = compare(Function("f", region, {}), [4])
    assert rendered.source.count("np.empty") == 1


def test_what_schedules_are_made_of_occurs_in_them():
    """Operations on buffers have no cases of their own: they are tested with everything that is lowered to them."""
    occurring = set()
    for name in LIBRARY:
        for operands, attrs in cases_of(name):
            function = function_of(name, operands, attrs)
            low = schedule(function, ["C" if v.is_array else "" for v in function.args])
            occurring |= {op.name for op in walk(low.body)}
    elsewhere = {  # made of several operations
        "add_product": "test_panels.py",
        "assemble": "test_slice_sums.py",
        "buffer.view": "test_tape_rows.py",
    }
    assert {n for n, d in REGISTRY.items() if d.category == "buffer"} <= occurring | elsewhere.keys()


def test_trivial_operations_are_known():
    assert fusion.TRIVIAL <= set(REGISTRY)
    assert set(CASES) <= set(REGISTRY)
