"""Which reads of an overwritten array its final contents still serve: affine dependence analysis.

In: a prepared primal and its lineages. Out: for values read from an array, or written to it, inside loops: whether the
place is never overwritten afterwards, so that the reverse sweep can read it from the array as the forward sweep left
it. Then nothing is kept. In LU by dot products this holds for every read:

    for i: for j < i:  A[i,j] -= A[i,:j] @ A[:j,j]     A[i,:j] and A[:j,j] are never written again

For a read and a write, "afterwards" is: some loop around both has gone on (and then everything inside it is arbitrary
within its bounds), or all loops around both are at the same iteration and the write comes later in the text. In each
case some axis must separate the two places, which is proven with linear forms (`ir.affine`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..affine import Facts, Linear
from ..core import Op, Region, Value
from ..ops.indexing import split_spec
from ..types import I64, Scalar
from .lineage import Lineages
from .prepare import Prepared
from .reverse import Reverse

__all__ = ["FinalRead", "final_reads"]


@dataclass(frozen=True)
class FinalRead:
    """A value that can be read from the last version of a lineage, at the positions of `op`."""

    lineage: Value
    spec: str
    positions: tuple[Value, ...]


def final_reads(lineages: Lineages, reverse: Reverse) -> dict[Value, FinalRead]:
    """For each value read from or written to a lineage: where its final contents hold it, if they surely do."""
    prepared = lineages.prepared
    found: dict[Value, FinalRead] = {}
    facts: Facts | None = None
    for lineage, writes in lineages.all_writes.items():
        if prepared.home[lineage] is not prepared.function.body:
            continue
        if any(op.name not in ("update", "accumulate") for op in writes):
            continue
        facts = facts or Facts(prepared.function)
        test = _Test(facts, lineages, reverse)
        for op in prepared.order:
            place: list[Value] | None = None
            if op.name == "index" and lineages.of(op.operands[0]) is lineage:
                value, place = op.result, op.operands[1:]
            elif op.name == "update" and op in writes and _fits(op) and _is_sure(prepared, op):
                value, place = op.operands[1], op.operands[2:]
            if place is None or value in found:
                continue
            if all(test.never_meets(op, place, write) for write in writes):
                found[value] = FinalRead(lineage, op.attrs["spec"], tuple(place))
    return found


def _fits(op: Op) -> bool:
    """Whether what is written has the shape of the region, and so can be read back from it."""
    written = op.operands[1]
    return written.op is not None and written.rank == sum(letter != "i" for letter in op.attrs["spec"])


def _is_sure(prepared: Prepared, op: Op) -> bool:
    """Whether what is written is written whenever it is computed: not under a condition, or in a loop, further in."""
    return prepared.home.get(op.operands[1]) is prepared.home[op.result]


class _Test:
    def __init__(self, facts: Facts, lineages: Lineages, reverse: Reverse) -> None:
        self.facts = facts
        self.lineages = lineages
        self.prepared = lineages.prepared
        self.reverse = reverse

    def loops(self, op: Op) -> list[Op]:
        """The loops around an operation, outermost first."""
        region = self.home(op)
        owners = [self.prepared.sites[r].owner for r in self.prepared.path(region)]
        return list(dict.fromkeys(o for o in owners if o is not None and o.name in ("for", "while")))

    def home(self, op: Op) -> Region:
        return self.prepared.home[op.result]

    def never_meets(self, read: Op, place: Sequence[Value], write: Op) -> bool:
        """Whether no execution of `write` after one of `read` touches the place read then."""
        around_read, around_write = self.loops(read), self.loops(write)
        common = [a for a, b in zip(around_read, around_write, strict=False) if a is b]
        mine = self.region_of(read.attrs["spec"], place, {})
        for depth in range(len(common) + 1):
            self.facts.push()
            try:
                mapping: dict[Value, Linear] = {}
                if depth < len(common):
                    if not self.later_iteration(common[depth], mapping):
                        return False
                    inner = around_write[depth + 1 :]
                elif write is read or self.prepared.order[write] <= self.prepared.order[read]:
                    continue
                else:
                    inner = around_write[len(common) :]
                varying = common[depth] if depth < len(common) else None
                for loop in inner:
                    self.any_iteration(loop, mapping, varying)
                fresh = _Fresh(self, mapping, varying or (inner[0] if inner else None))
                theirs = self.region_of(write.attrs["spec"], write.operands[2:], mapping, fresh)
                if not self.separate(mine, theirs):
                    return False
            finally:
                self.facts.pop()
        return True

    # ------------------------------------------------------------ iterations

    def later_iteration(self, loop: Op, mapping: dict[Value, Linear]) -> bool:
        """Map a loop's variables to a later iteration; False where nothing is known of them."""
        beyond = self.new("t")
        self.facts.assume_nonneg(beyond)  # how many iterations further, less one
        if loop.name == "for":
            i = loop.regions[0].args[0]
            here = self.facts.linear(i)
            lo, hi = self.facts.linear(loop.operands[0]), self.facts.linear(loop.operands[1])
            step = -1 if loop.attrs.get("reverse") else 1
            there = here + (beyond + 1).times(step)
            mapping[i] = there
            self.facts.assume_nonneg(hi - there - 1)
            self.facts.assume_nonneg(there - lo)
        for arg in loop.regions[0].args:
            induction = self.reverse.inductions.get(arg)
            if induction is not None:
                step_form = self.facts.linear(induction.step)
                if not step_form.terms:
                    mapping[arg] = self.facts.linear(arg) + (beyond + 1).times(step_form.const)
        return True

    def any_iteration(self, loop: Op, mapping: dict[Value, Linear], varying: Op | None) -> None:
        """Map the variable of a loop further inside to an arbitrary iteration."""
        if loop.name != "for":
            return
        fresh = _Fresh(self, mapping, varying)
        there = self.new("i")
        mapping[loop.regions[0].args[0]] = there
        self.facts.assume_nonneg(there - fresh.form(loop.operands[0]))
        self.facts.assume_nonneg(fresh.form(loop.operands[1]) - there - 1)

    def new(self, name: str) -> Linear:
        atom = Value(Scalar(I64), name)
        self.facts.order[atom] = len(self.facts.order)
        return Linear(0, {atom: 1})

    # ------------------------------------------------------------ places

    def region_of(
        self, spec: str, positions: Sequence[Value], mapping: dict[Value, Linear], fresh: _Fresh | None = None
    ) -> list[tuple[Linear, Linear] | None]:
        """Per axis the first and last position, None where they are not known to be linear."""
        form = fresh.form if fresh is not None else self.facts.linear
        out: list[tuple[Linear, Linear] | None] = []
        for letter, part in zip(spec, split_spec(spec, positions), strict=True):
            if letter == "i":
                out.append((form(part[0]), form(part[0])))
            elif letter == ":":
                out.append(None)
            else:
                start, length, step = (form(p) for p in part)
                if step.terms or step.const == 0:
                    out.append(None)
                    continue
                end = start + (length - 1).times(step.const)
                out.append((start, end) if step.const > 0 else (end, start))
        return out

    def separate(self, a: list[tuple[Linear, Linear] | None], b: list[tuple[Linear, Linear] | None]) -> bool:
        """Whether some axis keeps two regions apart."""
        return any(
            x is not None
            and y is not None
            and (self.facts.nonneg(y[0] - x[1] - 1) or self.facts.nonneg(x[0] - y[1] - 1))
            for x, y in zip(a, b, strict=True)
        )


class _Fresh:
    """Linear forms of positions at another iteration: mapped variables replaced, all else that the loops compute
    anew replaced by atoms of which nothing is known."""

    def __init__(self, test: _Test, mapping: dict[Value, Linear], varying: Op | None) -> None:
        self.test = test
        self.mapping = mapping
        self.varying = varying

    def form(self, value: Value) -> Linear:
        out = self.test.facts.linear(value)
        for atom in list(out.terms):
            target = atom if isinstance(atom, Value) else atom[1] if isinstance(atom, tuple) else None
            if isinstance(atom, Value) and atom in self.mapping:
                out = out.replace(atom, self.mapping[atom])
            elif isinstance(target, Value) and self.is_computed_anew(target):
                out = out.replace(atom, self.test.new("unknown"))
        return out

    def is_computed_anew(self, value: Value) -> bool:
        """Whether a value is computed inside the loop that has gone on (or inside loops of the write alone)."""
        if self.varying is None:
            return False
        prepared = self.test.prepared
        home = prepared.home.get(value)
        if home is None:
            return True
        owners = [prepared.sites[r].owner for r in prepared.path(home)]
        return self.varying in owners
