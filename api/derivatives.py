"""Derivatives beyond one gradient: `jvp`, `linearize`, `jacfwd`, `jacrev`, `jacobian`, `hessian`, `hvp`.

In: a plain Python function, or one that another transform made. Out: a `Compiled` object, or for `jvp`, `linearize` and
`hvp`, which take the function and its arguments at once as in JAX, values. Each is one kernel, made for the types of
the arguments the first time and kept with the function.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import optree

from ..ir.errors import ArgumentError
from ..tracer import ByKey
from .arguments import NAMESPACE
from .compiled import Compiled, Transform
from .specialize import checked_argnums, static_names, thread_count

__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev", "jvp", "kept_with", "linearize", "vmap"]

Names = str | Iterable[str]
Argnums = int | tuple[int, ...]

PRIMAL, HVP = (Transform(kind, None, False, ()) for kind in ("primal", "hvp"))
JVP, JVP_AUX = (Transform("jvp", None, has_aux, ()) for has_aux in (False, True))
TANGENT, TANGENT_AUX = (Transform("tangent", None, has_aux, ()) for has_aux in (False, True))


def jvp(
    function: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False, *, parallel: bool | int = False
) -> Any:
    """The value of `function` at `primals` (the tuple of its arguments) and its derivative along `tangents` (a tuple of
    the same structure and shapes): forward mode. With `has_aux`: (value, tangent, aux). `parallel`: on threads, see
    `grad`.

    >>> from adjit import jvp
    >>> jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 0.0))
    (6.0, 3.0)
    """
    check_tuples("jvp", primals, tangents)
    return kept_with(function, parallel_form(JVP_AUX if has_aux else JVP, parallel))(primals, tangents)


def linearize(function: Callable[..., Any], *primals: Any, has_aux: bool = False, parallel: bool | int = False) -> Any:
    """The value of `function` at `primals`, and the linear function that takes tangents of all arguments to the tangent
    of the value. With `has_aux`: (value, linear function, aux).

    The linear function owns copies of the primals, and computes the value along with each tangent. `parallel`: both on
    threads, see `grad`.

    >>> from adjit import linearize
    >>> value, tangent_of = linearize(lambda x: x * x, 3.0)
    >>> value, tangent_of(1.0), tangent_of(2.0)
    (9.0, 6.0, 12.0)
    """
    point = tuple(optree.tree_map(lambda x: x.copy() if isinstance(x, np.ndarray) else x, p, namespace=NAMESPACE)
                  for p in primals)  # fmt: skip
    value = kept_with(function, parallel_form(PRIMAL, parallel))(*point)
    tangent = kept_with(function, parallel_form(TANGENT_AUX if has_aux else TANGENT, parallel))
    if has_aux and (not isinstance(value, tuple) or len(value) != 2):
        raise ArgumentError("has_aux=True, but the function does not return a pair (value, aux)")

    def tangent_of(*tangents: Any) -> Any:
        check_tuples("the linear function", point, tangents)
        return tangent(point, tangents)

    return (value[0], tangent_of, value[1]) if has_aux else (value, tangent_of)


def jacfwd(
    function: Callable[..., Any] | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    static_argnames: Names = (),
    parallel: bool | int = False,
) -> Any:
    """A function that computes the Jacobian of `function` with respect to the arguments `argnums`, column by column in
    forward mode: the choice where there are few inputs.

    The derivative of a result of shape `s` with respect to an argument of shape `a` has the shape `s + a`. Where the
    result or the arguments are trees, so is the Jacobian: for each leaf of the result, a tree like the arguments (a
    tuple of them where `argnums` is a tuple). With `has_aux`: (Jacobian, aux).

    >>> import numpy as np
    >>> from adjit import jacfwd
    >>> jacfwd(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return decorated(function, "jacfwd", argnums, has_aux, static_argnames, parallel)


def jacrev(
    function: Callable[..., Any] | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    static_argnames: Names = (),
    parallel: bool | int = False,
) -> Any:
    """Like `jacfwd`, row by row in reverse mode: the choice where there are few outputs.

    >>> import numpy as np
    >>> from adjit import jacrev
    >>> jacrev(lambda x: (np.sum(x), x[0] * x[1]))(np.array([1.0, 2.0]))
    (array([1., 1.]), array([2., 1.]))
    """
    return decorated(function, "jacrev", argnums, has_aux, static_argnames, parallel)


def jacobian(
    function: Callable[..., Any] | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    static_argnames: Names = (),
    parallel: bool | int = False,
) -> Any:
    """Like `jacfwd` or `jacrev`, whichever is cheaper for the shapes of the call: reverse mode where there are more
    than twice as many inputs as outputs. The choice is made in the kernel.

    >>> import numpy as np
    >>> from adjit import jacobian
    >>> jacobian(lambda x: x[1:] - x[:-1])(np.array([1.0, 2.0, 4.0]))
    array([[-1.,  1.,  0.],
           [ 0., -1.,  1.]])
    """
    return decorated(function, "jacobian", argnums, has_aux, static_argnames, parallel)


def hessian(
    function: Callable[..., Any] | None = None,
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    static_argnames: Names = (),
    parallel: bool | int = False,
) -> Any:
    """A function that computes the matrix of second derivatives: forward mode over reverse mode.

    Like `jacfwd(jacrev(function))`; for a scalar result and an argument of shape `a`, it has the shape `a + a`.

    >>> import numpy as np
    >>> from adjit import hessian
    >>> hessian(lambda x: x[0] * x[0] * x[1])(np.array([1.0, 2.0]))
    array([[4., 2.],
           [2., 0.]])
    """
    return decorated(function, "hessian", argnums, has_aux, static_argnames, parallel)


def vmap(function: Callable[..., Any] | None = None, in_axes: Any = 0, out_axes: Any = 0) -> Any:
    """A function that applies `function` to every example of a batch: a loop in the kernel, fused and differentiated
    like any other.

    `in_axes` says along which axis the examples of an argument lie: one number for all positional arguments, or a tuple
    with an entry for each (a number, None for what is the same for all examples, or a structure like the argument, or
    like its top: a tuple, a list, a dict with the same keys). Negative numbers count from the last axis; of a result,
    from the last axis of the stacked array. Arguments given by keyword that
    have a position count as positional; keyword-only ones are batched along axis 0. `out_axes` says the same of the
    results; None is for those that do not depend on the example, and refused for others. The function works on copies:
    arguments are not changed. Raises `ShapeError` where the numbers of examples differ, `ArgumentError` where no
    argument is batched.

    >>> import numpy as np
    >>> from adjit import grad, vmap
    >>> vmap(np.dot, in_axes=(0, None))(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 10.0]))
    array([21., 43.])
    >>> vmap(grad(lambda x: x * x))(np.array([1.0, 2.0]))  # a gradient for each example
    array([2., 4.])
    """
    options = (frozen(in_axes), frozen(out_axes))
    transform = Transform("vmap", None, False, (), options=options)
    if function is None:
        return lambda f: Compiled(f, transform)
    return Compiled(function, transform)


def frozen(axes: Any) -> Any:
    """A structure of axes, hashable. ArgumentError where it holds anything but numbers and None."""
    if isinstance(axes, tuple | list):
        return tuple(frozen(a) for a in axes)
    if isinstance(axes, dict):
        return ByKey(tuple((key, frozen(a)) for key, a in axes.items()))
    if axes is None or (isinstance(axes, int | np.integer) and not isinstance(axes, bool)):
        return None if axes is None else int(axes)
    raise ArgumentError(
        f"{axes!r} is no axis for vmap", help="write axes as numbers, None (not batched), or structures of them"
    )


def hvp(function: Callable[..., Any], x: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
    """The Hessian of the scalar function `function(x, *args)` with respect to `x`, times `v`, without the Hessian:
    forward mode over reverse mode, in one kernel.

    `v` and the result have the structure of `x`. For SciPy: `hessp=functools.partial(hvp, f)`.

    >>> import numpy as np
    >>> from adjit import hvp
    >>> hvp(lambda x: np.sum(x**3), np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    array([  6., 120.])
    """
    return kept_with(function, HVP)(x, v, *args, **kwargs)


def decorated(
    function: Callable[..., Any] | None,
    kind: str,
    argnums: Argnums,
    has_aux: bool,
    names: Names,
    parallel: bool | int,
) -> Any:
    transform = Transform(kind, checked_argnums(argnums), has_aux, static_names(names), threads=thread_count(parallel))
    if function is None:
        return lambda f: Compiled(f, transform)
    return Compiled(function, transform)


def parallel_form(transform: Transform, parallel: bool | int) -> Transform:
    return dataclasses.replace(transform, threads=thread_count(parallel))


def check_tuples(what: str, primals: Any, tangents: Any) -> None:
    """Refuse primals and tangents that are not two tuples of one length."""
    for name, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise ArgumentError(
                f"the {name} of {what} are one tuple of the function's arguments, not {type(given).__name__}",
                help="write `jvp(f, (x,), (v,))`",
            )
    if len(primals) != len(tangents):
        raise ArgumentError(
            f"{what} was given {len(tangents)} tangents for {len(primals)} arguments",
            help="give one tangent for each argument, of the same structure and shapes",
        )


def kept_with(function: Callable[..., Any], transform: Transform) -> Compiled:
    """The compiled form of a function under a transform, kept with the function, since `jvp` and its like are called
    anew each time."""
    namespace = getattr(function, "__dict__", None)
    if not isinstance(namespace, dict):  # a bound method, a partial of a builtin: nothing to keep it with
        return Compiled(function, transform)
    kept: dict[tuple[str, bool, int | None], Compiled] = namespace.setdefault("__adjit_kept__", {})
    key = (transform.kind, transform.has_aux, transform.threads)
    found = kept.get(key)
    if found is None or found.__wrapped__ != function:  # a method bound to another object
        found = kept[key] = Compiled(function, transform)
    return found


TRANSFORMS: tuple[Any, ...] = (hessian, hvp, jacfwd, jacobian, jacrev, jvp, linearize, vmap)
for transform in TRANSFORMS:
    transform.__adjit_binding__ = transform.__name__  # what the tracer knows them by
