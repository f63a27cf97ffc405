"""Library routines in NumPy: what kernels call by name, for the interpreter of schedules and for plain Python.

In: the operations with a signature (`ir.ops.routines`). Out: `ROUTINES`, by name. A routine takes memory: the results,
the operands that it reads, its attributes. Each is a stack of problems along the first axis; numbers have one element.
It writes the results and returns nothing. `codegen.primitives.library` has their compiled forms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..ir.ops import REGISTRY
from ..ir.ops.routines import Signature, signature_of

__all__ = ["ROUTINES", "written_by"]


def plain(name: str, signature: Signature) -> Callable[..., None]:
    count, reads, attributes = len(signature.results), len(signature.reads), signature.attributes

    def routine(*memory: Any) -> None:
        attrs = {k: bool(v) for k, v in zip(attributes, memory[count + reads :])}
        with np.errstate(all="ignore"):
            found = signature.compute(*memory[count : count + reads], **attrs)
        for dest, value in zip(memory[:count], found if count > 1 else (found,)):
            dest[...] = value

    routine.__name__ = routine.__qualname__ = name
    routine.__doc__ = f"The routine of the operation `{name}`."
    return routine


def with_routine(name: str) -> Signature | None:
    """The signature of an operation that has a routine."""
    signature = signature_of(name)
    return signature if signature is not None and REGISTRY[name].element is None else None


ROUTINES: dict[str, Callable[..., None]] = {
    name: plain(name, signature) for name in REGISTRY if (signature := with_routine(name)) is not None
}


def written_by(name: str) -> tuple[int, ...]:
    """Which operands a routine writes to: its results."""
    signature = with_routine(name)
    assert signature is not None
    return tuple(range(len(signature.results)))
