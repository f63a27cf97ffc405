"""How the library functions of kernels are compiled.

In: a Python function. Out: `compiled(function)`, which Numba compiles for each type it is called with: without the
interpreter lock, and dividing as NumPy does, since an exception of Python's must not leave a kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one that kernels can call; under plain Python it is called through Numba."""
    out: Callable[..., Any] = njit(nogil=True, error_model="numpy")(function)
    return out
