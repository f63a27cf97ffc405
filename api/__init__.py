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
from .check import check_grads
from .compiled import Compiled
from .derivatives import hessian, hvp, jacfwd, jacobian, jacrev, jvp, linearize
from .memory import clear_memory
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
    "check_grads",
    "clear_memory",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]
