"""What the forward sweep keeps for the reverse sweep, and why: the text of `.explain()`.

In: a `Plan`. Out: one `Row` per kept value: what it is, where it is computed, how it is kept, how many bytes each
time, and the source lines whose derivative needs it. Then the arguments that have no derivative to speak of.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..core import Const, Span, Value, walk
from ..types import Array, Scalar
from .save import Plan

__all__ = ["Row", "explain", "rows"]


@dataclass(frozen=True)
class Row:
    """One kept value. `how`: "tape" (once per iteration), "segment" (once per segment of a loop under checkpoints),
    "value" (once) or "undo" (what a write overwrote)."""

    name: str
    type: str
    span: Span | None
    how: str
    bytes: str
    needed_by: tuple[str, ...]


def rows(plan: Plan) -> list[Row]:
    """A row per kept value, in program order."""
    out = []
    uses = _reasons(plan)
    for value in plan.saved_in_order():
        home = plan.prepared.home[value]
        how = "tape" if plan.prepared.loops(home) else "value"
        if how == "tape" and any("recompute" in op.attrs for op in home.ops):
            how = "segment"
        span = value.op.span if value.op is not None else _owner_span(plan, value)
        reasons = tuple(sorted({f"{s}" for s in uses.get(value, ()) if s is not None}))
        out.append(Row(value.name or "?", str(value.type), span, how, _bytes(value), reasons))
    for op in sorted(plan.undone_writes, key=lambda op: plan.prepared.order[op]):
        name = op.result.name or "?"
        count = "".join(" x extent" for letter in op.attrs.get("spec", "s") if letter != "i")
        size = f"{op.result.dtype.itemsize}{count}"
        out.append(Row(f"what {name} held", str(op.result.dtype), op.span, "undo", size, ()))
    return out


def explain(plan: Plan) -> str:
    """The rows as text, and a line for each differentiated argument that the result does not depend on."""
    found = rows(plan)
    lines = [] if found else ["nothing is kept: the reverse sweep reads values again or recomputes them"]
    for row in found:
        where = f" ({row.span})" if row.span else ""
        how = {
            "tape": "on a tape, for each iteration",
            "segment": "where a segment of the loop begins, whose iterations are computed again",
            "value": "once",
            "undo": "before it is overwritten, each time, to be put back",
        }[row.how]
        why = f"; the derivative of {', '.join(row.needed_by)} needs it" if row.needed_by else ""
        lines.append(f"{row.name}: {row.type}{where}: kept {how}, {row.bytes} bytes{why}")
    for value in plan.unreached:
        lines.append(f"{value.name or 'an argument'} does not reach the result: its derivative is zero")
    return "\n".join(lines)


def _owner_span(plan: Plan, value: Value) -> Span | None:
    owner = plan.prepared.sites[plan.prepared.home[value]].owner
    return owner.span if owner is not None else None


def _bytes(value: Value) -> str:
    t = value.type
    assert isinstance(t, Scalar | Array)
    return " x ".join([str(t.dtype.itemsize), *("extent" if d is None else str(d) for d in t.dims)])


def _reasons(plan: Plan) -> dict[Value, set[Span | None]]:
    """For each saved value, the spans of the operations whose derivative asks for it, directly or to recompute."""
    out: dict[Value, set[Span | None]] = {}
    for op in walk(plan.reverse.region):
        if op.name != "residual":
            continue
        pending: list[Value] = [op.attrs["of"]]
        seen: set[Value] = set()
        while pending:
            value = pending.pop()
            if value in seen or isinstance(value, Const):
                continue
            seen.add(value)
            if value in plan.saved:
                out.setdefault(value, set()).add(op.span)
            else:
                pending.extend(plan.sources(value) or ())
    return out
