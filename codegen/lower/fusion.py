"""What is stored and what is only computed where it is used.

In: a function of the array IR. Out: a `Plan`: which array values are *virtual* (never stored: an element function
that consumers pull into their own loops), and which are live after each operation, a virtual value keeping alive
what it reads.

A value that can be virtual is stored all the same where

* something needs it in memory (results, yields, library kernels, in-place writes),
* it would be computed again and again: by a loop of the program or of a nest around those it depends on, or by
  several consumers, and it is not trivial (fills, index views, transposes and the like cost nothing),
* it is a sum or product in any order, and two loops would compute it: in other orders, so that it would not be equal to
  itself (what attains a minimum is found by comparing),
* it is a reduction of an array of which there are others (over its columns), and is added to an array: the loop that
  stores it can become one with the others',
* it reads memory that is about to be overwritten in place (the alternative, copying that memory, costs more).

Consumers in a branch that is hardly ever run (an `if` with the attribute `rare`, its number) do not count, as long as
there are others: they may compute again whatever they like.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ...ir.core import Builder, Const, Function, Op, Region, Value
from ...ir.ops.declare import call_rule, lookup
from ...ir.ops.routines import signature_of
from ...ir.types import I64, Array, Scalar, Tape
from .slice_sums import pieces_of

__all__ = [
    "Plan",
    "closure",
    "element_of",
    "fusible",
    "plan",
    "product_operands",
    "row_reduction",
    "small_product",
    "source_of_transpose",
]

TRIVIAL = frozenset({"fill", "iota", "index", "broadcast", "transpose", "cast", "stop_gradient", "neg"})
WRITES = frozenset({"update", "accumulate", "scatter", "scatter_add", "assemble", "add_product"})
REDUCTIONS = frozenset("reduce_sum reduce_prod reduce_max reduce_min reduce_any reduce_all reduce_or".split())
REPEAT = 8
"""What a consumer may compute in several places of its code: one of which is run for an element, or each of which is a
loop over the same row."""
RECOMPUTE = 3
"""What may be computed by each of several consumers: as much arithmetic as a store and a load cost."""


SMALL_INNER = 4


def fusible(op: Op) -> bool:
    """Whether an operation's result can be virtual."""
    if len(op.results) != 1 or not op.result.is_array:
        return False
    definition = lookup(op.name)
    if definition.element is not None:
        return True
    if definition.category == "elementwise":
        return True
    return row_reduction(op)


def row_reduction(op: Op) -> bool:
    """A reduction over the last axes, or rows times vector: one inner loop gives one element."""
    if op.name in REDUCTIONS:
        rank = op.operands[0].rank
        return op.result.is_array and op.attrs["axes"] == tuple(range(rank - len(op.attrs["axes"]), rank))
    if op.name == "matmul" and op.operands[0].rank + op.operands[1].rank == 3:
        a, b = op.operands
        matrix = a if a.rank == 2 else b
        return (a.rank == 2) == (source_of_transpose(matrix) is matrix)
    return False


def in_any_order(op: Op) -> bool:
    """Whether an operation adds or multiplies floats in whichever order suits the loop."""
    return op.result.dtype.is_float and op.name in ("reduce_sum", "reduce_prod", "matmul")


def small_product(op: Op) -> bool:
    """A product of matrices whose inner extent is a small constant: loops read its factors where they are."""
    a, b = op.operands
    if a.rank != 2 or b.rank != 2:
        return False
    inner = {x.type.dims[k] for x, k in ((a, 1), (b, 0)) if isinstance(x.type, Array)} - {None}
    return any(n is not None and n <= SMALL_INNER for n in inner)


def product_operands(op: Op) -> tuple[Value, Value]:
    """(matrix, vector) of their product, a transposed matrix as what it is the transpose of."""
    a, b = op.operands
    return (source_of_transpose(a), b) if a.rank == 2 else (source_of_transpose(b), a)


def element_of(op: Op, get: object, index: list[Value], positions: list[Value]) -> Value:
    """One element of the result of an operation that declares how it is made of elements of its operands."""
    rule = lookup(op.name).element
    assert rule is not None
    dims = [x.type.dims if isinstance(x.type, Array | Scalar) else () for x in op.operands]
    result = op.result.type
    assert isinstance(result, Array | Scalar)
    out: Value = call_rule(
        rule,
        (get, index),
        op.attrs,
        positions=lambda: positions,
        dims=lambda: dims,
        result=lambda: result.dims,
        ranks=lambda: [x.rank for x in op.operands],
        op=lambda: op,
    )
    return out


@dataclass(frozen=True)
class Pull:
    """One consumer of a value: inside which program loops, and which loops of the nest each index depends on.

    `deps` None: the value must be in memory. `turn`: of one that computes elements in several
    turns, and in several places of its code, which. `path`: the reductions whose loops run around the value, each
    with the number of its first loop, and the views it is read through, with -1. `rows`: the reductions of rows on the
    way to the consumer, each of which is a loop of its own. `rare`: the consumer stands in a branch that is hardly ever
    run.
    """

    anchor: Op
    loops: tuple[Op, ...]
    deps: tuple[frozenset[int], ...] | None
    random: bool = False
    turn: int | None = None
    path: tuple[tuple[Op, int], ...] = ()
    rows: tuple[Op, ...] = ()
    rare: bool = False

    @property
    def loop(self) -> object:
        """What tells the loop that computes an element apart from others: those it does not depend on are around it."""
        used = frozenset().union(*self.deps) if self.deps else frozenset()
        return self.anchor, self.deps, self.turn, tuple((op, k) for op, k in self.path if k in used or k < 0)


def repeats(pull: Pull) -> bool:
    """Whether the nest of a consumer computes the same element more than once."""
    if pull.random:
        return True
    used = frozenset().union(*pull.deps) if pull.deps else frozenset()
    return any(k not in used for k in range(max(used, default=0)))


@dataclass
class Plan:
    """`stored`: fusible values that are kept in memory. `live_after[op]`: values read after an operation.

    `live_in[op]`, for loops: values read after *or in any turn of* the loop.
    """

    function: Function
    stored: set[Value] = field(default_factory=set)
    live_after: dict[Op, set[Value]] = field(default_factory=dict)
    live_in: dict[Op, set[Value]] = field(default_factory=dict)
    may_be_virtual: dict[Value, bool] = field(default_factory=dict)
    below: dict[Value, set[Value]] = field(default_factory=dict)
    """What a virtual value reads, as long as so many are stored as `below_for`."""
    below_for: int = 0

    def virtual(self, value: Value) -> bool:
        if value in self.stored:
            return False
        known = self.may_be_virtual.get(value)
        if known is None:
            known = self.may_be_virtual[value] = value.op is not None and fusible(value.op)
        return known

    def is_live(self, value: Value, live: Iterable[Value]) -> bool:
        return value in closure(self, live)


def closure(plan: Plan, values: Iterable[Value]) -> set[Value]:
    """The values, and what the virtual ones among them read."""
    if plan.below_for != len(plan.stored):
        plan.below.clear()
        plan.below_for = len(plan.stored)
    out: set[Value] = set()
    for value in values:
        if value not in out:
            out.add(value)
            if plan.virtual(value):
                if value not in plan.below:
                    plan.below[value] = set(reached(plan, [value]))
                out |= plan.below[value]
    return out


def reached(plan: Plan, values: Iterable[Value]) -> dict[Value, None]:
    """`closure` in the order of operands (keys of a dict: the order of a set is not that of the next run)."""
    out: dict[Value, None] = {}
    work = list(values)[::-1]
    while work:
        value = work.pop()
        if value in out:
            continue
        out[value] = None
        if plan.virtual(value):
            assert value.op is not None
            work += [x for x in reversed(value.op.operands) if x.is_array]
    return out


def plan(function: Function) -> Plan:
    """Decide what is stored; see the module's docstring."""
    out = Plan(function)
    Pulls(out).region(function.body, ())
    while True:
        out.live_after.clear()
        out.live_in.clear()
        live_region(out, function.body, set())
        if not store_before_overwriting(out, function.body, ()):
            return out


# ---------------------------------------------------------------- who computes what how often


class Pulls:
    """A walk from the end: when an operation is met, everything that consumes its result has been decided."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.pulls: dict[Value, list[Pull]] = {}
        self.home: dict[Value, tuple[Op, ...]] = {}
        self.rare = False
        self.price: dict[Value, int] = {}
        self.reduced: dict[Value, int] = {}
        """Arrays that are reduced, and how often: over rows and over columns, say."""
        self.prices(plan.function.body, ())

    def prices(self, region: Region, loops: tuple[Op, ...]) -> None:
        """The cost of one element, computed from memory with nothing stored in between."""
        for op in region.ops:
            for inner in op.regions:
                self.prices(inner, (*loops, op) if op.name in ("for", "while") else loops)
            for result in op.results:
                self.home[result] = loops
            if op.name in REDUCTIONS:
                self.reduced[op.operands[0]] = self.reduced.get(op.operands[0], 0) + 1
            if fusible(op):
                own = 0 if op.name in TRIVIAL else 100 if row_reduction(op) else lookup(op.name).cost
                below = sum(self.price.get(x, 0) for x in set(op.operands))
                self.price[op.result] = min(own + below, 1000)

    def pull(self, value: Value, pull: Pull) -> None:
        if value.is_array:
            self.pulls.setdefault(value, []).append(replace(pull, rare=True) if self.rare and not pull.rare else pull)

    def region(self, region: Region, loops: tuple[Op, ...]) -> None:
        for op in reversed(region.ops):
            if op.regions:
                inside = (*loops, op) if op.name in ("for", "while") else loops
                for k, inner in reversed(list(enumerate(op.regions))):
                    around, self.rare = self.rare, self.rare or op.attrs.get("rare") == k
                    self.region(inner, inside)
                    self.rare = around
            if fusible(op):
                self.decide(op, loops)
            if not fusible(op) or op.name == "bound":
                self.anchor(op, loops)

    def decide(self, op: Op, loops: tuple[Op, ...]) -> None:
        value = op.result
        pulls = self.pulls.get(value, [])
        if self.must_store(op, pulls, loops):
            self.plan.stored.add(value)
            identity = tuple(frozenset([k]) for k in range(value.rank))
            self.through(op, Pull(op, loops, identity))
        else:
            for pull in pulls:
                self.through(op, pull)

    def must_store(self, op: Op, pulls: Sequence[Pull], loops: tuple[Op, ...]) -> bool:
        value = op.result
        if any(p.deps is None for p in pulls):
            return True
        if op.name in TRIVIAL or not pulls:
            return False
        if self.reduced.get(op.operands[0], 0) > 1 and any(p.anchor.name in WRITES for p in pulls):
            return True
        if not in_any_order(op):  # which has to be equal to itself
            pulls = [p for p in pulls if not p.rare] or pulls
        if in_any_order(op) and len({p.loop for p in pulls}) > 1:
            return True
        price = self.price[value]
        whole = [p for p in pulls if p.deps and any(p.deps)]
        if any(repeats(p) for p in whole) or any(len(p.loops) > len(loops) for p in pulls):
            return price > 0
        distinct = {(p.anchor, p.deps, p.turn) for p in whole}
        if price > REPEAT and any(p.turn is not None for p in whole):
            return True
        if price > REPEAT and len({(p.anchor, p.deps, p.turn, p.rows) for p in whole}) > 1:
            return True
        return len(distinct) > 1 and price > RECOMPUTE

    def through(self, op: Op, pull: Pull) -> None:
        """What a pull of an element of `op`'s result asks of its operands."""
        own = pull.deps
        assert own is not None
        if row_reduction(op):
            depth = max((max(d) for d in own if d), default=-1) + 1
            inner: tuple[frozenset[int], ...]
            path = (*((by, k) for by, k in pull.path if k < depth), (op, depth))
            pull = replace(pull, path=path, rows=(*pull.rows, op))
            if op.name == "matmul":
                matrix, vector = product_operands(op)
                inner = (frozenset([depth]),)
                self.pull(matrix, replace(pull, deps=(*own, *inner)))
                self.pull(vector, replace(pull, deps=inner, random=True))  # once per row
                return
            inner = tuple(frozenset([depth + k]) for k in range(op.operands[0].rank - len(own)))
            self.pull(op.operands[0], replace(pull, deps=(*own, *inner)))
            return
        if lookup(op.name).element is None:
            for x in op.operands:
                if x.is_array:
                    self.pull(x, pull)
            return
        if op.name in ("index", "gather"):
            pull = replace(pull, path=(*pull.path, (op, -1)))
        deps: dict[Value, frozenset[int]] = {}
        index = [Value(Scalar(I64)) for _ in own]
        deps.update(zip(index, own))
        loaded: set[Value] = set()

        def depends(value: Value) -> frozenset[int]:
            if value not in deps:
                below = value.op.operands if value.op is not None and value not in outside else []
                deps[value] = frozenset().union(*(depends(x) for x in below)) if below else frozenset()
                if any(x in loaded for x in below):
                    loaded.add(value)
            return deps[value]

        outside = set(op.operands)

        def get(k: int, where: list[Value]) -> Value:
            x = op.operands[k]
            at = tuple(depends(w) for w in where)
            random = pull.random or any(w in loaded for w in where)
            if x.is_array:
                self.pull(x, replace(pull, deps=at, random=random))
            result = Value(Scalar(x.dtype))
            deps[result] = frozenset().union(*at) if at else frozenset()
            loaded.add(result)
            return result

        with Builder(Region()):
            element_of(op, get, index, op.operands[1:])

    def anchor(self, op: Op, loops: tuple[Op, ...]) -> None:
        """The pulls of an operation that is carried out where it stands."""
        if op.name == "assemble":
            pieces = pieces_of(op)
            several = len({(piece.spec, piece.parts) for piece in pieces}) > 1
            self.pull(op.operands[0], self.identity(op, op.operands[0], loops, None))
            for turn, piece in enumerate(pieces):
                self.pull(piece.value, self.identity(op, piece.value, loops, turn if several else None))
            return
        for x, pattern in patterns(op):
            if x.is_array:
                if pattern is None:
                    self.pull(x, Pull(op, loops, None))
                else:
                    self.pull(x, Pull(op, loops, tuple(frozenset(p) for p in pattern), x in op.operands[2:]))

    @staticmethod
    def identity(op: Op, x: Value, loops: tuple[Op, ...], turn: int | None) -> Pull:
        return Pull(op, loops, tuple(frozenset([k]) for k in range(x.rank)), turn=turn)


def patterns(op: Op) -> list[tuple[Value, list[list[int]] | None]]:
    """Per array operand of an anchor: the loops that each of its indices runs with; None: it must be in memory."""

    def identity(x: Value) -> list[list[int]]:
        return [[k] for k in range(x.rank)]

    if op.name in REDUCTIONS or op.name in ("argmax", "argmin", "cumsum", "cumprod", "recurrence"):
        return [(v, identity(v)) for v in op.operands]
    if op.name == "index":
        return [(op.operands[0], [[] for _ in range(op.operands[0].rank)])]
    if op.name == "gather":
        return [(op.operands[0], [[] for _ in range(op.operands[0].rank)])]
    if op.name == "matmul":
        a, b = op.operands
        if a.rank == b.rank == 1:
            return [(a, [[0]]), (b, [[0]])]
        if a.rank + b.rank == 3:
            matrix, vector = product_operands(op)
            return [(vector, [[0]]), (matrix, [[0], [1]])]
        if small_product(op):
            return [(a, [[0], [2]]), (b, [[2], [1]])]
        return [(source_of_transpose(a), None), (source_of_transpose(b), None)]
    if op.name == "add_product":
        return [(v, None) for v in op.operands[:3]]
    if op.name in WRITES:
        return [(op.operands[0], None)] + [(v, identity(v)) for v in op.operands[1:]]
    if op.name in ("concat", "bound", "reshape", "stayed"):
        return [(v, identity(v)) for v in op.operands]
    if op.name == "tape.push":
        return [(op.operands[1], identity(op.operands[1]))]
    if op.name in ("dim", "if"):
        return []
    if op.name == "searchsorted":
        return [(op.operands[0], None), (op.operands[1], identity(op.operands[1]))]
    signature = signature_of(op.name)
    if signature is not None:
        return [(op.operands[k], None) for k in signature.reads]
    return [(v, None) for v in op.operands]


def source_of_transpose(value: Value) -> Value:
    """What a matrix transposed is the transpose of; kernels for products take either."""
    if value.op is not None and value.op.name == "transpose" and value.op.attrs["perm"] == (1, 0):
        return value.op.operands[0]
    return value


# ---------------------------------------------------------------- liveness


def arrays(values: Iterable[Value]) -> set[Value]:
    return {v for v in values if v.is_array and not isinstance(v, Const)}


def reads(op: Op) -> set[Value]:
    """The array values that an operation reads (`dim` reads no memory)."""
    return set() if op.name == "dim" else arrays(op.operands)


def captured(region: Region, inside: set[Value] | None = None) -> set[Value]:
    """Array values used in a region and defined outside."""
    own = set(region.args) | (inside or set())
    out: set[Value] = set()
    for op in region.ops:
        out |= reads(op) - own
        for inner in op.regions:
            out |= captured(inner) - own
            if op.name == "while":  # the body sees what the condition defines
                own |= {r for o in inner.ops for r in o.results} | set(inner.args)
        own |= set(op.results)
    return out


def live_region(plan: Plan, region: Region, after: set[Value]) -> set[Value]:
    """Live sets of a region's operations, backwards; `after`: what is live where it ends. Returns what is at its
    start."""
    live = set(after)
    for op in reversed(region.ops):
        plan.live_after[op] = set(live)
        live -= set(op.results)
        if op.name == "if":
            live = set().union(*(live_region(plan, inner, live) for inner in op.regions))
        elif op.name == "for":
            (body,) = op.regions
            throughout = live | captured(body)
            plan.live_in[op] = throughout
            live_region(plan, body, throughout)
            live = throughout | reads(op)
        elif op.name == "while":
            before, body = op.regions
            defined = {r for o in before.ops for r in o.results} | set(before.args)
            throughout = live | captured(before) | captured(body, defined)
            plan.live_in[op] = throughout
            in_body = live_region(plan, body, throughout)
            live_region(plan, before, in_body | throughout | arrays(before.args))
            live = throughout | reads(op)
        elif not fusible(op) or op.name == "bound" or op.result in plan.stored or op.result in plan.live_after[op]:
            live |= reads(op)
    return live


# ---------------------------------------------------------------- memory about to be overwritten


def store_before_overwriting(plan: Plan, region: Region, outer: Sequence[Value]) -> bool:
    """Store virtual values that read memory which an operation would otherwise overwrite in place. True: there
    were some."""
    changed = False
    defined: list[Value] = list(outer)
    for op in region.ops:
        for victim in overwritten(op):
            live = plan.live_in.get(op, plan.live_after[op])
            if victim in live:
                continue
            for value in defined:  # in program order: what is stored first may make later ones harmless
                if value in live and plan.virtual(value) and victim in closure(plan, [value]):
                    plan.stored.add(value)
                    changed = True
        for inner in op.regions:
            changed |= store_before_overwriting(plan, inner, defined)
        defined += op.results
    return changed


def overwritten(op: Op) -> list[Value]:
    """Array operands whose memory an operation takes over if nothing reads it afterwards."""
    if op.name in WRITES:
        return [op.operands[0]]
    if op.name == "for":
        return [x for x in op.operands[2:] if x.is_array]
    if op.name == "while":
        return [x for x in op.operands if x.is_array]
    return []


_ = Tape  # tapes are linear: they need no liveness
