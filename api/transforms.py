"""The first transforms: `grad`, `value_and_grad`, `jit`, `vjp`, `stop_gradient` (the others: `derivatives`).

In: a plain Python function (or nothing, when used as a decorator with arguments). Out: a `Compiled` object.
The vocabulary is JAX's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from .compiled import Compiled, Pullback, Transform
from .specialize import checked_argnums, checked_donate, static_names, thread_count

__all__ = ["grad", "jit", "stop_gradient", "value_and_grad", "vjp"]

T = TypeVar("T")
Names = str | Iterable[str]


def grad(
    function: Callable[..., Any] | None = None,
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    static_argnames: Names = (),
    debug_nans: bool = False,
    parallel: bool | int = False,
    donate: int | tuple[int, ...] = (),
) -> Any:
    """A function that computes the gradient of `function` with respect to the arguments `argnums`.

    `function` must return a float scalar (with `has_aux`, a pair of it and anything). The result has the structure
    and shapes of the differentiated argument (a tuple of them where `argnums` is a tuple); floats give floats, arrays
    of float64 or float32 give arrays of the same dtype. Arguments are never changed. Usable as `@grad` and as
    `@grad(argnums=1)`. Raises `ArgumentError` for integer arguments to differentiate and for a result that is not a
    scalar, `UnsupportedError` for Python that adjit refuses.

    With `debug_nans`, a NaN or an infinity in a result raises FloatingPointError, which names the line, of the forward
    or of the reverse sweep, that made the first one.

    With `parallel`, True or a number of threads, loops whose turns are independent run on all processors (on that many
    threads), forward and reverse, where there is work enough. Sums are then added up in another order than without, the
    same from run to run and for any number of threads.

    `donate`: numbers of positional arguments that are the kernel's from the call on: results of the same shape and
    dtype (their gradients) may be written into their arrays, which are returned then. They hold anything afterwards,
    after an error, too. They have to be writable, and share no memory with other arguments.

    >>> import numpy as np
    >>> from adjit import grad
    >>> @grad
    ... def square(x):
    ...     return x * x
    >>> square(3.0)
    6.0
    """
    names, threads = static_names(static_argnames), thread_count(parallel)
    chosen, given = checked_argnums(argnums), checked_donate(donate)
    how: dict[str, Any] = {"debug_nans": bool(debug_nans), "threads": threads, "donate": given}
    return _decorate(function, Transform("grad", chosen, has_aux, names, **how))


def value_and_grad(
    function: Callable[..., Any] | None = None,
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    static_argnames: Names = (),
    debug_nans: bool = False,
    parallel: bool | int = False,
    donate: int | tuple[int, ...] = (),
) -> Any:
    """Like `grad`, but the result is the pair (value, gradient), from one kernel.

    >>> from adjit import value_and_grad
    >>> value_and_grad(lambda x: x * x * x)(2.0)
    (8.0, 12.0)
    """
    names, threads = static_names(static_argnames), thread_count(parallel)
    chosen, given = checked_argnums(argnums), checked_donate(donate)
    how: dict[str, Any] = {"debug_nans": bool(debug_nans), "threads": threads, "donate": given}
    return _decorate(function, Transform("value_and_grad", chosen, has_aux, names, **how))


def jit(
    function: Callable[..., Any] | None = None,
    *,
    static_argnames: Names = (),
    debug_nans: bool = False,
    parallel: bool | int = False,
    donate: int | tuple[int, ...] = (),
) -> Any:
    """`function` compiled: the same value, and the same changes to array arguments, at native speed. `debug_nans`,
    `parallel` and `donate`: see `grad`. A function that writes to
    its arguments does so in place, whatever `donate` says.

    >>> from adjit import jit
    >>> @jit
    ... def total(n):
    ...     s = 0.0
    ...     for i in range(n):
    ...         s += 1.0 / (i + 1)
    ...     return s
    >>> total(3)
    1.8333333333333333
    """
    names, threads = static_names(static_argnames), thread_count(parallel)
    how: dict[str, Any] = {"debug_nans": bool(debug_nans), "threads": threads, "donate": checked_donate(donate)}
    return _decorate(function, Transform("jit", (), False, names, **how))


def vjp(function: Callable[..., Any], *args: Any, has_aux: bool = False, parallel: bool | int = False) -> Any:
    """The value of `function` at `args`, and its pullback: a function from a cotangent of the value to the cotangents
    of all of `args` (a tuple).

    What the reverse sweep needs of the forward sweep belongs to the pullback, which may be called many times.
    With `has_aux`: (value, pullback, aux). `parallel`: both on threads, see `grad`.

    >>> import numpy as np
    >>> from adjit import vjp
    >>> y, pullback = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pullback(np.ones(2))
    (array([2., 4.]),)
    """
    compiled = _vjp_of(function, Transform("vjp", None, has_aux, (), threads=thread_count(parallel)))
    out = compiled(*args)
    assert isinstance(out, tuple) and isinstance(out[1], Pullback)
    return out


@overload
def stop_gradient(x: T, /) -> T: ...
@overload
def stop_gradient() -> contextlib.AbstractContextManager[None]: ...
def stop_gradient(*x: Any) -> Any:
    """`x`, whose derivative counts as zero. Outside differentiated functions it does nothing.

    `with stop_gradient():` holds everything constant that its block assigns. The block may not write to arrays or
    containers that exist already, nor leave the function or a loop.

    >>> from adjit import grad, stop_gradient
    >>> grad(lambda x: stop_gradient(x * x) * x)(3.0)
    9.0
    >>> @grad
    ... def loss(x):
    ...     with stop_gradient():
    ...         scale = x * x
    ...     return scale * x
    >>> loss(3.0)
    9.0
    """
    if not x:
        return contextlib.nullcontext()
    (value,) = x
    return value


TRANSFORMS: tuple[Any, ...] = (grad, jit, stop_gradient, value_and_grad, vjp)
for transform in TRANSFORMS:
    transform.__adjit_binding__ = transform.__name__  # what the tracer knows them by


def _decorate(function: Callable[..., Any] | None, transform: Transform) -> Any:
    if function is None:
        return lambda f: Compiled(f, transform)
    return Compiled(function, transform)


def _vjp_of(function: Callable[..., Any], transform: Transform) -> Compiled:
    """The compiled form of `vjp(function, ...)`, kept with the function since `vjp` is called anew each time."""
    namespace = getattr(function, "__dict__", None)
    if not isinstance(namespace, dict):  # a bound method, a partial of a builtin: nothing to keep it with
        return Compiled(function, transform)
    kept: dict[Transform, Compiled] = namespace.setdefault("__adjit_vjp__", {})
    if transform not in kept or kept[transform].__wrapped__ is not function:
        kept[transform] = Compiled(function, transform)
    return kept[transform]
