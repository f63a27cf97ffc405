"""Functions of `scipy.special` that machine code calls by name.

In: a function's SciPy name and its number of arguments. Out: a symbol that LLVM knows, at an address that is looked
up in SciPy's C interface (`scipy.special.cython_special`) in every process anew: so code from the cache is linked to
wherever SciPy was loaded. All arguments and results are doubles; C functions made by Cython take an integer more,
which they ignore.

>>> symbol("erfinv", 1)
'adjit_scipy1_erfinv'
"""

from __future__ import annotations

import ctypes
import importlib
import re
from collections.abc import Iterable

__all__ = ["register", "symbol"]

PREFIX = "adjit_scipy"
_SYMBOL = re.compile(PREFIX + r"(\d)_(\w+)$")
_registered: set[str] = set()


def symbol(name: str, count: int) -> str:
    """The name by which machine code calls a function."""
    return f"{PREFIX}{count}_{name}"


def register(symbols: Iterable[str]) -> None:
    """Tell LLVM the addresses of those of the symbols that are SciPy's; ValueError where SciPy has no such function."""
    llvm = importlib.import_module("llvmlite.binding")
    for wanted in symbols:
        match = _SYMBOL.match(wanted)
        if match is not None and wanted not in _registered:
            llvm.add_symbol(wanted, address(match[2], int(match[1])))
            _registered.add(wanted)


def address(name: str, count: int) -> int:
    """The address of the form of a function that takes and gives doubles."""
    functions = importlib.import_module("scipy.special.cython_special").__pyx_capi__
    name_of, pointer_of = ctypes.pythonapi.PyCapsule_GetName, ctypes.pythonapi.PyCapsule_GetPointer
    name_of.restype, name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = f"double ({'double, ' * count}int __pyx_skip_dispatch)".encode()
    for key, capsule in functions.items():
        if re.fullmatch(rf"(__pyx_fuse(_\d+)+)?{name}", key) and name_of(capsule) == signature:
            return int(pointer_of(capsule, signature))
    raise ValueError(f"scipy.special.cython_special has no {name} of {count} doubles")
