"""Countermodels: integers for which everything known is true, so that what is false for them cannot be proven.

In: the `Facts` of a function, and what is assumed as a walk goes on. Out: `refutes(form)`: whether there is a model in
which a form is negative; a search for a proof that it never is would then be in vain. Most questions that the passes
ask have no proof, and finding none is what takes a search its longest; a model answers in a few additions.

A model gives a number to every *free* atom (arguments, extents of arrays, numbers read from memory) the first time it
is asked for; other atoms follow by what their operations compute, induction variables and carried values by a turn of
their loop. It has to satisfy what a proof may use, and no more: that a carried value is its initial one is possible as
far as any proof can see. Where a new fact is false in a model, the model is changed in one free atom; if that does not
mend it, it is not used until the region ends in which the fact holds.

Nothing depends on models but time: whatever can be proven is true in each of them.

>>> from adjit.ir.text import parse
>>> from adjit.ir.affine import Facts
>>> f = parse('''func @f(%x: f64[?], %y: f64[?]) -> i64 {
...   %n: i64 = dim %x {axis=0}
...   %m: i64 = dim %y {axis=0}
...   return %n
... }''')
>>> facts = Facts(f)
>>> n, m = (facts.linear(op.result) for op in f.body.ops[:2])
>>> facts.models.refutes(n), facts.models.refutes(n - m), facts.models.refutes(n - 2)
(False, True, True)
>>> facts.assume_equal(n, m)
>>> facts.models.refutes(n - m)
False
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .core import Op, Value
from .linear import Assumed, Atom, Linear
from .types import I64, Scalar

if TYPE_CHECKING:
    from .affine import Facts

__all__ = ["Models"]

DEEPEST = 60  # atoms computed from atoms; beyond that, a model does not say
MOST_CHANGES = 6  # free atoms in which a model is changed, one at a time, to make a new fact true


class Undefined(Exception):
    """A model does not say what a form is: a position outside of an array, the index of a loop that does not run."""


class Model:
    """Numbers for free atoms: the first one asked for gets the first of `Choices`, and so on."""

    def __init__(self, facts: Facts, extent: Callable[[int], int], number: Callable[[int], int], turn: int) -> None:
        self.facts = facts
        self.choose = (number, extent)
        self.turn = turn  # of every loop: 0 the first one, 1 the last one, 2 one in the middle
        self.free: dict[Atom, int] = {}
        self.computed: dict[Atom, int] = {}
        self.pending = 0
        self.broken: int | None = None
        """The scope whose facts the model does not satisfy, while there is one."""

    def value(self, form: Linear) -> int:
        """What a form is; raises `Undefined`."""
        total = form.const
        free, computed = self.free, self.computed
        for atom, k in form.terms.items():
            x = free.get(atom)
            if x is None:
                x = computed.get(atom)
                if x is None:
                    x = self.atom(atom)
            total += k * x
        return total

    def atom(self, atom: Any) -> int:
        if self.pending > DEEPEST:
            raise Undefined
        self.pending += 1
        try:
            x = self.extent(atom) if isinstance(atom, tuple) else self.compute(atom)
        finally:
            self.pending -= 1
        if x is None:
            x = self.free[atom] = self.choose[isinstance(atom, tuple)](len(self.free))
        else:
            self.computed[atom] = x
        return x

    def extent(self, atom: Any) -> int | None:
        traced = self.facts.traced(atom)
        return None if traced is None else self.value(self.facts.resolve(traced))

    def operand(self, value: Value) -> int:
        return self.value(self.facts.resolve(self.facts.linear(value)))

    def compute(self, value: Value) -> int | None:
        """What an atom is by its definition; None where it is free."""
        if value in self.facts.owner:
            return self.argument(value, *self.facts.owner[value])
        op = value.op
        if op is None or value.type != Scalar(I64):
            return None
        if op.name in ("for", "while"):
            first, skip = (2, 1) if op.name == "for" else (0, 0)
            k = op.results.index(value)
            return self.operand(op.operands[first + k]) if op.regions[0].args[skip + k].type == Scalar(I64) else None
        if op.name == "if":
            return self.operand(op.regions[self.turn % 2].terminator.operands[op.results.index(value)])
        rule = MEANING.get(op.name)
        return None if rule is None else rule(self, op)

    def argument(self, value: Value, op: Op, k: int) -> int | None:
        """An argument of a loop's body: in some turn, with what is carried as it was at first or counted on."""
        if value.type != Scalar(I64):
            return None
        if op.name != "for":
            return self.operand(op.operands[k]) if op.name == "while" else None
        lo, hi = self.operand(op.operands[0]), self.operand(op.operands[1])
        if k == 0:
            if hi <= lo:
                raise Undefined
            return (lo, hi - 1, (lo + hi) // 2)[self.turn]
        step = self.facts.step(op, value, k - 1)
        start = self.operand(op.operands[1 + k])
        if step is None or step.terms:
            return start
        index = self.value(Linear(0, {op.regions[0].args[0]: 1}))
        return start + step.const * (hi - 1 - index if op.attrs.get("reverse") else index - lo)


def bound(model: Model, op: Op) -> int:
    i, n = map(model.operand, op.operands)
    if not -n <= i < n:
        raise Undefined
    return i if i >= 0 else i + n


def floordiv(model: Model, op: Op) -> int:
    return divided(model, op)[0]


def mod(model: Model, op: Op) -> int:
    return divided(model, op)[1]


def divided(model: Model, op: Op) -> tuple[int, int]:
    a, n = map(model.operand, op.operands)
    if n <= 0:
        raise Undefined
    return divmod(a, n)


def cast(model: Model, op: Op) -> int | None:
    return model.turn % 2 if op.operands[0].dtype.kind == "b" else None


def place(model: Model, op: Op) -> int | None:
    """Of an extreme: first or last."""
    if op.result.type != Scalar(I64):
        return None
    extent = model.value(model.facts.resolve(model.facts.extent(op.operands[0], op.attrs["axis"])))
    return (0, max(extent - 1, 0), max(extent - 1, 0) // 2)[model.turn]


MEANING: dict[str, Callable[[Model, Op], int | None]] = {
    "bound": bound,
    "maximum": lambda model, op: max(map(model.operand, op.operands)),
    "minimum": lambda model, op: min(map(model.operand, op.operands)),
    "select": lambda model, op: model.operand(op.operands[1 + model.turn % 2]),
    "abs": lambda model, op: abs(model.operand(op.operands[0])),
    "absolute": lambda model, op: abs(model.operand(op.operands[0])),
    "floordiv": floordiv,
    "mod": mod,
    "cast": cast,
    "argmax": place,
    "argmin": place,
}


class _Recorder(dict[Atom, int]):
    """Remembers what was asked for."""

    def __init__(self, numbers: dict[Atom, int]) -> None:
        super().__init__(numbers)
        self.asked: dict[Atom, None] = {}

    def get(self, atom: Atom, default: Any = None) -> Any:
        if atom in self:
            self.asked[atom] = None
        return super().get(atom, default)


class Models:
    """A few models that differ as much as they may: one of small numbers, one of large ones, one in between."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.scopes = facts.scopes
        self.all = [
            Model(facts, lambda k: 0, lambda k: -1 - k, 0),
            Model(facts, lambda k: 40 + 17 * k, lambda k: 1000 + 13 * k, 1),
            Model(facts, lambda k: 9 + 5 * (-k % 23), lambda k: 7 * (-k % 11), 2),
        ]

    def refutes(self, form: Linear) -> bool:
        """Whether a (resolved) form is negative in some model of what is known."""
        for model in self.all:
            if model.broken is None:
                try:
                    if model.value(form) < 0:
                        return True
                except Undefined:
                    pass
        return False

    def learn(self, fact: Linear, scope: Assumed) -> None:
        """A (resolved) form is known to be >= 0, and has been added to `scope`."""
        depth = next(k for k, known in enumerate(self.scopes) if known is scope)
        for model in self.all:
            if model.broken is None:
                if not self.satisfies(model, fact) and not self.mend(model, fact):
                    model.broken = depth
            else:
                model.broken = min(model.broken, depth) if not self.satisfies(model, fact) else model.broken

    def forget(self) -> None:
        """A scope has ended."""
        for model in self.all:
            if model.broken is not None and model.broken >= len(self.scopes):
                model.broken = None

    def satisfies(self, model: Model, fact: Linear) -> bool:
        try:
            return model.value(fact) >= 0
        except Undefined:
            return False

    def mend(self, model: Model, fact: Linear) -> bool:
        """Change one free atom so that the fact is true, and everything else that is known stays so."""
        try:
            by = max(-model.value(fact), 1)
            support = self.support(model, fact)
        except Undefined:
            return False
        for atom in support:
            k, now = fact.terms.get(atom, 0), model.free[atom]
            exactly = [now + (by // k if k < 0 else -(-by // k))] if k else [now + by, now - by]
            if any(self.change(model, atom, number, fact) for number in (*exactly, 3 * now + 10, now // 3)):
                return True
        return False

    def support(self, model: Model, fact: Linear) -> list[Atom]:
        """The free atoms on which a form depends: its own first, the latest first."""
        own = [a for a in reversed(fact.terms) if a in model.free]
        saved, recorder = model.computed, _Recorder(model.free)
        model.free, model.computed = recorder, {}
        model.value(fact)
        model.free, model.computed = dict(recorder), saved
        return list(dict.fromkeys([*own, *reversed(recorder.asked)]))[:MOST_CHANGES]

    def change(self, model: Model, atom: Atom, number: int, fact: Linear) -> bool:
        """Give a free atom another number, if all that is known stays true."""
        if number < 0 and isinstance(atom, tuple):
            return False
        before, saved = model.free[atom], model.computed
        model.free[atom], model.computed = number, {}
        if self.satisfies(model, fact) and all(self.satisfies(model, known) for known in self.touched(atom)):
            return True
        model.free[atom], model.computed = before, saved
        return False

    def touched(self, atom: Atom) -> Iterator[Linear]:
        """What is known about an atom, or about others that may be computed from it."""
        for scope in self.scopes:
            for fact in scope.facts.values():
                if atom in fact.terms or any(map(self.is_computed, fact.terms)):
                    yield fact

    def is_computed(self, atom: Any) -> bool:
        if isinstance(atom, tuple):
            return False
        op = atom.op
        return atom in self.facts.owner or (op is not None and (bool(op.regions) or op.name in MEANING))
