"""What kernels call by name, the elementary functions of `codegen.vecmath` included.

In: nothing. Out: plain Python functions with NumPy's meaning, which Numba replaces by its own code: `callback` (a
function of the user's), `elements`
(one number from a few), `library` (whole matrices), `memory` (tapes), `order` (sorting, searching), `products` (matrix
products). All of them are attributes of this package, under the names of `NAMES`.

>>> from adjit.codegen.primitives import maximum, plus
>>> float(plus(maximum(1.0, 2.0), 3.0))
5.0
"""

from __future__ import annotations

from .. import vecmath
from . import callback, elements, library, memory, order, products, special

__all__ = ["FUNCTIONS", "NAMES"]

FUNCTIONS = {
    **callback.FUNCTIONS,
    **elements.FUNCTIONS,
    **library.FUNCTIONS,
    **memory.FUNCTIONS,
    **order.FUNCTIONS,
    **products.FUNCTIONS,
    **special.FUNCTIONS,
    **vecmath.FUNCTIONS,
}
NAMES = frozenset(FUNCTIONS)
globals().update(FUNCTIONS)
