"""Exact gradients of plain Python, NumPy and in-place loops, compiled to one native kernel."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adjit.api import (
        AdjitError,
        ArgumentError,
        BoundsError,
        CheckError,
        GradientError,
        GradientReport,
        InternalError,
        ShapeError,
        TraceTypeError,
        UnreachedArgumentWarning,
        UnsupportedError,
        callback,
        check_grads,
        checkpoint,
        clear_memory,
        custom_jvp,
        custom_linear_solve,
        custom_root,
        custom_vjp,
        fixed_point,
        grad,
        hessian,
        hvp,
        jacfwd,
        jacobian,
        jacrev,
        jit,
        jvp,
        linearize,
        sparse_hessian,
        sparse_jacobian,
        stop_gradient,
        value_and_grad,
        vjp,
        vmap,
    )

__version__ = "0.1.0"

__all__ = [
    "AdjitError",
    "ArgumentError",
    "BoundsError",
    "CheckError",
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


def __getattr__(name: str) -> Any:
    """The public names, when they are first asked for: `import adjit` alone loads nothing."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from adjit import api

    value = globals()[name] = getattr(api, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
