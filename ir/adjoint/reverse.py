"""The reverse sweep of a prepared primal, as IR in which primal values are only *asked for*.

In: a `Prepared` primal, its active values, the cotangents of its results. Out: a region that mirrors the primal's
control flow backwards and computes the cotangents of the arguments. Wherever a rule mentions a primal value, the
region has a placeholder `residual {of=value}`; `save` decides where each comes from and `assemble` puts it there.

For each primal operation, last to first: its results' cotangents, through its declared rule, are added to its
operands'. A `for` becomes a `for` in the opposite direction whose carried values are the cotangents of the primal's
carried values, and of the outer values its body uses; a `while` becomes a `for` over its trip count; an `if` an `if`
on the same condition. Where the primal overwrites part of an array, the mirror has a marker `undo`, where the older
contents can be put back. The scheme is that of Futhark's reverse mode (Schenck et al., SC'22) with undo added.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import Builder, Const, Function, Op, Region, Value, builder, const
from ..errors import UnsupportedError
from ..ops import Into, call_rule, lookup
from ..ops.declare import OpDef, declare
from ..types import I64, Scalar, Tape
from .activity import is_differentiable_type, loop_parts
from .cotangents import FALSE, TRUE, Cotangent, Cotangents, both_masks, masked, merge_masks
from .overwritten import overwritten
from .partly_read import partly_read
from .prepare import Prepared
from .scaled_sums import total, total_sums
from .tangent_masks import mask_type
from .tape_masks import has_masks, mask_tape, no_masks, spread

__all__ = ["OVERWRITES", "Reverse"]

OVERWRITES = ("update", "accumulate", "scatter", "scatter_add")

declare(OpDef("residual", lambda operands, attrs, regions: [attrs["of"].type], category="internal"))
declare(OpDef("undo", lambda operands, attrs, regions: [], category="internal", effect="check"))


class _MirrorBuilder(Builder):
    """Asks for the extents of a primal array rather than for the array."""

    def __init__(self, region: Region, reverse: Reverse) -> None:
        super().__init__(region)
        self.reverse = reverse

    def emit(
        self, name: str, operands: Iterable[Value] = (), attrs: dict[str, Any] | None = None, *rest: Any, **kw: Any
    ) -> list[Value]:
        operands = list(operands)
        if name == "dim" and attrs is not None and operands[0].op is not None and operands[0].op.name == "residual":
            primal = operands[0].op.attrs["of"]
            return [self.reverse.residual(self.reverse.prepared.shapes[primal][attrs["axis"]])]
        return super().emit(name, operands, attrs, *rest, **kw)


@dataclass(frozen=True)
class Induction:
    """A carried integer that each iteration increases by the same `step`: it is never kept, but computed from the
    number of the iteration."""

    init: Value
    step: Value
    loop: Op
    counter: Value
    """The loop's own variable (of a `while`, its counter)."""

    @property
    def operands(self) -> list[Value]:
        """The primal values it is computed from."""
        first = [self.loop.operands[0]] if self.loop.name == "for" else []
        return [self.init, self.step, *first]


class Reverse:
    """Builds the reverse sweep of one function; `region` is the result, in order of execution."""

    def __init__(self, prepared: Prepared, active: set[Value]) -> None:
        self.prepared = prepared
        self.active = active
        self.region = Region()
        self.mirror: dict[Region, Region] = {prepared.function.body: self.region}
        self.reversed_ops: set[Op] = set()
        self.direct: dict[Value, Value] = {}
        self.inductions: dict[Value, Induction] = {}
        self.masks_on_tapes = has_masks(prepared)
        self.overwritten = overwritten(prepared.function, active)
        self.partly_read = partly_read(prepared.function, active) | self.overwritten
        self.sums = total_sums(prepared.function)
        self.lane_extents: dict[Value, tuple[Region, Value, int]] = {}
        """Extents that change from iteration to iteration: read off the cotangent that arrives there."""

    # ------------------------------------------------------------ primal values

    def residual(self, primal: Value) -> Value:
        """A stand-in for a primal value."""
        if isinstance(primal, Const):
            return primal
        if primal in self.direct:
            return self.direct[primal]
        return builder().emit1("residual", [], {"of": primal}, names=[primal.name], result_types=[primal.type])

    def zeros(self, primal: Value) -> Value:
        """A zero of the type of a primal value; of a tape (whose entries have all been popped), an empty tape."""
        if isinstance(primal.type, Tape):
            return builder().emit1("tape.new", [], {"element": primal.type.element}, names=[adjoint_name(primal)])
        zero = Const(0, primal.dtype)
        if not primal.is_array:
            return zero
        extents = [self.residual(e) for e in self.prepared.shapes[primal]]
        return builder().emit1("fill", [zero, *extents], names=[adjoint_name(primal)])

    def known_total(self, cotangent: Value) -> Value | None:
        """The sum of a cotangent, where it follows from a sum that the primal has computed."""
        return total(cotangent, self.sums, self.residual) if self.sums else None

    # ------------------------------------------------------------ regions

    def run(
        self,
        seeds: Sequence[tuple[Value, Cotangent]],
        inputs: Sequence[Value],
        begins: Mapping[Value, Cotangent],
    ) -> list[Cotangent]:
        """Emit the whole sweep; the cotangents of `inputs` (zeros where nothing arrives), added to `begins`."""
        with _MirrorBuilder(self.region, self):
            scope = Cotangents(total=self.known_total)
            for primal, begin in begins.items():
                scope.set(primal, begin)
            for result, seed in seeds:
                if result in self.active:
                    scope.add(result, seed)
            self.walk(self.prepared.function.body, scope)
            out = []
            for v in inputs:
                found = scope.get(v)
                out.append(Cotangent(self.value_or_zero(scope, v), FALSE if found is None else found.mask))
            return out

    def value_or_zero(self, scope: Cotangents, primal: Value) -> Value:
        cotangent = scope.get(primal)
        value = self.zeros(primal) if cotangent is None else cotangent.value
        if value.name is None:
            value.name = adjoint_name(primal)
        return value

    def walk(self, region: Region, scope: Cotangents) -> None:
        """Reverse the operations of a region."""
        for op in reversed(region.ops):
            with builder().at(op.span):
                if op.name == "if":
                    self.branch(op, scope)
                elif op.name in ("for", "while"):
                    self.loop(op, scope)
                else:
                    self.simple(op, scope)

    # ------------------------------------------------------------ plain operations

    def simple(self, op: Op, scope: Cotangents) -> None:
        if op.name in OVERWRITES:
            builder().emit("undo", [self.residual(p) for p in op.operands[2:]], {"primal": op})
        cotangents = [scope.get(r) for r in op.results]
        if all(c is None for c in cotangents):
            return
        rule = lookup(op.name)
        wanted = [k for k, v in enumerate(op.operands) if v in self.active]
        if not wanted:
            return
        if op.name in ("tape.push", "tape.pop") and self.carries_masks(op.operands[0]):
            if cotangents[0] is None or mask_tape(cotangents[0]) is not None:
                self.through_tape(op, cotangents, scope)
                return
        if "recompute" in op.attrs:
            self.recompute(op, [k for k in wanted if k < op.attrs["args"]], cotangents, scope)
        elif rule.partials is not None:
            (cotangent,) = cotangents
            assert cotangent is not None
            self.elementwise(op, rule, wanted, cotangent, scope)
        elif rule.transpose is not None or rule.vjp is not None:
            self.general(op, rule, wanted, cotangents, scope)
        else:  # activity passes through rules only
            raise UnsupportedError(f"`{op.name}` has no derivative", op.span)

    def carries_masks(self, primal: Value) -> bool:
        """Whether a tape's cotangents go with their masks."""
        return isinstance(primal.type, Tape) and self.masks_on_tapes and is_differentiable_type(primal)

    def through_tape(self, op: Op, dys: Sequence[Cotangent | None], scope: Cotangents) -> None:
        """A push or a pop, of the cotangent and of its mask."""
        tape, kept = op.operands[0], dys[0]
        if op.name == "tape.push":
            assert kept is not None
            value = op.operands[1]
            extents = [self.residual(e) for e in self.prepared.shapes[value]] if value.is_array else []
            rest, found = builder().emit("tape.pop", [kept.value, *extents])
            on_tape = mask_tape(kept)
            assert on_tape is not None
            masks, mask = builder().emit("tape.pop", [on_tape, *extents])
            if value in self.active:
                self.contribute(scope, value, Cotangent(found, mask))
        else:
            value, dy = op.results[1], dys[1]
            extents = [self.residual(e) for e in self.prepared.shapes[value]] if value.is_array else []
            before = self.zeros(tape) if kept is None else kept.value
            entry = self.zeros(value) if dy is None else dy.value
            rest = builder().emit1("tape.push", [before, entry])
            masks = builder().emit1("tape.push", [mask_tape(kept) or no_masks(tape), spread(dy, extents)])
        scope.set(tape, Cotangent(rest, masks))

    def elementwise(self, op: Op, rule: OpDef, wanted: list[int], dy: Cotangent, scope: Cotangents) -> None:
        assert rule.partials is not None
        operands: list[Value] = []
        for v in op.operands:  # rules see which operands are the same
            before = next((x for x, y in zip(operands, op.operands, strict=False) if y is v), None)
            operands.append(self.residual(v) if before is None else before)
        available = {"y": lambda: self.residual(op.result)}
        partials = call_rule(rule.partials, operands, op.attrs, **available)
        masks: Sequence[Any] = [None] * len(operands)
        if rule.masks is not None:
            masks = call_rule(rule.masks, operands, op.attrs, **available)
        for k in wanted:
            partial = partials[k]() if callable(partials[k]) else partials[k]
            if partial is None or (not isinstance(partial, Value) and partial == 0):
                continue
            contribution = masked(dy, times(dy.value, partial))
            own = masks[k]() if callable(masks[k]) else masks[k]
            if own is not None:
                value = contribution.value
                chosen = builder().emit1("select", [own, value, Const(0, value.dtype)])
                contribution = Cotangent(chosen, both_masks(own, dy.mask))
            self.contribute(scope, op.operands[k], contribution)

    def contribute(self, scope: Cotangents, primal: Value, contribution: Cotangent) -> None:
        """Add to a primal value's cotangent, in the primal's dtype."""
        value = contribution.value
        if isinstance(primal.type, Tape):
            scope.set(primal, contribution)
            return
        if value.dtype is not primal.dtype:
            value = builder().emit1("cast", [value], {"dtype": primal.dtype})
        if primal.is_array and not value.is_array:  # every element gets the same
            value = builder().emit1("fill", [value, *(self.residual(e) for e in self.prepared.shapes[primal])])
        if value.name is None and not isinstance(value, Const):
            value.name = adjoint_name(primal)
        scope.add(primal, Cotangent(value, contribution.mask))

    def general(
        self, op: Op, rule: OpDef, wanted: list[int], dys: Sequence[Cotangent | None], scope: Cotangents
    ) -> None:
        operands = [self.residual(v) for v in op.operands]
        values = [self.zeros(r) if c is None else c.value for r, c in zip(op.results, dys, strict=True)]
        mask = dys[0].mask if len(dys) == 1 and dys[0] is not None else mask_of_all(dys)
        dy: Any = values[0] if len(values) == 1 else values
        y = (lambda: self.residual(op.results[0])) if len(op.results) == 1 else None
        function = rule.transpose or rule.vjp
        assert function is not None
        contributions = call_rule(
            function, operands, op.attrs, dy=dy, y=y, ys=lambda: [self.residual(r) for r in op.results]
        )
        chosen = call_rule(rule.masks, operands, op.attrs, y=y) if rule.masks else [None] * len(operands)
        if op.name in OVERWRITES and wanted[0] == 0:
            wanted = [*wanted[1:], 0]  # what was written is read off the cotangent before its region is cleared
        for k in wanted:
            contribution = contributions[k]
            if callable(contribution) and not isinstance(contribution, Into):
                contribution = contribution()
            primal = op.operands[k]
            if contribution is None:
                continue
            if op.name in OVERWRITES and k == 0:
                self.contribute(scope, primal, Cotangent(contribution, self.kept_mask(op, operands, mask)))
            elif isinstance(contribution, Into):
                before = scope.get(primal)
                base = self.zeros(primal) if before is None else before.value
                added = contribution.add(base)
                added.name = added.name or adjoint_name(primal)
                scope.set(primal, Cotangent(added, self.read_mask(op, operands, before, mask)))
            elif mask is not None and not mask.is_array:
                zero = Const(0, contribution.dtype)
                kept = builder().emit1("select", [mask, contribution, zero])
                self.contribute(scope, primal, Cotangent(kept, both_masks(chosen[k], mask)))
            else:
                own = self.moved_mask(op, operands, mask, k) if chosen[k] is None else chosen[k]
                self.contribute(scope, primal, Cotangent(contribution, own))

    def recompute(self, op: Op, wanted: list[int], dys: Sequence[Cotangent | None], scope: Cotangents) -> None:
        """The forward and the reverse sweep of a function, here; it adds to what was collected so far, in place."""
        from .vjp import Collected, vjp

        function: Function = op.attrs["recompute"]
        floats = [k for k, v in enumerate(function.args) if is_differentiable_type(v)]
        of_results = iter(dys)
        seeded = [next(of_results) if is_differentiable_type(v) else None for v in function.results]
        given = [self.residual(v) for v in op.operands[op.attrs["args"] + op.attrs["outs"] :]]
        before: list[Cotangent | None] = []
        for n, k in enumerate(wanted):  # what was collected goes to the first of the arguments that are one value
            first = all(op.operands[j] is not op.operands[k] for j in wanted[:n])
            before.append(scope.get(op.operands[k]) if first else None)
        collected = Collected(
            [None if c is None or c.mask is None else c.mask.type for c in seeded],
            [c is not None for c in before],
            [None if c is None or c.mask is None else c.mask.type for c in before],
        )
        seeds = [None if c is None else "argument" for c in seeded]
        adjoint = vjp(function, [floats[k] for k in wanted], seeds, [], collected)
        cotangents = [c for c in (*seeded, *before) if c is not None]
        masks = [c.mask for c in cotangents if c.mask is not None]
        names = [adjoint_name(op.operands[k]) for k in wanted] + [None] * len(adjoint.masked)
        operands = [*given, *(c.value for c in cotangents), *masks]
        found = builder().emit("call", operands, {"function": adjoint.function}, names=names)
        masked = dict(zip(adjoint.masked, found[len(wanted) :], strict=True))
        for n, (k, value) in enumerate(zip(wanted, found, strict=False)):
            if before[n] is not None or scope.get(op.operands[k]) is None:
                scope.set(op.operands[k], Cotangent(value, masked.get(n)))
            else:
                self.contribute(scope, op.operands[k], Cotangent(value, masked.get(n)))

    def moved_mask(self, op: Op, operands: list[Value], mask: Value | None, k: int) -> Value | None:
        """The mask of a contribution through an operation that only moves or adds elements."""
        rule = lookup(op.name)
        if mask is None or not mask.is_array or rule.transpose is None:
            return None
        if op.name in ("transpose", "reshape", "reduce_sum", "concat"):  # elements move
            moved = call_rule(rule.transpose, operands, op.attrs, dy=mask)[k]
            found: Value = moved() if callable(moved) else moved
            return found
        if op.name in ("scatter", "scatter_add") and k == 1 and operands[1].is_array:
            found = call_rule(rule.transpose, operands, op.attrs, dy=mask)[k]()
            return found
        if op.name in ("update", "accumulate") and op.result in self.overwritten:
            part = builder().emit1("index", [mask, *operands[2:]], op.attrs)
            if operands[1].is_array or not part.is_array:
                return part
            return builder().emit1("reduce_any", [part], {"axes": tuple(range(part.rank))})
        if op.name in ("fill", "broadcast"):  # elements are added: how many of them count?
            count = builder().emit1("cast", [mask], {"dtype": I64})
            total: Value = call_rule(rule.transpose, operands, op.attrs, dy=count)[k]
            return total > 0
        return None

    def kept_mask(self, op: Op, operands: list[Value], mask: Value | None) -> Value | None:
        """The mask of what positions of an array that is written to held before: nothing depends on that."""
        if op.name in ("update", "accumulate") and op.result in self.overwritten:
            whole = (
                self.everywhere(op.result, TRUE if mask is None else mask)
                if mask is None or not mask.is_array
                else mask
            )
            if op.name == "accumulate":
                return whole
            return builder().emit1("update", [whole, FALSE, *operands[2:]], op.attrs)
        if mask is not None and not mask.is_array:
            return None
        if op.name == "scatter_add":
            return mask
        if op.name != "scatter":
            return None
        before = self.everywhere(op.operands[0], TRUE) if mask is None else mask
        return builder().emit1("scatter", [before, FALSE, *operands[2:]], {"axes": op.attrs["axes"]})

    def read_mask(self, op: Op, operands: list[Value], before: Cotangent | None, mask: Value | None) -> Value | None:
        """The mask of an array of which some positions are read: those that are read, here or elsewhere."""
        if op.operands[0] in self.partly_read and op.name == "index":
            return self.region_read(op, operands, before, mask)
        if op.name != "gather" or (before is not None and (before.mask is None or not before.mask.is_array)):
            return None
        others = self.everywhere(op.operands[0], FALSE) if before is None or before.mask is None else before.mask
        if mask is None:
            return builder().emit1("scatter", [others, TRUE, *operands[1:]], {"axes": op.attrs["axes"]})
        if not mask.is_array:
            return None
        counts = [builder().emit1("cast", [m], {"dtype": I64}) for m in (others, mask)]
        return builder().emit1("scatter_add", [*counts, *operands[1:]], {"axes": op.attrs["axes"]}) > 0

    def region_read(self, op: Op, operands: list[Value], before: Cotangent | None, mask: Value | None) -> Value | None:
        """The same of an `index`."""
        if before is not None and before.mask is None:
            return None
        others = FALSE if before is None or before.mask is None else before.mask
        whole = others if others.is_array else self.everywhere(op.operands[0], others)
        if mask is not None:
            mask = mask | builder().emit1("index", [whole, *operands[1:]], op.attrs)
        return builder().emit1("update", [whole, TRUE if mask is None else mask, *operands[1:]], op.attrs)

    def everywhere(self, primal: Value, truth: Value) -> Value:
        """A mask of the shape of an array."""
        return builder().emit1("fill", [truth, *(self.residual(e) for e in self.prepared.shapes[primal])])

    # ------------------------------------------------------------ if

    def branch(self, op: Op, scope: Cotangents) -> None:
        cotangents = [scope.get(r) for r in op.results]
        if all(c is None for c in cotangents):
            return
        self.reversed_ops.add(op)
        condition = self.residual(op.operands[0])
        regions = [Region(), Region()]
        scopes = [Cotangents(scope), Cotangents(scope)]
        for source, target, inner in zip(op.regions, regions, scopes, strict=True):
            self.mirror[source] = target
            with _MirrorBuilder(target, self) as b:
                b.span = op.span
                for yielded, cotangent in zip(source.terminator.operands, cotangents, strict=True):
                    if cotangent is not None and yielded in self.active:
                        self.contribute(inner, yielded, cotangent)
                self.walk(source, inner)
        outer = self.outer_values(op)
        touched = [v for v in dict.fromkeys([*scopes[0].changed(), *scopes[1].changed()]) if v in outer]
        ends: list[list[Value]] = [[], []]
        with_mask = [any((c := s.get(v)) is None or c.mask is not None for s in scopes) for v in touched]
        for target, inner, end in zip(regions, scopes, ends, strict=True):
            with _MirrorBuilder(target, self) as b:
                b.span = op.span
                for v, wants in zip(touched, with_mask, strict=True):
                    end.append(self.value_or_zero(inner, v))
                    if wants:
                        found = inner.get(v)
                        end.append(self.mask_of(found, v))
                b.emit("yield", end)
        # a mask is an array in one branch and a scalar in the other only where no mask is kept at all
        names = [n for v, wants in zip(touched, with_mask, strict=True) for n in ([adjoint_name(v)] + [None] * wants)]
        results = builder().emit("if", [condition], {"primal": op}, regions=regions, names=names)
        rest = iter(results)
        for v, wants in zip(touched, with_mask, strict=True):
            value = next(rest)
            scope.set(v, Cotangent(value, next(rest) if wants else None))

    def mask_of(self, cotangent: Cotangent | None, primal: Value) -> Value:
        """A scalar mask; an array mask is not carried out of a branch (its zeros stay mere numbers), but for those
        arrays that are read in parts."""
        if self.carries_masks(primal):
            return mask_tape(cotangent) or no_masks(primal)
        if primal in self.partly_read:
            return self.array_mask(cotangent, primal)
        if cotangent is None:
            return FALSE
        return cotangent.mask if cotangent.mask is not None and not cotangent.mask.is_array else TRUE

    def array_mask(self, cotangent: Cotangent | None, primal: Value) -> Value:
        """A mask of each element of an array's cotangent."""
        mask = FALSE if cotangent is None else TRUE if cotangent.mask is None else cotangent.mask
        return mask if mask.is_array else self.everywhere(primal, mask)

    def outer_values(self, op: Op) -> set[Value]:
        """Values defined outside an operation that its regions use, nested uses included."""
        used: set[Value] = set()
        defined: set[Value] = set()
        for region in op.regions:
            _collect(region, used, defined)
        return used - defined

    # ------------------------------------------------------------ loops

    def loop(self, op: Op, scope: Cotangents) -> None:
        inits, args, yielded = loop_parts(op)
        carried = [k for k, a in enumerate(args) if a in self.active or op.results[k] in self.active]
        given = {k: scope.get(op.results[k]) for k in carried}
        if all(c is None for c in given.values()):
            return
        self.reversed_ops.add(op)
        outer = self.outer_values(op)
        free = sorted((v for v in outer if v in self.active), key=lambda v: self.order_of(v))
        body = Region([Value(Scalar(I64), "i" if op.name == "while" else op.regions[0].args[0].name)])
        lanes = [_Lane(self, op.results[k], args[k], given[k]) for k in carried]
        lanes += [_Lane(self, v, v, scope.get(v)) for v in free]
        operands = self.loop_bounds(op)
        for lane in lanes:
            operands += lane.initial(self)
            body.args += lane.arguments()
        for region in op.regions:
            self.mirror[region] = body
        self.direct[self.induction_variable(op)] = body.args[0]
        self.find_inductions(op)
        for lane, k in zip(lanes, carried, strict=False):
            for axis, extent in enumerate(self.prepared.shapes.get(yielded[k], ())):
                if not isinstance(extent, Const) and self.prepared.home[extent] in op.regions:
                    self.lane_extents.setdefault(extent, (body, lane.value, axis))
        inner = Cotangents()
        with _MirrorBuilder(body, self) as b:
            b.span = op.span
            for lane, v in zip(lanes[len(carried) :], free, strict=True):
                inner.set(v, lane.cotangent())
            for lane, k in zip(lanes, carried, strict=False):
                if yielded[k] in self.active:
                    self.contribute(inner, yielded[k], lane.cotangent())
            for region in reversed(op.regions):
                self.walk(region, inner)
            b.emit("yield", [v for lane in lanes for v in lane.final(self, inner)])
        attrs = {"reverse": not op.attrs.get("reverse", False), "primal": op}
        names = [n for lane in lanes for n in lane.names()]
        results = iter(builder().emit("for", operands, attrs, regions=[body], names=names))
        out = [lane.result(results) for lane in lanes]
        for cotangent, v in zip(out[len(carried) :], free, strict=True):
            scope.set(v, cotangent)
        for cotangent, k in zip(out, carried, strict=False):
            if inits[k] in self.active:
                self.contribute(scope, inits[k], cotangent)

    def loop_bounds(self, op: Op) -> list[Value]:
        if op.name == "for":
            return [self.residual(op.operands[0]), self.residual(op.operands[1])]
        return [const(0), self.residual(self.prepared.trip_count[op])]

    def induction_variable(self, op: Op) -> Value:
        """The primal value that the mirrored loop's variable equals: `i`, or the counter of a `while`."""
        return op.regions[0].args[0 if op.name == "for" else -1]

    def find_inductions(self, op: Op) -> None:
        """Enter the carried integers of a loop that grow by a step that does not change."""
        defined: set[Value] = set()
        for region in op.regions:
            _collect(region, set(), defined)
        for init, arg, new in zip(*loop_parts(op), strict=False):
            source = new.op
            if arg.type != Scalar(I64) or arg in self.direct or source is None or source.name != "add":
                continue
            steps = [v for v in source.operands if v is not arg]
            if len(steps) == 1 and steps[0] not in defined:
                self.inductions[arg] = Induction(init, steps[0], op, self.induction_variable(op))

    def order_of(self, value: Value) -> tuple[int, int]:
        """Where a value stands in the program, so that nothing depends on the order of a set."""
        if value.op is not None:
            return self.prepared.order[value.op], value.op.results.index(value) + 1000
        home = self.prepared.home[value]
        owner = self.prepared.sites[home].owner
        return self.prepared.order[owner] if owner is not None else -1, home.args.index(value)


class _Lane:
    """One cotangent carried by a mirrored loop, with its mask where it starts as a zero by structure."""

    def __init__(self, reverse: Reverse, named: Value, carried: Value, start: Cotangent | None) -> None:
        self.named = named
        self.carried = carried
        self.start = start
        scalar_mask = start is not None and start.mask is not None and not start.mask.is_array
        self.has_mask = isinstance(carried.type, Scalar) and (start is None or scalar_mask)
        self.has_tape = reverse.carries_masks(carried) and (start is None or mask_tape(start) is not None)
        self.has_array = carried in reverse.partly_read and (start is None or start.mask is not None)
        self.has_array |= carried in reverse.overwritten and named is not carried
        self.has_mask |= self.has_tape or self.has_array

    def initial(self, reverse: Reverse) -> list[Value]:
        value = reverse.zeros(self.named) if self.start is None else self.start.value
        if not self.has_mask:
            return [value]
        if self.has_tape:
            return [value, mask_tape(self.start) or no_masks(self.carried)]
        if self.has_array:
            return [value, reverse.array_mask(self.start, self.named)]  # the result's extents may be others
        return [value, FALSE if self.start is None or self.start.mask is None else self.start.mask]

    def arguments(self) -> list[Value]:
        self.value = Value(self.carried.type, adjoint_name(self.carried))
        self.mask = Value(mask_type(self.carried.type)) if self.has_mask else None
        return [self.value] if self.mask is None else [self.value, self.mask]

    def cotangent(self) -> Cotangent:
        return Cotangent(self.value, self.mask)

    def final(self, reverse: Reverse, scope: Cotangents) -> list[Value]:
        value = reverse.value_or_zero(scope, self.carried)
        return [value, reverse.mask_of(scope.get(self.carried), self.carried)] if self.has_mask else [value]

    def names(self) -> list[str | None]:
        return [adjoint_name(self.carried), None] if self.has_mask else [adjoint_name(self.carried)]

    def result(self, results: Any) -> Cotangent:
        value = next(results)
        return Cotangent(value, next(results) if self.has_mask else None)


def mask_of_all(cotangents: Sequence[Cotangent | None]) -> Value | None:
    """Whether any of several cotangents may not be zero by structure; None where one has no mask that says so."""
    out: Value | None = FALSE
    for c in cotangents:
        if c is not None:
            out = merge_masks(out, c.mask if c.mask is not None and not c.mask.is_array else None)
    return out


def times(dy: Value, partial: Any) -> Value:
    """dy times a partial derivative, given as a value or a number."""
    if isinstance(partial, Value):
        if isinstance(partial, Const) and partial.value == 1:
            return dy
        return dy * partial
    if partial == 1:
        return dy
    return -dy if partial == -1 else dy * partial


def adjoint_name(primal: Value) -> str | None:
    return f"{primal.name}_adj" if primal.name else None


def _collect(region: Region, used: set[Value], defined: set[Value]) -> None:
    defined.update(region.args)
    for op in region.ops:
        used.update(v for v in op.operands if not isinstance(v, Const))
        defined.update(op.results)
        for inner in op.regions:
            _collect(inner, used, defined)
