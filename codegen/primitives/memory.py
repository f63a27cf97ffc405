"""Memory that grows: the data of tapes.

In: a buffer, how much of it is used and how much is needed. Out: a buffer with room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .compiled import compiled

__all__ = ["FUNCTIONS", "tape_reserve"]


@compiled
def tape_reserve(data: Any, used: Any, needed: Any) -> Any:
    """`data` if it holds `needed` elements, else a larger buffer (at least twice) that begins with the first `used`."""
    if needed <= len(data):
        return data
    larger = np.empty(max(needed, 2 * len(data), 16), data.dtype)
    for i in range(used):
        larger[i] = data[i]
    return larger


FUNCTIONS: dict[str, Callable[..., Any]] = {"tape_reserve": tape_reserve}
