"""Exact gradients of plain Python, NumPy and in-place loops, compiled to one native kernel."""

from adjit.api import (
    AdjitError,
    ArgumentError,
    BoundsError,
    CheckError,
    InternalError,
    ShapeError,
    TraceTypeError,
    UnsupportedError,
    grad,
    jit,
    stop_gradient,
    value_and_grad,
    vjp,
)

__version__ = "0.1.0"

__all__ = [
    "AdjitError",
    "ArgumentError",
    "BoundsError",
    "CheckError",
    "InternalError",
    "ShapeError",
    "TraceTypeError",
    "UnsupportedError",
    "grad",
    "jit",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]
