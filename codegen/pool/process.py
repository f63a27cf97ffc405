"""The pool in a process: linked when the first kernel is, configured by the environment, emptied on request.

In: the object code of `code`, from the disk cache or made now. Out: symbols that kernels refer to, and `clear`.

`ADJIT_IDLE_MEMORY` is how many MiB may be idle (default: an eighth of the machine's memory, at most 2048; 0: every
block goes back to the system at once). With `ADJIT_POISON_MEMORY=1` all memory of kernels is filled with NaNs before
they get it, which tells a buffer that is read before it is written. A child made by `fork` starts with an empty pool:
pages that it shares with its parent would be copied when either writes.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import cache
from .. import numba_bridge as bridge

__all__ = ["clear", "configure", "idle", "register", "reused"]

_MODULE = "adjit_memory"
_PARTS = {
    "adjit_memory_allocate": ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_int64),
    "adjit_memory_extend": ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_int64),
    "adjit_memory_clear": ctypes.CFUNCTYPE(ctypes.c_int64),
    "adjit_memory_configure": ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64),
    "adjit_memory_idle": ctypes.CFUNCTYPE(ctypes.c_int64),
    "adjit_memory_reused": ctypes.CFUNCTYPE(ctypes.c_int64),
}
_functions: dict[str, Callable[..., Any]] = {}


def register() -> None:
    """Link the pool, once in a process, and tell LLVM where kernels find it."""
    if _functions:
        return
    with bridge.compiling():
        if not _functions:
            _functions.update(linked())
            configure()


def linked() -> dict[str, Callable[..., Any]]:
    llvm = importlib.import_module("llvmlite.binding")
    system = ctypes.CDLL(None) if os.name == "posix" else ctypes.CDLL("msvcrt")
    for name in ("malloc", "free", *(("madvise", "mmap", "mremap", "munmap") if sys.platform == "linux" else ())):
        llvm.add_symbol(f"adjit_system_{name}", ctypes.cast(getattr(system, name), ctypes.c_void_p).value)
    llvm.add_symbol("adjit_manage_memory", bridge.record_maker())
    text = Path(__file__).with_name("code.py").read_text(encoding="utf-8")
    key = cache.digest(_MODULE, bridge.environment(), sys.platform, text)
    code = cache.load("code", key)
    if code is None:
        code = bridge.object_of(_MODULE, importlib.import_module(".code", __package__).write)
        cache.store("code", key, code)
    addresses = bridge.link(_MODULE, code, list(_PARTS))
    for name, address in addresses.items():
        llvm.add_symbol(name, address)
    return {name: part(addresses[name]) for name, part in _PARTS.items()}


def configure(limit: int | None = None, poison: bool | None = None) -> None:
    """How many bytes may be idle, and whether memory is filled with NaNs; None: as the environment says."""
    register()
    wanted = default_limit() if limit is None else limit
    filled = os.environ.get("ADJIT_POISON_MEMORY", "") not in ("", "0") if poison is None else poison
    _functions["adjit_memory_configure"](max(wanted, 0), filled)


def default_limit() -> int:
    try:
        return int(float(os.environ["ADJIT_IDLE_MEMORY"]) * 2**20)
    except (KeyError, ValueError, OverflowError):
        return min(machine_memory() // 8, 2**31)


def machine_memory() -> int:
    """Bytes of memory that this process may use at most, as far as the system says."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 2**33
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no such limit, or "max"
        return total


def clear() -> int:
    """Give back to the system what is idle: how many bytes that were. Arrays that exist are not touched."""
    return int(_functions["adjit_memory_clear"]()) if _functions else 0


def idle() -> int:
    """Bytes that wait for their next use."""
    return int(_functions["adjit_memory_idle"]()) if _functions else 0


def reused() -> int:
    """How many allocations found an idle block."""
    return int(_functions["adjit_memory_reused"]()) if _functions else 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=clear)
