"""Arithmetic, comparisons, logic, selection and conversion of elements.

In: the declaration helpers. Out: registry entries. Operands of arithmetic have one dtype: the tracer casts
first. Division by zero follows NumPy: inf or nan for floats, 0 for integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core import Const, Region, Value
from ..types import BOOL, F64, I64, Type, make, with_dtype
from . import analytic
from .analytic import continued
from .declare import OpDef, declare, elementwise, elementwise_dims, of_floats, of_numbers, predicate, same_extents

ANY = (-3.0, 3.0)

add = elementwise("add", np.add, numpy=np.add, partials=lambda x, y_: (1, 1), domain=(ANY, ANY))
sub = elementwise(
    "sub",
    np.subtract,
    numpy=np.subtract,
    partials=lambda x, y_: (1, -1),
    result=of_numbers("sub"),
    domain=(ANY, ANY),
)
mul = elementwise(
    "mul",
    np.multiply,
    numpy=np.multiply,
    evaluate_complex=continued(np.multiply, analytic.multiplied),
    # of a square, 2 a is known before its cotangent is, and there is one product less to wait for
    partials=lambda a, b: (lambda: 2 * a, None) if a is b else (b, a),
    domain=(ANY, ANY),
)


div = elementwise(
    "div",
    np.true_divide,
    numpy=np.true_divide,
    result=of_floats("div"),
    evaluate_complex=continued(np.true_divide, analytic.divided),
    partials=lambda a, b, *, y: (lambda: 1 / b, lambda: by_divisor(a, b, y)),
    domain=(ANY, (0.5, 3.0)),
    cost=4,
)


def by_divisor(a: Value, b: Value, y: Value) -> Value:
    """The derivative of y = a / b by b; where a is 1 or another power of two, without one more division (and without
    b, so that it need not be kept): a division takes as long as ten products."""
    if isinstance(a, Const):
        fraction, exponent = math.frexp(float(a.value))
        if abs(fraction) == 0.5 and abs(exponent) <= 8:
            return (y * y) * (-1.0 / float(a.value))
    return -y / b


neg = elementwise("neg", np.negative, numpy=np.negative, partials=lambda x: (-1,), result=of_numbers("neg"), domain=ANY)


def select_infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    condition, a, b = operands
    if condition.dtype is not BOOL or a.dtype is not b.dtype:
        raise TypeError(f"select: {condition.type}, {a.type}, {b.type}")
    return [make(a.dtype, elementwise_dims("select", operands))]


select = declare(
    OpDef(
        "select",
        select_infer,
        evaluate=lambda c, a, b: np.asarray(np.where(c, a, b))[()],
        category="elementwise",
        numpy=(np.where,),
        partials=lambda c, a, b: (None, 1, 1),
        masks=lambda c, a, b: (None, c, lambda: ~c),
        extents=same_extents,
        primitive="select",
        domain=("bool", ANY, ANY),
    )
)

cast = declare(
    OpDef(
        "cast",  # to attrs["dtype"]; float to integer truncates as NumPy's astype
        lambda operands, attrs, regions: [with_dtype(operands[0].type, attrs["dtype"])],
        evaluate=lambda x, *, dtype: np.asarray(x).astype(dtype.numpy)[()],
        evaluate_complex=lambda x, *, dtype: (
            x if dtype.is_float and np.iscomplexobj(x) else np.asarray(np.real(x)).astype(dtype.numpy)[()]
        ),
        category="elementwise",
        partials=lambda x, *, dtype: (1 if dtype.is_float else None,),
        extents=same_extents,
        primitive="cast",
    )
)


def bitcast_infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    if {operands[0].dtype, attrs["dtype"]} != {F64, I64}:
        raise TypeError(f"bitcast of {operands[0].type} to {attrs['dtype']}: f64 and i64 only")
    return [with_dtype(operands[0].type, attrs["dtype"])]


bitcast = declare(
    OpDef(
        "bitcast",  # the bits of an f64 as an i64, or back; a complex number stands for its bits
        bitcast_infer,
        evaluate=lambda x, *, dtype: np.asarray(x).view(dtype.numpy)[()],
        evaluate_complex=lambda x, *, dtype: x if np.iscomplexobj(x) else np.asarray(x).view(dtype.numpy)[()],
        category="elementwise",
        extents=same_extents,
        primitive="bitcast",
        domain="int",
    )
)

stop_gradient = elementwise("stop_gradient", lambda x: x)

# ---------------------------------------------------------------- comparisons: on real parts, for complex step


def comparison(name: str, function: np.ufunc) -> OpDef:
    return predicate(
        name,
        function,
        evaluate_complex=lambda a, b: function(np.real(a), np.real(b)),
        numpy=function,
        domain=(ANY, ANY),
    )


lt = comparison("lt", np.less)
le = comparison("le", np.less_equal)
gt = comparison("gt", np.greater)
ge = comparison("ge", np.greater_equal)
eq = comparison("eq", np.equal)
ne = comparison("ne", np.not_equal)

logical_and = predicate("logical_and", np.logical_and, numpy=np.logical_and, domain=("bool", "bool"))
logical_or = predicate("logical_or", np.logical_or, numpy=np.logical_or, domain=("bool", "bool"))
logical_not = predicate("logical_not", np.logical_not, numpy=np.logical_not, domain="bool")
logical_xor = predicate("logical_xor", np.logical_xor, numpy=np.logical_xor, domain=("bool", "bool"))
