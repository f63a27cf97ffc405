"""Order: which element comes first, and where a number belongs among ordered ones.

In: the declaration helpers. Out: registry entries, of results that are positions: they do not move with floats, so
neither has a derivative. Sorted values, medians and quantiles are gathers at these positions, and the gather has the
derivative: each result moves with the element that stands there.

    %o: i64[?] = argsort %x                            x[o[0]] <= x[o[1]] <= …, equal ones in their old order
    %p: i64[?] = searchsorted %a, %v {side="left"}     a[p-1] < v <= a[p]; "right": a[p-1] <= v < a[p]

NaN comes after every number, as in NumPy. `argsort` orders along the last axis.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import Op, Region, Value
from ..types import I64, Array, Type, with_dtype
from .declare import OpDef, declare, extents_of, same_extents

__all__ = ["argsort", "searchsorted"]


def infer_argsort(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    (x,) = operands
    if not isinstance(x.type, Array):
        raise TypeError(f"argsort of {x.type}: an array is needed")
    return [with_dtype(x.type, I64)]


argsort = declare(
    OpDef(
        "argsort",
        infer_argsort,
        evaluate=lambda x: np.argsort(np.real(x), axis=-1, kind="stable"),
        extents=same_extents,
        numpy=(np.argsort,),
        cost=100,
    )
)


def infer_searchsorted(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    a, v = operands
    if a.rank != 1 or a.dtype is not v.dtype or attrs["side"] not in ("left", "right"):
        raise TypeError(f"searchsorted of {a.type} and {v.type}, {attrs}")
    return [with_dtype(v.type, I64)]


def searchsorted_extents(op: Op) -> list[list[Value]]:
    return [extents_of(op.operands[1])]


searchsorted = declare(
    OpDef(
        "searchsorted",
        infer_searchsorted,
        evaluate=lambda a, v, *, side: np.searchsorted(np.real(a), np.real(v), side),
        extents=searchsorted_extents,
        numpy=(np.searchsorted,),
        cost=100,
    )
)
