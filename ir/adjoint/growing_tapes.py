"""Loops whose tapes would outgrow the arrays of the program: checkpoints where they become large.

In: a primal function and the plan of its reverse sweep. Out: the function with such loops in two versions, of which the
number of turns chooses one when the program runs; None where there is no such loop. Derivatives of derivatives, whose
programs have tapes already, are left alone.

A loop over the extent of an array that it carries on, and of which it keeps all in each turn, keeps n times as much as
the primal ever needs: n^2 numbers where the primal has n. Up to `LARGE` bytes that is the fastest way. Beyond them the
states at some turns are enough (`checkpoint.segmented`, evenly): memory then grows as the primal's does, and for the
price of a second forward sweep what a turn keeps stays in a cache.

    %y: f64[?] = for %k in (1, %n) (%s = %x) {...}      %c: i64 = mul %n, 8                          bytes of a state
                                                        %t: i64 = mul %c, (sub %n, 1)               and of all states
                                                    =>  %y: f64[?] = if (gt %t, LARGE) {
                                                          ... segments of the loop ...
                                                        } else {
                                                          %z: f64[?] = for %k in (1, %n) (%s = %x) {...}
                                                          yield %z
                                                        }
"""

from __future__ import annotations

from ..core import Builder, Const, Function, Op, Region, Value, walk
from ..ops.callback import calls_with_effects
from ..rewrite import Rewriter, clone_region
from ..types import I64, Array, Tape
from .checkpoint import bytes_of, segmented
from .save import Plan

__all__ = ["LARGE", "with_checkpoints"]

LARGE = 8 * 2**20
"""Bytes: what the caches of a processor hold."""
THROUGH = ("add", "sub", "minimum", "maximum", "bound", "cast", "floordiv")
"""What a number of turns may be made of, from extents."""


def with_checkpoints(function: Function, plan: Plan) -> Function | None:
    """The function with checkpoints for loops whose tapes outgrow it; see the module's docstring."""
    prepared = plan.prepared
    found = growing_loops(plan)
    if not found or any(isinstance(v.type, Tape) for op in walk(function.body) for v in op.results):
        return None  # a program with tapes of its own has been differentiated before: what is on them stays as it is
    loops = [op for op in walk(function.body) if op.name == "for"]
    copies = [op for op in prepared.order if op.name == "for"]
    chosen = {op for op, copy in zip(loops, copies, strict=True) if copy in found}
    return _Segmenting(chosen).function(function)


def growing_loops(plan: Plan) -> set[Op]:
    """The loops of the prepared primal that keep, in each turn, as much as an array whose extent the turns are."""
    prepared = plan.prepared
    out = set()
    for value in plan.saved:
        if not value.is_array:
            continue
        region = prepared.home[value]
        while (owner := prepared.sites[region].owner) is not None and owner.name == "if":
            parent = prepared.sites[region].parent
            assert parent is not None
            region = parent
        if owner is None or owner.name != "for" or owner in out or calls_with_effects(owner.regions[0]):
            continue
        turns = extents_in(owner.operands[0]) | extents_in(owner.operands[1])
        state = owner.regions[0].args[1:]
        largest = max((open_axes(v) for v in state if v.is_array), default=0)
        for v in state:
            if v.is_array and open_axes(v) == largest and prepared.shapes[v] == prepared.shapes[value]:
                if turns & {e for axis in prepared.shapes[v] for e in extents_in(axis)} and depends(value, v):
                    out.add(owner)
    return out


def depends(value: Value, state: Value) -> bool:
    """Whether a value of a turn is computed from what the loop carries."""
    found, work = {value}, [value]
    while work:
        last = work.pop()
        if last is state:
            return True
        new = [v for v in (last.op.operands if last.op is not None else ()) if v not in found]
        found.update(new)
        work += new
    return False


def open_axes(array: Value) -> int:
    """How many extents are not known: the power with which the array grows."""
    assert isinstance(array.type, Array)
    return array.type.dims.count(None)


def extents_in(value: Value) -> set[tuple[Value, int]]:
    """The arrays and axes whose extents a number grows with."""
    if value.op is None or isinstance(value, Const):
        return set()
    if value.op.name == "dim":
        return {(value.op.operands[0], value.op.attrs["axis"])}
    return {e for v in value.op.operands for e in extents_in(v)} if value.op.name in THROUGH else set()


class _Segmenting(Rewriter):
    def __init__(self, loops: set[Op]) -> None:
        super().__init__()
        self.loops = loops

    def visit(self, op: Op) -> None:
        if op not in self.loops:
            self.copy(op)
            return
        self.changed = True
        here = Region([], self.out)  # what is emitted goes to the list in hand
        lo, hi, *inits = self.operands(op)
        with Builder(here, op.span) as b:
            large = b.emit1("gt", [bytes_of(inits) * (hi - lo), Const(LARGE, I64)])
            pieces, whole = Region(), Region()
            with Builder(pieces, op.span) as inside:
                body = clone_region(op.regions[0], dict(self.env))
                inside.emit("yield", segmented(lo, hi, inits, body, op.attrs["reverse"], 2, evenly=True))
            with Builder(whole, op.span) as inside:
                body = clone_region(op.regions[0], dict(self.env))
                inside.emit("yield", inside.emit("for", [lo, hi, *inits], dict(op.attrs), [body]))
            ends = b.emit("if", [large], {}, [pieces, whole])
        for old, new in zip(op.results, ends, strict=True):
            new.name = old.name
            self.env[old] = new
