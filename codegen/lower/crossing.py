"""Whether two accesses of a loop can be of one element, for turns that stand in a known order.

In: accesses of a loop over %j with a loop over %k inside, the turns of each access (`Point`), and linear forms that are
known not to be negative. Out: whether the elements differ for certain, and whether `form >= 0` follows.

    for %i in (0, %n) {
      for %j in reverse(0, %i) {
        for %k in (0, %j) { ... %d[%k, %j] ... }       in turn (%j, %k)
        ... %d[%i, %m] ...                             in a turn %m for which %k < %m <= %j
      }
    }

Here %k < %j < %i, so that the two are in different rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...ir.core import Op, Value
from ...ir.types import I64, Scalar
from .accesses import Access, Form, effects, form
from .loops import scaled, summed

__all__ = ["Nest", "Point", "apart", "at_least", "follows"]

DEPTH = 6
"""How many forms a proof adds up."""


@dataclass(frozen=True)
class Point:
    """Turns of the two loops, by the names that the indices have there; `k` None: outside of the inner loop."""

    j: Value
    k: Value | None = None


@dataclass
class Nest:
    """A loop over `j`, a loop over `k` inside of it, and the loops around, outermost first."""

    around: Sequence[Op]
    outer: Op
    inner: Op
    changing: frozenset[Value] = field(init=False)
    """What is computed in a turn: one name, another number in each."""

    def __post_init__(self) -> None:
        self.changing = frozenset(effects(self.outer).defines - {self.j, self.k})

    @property
    def j(self) -> Value:
        return self.outer.regions[0].args[0]

    @property
    def k(self) -> Value:
        return self.inner.regions[0].args[0]

    def names(self, at: Point) -> dict[Value, Value]:
        return {self.j: at.j} | ({self.k: at.k} if at.k is not None else {})

    def another(self, k: bool = False) -> Point:
        """Other turns than those the indices of the loops stand for."""
        index = Scalar(I64)
        return Point(Value(index, "j"), Value(index, "k") if k else None)

    def known(self, *points: Point) -> list[Form]:
        """What the ranges of the loops say."""
        found = [bound for loop in self.around for bound in within(loop, {})]
        for at in points:
            found += within(self.outer, self.names(at))
            if at.k is not None:
                found += within(self.inner, self.names(at))
        return found


def within(loop: Op, names: dict[Value, Value]) -> Iterator[Form]:
    index = form(loop.regions[0].args[0], names)
    yield summed(index, scaled(form(loop.operands[0], names), -1))
    yield at_least(form(loop.operands[1], names), index, 1)


def at_least(x: Form, y: Form, more: int = 0) -> Form:
    """Not negative exactly where `x >= y + more`."""
    terms, constant = summed(x, scaled(y, -1))
    return terms, constant - more


def apart(nest: Nest, x: Access, at_x: Point, y: Access, at_y: Point, known: Sequence[Form]) -> bool:
    """Whether an access in some turns is of another element than one in others."""
    if x.position is None or y.position is None or len(x.position) != len(y.position):
        return False
    for p, q in zip(x.position, y.position, strict=True):
        one, other = form(p, nest.names(at_x)), form(q, nest.names(at_y))
        if not nest.changing.isdisjoint((*one[0], *other[0])):
            continue
        if follows(at_least(one, other, 1), known) or follows(at_least(other, one, 1), known):
            return True
    return False


def follows(what: Form, known: Sequence[Form], depth: int = DEPTH) -> bool:
    """Whether a form is not negative, given forms that are not."""
    terms, constant = what
    if not terms:
        return constant >= 0
    if depth == 0:
        return False
    value, factor = next(iter(terms.items()))
    if factor > 0 and value.op is not None and value.op.name == "buffer.dim":
        rest = {v: c for v, c in terms.items() if v is not value}
        if follows((rest, constant), known, depth - 1):
            return True
    for other in known:
        by = other[0].get(value, 0)
        if by * factor > 0:  # what holds of a multiple less that much holds of the form
            rest_of = summed(scaled(what, abs(by)), scaled(other, -abs(factor)))
            if follows(rest_of, known, depth - 1):
                return True
    return False
