"""The adjoint: differentiation of IR by source transformation.

In: a function and what to differentiate. Out: a function of the same language that computes values and cotangents
(`vjp`) or tangents (`jvp`, in `forward`). The steps of `vjp`, one file each: `prepare` (trip counts, extents),
`activity` (what has a derivative), `reverse` (the reverse sweep, primal values only asked for), `lineage`,
`dependence` and `save` (where each comes from), `assemble` (the whole program).
"""

from .forward import jvp
from .vjp import Adjoint, vjp

__all__ = ["Adjoint", "jvp", "vjp"]
