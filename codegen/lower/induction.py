"""Loops whose turns depend on each other in form only: counters in closed form, tapes of known length.

In: a scheduled function, changed in place. Out: nothing. What a loop carries that grows by the same amount each turn is
computed from the number of the turn instead, and memory that is reserved turn by turn up to an amount that is known
before the loop is reserved there:

    %t: &f64[?], %n: i64 = for %i in (0, %k) (%u = %t0, %a = 0) {
      %b: i64 = add %a, %m
      %v: &f64[?] = buffer.call %u, %a, %b {kernel="tape_reserve"}
      buffer.store %x, %v, %a
      yield %v, %b
    }

becomes

    %l: i64 = mul %k, %m
    %t: &f64[?] = buffer.call %t0, 0, %l {kernel="tape_reserve"}
    for %i in (0, %k) {
      %a: i64 = mul %i, %m
      buffer.store %x, %t, %a
      yield
    }

after which turns may run at once (`parallel`). Integers wrap around as they did.
"""

from __future__ import annotations

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.types import I64, Buffer, Scalar
from .cleanup import resolved, stationary
from .polynomials import Polynomial, Range, add, bound_above, constant, expand

__all__ = ["closed_forms"]


def closed_forms(function: Function) -> None:
    Closing(function).run()


def plain(value: Value) -> Value:
    return value


class Closing:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.renamed: dict[Value, Value] = {}

    def run(self) -> None:
        self.region(self.function.body)
        self.rename()
        while stationary(self.function.body):
            pass

    def rename(self) -> None:
        for op in walk(self.function.body):
            op.operands = [resolved(v, self.renamed) for v in op.operands]
        self.renamed = {}

    def region(self, region: Region) -> None:
        for op in list(region.ops):
            for inner in op.regions:
                self.region(inner)
            if op.name == "for" and len(op.operands) > 2:
                self.counters(region, op)
                self.rename()
                self.reserves(region, op)
                self.rename()

    # counters

    def counters(self, around: Region, op: Op) -> None:
        body = op.regions[0]
        inside = defined_in(body)
        for k in reversed(range(len(op.results))):
            arg, given = body.args[k + 1], body.terminator.operands[k]
            if arg.type != Scalar(I64):
                continue
            step = add(expand(given, plain), {(arg,): 1}, -1)
            if not step or any(v in inside for m in step for v in m):
                continue
            before = Emitter(around, around.ops.index(op), op)
            amount = before.polynomial(step)
            lo, hi, start = op.operands[0], op.operands[1], op.operands[2 + k]
            trips = before.emit("maximum", before.emit("sub", hi, lo), Const(0, I64))
            end = before.emit("add", start, before.emit("mul", trips, amount))
            within = Emitter(body, 0, op)
            index = body.args[0]
            if op.attrs.get("reverse"):
                turn = within.emit("sub", within.emit("sub", hi, Const(1, I64)), index)
            else:
                turn = within.emit("sub", index, lo)
            self.renamed[arg] = within.emit("add", start, within.emit("mul", turn, amount))
            self.renamed[op.results[k]] = end
            del body.args[k + 1], body.terminator.operands[k], op.operands[2 + k], op.results[k]

    # tapes

    def reserves(self, around: Region, op: Op) -> None:
        body = op.regions[0]
        inside = defined_in(body)
        index = body.args[0]
        lo, hi = (expand(v, plain) for v in op.operands[:2])
        turns = Range(index, lo, add(hi, constant(1), -1))
        first = turns.last if op.attrs.get("reverse") else turns.lo
        for k, arg in enumerate(body.args[1:]):
            call = reserve_of(body, arg) if isinstance(arg.type, Buffer) else None
            if call is None or body.terminator.operands[k] is not call.result:
                continue
            used, needed = (expand(v, plain) for v in call.operands[1:])
            if any(v in inside and v is not index for p in (used, needed) for m in p for v in m):
                continue
            most = bound_above(needed, [turns])
            if most is None:
                continue
            before = Emitter(around, around.ops.index(op), call)
            length = before.polynomial(substituted(used, index, first))
            most_needed = before.polynomial(most)
            new = Op(
                "buffer.call",
                [op.operands[2 + k], length, most_needed],
                [call.result.type],
                dict(call.attrs),
                (),
                call.span,
                [call.result.name],
            )
            before.append(new)
            op.operands[2 + k] = new.result
            self.renamed[call.result] = arg
            body.ops.remove(call)


def substituted(p: Polynomial, index: Value, by: Polynomial) -> Polynomial:
    out: Polynomial = {}
    for monomial, coefficient in p.items():
        term: Polynomial = {tuple(v for v in monomial if v is not index): coefficient}
        for _ in range(monomial.count(index)):
            term = {
                tuple(sorted((*m, *n), key=id)): c * d for m, c in term.items() for n, d in by.items()
            }  # monomials of `by` are different, and so are these
        out = add(out, term)
    return out


def defined_in(region: Region) -> set[Value]:
    out = set(region.args)
    for op in walk(region):
        out.update(op.results)
        for inner in op.regions:
            out.update(inner.args)
    return out


def reserve_of(body: Region, arg: Value) -> Op | None:
    """The only operation that uses a carried tape, where it reserves memory for it in every turn."""
    users = [op for op in walk(body) if arg in op.operands]
    if len(users) != 1 or users[0] not in body.ops:
        return None
    (user,) = users
    reserves = user.name == "buffer.call" and user.attrs["kernel"] == "tape_reserve"
    return user if reserves and user.operands[0] is arg else None


class Emitter:
    """Inserts operations into a region, at a place that moves on."""

    def __init__(self, region: Region, at: int, like: Op) -> None:
        self.region, self.at, self.span = region, at, like.span

    def append(self, op: Op) -> None:
        self.region.ops.insert(self.at, op)
        self.at += 1

    def emit(self, name: str, a: Value, b: Value) -> Value:
        zero, one = Const(0, I64), Const(1, I64)
        if name in ("add", "sub") and b == zero:
            return a
        if name == "add" and a == zero:
            return b
        if name == "mul" and one in (a, b):
            return b if a == one else a
        if name == "mul" and zero in (a, b):
            return zero
        op = Op(name, [a, b], [Scalar(I64)], {}, (), self.span)
        self.append(op)
        return op.result

    def polynomial(self, p: Polynomial) -> Value:
        """A value that is a polynomial."""
        out: Value = Const(p.get((), 0), I64)
        for monomial, coefficient in p.items():
            if not monomial:
                continue
            term: Value = Const(abs(coefficient), I64)
            for factor in monomial:
                term = self.emit("mul", term, factor)
            out = self.emit("add" if coefficient > 0 else "sub", out, term)
        return out
