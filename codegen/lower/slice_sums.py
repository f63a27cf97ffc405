"""Chains of additions to overlapping slices of one array become one operation, `assemble`.

In: a function of the array IR. Out: the same function, or an equal one in which each chain is one operation that says
how every element of its result is made; `gather` then makes one loop nest of it, where each link alone would be one.
Such chains are what the adjoint of an expression of shifted slices is:

    %a_1: f64[?] = accumulate %a, %v, 0, %m, 1 {spec="s"}        %a_3: f64[?] = assemble %a, %v, 0, %m, 1,
    %a_2: f64[?] = accumulate %a_1, %w, 1, %m, 1 {spec="s"}  =>      %w, 1, %m, 1, %v, 2, %m, 1
    %a_3: f64[?] = accumulate %a_2, %v, 2, %m, 1 {spec="s"}          {specs=("s","s","s"), sets=..., ...}

A link is an `accumulate`, or an `update` (which overwrites: `sets`), with steps of 1. The links of a chain stand in one
region, and nothing but the next link reads what a link gives. Along each axis all links take the same part, or each
takes nearly all of the axis: what is left out at its ends is a few elements, however large the array. (Parts that have
little in common would leave no interior.) Every element sees the links in their order, as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...ir.core import Const, Function, Op, Region, Value, walk
from ...ir.ops.declare import OpDef, declare, extents_of
from ...ir.ops.indexing import evaluate_accumulate, evaluate_update, infer_update, split_spec
from ...ir.rewrite import clone_function
from ...ir.types import Type
from .samples import SAMPLES, Samples, samples_of

__all__ = ["Piece", "assemble_slices", "common", "margins", "pieces_of"]

MARGIN = 16
"""How much of an axis the parts of a chain may leave out."""
PIECES = 24
"""A chain longer than this is cut: one loop that reads too much runs out of registers."""


@dataclass(frozen=True)
class Piece:
    """One link: `value` is added to the part of the array that `spec` and `parts` select, or (`sets`) put there."""

    value: Value
    spec: str
    parts: tuple[tuple[Value, ...], ...]
    sets: bool


def operand_count(spec: str) -> int:
    return 1 + spec.count("i") + 3 * spec.count("s")


def pieces_of(op: Op) -> list[Piece]:
    """The links of an `assemble`, or of an `accumulate` or `update` as the one link that it is."""
    if op.name != "assemble":
        specs, sets = [op.attrs["spec"]], [op.name == "update"]
    else:
        specs, sets = list(op.attrs["specs"]), list(op.attrs["sets"])
    out: list[Piece] = []
    at = 1
    for spec, overwrites in zip(specs, sets, strict=True):
        value, *positions = op.operands[at : at + operand_count(spec)]
        out.append(Piece(value, spec, tuple(split_spec(spec, positions)), overwrites))
        at += operand_count(spec)
    return out


def infer_assemble(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
    at = 1
    for spec in attrs["specs"]:
        infer_update([operands[0], *operands[at : at + operand_count(spec)]], {"spec": spec}, [])
        at += operand_count(spec)
    return [operands[0].type]


def evaluate_assemble(array: Any, *rest: Any, specs: tuple[str, ...], sets: tuple[bool, ...], **_: Any) -> Any:
    at = 0
    for spec, overwrites in zip(specs, sets, strict=True):
        evaluate = evaluate_update if overwrites else evaluate_accumulate
        array = evaluate(array, *rest[at : at + operand_count(spec)], spec=spec)
        at += operand_count(spec)
    return np.array(array)


declare(
    OpDef(
        "assemble",
        infer_assemble,
        evaluate=evaluate_assemble,
        category="buffer",
        extents=lambda op: [extents_of(op.operands[0])],
    )
)


# ---------------------------------------------------------------- finding chains


def assemble_slices(function: Function) -> Function:
    """The function with its chains assembled; see the module's docstring."""
    if function.attrs.get("donated"):  # what is written is seen where the program fails half way: not to be put off
        return function
    if not any(is_link(op) for op in walk(function.body)):
        return function
    out = clone_function(function)
    samples, uses = samples_of(out), uses_in(out)
    found = [(region, chain) for region in regions_of(out) for chain in chains(region, uses, samples)]
    for region, chain in found:
        replace(region, chain, samples)
    return out if found else function


def regions_of(function: Function) -> list[Region]:
    return [function.body, *(inner for op in walk(function.body) for inner in op.regions)]


def uses_in(function: Function) -> dict[Value, int]:
    out: dict[Value, int] = {}
    for op in walk(function.body):
        for x in op.operands:
            if x.is_array:
                out[x] = out.get(x, 0) + 1
    return out


def chains(region: Region, uses: Mapping[Value, int], samples: Samples) -> list[list[Op]]:
    """The chains of a region that are worth it."""
    open_chains: dict[Value, list[Op]] = {}
    found: list[list[Op]] = []
    for op in region.ops:
        if op.regions:
            open_chains.clear()  # what a link adds would have to be kept while a loop runs
        if not is_link(op):
            continue
        chain = open_chains.pop(op.operands[0], None) if uses[op.operands[0]] == 1 else None
        if chain is None or len(chain) == PIECES or not fit([*chain, op], samples):
            chain = []
            found.append(chain)
        chain.append(op)
        open_chains[op.result] = chain
    return [chain for chain in found if worth(chain, samples)]


def is_link(op: Op) -> bool:
    if op.name not in ("accumulate", "update") or not op.result.dtype.is_float:
        return False
    (piece,) = pieces_of(op)
    return all(len(part) != 3 or (isinstance(part[2], Const) and part[2].value == 1) for part in piece.parts)


def fit(chain: Sequence[Op], samples: Samples) -> bool:
    """Whether links may be one chain: along each axis the same part or nearly all."""
    pieces = [piece for op in chain for piece in pieces_of(op)]
    array = chain[0].operands[0]
    return all(same_part(pieces, k) or nearly_all(array, pieces, k, samples) for k in range(array.rank))


def worth(chain: Sequence[Op], samples: Samples) -> bool:
    """Whether one nest is better than one for each link."""
    if not chain:
        return False
    pieces = [piece for op in chain for piece in pieces_of(op)]
    array = chain[0].operands[0]
    if is_fill(array) and covers(array, pieces, samples):
        return True  # no loop that fills
    if all(same_part(pieces, k) for k in range(array.rank)):
        return False  # loops over one range are fused later
    return len(pieces) > 1


def is_fill(array: Value) -> bool:
    return array.op is not None and array.op.name == "fill"


def covers(array: Value, pieces: Sequence[Piece], samples: Samples) -> bool:
    """Whether a nest over the whole array does little that need not be done."""
    return all(nearly_all(array, pieces, k, samples) for k in range(array.rank))


def same_part(pieces: Sequence[Piece], axis: int) -> bool:
    first = pieces[0]
    return all(p.spec[axis] == first.spec[axis] and p.parts[axis] == first.parts[axis] for p in pieces)


def nearly_all(array: Value, pieces: Sequence[Piece], axis: int, samples: Samples) -> bool:
    """Whether what the parts of an axis have in common lacks only a few elements at its ends, for any extent."""
    cut = [margins(array, piece, axis, samples) for piece in pieces]
    known = array.type.dims[axis]  # type: ignore[union-attr]
    room = min(MARGIN, known // 2) if known is not None else MARGIN
    return all(c is not None for c in cut) and sum(common([c for c in cut if c is not None])) <= room


def margins(array: Value, piece: Piece, axis: int, samples: Samples) -> tuple[int, int] | None:
    """How many elements at either end of an axis a part leaves out, if it is the same number for any large extent."""
    if piece.spec[axis] != "s":
        return None if piece.spec[axis] == "i" else (0, 0)
    start, length, _ = piece.parts[axis]
    found: set[tuple[int, int]] = set()
    for sample in SAMPLES:
        a, n = samples.number(start, sample), samples.number(length, sample)
        if a is None or n is None:
            return None
        found.add((a, samples.extent(array, axis, sample) - a - n))
    (one, *others) = found
    return None if others or min(one) < 0 else one


def common(cut: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What is left out of what parts have in common."""
    return max(low for low, _ in cut), max(high for _, high in cut)


def replace(region: Region, chain: Sequence[Op], samples: Samples) -> None:
    """Put one operation in place of the last link, and take the others away."""
    pieces = [piece for op in chain for piece in pieces_of(op)]
    last = chain[-1]
    operands = [chain[0].operands[0]]
    for op in chain:
        operands += op.operands[1:]
    attrs = {
        "specs": tuple(p.spec for p in pieces),
        "sets": tuple(p.sets for p in pieces),
        "whole": covers(operands[0], pieces, samples),
        "margins": tuple(
            tuple(margins(operands[0], p, k, samples) or (0, 0) for k in range(operands[0].rank)) for p in pieces
        ),
    }
    last.name, last.operands, last.attrs = "assemble", operands, attrs
    gone = set(chain[:-1])
    region.ops[:] = [op for op in region.ops if op not in gone]
