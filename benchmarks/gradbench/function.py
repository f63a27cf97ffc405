"""What the tool knows of one function of an eval.

In: three plain functions. Out: a `Function`: `prepare` makes arguments of the eval's JSON input (not timed), `compute`
is what is timed, `report` makes the JSON output of its result (not timed).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Function", "floats", "listed"]


def listed(result: Any) -> Any:
    """Arrays as nested lists, NumPy's numbers as Python's, tuples as lists."""
    if isinstance(result, tuple | list):
        return [listed(part) for part in result]
    if isinstance(result, dict):
        return {name: listed(part) for name, part in result.items()}
    return result.tolist() if isinstance(result, np.ndarray | np.generic) else result


def floats(data: Any) -> Any:
    """A float64 array of nested lists."""
    return np.array(data, dtype=np.float64)


@dataclass(frozen=True)
class Function:
    """One function of an eval."""

    prepare: Callable[[Any], tuple[Any, ...]]
    compute: Callable[..., Any]
    report: Callable[[Any], Any] = listed
