"""Cotangents collected while walking a program backwards, with symbolic and structural zeros.

In: contributions from rules. Out: for each primal value its cotangent so far, or nothing (a symbolic zero, for
which no code exists). A cotangent may carry a *mask*: where it is False the cotangent is zero by structure (the
lane a `select` did not take, a branch not run), and multiplying it with a local derivative must give zero even
where that derivative is infinite or NaN. A zero that is merely a number has no mask: it multiplies as IEEE says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..core import Const, Value, builder
from ..types import BOOL

__all__ = ["Cotangent", "Cotangents", "add_values", "masked", "merge_masks"]

Zeros = Callable[[Value], Value]
Total = Callable[[Value], Value | None]


@dataclass(frozen=True)
class Cotangent:
    """A cotangent's value and, where part of it is zero by structure, the mask of the rest."""

    value: Value
    mask: Value | None = None


def is_zero(value: Value) -> bool:
    return isinstance(value, Const) and not value.value


def masked(cotangent: Cotangent, product: Value) -> Cotangent:
    """`product` (the cotangent times a local derivative) with structural zeros put back."""
    if cotangent.mask is None or product is cotangent.value:
        return Cotangent(product, cotangent.mask)
    zero = Const(0, product.dtype)
    return Cotangent(builder().emit1("select", [cotangent.mask, product, zero]), cotangent.mask)


def merge_masks(a: Value | None, b: Value | None) -> Value | None:
    """The mask of a sum: zero by structure only where both are."""
    if a is None or b is None:
        return None
    return a if a is b else a | b


def both_masks(a: Value | None, b: Value | None) -> Value | None:
    """The mask of something reached through two choices."""
    if a is None or b is None:
        return a or b
    return a & b


def add_values(a: Value | None, b: Value) -> Value:
    """a + b without adding known zeros."""
    if a is None or is_zero(a):
        return b
    return a if is_zero(b) else a + b


def reduce_to_scalar(cotangent: Cotangent, known: Total | None = None) -> Cotangent:
    """The cotangent of a scalar that every element of an array saw: the sum of the elements'."""
    axes = {"axes": tuple(range(cotangent.value.rank))}
    mask = cotangent.mask
    if mask is not None and mask.is_array:
        mask = builder().emit1("reduce_any", [mask], axes)
    total = known(cotangent.value) if known is not None else None
    return Cotangent(builder().emit1("reduce_sum", [cotangent.value], axes) if total is None else total, mask)


class Cotangents:
    """A scope of cotangents over an enclosing one, which it reads but does not change. `total`: the sum of an array,
    where it is known without going over the array."""

    def __init__(self, parent: Cotangents | None = None, total: Total | None = None) -> None:
        self.parent = parent
        self.total = total
        self.own: dict[Value, Cotangent] = {}

    def get(self, primal: Value) -> Cotangent | None:
        scope: Cotangents | None = self
        while scope is not None:
            if primal in scope.own:
                return scope.own[primal]
            scope = scope.parent
        return None

    def set(self, primal: Value, cotangent: Cotangent) -> None:
        self.own[primal] = cotangent

    def add(self, primal: Value, cotangent: Cotangent) -> None:
        """Add a contribution. A scalar that met arrays gets the sum over their elements."""
        if not primal.is_array and cotangent.value.is_array:
            cotangent = reduce_to_scalar(cotangent, self.total)
        before = self.get(primal)
        if before is None:
            self.set(primal, cotangent)
        elif not is_zero(cotangent.value):
            total = add_values(before.value, cotangent.value)
            if total.name is None and primal.name:
                total.name = f"{primal.name}_adj"
            self.set(primal, Cotangent(total, merge_masks(before.mask, cotangent.mask)))

    def changed(self) -> Iterator[Value]:
        """Primal values whose cotangent this scope set."""
        return iter(self.own)


TRUE, FALSE = Const(True, BOOL), Const(False, BOOL)
