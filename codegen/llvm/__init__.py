"""Scheduled IR to machine code directly, without Python source in between: `compile_scheduled`."""

from .compile import compile_scheduled

__all__ = ["compile_scheduled"]
