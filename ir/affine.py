"""What is known about integers of a function: linear forms over its values, and proofs of inequalities.

In: a `Function` (complete, so that a loop's carried values can be understood from what it yields). Out:
`Facts`, which says what an i64 value is as a linear form (``2*i + n - 1``), what the extent of an array is,
and whether a form is never negative. That is what removes bounds checks: inside ``for i in (1, n - 1)``,
both ``i - 1 >= 0`` and ``i + 1 <= n - 1`` follow from the loop.

A proof replaces one atom after another, the last defined first, by what bounds it, until only a constant is
left: induction variables by the ends of their loops, carried counters by their closed form, `maximum`,
`minimum`, `select` and `if` by their cases, extents by zero, and anything by the conditions of the branches
we are in and the checks we have passed (`assume`). The search is small and bounded; what it does not find
is simply not known.

Integers that index arrays are taken not to overflow i64.

>>> from adjit.ir.text import parse
>>> f = parse('''func @f(%x: f64[?]) -> i64 {
...   %n: i64 = dim %x {axis=0}
...   %h: i64 = sub %n, 1
...   %s: i64 = for %i in (1, %h) (%t = 0) {
...     %j: i64 = add %i, 1
...     yield %j
...   }
...   return %s
... }''')
>>> facts = Facts(f)
>>> loop = f.body.ops[2]
>>> n, j = f.body.ops[0].result, loop.regions[0].ops[0].result
>>> room = facts.linear(n) - facts.linear(j)
>>> facts.nonneg(room - 1), facts.nonneg(room - 2)
(True, False)
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any

from .core import Builder, Const, Function, Op, Region, Value
from .linear import ZERO, Assumed, Atom, Linear
from .models import Models
from .ops import REGISTRY
from .ops.declare import same_extents
from .types import I64, Array, Scalar

__all__ = ["Facts", "Linear", "shape_origin"]

Case = tuple[int, Linear]  # (scale, form): scale * atom is at least (at most) the form
BUDGET = 40  # steps of one proof
LONGEST = 16  # a form of more terms is an atom: nothing would be proven of it
INTEGER = Scalar(I64)
WRITES = frozenset({"update", "accumulate", "scatter", "scatter_add"})


def shape_origin(value: Value, axis: int) -> Value:
    """The array from which a value has its extent along an axis, followed back through writes and maps."""
    while True:
        assert isinstance(value.type, Array)
        op = value.op
        if op is None or value.type.dims[axis] is not None:
            return value
        if op.name in WRITES:
            value = op.operands[0]
        elif REGISTRY[op.name].extents is same_extents:
            arrays = [v for v in op.operands if v.is_array]
            known = [v for v in arrays if isinstance(v.type, Array) and v.type.dims[axis] is not None]
            if not arrays or arrays[0].rank != value.rank:
                return value
            value = (known or arrays)[0]
        else:
            return value


def is_pure_scalar(op: Op) -> bool:
    """Whether an operation computes one number from numbers, and nothing else."""
    rule = REGISTRY[op.name]
    return rule.category == "elementwise" and not rule.effect and not any(v.is_array for v in op.operands)


def operation_of(op: Op, operands: Sequence[Hashable]) -> Hashable:
    """What an operation does, to which operands."""
    return (op.name, *operands, *((k, repr(v)) for k, v in sorted(op.attrs.items())))


class Facts:
    """Everything known about the integers of one function; `push`, `assume` and `pop` follow a walk through it."""

    def __init__(self, function: Function) -> None:
        self.owner: dict[Value, tuple[Op, int]] = {}
        self.order: dict[Value, int] = {}
        self.forms: dict[Value, Linear] = {}
        self.firsts: dict[Hashable, Value] = {}
        self.extents: dict[tuple[Value, int], Linear] = {}
        self.loops: dict[Op, dict[Atom, Linear]] = {}
        self.scopes: list[Assumed] = [Assumed()]
        self.busy: set[Hashable] = set()
        self.budget = 0
        self.attempted: set[tuple[Linear, bool]] = set()
        self.answers: dict[tuple[Any, ...], bool] = {}
        self.steps: dict[Value, Linear | None] = {}
        self.models = Models(self)
        self.number(function.body, None)

    def number(self, region: Region, owner: Op | None) -> None:
        for k, arg in enumerate(region.args):
            self.order[arg] = len(self.order)
            if owner is not None:
                self.owner[arg] = (owner, k)
        for op in region.ops:
            for inner in op.regions:
                self.number(inner, op)
            for result in op.results:
                self.order[result] = len(self.order)

    # ---------------------------------------------------------------- forms

    def linear(self, value: Value) -> Linear:
        """An i64 scalar as a linear form over atoms."""
        if type(value) is Const:
            return Linear(int(value.value))
        pending = [value]
        while pending:  # operands first, without recursion: unrolled code makes long chains
            value_, op = pending[-1], pending[-1].op
            if value_ not in self.forms:
                if op is not None and value_.type == INTEGER and is_pure_scalar(op):
                    missing = [v for v in op.operands if type(v) is not Const and v not in self.forms]
                    if missing:
                        pending += missing
                        continue
                form = self.form(value_)
                self.forms[value_] = form if len(form.terms) <= LONGEST else Linear(0, {value_: 1})
            pending.pop()
        return self.forms[value]

    def form(self, value: Value) -> Linear:
        op = value.op
        if op is not None and value.type == INTEGER:
            if op.name in ("add", "sub"):
                return self.linear(op.operands[0]).plus(self.linear(op.operands[1]), 1 if op.name == "add" else -1)
            if op.name == "neg":
                return self.linear(op.operands[0]).times(-1)
            if op.name == "mul":
                a, b = map(self.linear, op.operands)
                if not a.terms:
                    return b.times(a.const)
                if not b.terms:
                    return a.times(b.const)
            if op.name == "dim":
                return self.extent(op.operands[0], op.attrs["axis"])
            if op.name == "same_extent":
                return self.linear(op.operands[0])
            if op.name == "bound":
                index = self.linear(op.operands[0])
                if self.nonneg(index, 0):  # by loops alone: the form outlives conditions
                    return index
            if is_pure_scalar(op):
                return Linear(0, {self.first_like(op): 1})
        return Linear(0, {value: 1})

    def first_like(self, op: Op) -> Value:
        """The result of a pure operation on scalars, or of an equal one that was met before: one atom for both."""
        operands = [self.linear(v) if v.type == INTEGER else v for v in op.operands]
        return self.firsts.setdefault(operation_of(op, operands), op.result)

    def like(self, op: Op, operands: Sequence[Hashable]) -> Value | None:
        """The atom that the same operation on other operands is, if it was met: integers are given as forms."""
        return self.firsts.get(operation_of(op, operands))

    def extent(self, value: Value, axis: int) -> Linear:
        """The extent of an array along an axis, from what made the array."""
        assert isinstance(value.type, Array)
        static = value.type.dims[axis]
        if static is not None:
            return Linear(static)
        value = shape_origin(value, axis)
        assert isinstance(value.type, Array)
        if value.type.dims[axis] is not None:
            return Linear(int(value.type.dims[axis] or 0))
        known = self.extents.get((value, axis))
        if known is None:
            op = value.op
            rule = REGISTRY[op.name].extents if op is not None and op.name != "dim" else None
            known = Linear(0, {("dim", value, axis): 1})
            if op is not None and rule is not None:
                with Builder(Region()):  # what the rule emits is looked at and dropped
                    made = rule(op)[op.results.index(value)]
                known = self.linear(made[axis])
            self.extents[(value, axis)] = known
        return known

    def resolve(self, form: Linear) -> Linear:
        """With extents of carried arrays traced to those of the initial ones, where a loop keeps them."""
        for atom in list(form.terms):
            if isinstance(atom, tuple) and atom in form.terms:
                traced = self.traced(atom)
                if traced is not None:
                    return self.resolve(form.replace(atom, traced))
        return form

    def traced(self, atom: Any) -> Linear | None:
        _, value, axis = atom
        op, _ = self.owner.get(value, (value.op, 0))
        if op is None:
            return None
        if op.name == "if" and value.op is op and ("if", value) not in self.busy:
            k = op.results.index(value)
            self.busy.add(("if", value))
            then, other = (self.resolve(self.extent(r.terminator.operands[k], axis)) for r in op.regions)
            self.busy.discard(("if", value))
            return then if then == other else None
        if op.name not in ("for", "while"):
            return None
        if op not in self.loops:
            self.loops[op] = {}
            self.loops[op] = self.kept_extents(op)
        return self.loops[op].get(atom)

    def kept_extents(self, op: Op) -> dict[Atom, Linear]:
        """The extents a loop keeps: assume all of them, drop those that are not, until none is dropped."""
        first, skip = (2, 1) if op.name == "for" else (0, 0)
        args, yielded = op.regions[0].args[skip:], op.regions[-1].terminator.operands
        candidates: dict[Atom, tuple[Linear, Linear]] = {}
        atom: Atom
        results: dict[Atom, Atom] = {}
        for arg, init, new, result in zip(args, op.operands[first:], yielded, op.results):
            if not isinstance(arg.type, Array):
                continue
            for axis, known in enumerate(arg.type.dims):
                if known is None:
                    atom = ("dim", arg, axis)
                    candidates[atom] = (self.resolve(self.extent(init, axis)), self.extent(new, axis))
                    results["dim", result, axis] = atom
        dropped = True
        while dropped:
            dropped = False
            for atom, (start, after) in list(candidates.items()):
                form = self.resolve(after)
                for known_atom, (replacement, _) in candidates.items():
                    if known_atom in form.terms:
                        form = form.replace(known_atom, replacement)
                if self.resolve(form) != start:
                    del candidates[atom]
                    dropped = True
        out = {atom: start for atom, (start, _) in candidates.items()}
        out.update({result: out[atom] for result, atom in results.items() if atom in out})
        return out

    # ---------------------------------------------------------------- conditions we are under

    def push(self) -> None:
        """Enter a region: what is assumed from here on ends with `pop`."""
        self.scopes.append(Assumed())

    def pop(self) -> None:
        self.scopes.pop()
        self.models.forget()

    @property
    def depth(self) -> int:
        """How many scopes are open; a proof may be restricted to the first so many."""
        return len(self.scopes)

    def assume_nonneg(self, form: Linear) -> None:
        form = self.resolve(form)
        if form.terms and self.scopes[-1].add(form):
            self.models.learn(form, self.scopes[-1])

    def assume(self, condition: Value, truth: bool = True) -> None:
        """A boolean value is known to be true (or false) here."""
        op = condition.op
        if op is None or not isinstance(condition.type, Scalar):
            return
        if op.name == "logical_not":
            self.assume(op.operands[0], not truth)
        elif op.name == ("logical_and" if truth else "logical_or"):
            for part in op.operands:
                self.assume(part, truth)
        elif op.name in COMPARISONS and op.operands[0].type == INTEGER == op.operands[1].type:
            a, b = map(self.linear, op.operands)
            name = op.name if truth else NEGATED[op.name]
            if name == "eq":
                self.assume_nonneg(a - b)
                self.assume_nonneg(b - a)
            elif name != "ne":
                self.assume_nonneg(difference(name, a, b))

    def assume_equal(self, a: Linear, b: Linear) -> None:
        self.assume_nonneg(a - b)
        self.assume_nonneg(b - a)

    def enter_loop(self, op: Op) -> None:
        """Inside the body of a ``for``, which therefore runs at least once."""
        lo, hi = self.linear(op.operands[0]), self.linear(op.operands[1])
        self.assume_nonneg(hi - lo - 1)

    # ---------------------------------------------------------------- proofs

    def equal(self, a: Linear, b: Linear, depth: int | None = None) -> bool:
        """Whether two forms are surely equal."""
        form = self.resolve(a - b)
        if not form.terms:
            return form.const == 0
        back = form.times(-1)
        if self.models.refutes(form) or self.models.refutes(back):
            return False  # before either is searched for a proof
        return self.nonneg(form, depth) and self.nonneg(back, depth)

    def compare(self, name: str, a: Value, b: Value) -> bool | None:
        """What a comparison of i64 scalars surely is; None where it is not known."""
        x, y = self.linear(a), self.linear(b)
        if name in ("eq", "ne"):
            if self.equal(x, y):
                return name == "eq"
            if self.nonneg(x - y - 1) or self.nonneg(y - x - 1):
                return name == "ne"
            return None
        if self.nonneg(difference(name, x, y)):
            return True
        return False if self.nonneg(difference(NEGATED[name], x, y)) else None

    def nonneg(self, form: Linear, depth: int | None = None) -> bool:
        """Whether a form is surely >= 0, from what is true here (or in the first `depth` scopes)."""
        form = self.resolve(form)
        if not form.terms:
            return form.const >= 0
        assumed = self.scopes[:depth]
        if self.budget:  # for the sake of another proof
            return self.prove(form, assumed, 8)
        question = (form, *(scope.state for scope in assumed))
        found = self.answers.get(question)
        if found is None:
            self.budget = BUDGET
            self.attempted.clear()
            found = self.answers[question] = self.prove(form, assumed, 8)
            self.budget = 0
        return found

    def prove(self, form: Linear, assumed: list[Assumed], depth: int) -> bool:
        if not form.terms:
            return form.const >= 0
        if form.const >= 0 and all(c > 0 and isinstance(a, tuple) for a, c in form.terms.items()):
            return True
        if depth == 0 or self.budget <= 1 or self.models.refutes(form):
            return False
        attempt = (form, bool(assumed))
        if attempt in self.attempted:
            return False
        self.budget -= 1
        self.attempted.add(attempt)
        for fact in self.about(form.terms, assumed):  # exactly what is assumed, or more
            if form.shrinks(fact) and self.prove(form - fact, assumed, depth - 1):
                return True
            if self.budget <= 1:  # of what is left to try, only what is plain to see could be proven
                return False
        atoms = sorted(form.terms, key=self.rank, reverse=True)
        for atom in atoms:
            key = (atom, form.terms[atom] > 0)
            if key in self.busy:
                continue
            self.busy.add(key)
            try:
                for cases in self.bounds(atom, form.terms[atom] > 0, assumed):
                    if depth == 1 and any(leaves_open(form, atom, bound) for _, bound in cases):
                        continue
                    if all(self.prove(self.bounded(form, atom, case), assumed, depth - 1) for case in cases):
                        return True
                    if self.budget <= 1:
                        return False
            finally:
                self.busy.discard(key)
        return False

    def about(self, atoms: Iterable[Atom], assumed: list[Assumed]) -> Iterator[Linear]:
        """Facts in which one of the atoms occurs, those of inner scopes first."""
        atoms = list(atoms)
        for scope in reversed(assumed):
            if scope.facts:
                for atom in atoms:
                    yield from scope.of(atom)

    def bounded(self, form: Linear, atom: Atom, case: Case) -> Linear:
        """A lower bound of a form: with an atom replaced by its bound (scaled, which keeps the sign)."""
        scale, bound = case
        coefficient = form.terms[atom]
        if scale == 1:
            return self.resolve(form.replace(atom, bound))
        rest = Linear(form.const, {a: c for a, c in form.terms.items() if a != atom})
        return self.resolve(rest.times(scale).plus(bound, coefficient))

    def rank(self, atom: Any) -> int:
        return self.order.get(atom, 0) if isinstance(atom, Value) else -1

    def bounds(self, atom: Any, lower: bool, assumed: list[Assumed]) -> Iterator[list[Case]]:
        """Ways to bound an atom from below (or above): in each way, every case has to be proven."""
        if isinstance(atom, tuple):
            if lower:
                yield [(1, ZERO)]
        elif atom in self.owner:
            yield from self.argument_bounds(atom, lower)
        elif atom.op is not None:
            yield from self.result_bounds(atom, atom.op, lower)
        for fact in self.about((atom,), assumed):  # fact >= 0, solved for the atom
            k = fact.terms.get(atom, 0)
            if k and (k > 0) == lower:
                rest = Linear(fact.const, {a: c for a, c in fact.terms.items() if a != atom})
                yield [(abs(k), rest.times(-1) if k > 0 else rest)]

    def argument_bounds(self, value: Value, lower: bool) -> Iterator[list[Case]]:
        op, k = self.owner[value]
        if op.name == "for":
            lo, hi = self.linear(op.operands[0]), self.linear(op.operands[1])
            if k == 0:
                yield [(1, lo if lower else hi - 1)]
                return
            k -= 1
            step = self.step(op, value, k)
            init = self.linear(op.operands[2 + k])
            if step is not None and not step.terms:
                induction = self.linear(op.regions[0].args[0])
                done = hi - 1 - induction if op.attrs.get("reverse") else induction - lo
                yield [(1, init.plus(done, step.const))]
            if step is not None and self.monotone(step, lower):
                yield [(1, init)]
        elif op.name == "while":
            step = self.step(op, value, k)
            if step is not None and self.monotone(step, lower):
                yield [(1, self.linear(op.operands[k]))]

    def step(self, op: Op, arg: Value, k: int) -> Linear | None:
        """By how much one iteration changes a carried i64."""
        if arg.type != INTEGER:
            return None
        if arg not in self.steps:
            self.steps[arg] = self.linear(op.regions[-1].terminator.operands[k]) - self.linear(arg)
        return self.steps[arg]

    def monotone(self, step: Linear, increasing: bool) -> bool:
        return self.prove(self.resolve(step if increasing else step.times(-1)), [], 3)

    def result_bounds(self, value: Value, op: Op, lower: bool) -> Iterator[list[Case]]:
        name = op.name
        if op.name in ("for", "while"):
            k = op.results.index(value)
            first, skip = (2, 1) if op.name == "for" else (0, 0)
            step = self.step(op, op.regions[0].args[skip + k], k)
            if step is not None and self.monotone(step, lower):
                yield [(1, self.linear(op.operands[first + k]))]
            return
        if value.type != INTEGER:
            return
        if name == "if":
            k = op.results.index(value)
            yield [(1, self.linear(r.terminator.operands[k])) for r in op.regions]
        elif name == "bound":
            i, n = map(self.linear, op.operands)
            yield [(1, ZERO if lower else n - 1)]
            if self.prove(i, [], 3):
                yield [(1, i)]
        elif name in ("maximum", "minimum"):
            cases: list[Case] = [(1, self.linear(v)) for v in op.operands]
            if (name == "maximum") == lower:
                yield from ([case] for case in cases)
            else:
                yield cases
        elif name == "select":
            yield [(1, self.linear(v)) for v in op.operands[1:]]
        elif name in ("abs", "absolute"):
            if lower:
                yield [(1, ZERO)]
        elif name == "mod":
            n = self.linear(op.operands[1])
            if self.prove(self.resolve(n - 1), [], 3):
                yield [(1, ZERO if lower else n - 1)]
        elif name == "floordiv":
            a, n = map(self.linear, op.operands)
            if not n.terms and n.const > 0:  # c * (a // c) lies in [a - c + 1, a]
                yield [(n.const, a - (n.const - 1) if lower else a)]
        elif name in ("argmax", "argmin"):  # 0 where there are no elements, which is checked before
            (x,) = op.operands
            yield [(1, ZERO)] if lower else [(1, self.extent(x, op.attrs["axis"]) - 1), (1, ZERO)]
        elif name == "cast" and op.operands[0].dtype.kind == "b":
            yield [(1, Linear(0 if lower else 1))]


COMPARISONS = frozenset({"lt", "le", "gt", "ge", "eq", "ne"})
NEGATED = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt", "eq": "ne", "ne": "eq"}


def leaves_open(form: Linear, atom: Atom, bound: Linear) -> bool:
    """Whether some other atom surely stays where `bound` replaces `atom`, and is not known to be >= 0."""
    if any(isinstance(a, tuple) for a in bound.terms):  # which may stand for something else
        return False
    return any(
        a != atom and a not in bound.terms and (k < 0 or not isinstance(a, tuple)) for a, k in form.terms.items()
    )


def difference(name: str, a: Linear, b: Linear) -> Linear:
    """The form that is >= 0 exactly where a comparison of integers holds."""
    if name == "lt":
        return b - a - 1
    if name == "le":
        return b - a
    return a - b - 1 if name == "gt" else a - b
