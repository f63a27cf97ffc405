"""The pool of threads in a process: linked when the first kernel is, with workers when a kernel asks for them.

In: the text of `code`. Out: symbols that kernels refer to.

Workers are Python's threads that have entered native code and stay there, without the interpreter's lock: that works
wherever Python has threads, and needs no C compiler. They are started when a kernel first asks for them, never at
import; a forked child starts with none and makes its own; at exit they are sent home.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib
import os
import sys
import threading
from _thread import start_new_thread
from collections.abc import Callable
from typing import Any

from .code import LIMIT, native_text
from .placing import TEXT, allow_processors

__all__ = ["SYMBOLS", "available", "register_symbols", "started"]

SYMBOLS = frozenset(f"adjit_threads_{name}" for name in ("acquire", "run", "release", "wait"))


def available() -> int:
    """How many threads `parallel=True` means: ADJIT_NUM_THREADS, or the processors that this process may use."""
    wanted = os.environ.get("ADJIT_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return min(int(wanted), LIMIT)
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, LIMIT)


class Pool:
    """The native pool of this process, and the threads in it. There is one (`pool`)."""

    def __init__(self) -> None:
        llvm = importlib.import_module("llvmlite.binding")
        importlib.import_module("numba.core.codegen")  # it prepares LLVM for this machine
        self.locks: list[int] = []
        self.homes: list[threading.Event] = []
        api = ctypes.pythonapi
        self.allocate_lock, self.acquire_lock = api.PyThread_allocate_lock, api.PyThread_acquire_lock
        self.allocate_lock.restype = ctypes.c_void_p
        self.acquire_lock.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.callback = ctypes.CFUNCTYPE(None, ctypes.c_int64)(self.start)
        for name in ("PyThread_acquire_lock", "PyThread_release_lock"):
            llvm.add_symbol(name, address_of(getattr(api, name)))
        llvm.add_symbol("adjit_threads_start", address_of(self.callback))
        if sys.platform == "win32":
            llvm.add_symbol("SwitchToThread", address_of(ctypes.WinDLL("kernel32").SwitchToThread))
        module = llvm.parse_assembly(native_text())
        module.verify()
        self.engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
        self.engine.finalize_object()
        # threads may be in this code when the interpreter takes its modules apart: it stays for ever
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.engine))
        for name in SYMBOLS:
            llvm.add_symbol(name, self.engine.get_function_address(name))
        word = ctypes.c_int64
        self.worker = self.function("worker", word)
        self.tell_started = self.function("started", word, word, word)
        self.tell_lock = self.function("lock_of", word, ctypes.c_void_p)
        self.tell_allowed = self.function("allow", word, word) if TEXT else None
        self.tell_forked = self.function("forget")
        self.tell_dismissed = self.function("dismiss", word)
        self.closed = False
        atexit.register(self.close)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.forked)

    def function(self, name: str, *arguments: Any) -> Callable[..., Any]:
        return ctypes.CFUNCTYPE(None, *arguments)(self.engine.get_function_address(name))

    def start(self, wanted: int) -> None:
        """Called by the kernel that has taken the pool: let there be that many threads, as far as possible."""
        every = available()
        if self.tell_allowed is not None:
            allow_processors(self.tell_allowed)
        target = min(wanted or every, LIMIT)
        try:
            while not self.closed and len(self.homes) + 1 < target:
                self.start_one(len(self.homes) + 1)
        except RuntimeError:  # no more threads to be had
            pass
        self.tell_started(len(self.homes) + 1, max(wanted, 1), every)

    def start_one(self, number: int) -> None:
        lock = self.allocate_lock()
        if not lock:
            raise RuntimeError("no lock")
        self.acquire_lock(lock, 1)
        self.tell_lock(number, lock)
        home = threading.Event()
        start_new_thread(self.live, (number, home))
        self.homes.append(home)

    def live(self, number: int, home: threading.Event) -> None:
        self.worker(number)
        home.set()

    def forked(self) -> None:
        """In a child there are no threads but the one that forked."""
        self.homes = []
        self.tell_forked()

    def close(self) -> None:
        """At exit: send the workers home, while there is an interpreter to go home to."""
        self.closed = True
        self.tell_dismissed(len(self.homes) + 1)
        for home in self.homes:
            home.wait(1.0)
        self.homes = []
        self.tell_started(1, LIMIT, 1)


def address_of(function: Any) -> int:
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


@functools.cache
def pool() -> Pool:
    return Pool()


def register_symbols() -> None:
    """Tell LLVM the addresses of the pool's functions."""
    pool()


def started() -> int:
    """How many workers the pool has started in this process."""
    return len(pool().homes)
