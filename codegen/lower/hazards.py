"""Whether a buffer may be written to in the loop nest that reads it.

In: for one turn of a nest, the position that is written and those that are read, as scheduled values. Out: yes or
no. The nest runs its indices upwards and reads before it writes, so writing is safe unless a *later* turn reads
what an earlier one wrote. That cannot happen where

* each loop index runs one and the same axis of both positions, in the same way (`A[i, k+t] -= r * A[k, k+t]`:
  whatever `i` and `k` are, the turns that touch an element are the same turn), or
* along one axis the two positions can never meet: their difference is a constant other than 0, or of one sign.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.core import Const, Value
from .loops import affine, difference

__all__ = ["may_overwrite"]


def may_overwrite(write: Sequence[Value], loops: Sequence[Value], reads: Sequence[Sequence[Value]]) -> bool:
    """Whether writing at `write` in a nest over `loops` keeps every read of `reads` intact."""
    running = [index for index in loops if not isinstance(index, Const)]
    return all(same_turn(write, running, read) or apart(write, running, read) for read in reads)


def same_turn(write: Sequence[Value], loops: Sequence[Value], read: Sequence[Value]) -> bool:
    """Whether turns that touch one element are one turn."""
    together = [depends_on_one(w, loops) for w, r in zip(write, read) if equal(w, r)]
    return all(index in together for index in loops)


def equal(a: Value, b: Value) -> bool:
    return a == b or difference(a, b) == ({}, 0)


def depends_on_one(position: Value, loops: Sequence[Value]) -> Value | None:
    """The only loop index that a position runs with (one to one), if it is so."""
    terms, _ = affine(position)
    running = [v for v in terms if v in loops]
    if len(running) == 1 and not any(depends(v, loops) for v in terms if v not in loops):
        return running[0]
    if not running and position.op is not None and position.op.name in ("add", "sub", "mul"):
        return None
    return strided(position, loops)


def strided(position: Value, loops: Sequence[Value]) -> Value | None:
    """`start + index * step` with a step that is a value of the program: never 0 in a slice."""
    op = position.op
    if op is None or op.name != "add":
        return None
    for start, product in (op.operands, op.operands[::-1]):
        if not depends(start, loops) and product.op is not None and product.op.name == "mul":
            for index, step in (product.op.operands, product.op.operands[::-1]):
                if index in loops and not depends(step, loops):
                    return index
    return None


def depends(value: Value, loops: Sequence[Value]) -> bool:
    if value in loops:
        return True
    return value.op is not None and any(depends(x, loops) for x in value.op.operands)


def apart(write: Sequence[Value], loops: Sequence[Value], read: Sequence[Value]) -> bool:
    """Whether along some axis the position written and any position read differ, in all pairs of turns."""
    for w, r in zip(write, read):
        w_terms, w_constant = affine(w)
        r_terms, r_constant = affine(r)
        fixed: dict[Value, int] = {}
        spans: list[int] = []  # signs of the loop indices in w - r; indices of the two turns are independent
        for terms, sign in ((w_terms, 1), (r_terms, -1)):
            for value, coefficient in terms.items():
                if value in loops:
                    spans.append(sign * coefficient)
                else:
                    fixed[value] = fixed.get(value, 0) + sign * coefficient
        constant = w_constant - r_constant
        if any(fixed.values()) or any(depends(v, loops) for v in fixed):
            continue
        if not spans:
            if constant:
                return True
        elif constant > 0 and all(s > 0 for s in spans):
            return True
        elif constant < 0 and all(s < 0 for s in spans):
            return True
    return False
