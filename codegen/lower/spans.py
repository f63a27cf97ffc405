"""How small and how large an integer of a schedule can be.

In: an i64 value or an affine form. Out: bounds, infinite where nothing is known. Extents are at least 0; where a slice
begins is often the smaller of a constant and an extent:

    %n: i64 = buffer.dim %u {axis=0}        0 or more
    %k: i64 = minimum 1, %n                 0 to 1
    %m: i64 = sub %n, %k                    0 or more
"""

from __future__ import annotations

import math

from .accesses import Form
from .loops import affine, scaled, summed

__all__ = ["at_least", "at_most"]

DEPTH = 8
"""How many minima and maxima are looked through."""


def at_least(form: Form, depth: int = DEPTH) -> float:
    """A lower bound."""
    terms, constant = form
    for value, factor in terms.items():
        op = value.op
        if op is None or op.name not in ("minimum", "maximum") or depth == 0:
            continue
        rest = {v: c for v, c in terms.items() if v is not value}, constant
        found = [at_least(summed(rest, scaled(affine(x), factor)), depth - 1) for x in op.operands]
        # whichever operand it is, it is one of them; and it is at least as large (small) as each
        return max(found) if (op.name == "maximum") == (factor > 0) else min(found)
    if all(c > 0 and v.op is not None and v.op.name == "buffer.dim" for v, c in terms.items()):
        return constant
    return -math.inf


def at_most(form: Form) -> float:
    """An upper bound."""
    return -at_least(scaled(form, -1))
