"""From IR to loops to one Numba kernel; the only package that imports Numba.

In: an optimized function and the memory layout of its arguments. Out: an `Executable` (`compile_function`).
"""

from .executable import Executable, compile_function

__all__ = ["Executable", "compile_function"]
