"""What LLVM is told about a loop: `short`, of which few turns are run.

In: a module. Out: a metadata node for the branch at the end of the loop (``!llvm.loop``): it may be vectorized, but is
neither unrolled nor made several vectors wide, which would be the larger part of its code.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

__all__ = ["short_loop"]

ONE = ir.Constant(ir.IntType(32), 1)


class LoopNode(ir.MDValue):  # type: ignore[misc]
    """A node that names itself first, which is how LLVM tells loops apart."""

    def descr(self, buf: list[str]) -> None:
        operands = ", ".join([self.get_reference(), *(x.get_reference() for x in self.operands)])
        buf += (f"distinct !{{ {operands} }}", "\n")


def short_loop(module: Any) -> Any:
    """A node for one loop."""
    hints = [
        module.add_metadata([ir.MetaDataString(module, "llvm.loop.interleave.count"), ONE]),
        module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")]),
    ]
    return LoopNode(module, hints, str(len(module.metadata)))
