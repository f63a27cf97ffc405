"""Bindings of what `@njit` code says to Numba's compiler: `prange`, `literal_unroll`.

In: a helper written for Numba, read as Python. Out: the loop it means. `prange` is `range`, as it is for Numba without
`parallel=True`: which loops run on threads, adjit finds out itself (`grad(f, parallel=True)`).
"""

from __future__ import annotations

from typing import Any

from .bind_sequences import range_
from .bindings import always, binds_named
from .context import Tracer

__all__ = ["register"]


def literal_unroll(t: Tracer, container: Any) -> Any:
    """A loop over a tuple is unrolled anyway."""
    return container


def register() -> None:
    binds_named("numba.prange", always(range_))
    binds_named("numba.literal_unroll", always(literal_unroll))
