"""Functions of other libraries in declarations: found by name, when they are first called.

In: a dotted name such as ``scipy.special.erf``. Out: `Named`, a callable that imports the library when it is called,
so that `ir` needs NumPy alone; `special`, which declares such a function as an operation; `refused`, for operands by
which an operation has no derivative; `by_rule`, the meaning on the complex numbers of complex step, derived from the
declared partial derivatives, for functions whose library has no complex version.

>>> float(Named("math.hypot")(3.0, 4.0))
5.0
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from ..core import Builder, Function, Region, Value, builder, const
from ..errors import UnsupportedError
from ..types import F64, Array
from .analytic import continued, product, with_parts
from .declare import OpDef, call_rule, elementwise, lookup, of_floats

__all__ = ["Named", "by_rule", "refused", "special"]


class Named:
    """A function of a library, imported when first called; `nin`: how many arguments it takes."""

    def __init__(self, name: str, nin: int = 1) -> None:
        self.name = name
        self.nin = nin
        self.__name__ = name.rsplit(".", 1)[1]
        self.found: Callable[..., Any] | None = None

    @property
    def function(self) -> Callable[..., Any]:
        if self.found is None:
            module, name = self.name.rsplit(".", 1)
            self.found = getattr(importlib.import_module(module), name)
        return self.found

    def __call__(self, *operands: Any) -> Any:
        return self.function(*operands)

    def __repr__(self) -> str:
        return self.name


def refused(name: str, operand: str) -> Callable[[], Any]:
    """The partial derivative by an operand that has none here: asking for it is an error, never a zero."""

    def partial() -> Any:
        raise UnsupportedError(
            f"`{name}` has no derivative by `{operand}` in adjit",
            builder().span,
            help=f"hold it constant: pass adjit.stop_gradient({operand}), or do not differentiate by it",
        )

    return partial


def special(
    name: str,
    partials: Callable[..., Any] | None,
    *,
    domain: Any,
    function: str = "",
    continuation: Callable[..., Any] | None = None,
    masks: Callable[..., Any] | None = None,
    cost: int = 24,
    kinks: str = "",
) -> OpDef:
    """Declare a function of `scipy.special` (`function`: its name there) on floats.

    `continuation`: its values on complex numbers, by default what follows from the partial derivatives.
    """
    named = Named(f"scipy.special.{function or name}")
    return elementwise(
        name,
        named,
        partials=partials,
        masks=masks,
        result=of_floats(name),
        evaluate_complex=continued(named, by_rule(name) if continuation is None else continuation),
        domain=domain,
        cost=cost,
        kinks=kinks,
    )


# ---------------------------------------------------------------- complex step by the declared derivative


def by_rule(name: str) -> Callable[..., Any]:
    """The continuation whose imaginary part is the sum of partial derivatives times imaginary parts."""

    def continuation(*operands: Any) -> Any:
        shape = np.broadcast_shapes(*(np.shape(x) for x in operands))
        reals = [np.ravel(np.broadcast_to(np.asarray(np.real(x), np.float64), shape)) for x in operands]
        total = np.zeros(shape)
        for k, x in enumerate(operands):
            imag = np.imag(x)
            if np.any(imag):
                total = total + product(np.reshape(partial_values(name, k, reals), shape), imag)
        return with_parts(np.zeros(shape), total)

    return continuation


def partial_values(name: str, k: int, operands: list[Any]) -> Any:
    """The declared partial derivative by operand `k`, evaluated on vectors."""
    from ..interp import run

    found = partial_program(name, k, len(operands))
    values = run(found, operands)[0] if isinstance(found, Function) else found
    return np.broadcast_to(values, np.shape(operands[0]))


@cache
def partial_program(name: str, k: int, count: int) -> Function | float:
    """The rule of an operation for one operand as a function of its own, or a number where it is one."""
    definition = lookup(name)
    operands = [Value(Array(F64, (None,)), f"x{j}") for j in range(count)]
    function = Function(f"{name}.partial", Region(list(operands)))
    with Builder(function.body) as b:
        y = b.emit1(name, operands)
        assert definition.partials is not None
        partial = call_rule(definition.partials, operands, {}, y=y)[k]
        partial = partial() if callable(partial) else partial
        masks: Any = call_rule(definition.masks, operands, {}, y=y) if definition.masks else [None] * count
        mask = masks[k]() if callable(masks[k]) else masks[k]
        if partial is None:
            return 0.0
        if not isinstance(partial, Value):
            return float(partial)
        if mask is not None:
            partial = b.emit1("select", [mask, partial, const(0.0)])
        b.emit("return", [partial])
    return function
