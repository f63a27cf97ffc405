"""Masks of cotangents that go through a tape: they are kept on a tape of their own, next to that of the cotangents.

In: a program with tapes (an adjoint, to be differentiated once more) in which something is chosen, so that cotangents
have masks (see `cotangents`). Out: for each tape of floats two: of cotangents and of their masks, pushed where the
primal pops, popped where it pushes. Without it, what is zero by structure in the reverse sweep of the inner derivative
would come to the forward sweep as a number, and meet there an infinite slope. Both, mirrored:

    %t, %r = tape.pop %t_1                      %t_adj_1 = tape.push %t_adj, %r_adj
                                                %t_mask_1 = tape.push %t_mask, %r_mask
    %t_1 = tape.push %t, %r              =>     %t_adj, %r_adj = tape.pop %t_adj_1
    %r = sqrt %s                                %t_mask, %r_mask = tape.pop %t_mask_1
                                                %s_adj = select %r_mask, %r_adj * (0.5 / %r), 0
"""

from __future__ import annotations

from ..core import Value, builder, walk
from ..ops import lookup
from ..types import Tape
from .cotangents import FALSE, TRUE, Cotangent
from .prepare import Prepared
from .tangent_masks import element_mask

__all__ = ["has_masks", "mask_tape", "no_masks", "spread"]


def has_masks(prepared: Prepared) -> bool:
    """Whether anything in a program gives cotangents masks."""
    return any(lookup(op.name).masks is not None for op in walk(prepared.function.body))


def no_masks(primal: Value) -> Value:
    """An empty tape of masks."""
    assert isinstance(primal.type, Tape)
    return builder().emit1("tape.new", [], {"element": element_mask(primal.type.element)})


def mask_tape(cotangent: Cotangent | None) -> Value | None:
    """The tape of masks that goes with a tape of cotangents, if it has one."""
    if cotangent is None or cotangent.mask is None or not isinstance(cotangent.mask.type, Tape):
        return None
    return cotangent.mask


def spread(cotangent: Cotangent | None, extents: list[Value]) -> Value:
    """The mask of one entry, in the entry's shape."""
    mask = FALSE if cotangent is None else TRUE if cotangent.mask is None else cotangent.mask
    if mask.is_array or not extents:
        return mask
    return builder().emit1("fill", [mask, *extents])
