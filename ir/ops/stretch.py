"""Repetition that is decided at run time: an axis whose extent turns out to be 1 stands for every position.

In: the declaration helpers. Out: `stretch`, for what `broadcast` leaves out: that repeats extents of 1 which the types
show. `stretch(x, *extents, *steps)` has x's rank; element `i` of an axis is x's element `i * step`, and the step is 0
where x has extent 1, else 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core import Const, Region, Value, builder
from ..types import I64, Type, make
from .declare import Into, OpDef, declare, scalar_type
from .shape import Get, dims_from, integers

__all__ = ["stretch"]


def halves(values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """The extents and the steps."""
    return values[: len(values) // 2], values[len(values) // 2 :]


def infer_stretch(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    x, *rest = operands
    extents, steps = halves(rest)
    if len(rest) != 2 * x.rank:
        raise TypeError(f"stretch of {x.type} to {len(extents)} extents")
    for s in steps:
        scalar_type(s, "a step", I64)
    return [make(x.dtype, dims_from(extents))]


def evaluate_stretch(x: Any, *rest: Any) -> Any:
    extents, steps = (integers(part) for part in halves(rest))
    for have, wanted, step in zip(np.shape(x), extents, steps, strict=True):
        if step not in (0, 1) or (have != wanted and (have != 1 or step)):
            raise ValueError(f"stretch: extent {have} to {wanted} with step {step}")
    return np.broadcast_to(x, extents)


def stretch_element(get: Get, index: list[Value], *, positions: list[Value], **_: Any) -> Value:
    steps = halves(positions)[1]
    return get(0, [i if is_one(s) else i * s for i, s in zip(index, steps, strict=True)])


def is_one(step: Value) -> bool:
    return isinstance(step, Const) and int(step.value) == 1


def stretch_transpose(x: Value, *rest: Value, dy: Value) -> tuple[Into]:
    """Every element is added where it came from: by a step of 0, all of an axis to its one element."""
    positions: list[Value] = []
    for extent, step in zip(*halves(rest), strict=True):
        positions += [] if is_one(step) else [Const(0, I64), extent, step]
    spec = "".join(":" if is_one(step) else "s" for step in halves(rest)[1])
    return (Into(lambda acc: builder().emit1("accumulate", [acc, dy, *positions], {"spec": spec})),)


stretch = declare(
    OpDef(
        "stretch",
        infer_stretch,
        evaluate=evaluate_stretch,
        category="shape",
        linear=(0,),
        transpose=stretch_transpose,
        extents=lambda op: [list(halves(op.operands[1:])[0])],
        element=stretch_element,
    )
)
