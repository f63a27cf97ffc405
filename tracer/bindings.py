"""The table of all bindings: which function of NumPy, math or Python means what to the tracer.

In: the binding modules. Out: `TABLE` (callable → binding), `MARKED` (bindings by the attribute
``__adjit_binding__``), `NAMES` (for suggestions). A binding takes the tracer and abstract arguments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["MARKED", "NAMED", "NAMES", "TABLE", "binds", "binds_named", "enter_imported"]

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


NAMED: dict[str, dict[str, Callable[[Any], Binding]]] = {}
"""Functions of libraries that are not imported here: module → name in it → (the function → its binding)."""


def binds_named(name: str, make: Callable[[Any], Binding]) -> None:
    """Enter a binding for a function by its name, such as ``scipy.special.erf`` or ``scipy.stats:norm.pdf`` (what
    follows the colon is looked up in the module). `make` is given the function, once the program has imported it.
    """
    module, _, path = name.partition(":") if ":" in name else name.rpartition(".")
    NAMED.setdefault(module, {})[path] = make


def always(binding: Binding) -> Callable[[Any], Binding]:
    """For `binds_named`: the same binding, whatever the function."""
    return lambda function: binding


def enter_imported() -> bool:
    """Enter the bindings by name of modules that are imported by now; whether there were any."""
    ready = [name for name in NAMED if name in sys.modules]
    for name in ready:
        for path, make in NAMED.pop(name).items():
            function: Any = sys.modules[name]
            for part in path.split("."):
                function = getattr(function, part, None)
            if function is not None and function not in TABLE:
                TABLE[function] = make(function)
    return bool(ready)


from . import (  # noqa: E402
    bind_apply,
    bind_calculus,
    bind_create,
    bind_einsum,
    bind_elementwise,
    bind_grids,
    bind_itertools,
    bind_join,
    bind_linalg,
    bind_ndindex,
    bind_polynomials,
    bind_products,
    bind_python,
    bind_reals,
    bind_rearrange,
    bind_reduce,
    bind_sequences,
    bind_shape,
    bind_statistics,
    bind_ufuncs,
)

for module in (
    bind_create,
    bind_elementwise,
    bind_ufuncs,
    bind_python,
    bind_reduce,
    bind_sequences,
    bind_shape,
    bind_join,
    bind_rearrange,
    bind_products,
    bind_einsum,
    bind_linalg,
    bind_calculus,
    bind_statistics,
    bind_polynomials,
    bind_grids,
    bind_apply,
    bind_reals,
    bind_ndindex,
    bind_itertools,
):
    module.register()

from . import (  # noqa: E402
    bind_distributions,
    bind_fancy,
    bind_histogram,
    bind_order,
    bind_quantiles,
    bind_select,
    bind_special,
)

for module in (bind_distributions, bind_fancy, bind_histogram, bind_order, bind_quantiles, bind_select, bind_special):
    module.register()

from . import bind_decompositions, bind_norms, bind_numba, bind_scipy_linalg  # noqa: E402

for module in (bind_decompositions, bind_norms, bind_numba, bind_scipy_linalg):
    module.register()


from . import pauses  # noqa: E402

MARKED["stop_gradient"] = pauses.bind_stop_gradient

from . import derivatives  # noqa: E402

derivatives.register()


def names() -> list[str]:
    from .calls import name_of

    known = {name_of(f) for f, binding in TABLE.items() if callable(f) and not hasattr(binding, "refusal")}
    return sorted(known | {f"{module}.{path}" for module, paths in NAMED.items() for path in paths})


NAMES = names()
