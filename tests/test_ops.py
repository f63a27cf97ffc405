"""The operation table, walked: every declaration means what NumPy means and has a right derivative.

Nothing here lists operations by hand where the registry can be asked, so an operation without a domain, a kink
without its value or a rule without a test fails. Rules are called as the reverse sweep calls them, the emitted
IR runs in the interpreter, and the result is compared with complex step (1e-10) and with finite differences.
"""

import math

import numpy as np
import pytest
from ops_cases import CASES, ELEMENTWISE, RULES, cases_of, domains, is_free

from adjit.ir.core import Builder, Const, Function, Region, Value, const
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY, Into, call_rule, zeros_like
from adjit.ir.types import BOOL, F32, F64, I64, make
from adjit.ir.verify import verify

STEP = 1e-30


def arguments(operands, static, dtype=F64):
    """IR values for operands: with `static`, extents belong to the types and integers are constants."""
    out = []
    for k, x in enumerate(operands):
        a = np.asarray(x)
        kind = dtype if is_free(x) else BOOL if a.dtype == bool else I64
        if static and not a.shape and kind is I64:
            out.append(const(int(a)))
        else:
            needed = static or (a.ndim and 1 in a.shape)  # an axis is stretched only where its 1 is static
            out.append(Value(make(kind, a.shape if needed else (None,) * a.ndim), f"x{k}"))
    return out


def function_of(name, values):
    """An empty function of those values that are not constants; it remembers which these are."""
    free = [k for k, v in enumerate(values) if not isinstance(v, Const)]
    return Function(name, Region([values[k] for k in free]), {"free": free})


def program(name, operands, attrs, static=False, dtype=F64):
    """The operation as a function of its operands."""
    values = arguments(operands, static, dtype)
    f = function_of(name, values)
    with Builder(f.body) as b:
        b.emit("return", [b.emit1(name, values, attrs)])
    return f


def pulled(definition, values, y, dy, attrs):
    """What the operation's rule gives for each operand, as the reverse sweep uses it (None: zero)."""
    if definition.partials is not None:
        partials = call_rule(definition.partials, values, attrs, y=y)
        masks = call_rule(definition.masks, values, attrs, y=y) if definition.masks else [None] * len(values)
        out = []
        for partial, mask in zip(partials, masks, strict=True):
            partial = partial() if callable(partial) else partial
            mask = mask() if callable(mask) else mask
            if partial is None:
                out.append(None)
                continue
            got = dy * partial
            out.append(got if mask is None else select(mask, got))
        return out
    out = []
    for x, got in zip(values, call_rule(definition.transpose or definition.vjp, values, attrs, y=y, dy=dy)):
        got = got if isinstance(got, Into) or not callable(got) else got()
        out.append(got.add(zeros_like(x)) if isinstance(got, Into) else got)
    return out


def select(mask, value):
    from adjit.ir.core import builder

    return builder().emit1("select", [mask, value, Const(0, value.dtype)])


def pullback(name, operands, attrs, static=False, dtype=F64):
    """The function (operands, dy) -> cotangents of the float operands, by the operation's rule."""
    definition = REGISTRY[name]
    values = arguments(operands, static, dtype)
    f = function_of(f"{name}.pullback", values)
    with Builder(f.body) as b:
        y = b.emit1(name, values, attrs)
        dy = Value(y.type, "dy")
        f.body.args.append(dy)
        results = []
        for x, given, got in zip(values, operands, pulled(definition, values, y, dy, attrs)):
            if not is_free(given):
                continue
            got = zeros_like(x) if got is None else got
            if got.dtype is not x.dtype:
                got = b.emit1("cast", [got], {"dtype": x.dtype})
            if got.is_array and not x.is_array:
                got = b.emit1("reduce_sum", [got], {"axes": tuple(range(got.rank))})
            results.append(got if got.rank == x.rank else b.emit1("broadcast", [got], {"axes": ()}))
        b.emit("return", results)
    verify(f)
    return f


def run_on(f, operands, extra=()):
    """Run a function made by `program` or `pullback` on all operands: those that became constants are left out."""
    return run(f, [*(operands[k] for k in f.attrs["free"]), *extra])


def moved(operands, k, index, by):
    """The operands with one element of operand k changed."""
    out = list(operands)
    a = np.array(out[k], dtype=np.result_type(np.float64, type(by)))
    a[index] += by
    out[k] = a[()]
    return out


def jacobian(function, operands, difference):
    """Per float operand, d function / d element along the first axes; `difference(k, index) -> dy`."""
    out = []
    for k, x in enumerate(operands):
        if is_free(x):
            rows = [difference(function, operands, k, index) for index in np.ndindex(np.shape(x))]
            out.append(np.reshape(rows, np.shape(x) + np.shape(rows[0])))
    return out


def complex_step(function, operands, k, index):
    return np.imag(function(moved(operands, k, index, STEP * 1j))) / STEP


def richardson(function, operands, k, index):
    def central(h):
        return (function(moved(operands, k, index, h)) - function(moved(operands, k, index, -h))) / (2 * h)

    h = 1e-4 * max(1.0, abs(np.asarray(operands[k])[index]))
    return (4 * central(h / 2) - central(h)) / 3


def contract(dy, jacobians):
    return [np.tensordot(j, dy, np.ndim(dy)) for j in jacobians]


def close(got, expected, rtol, floor=1e-14):
    scale = max(1.0, *(float(np.max(np.abs(e), initial=0)) for e in expected))
    for g, e in zip(got, expected, strict=True):
        np.testing.assert_allclose(g, e, rtol=rtol, atol=floor * scale)


def ids(case):
    return ",".join(str(np.shape(x)) for x in case[0]) if isinstance(case, tuple) else str(case)


ALL = [pytest.param(n, c, id=f"{n}-{ids(c)}-{k}") for n in RULES for k, c in enumerate(cases_of(n))]


def cotangent_for(y, seed=3):
    return np.asarray(np.random.default_rng(seed).uniform(0.5, 2.0, np.shape(y)))[()]


# ---------------------------------------------------------------- the table is complete


def test_every_rule_has_a_case():
    assert [n for n in RULES if not cases_of(n)] == []
    assert [n for n, d in ELEMENTWISE.items() if d.domain is None and n not in (*CASES, "stop_gradient")] == []


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


# ---------------------------------------------------------------- derivatives


@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("name, case", ALL)
def test_rule_against_complex_step_and_differences(name, case, static):
    operands, attrs = case
    primal = program(name, operands, attrs, static)
    function = lambda xs: run_on(primal, xs)[0]
    y = function(operands)
    dy = cotangent_for(y)
    got = run_on(pullback(name, operands, attrs, static), operands, [dy])
    exact = contract(dy, jacobian(function, operands, complex_step))
    close(got, exact, 1e-10)
    close(got, contract(dy, jacobian(function, operands, richardson)), 1e-6, 1e-9)


@pytest.mark.parametrize("name, case", [p for p in ALL if p.values[0] != "cast"])
def test_rule_in_float32(name, case):
    operands, attrs = case
    single = [np.asarray(x, np.float32)[()] if is_free(x) else x for x in operands]
    wide = [np.asarray(x, np.float64)[()] if is_free(x) else x for x in single]
    primal = program(name, wide, attrs)
    function = lambda xs: run_on(primal, xs)[0]
    dy = np.asarray(cotangent_for(function(wide)), np.float32)[()]
    got = run_on(pullback(name, single, attrs, dtype=F32), single, [dy])
    assert all(np.asarray(g).dtype == np.float32 for g in got)
    close(got, contract(np.float64(dy), jacobian(function, wide, complex_step)), 3e-5, 3e-6)


@pytest.mark.parametrize("name, case", ALL)
def test_rules_can_be_differentiated_again(name, case):
    """Complex step through the rule equals differences of the rule: what it emits has the right derivative too."""
    operands, attrs = case
    f = pullback(name, operands, attrs)
    dy = cotangent_for(run_on(program(name, operands, attrs), operands)[0])
    flat = lambda xs: np.concatenate([np.ravel(r) for r in run_on(f, xs, [dy])])
    close(jacobian(flat, operands, complex_step), jacobian(flat, operands, richardson), 1e-6, 1e-8)


@pytest.mark.parametrize("name, case", [p for p in ALL if REGISTRY[p.values[0]].jvp])
def test_forward_rule_against_complex_step(name, case):
    operands, attrs = case
    definition = REGISTRY[name]
    primal = program(name, operands, attrs)
    rng = np.random.default_rng(11)
    directions = [rng.uniform(-1, 1, np.shape(x)) for x in operands]
    subsets = [range(len(operands)), *([k] for k in range(len(operands)))]
    for chosen in subsets:
        values = arguments(operands, False)
        tangents = [Value(v.type, "t") if k in chosen else None for k, v in enumerate(values)]
        f = Function("jvp", Region([*values, *(t for t in tangents if t is not None)]))
        with Builder(f.body) as b:
            y = b.emit1(name, values, attrs)
            b.emit("return", [call_rule(definition.jvp, values, attrs, y=y, tangents=tangents)])
        verify(f)
        given = [directions[k] for k in chosen]
        (got,) = run(f, [*operands, *given])
        stepped = [x + 1j * STEP * directions[k] if k in chosen else x for k, x in enumerate(operands)]
        close([got], [np.imag(run(primal, stepped)[0]) / STEP], 1e-10)


@pytest.mark.parametrize("name", [n for n, d in ELEMENTWISE.items() if not d.differentiable and n != "stop_gradient"])
def test_operations_without_rule_do_not_move(name):
    """Between jumps, functions that have no derivative do not change at all with their operands."""
    for operands, attrs in cases_of(name):
        if not all(map(is_free, operands)):
            continue
        function = lambda xs: run_on(program(name, operands, attrs), xs)[0]  # noqa: B023
        y = function(operands)
        for k, x in enumerate(operands):
            near = [*operands[:k], np.asarray(x)[()] * (1 + 1e-13), *operands[k + 1 :]]
            np.testing.assert_array_equal(function(near), y)
            assert not np.any(np.imag(function([*operands[:k], x + 1j * STEP, *operands[k + 1 :]])))


# ---------------------------------------------------------------- kinks and special points

inf, nan = math.inf, math.nan
HALF = 0.5
# operation: (operands, expected derivative by each operand at dy = 1; None where it has none)
POINTS = {
    "abs": [((0.0,), (0,)), ((-0.0,), (0,)), ((-inf,), (-1,)), ((nan,), (nan,))],
    "sqrt": [((0.0,), (inf,)), ((inf,), (0,)), ((-1.0,), (nan,))],
    "cbrt": [((0.0,), (inf,)), ((-8.0,), (1 / 12,))],
    "log": [((0.0,), (inf,))],
    "log1p": [((-1.0,), (inf,))],
    "exp": [((-inf,), (0,)), ((inf,), (inf,)), ((800.0,), (inf,))],
    "tanh": [((inf,), (0,)), ((-inf,), (0,))],
    "arctan": [((inf,), (0,)), ((1e200,), (0,))],
    "arcsinh": [((1e200,), (1e-200,)), ((0.0,), (1,))],
    "arcsin": [((1.0,), (inf,)), ((-1.0,), (inf,)), ((1.5,), (nan,))],
    "arccos": [((1.0,), (-inf,)), ((-1.0,), (-inf,)), ((-1.5,), (nan,))],
    "arccosh": [((1.0,), (inf,)), ((1e200,), (1e-200,)), ((-2.0,), (nan,)), ((0.5,), (nan,))],
    "arctanh": [((1.0,), (inf,)), ((-1.0,), (inf,))],
    "hypot": [
        ((0.0, 0.0), (0, 0)),
        ((3.0, 0.0), (1, 0)),
        ((3e200, 4e200), (0.6, 0.8)),
        ((3e-200, 4e-200), (0.6, 0.8)),
        ((nan, 1.0), (nan, nan)),
    ],
    "arctan2": [
        ((0.0, 0.0), (nan, nan)),
        ((0.0, -2.0), (-0.5, -0.0)),
        ((3e200, 4e200), (0.16e-200, -0.12e-200)),
        ((3e-200, 4e-200), (0.16e200, -0.12e200)),
    ],
    "logaddexp": [
        ((-inf, -inf), (HALF, HALF)),
        ((inf, inf), (HALF, HALF)),
        ((-inf, 2.0), (0, 1)),
        ((inf, 2.0), (1, 0)),
        ((1e3, 0.0), (1, 0)),
        ((-1e3, 1e3), (0, 1)),
        ((nan, 0.0), (nan, nan)),
    ],
    "logaddexp2": [
        ((-inf, -inf), (HALF, HALF)),
        ((inf, inf), (HALF, HALF)),
        ((-inf, 2.0), (0, 1)),
        ((inf, 2.0), (1, 0)),
    ],
    "pow": [
        ((0.0, 0.0), (0, -inf)),
        ((0.0, 1.0), (1, 0)),
        ((0.0, 2.0), (0, 0)),
        ((0.0, 0.5), (inf, 0)),
        ((0.0, -1.0), (-inf, -inf)),
        ((-2.0, 3.0), (12, nan)),
        ((-2.0, 2.0), (-4, nan)),
        ((-2.0, 0.0), (0, nan)),
        ((-2.0, 0.5), (nan, nan)),
        ((inf, 0.0), (0, inf)),
        ((inf, -1.0), (-0.0, 0)),
        ((nan, 0.0), (0, nan)),
        ((1.0, 5.0), (5, 0)),
        ((1e-200, 2.0), (2e-200, 0)),
    ],
    "maximum": [
        ((2.0, 2.0), (HALF, HALF)),
        ((0.0, -0.0), (HALF, HALF)),
        ((1.0, inf), (0, 1)),
        ((nan, 1.0), (1, 0)),
        ((1.0, nan), (0, 1)),
    ],
    "minimum": [((2.0, 2.0), (HALF, HALF)), ((1.0, inf), (1, 0)), ((nan, 1.0), (1, 0)), ((1.0, nan), (0, 1))],
    "fmax": [((2.0, 2.0), (HALF, HALF)), ((nan, 1.0), (0, 1)), ((1.0, nan), (1, 0)), ((1.0, 2.0), (0, 1))],
    "fmin": [((2.0, 2.0), (HALF, HALF)), ((nan, 1.0), (0, 1)), ((1.0, nan), (1, 0)), ((1.0, 2.0), (1, 0))],
    "copysign": [((0.0, -1.0), (0, None)), ((2.0, -0.0), (-1, None)), ((-2.0, -1.0), (1, None))],
    "heaviside": [((0.0, 0.3), (None, 1)), ((1.0, 0.3), (None, 0)), ((-1.0, inf), (None, 0))],
    "mod": [((4.0, 2.0), (1, -2)), ((-1.0, 3.0), (1, 1)), ((1.0, inf), (1, -0.0))],
    "fmod": [((4.0, 2.0), (1, -2)), ((-1.0, 3.0), (1, -0.0)), ((1.0, 0.1), (1, -9))],
    "modf_fraction": [((2.0,), (1,)), ((-2.5,), (1,))],
    "frexp_mantissa": [((4.0,), (0.125,)), ((3.0,), (0.25,)), ((-2.0,), (0.25,))],
    "nextafter": [((1.0, 2.0), (1, None))],
    "ldexp": [((1.5, 3), (8, None)), ((0.0, -2), (0.25, None))],
    "div": [((1.0, 0.0), (inf, -inf))],
    "reciprocal": [((0.0,), (-inf,)), ((inf,), (-0.0,))],
}
SPECIAL = [pytest.param(n, p, e, id=f"{n}{p}") for n, points in POINTS.items() for p, e in points]


@pytest.mark.parametrize("name, point, expected", SPECIAL)
def test_special_points(name, point, expected):
    operands = [np.float64(x) if isinstance(x, float) else np.int64(x) for x in point]
    got = run_on(pullback(name, operands, {}), operands, [np.float64(1.0)])
    wanted = [0.0 if e is None else e for e, x in zip(expected, operands) if is_free(x)]
    np.testing.assert_allclose(np.float64(got), np.float64(wanted), rtol=1e-14)


@pytest.mark.parametrize("name, point, expected", [p for p in SPECIAL if p.values[0] == "pow"])
def test_powers_with_a_constant_exponent_or_base(name, point, expected):
    """Constants shorten the rule; they do not change it."""
    for fixed in (0, 1):
        x = Value(make(F64, ()), "x")
        values = [x, x]
        values[fixed] = const(point[fixed])
        f = Function("pow", Region([x]))
        with Builder(f.body) as b:
            y = b.emit1("pow", values)
            partial = call_rule(REGISTRY["pow"].partials, values, {}, y=y)[1 - fixed]()
            b.emit("return", [partial if isinstance(partial, Value) else const(float(partial))])
        got = run(f, [point[1 - fixed]])
        np.testing.assert_allclose(np.float64(got), [expected[1 - fixed]], rtol=1e-14)


def test_every_kink_has_a_point():
    documented = {n for n, d in REGISTRY.items() if d.kinks and d.differentiable and d.category == "elementwise"}
    assert documented - set(POINTS) == set()


@pytest.mark.parametrize("name", ["reduce_max", "reduce_min"])
def test_equal_extremes_share_and_the_others_are_masked(name):
    sign = 1 if name == "reduce_max" else -1
    x = sign * np.array([[1.0, 3.0, 3.0], [2.0, -inf, 0.0], [nan, 1.0, nan]])
    (got,) = run_on(pullback(name, [x], {"axes": (1,)}), [x], [np.array([2.0, 5.0, 7.0])])
    np.testing.assert_array_equal(got[:2], [[0, 1, 1], [5, 0, 0]])
    assert got[2, 1] == 0  # of a NaN extreme, the NaNs are the winners
    values = arguments([x], False)
    f = Function("masks", Region(values))
    with Builder(f.body) as b:
        y = b.emit1(name, values, {"axes": (1,)})
        b.emit("return", call_rule(REGISTRY[name].masks, values, {"axes": (1,)}, y=y))
    np.testing.assert_array_equal(run(f, [x])[0], [[0, 1, 1], [1, 0, 0], [1, 0, 1]])


ZEROS = [
    np.array([2.0, 0.0, 3.0, -0.5]),
    np.array([0.0, 0.0, 3.0, -0.5]),
    np.array([0.0, 0.0, 0.0, 2.0]),
    np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0], [1.0, 2.0, 3.0], [0.0, 1.0, 0.0]]),
    np.zeros((0,)),
    np.zeros((2, 0)),
]


@pytest.mark.parametrize("x", ZEROS, ids=lambda x: str(x.tolist()))
@pytest.mark.parametrize("static", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize("name", ["reduce_prod", "cumprod", "recurrence"])
def test_products_with_zeros_and_nothing(name, x, static):
    """First and second derivatives, where a division by an element would fail."""
    axis = x.ndim - 1
    attrs = {"axes": (axis,)} if name == "reduce_prod" else {"axis": axis, "reverse": x.ndim == 2}
    operands = [x, x + 0.5] if name == "recurrence" else [x]
    function = lambda xs: run_on(program(name, operands, attrs, static), xs)[0]
    dy = cotangent_for(function(operands))
    f = pullback(name, operands, attrs, static)
    got = run_on(f, operands, [dy])
    assert [g.shape for g in got] == [o.shape for o in operands]
    if x.size:
        close(got, contract(dy, jacobian(function, operands, complex_step)), 1e-12)
        flat = lambda xs: np.concatenate([np.ravel(r) for r in run_on(f, xs, [dy])])
        close(jacobian(flat, operands, complex_step), jacobian(flat, operands, richardson), 1e-7, 1e-8)


def test_product_of_tiny_huge_and_infinite_factors():
    for x in ([1e-200, 1e-200, 1.0], [inf, 2.0, 1.0], [1e300, 1e-300, 1e300]):
        (got,) = run_on(pullback("reduce_prod", [np.array(x)], {"axes": (0,)}), [np.array(x)], [1.0])
        expected = [math.prod(x[:k] + x[k + 1 :]) for k in range(3)]
        np.testing.assert_allclose(got, expected, rtol=1e-15)
