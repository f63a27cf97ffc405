"""Calls of Python functions that cannot be traced.

In: a number that says which call it is in this process (`ir.callbacks`), the numbers and arrays that it is given, and
the extents of its results. Out: the results.

    %y: f64[?], %k: i64 = callback %site, %x, %a, %n {args=2, dtypes=(f64, i64), ranks=(1, 0), name="lookup"}
    ordered_callback %site, %x {args=1, dtypes=(), ranks=(), name="show"}

A `callback` is a function of its operands, and nothing else: it may be called once for several equal calls, or not at
all where nobody uses its results. An `ordered_callback` has effects: it is called exactly when and as often as the
program says, and takes its place among other such calls and checks. Neither is ever computed a second time for a
reverse sweep. They have no derivative of their own: `custom` gives them one (`tracer.callbacks`), else differentiating
through their results is refused, unless `zero` says that the derivative counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..callbacks import call
from ..core import Op, Region, Value, builder, walk
from ..errors import UnsupportedError
from ..types import I64, DType, Type, make
from .declare import REGISTRY, OpDef, declare, scalar_type
from .shape import dims_from

__all__ = ["CALLBACKS", "calls_with_effects", "refuse_effects"]

CALLBACKS = frozenset({"callback", "ordered_callback"})


def infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    scalar_type(operands[0], "callback", I64)
    rest = operands[1 + attrs["args"] :]
    if len(rest) != sum(attrs["ranks"]) or len(attrs["ranks"]) != len(attrs["dtypes"]):
        raise TypeError(f"callback: {len(rest)} extents for results of ranks {attrs['ranks']}")
    shapes = by_result(dims_from(rest), attrs["ranks"])
    return [make(dtype, tuple(dims)) for dtype, dims in zip(attrs["dtypes"], shapes)]


def by_result(extents: Sequence[Any], ranks: Sequence[int]) -> list[list[Any]]:
    """The extents of each result."""
    rest = iter(extents)
    return [[next(rest) for _ in range(rank)] for rank in ranks]


def evaluate(
    handle: Any, *rest: Any, args: int, dtypes: Sequence[DType], ranks: Sequence[int], name: str, zero: bool = False
) -> Any:
    if any(map(np.iscomplexobj, rest)):  # what the function makes of them is not the derivative
        raise UnsupportedError(f"the callback `{name}` does not continue to complex numbers")
    shapes = [tuple(int(n) for n in shape) for shape in by_result(rest[args:], ranks)]
    found = call(int(handle), rest[:args], shapes, [dtype.numpy for dtype in dtypes])
    found = [x.copy() if isinstance(x, np.ndarray) else x for x in found]  # the function may have kept its own
    return found[0] if len(found) == 1 else tuple(found)


def extents(op: Op) -> list[list[Value]]:
    return by_result(op.operands[1 + op.attrs["args"] :], op.attrs["ranks"])


def refuse(name: str) -> NoReturn:
    function, _, rule = name.rpartition(".")
    if rule in ("vjp", "jvp"):
        raise UnsupportedError(
            f"the derivative of the {rule} rule of the callback `{function}`, which Python computes, is not known",
            builder().span,
            help=f"give rules that can be traced (`def{rule}` without `callback=True`), or rules for both modes",
        )
    raise UnsupportedError(
        f"the derivative of the callback `{name}` is not known",
        builder().span,
        help=f'give it one (`@{name}.defvjp`, `@{name}.defjvp`), say `derivative="zero"` if it counts as zero, or use '
        "`stop_gradient`",
    )


def reverse(*operands: Value, dy: Any, name: str, zero: bool = False, **_: Any) -> list[Value | None]:
    if not zero:
        refuse(name)
    return [None] * len(operands)


def forward(
    *operands: Value, tangents: Sequence[Value | None], name: str, dtypes: Sequence[DType], zero: bool = False, **_: Any
) -> Sequence[Value | None]:
    if not zero:
        refuse(name)
    return [None] * len(dtypes)


def calls_with_effects(region: Region) -> bool:
    """Whether a region calls a Python function with effects, so that it cannot be run again."""
    return any(REGISTRY[op.name].effect == "call" for op in walk(region))


def refuse_effects(region: Region, what: str) -> None:
    """UnsupportedError where a program that is to run more than once, or not as Python would, calls a Python function
    with effects."""
    for op in walk(region):
        if REGISTRY[op.name].effect == "call":
            raise UnsupportedError(
                f"the callback `{op.attrs['name']}`, which has effects, inside of {what}: it would not be called as "
                "often as in Python",
                op.span,
                help="call it outside, or declare that it has no effects (`effects=False`)",
            )


for _name, _effect in (("callback", ""), ("ordered_callback", "call")):
    declare(
        OpDef(
            _name,
            infer,
            evaluate,
            effect=_effect,
            category="callback",
            vjp=reverse,
            jvp=forward,
            extents=extents,
            cost=10_000,
        )
    )
