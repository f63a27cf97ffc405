"""hello: x², and its derivative."""

from __future__ import annotations

from ...api import grad, jit
from .function import Function

__all__ = ["FUNCTIONS", "square"]


def square(x: float) -> float:
    """x²."""
    return x * x


FUNCTIONS = {
    "square": Function(lambda x: (float(x),), jit(square)),
    "double": Function(lambda x: (float(x),), grad(square)),
}
