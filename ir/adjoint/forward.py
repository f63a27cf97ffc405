"""Forward mode: tangents pushed along with values, from the same declarations as the reverse mode.

In: a primal function and the numbers of the arguments to differentiate. Out: a function whose arguments are the
primal's, then one tangent per differentiated argument; its results are the primal's, then the tangent of each float
result. Elementwise operations have their partial derivatives, linear ones are applied to tangents, bilinear ones
give two terms, the rest have a rule of their own. Control flow carries tangents beside the values they belong to.

    func @f(%x: f64) -> f64 { %y = sin %x; return %y }
    func @f.jvp(%x: f64, %x_dot: f64) -> (f64, f64) {
      %y = sin %x; %c = cos %x; %y_dot = mul %x_dot, %c; return %y, %y_dot
    }
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..core import Builder, Const, Function, Op, Region, Value, builder
from ..errors import UnsupportedError
from ..ops import call_rule, lookup, zeros_like
from ..ops.declare import OpDef
from ..types import Tape, Type
from .activity import is_differentiable_type, loop_parts, varied_values
from .tangent_masks import Masks, mask_type, steep_operands

__all__ = ["Forward", "jvp"]


def jvp(function: Function, wrt: Sequence[int], keep: Sequence[int] | None = None) -> Function:
    """The tangent program of `function`; `keep`: numbers of the primal results to return (all unless given)."""
    varied = varied_values(function, [function.args[k] for k in wrt])
    body = Region([Value(a.type, a.name) for a in function.args])
    env = dict(zip(function.args, body.args, strict=True))
    forward = Forward(env, varied, Masks(function, varied))
    for k in wrt:
        arg = function.args[k]
        tangent = Value(arg.type, tangent_name(arg))
        body.args.append(tangent)
        forward.tangents[arg] = tangent
    results = function.results
    kept = results if keep is None else [results[k] for k in keep]
    with Builder(body) as b:
        forward.region(function.body)
        primal = [forward.value(v) for v in kept]
        tangents = [forward.tangent(v) for v in results if is_differentiable_type(v)]
        b.emit("return", [*primal, *tangents], span=function.body.terminator.span)
    attrs = {k: v for k, v in function.attrs.items() if k != "donated"}
    return Function(f"{function.name}.jvp", body, attrs)


class Forward:
    """The walk over a function; `tangent_type` says of what type tangents are, `masks` where they are zero by
    structure."""

    def __init__(self, env: dict[Value, Value], varied: set[Value], masks: Masks | None = None) -> None:
        self.env = env
        self.varied = varied
        self.masks = masks
        self.tangents: dict[Value, Value] = {}

    def tangent_type(self, type_: Type) -> Type:
        return type_

    def value(self, old: Value) -> Value:
        return old if isinstance(old, Const) else self.env.get(old, old)

    def tangent(self, old: Value) -> Value:
        """The tangent of a value, zeros where nothing reaches it."""
        known = self.tangents.get(old)
        if known is not None:
            return known
        if isinstance(old.type, Tape):
            attrs = {"element": old.type.element}
            if old.op is not None and old.op.attrs.get("stack"):
                attrs["stack"] = old.op.attrs["stack"]  # tangents are pushed and popped where primal values are
            return builder().emit1("tape.new", [], attrs, names=[tangent_name(old)])
        return zeros_like(self.value(old))

    # ------------------------------------------------------------ regions

    def region(self, source: Region) -> None:
        """Everything but the terminator."""
        for op in source.ops[:-1]:
            with builder().at(op.span):
                if op.name == "if":
                    self.branch(op)
                elif op.regions:
                    self.loop(op)
                else:
                    self.simple(op)

    def simple(self, op: Op) -> None:
        operands = [self.value(v) for v in op.operands]
        names = [v.name for v in op.results]
        types = [v.type for v in op.results]
        results = builder().emit(op.name, operands, op.attrs, names=names, result_types=types)
        self.env.update(zip(op.results, results, strict=True))
        if not any(v in self.varied for v in op.results):
            return
        given = [self.tangents.get(v) if is_differentiable_type(v) else None for v in op.operands]
        found = self.rule(op, lookup(op.name), operands, given, results)
        for old, tangent in zip(op.results, found, strict=True):
            if tangent is not None:
                tangent.name = tangent.name or tangent_name(old)
                self.tangents[old] = tangent
        if self.masks is not None:
            self.masks.after(op, operands, results)

    def rule(
        self, op: Op, rule: OpDef, operands: list[Value], given: list[Value | None], results: list[Value]
    ) -> list[Value | None]:
        if op.name == "tape.push":
            return [builder().emit1("tape.push", [self.tangent(v) for v in op.operands])]
        if op.name == "tape.pop":
            popped = builder().emit("tape.pop", [self.tangent(op.operands[0]), *operands[1:]])
            return [v if is_differentiable_type(v) else None for v in popped]
        if rule.partials is not None:
            return [elementwise(op, rule, operands, given, results[0], self.masks)]
        if rule.bilinear:
            terms = [
                builder().emit1(op.name, [t if j == k else v for j, v in enumerate(operands)], op.attrs)
                for k, t in enumerate(given)
                if t is not None
            ]
            return [total(terms)]
        if rule.linear:
            moved = [self.tangent(op.operands[k]) if k in rule.linear else v for k, v in enumerate(operands)]
            return [builder().emit1(op.name, moved, op.attrs)]
        if rule.jvp is not None:
            out = call_rule(rule.jvp, operands, op.attrs, y=lambda: results[0], ys=lambda: results, tangents=given)
            return list(out) if isinstance(out, list) else [out]
        raise UnsupportedError(f"`{op.name}` has no forward derivative", op.span)

    # ------------------------------------------------------------ control flow

    def branch(self, op: Op) -> None:
        wanted = [v for v in op.results if v in self.varied]
        masked = self.masked(op.results)
        regions: list[Region] = []
        for source in op.regions:
            target = Region()
            outer = dict(self.tangents)
            with Builder(target, op.span) as b:
                self.region(source)
                ends = source.terminator.operands
                primal = [self.value(v) for v in ends]
                tangents = [self.tangent(y) for y, r in zip(ends, op.results, strict=True) if r in self.varied]
                masks = [self.mask(y) for y, r in zip(ends, op.results, strict=True) if r in masked]
                b.emit("yield", [*primal, *tangents, *masks])
            self.tangents = outer
            regions.append(target)
        self.finish(op, [self.value(op.operands[0])], regions, wanted, masked)

    def loop(self, op: Op) -> None:
        inits, args, yielded = loop_parts(op)
        lead = [self.value(v) for v in op.operands[: len(op.operands) - len(inits)]]
        lanes = [k for k, a in enumerate(args) if a in self.varied]
        with_mask = self.masked(args)
        masked = [k for k, a in enumerate(args) if a in with_mask]
        tangents = [self.tangent(inits[k]) for k in lanes]
        operands = [*lead, *(self.value(v) for v in inits), *tangents, *(self.mask(inits[k]) for k in masked)]
        first = Region([Value(a.type, a.name) for a in op.regions[0].args])
        self.env.update(zip(op.regions[0].args, first.args, strict=True))
        outer = dict(self.tangents)
        for k in lanes:
            tangent = Value(self.tangent_type(args[k].type), tangent_name(args[k]))
            first.args.append(tangent)
            self.tangents[args[k]] = tangent
        for k in masked:
            self.carry_mask(args[k], first)
        regions = [first]
        with Builder(first, op.span) as b:
            self.region(op.regions[0])
            if op.name == "while":
                b.emit("test", [self.value(op.regions[0].terminator.operands[0])])
                regions.append(Region())
                with Builder(regions[1], op.span):
                    self.region(op.regions[1])
            with Builder(regions[-1], op.span) as end:
                primal = [self.value(v) for v in yielded]
                tangents = [self.tangent(yielded[k]) for k in lanes]
                end.emit("yield", [*primal, *tangents, *(self.mask(yielded[k]) for k in masked)])
        self.tangents = outer
        self.finish(op, operands, regions, [op.results[k] for k in lanes], [op.results[k] for k in masked])

    def finish(
        self, op: Op, operands: list[Value], regions: list[Region], wanted: list[Value], masked: list[Value]
    ) -> None:
        names = [*(v.name for v in op.results), *(tangent_name(v) for v in wanted), *([None] * len(masked))]
        results = builder().emit(op.name, operands, op.attrs, regions=regions, names=names)
        first, second = len(op.results), len(op.results) + len(wanted)
        self.env.update(zip(op.results, results[:first], strict=True))
        self.tangents.update(zip(wanted, results[first:second], strict=True))
        if self.masks is not None:
            self.masks.found.update(zip(masked, results[second:], strict=True))

    # ------------------------------------------------------------ masks

    def masked(self, values: Sequence[Value]) -> list[Value]:
        """Those of some values whose masks are needed."""
        return [] if self.masks is None else [v for v in values if v in self.masks.wanted and v in self.varied]

    def mask(self, old: Value) -> Value:
        assert self.masks is not None
        return self.masks.spread(old, self.value(old))

    def carry_mask(self, arg: Value, region: Region) -> None:
        """One more block argument, the mask of `arg`."""
        assert self.masks is not None
        mask = Value(mask_type(arg.type))
        region.args.append(mask)
        self.masks.found[arg] = mask


def elementwise(
    op: Op,
    rule: OpDef,
    operands: list[Value],
    given: list[Value | None],
    result: Value,
    masks_of_tangents: Masks | None = None,
) -> Value | None:
    """The sum of partial derivatives times tangents, each zero where its operand was not chosen, and where its
    tangent is zero by structure."""
    assert rule.partials is not None
    available: dict[str, Any] = {"y": lambda: result}
    partials = call_rule(rule.partials, operands, op.attrs, **available)
    masks = call_rule(rule.masks, operands, op.attrs, **available) if rule.masks else [None] * len(operands)
    steep = () if masks_of_tangents is None else steep_operands(op)
    terms: list[Value] = []
    for k, (tangent, partial, mask) in enumerate(zip(given, partials, masks, strict=True)):
        if tangent is None:
            continue
        factor = partial() if callable(partial) else partial
        if factor is None or (not isinstance(factor, Value) and factor == 0):
            continue
        if tangent.dtype is not result.dtype:
            tangent = builder().emit1("cast", [tangent], {"dtype": result.dtype})
        if isinstance(factor, Value):
            term = tangent * factor
            if masks_of_tangents is not None and k in steep:
                term = zero_outside(masks_of_tangents.of(op.operands[k]), term)
        else:
            term = tangent if factor == 1 else -tangent if factor == -1 else tangent * factor
        chosen = mask() if callable(mask) else mask
        term = zero_outside(chosen, term)
        terms.append(term)
    found = total(terms)
    if found is not None and result.is_array and not found.is_array:
        extents = [builder().emit1("dim", [result], {"axis": k}) for k in range(result.rank)]
        found = builder().emit1("fill", [found, *extents])
    return found


def zero_outside(mask: Value | None, term: Value) -> Value:
    return term if mask is None else builder().emit1("select", [mask, term, Const(0, term.dtype)])


def total(terms: list[Value]) -> Value | None:
    """The sum of some values; None of none."""
    out: Value | None = None
    for term in terms:
        out = term if out is None else out + term
    return out


def tangent_name(primal: Value) -> str | None:
    return f"{primal.name}_dot" if primal.name else None
