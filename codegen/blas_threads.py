"""How many threads BLAS uses while a kernel calls it.

In: nothing. Out: symbols that machine code links to: the functions of the BLAS that kernels call (SciPy's) that tell
and set the number of its threads, and three words of memory: a lock, how many sections want BLAS to work alone, and the
number of threads to go back to. `codegen.llvm.products` makes of them code that enters and leaves such a section.

OpenBLAS shares out products of some ten microseconds to threads of its own, and a program of many of them takes a
hundred times as long as on one thread. The setting belongs to the process: it is put back when the last section ends.
A BLAS that has no such functions is left alone.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["SYMBOLS", "register_symbols", "set_threads_of_blas", "threads_of_blas"]

SYMBOLS = frozenset({"adjit_blas_threads", "adjit_set_blas_threads", "adjit_blas_words"})
PREFIXES = ("scipy_openblas_", "openblas_")
SUFFIXES = ("", "64_", "_64_", "_64")
_words = (ctypes.c_int64 * 3)()
_kept: list[object] = [_words]


def libraries() -> Iterator[ctypes.CDLL]:
    """What may hold the functions: the module that gives kernels their BLAS (a look into it finds what it is linked
    to, except on Windows), and the libraries that come with SciPy."""
    module = importlib.import_module("scipy.linalg.cython_blas")
    assert module.__file__ is not None
    yield ctypes.CDLL(module.__file__)
    if sys.platform == "win32":
        for file in sorted((Path(module.__file__).parents[2] / "scipy.libs").glob("*openblas*.dll")):
            yield ctypes.CDLL(str(file))


@functools.cache
def functions() -> tuple[Any, Any] | None:
    """(get, set) the number of threads; None where BLAS has no such functions."""
    for library in libraries():
        for prefix in PREFIXES:
            for suffix in SUFFIXES:
                get = getattr(library, f"{prefix}get_num_threads{suffix}", None)
                put = getattr(library, f"{prefix}set_num_threads{suffix}", None)
                if get is not None and put is not None:
                    _kept.append(library)
                    return get, put
    return None


def threads_of_blas() -> int:
    """How many threads BLAS would use now; 1 where that cannot be told."""
    found = functions()
    return 1 if found is None else int(found[0]())


def set_threads_of_blas(count: int) -> None:
    """Let BLAS use that many from now on, where it can be told."""
    found = functions()
    if found is not None:
        found[1](ctypes.c_int(count))


def address_of(function: Callable[..., Any]) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert address is not None
    return address


@functools.cache
def register_symbols() -> None:
    """Tell LLVM the addresses."""
    llvm = importlib.import_module("llvmlite.binding")
    found = functions()
    one = ctypes.pythonapi.Py_IsInitialized  # gives 1: a number of threads that is never changed
    get, put = (one, one) if found is None else found
    llvm.add_symbol("adjit_blas_threads", address_of(get))
    llvm.add_symbol("adjit_set_blas_threads", address_of(put))
    llvm.add_symbol("adjit_blas_words", ctypes.addressof(_words))
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_words))  # machine code may outlive this module
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)


def forked() -> None:
    """No other thread is in a section in a child, whatever there was in the parent."""
    found = functions()
    if _words[1] > 0 and found is not None and _words[2] != 1:
        found[1](ctypes.c_int(_words[2]))
    _words[:] = [0, 0, 0]
