"""Which elements a mask chooses: how many there are, and where.

In: masks as IR values. Out: their number and their positions, also as IR values. The number is counted first, so that
it is the extent of whatever is selected, like any other extent.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.core import Value
from ..ir.errors import BoundsError
from ..ir.types import I64
from . import integers, numeric, views
from .context import Tracer
from .values import Reference

__all__ = ["agree_with_mask", "coordinates", "linear", "located", "nonzero"]


def nonzero(t: Tracer, mask: Value) -> tuple[Value, Value]:
    """(positions in C order where an array of booleans is true, their number)."""
    ones = t.emit1("cast", [mask], {"dtype": I64})
    count = t.emit1("reduce_sum", [ones], {"axes": tuple(range(mask.rank))})
    t.nonnegative.add(count)
    return t.emit1("nonzero", [mask, count]), count


def coordinates(t: Tracer, flat: Value, shape: Sequence[Value]) -> list[Value]:
    """Positions in C order (an array of them, or one) as positions along each axis."""
    out: list[Value] = []
    for n in reversed(shape[1:]):
        rest = t.emit1("floordiv", [flat, n])
        out.insert(0, t.emit1("sub", [flat, t.emit1("mul", [rest, n])]))
        flat = rest
    return [flat, *out]


def linear(t: Tracer, positions: Sequence[Value], shape: Sequence[Value]) -> Value:
    """Positions along each axis (arrays of one shape) as positions in C order."""
    flat = positions[0]
    for position, n in zip(positions[1:], shape[1:], strict=True):
        flat = t.emit1("add", [t.emit1("mul", [flat, n]), position])
    return flat


def located(t: Tracer, mask: Reference) -> tuple[list[Value], Value]:
    """(positions along each axis of the mask where it is true, their number)."""
    flat, count = nonzero(t, views.read(t, mask))
    return coordinates(t, flat, views.extents(t, mask)), count


def agree_with_mask(t: Tracer, mask: Reference, shape: Sequence[Value]) -> None:
    """Refuse (at run time where that is not known) a mask that has another shape than what it is applied to."""
    for own, extent in zip(views.extents(t, mask), shape, strict=True):
        proven = t.equal.get(frozenset((own, extent)))
        if integers.same(own, extent) or (proven is not None and t.visible(proven)):
            continue
        if integers.known(own) is not None and integers.known(extent) is not None:
            t.fail(BoundsError, WRONG_MASK.format(integers.known(extent), integers.known(own)))
        fits = t.emit1("eq", [own, extent])
        t.emit("check", [fits, extent, own], {"error": "BoundsError", "message": WRONG_MASK})
        numeric.agree(t, own, extent, "a mask and its array differ in shape")


WRONG_MASK = "the boolean index does not match the array: size of axis is {0} but size of the boolean axis is {1}"
