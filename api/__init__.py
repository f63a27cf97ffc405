"""What users call: transforms, the compiled object, pytrees of arguments, and the errors they catch."""

from ..ir.errors import (
    AdjitError,
    ArgumentError,
    BoundsError,
    CheckError,
    InternalError,
    ShapeError,
    TraceTypeError,
    UnsupportedError,
)
from .compiled import Compiled
from .transforms import grad, jit, stop_gradient, value_and_grad, vjp

__all__ = [
    "AdjitError",
    "ArgumentError",
    "BoundsError",
    "CheckError",
    "Compiled",
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
