"""`callback`: Python functions that cannot be traced, called from compiled programs.

In: a function, and what it returns. Out: an object that is called like the function, by plain Python too; in a traced
program its call is a call of Python at run time, from the kernel, with copies of the arguments as NumPy arrays and
Python numbers. Exceptions that it raises are the caller's.

The function must not write to arrays that the compiled function reads. It holds the interpreter lock while it runs, and
a loop around it is not run on several threads.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from typing import Any

from ..ir.errors import ArgumentError
from ..tracer import Derivative, Opaque

__all__ = ["Callback", "callback"]

Function = Callable[..., Any]
DERIVATIVES = ("unknown", "zero")


class Callback:
    """A function that is called, not traced; made by `callback`."""

    __adjit_binding__ = "custom_rule"

    def __init__(self, function: Function, result: Any, effects: bool, derivative: str) -> None:
        if not callable(function):
            raise ArgumentError(f"callback takes a function, not {type(function).__name__}")
        functools.update_wrapper(self, function)
        self.__wrapped__ = function
        self.result = result
        self.effects = effects
        self.derivative = derivative
        self.vjp: tuple[Function, bool] | None = None
        self.jvp: tuple[Function, bool] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __reduce__(self) -> Any:
        """By its name, as functions are pickled, where it stands in place of the function."""
        found: Any = sys.modules.get(self.__module__)
        name: str = getattr(self, "__qualname__", "")
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            return name
        return remade, (self.__wrapped__, self.result, self.effects, self.derivative, self.vjp, self.jvp)

    def defvjp(self, rule: Function | None = None, *, callback: bool = False) -> Any:
        """Give the derivative in reverse mode: `rule(dy, y, *args)` takes the cotangent of the result, the result and
        the arguments, and returns a tuple with the cotangent of each argument (None where it is zero). It is linear in
        `dy`, and serves forward mode as well where there is no other rule. It is traced, and differentiated for second
        derivatives; with `callback=True` it is called by Python, too. Returns the rule: a decorator.

        >>> import numpy as np
        >>> from adjit import callback, grad
        >>> @callback(result=lambda x: x)
        ... def cube(x):
        ...     return np.power(x, 3)
        >>> @cube.defvjp
        ... def rule(dy, y, x):
        ...     return (3.0 * x * x * dy,)
        >>> grad(cube)(2.0), grad(grad(cube))(2.0)
        (12.0, 12.0)
        """
        return self._rule("vjp", rule, callback)

    def defjvp(self, rule: Function | None = None, *, callback: bool = False) -> Any:
        """Give the derivative in forward mode: `rule(dx, y, *args)` takes a tuple with the tangent of each argument
        (0.0 for what is no float), the result and the arguments, and returns the tangent of the result. Where there is
        no `defvjp`, reverse mode transposes it, unless it is called by Python itself (`callback=True`)."""
        return self._rule("jvp", rule, callback)

    def _rule(self, kind: str, rule: Function | None, python: bool) -> Any:
        if rule is None:
            return functools.partial(self._rule, kind, python=python)
        name = getattr(self, "__name__", "the function")
        if getattr(self, kind) is not None or self.derivative == "zero":
            why = "has a rule already" if self.derivative != "zero" else 'says derivative="zero"'
            raise ArgumentError(f"`{name}` {why}", help="programs that are compiled would go on with the first one")
        if not callable(rule):
            raise ArgumentError(f"a rule is a function, not {type(rule).__name__}")
        setattr(self, kind, (rule, bool(python)))
        return rule

    @property
    def __adjit_derivative__(self) -> Derivative:
        options = Opaque(self.result, self.effects, self.derivative == "zero", "", self.vjp, self.jvp)
        return Derivative("callback", self.__wrapped__, options=options)


def callback(
    function: Function | None = None, result: Any = None, *, effects: bool | None = None, derivative: str = "unknown"
) -> Any:
    """`function`, which is not traced: compiled programs call it as Python, with its arguments as NumPy arrays and
    Python numbers. Usable as `@callback(result=...)` and as `callback(function, result=...)`.

    `result` says what it returns: an example (`0.0`, `np.zeros(3)`, a tuple or dict of such), or a function of the
    same arguments that makes one, which is traced for its shapes and dtypes: `lambda x: x`, `lambda x, n: np.zeros(n)`.
    What is returned must fit, else ArgumentError or ShapeError.

    `effects`: whether calls count, as printing does. With effects (the default where there is no result), the function
    is called exactly as often as Python would, in order, and never by a reverse sweep. Without, it is a function of its
    arguments alone: calls with equal arguments may become one, and one whose result nobody uses, none.

    Its derivative is not known: differentiating through it is refused, unless it is given (`defvjp`, `defjvp`) or
    counts as zero (`derivative="zero"`).

    >>> import numpy as np
    >>> from adjit import callback, grad, jit
    >>> @callback(result=lambda x: x)
    ... def ranks(x):
    ...     return [sorted(x).index(v) for v in x]
    >>> jit(lambda x: ranks(x) * 10.0)(np.array([0.5, 0.1, 0.3]))
    array([20.,  0., 10.])
    """
    if derivative not in DERIVATIVES:
        raise ArgumentError(
            f"derivative={derivative!r} of a callback",
            help='write derivative="zero" where it counts as zero; give others by `defvjp` or `defjvp`',
        )
    if function is None:
        return functools.partial(callback, result=result, effects=effects, derivative=derivative)
    return Callback(function, result, result is None if effects is None else bool(effects), derivative)


def remade(function: Function, result: Any, effects: bool, derivative: str, vjp: Any, jvp: Any) -> Callback:
    """A callback from its parts."""
    out = Callback(function, result, effects, derivative)
    out.vjp, out.jvp = vjp, jvp
    return out


callback.__adjit_binding__ = "callback"  # type: ignore[attr-defined]  # what the tracer knows it by
