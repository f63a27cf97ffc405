"""The cyclic garbage collector, while a function is compiled.

In: nothing. Out: `rarely`, a context in which Python looks for garbage once in many objects.

A compilation makes very many objects, and nearly all of them live until its end. CPython's collector looks through the
young ones at every 700 of them, and through everything there is, NumPy's and Numba's modules among it, whenever those
have grown by a quarter: up to a quarter of the time. With a larger threshold it still runs, so that what memory a
compilation takes stays within bounds.

The threshold belongs to the process: several threads may be in the context at once, and the last one out puts back what
the first one found, unless someone else has set another one meanwhile. A collector that was switched off stays so.
"""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["rarely"]

OBJECTS = 200_000
"""More objects than so many new ones are looked through."""

_lock = threading.Lock()
_inside = 0
_before = (0, 0, 0)
_during = (0, 0, 0)


@contextmanager
def rarely() -> Iterator[None]:
    """Let the collector run less often, in here."""
    global _inside, _before, _during
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = gc.get_threshold()
            if 0 < _before[0] < OBJECTS:
                gc.set_threshold(OBJECTS, *_before[1:])
            _during = gc.get_threshold()
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and gc.get_threshold() == _during != _before:
                gc.set_threshold(*_before)


def _after_fork() -> None:
    """In a child of a process of which another thread was in the context: nobody will leave it here."""
    global _lock, _inside
    _lock = threading.Lock()
    if _inside and gc.get_threshold() == _during:
        gc.set_threshold(*_before)
    _inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
