"""Kinks and special points of the operation table: ties, zeros, infinities, NaN, the ends of domains.

Every kink that a declaration documents has a point here with the derivative it must have.
"""

import math

import numpy as np
import pytest
from ops_derivatives import Derivatives, arguments, program

from adjit.ir.adjoint.forward import jvp
from adjit.ir.core import Builder, Function, Region, Value, const
from adjit.ir.interp import run
from adjit.ir.ops import REGISTRY, call_rule
from adjit.ir.types import F64, make

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
    "logit": [((0.0,), (inf,)), ((1.0,), (inf,)), ((0.5,), (4,)), ((nan,), (nan,))],
    "expit": [((-inf,), (0,)), ((inf,), (0,)), ((0.0,), (0.25,))],
    "log_expit": [((-inf,), (1,)), ((inf,), (0,)), ((0.0,), (HALF,))],
    "xlogy": [
        ((0.0, 0.0), (-inf, 0)),
        ((0.0, 2.0), (math.log(2), 0)),
        ((2.0, 0.0), (-inf, inf)),
        ((0.0, nan), (nan, 0)),
    ],
    "xlog1py": [((0.0, -1.0), (-inf, 0)), ((0.0, 1.0), (math.log(2), 0)), ((2.0, -1.0), (-inf, inf))],
    "entr": [((0.0,), (inf,)), ((1.0,), (-1,)), ((-1.0,), (nan,))],
    "rel_entr": [
        ((0.0, 2.0), (-inf, 0)),
        ((0.0, 0.0), (nan, 0)),
        ((2.0, 2.0), (1, -1)),
        ((2.0, 0.0), (inf, -inf)),
        ((1e-200, 1e200), (1 - 400 * math.log(10), 0)),
    ],
    "kl_div": [((0.0, 2.0), (-inf, 1)), ((0.0, 0.0), (nan, 1)), ((2.0, 2.0), (0, 0)), ((2.0, 0.0), (inf, -inf))],
    "huber": [((1.0, 1.0), (0, 1)), ((1.0, -3.0), (2, -1)), ((-1.0, 2.0), (nan, nan)), ((0.0, 0.0), (0, 0))],
    "pseudo_huber": [((1.0, 0.0), (0, 0)), ((-1.0, 2.0), (nan, nan)), ((0.0, 2.0), (nan, 0)), ((2.0, inf), (nan, nan))],
    "erf": [((inf,), (0,)), ((-inf,), (0,))],
    "erfinv": [((1.0,), (inf,)), ((-1.0,), (inf,)), ((2.0,), (nan,))],
    "ndtri": [((0.0,), (inf,)), ((1.0,), (inf,)), ((-1.0,), (nan,))],
    "log_ndtr": [((inf,), (0,)), ((-1e3,), (1000.000999998002,)), ((-inf,), (inf,))],
    "i0e": [((0.0,), (0,))],
    "i1": [((0.0,), (HALF,))],
    "j1": [((0.0,), (HALF,))],
    "gamma": [((0.0,), (-inf,)), ((-1.0,), (nan,)), ((200.0,), (inf,))],
    "gammaln": [((0.0,), (-inf,)), ((-1.0,), (nan,)), ((inf,), (inf,))],
    "exprel": [((0.0,), (HALF,)), ((-inf,), (0,))],
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


def pulled(found, cotangents):
    """The gradients for given cotangents."""
    return run(found.pullback_program, [*found.args, *cotangents])


SPECIAL = [pytest.param(n, p, e, id=f"{n}{p}") for n, points in POINTS.items() for p, e in points]


@pytest.mark.parametrize("name, point, expected", SPECIAL)
def test_special_points(name, point, expected):
    operands = [np.float64(x) if isinstance(x, float) else np.int64(x) for x in point]
    found = Derivatives(*program(name, operands, {}))
    wanted = [0.0 if e is None else e for e, x in zip(expected, operands) if isinstance(x, np.floating)]
    backward = pulled(found, [np.float64(1.0)])
    np.testing.assert_allclose(np.float64(backward), np.float64(wanted), rtol=1e-14)
    for k, slope in enumerate(wanted):  # forward, along one operand
        (forward,) = run(jvp(found.function, [found.wrt[k]], keep=[]), [*operands, np.float64(1.0)])
        np.testing.assert_allclose(forward, slope, rtol=1e-14)


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
    (got,) = pulled(Derivatives(*program(name, [x], {"axes": (1,)})), [np.array([2.0, 5.0, 7.0])])
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
    found = Derivatives(*program(name, operands, attrs, static))
    assert [g.shape for g in found.gradients] == [o.shape for o in operands]
    for order in (found, found.second):
        cotangents = order.flat(order.cotangents)
        for got, rows in zip(order.gradients, order.jacobian(), strict=True):
            np.testing.assert_allclose(got, rows @ cotangents, rtol=1e-12, atol=1e-13)


def test_product_of_tiny_huge_and_infinite_factors():
    for x in ([1e-200, 1e-200, 1.0], [inf, 2.0, 1.0], [1e300, 1e-300, 1e300]):
        (got,) = pulled(Derivatives(*program("reduce_prod", [np.array(x)], {"axes": (0,)})), [1.0])
        expected = [math.prod(x[:k] + x[k + 1 :]) for k in range(3)]
        np.testing.assert_allclose(got, expected, rtol=1e-15)
