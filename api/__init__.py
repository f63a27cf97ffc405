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
from .callback import callback
from .check import GradientError, GradientReport, check_grads
from .checkpoint import checkpoint
from .compiled import Compiled
from .custom import custom_jvp, custom_vjp
from .derivatives import hessian, hvp, jacfwd, jacobian, jacrev, jvp, linearize, vmap
from .implicit import custom_linear_solve, custom_root, fixed_point
from .memory import clear_memory
from .sparse import sparse_hessian, sparse_jacobian
from .transforms import grad, jit, stop_gradient, value_and_grad, vjp
from .unreached import UnreachedArgumentWarning

__all__ = [
    "AdjitError",
    "ArgumentError",
    "BoundsError",
    "CheckError",
    "Compiled",
    "GradientError",
    "GradientReport",
    "InternalError",
    "ShapeError",
    "TraceTypeError",
    "UnreachedArgumentWarning",
    "UnsupportedError",
    "callback",
    "check_grads",
    "checkpoint",
    "clear_memory",
    "custom_jvp",
    "custom_linear_solve",
    "custom_root",
    "custom_vjp",
    "fixed_point",
    "grad",
    "hessian",
    "hvp",
    "jacfwd",
    "jacobian",
    "jacrev",
    "jit",
    "jvp",
    "linearize",
    "sparse_hessian",
    "sparse_jacobian",
    "stop_gradient",
    "value_and_grad",
    "vjp",
    "vmap",
]
