"""Equations: extents and positions that checks have made equal go by one name.

In: a function that is ready to be scheduled. Out: the same, in which operations on arrays take, for an integer that
follows from others, what it follows from: a number, another integer, a multiple of one, plus a number. What follows is
solved from the `same_extent` that were passed, each a linear equation, and from which operand of a `minimum` or
`maximum` is then the smaller or larger one:

    %k: i64 = minimum %d, %m       where %d is 2 * %n          %k: i64 = minimum %d, %m
    %l: i64 = sub %k, %n                                       %l: i64 = sub %k, %n
    %e: i64 = same_extent %n, %l                         =>    %e: i64 = same_extent %n, %l
    %v: f64[?] = index %x, %k, %l, 1 {spec="s"}                %2: i64 = mul %n, 2
                                                               %v: f64[?] = index %x, %2, %n, 1 {spec="s"}

Two slices of one row are then seen to lie apart, and loops over them to have one range.

An equation holds from its check to the end of the region, and in later loops over the range of the loop that it was
found in, as far as it is about values from outside: where one of their turns is run, one of that loop's was run before.
So the reverse of a loop knows what the loop has tested, however deep: what an inner loop has found is found again in
loops over its range, inside of loops over that of the outer one. The loop that mirrors a `while` runs over the count of
its turns. An equation that is about the index of a `for` besides, or about a `minimum` or `maximum` of such forms,
holds for the index of the later loop, which takes the same numbers:

    for %i in (0, %n) {                                     for %i in (0, %n) {
      %k: i64 = minimum %i, %m                                %k: i64 = minimum %i, %m
      %e: i64 = same_extent %i, %k                            %e: i64 = same_extent %i, %k
    }                                                       }
    for %j in reverse(0, %n) {                              for %j in reverse(0, %n) {
      %l: i64 = minimum %j, %m                                %l: i64 = minimum %j, %m
      %v: f64[?] = index %x, 0, %l, 1 {spec="s"}     =>       %v: f64[?] = index %x, 0, %j, 1 {spec="s"}
    }                                                       }
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..affine import Facts
from ..core import Const, Function, Op, Value, walk
from ..linear import ZERO, Atom, Linear
from ..ops import REGISTRY
from ..rewrite import Rewriter, defined
from ..types import I64, Scalar

__all__ = ["counters", "run"]

INTEGER = Scalar(I64)
MOST = 64
"""The most equations that are kept at a time, and the most terms of one."""
LATEST = 16
"""How many of the values in equations are looked at."""
PASSES = 2
"""How often: what was found out about one may tell about another."""

Range = tuple[Linear, Linear]


def run(function: Function) -> Function:
    """`function` itself where nothing follows."""
    if not any(op.name == "same_extent" for op in walk(function.body)):
        return function
    return Solver(function).function(function)


def counters(loop: Op) -> Iterator[Value]:
    """The results of a `while` that are the number of its turns."""
    args = loop.regions[0].args
    for result, init, arg, new in zip(loop.results, loop.operands, args, loop.regions[1].terminator.operands):
        if result.type == INTEGER and isinstance(init, Const) and int(init.value) == 0 and new.op is not None:
            first, second = (*new.op.operands, None, None)[:2]
            if new.op.name == "add" and arg in (first, second):
                step = second if first is arg else first
                if isinstance(step, Const) and int(step.value) == 1:
                    yield result


@dataclass
class Found:
    """What a loop has found: equations (forms that are 0), and what loops inside have found, by their range.
    `turn`: what it has found about its index besides."""

    forms: list[Linear] = field(default_factory=list)
    inside: dict[Range, Found] = field(default_factory=dict)
    turn: Turn | None = None

    def __bool__(self) -> bool:
        return bool(self.forms or self.inside or self.turn)


@dataclass
class Turn:
    """Equations about the index of a loop, and about indices of loops around it for which `given` says what to put."""

    index: Value
    found: Found
    given: dict[Atom, Linear] = field(default_factory=dict)


class Solver(Rewriter):
    def __init__(self, function: Function) -> None:
        super().__init__()
        self.facts = Facts(function)
        self.solved: dict[Atom, Linear] = {}
        self.found: dict[Range, Found] = {}
        self.made: dict[Linear, Value] = {}
        self.settled = True
        self.visible: set[Value] = set(function.args)
        self.trail: list[Value] = []
        self.places: dict[Atom, int] = {}
        self.places.update(self.facts.order.items())
        for op in walk(function.body):
            if op.name == "dim":
                form = self.facts.linear(op.result)
                if form.const == 0 and list(form.terms.values()) == [1]:
                    self.places.setdefault(next(iter(form.terms)), self.facts.order[op.result])

    # equations

    def rank(self, atom: Atom) -> int:
        """Where an atom is defined; an extent, where it is first asked for, or else where its array is defined."""
        return self.places[atom] if atom in self.places or not isinstance(atom, tuple) else self.places[atom[1]]

    def reduced(self, form: Linear) -> Linear:
        form = self.facts.resolve(form)
        for atom in list(form.terms):
            if atom in self.solved and atom in form.terms:
                form = form.replace(atom, self.solved[atom])
        return form

    def learn(self, form: Linear) -> None:
        """A form is 0: solve for the last of its atoms."""
        form = self.reduced(form)
        if len(self.solved) >= MOST or len(form.terms) > MOST:
            return
        for atom in sorted(form.terms, key=self.rank, reverse=True):
            factor = form.terms[atom]
            if abs(factor) == 1:
                rest = Linear(form.const, {a: c for a, c in form.terms.items() if a != atom}).times(-factor)
                self.solved = {a: f.replace(atom, rest) if atom in f.terms else f for a, f in self.solved.items()}
                self.solved[atom] = rest
                self.facts.assume_equal(Linear(0, {atom: 1}), rest)
                self.settled = False
                return

    def settle(self) -> None:
        """Find out which operand of a `minimum` or `maximum` in the equations is the smaller or larger one."""
        for _ in range(PASSES):
            if self.settled:
                break
            self.settled = True
            atoms = dict.fromkeys((*self.solved, *(a for form in self.solved.values() for a in form.terms)))
            for atom in [a for a in atoms if isinstance(a, Value) and a.op is not None][-LATEST:]:
                chosen = self.chosen(atom)
                if chosen is not None and self.reduced(Linear(0, {atom: 1}) - chosen) != ZERO:
                    self.learn(Linear(0, {atom: 1}) - chosen)

    def chosen(self, atom: Atom) -> Linear | None:
        """The operand that a `minimum` or `maximum` is."""
        op = atom.op if isinstance(atom, Value) else None
        if op is None or op.name not in ("minimum", "maximum") or op.result.type != INTEGER:
            return None
        a, b = map(self.facts.linear, op.operands)
        more = self.facts.nonneg(a - b)
        if not more and not self.facts.nonneg(b - a):
            return None
        return a if more == (op.name == "maximum") else b

    def ranges(self, loop: Op) -> list[Range]:
        """Ranges that are empty where no turn of a loop is run."""
        if loop.name == "for":
            lo, hi = map(self.facts.linear, loop.operands[:2])
            return [(lo, hi)]
        return [(Linear(), self.facts.linear(result)) for result in counters(loop)]

    # the walk

    def visit(self, op: Op) -> None:
        if op.regions:
            self.control(op)
            return
        self.define(op.results)
        if op.name == "dim":
            self.copy(op)
            self.made.setdefault(self.facts.linear(op.result), self.get(op.result))
            return
        if op.name == "same_extent":
            self.copy(op)
            a, b = map(self.facts.linear, op.operands)
            self.learn(a - b)
            return
        if self.solved and REGISTRY[op.name].effect != "check" and on_arrays(op):
            self.settle()
            self.copy(op, [self.simplest(v) for v in op.operands])
            return
        self.copy(op)

    def simplest(self, value: Value) -> Value:
        """What stands for an operand."""
        if type(value) is Const or value.type != INTEGER:
            return self.get(value)
        own = self.facts.linear(value)
        form = self.reduced(own)
        if form == own or len(form.terms) > 1 or not all(self.usable(atom) for atom in form.terms):
            return self.get(value)
        if not form.terms:
            self.changed = True
            return Const(form.const, I64)
        self.changed = True
        return self.make(form)

    def usable(self, atom: Atom) -> bool:
        return (atom[1] if isinstance(atom, tuple) else atom) in self.visible

    def make(self, form: Linear) -> Value:
        """The value of a form of one term."""
        if form not in self.made:
            ((atom, factor),) = form.terms.items()
            if form.const:
                value = self.emit("add", [self.make(Linear(0, form.terms)), Const(form.const, I64)])
            elif factor != 1:
                value = self.emit("mul", [self.make(Linear(0, {atom: 1})), Const(factor, I64)])
            elif isinstance(atom, tuple):
                value = self.emit("dim", [self.get(atom[1])], {"axis": atom[2]})
            else:
                assert isinstance(atom, Value)
                value = self.get(atom)
            self.made[form] = value
        return self.made[form]

    def control(self, op: Op) -> None:
        new = Op(op.name, self.operands(op), [r.type for r in op.results], dict(op.attrs), (), op.span)
        solved, found, made, seen = self.solved, self.found, self.made, len(self.trail)
        known = [self.found[key] for key in self.ranges(op) if key in self.found] if op.name == "for" else []
        for k, region in enumerate(op.regions):
            if k == 0 or op.name == "if":  # what the test of a `while` has found is known to its body
                self.solved, self.found, self.made = solved, dict(found), dict(made)
                self.forget(seen)
                self.facts.push()
                if op.name == "for":
                    self.facts.enter_loop(op)
                for one in known:
                    self.recall(one)
                    if one.turn is not None:
                        self.recall(self.mirrored(one.turn, op))
            self.define(region.args)
            new.regions.append(self.region(region))
            self.settle()
            if k == len(op.regions) - 1 or op.name == "if":
                self.facts.pop()
        own = self.learned(op, solved, found) if op.name != "if" else Found()
        self.solved, self.found, self.made = solved, found, made
        self.forget(seen)
        for old, result in zip(op.results, new.results):
            result.name = old.name
            self.env[old] = result
        self.define(op.results)
        self.out.append(new)
        if own:
            self.found = {**self.found, **dict.fromkeys(self.ranges(op), own)}

    # what one loop has found, in others

    def learned(self, op: Op, solved: dict[Atom, Linear], found: dict[Range, Found]) -> Found:
        """What was found in a loop about values from outside of it, and about its index, and was not known before."""
        forms = [Linear(0, {atom: 1}) - form for atom, form in self.solved.items() if solved.get(atom) != form]
        inside = {key: f for key, f in self.found.items() if found.get(key) is not f}
        if not forms and not inside:
            return Found()
        first = min((self.places[v] for v in defined(*op.regions)), default=len(self.places))
        out = self.about(Found(forms, inside), first, frozenset())
        if op.name == "for":
            index = op.regions[0].args[0]
            turn = self.about(Found(forms, inside), first, frozenset([index]), besides=True)
            out.turn = Turn(index, turn) if turn else None
        return out

    def about(self, one: Found, first: int, indices: frozenset[Atom], besides: bool = False) -> Found:
        """The part about what is defined before `first`, and `indices`; with `besides`, what is about an index."""

        def follows(form: Linear) -> bool:
            return all(self.follows(atom, first, indices) for atom in form.terms)

        def known(form: Linear) -> bool:
            return all(self.rank(atom) < first for atom in form.terms)

        out = Found([f for f in one.forms if follows(f) and not (besides and known(f))])
        for key, found in one.inside.items():
            if all(map(follows, key)):
                inner = self.about(found, first, indices, besides and all(map(known, key)))
                if inner:
                    out.inside[key] = inner
        if one.turn is not None and not one.turn.given:
            inner = self.about(one.turn.found, first, indices | {one.turn.index}, besides)
            out.turn = Turn(one.turn.index, inner) if inner else None
        return out

    def follows(self, atom: Atom, first: int, indices: frozenset[Atom]) -> bool:
        """Whether an atom is defined before `first`, or is made of such and of indices in a way that is found again."""
        if self.rank(atom) < first or atom in indices:
            return True
        return any(form.terms for form in self.parts(atom)) and all(
            self.follows(part, first, indices) for form in self.parts(atom) for part in form.terms
        )

    def parts(self, atom: Atom) -> list[Linear]:
        """The operands of a `minimum` or `maximum`."""
        op = atom.op if isinstance(atom, Value) else None
        if op is None or op.name not in ("minimum", "maximum") or op.result.type != INTEGER:
            return []
        return [self.facts.linear(v) for v in op.operands]

    def recall(self, one: Found) -> None:
        """What is known in a loop from one before."""
        self.found.update(one.inside)
        for form in one.forms:
            self.learn(form)

    def mirrored(self, turn: Turn, loop: Op) -> Found:
        """What one turn has found, for the turns of another loop over the same range."""
        for op in walk(loop.regions[0]):
            if op.name in ("minimum", "maximum") and op.result.type == INTEGER:
                self.facts.linear(op.result)  # by which it is known as an atom
        return self.put(turn.found, {**turn.given, turn.index: Linear(0, {loop.regions[0].args[0]: 1})})

    def put(self, one: Found, given: dict[Atom, Linear]) -> Found:
        """With other indices."""
        out = Found([form for form in (self.form_with(f, given) for f in one.forms) if form is not None])
        for (lo, hi), found in one.inside.items():
            start, stop = self.form_with(lo, given), self.form_with(hi, given)
            if start is not None and stop is not None:
                out.inside[start, stop] = self.put(found, given)
        if one.turn is not None:
            out.turn = Turn(one.turn.index, one.turn.found, {**one.turn.given, **given})
        return out

    def form_with(self, form: Linear, given: dict[Atom, Linear]) -> Linear | None:
        """A form with other indices; None where nothing in the loop is known to be that."""
        out = Linear(form.const)
        for atom, factor in form.terms.items():
            new = self.atom_with(atom, given)
            if new is None:
                return None
            out = out.plus(new, factor)
        return out

    def atom_with(self, atom: Atom, given: dict[Atom, Linear]) -> Linear | None:
        if atom in given:
            return given[atom]
        parts = self.parts(atom)
        new = [self.form_with(part, given) for part in parts]
        if new == parts:
            return Linear(0, {atom: 1})
        assert isinstance(atom, Value) and atom.op is not None
        same = self.facts.like(atom.op, new)
        return None if same is None else Linear(0, {same: 1})

    # what may be used here

    def define(self, values: Sequence[Value]) -> None:
        self.visible.update(values)
        self.trail += values

    def forget(self, seen: int) -> None:
        """Leave the regions entered since."""
        self.visible.difference_update(self.trail[seen:])
        del self.trail[seen:]


def on_arrays(op: Op) -> bool:
    return any(not isinstance(v.type, Scalar) for v in (*op.operands, *op.results))
