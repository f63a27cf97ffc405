"""The parts of Numba that write LLVM code, in one place: they have no types that mypy could use.

In: nothing. Out: modules as `Any`.
"""

from typing import Any

import numba.core.callconv as _callconv
import numba.core.cgutils as _cgutils
import numba.core.funcdesc as _funcdesc
import numba.core.targetconfig as _targetconfig
import numba.core.types as _types
import numba.core.typing as _typing
import numba.np.arrayobj as _arrayobj
import numba.np.linalg as _linalg
from numba.core.environment import Environment as _Environment

__all__ = ["Environment", "arrayobj", "callconv", "cgutils", "funcdesc", "linalg", "targetconfig", "types", "typing"]

arrayobj: Any = _arrayobj
callconv: Any = _callconv
cgutils: Any = _cgutils
Environment: Any = _Environment
funcdesc: Any = _funcdesc
linalg: Any = _linalg
targetconfig: Any = _targetconfig
types: Any = _types
typing: Any = _typing
