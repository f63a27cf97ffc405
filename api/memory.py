"""What users can ask of the memory that kernels keep for their next call.

In: a request. Out: memory given back to the system.
"""

from __future__ import annotations

from ..codegen import pool

__all__ = ["clear_memory"]


def clear_memory() -> int:
    """Give the memory that compiled functions keep for their next call back to the system.

    Large buffers, tapes, and result arrays that Python has dropped are kept and used again, because memory that is
    touched for the first time costs several times as much. At most `ADJIT_IDLE_MEMORY` MiB are kept (an environment
    variable; without it an eighth of the machine's memory, at most 2048 MiB; 0 keeps nothing). Arrays that exist are
    not touched, and functions may run meanwhile.

    Returns: how many bytes were given back.
    """
    return pool.clear()
