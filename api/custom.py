"""Derivatives of the user's own: `custom_vjp` and `custom_jvp`.

In: a function, and the rule of its derivative, written like any other function. Out: an object that is called like the
function, by plain Python too, and whose derivative is the rule's wherever adjit differentiates a program that calls
it. Names and signatures are JAX's. Rules are traced: they fuse into the kernel, and are differentiated for higher
derivatives.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..ir.errors import ArgumentError
from ..tracer import Derivative

__all__ = ["custom_jvp", "custom_vjp"]

Function = Callable[..., Any]


class WithRule:
    """A function and its rules."""

    __adjit_binding__ = "custom_rule"

    def __init__(self, function: Function, nondiff_argnums: tuple[int, ...] = ()) -> None:
        if not callable(function):
            raise ArgumentError(f"{type(self).__name__} takes a function, not {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self.nondiff_argnums = tuple(nondiff_argnums)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def require_no_rule(self, rule: Function | None) -> None:
        """Refuse a second rule: programs that are compiled would go on with the first one."""
        if rule is not None:
            name = getattr(self, "__name__", "the function")
            raise ArgumentError(
                f"`{name}` has a rule already",
                help=f"make the function anew, `{name} = {type(self).__name__}({name}.__wrapped__)`, and give it that",
            )


class custom_vjp(WithRule):
    """A function whose derivative in reverse mode is given by two functions:

    * `forward(*args)` returns the value, and whatever the second needs;
    * `backward(needed, cotangent)` returns a tuple with the cotangent of each argument (None where it is zero).

    Arguments numbered in `nondiff_argnums` are not differentiated: `backward` takes them first, in order. In forward
    mode (jvp, jacfwd, hessian's outer derivative of code that is not itself a gradient) the function is refused;
    `custom_jvp` serves both modes.

    >>> import numpy as np
    >>> from adjit import custom_vjp, grad
    >>> @custom_vjp
    ... def clipped(x):
    ...     return x
    >>> clipped.defvjp(lambda x: (x, None), lambda _, dy: (np.clip(dy, -1.0, 1.0),))
    >>> grad(lambda x: 10.0 * clipped(x))(2.0)
    1.0
    """

    forward: Function | None = None
    backward: Function | None = None

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Give the rule."""
        self.require_no_rule(self.forward)
        self.forward, self.backward = forward, backward

    @property
    def __adjit_derivative__(self) -> Derivative:
        return Derivative("custom_vjp", self.__wrapped__, options=(self.forward, self.backward, self.nondiff_argnums))


class custom_jvp(WithRule):
    """A function whose derivative is given by a function of primals and tangents:

    * `rule(primals, tangents)` returns the value and its tangent, which has to be linear in `tangents`.

    Reverse mode transposes the rule. Arguments numbered in `nondiff_argnums` are not differentiated: the rule takes
    them first, in order.

    >>> import numpy as np
    >>> from adjit import custom_jvp, grad
    >>> @custom_jvp
    ... def log1pexp(x):
    ...     return np.log1p(np.exp(x))
    >>> @log1pexp.defjvp
    ... def rule(primals, tangents):
    ...     (x,), (dx,) = primals, tangents
    ...     return log1pexp(x), (1.0 - 1.0 / (1.0 + np.exp(x))) * dx
    >>> grad(log1pexp)(100.0)
    1.0
    """

    rule: Function | None = None

    def defjvp(self, rule: Function) -> Function:
        """Give the rule; returns it, so that this is a decorator."""
        self.require_no_rule(self.rule)
        self.rule = rule
        return rule

    def defjvps(self, *rules: Function | None) -> None:
        """Give a rule for each argument, `rule(tangent, value, *primals)`; None where the tangent is zero."""
        self.require_no_rule(self.rule)
        function = self.__wrapped__

        def rule(primals: Any, tangents: Any) -> Any:
            value = function(*primals)
            total = 0.0
            for own, tangent in zip(rules, tangents, strict=True):
                if own is not None:
                    total = total + own(tangent, value, *primals)
            return value, total

        self.rule = rule

    @property
    def __adjit_derivative__(self) -> Derivative:
        return Derivative("custom_jvp", self.__wrapped__, options=(self.rule, self.nondiff_argnums))
