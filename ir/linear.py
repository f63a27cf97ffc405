"""Linear forms over values, and sets of forms known to be nonnegative.

In: atoms (values, extents) and integers. Out: `Linear`, the language in which `ir.affine` reasons, and `Assumed`.

>>> form = Linear(3, {"i": 2}) - Linear(1, {"n": 1})
>>> form.replace("i", Linear(0, {"n": 1})) == Linear(2, {"n": 1})
True
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterator

__all__ = ["ZERO", "Assumed", "Atom", "Linear"]

Atom = Hashable  # a Value, or ("dim", Value, axis) for an extent
LATEST = 16  # how many facts about one atom a proof looks at, per scope


class Linear:
    """``const + sum of coefficient * atom``; never changed once made."""

    __slots__ = ("const", "hashed", "terms")

    def __init__(self, const: int = 0, terms: dict[Atom, int] | None = None) -> None:
        self.const = const
        self.terms = terms or {}
        self.hashed: int | None = None

    def plus(self, other: Linear, factor: int) -> Linear:
        if not factor:
            return self
        terms = dict(self.terms)
        for atom, k in other.terms.items():
            total = terms.get(atom, 0) + factor * k
            if total:
                terms[atom] = total
            else:
                terms.pop(atom, None)
        return Linear(self.const + factor * other.const, terms)

    def __add__(self, other: Linear | int) -> Linear:
        return Linear(self.const + other, self.terms) if isinstance(other, int) else self.plus(other, 1)

    def __sub__(self, other: Linear | int) -> Linear:
        return Linear(self.const - other, self.terms) if isinstance(other, int) else self.plus(other, -1)

    def times(self, k: int) -> Linear:
        return Linear(self.const * k, {a: c * k for a, c in self.terms.items()}) if k else Linear()

    def replace(self, atom: Atom, form: Linear) -> Linear:
        """With `form` in place of an atom."""
        k = self.terms[atom]
        terms = dict(self.terms)
        del terms[atom]
        return Linear(self.const, terms).plus(form, k)

    def shrinks(self, other: Linear) -> bool:
        """Whether the difference has fewer terms."""
        terms = self.terms
        change = 0
        for atom, k in other.terms.items():
            own = terms.get(atom)
            change += 1 if own is None else -(own == k)
        return change < 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Linear) and self.const == other.const and self.terms == other.terms

    def __hash__(self) -> int:
        if self.hashed is None:
            self.hashed = hash((self.const, frozenset(self.terms.items())))
        return self.hashed

    def __repr__(self) -> str:
        return " + ".join([f"{c}*{a!r}" for a, c in self.terms.items()] + [str(self.const)])


ZERO = Linear()
_STATES = itertools.count()


class Assumed:
    """Forms known to be >= 0 from one point on. Of those that differ in the constant, the strongest is kept.

    `state` is another number whenever something else is known.
    """

    def __init__(self) -> None:
        self.state = next(_STATES)
        self.facts: dict[frozenset[tuple[Atom, int]], Linear] = {}
        self.about: dict[Atom, list[frozenset[tuple[Atom, int]]]] = {}

    def add(self, form: Linear) -> bool:
        """Whether that was not known yet."""
        key = frozenset(form.terms.items())
        known = self.facts.get(key)
        if known is None:
            for atom in form.terms:
                self.about.setdefault(atom, []).append(key)
        if known is not None and known.const <= form.const:
            return False
        self.facts[key] = form
        self.state = next(_STATES)
        return True

    def of(self, atom: Atom) -> Iterator[Linear]:
        """The latest facts in which an atom occurs."""
        for key in self.about.get(atom, ())[-LATEST:]:
            yield self.facts[key]
