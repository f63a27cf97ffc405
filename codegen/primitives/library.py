"""The compiled forms of library routines.

In: the routines in NumPy (`codegen.routines`) and what Numba compiles in their place (`dense`: loops; `lapack`: calls
of LAPACK). Out: `FUNCTIONS`, which are the former, and Numba knows the latter. No routine raises: a status says what
failed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from numba import extending
from numba.core import types

from ..routines import ROUTINES
from . import dense, lapack

__all__ = ["FUNCTIONS", "IMPLEMENTATIONS"]

FUNCTIONS: dict[str, Callable[..., Any]] = dict(ROUTINES)

IMPLEMENTATIONS: dict[str, Callable[[Any], Callable[..., None]]] = {**dense.IMPLEMENTATIONS, **lapack.IMPLEMENTATIONS}
"""By name: a function from the elements' type, float32 or float64, to the Python function that is compiled."""


def register(name: str) -> None:
    made = cache(IMPLEMENTATIONS[name])

    def choose(*memory: Any) -> Any:
        kinds = {m.dtype for m in memory if isinstance(m, types.Array) and isinstance(m.dtype, types.Float)}
        return made(kinds.pop()) if len(kinds) == 1 else None

    numba: Any = extending
    numba.overload(ROUTINES[name], strict=False, jit_options={"nogil": True, "error_model": "numpy"})(choose)


for _name in FUNCTIONS:
    register(_name)
