"""Extents: which array has which, and which are provably equal.

In: operations of the array IR, one after the other in program order. Out: for every array value its extents as
*terms* (an int, an i64 value of the program, or `Dim`: what can only be read off the memory), and which terms are
equal. Equality is a union-find whose facts hold where they were learned: leaving a region forgets what was
learned inside it.

Facts: elementwise operands have one shape; a `same_extent` that was passed; a loop that gives back the shape it
was given; what a loop learned about values from outside, in later loops over the same range (of which one turn
means one turn of both), and so for loops inside of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...ir.core import Builder, Const, Op, Region, Value
from ...ir.ops.declare import lookup
from ...ir.passes.equations import counters
from ...ir.types import I64, Array
from .profiles import Profile, combine, constant, identity

__all__ = ["Dim", "Extents", "Term"]


@dataclass(frozen=True)
class Dim:
    """The extent of an array value along an axis."""

    value: Value
    axis: int


Term = int | Value | Dim
Affine = tuple[frozenset[tuple[Term, int]], int]
Range = tuple[Term, Term]


@dataclass(frozen=True)
class Learned:
    """What a loop has learned about values from outside: pairs of equal terms, and what loops inside have learned."""

    pairs: tuple[tuple[Term, Term], ...] = ()
    inside: tuple[tuple[Range, Learned], ...] = ()

    def merged(self, other: Learned) -> Learned:
        """Both; this very object where nothing is new."""
        inside = dict(self.inside)
        for key, one in other.inside:
            inside[key] = inside[key].merged(one) if key in inside else one
        out = Learned(tuple(dict.fromkeys((*self.pairs, *other.pairs))), tuple(inside.items()))
        return self if out == self else out


Mark = tuple[dict[Term, Term], dict[Term, tuple[Term, ...]], int, dict[Range, Learned], dict[Any, Term]]


def term(value: Value) -> Term:
    return int(value.value) if isinstance(value, Const) else value


class Extents:
    """The shapes of the values met so far."""

    def __init__(self) -> None:
        self.of: dict[Value, list[Term]] = {}
        self.parent: dict[Term, Term] = {}
        self.members: dict[Term, tuple[Term, ...]] = {}
        self.invariant: dict[Op, list[bool]] = {}
        self.met: dict[Term, int] = {}
        self.guarded: dict[Range, Learned] = {}
        self.functions: dict[Any, Term] = {}
        self.profiles: dict[Term, Profile | None] = {}

    # equality

    def find(self, a: Term) -> Term:
        while a in self.parent:
            a = self.parent[a]
        return a

    def union(self, a: Term, b: Term) -> None:
        a, b = self.find(a), self.find(b)
        if a == b:
            return
        if isinstance(b, int):
            a, b = b, a
        self.members[a] = self.members_of(a) + self.members_of(b)
        self.parent[b] = a
        self.profiles.clear()

    def members_of(self, root: Term) -> tuple[Term, ...]:
        return self.members.get(root, (root,))

    def equal(self, a: Term, b: Term) -> bool:
        """Whether two extents are provably equal."""
        if self.find(a) == self.find(b) or self.canonical(a) == self.canonical(b):
            return True
        one, other = self.profile(a), self.profile(b)
        return one is not None and other is not None and one.key == other.key

    def same_shape(self, a: Sequence[Term], b: Sequence[Term]) -> bool:
        return len(a) == len(b) and all(map(self.equal, a, b))

    def canonical(self, a: Term, above: frozenset[Term] = frozenset()) -> Affine:
        """A term as an affine form over roots. (`above`: those being expanded; facts may be circular.)"""
        root = self.find(a)
        if isinstance(root, int):
            return frozenset(), root
        if root in above:
            return frozenset([(root, 1)]), 0
        above |= {root}
        for member in self.members_of(root):
            if isinstance(member, Value) and member.op is not None:
                form = self.affine(member.op, above)
                if form is not None:
                    return form
        return frozenset([(root, 1)]), 0

    def profile(self, a: Term) -> Profile | None:
        """A term as a function of one extent."""
        return self.profile_below(a, frozenset(), set())

    def profile_below(self, a: Term, above: frozenset[Term], met: set[Term]) -> Profile | None:
        """`profile`; `above`: roots being expanded, of which those that were met again go into `met`. What met none is
        true whatever is above, and kept until something else is known to be equal."""
        root = self.find(a)
        if isinstance(root, int):
            return constant(root)
        if root in self.profiles:
            return self.profiles[root]
        members = self.members_of(root)
        found: Profile | None = None
        again: set[Term] = set()
        if root in above:
            again.add(root)
        else:
            inside = above | {root}
            for member in members:
                if isinstance(member, Value) and member.op is not None and not member.rank:
                    found = combine(member.op, lambda t: self.profile_below(t, inside, again))
                    if found is not None:
                        break
            again.discard(root)
        if found is None and any(isinstance(m, Dim) for m in members):
            found = identity(root)
        if not again:
            self.profiles[root] = found
        met |= again
        return found

    def note(self, t: Term) -> None:
        """Let extents that are one function of another be one term."""
        found = self.profile(t)
        if found is not None and found.base is not None:
            known = self.functions.setdefault(found.key, t)
            if known is not t:
                self.union(known, t)

    def affine(self, op: Op, above: frozenset[Term]) -> Affine | None:
        if op.name not in ("add", "sub") or op.results[0].dtype is not I64 or op.results[0].rank:
            return None
        sign = 1 if op.name == "add" else -1
        terms: dict[Term, int] = {}
        constant = 0
        for operand, by in zip(op.operands, (1, sign)):
            parts, c = self.canonical(term(operand), above)
            constant += by * c
            for t, k in parts:
                terms[t] = terms.get(t, 0) + by * k
        return frozenset((t, k) for t, k in terms.items() if k), constant

    # scopes

    def mark(self) -> Mark:
        return dict(self.parent), dict(self.members), len(self.met), dict(self.guarded), dict(self.functions)

    def forget(self, mark: Mark) -> None:
        """Forget what was learned since `mark`."""
        self.parent, self.members, self.guarded = dict(mark[0]), dict(mark[1]), dict(mark[3])
        self.functions = dict(mark[4])
        self.profiles.clear()

    # definitions

    def dims(self, value: Value, terms: Sequence[Term] | None = None) -> None:
        """Enter an array value; without `terms`, its extents are its own."""
        assert isinstance(value.type, Array)
        own: list[Term] = []
        for axis, known in enumerate(value.type.dims):
            t: Term = Dim(value, axis) if terms is None else terms[axis]
            if known is not None:
                self.union(known, t)
                t = known
            own.append(t)
            self.met.setdefault(t, len(self.met))
            self.note(t)
        self.of[value] = own

    def define(self, op: Op) -> list[Op]:
        """Enter the results of an operation without regions. Returns the scalar operations that compute extents."""
        made: list[Op] = []
        for result in op.results:
            self.met.setdefault(result, len(self.met))
        if op.name == "dim":
            x, axis = op.operands[0], op.attrs["axis"]
            self.union(self.of[x][axis], op.result)
        elif op.name == "same_extent":
            self.union(term(op.operands[0]), term(op.operands[1]))
            self.union(term(op.operands[0]), op.result)
        if not any(isinstance(r.type, Array) for r in op.results):
            return made
        definition = lookup(op.name)
        if definition.category == "elementwise":
            first: Value | None = None
            for x in op.operands:
                if x.is_array:
                    if first is None:
                        first = x
                    else:
                        for a, b in zip(self.of[first], self.of[x]):
                            self.union(a, b)
            assert first is not None
            self.dims(op.result, self.of[first])
            return made
        if definition.extents is None:
            raise NotImplementedError(f"{op.name} has no rule for its extents")
        region = Region()
        with Builder(region, op.span):
            lists = definition.extents(op)
        for inner in region.ops:
            made.append(inner)
            self.define(inner)
        for result, extents in zip(op.results, lists):
            if isinstance(result.type, Array):
                self.dims(result, [term(e) for e in extents])
        return made

    # control flow

    def bounds(self, op: Op) -> list[Range]:
        """Ranges that are empty where no turn of a loop is run."""
        if op.name == "for":
            return [(self.find(term(op.operands[0])), self.find(term(op.operands[1])))]
        return [(0, self.find(result)) for result in counters(op)]

    def end_body(self, op: Op, mark: Mark) -> None:
        """The body of a loop ends: what it learned is forgotten, but for later loops over the same range."""
        ranges = self.bounds(op)
        pairs: list[tuple[Term, Term]] = []
        inside: list[tuple[Range, Learned]] = []
        if ranges:
            roots = dict.fromkeys(self.find(t) for t in self.parent if mark[0].get(t) != self.parent[t])
            for root in roots:
                outside = [m for m in self.members_of(root) if self.known_at(m, mark)]
                pairs += [(outside[0], other) for other in outside[1:]]
            new = [(key, learned) for key, learned in self.guarded.items() if mark[3].get(key) is not learned]
            inside = self.seen_outside(new, mark)
        self.forget(mark)
        if pairs or inside:
            for key in ranges:
                self.learn(key, Learned(tuple(pairs), tuple(inside)))

    def learn(self, key: Range, learned: Learned) -> None:
        known = self.guarded.get(key)
        self.guarded[key] = learned if known is None else known.merged(learned)

    def known_at(self, t: Term, mark: Mark) -> bool:
        return isinstance(t, int) or self.met.get(t, mark[2]) < mark[2]

    def seen_outside(self, learned: Sequence[tuple[Range, Learned]], mark: Mark) -> list[tuple[Range, Learned]]:
        """What loops have learned, as far as it is about terms that were known at `mark`."""
        out = []
        for (lo, hi), one in learned:
            ends = [[m for m in self.members_of(self.find(t)) if self.known_at(m, mark)] for t in (lo, hi)]
            if all(ends):
                pairs = tuple(p for p in one.pairs if all(self.known_at(t, mark) for t in p))
                out.append(((ends[0][0], ends[1][0]), Learned(pairs, tuple(self.seen_outside(one.inside, mark)))))
        return out

    def enter_loop(self, op: Op) -> None:
        """Enter the block arguments of a loop: with their initial shape where every turn keeps it."""
        if op.name == "for":
            learned = self.guarded.get(self.bounds(op)[0], Learned())
            for a, b in learned.pairs:
                self.union(a, b)
            for (lo, hi), one in learned.inside:
                self.learn((self.find(lo), self.find(hi)), one)
        for arg in (arg for region in op.regions for arg in region.args):
            self.met.setdefault(arg, len(self.met))
        inits = op.operands[2:] if op.name == "for" else op.operands
        args = carried_arguments(op)
        for arg, init, keeps in zip(args, inits, self.keeps_shape(op)):
            if arg.is_array:
                self.dims(arg, self.of[init] if keeps else None)

    def leave_loop(self, op: Op) -> None:
        """Enter the results of a loop."""
        inits = op.operands[2:] if op.name == "for" else op.operands
        for result, init, keeps in zip(op.results, inits, self.keeps_shape(op)):
            if result.is_array:
                self.dims(result, self.of[init] if keeps else None)

    def keeps_shape(self, op: Op) -> list[bool]:
        """For each carried value: whether it has its initial shape in every turn."""
        if op in self.invariant:
            return self.invariant[op]
        inits = op.operands[2:] if op.name == "for" else op.operands
        args = carried_arguments(op)
        yielded = op.regions[-1].terminator.operands
        keeps = [True] * len(inits)
        while True:
            self.invariant[op] = keeps
            mark = self.mark()
            self.enter_loop(op)
            for region in op.regions:
                self.walk(region)
            after = [
                k and (not arg.is_array or self.same_shape(self.of[y], self.of[arg]))
                for k, arg, y in zip(keeps, args, yielded)
            ]
            self.forget(mark)
            if after == keeps:
                return keeps
            keeps = after

    def walk(self, region: Region) -> None:
        for op in region.ops:
            if op.name in ("for", "while"):
                mark = self.mark()
                self.enter_loop(op)
                for inner in op.regions:
                    self.walk(inner)
                self.end_body(op, mark)
                self.leave_loop(op)
            elif op.name == "if":
                branches = []
                for inner in op.regions:
                    mark = self.mark()
                    self.walk(inner)
                    branches.append(self.outer_terms(inner.terminator.operands, mark))
                    self.forget(mark)
                self.join(op, branches)
            else:
                self.define(op)

    def outer_terms(self, values: Sequence[Value], mark: Mark) -> list[list[Term]]:
        """The extents of values, in terms that were known before `mark` where there are such."""
        out: list[list[Term]] = []
        for value in values:
            terms: list[Term] = []
            for t in self.of[value] if value.is_array else []:
                members = self.members_of(self.find(t))
                known = [m for m in members if isinstance(m, int) or self.met.get(m, mark[2]) < mark[2]]
                terms.append(known[0] if known else t)
            out.append(terms)
        return out

    def join(self, op: Op, branches: Sequence[Sequence[list[Term]]]) -> None:
        """Enter the results of an `if` whose branches give values of these extents."""
        for k, result in enumerate(op.results):
            if result.is_array:
                self.dims(result)
                for axis, own in enumerate(self.of[result]):
                    terms = [branch[k][axis] for branch in branches]
                    if all(self.equal(terms[0], t) for t in terms[1:]):
                        self.union(own, terms[0])


def carried_arguments(op: Op) -> list[Value]:
    """The block arguments of a loop that hold carried values."""
    return op.regions[0].args[1:] if op.name == "for" else op.regions[0].args
