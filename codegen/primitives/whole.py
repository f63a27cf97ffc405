"""Whole arrays copied and filled, element by element in order of memory.

In: arrays, the first of which is written. Out: nothing. `out[:] = a` means the same; Numba compiles for it how the
error of a wrong shape is worded, which takes seconds in every process.
"""

from __future__ import annotations

from typing import Any

from .compiled import compiled

__all__ = ["copy", "fill"]


@compiled
def copy(out: Any, a: Any) -> None:
    """out = a, of the same extents"""
    for k in range(a.size):
        out.flat[k] = a.flat[k]


@compiled
def fill(out: Any, value: Any) -> None:
    for k in range(out.size):
        out.flat[k] = value
