"""From Python source to IR: rejects first, then interprets the syntax tree with abstract values.

In: a function and its arguments, dynamic leaves as `Leaf`. Out: `Traced`: the IR function and what the caller needs
to call it (structure of the result, captures, guards, mutated arguments, sources).
"""

from .batching import ByKey
from .callbacks import Opaque
from .captures import Capture, Guard
from .entry import Leaf, Result, Traced, trace
from .programs import Derivative

__all__ = ["ByKey", "Capture", "Derivative", "Guard", "Leaf", "Opaque", "Result", "Traced", "trace"]
