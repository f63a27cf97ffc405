"""Library routines in machine code of their own, which the kernels that call them share.

In: the key of a routine for some types of arguments, and how it is compiled. Out: a symbol that LLVM knows, so that a
kernel's code, new or from the disk cache, is linked to the routine wherever it lies in this process. A routine (a
factorization, say) takes Numba's front end a second and more: it is compiled once, then read from the disk.

    kernel   call @_ZN...adjit_routine_<key>...(...)          declared there, defined here:
    code/<key>.bin                                            the routine's object code
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from . import cache, numba_bridge

__all__ = ["module_name", "provide", "register"]

_MODULE = re.compile(r"adjit_routine_([0-9a-f]{64})")
_libraries: dict[str, Any] = {}
"""By key: the owner of a routine's memory."""


def module_name(key: str) -> str:
    """The module that a routine's symbol is named after: the key can be read from it."""
    return f"adjit_routine_{key}"


def provide(key: str, symbol: str, compiled: Callable[[], Any]) -> None:
    """Have the routine in this process: from the disk, else by `compiled`, which gives its finished code library."""
    if key in _libraries or load(key, symbol):
        return
    library = compiled()
    link(key, symbol, library)
    if not (library.has_dynamic_globals or library._reload_init):  # else it is for this process alone
        description = {"symbol": symbol, "needs": numba_bridge.needs(library)}
        image = numba_bridge.serialize(description, library._get_compiled_object(), library._final_module.as_bitcode())
        cache.store("code", key, image)


def register(symbols: Iterable[str]) -> None:
    """Tell LLVM the addresses of those of the symbols that are routines; ValueError where the disk has one no more."""
    for symbol in symbols:
        match = _MODULE.search(symbol)
        if match is not None and match[1] not in _libraries and not load(match[1], symbol):
            raise ValueError(f"code that needs a routine that is gone: {symbol}")


def load(key: str, symbol: str) -> bool:
    """Whether the disk had it."""
    image = cache.load("code", key)
    if image is None:
        return False
    try:
        link(key, symbol, numba_bridge.load_routine(image, module_name(key), symbol))
    except (ValueError, KeyError, TypeError):
        cache.remove("code", key)  # whole, but not what this version reads
        return False
    return True


def link(key: str, symbol: str, library: Any) -> None:
    address = library.get_pointer_to_function(symbol)
    if not address:
        raise ValueError(f"no routine {symbol}")
    importlib.import_module("llvmlite.binding").add_symbol(symbol, address)
    _libraries[key] = library
