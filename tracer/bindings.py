"""The table of all bindings: which function of NumPy, math or Python means what to the tracer.

In: the binding modules. Out: `TABLE` (callable → binding), `MARKED` (bindings by the attribute
``__adjit_binding__``), `NAMES` (for suggestions). A binding takes the tracer and abstract arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .numeric import elementwise

__all__ = ["MARKED", "NAMES", "TABLE", "binds"]

Binding = Callable[..., Any]
TABLE: dict[Any, Binding] = {}
MARKED: dict[str, Binding] = {}


def binds(*functions: Any) -> Callable[[Binding], Binding]:
    """Enter a binding into the table."""

    def enter(binding: Binding) -> Binding:
        for function in functions:
            TABLE[function] = binding
        return binding

    return enter


from . import bind_create, bind_elementwise, bind_linalg, bind_python, bind_reduce, bind_sequences, bind_shape  # noqa: E402

for module in (bind_create, bind_elementwise, bind_linalg, bind_python, bind_reduce, bind_sequences, bind_shape):
    module.register()


def stop_gradient(t: Any, x: Any) -> Any:
    """The same value, held constant in every derivative."""
    import numpy as np

    from .values import DictObject, ListObject, Number, Reference

    if isinstance(x, tuple):
        from .joins import make_tuple

        return make_tuple(type(x), [stop_gradient(t, v) for v in x])
    if isinstance(x, ListObject):
        return t.new_list([stop_gradient(t, v) for v in t.items(x)])
    if isinstance(x, DictObject):
        return t.new_dict([(k, stop_gradient(t, v)) for k, v in t.items(x)])
    if isinstance(x, Number | Reference) and x.dtype.is_float:
        return elementwise(t, "stop_gradient", np.positive, [x], "stop_gradient", isinstance(x, Number) and x.weak)
    return x


MARKED["stop_gradient"] = stop_gradient


def names() -> list[str]:
    from .calls import name_of

    return sorted({name_of(f) for f in TABLE if callable(f)})


NAMES = names()
