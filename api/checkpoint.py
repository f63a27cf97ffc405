"""`checkpoint`: less memory for more time.

In: a function, or what a loop goes over. Out: the same, of which a reverse sweep keeps less: it computes the forward
sweep again. Values and derivatives are the same, to the last bit.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..ir.errors import ArgumentError
from ..tracer import Derivative

__all__ = ["checkpoint"]


class Checkpoint:
    """A function under `checkpoint`. Called by plain Python, it is the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.__wrapped__ = function

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.__wrapped__(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    @property
    def __adjit_derivative__(self) -> Derivative:
        return Derivative("checkpoint", self.__wrapped__)


def checkpoint(what: Any, *, snapshots: int | None = None, memory: str | int | None = None) -> Any:
    """Keep little for the reverse sweep of a function or of a loop.

    `checkpoint(f)` is a function like `f`: of what happens inside a call, nothing is kept but its arguments.

    `for t in checkpoint(range(n)):` goes over the same; of its states, about sqrt(2 n) are kept, for one more forward
    sweep. With `snapshots=k` or with `memory="64MB"` it is about 3 cbrt(6 n), for two more; where these are more states
    than `k`, or more bytes than allowed, the loop raises ValueError when it runs. (A state is what one iteration hands
    on to the next: numbers, and arrays that the loop writes to. The schedules are binomial: Griewank and Walther,
    Algorithm 799, ACM TOMS 26, 2000.)

    >>> import numpy as np
    >>> from adjit import checkpoint, grad
    >>> def logistic(r, n):
    ...     x = 0.5
    ...     for _ in checkpoint(range(n), memory="1KB"):
    ...         x = r * x * (1.0 - x)
    ...     return x
    >>> float(np.round(grad(logistic)(3.2, 1000), 12))
    -0.379138408072
    """
    if callable(what) and not isinstance(what, range):
        if snapshots is not None or memory is not None:
            raise ArgumentError(
                "`snapshots` and `memory` are for loops", help="write `for t in checkpoint(range(n), snapshots=10):`"
            )
        return Checkpoint(what)
    return what


checkpoint.__adjit_binding__ = "checkpoint"  # type: ignore[attr-defined]
