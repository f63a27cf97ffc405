"""Tangents of which a part is zero by structure, and the masks that say which part.

In: a primal function, its varied values. Out: for each value whose tangent is zero by structure in places (elements
that were never written, the other side of a choice, a sum before its first term) and meets an infinite slope further
on, that it needs a mask; and how the mask of a result follows from those of the operands. A zero by structure stays
zero there, as the cotangent of such an element never leaves it in reverse mode (see `cotangents`); a tangent that is
merely a number that happens to be 0 multiplies as IEEE says. Values that meet no such slope have no mask.

    %p = update(%zeros, %x)                 %p_dot = update(%zeros, %x_dot)
                                            %m = update(%false, true)
    %y = sqrt %p                     =>     %c = 0.5 / %y
                                            %y_dot = select(%m, %p_dot * %c, 0)

A mask is a boolean of the value's shape, or one boolean for all of an array; of a tape, a tape of masks, pushed and
popped with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from ..core import Builder, Const, Function, Op, Region, Value, builder, walk
from ..errors import UnsupportedError
from ..ops import call_rule, extents_of, lookup
from ..types import BOOL, I64, Array, Scalar, Tape, Type
from .activity import is_differentiable_type, loop_parts
from .cotangents import FALSE, TRUE

__all__ = ["Masks", "element_mask", "mask_type", "steep_operands"]

SLOPES = frozenset("div reciprocal log log2 log10 log1p pow".split())
"""Operations of which an infinite slope is made."""

QUOTIENTS = {"div": (1,), "reciprocal": (0,)}

MOVES = frozenset("fill broadcast stretch index update gather scatter transpose reshape concat".split())
"""Operations that put elements somewhere: they do the same to masks."""

COUNTS = frozenset(["scatter_add", "cumsum"])
"""Sums over elements: one of them is not zero by structure where their number is not 0."""


class Masks:
    """Which values have masks, and the masks so far (`found`, of the primal's values)."""

    def __init__(self, function: Function, varied: set[Value]) -> None:
        self.varied = varied
        self.found: dict[Value, Value] = {}
        self.wanted: set[Value] = set()
        steep = [op for op in walk(function.body) if any(v in varied for v in op.results) and steep_operands(op)]
        if steep:
            partial = Partial(varied).run(function)
            if partial:
                self.wanted = Demand(partial, steep).run(function)

    def of(self, value: Value) -> Value | None:
        """The mask of a value's tangent, None where no part of it is zero by structure (or none is known to be)."""
        if value in self.varied:
            return self.found.get(value)
        return None if isinstance(value.type, Tape) else FALSE

    def spread(self, value: Value, like: Value) -> Value:
        """The mask in the shape of the value, which is `like` in the new program."""
        if isinstance(value.type, Tape):
            empty = {"element": element_mask(value.type.element)}
            return self.found.get(value) or builder().emit1("tape.new", [], empty)
        return spread_mask(self.of(value), like)

    def after(self, op: Op, operands: list[Value], results: list[Value]) -> None:
        """The masks of an operation's results."""
        if not any(v in self.wanted for v in op.results):
            return
        if op.name in ("tape.push", "tape.pop"):
            masks: Sequence[Value] = self.on_tape(op, operands)
        elif lookup(op.name).partials is not None:
            masks = [self.elementwise(op, operands, results[0])]
        else:
            masks = [self.moved(op, operands)]
        self.found.update((old, m) for old, m in zip(op.results, masks, strict=True) if old in self.wanted)

    def on_tape(self, op: Op, operands: list[Value]) -> Sequence[Value]:
        if op.name == "tape.push":
            tape, value = op.operands
            element = operands[1]
            return [builder().emit1("tape.push", [self.spread(tape, operands[0]), self.spread(value, element)])]
        return builder().emit("tape.pop", [self.spread(op.operands[0], operands[0]), *operands[1:]])

    def elementwise(self, op: Op, operands: list[Value], result: Value) -> Value:
        """Of a sum of terms: zero by structure where all of them are."""
        rule = lookup(op.name)
        chosen: Sequence[Any] = [None] * len(operands)
        if rule.masks is not None:
            chosen = call_rule(rule.masks, operands, op.attrs, y=lambda: result)
        total: Value = FALSE
        for old, choice in zip(op.operands, chosen, strict=True):
            if old not in self.varied:
                continue
            own = choice() if callable(choice) else choice
            total = either(total, both(self.of(old), own))
        return total

    def moved(self, op: Op, operands: list[Value]) -> Value:
        """Of what an operation moves, or sums."""
        linear = [k for k in lookup(op.name).linear if k < len(operands)]
        masks = {k: self.of(op.operands[k]) for k in linear}
        alike = {TRUE if m is None else m for m in masks.values()}
        if len(alike) == 1 and not next(iter(alike)).is_array:
            return next(iter(alike))
        whole = [spread_mask(masks[k], operands[k]) if k in masks else v for k, v in enumerate(operands)]
        emit = builder().emit1
        if op.name in MOVES:
            return emit(op.name, whole, op.attrs)
        if op.name == "reduce_sum":
            return emit("reduce_any", whole, op.attrs)
        if op.name == "accumulate":
            if not separate(op):
                return TRUE
            before = emit("index", [whole[0], *whole[2:]], op.attrs)
            return emit("update", [whole[0], before | whole[1], *whole[2:]], op.attrs)
        counts = [emit("cast", [m], {"dtype": I64}) if k in masks else m for k, m in enumerate(whole)]
        return emit("ne", [emit(op.name, counts, op.attrs), Const(0, I64)])


def separate(op: Op) -> bool:
    """Whether the positions that an `accumulate` adds to are known to differ: no slice has a step of 0."""
    at = 2
    for letter in op.attrs["spec"]:
        if letter == "s":
            step = op.operands[at + 2]
            if not isinstance(step, Const) or not step.value:
                return False
        at += {"i": 1, "s": 3, ":": 0}[letter]
    return True


def mask_type(type_: Type) -> Type:
    """The type of the mask of a value of some type."""
    if isinstance(type_, Tape):
        return Tape(element_mask(type_.element))
    return element_mask(type_)


def element_mask(type_: Type) -> Scalar | Array:
    return Array(BOOL, type_.dims) if isinstance(type_, Array) else Scalar(BOOL)


def spread_mask(mask: Value | None, like: Value) -> Value:
    """A mask in the shape of `like`; None is everywhere."""
    mask = TRUE if mask is None else mask
    if mask.is_array or not like.is_array:
        return mask
    return builder().emit1("fill", [mask, *extents_of(like)])


def either(a: Value, b: Value | None) -> Value:
    if b is None or a is TRUE:
        return TRUE
    return b if a is FALSE else a if b is FALSE or a is b else a | b


def both(a: Value | None, b: Value | None) -> Value | None:
    if a is None or b is None:
        return a if b is None else b
    return FALSE if a is FALSE else a & b


# ---------------------------------------------------------------- infinite slopes

_STEEP: dict[Any, tuple[int, ...]] = {}


def steep_operands(op: Op) -> tuple[int, ...]:
    """The operands of an elementwise operation in which its slope may be infinite (or NaN) where they are finite.

    The slope of a quotient in its numerator is left out: where it is infinite, so is the quotient.
    """
    if op.name in QUOTIENTS:
        return QUOTIENTS[op.name]
    rule = lookup(op.name)
    if rule.partials is None or op.name == "select":
        return ()
    key = (
        op.name,
        tuple((v.dtype, repr(v.value) if isinstance(v, Const) else "") for v in op.operands),
        tuple(sorted(op.attrs.items(), key=str)) if op.attrs else (),
    )
    if key not in _STEEP:
        stand_ins = [v if isinstance(v, Const) else Value(Scalar(v.dtype)) for v in op.operands]
        result = Value(Scalar(op.result.dtype))
        with Builder(Region()):
            partials = call_rule(rule.partials, stand_ins, op.attrs, y=lambda: result)
        found = []
        for k, partial in enumerate(partials):
            body = Region()
            with Builder(body), suppress(UnsupportedError):  # said where the derivative is asked for
                if callable(partial):
                    partial()
            if any(steep(inner) for inner in body.ops):
                found.append(k)
        _STEEP[key] = tuple(found)
    return _STEEP[key]


def steep(op: Op) -> bool:
    if op.name == "pow" and isinstance(op.operands[1], Const):
        return bool(op.operands[1].value < 0)
    if op.name == "div" and isinstance(op.operands[1], Const):
        return False
    return op.name in SLOPES


# ---------------------------------------------------------------- which values


class Flow(ABC):
    """A set of values that grows until nothing changes."""

    def __init__(self) -> None:
        self.set: set[Value] = set()

    def add(self, value: Value) -> None:
        if not isinstance(value, Const):
            self.set.add(value)

    def run(self, function: Function) -> set[Value]:
        before = -1
        while before < len(self.set):
            before = len(self.set)
            self.region(function.body)
        return self.set

    @abstractmethod
    def region(self, region: Region) -> None:
        """Add what one walk over a region finds."""


def joins(op: Op) -> Iterable[tuple[list[Value], Value]]:
    """Of an operation with regions: (values that may become it, value) for all results and block arguments."""
    if op.name == "if":
        ends = [r.terminator.operands for r in op.regions]
        for k, result in enumerate(op.results):
            yield [end[k] for end in ends], result
    else:
        for init, arg, end, result in zip(*loop_parts(op), op.results, strict=True):
            yield [init, end], arg
            yield [arg], result


class Partial(Flow):
    """Varied values whose tangent may be zero by structure in places. A tape is, or is not, all of the time."""

    def __init__(self, varied: set[Value]) -> None:
        super().__init__()
        self.varied = varied

    def full(self, value: Value) -> bool:
        return value in self.varied and value not in self.set

    def region(self, region: Region) -> None:
        for op in region.ops:
            for inner in op.regions:
                self.region(inner)
            if op.regions:
                for sources, target in joins(op):
                    self.join(sources, target)
            elif op.name in ("tape.push", "tape.pop"):
                self.tape(op)
            elif any(v in self.varied for v in op.results) and self.part(op):
                for v in op.results:
                    self.add(v)

    def join(self, sources: list[Value], target: Value) -> None:
        if target not in self.varied:
            return
        if isinstance(target.type, Tape):
            if any(v in self.set for v in (*sources, target)):
                for v in (*sources, target):
                    self.add(v)
        elif not all(self.full(v) for v in sources):
            self.add(target)

    def tape(self, op: Op) -> None:
        states = [op.operands[0], op.results[0]]
        pushed = op.name == "tape.push" and not self.full(op.operands[1]) and is_differentiable_type(op.operands[1])
        if states[0] not in self.varied and states[1] not in self.varied:
            return
        if pushed or any(v in self.set for v in states):
            for v in (*states, *op.results[1:]):
                self.add(v)

    def part(self, op: Op) -> bool:
        rule = lookup(op.name)
        if rule.partials is not None:
            reached = [v for v in op.operands if v in self.varied]
            if rule.masks is not None:
                return not all(self.full(v) for v in op.operands if is_differentiable_type(v))
            return not any(self.full(v) for v in reached)
        moved = [op.operands[k] for k in rule.linear if k < len(op.operands)]
        if not moved or not (op.name in MOVES or op.name in COUNTS or op.name in ("reduce_sum", "accumulate")):
            return False
        if op.name in ("accumulate", "scatter_add"):
            return not self.full(moved[0])
        if op.name == "update" and set(op.attrs["spec"]) == {":"}:
            return not self.full(moved[1])
        return not all(self.full(v) for v in moved)


class Demand(Flow):
    """Of these values, those whose mask decides what meets an infinite slope."""

    def __init__(self, partial: set[Value], steep: Iterable[Op]) -> None:
        super().__init__()
        self.partial = partial
        for op in steep:
            for k in steep_operands(op):
                self.add(op.operands[k])

    def add(self, value: Value) -> None:
        if value in self.partial:
            super().add(value)

    def region(self, region: Region) -> None:
        for op in reversed(region.ops):
            if op.regions:
                self.joined(op)
                for inner in reversed(op.regions):
                    self.region(inner)
                self.joined(op)
            elif op.name in ("tape.push", "tape.pop"):
                if any(v in self.set for v in op.results):
                    for v in op.operands:
                        self.add(v)
            elif any(v in self.set for v in op.results):
                for v in op.operands:
                    self.add(v)

    def joined(self, op: Op) -> None:
        for sources, target in joins(op):
            if target in self.set:
                for v in sources:
                    self.add(v)
