"""The operation table: one declaration per operation.

In: nothing. Out: `REGISTRY` and `lookup`. Importing this package declares every operation.
"""

from . import arithmetic, control, functions, integers, linalg, piecewise, reduce, scan, shape  # noqa: F401
from .declare import REGISTRY, Into, OpDef, call_rule, extent, extents_of, lookup, zeros_like

__all__ = ["REGISTRY", "Into", "OpDef", "call_rule", "extent", "extents_of", "lookup", "zeros_like"]
