"""How many threads BLAS uses outside of adjit's own loops.

In: a number. Out: nothing; the BLAS that kernels call uses that many threads from then on, where it can be told so.
"""

from __future__ import annotations

from ..codegen.blas_threads import set_threads_of_blas

__all__ = ["set_threads_of_blas"]
