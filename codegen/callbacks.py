"""How a kernel calls a Python function (`ir.callbacks`): what it passes, and who takes it there.

In: memory. Out: a status, 0 where the function returned and its results were written, 1 where something was raised,
which waits for the host (`ir.callbacks.taken`).

Machine code calls one C function for all callbacks, known to LLVM as `SYMBOL` at an address that is looked up in every
process anew, with the number of the site, the number of results, and for each result and operand some 64-bit words:

    NumPy's number of the dtype,  rank,  address,  extents...       an array in C order
    NumPy's number of the dtype,  -1,    the number's bits          a number

The C function is made by `ctypes`, which takes the interpreter lock (kernels run without it) in whatever thread it is
called.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import math
from typing import Any

import numpy as np

from ..ir import callbacks
from ..ir.types import DTYPES

__all__ = ["CALLBACK", "SYMBOL", "call_python", "register"]

CALLBACK = "callback"
SYMBOL = "adjit_python_callback"

_DTYPES: dict[int, Any] = {d.numpy.num: d.numpy for d in DTYPES.values()}
_BITS: dict[int, Any] = {num: np.dtype(f"u{dtype.itemsize}") for num, dtype in _DTYPES.items()}
_SCALAR = -1


def call_python(handle: Any, outs: Any, *memory: Any) -> Any:
    """Call a site on memory: the first `outs` arrays are written (of one element for a number), what follows is
    read."""
    count = int(outs)
    try:
        numbers = callbacks.site_of(handle).numbers
        shapes = [() if k in numbers else x.shape for k, x in enumerate(memory[:count])]
        found = callbacks.call(int(handle), memory[count:], shapes, [x.dtype for x in memory[:count]])
        for dest, value in zip(memory[:count], found, strict=True):
            dest[...] = value
    except BaseException as error:
        callbacks.raised(int(handle), error)
        return np.int64(1)
    return np.int64(0)


def decoded(words: list[int]) -> list[Any]:
    """Arrays that are the kernel's memory, and numbers."""
    out: list[Any] = []
    at = 0
    while at < len(words):
        dtype, rank, what = _DTYPES[words[at]], words[at + 1], words[at + 2]
        at += 3
        if rank == _SCALAR:
            out.append(np.uint64(what & 0xFFFF_FFFF_FFFF_FFFF).astype(_BITS[dtype.num]).view(dtype))
        else:
            out.append(view(what, dtype, words[at : at + rank]))
            at += rank
    return out


def view(address: int, dtype: Any, shape: list[int]) -> Any:
    """An array over memory of the kernel's."""
    size = math.prod(shape) * dtype.itemsize
    if not size:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, (ctypes.c_char * size).from_address(address))


def entered(handle: int, outs: int, count: int, words: Any) -> int:
    """What machine code calls, with `count` words."""
    try:
        return int(call_python(handle, outs, *decoded(words[:count])))
    except BaseException as error:
        callbacks.raised(handle, error)
        return 1


_word = ctypes.c_int64
_entry = ctypes.CFUNCTYPE(_word, _word, _word, _word, ctypes.POINTER(_word))(entered)


@functools.cache
def register() -> None:
    """Tell LLVM where the function is in this process."""
    address = ctypes.cast(_entry, ctypes.c_void_p).value
    importlib.import_module("llvmlite.binding").add_symbol(SYMBOL, address)
