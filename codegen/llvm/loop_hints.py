"""What LLVM is told about an innermost loop: that its turns are independent, and that its rows are short.

In: a `for` of the scheduled IR without regions inside, and the branch at its end. Out: metadata.

*Independent turns.* In one buffer, LLVM only sees offsets: whether row i + 1 starts where row i is still being written
depends on extents, so it tests at run time, and with many rows it gives up. Positions tell it apart: they are inside
the buffer, so elements are the same only where all indices are. So a loop is declared parallel if every element that
it writes is touched in one turn only, which is proven as for the fusion of loops (`lower.fuse_loops`):

    for %k in (0, %n) {                              br i1 %more, label %loop, !llvm.loop !1
      %a: f64 = buffer.load %w, %i, %k        =>     !1 = distinct !{!1, !{!"llvm.loop.parallel_accesses", !2}}
      buffer.store %a, %w, %j, %k                    and !2 at every load and store
    }

All that is written is written along rows (the last index is the loop's, plus something that stays): vectors then keep
the order that loads and stores have within a turn.

*Short rows.* A vectorized loop leaves the turns that do not fill a vector to a scalar loop, which takes most of the
time in rows of, say, 14 numbers. Where a loop inside another one computes elementary functions, it is written twice:
for as many turns as fill vectors, and for the rest as one masked vector. A loop that is not inside another one runs
long enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import binding, ir

from ...ir.core import Op, Value
from ...ir.ops.declare import lookup
from ...ir.types import Buffer
from .. import external
from ..lower.accesses import Access, apart, effects
from ..lower.fuse_loops import Fuser, sequential
from ..lower.loops import affine
from .work import INLINE

__all__ = [
    "FULL",
    "LANES",
    "LONG",
    "MASKED",
    "PAIRED",
    "SCALAR",
    "Hints",
    "Vectors",
    "calls_out",
    "independent",
    "short_rows",
]

ELEMENTARY = frozenset({"exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "tanh", "sin", "cos"})


def innermost(loop: Op) -> bool:
    return not any(op.regions for op in loop.regions[0].ops)


def independent(loop: Op, arguments: Sequence[Value]) -> bool:
    """Whether no turn of an innermost loop touches an element that another turn writes. `arguments`: buffers that
    others have laid out; their elements may overlap."""
    body = loop.regions[0]
    index = body.args[0]
    if not innermost(loop) or any(isinstance(v.type, Buffer) for v in body.args):
        return False
    if any(op.name == "buffer.call" for op in body.ops):
        return False
    known = effects(loop)
    written = known.writes
    if not written or written & set(arguments):
        return False
    touched = [a for a in known.accesses if a.root in written]
    return all(along_row(a, index, known.defines) for a in touched) and all(
        Fuser.same_turn(x, y, index, index) or apart(x, y, [])
        for k, x in enumerate(touched)
        for y in touched[k:]
        if x.root is y.root and (x.write or y.write)
    )


def along_row(access: Access, index: Value, changing: set[Value]) -> bool:
    """Whether the last position is the loop's index plus something that stays, and the others stay. What is computed
    in the loop is `changing`: one name, another number in each turn."""
    if not access.position:
        return False
    *rows, last = (affine(p)[0] for p in access.position)
    if any((terms.keys() & changing) - {index} for terms in (*rows, last)):
        return False
    return last.get(index) == 1 and not any(index in terms for terms in rows)


def short_rows(loop: Op) -> bool:
    """Whether a loop computes elementary functions, in turns that can be had side by side. Where they cannot, LLVM
    would say on the terminal that it does not do as it is told."""
    ops = loop.regions[0].ops
    return (
        innermost(loop)
        and not sequential(loop)
        and (not effects(loop).writes or independent(loop, ()))
        and any(op.name in ELEMENTARY for op in ops)
        and all(op.name in INLINE for op in ops)
        and all(not lookup(op.name).effect or op.name in ("buffer.load", "buffer.store") for op in ops[:-1])
    )


def calls_out(blocks: Sequence[Any]) -> bool:
    """Whether instructions call functions that are neither LLVM's own nor those of `vecmath`, which are inlined or come
    for vectors too: SciPy's and the C library's, those that Numba compiles. Such a loop cannot be had in vectors."""
    called = (i.callee for block in blocks for i in block.instructions if isinstance(i, ir.CallInstr))
    names = (getattr(callee, "name", "") for callee in called)
    return any(not name.startswith(("llvm.", "adjit_")) or name.startswith(external.PREFIX) for name in names)


@dataclass(frozen=True)
class Vectors:
    """How many turns at a time (None: as LLVM likes), whether the last of them may be missing, how many such vectors
    side by side."""

    lanes: int | None
    masked: bool
    several: int = 1


LANES = 8
"""Turns at a time: a vector of the widest registers, two of the next narrower ones."""
FULL, MASKED, SCALAR = Vectors(LANES, False), Vectors(LANES, True), Vectors(1, False)
PAIRED = Vectors(None, False, 2)
"""Two vectors at a time, whatever is in one: elementary functions wait for their own results most of the time."""
LONG = Vectors(LANES, False, 2 if binding.get_host_cpu_features().get("avx512f") else 1)
"""Two registers at a time for stretches of sums, which are rows of whole vectors of `LANES`."""


ALIGNMENT = 32
"""Bytes that processors fetch, and keep as decoded instructions, together."""


class Distinct(ir.MDValue):  # type: ignore[misc]
    """A node that is equal to itself alone; `itself`: whether it begins with a reference to itself."""

    def __init__(self, module: Any, operands: Sequence[Any], itself: bool) -> None:
        super().__init__(module, operands, str(len(module.metadata)))
        self.itself = itself

    def descr(self, buf: Any) -> None:
        nodes = [*([self] if self.itself else []), *self.operands]
        buf += (f"distinct !{{ {', '.join(node.get_reference() for node in nodes)} }}", "\n")

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


class Hints:
    """Metadata of the loops of a module."""

    def __init__(self, module: Any) -> None:
        self.module = module

    def group(self) -> Distinct:
        """What the accesses of one loop have in common."""
        return Distinct(self.module, [], False)

    def align(self, branch: Any) -> None:
        """Let the loop that ends with a branch begin at a multiple of `ALIGNMENT` bytes."""
        hint = self.module.add_metadata(["llvm.loop.align", ir.IntType(32)(ALIGNMENT)])
        branch.set_metadata("llvm.loop", Distinct(self.module, [hint], True))

    def attach(
        self,
        branch: Any,
        group: Distinct | None,
        vectors: Vectors | None,
        *,
        whole: bool = False,
        few: bool = False,
        plain: bool = False,
    ) -> None:
        """Give the branch at a loop's end its hints. `whole`: it is to be unrolled altogether; `few`: few of its turns
        are ever run, so that it may be vectorized, but neither unrolled nor made several vectors wide; `plain`: it is
        not worth vectors either."""
        hints: list[Any] = []
        if whole:
            hints.append(["llvm.loop.unroll.full"])
        elif plain:
            hints += [["llvm.loop.unroll.disable"], ["llvm.loop.vectorize.enable", ir.IntType(1)(0)]]
        elif few:
            hints.append(["llvm.loop.unroll.disable"])
            if vectors is None:
                hints.append(["llvm.loop.interleave.count", ir.IntType(32)(1)])
        if group is not None:
            hints.append(["llvm.loop.parallel_accesses", group])
        if vectors is not None:
            if vectors.lanes is not None:
                hints.append(["llvm.loop.vectorize.width", ir.IntType(32)(vectors.lanes)])
            hints.append(["llvm.loop.interleave.count", ir.IntType(32)(vectors.several)])
            if vectors.masked:
                hints.append(["llvm.loop.vectorize.predicate.enable", ir.IntType(1)(1)])
        if hints:
            branch.set_metadata("llvm.loop", Distinct(self.module, [self.module.add_metadata(h) for h in hints], True))
