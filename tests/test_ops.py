"""The operation table, walked: every declaration means what NumPy means and has a right derivative.

Nothing here lists operations by hand where the registry can be asked, so an operation without a domain, a kink
without its value or a rule without a test fails. Rules are called as the reverse sweep calls them, the emitted
IR runs in the interpreter, and the result is compared with complex step (1e-10) and with finite differences.
"""

import math
from functools import reduce

import numpy as np
import pytest

from adjit.ir.core import Builder, Const, Function, Region, Value, const
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY, Into, call_rule, zeros_like
from adjit.ir.types import BOOL, DTYPES, F32, F64, I64, dtype_of, make
from adjit.ir.verify import verify

ELEMENTWISE = {n: d for n, d in REGISTRY.items() if d.category == "elementwise" and d.effect == ""}
OUTSIDE = {"control", "terminator", "check", "tape"}  # tested with the programs that use them
RULES = {n: d for n, d in REGISTRY.items() if d.differentiable and d.category not in OUTSIDE}
STEP = 1e-30

M = np.arange(12.0).reshape(3, 4) * 0.37 - 1.3
V = np.array([0.4, -1.2, 2.5, 0.9, -0.3])
K = np.array([2, 0, 2, 4])
# operations whose operands are not all free floats: operands (integers are positions and extents), attributes
CASES = {
    "cast": [([V], {"dtype": F64}), ([np.float64(0.7)], {"dtype": F64})],
    "fill": [([np.float64(0.7), 2, 3], {})],
    "index": [
        ([V, 3], {"spec": "i"}),
        ([V, 4, 2, -2], {"spec": "s"}),
        ([M, 2, 0, 2, 3], {"spec": "is"}),
        ([M, 1], {"spec": ":i"}),
        ([M, 0, 0, 1], {"spec": "s:"}),
    ],
    "update": [
        ([V, np.float64(5.0), 3], {"spec": "i"}),
        ([V, V[:2] * 3, 4, 2, -2], {"spec": "s"}),
        ([M, V[:4], 1], {"spec": "i:"}),
        ([M, np.float64(2.0), 0, 2, 2], {"spec": "s:"}),
    ],
    "accumulate": [
        ([V, np.float64(5.0), 3], {"spec": "i"}),
        ([M, V[:3], 1], {"spec": ":i"}),
        ([M, np.float64(2.0), 0, 2, 2, 3], {"spec": "si"}),
    ],
    "gather": [
        ([V, K], {"axes": (0,)}),
        ([M, np.array([[2, 0], [1, 1]])], {"axes": (0,)}),
        ([M, np.array([2, 0]), np.array([3, 3])], {"axes": (0, 1)}),
    ],
    "scatter_add": [
        ([V, V[:4] * 2, K], {"axes": (0,)}),
        ([M, V[:2], np.array([2, 2]), np.array([3, 3])], {"axes": (0, 1)}),
        ([V, np.float64(0.5), K], {"axes": (0,)}),
    ],
    "scatter": [
        ([V, V[:4] * 2, K], {"axes": (0,)}),
        ([M, M[:2] + 1, np.array([2, 2])], {"axes": (0,)}),
        ([V, np.float64(0.5), K], {"axes": (0,)}),
    ],
    "broadcast": [
        ([V, 3, 5], {"axes": (1,)}),
        ([V, 5, 2], {"axes": (0,)}),
        ([np.float64(0.3), 2, 2], {"axes": ()}),
        ([M[:, :1], 3, 4], {"axes": (0, 1)}),
    ],
    "transpose": [([M], {"perm": (1, 0)}), ([M.reshape(3, 2, 2)], {"perm": (2, 0, 1)})],
    "reshape": [([M, 2, 6], {}), ([M, 12], {})],
    "concat": [([V, V[:2] * 2], {"axis": 0}), ([M, M[:, :2], M[:, :1]], {"axis": 1})],
}


def domains(definition):
    """Per operand, what a declaration says of its values."""
    domain = definition.domain
    return (domain,) if isinstance(domain, str) or isinstance(domain[0], float) else domain


def sample(domain, shape, seed):
    rng = np.random.default_rng(seed)
    if domain == "bool":
        return np.asarray(rng.random(shape) < 0.5)[()]
    if domain == "int":
        return np.asarray(rng.integers(-6, 7, shape))[()]
    low, high = domain
    return np.asarray(low + (high - low) * rng.random(shape))[()]


def cases_of(name):
    """(operands, attributes) of every test case of an operation."""
    definition = REGISTRY[name]
    if name in CASES:
        return CASES[name]
    if definition.domain is None:
        return []
    if definition.category != "elementwise":
        return [
            ([sample((-2.0, 2.0), s, k + 5) for k, s in enumerate(shapes)], attrs)
            for shapes, attrs in definition.domain
        ]
    operands = domains(definition)
    mixes = {((),) * len(operands), ((5,),) * len(operands), ((2, 3),) * len(operands)}
    mixes |= {tuple((4,) if k == j else () for k in range(len(operands))) for j in range(len(operands))}
    return [
        ([sample(d, s, 7 * k + len(s)) for k, (d, s) in enumerate(zip(operands, shapes))], {})
        for shapes in sorted(mixes)
    ]


def is_free(x):
    return np.asarray(x).dtype.kind == "f"


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
@pytest.mark.parametrize("name", ["reduce_prod", "cumprod", "recurrence"])
def test_products_with_zeros_and_nothing(name, x):
    """First and second derivatives, where a division by an element would fail."""
    axis = x.ndim - 1
    attrs = {"axes": (axis,)} if name == "reduce_prod" else {"axis": axis, "reverse": x.ndim == 2}
    operands = [x, x + 0.5] if name == "recurrence" else [x]
    function = lambda xs: run_on(program(name, operands, attrs), xs)[0]
    dy = cotangent_for(function(operands))
    f = pullback(name, operands, attrs)
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


# ---------------------------------------------------------------- meaning

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
