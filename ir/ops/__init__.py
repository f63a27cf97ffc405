"""The operation table: one declaration per operation.

In: nothing. Out: `REGISTRY` and `lookup`. Importing this package declares every operation.
"""

from . import (  # noqa: F401
    arithmetic,
    bessel,
    callback,
    control,
    counting,
    custom,
    decompositions,
    functions,
    indexing,
    integers,
    linalg,
    matrix_functions,
    order,
    piecewise,
    reduce,
    scan,
    shape,
    solving,
    special,
    spectral,
    stretch,
)
from .declare import REGISTRY, Into, OpDef, call_rule, extent, extents_of, lookup, zeros_like

__all__ = ["REGISTRY", "Into", "OpDef", "call_rule", "extent", "extents_of", "lookup", "zeros_like"]
