"""Operations whose results have as many elements as a condition is true for: counted first, then located.

In: the declaration helpers. Out: registry entries. An extent is a value, here too: how many elements of a mask are
true is an ordinary sum, and `nonzero` takes it as an operand. So two selections by one mask have one extent, and
nothing downstream has to know that the extent came from data:

    %c: i64[?] = cast %mask {dtype=i64}
    %n: i64 = reduce_sum %c {axes=(0,)}
    %p: i64[?] = nonzero %mask, %n                     where %mask is true, as positions in C order, increasing
    %y: f64[?] = gather %x, %p {axes=(0,)}             y = x[mask]

Positions do not move with floats, so there is no derivative; that of the selection is the gather's, a `scatter_add`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Region, Value
from ..types import BOOL, I64, Array, Type, make
from .declare import OpDef, declare
from .shape import dims_from

__all__ = ["nonzero"]


def infer_nonzero(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    mask, count = operands
    if not isinstance(mask.type, Array) or mask.dtype is not BOOL:
        raise TypeError(f"nonzero of {mask.type}: a mask is an array of booleans")
    return [make(I64, dims_from([count]))]


def true_positions(mask: Any, count: Any) -> Any:
    found = np.flatnonzero(mask)
    if found.size != int(count):
        raise ValueError(f"nonzero: {found.size} elements are true, not {int(count)}")
    return found


nonzero = declare(
    OpDef(
        "nonzero",
        infer_nonzero,
        evaluate=true_positions,
        extents=lambda op: [[op.operands[1]]],
        numpy=(np.flatnonzero,),
        cost=100,
    )
)
