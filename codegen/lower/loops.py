"""The builder of loop nests: every operation lands in the outermost loop in which its operands are known.

In: operations emitted while nests are open. Out: scheduled regions. A nest is built from the inside: while its
innermost body is being emitted, the regions of the loops around it are still open, so an operation that only
depends on the outer index goes into the outer loop, ahead of the inner one. Equal pure operations are emitted
once.

Program loops and branches are barriers (`Scope.barrier`): nothing moves out of them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...ir.core import Builder, Const, Op, Region, Span, Value
from ...ir.ops.declare import lookup
from ...ir.types import I64, Scalar, Type

__all__ = ["UNROLLED", "LoopBuilder", "Scope", "affine", "difference", "turns_of"]


UNROLLED = 4
"""Folds of at most so many constant positions are no loops."""


@dataclass
class Scope:
    """One open region. `known`: what has been computed in it, by key."""

    region: Region
    barrier: bool
    known: dict[Hashable, Value] = field(default_factory=dict)


class LoopBuilder(Builder):
    """Appends to the innermost open region, or further out where that is right."""

    def __init__(self, region: Region) -> None:
        super().__init__(region)
        self.scopes: list[Scope] = []
        self.depth: dict[Value, int] = {}
        self.home: dict[Value, Scope] = {}
        self.push(region, barrier=True)

    # scopes

    def push(self, region: Region, barrier: bool) -> Scope:
        scope = Scope(region, barrier)
        self.scopes.append(scope)
        for arg in region.args:
            self.enter(arg, len(self.scopes) - 1)
        return scope

    def enter(self, value: Value, depth: int) -> None:
        """A value is defined in the open region number `depth`."""
        self.depth[value] = depth
        self.home[value] = self.scopes[depth]

    def visible(self, value: Value, depth: int) -> bool:
        """Whether a value may be used in the open region number `depth`."""
        at = self.depth.get(value)
        return at is None or (at <= depth and at < len(self.scopes) and self.scopes[at] is self.home[value])

    def pop(self) -> None:
        self.scopes.pop()

    @contextlib.contextmanager
    def scope(self, region: Region, barrier: bool) -> Iterator[Scope]:
        """`region` is open inside."""
        scope = self.push(region, barrier)
        try:
            yield scope
        finally:
            self.scopes.pop()

    @contextlib.contextmanager
    def at_depth(self, depth: int) -> Iterator[None]:
        """Emit into the open region number `depth` (what is further in stays open and continues afterwards)."""
        inner = self.scopes[depth + 1 :]
        del self.scopes[depth + 1 :]
        try:
            yield
        finally:
            self.scopes.extend(inner)

    @property
    def floor(self) -> int:
        """The depth above which nothing may move: that of the innermost barrier."""
        return max(k for k, scope in enumerate(self.scopes) if scope.barrier)

    def depth_of(self, values: Sequence[Value]) -> int:
        """The depth at which all of `values` are known, at least that of the innermost barrier."""
        return max((self.depth.get(v, 0) for v in values), default=0)

    # operations

    def append(self, op: Op, depth: int) -> None:
        self.scopes[depth].region.ops.append(op)
        for result in op.results:
            self.enter(result, depth)

    def emit(
        self,
        name: str,
        operands: Any = (),
        attrs: dict[str, Any] | None = None,
        regions: Sequence[Region] = (),
        span: Span | None = None,
        names: Sequence[str | None] = (),
        result_types: Sequence[Type] | None = None,
    ) -> list[Value]:
        """As `Builder.emit`; pure scalar operations move outwards and are emitted once, others stay here."""
        operands = list(operands)
        attrs = dict(attrs or {})
        definition = lookup(name)
        if result_types is None:
            result_types = definition.infer(operands, attrs, list(regions))
        here = len(self.scopes) - 1
        pure = not definition.effect and definition.category in ("elementwise", "buffer")
        if not pure:
            op = Op(name, operands, result_types, attrs, regions, span or self.span, names)
            self.append(op, here)
            return op.results
        known_at = self.depth_of(operands)
        depth = max(known_at, self.floor)
        if name in ("add", "sub", "mul") and isinstance(result_types[0], Scalar) and result_types[0].dtype is I64:
            name, operands, folded = fold_index(name, operands)
            if folded is not None:
                return [folded]
            known_at = self.depth_of(operands)
            depth = max(known_at, self.floor)
        key = (name, *operands, *sorted((k, str(v)) for k, v in attrs.items()))
        found = self.find(key, known_at, depth)
        if found is not None:
            return [found]
        op = Op(name, operands, result_types, attrs, regions, span or self.span, names)
        self.append(op, depth)
        self.scopes[depth].known[key] = op.results[0]
        return op.results

    def find(self, key: Hashable, shallowest: int, deepest: int) -> Value | None:
        for scope in self.scopes[shallowest : deepest + 1]:
            if key in scope.known:
                return scope.known[key]
        return None

    def load(self, buffer: Value, indices: Sequence[Value], depth: int | None = None) -> Value:
        """A load, at `depth` (here, where not given)."""
        dtype = buffer.type.dtype  # type: ignore[union-attr]
        op = Op("buffer.load", [buffer, *indices], [Scalar(dtype)], {}, (), self.span)
        self.append(op, len(self.scopes) - 1 if depth is None else depth)
        return op.result

    def store(self, value: Value, buffer: Value, indices: Sequence[Value]) -> None:
        self.emit("buffer.store", [value, buffer, *indices])

    def cached(self, key: Hashable, operands: Sequence[Value], make: Callable[[int], Value]) -> Value:
        """The value for a key that depends on `operands`, made (at the depth given to `make`) where it is not
        known."""
        known_at = self.depth_of(operands)
        depth = max(known_at, self.floor)
        found = self.find(key, known_at, depth)
        if found is None:
            found = make(depth)
            at = self.depth.get(found, 0)
            self.scopes[max(at, depth)].known[key] = found
        return found

    # loops

    def loop(
        self,
        lo: Value,
        hi: Value,
        inits: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
        *,
        reverse: bool = False,
        hint: str | None = None,
        short: bool = False,
    ) -> list[Value]:
        """A ``for``; `body(index, carried)` emits what is inside and returns what is carried on. Returns the
        results. `short`: to be compiled into little code, since few turns are run."""
        if isinstance(lo, Const) and isinstance(hi, Const) and hi.value - lo.value == 1:
            return list(body(lo, list(inits)))
        index = Value(Scalar(I64), hint)
        args = [Value(v.type, v.name) for v in inits]
        region = Region([index, *args])
        with self.scope(region, barrier=False):
            results = list(body(index, args))
            region.ops.append(Op("yield", results, [], {}, (), self.span))
        attrs = {"reverse": True} if reverse else {}
        if short:
            attrs["short"] = True
        types = [v.type for v in inits]
        op = Op("for", [lo, hi, *inits], types, attrs, [region], self.span, [a.name for a in args])
        self.append(op, len(self.scopes) - 1)
        return op.results

    def nest(self, extents: Sequence[Value], body: Callable[[list[Value]], None]) -> None:
        """Loops over all positions inside `extents`, the last axis innermost."""

        def level(indices: list[Value]) -> None:
            if len(indices) == len(extents):
                body(indices)
                return

            def inner(index: Value, carried: list[Value]) -> list[Value]:
                level([*indices, index])
                return []

            self.loop(Const(0, I64), extents[len(indices)], [], inner)

        level([])

    def fold(
        self, extents: Sequence[Value], inits: Sequence[Value], step: Callable[[list[Value], list[Value]], list[Value]]
    ) -> list[Value]:
        """Loops over all positions that carry scalars: `step(indices, carried) -> carried`; a few constant positions
        are written one after the other."""

        unrolled = turns_of(extents) <= UNROLLED

        def level(indices: list[Value], carried: list[Value]) -> list[Value]:
            if len(indices) == len(extents):
                return step(indices, carried)
            if unrolled:
                extent = extents[len(indices)]
                assert isinstance(extent, Const)
                for k in range(int(extent.value)):
                    carried = level([*indices, Const(k, I64)], carried)
                return carried
            return self.loop(
                Const(0, I64), extents[len(indices)], carried, lambda index, inner: level([*indices, index], inner)
            )

        return level([], list(inits))


def turns_of(extents: Sequence[Value]) -> float:
    """How many positions lie inside constant extents; infinite where some is not constant."""
    turns = 1.0
    for extent in extents:
        turns *= max(int(extent.value), 0) if isinstance(extent, Const) else math.inf
    return turns if all(isinstance(extent, Const) for extent in extents) else math.inf


def fold_index(name: str, operands: list[Value]) -> tuple[str, list[Value], Value | None]:
    """Integer arithmetic in its shortest form: another operation, or a value that is known already."""
    a, b = operands
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Const) and (int(one.value) == (1 if name == "mul" else 0)) and (name != "sub" or one is b):
            return name, operands, other
        negated = one.op.operands if name == "add" and one.op is not None and one.op.name == "mul" else []
        if negated and isinstance(negated[1], Const) and int(negated[1].value) == -1:
            return fold_index("sub", [other, negated[0]])
    if name != "mul":
        terms, constant = summed(affine(a), scaled(affine(b), 1 if name == "add" else -1))
    elif isinstance(a, Const):
        terms, constant = scaled(affine(b), int(a.value))
    elif isinstance(b, Const):
        terms, constant = scaled(affine(a), int(b.value))
    else:
        return name, operands, None
    if not -(2**63) <= constant < 2**63:
        return name, operands, None
    if not terms:
        return name, operands, Const(constant, I64)
    plus = [v for v, c in terms.items() if c == 1]
    minus = [v for v, c in terms.items() if c == -1]
    if len(plus) + len(minus) < len(terms) or len(terms) > 2 or not plus:
        return name, operands, None
    if len(terms) == 1:
        if constant == 0:
            return name, operands, plus[0]
        if constant > 0:
            return "add", [plus[0], Const(constant, I64)], None
        return "sub", [plus[0], Const(-constant, I64)], None
    if constant == 0:
        return ("add", plus, None) if len(plus) == 2 else ("sub", [plus[0], minus[0]], None)
    return name, operands, None


# ---------------------------------------------------------------- index expressions


def affine(value: Value) -> tuple[dict[Value, int], int]:
    """An i64 value as a sum of values with integer coefficients, and a constant."""
    if isinstance(value, Const):
        return {}, int(value.value)
    op = value.op
    if op is not None and op.name in ("add", "sub", "mul", "neg") and value.dtype is I64:
        parts = [affine(x) for x in op.operands]
        if op.name == "neg":
            return scaled(parts[0], -1)
        if op.name == "add":
            return summed(parts[0], parts[1])
        if op.name == "sub":
            return summed(parts[0], scaled(parts[1], -1))
        for one, other in (parts, parts[::-1]):
            if not one[0]:
                return scaled(other, one[1])
    return {value: 1}, 0


def scaled(form: tuple[dict[Value, int], int], by: int) -> tuple[dict[Value, int], int]:
    return {v: c * by for v, c in form[0].items() if c * by}, form[1] * by


def summed(a: tuple[dict[Value, int], int], b: tuple[dict[Value, int], int]) -> tuple[dict[Value, int], int]:
    terms = dict(a[0])
    for value, coefficient in b[0].items():
        terms[value] = terms.get(value, 0) + coefficient
    return {v: c for v, c in terms.items() if c}, a[1] + b[1]


def difference(a: Value, b: Value) -> tuple[dict[Value, int], int]:
    """`a - b` as an affine form."""
    return summed(affine(a), scaled(affine(b), -1))
