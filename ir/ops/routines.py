"""Operations that call a library routine on whole matrices: how they are declared.

In: a name, a signature in NumPy's notation for generalized ufuncs, what it means on NumPy arrays, its derivative. Out:
a registry entry of category "library" whose types, extents and lowering follow from the signature:

    routine("lu_factor", "(n,n)->(n,n),(n):i64,:i64", evaluate)
    routine("solve_factored", "(n,n),(n,k),(n,n),(n):i64->(n,k)", evaluate, reads=(1, 2, 3), …)

Letters are extents; axes before those of the signature are a stack of independent problems, the same for all
operands (the tracer broadcasts). `;k=min(m,n)` names an extent that follows from others. An operand or result is of
the operands' float dtype unless `:i64` (or another dtype) says so; `:i64` alone is one number for the whole stack: a
*status*, 0 where all went well, since a kernel never raises. The tracer turns it into a `check`.

A factorization is *data* (no derivative), and what is computed with it takes the matrix and its factors: the
derivative of ``solve_factored(A, B, LU, pivots)`` is that of A⁻¹B, in terms of the same factors. `reads` says which
operands the routine looks at (and `compute` what it makes of those), `known` that there is none: the result is one of
the operands (``cholesky(A, L)`` is L).

The routine has the operation's name in `codegen.primitives`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..core import Const, Op, Region, Value, builder
from ..types import DTYPES, I64, Array, DType, Type, make
from .declare import OpDef, declare, extent

__all__ = ["Part", "Signature", "least", "routine", "signature_of"]


@dataclass(frozen=True)
class Part:
    """One operand or result: its letters, its dtype (None: the operands' float dtype), and whether there is one for
    each problem of a stack."""

    letters: tuple[str, ...]
    dtype: DType | None
    stacked: bool

    @property
    def rank(self) -> int:
        return len(self.letters)


@dataclass(frozen=True)
class Signature:
    """A signature taken apart. `derived`: letters that are the least of two others. `reads`: the operands that the
    routine looks at; `attributes`: the attributes that it takes, in this order, after results and operands; `compute`:
    what it makes of these."""

    operands: tuple[Part, ...]
    results: tuple[Part, ...]
    derived: dict[str, tuple[str, str]]
    reads: tuple[int, ...]
    attributes: tuple[str, ...]
    compute: Callable[..., Any]


_SIGNATURES: dict[str, Signature] = {}


def signature_of(name: str) -> Signature | None:
    """The signature of an operation that is declared by one; None of others."""
    return _SIGNATURES.get(name)


_PART = re.compile(r"(\([a-z,]*\))?(?::(\w+))?(?:,|$)")


def parts_of(text: str) -> tuple[Part, ...]:
    out = []
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None or match.end() == at:
            raise ValueError(f"not a signature: {text!r}")
        letters, dtype = match.groups()
        names = tuple(filter(None, letters[1:-1].split(","))) if letters else ()
        out.append(Part(names, DTYPES[dtype] if dtype else None, letters is not None))
        at = match.end()
    return tuple(out)


def parse_signature(
    text: str, reads: Sequence[int] | None, attributes: Sequence[str], compute: Callable[..., Any]
) -> Signature:
    text, *where = text.replace(" ", "").split(";")
    derived = {}
    for definition in where:
        match = re.fullmatch(r"(\w)=min\((\w),(\w)\)", definition)
        if match is None:
            raise ValueError(f"not the definition of an extent: {definition!r}")
        derived[match[1]] = (match[2], match[3])
    left, right = (parts_of(side) for side in text.split("->"))
    looked_at = tuple(range(len(left)) if reads is None else reads)
    return Signature(left, right, derived, looked_at, tuple(attributes), compute)


# ---------------------------------------------------------------- types and extents


def infer_types(name: str, signature: Signature) -> Callable[[list[Value], dict[str, Any], list[Region]], list[Type]]:
    def infer(operands: list[Value], attrs: dict[str, Any], regions: list[Region]) -> list[Type]:
        def wrong(why: str) -> TypeError:
            return TypeError(f"{name}: {[str(x.type) for x in operands]}: {why}")

        if len(operands) != len(signature.operands):
            raise wrong(f"{len(signature.operands)} operands are needed")
        kinds = {x.dtype for x, part in zip(operands, signature.operands) if part.dtype is None}
        if len(kinds) != 1 or not next(iter(kinds)).is_float:
            raise wrong("cast to one float dtype first")
        (kind,) = kinds
        known: dict[str, int | None] = {}
        stacks: list[tuple[int | None, ...]] = []
        for x, part in zip(operands, signature.operands):
            if part.dtype is not None and x.dtype is not part.dtype:
                raise wrong(f"{part.dtype} is needed")
            dims = x.type.dims if isinstance(x.type, Array) else ()
            if len(dims) < part.rank:
                raise wrong(f"{part.rank} axes are needed")
            lead = len(dims) - part.rank
            stacks.append(dims[:lead])
            for letter, d in zip(part.letters, dims[lead:]):
                before = known.get(letter)
                if d is not None and before is not None and d != before:
                    raise wrong("extents differ")
                known[letter] = d if before is None else before
        if len({len(s) for s in stacks}) != 1:
            raise wrong("stacks differ; broadcast first")
        stack = tuple(next((d for d in ds if d is not None), None) for ds in zip(*stacks))
        for letter, (a, b) in signature.derived.items():
            m, n = known.get(a), known.get(b)
            known[letter] = min(m, n) if m is not None and n is not None else known.get(letter)
        return [
            make(part.dtype or kind, (*(stack if part.stacked else ()), *(known.get(c) for c in part.letters)))
            for part in signature.results
        ]

    return infer


def find_extents(signature: Signature) -> Callable[[Op], list[list[Value]]]:
    def extents(op: Op) -> list[list[Value]]:
        sizes: dict[str, Value] = {}
        for x, part in zip(op.operands, signature.operands):
            lead = x.rank - part.rank
            for k, letter in enumerate(part.letters):
                if letter not in sizes:
                    sizes[letter] = extent(x, lead + k)
        for letter, (a, b) in signature.derived.items():
            sizes.setdefault(letter, least(sizes[a], sizes[b]))
        first = op.operands[0]
        stack = [extent(first, k) for k in range(first.rank - signature.operands[0].rank)]
        return [[*(stack if part.stacked else ()), *(sizes[c] for c in part.letters)] for part in signature.results]

    return extents


def least(a: Value, b: Value) -> Value:
    """The lesser of two extents, now where both are known."""
    if isinstance(a, Const) and isinstance(b, Const):
        return Const(min(int(a.value), int(b.value)), I64)
    return builder().emit1("minimum", [a, b])


# ---------------------------------------------------------------- declarations


def routine(
    name: str,
    signature: str,
    evaluate: Callable[..., Any],
    *,
    reads: Sequence[int] | None = None,
    compute: Callable[..., Any] | None = None,
    known: int | None = None,
    attributes: Sequence[str] = (),
    **keywords: Any,
) -> OpDef:
    """Declare an operation by its signature; see the module's docstring. `evaluate` gets whole stacks."""
    _SIGNATURES[name] = found = parse_signature(signature, reads, attributes, compute or evaluate)
    element = None
    if known is not None:
        at = known

        def element(get: Callable[[int, list[Value]], Value], index: list[Value]) -> Value:
            return get(at, index)

    return declare(
        OpDef(
            name,
            infer_types(name, found),
            evaluate=evaluate,
            extents=find_extents(found),
            element=element,
            category="library",
            cost=100,
            **keywords,
        )
    )
