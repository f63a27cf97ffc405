"""Quotients that are whole numbers, and the operations on integers alone.

In: the declaration helpers. Out: registry entries under NumPy's names: `floordiv`, `mod`, `fmod` on floats and
integers; bitwise logic (also of booleans), shifts, `gcd`, `lcm` on integers. Integer division by zero gives 0, a shift
by the width or more gives 0 (or -1 for a negative number shifted right), as in NumPy. `divmod` is a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..core import Value, builder
from ..types import U8, DType
from .analytic import continued, parts, product, steps, with_parts
from .arithmetic import ANY
from .declare import elementwise, of_numbers

DIVISOR = (0.4, 3.0)

# ---------------------------------------------------------------- whole quotients and remainders

floordiv = elementwise(
    "floordiv",
    np.floor_divide,
    result=of_numbers("floordiv"),
    numpy=np.floor_divide,
    evaluate_complex=continued(np.floor_divide, steps),
    domain=(ANY, DIVISOR),
    cost=8,
    kinks="constant between jumps: 0, at the jumps too",
)


def remainder_continued(a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = parts(a), parts(b)
    return with_parts(ar, ai - product(np.floor_divide(ar, br), bi))


def fmod_continued(a: Any, b: Any) -> Any:
    (ar, ai), (br, bi) = parts(a), parts(b)
    return with_parts(ar, ai - product(np.rint((ar - np.fmod(ar, br)) / br), bi))


mod = elementwise(
    "mod",  # the sign of the divisor
    np.remainder,
    partials=lambda a, b: (1, lambda: -floordiv(a, b)),
    result=of_numbers("mod"),
    numpy=np.remainder,
    evaluate_complex=continued(np.remainder, remainder_continued),
    domain=(ANY, DIVISOR),
    cost=8,
    kinks="at the jumps (a a multiple of b): those of the piece above, 1 and -a/b",
)


def whole_quotient(a: Value, b: Value, y: Value) -> Value:
    """trunc(a / b) as `fmod` counts it: a / b itself may round up to the next whole number (1.0 and 0.1)."""
    return builder().emit1("rint", [(a - y) / b])


fmod = elementwise(
    "fmod",  # the sign of the dividend
    np.fmod,
    partials=lambda a, b, *, y: (1, lambda: -whole_quotient(a, b, y)),
    result=of_numbers("fmod"),
    numpy=np.fmod,
    evaluate_complex=continued(np.fmod, fmod_continued),
    domain=(ANY, DIVISOR),
    cost=8,
    kinks="at the jumps (a a multiple of b): 1 and -a/b",
)

# ---------------------------------------------------------------- integers alone


def of_kinds(name: str, kinds: str, result: DType | None = None) -> Callable[[list[DType]], DType]:
    def rule(dtypes: list[DType]) -> DType:
        if dtypes[0].kind not in kinds:
            raise TypeError(f"{name} of {dtypes[0]}: integers{' or booleans' if 'b' in kinds else ''} only")
        return result or dtypes[0]

    return rule


for _name, _function, _kinds, _operands in (
    ("bitwise_and", np.bitwise_and, "biu", 2),
    ("bitwise_or", np.bitwise_or, "biu", 2),
    ("bitwise_xor", np.bitwise_xor, "biu", 2),
    ("invert", np.invert, "biu", 1),
    ("left_shift", np.left_shift, "iu", 2),
    ("right_shift", np.right_shift, "iu", 2),
    ("gcd", np.gcd, "iu", 2),
    ("lcm", np.lcm, "iu", 2),
):
    elementwise(
        _name,
        _function,
        result=of_kinds(_name, _kinds),
        numpy=_function,
        domain=("int",) * _operands,
        cost=100 if _name in ("gcd", "lcm") else 1,
    )

bitwise_count = elementwise(
    "bitwise_count",  # of the magnitude's bits
    np.bitwise_count,
    result=of_kinds("bitwise_count", "iu", U8),
    numpy=np.bitwise_count,
    domain="int",
)
