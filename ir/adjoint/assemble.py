"""Put the forward and the reverse sweep together: the adjoint program.

In: a `Plan` and its reverse sweep with placeholders. Out: operations of one function: the primal, which now also
keeps what was decided to be saved, then the reverse sweep with each placeholder replaced by where the value comes from.

Saved inside loops: a tape, made before everything, pushed where the value is defined and popped at the start of the
mirrored region. Saved under `if`s alone: an additional result of these. Undone writes: the overwritten elements are
read before the write and written back at its mirror image.

    %q = tape.push %p, %v                                  (forward, where %v is defined)
    %q0, %v = tape.pop %q                                  (reverse, same iteration)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core import Builder, Const, Op, Region, Value, builder, const, walk
from ..types import Array, Scalar, Tape
from .lineage import Versions
from .reverse import Induction
from .save import REWRITTEN, Plan, mirrored_pairs

__all__ = ["Kept", "assemble"]


@dataclass(eq=False)
class Kept:
    """One value that the forward sweep keeps: `value`, defined (or for undo read) in `region`."""

    value: Value
    region: Region
    primal: Op | None = None
    """The write it undoes, None for a saved value."""
    tape: Value | None = None
    """The tape after the forward sweep; None where no loop is around."""
    exported: Value | None = None
    """The value as seen at the top level, where no loop is around."""


def assemble(plan: Plan, cotangents: list[Value]) -> tuple[list[Op], list[Value]]:
    """Finish the sweep: changes the plan's primal in place; returns the reverse operations and the cotangents."""
    kept = _Forward(plan).run()
    return _Backward(plan, kept).run(cotangents)


# ---------------------------------------------------------------- forward: keep


class _Forward:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.prepared = plan.prepared
        self.top = plan.prepared.function.body
        marks = [op.attrs.get("stack", 0) for op in walk(self.top) if op.name == "tape.new"]
        self.mark = max(marks, default=0) + 1
        """That regions of the sweep mirror those of the primal: `passes.stacks` makes one stack of several tapes."""

    def run(self) -> list[Kept]:
        out: list[Kept] = []
        for value in self.plan.saved_in_order():
            out.append(Kept(value, self.prepared.home[value]))
        for op in sorted(self.plan.undone_writes, key=lambda op: self.prepared.order[op]):
            out.append(Kept(self.read_overwritten(op), self.prepared.home[op.result], op))
        for item in out:
            if self.prepared.loops(item.region):
                self.keep_on_tape(item)
            else:
                self.export(item)
        return out

    def read_overwritten(self, op: Op) -> Value:
        """The elements that a write is about to overwrite, read just before it."""
        array, _written, *positions = op.operands
        scratch = Region()
        with Builder(scratch, op.span) as b:
            if op.name.startswith("scatter"):
                old = b.emit1("gather", [array, *positions], {"axes": op.attrs["axes"]}, names=["old"])
            else:
                old = b.emit1("index", [array, *positions], dict(op.attrs), names=["old"])
        region = self.prepared.home[op.result]
        at = region.ops.index(op)
        region.ops[at:at] = scratch.ops
        return old

    def place(self, item: Kept) -> tuple[Region, int]:
        """Where a kept value is pushed: right after its definition; in the body, for a value of a loop condition."""
        region, op = item.region, item.value.op
        owner = self.prepared.sites[region].owner
        if owner is not None and owner.name == "while" and region is owner.regions[0]:
            return owner.regions[1], 0
        return region, 0 if op is None else region.ops.index(op) + 1

    def keep_on_tape(self, item: Kept) -> None:
        value = item.value
        assert isinstance(value.type, Scalar | Array)
        region, at = self.place(item)
        start = Op("tape.new", [], [Tape(value.type)], {"element": value.type, "stack": self.mark})
        type_, name = start.result.type, f"{value.name or 'v'}_tape"
        start.result.name = name
        # walk outwards: in each region, `entry` is the tape as it comes in, `end` as it goes out
        entry = Value(type_, name)
        defining = item.primal or value.op
        span = defining.span if defining is not None else None
        push = Op("tape.push", [entry, value], [type_], {}, (), span, [name])
        region.ops.insert(at, push)
        end = push.result
        while (site := self.prepared.sites[region]).owner is not None:
            owner = site.owner
            assert owner is not None and site.parent is not None
            parent = site.parent
            if owner.name == "while" and region is owner.regions[1]:
                parent_site = self.prepared.sites[parent]
                assert parent_site.parent is not None
                parent = parent_site.parent
            outer = Value(type_, name)
            if owner.name == "if":
                replace_uses(region, entry, outer)
                for branch in owner.regions:
                    branch.terminator.operands.append(end if branch is region else outer)
            else:
                owner.regions[0].args.append(entry)
                owner.operands.append(outer)
                owner.regions[-1].terminator.operands.append(end)
            end = Value(type_, name, owner)
            owner.results.append(end)
            entry, region = outer, parent
        replace_uses(self.top, entry, start.result)
        self.top.ops.insert(0, start)
        item.tape = end

    def export(self, item: Kept) -> None:
        """Carry a value out of the `if`s around it."""
        value, region = item.value, item.region
        while (site := self.prepared.sites[region]).owner is not None:
            owner = site.owner
            assert owner is not None and site.parent is not None
            for branch in owner.regions:
                if branch is region:
                    branch.terminator.operands.append(value)
                else:
                    branch.terminator.operands.append(dummy(value, branch))
            result = Value(value.type, value.name, owner)
            owner.results.append(result)
            value, region = result, site.parent
        item.exported = value


def open_type(type_: object) -> Array:
    assert isinstance(type_, Array)
    return Array(type_.dtype, (None,) * type_.rank)


def dummy(value: Value, branch: Region) -> Value:
    """A stand-in for a value in the branch that does not compute it: never read, but of the value's type, which what
    reads the value relies on; so it has the extents that belong to the type, and otherwise none."""
    if not isinstance(value.type, Array):
        return Const(0, value.dtype)
    scratch = Region()
    with Builder(scratch) as b:
        out = b.emit1("empty", [const(d or 0) for d in value.type.dims], {"dtype": value.dtype})
    branch.ops[-1:-1] = scratch.ops
    return out


def replace_uses(region: Region, old: Value, new: Value) -> None:
    """Let the operations that take tape `old` take `new`: the push itself or an operation that carries it inwards."""
    for op in walk(region):
        op.operands[:] = [new if v is old else v for v in op.operands]


# ---------------------------------------------------------------- reverse: fetch


@dataclass
class _Scope:
    """What is known in a region of the reverse sweep, over what its surroundings know."""

    parent: _Scope | None = None
    values: dict[Value, Value] = field(default_factory=dict)

    def get(self, value: Value) -> Value | None:
        scope: _Scope | None = self
        while scope is not None:
            if value in scope.values:
                return scope.values[value]
            scope = scope.parent
        return None


class _Backward:
    def __init__(self, plan: Plan, kept: list[Kept]) -> None:
        self.plan = plan
        self.prepared = plan.prepared
        self.kept = kept
        self.by_write = {item.primal: item for item in kept if item.primal is not None}
        self.versions = Versions(plan.lineages)
        self.state: dict[Value, Value] = {}
        self.tapes: dict[Kept, Value] = {item: item.tape for item in kept if item.tape is not None}
        self.env: dict[Value, Value] = {}
        self.inside: dict[Op, list[Kept]] = {}
        for item in self.tapes:
            for region in self.prepared.path(item.region):
                owner = self.prepared.sites[region].owner
                if owner is not None and item not in self.inside.setdefault(owner, []):
                    self.inside[owner].append(item)

    def run(self, cotangents: list[Value]) -> tuple[list[Op], list[Value]]:
        target = Region()
        body = self.prepared.function.body
        scope = _Scope()
        for item in self.kept:
            if item.exported is not None and item.primal is None:
                scope.values[item.value] = item.exported
        self.versions.enter([body], None)
        with Builder(target):
            self.begin_states(body, scope)
            self.region(self.plan.reverse.region, scope)
        return target.ops, [self.env.get(v, v) for v in cotangents]

    def begin_states(self, home: Region, scope: _Scope) -> None:
        """Lineages that begin in a region start, in its mirror, from their last version there."""
        for lineage in self.plan.undone_in_order():
            if self.plan.lineages.home(lineage) is home:
                final = self.plan.lineages.final(lineage)
                found = scope.get(final)
                assert found is not None or home is self.prepared.function.body, f"{final} was not saved"
                self.state[lineage] = final if found is None else found

    # ------------------------------------------------------------ regions

    def region(self, mirror: Region, scope: _Scope) -> None:
        for op in mirror.ops:
            with builder().at(op.span):
                if op.name == "residual":
                    self.env[op.result] = self.fetch(op.attrs["of"], scope)
                elif op.name == "undo":
                    self.undo(op, scope)
                elif op.regions:
                    self.control(op, scope)
                else:
                    self.copy(op)

    def copy(self, op: Op) -> None:
        operands = [self.env.get(v, v) for v in op.operands]
        new = Op(
            op.name, operands, [v.type for v in op.results], dict(op.attrs), (), op.span, [v.name for v in op.results]
        )
        builder().region.ops.append(new)
        self.env.update(zip(op.results, new.results, strict=True))

    def control(self, op: Op, scope: _Scope) -> None:
        """A mirrored loop or `if`, with tapes and undone arrays threaded through."""
        owner: Op = op.attrs["primal"]
        items = self.inside.get(owner, [])
        lineages = [a for a in self.plan.lineages.passing(owner) if a in self.plan.undone]
        operands = [self.env.get(v, v) for v in op.operands]
        threads = [self.tapes[i] for i in items] + [self.state[a] for a in lineages]
        is_loop = op.name == "for"
        if is_loop:
            self.compute_before(op, owner, scope)
            operands += threads
        regions: list[Region] = []
        for mirror, sources in mirrored_pairs(op, owner):
            target = Region([Value(a.type, a.name) for a in mirror.args])
            self.env.update(zip(mirror.args, target.args, strict=True))
            saved_tapes, saved_state = dict(self.tapes), dict(self.state)
            if is_loop:
                for item in items:
                    self.tapes[item] = carried(target, self.tapes[item])
                for lineage in lineages:
                    open_ = not self.plan.lineages.of_one_type[lineage]
                    self.state[lineage] = carried(target, self.state[lineage], open_)
            before = self.versions.enter(sources, owner)
            with Builder(target, op.span) as b:
                inner = _Scope(scope)
                self.begin(sources, items, inner)
                self.region(mirror, inner)
                end = target.ops.pop()
                ends = [*end.operands, *(self.tapes[i] for i in items), *(self.state[a] for a in lineages)]
                b.emit("yield", ends)
            after = self.versions.current
            self.versions.current = before
            self.tapes, self.state = saved_tapes, saved_state
            regions.append(target)
        self.versions.current = after
        self.versions.leave(before, owner)
        names = [v.name for v in op.results] + [t.name for t in threads]
        attrs = {k: v for k, v in op.attrs.items() if k != "primal"}
        results = builder().emit(op.name, operands, attrs, regions, names=names)
        count = len(op.results)
        self.env.update(zip(op.results, results[:count], strict=True))
        for item, value in zip(items, results[count:], strict=False):
            self.tapes[item] = value
        for lineage, value in zip(lineages, results[count + len(items) :], strict=True):
            self.state[lineage] = value

    def begin(self, sources: list[Region], items: list[Kept], scope: _Scope) -> None:
        """At the start of a mirrored region: take its saved values off their tapes, and set up its lineages."""
        here = [item for item in items if item.region in sources and item.primal is None]
        for item in sorted(here, key=lambda i: i.value.is_array):  # numbers first: they may be the arrays' extents
            scope.values[item.value] = self.pop(item, scope)
        for source in sources:
            self.begin_states(source, scope)

    def compute_before(self, op: Op, owner: Op, scope: _Scope) -> None:
        """Arrays that are computed again part by part, and needed in the turns of a loop: once, before it."""
        inside = set(owner.regions)
        for inner in (inner for region in owner.regions for inner in walk(region)):
            inside.update(inner.regions)
        pending = [inner.attrs["of"] for region in op.regions for inner in walk(region) if inner.name == "residual"]
        seen = set(pending)
        while pending:
            value = pending.pop()
            if isinstance(value, Const) or value in self.plan.saved or self.plan.exists(value, {}):
                continue
            if value.op is not None and value.op.name in REWRITTEN and self.prepared.home[value] not in inside:
                if scope.get(value) is None:
                    self.fetch(value, scope)
                continue
            new = [v for v in self.plan.sources(value) or () if v not in seen]
            seen.update(new)
            pending += new

    def pop(self, item: Kept, scope: _Scope) -> Value:
        value = item.value
        shape_of = value if item.primal is None else item.primal.result
        extents: list[Value] = []
        if value.is_array:
            extents = self.kept_extents(item, shape_of, scope)
        rest, out = builder().emit("tape.pop", [self.tapes[item], *extents], names=[self.tapes[item].name, value.name])
        self.tapes[item] = rest
        return out

    def kept_extents(self, item: Kept, shape_of: Value, scope: _Scope) -> list[Value]:
        shape = self.prepared.shapes[shape_of]
        if item.primal is None:
            return [e if isinstance(e, Const) else self.fetch(e, scope) for e in shape]
        op = item.primal
        positions = op.operands[2:]
        if op.name.startswith("scatter"):
            axes = op.attrs["axes"]
            chosen = self.prepared.shapes.get(positions[0], [])
            extents = [*shape[: axes[0]], *chosen, *shape[axes[-1] + 1 :]]
            return [self.fetch(e, scope) for e in extents]
        out: list[Value] = []
        at = 0
        for axis, letter in enumerate(op.attrs["spec"]):
            if letter == ":":
                out.append(self.fetch(shape[axis], scope))
            elif letter == "s":
                out.append(self.fetch(positions[at + 1], scope))
            at += {"i": 1, "s": 3, ":": 0}[letter]
        return out

    def undo(self, op: Op, scope: _Scope) -> None:
        primal: Op = op.attrs["primal"]
        self.versions.undo(primal)
        item = self.by_write.get(primal)
        if item is None:
            return
        lineage = self.plan.lineages.of(primal.result)
        old = self.pop(item, scope) if item.tape is not None else item.exported
        assert old is not None
        positions = [self.env.get(p, p) for p in op.operands]
        name = "scatter" if primal.name.startswith("scatter") else "update"
        operands = [self.state[lineage], old, *positions]
        self.state[lineage] = builder().emit1(name, operands, dict(primal.attrs), names=[self.state[lineage].name])

    # ------------------------------------------------------------ values

    def fetch(self, value: Value, scope: _Scope) -> Value:
        """A primal value at this point of the reverse sweep."""
        if isinstance(value, Const):
            return value
        if value in self.plan.reverse.direct:
            return self.env[self.plan.reverse.direct[value]]
        known = scope.get(value)
        if known is not None:
            return known
        lane = self.plan.extent_of_lane(value)
        if lane is not None:
            return builder().emit1("dim", [self.env[lane[0]]], {"axis": lane[1]})
        current = self.versions.current
        if value.is_array:
            lineage = self.plan.lineages.of(value)
            if lineage in self.plan.undone and current.get(lineage) is value:
                return self.state[lineage]
        if self.prepared.home[value] is self.prepared.function.body:
            return value
        final = self.plan.read_at_the_end(value)
        if final is not None:
            array = self.plan.lineages.final(final.lineage)
            positions = [self.fetch(p, scope) for p in final.positions]
            new = builder().emit1("index", [array, *positions], {"spec": final.spec}, names=[value.name])
            scope.values[value] = new
            return new
        induction = self.plan.reverse.inductions.get(value)
        if induction is not None:
            new = self.nth(induction, scope)
            scope.values[value] = new
            return new
        op = value.op
        assert op is not None and (op.name == "dim" or self.plan.can_recompute(value)), (
            f"{value} is neither saved nor recomputable"
        )
        operands = [self.fetch(v, scope) for v in op.operands]
        new = again(op, operands)
        scope.values[value] = new
        return new

    def nth(self, induction: Induction, scope: _Scope) -> Value:
        """A carried integer, from the number of the iteration."""
        loop = induction.loop
        number = self.env[self.plan.reverse.direct[induction.counter]]
        if loop.name == "for":
            number = number - self.fetch(loop.operands[0], scope)
        return self.fetch(induction.init, scope) + number * self.fetch(induction.step, scope)


def again(op: Op, operands: list[Value]) -> Value:
    """An operation computed again. What was checked in the forward sweep is not checked once more."""
    if op.name == "same_extent":
        return operands[0]
    if op.name == "bound":
        i, n = operands
        return builder().emit1("select", [i < 0, i + n, i], names=[op.result.name])
    return builder().emit1(op.name, operands, dict(op.attrs), names=[op.result.name], span=op.span)


def carried(region: Region, outside: Value, open_: bool = False) -> Value:
    """A new block argument for a value carried into a loop."""
    t = open_type(outside.type) if open_ else outside.type
    arg = Value(t, outside.name)
    region.args.append(arg)
    return arg
