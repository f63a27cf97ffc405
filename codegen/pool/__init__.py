"""Memory of kernels that outlives a call: `register` makes it known to machine code, `clear` gives it back."""

from .process import clear, configure, idle, register, reused

__all__ = ["clear", "configure", "idle", "register", "reused"]
