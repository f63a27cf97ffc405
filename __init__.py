"""Exact gradients of plain Python, NumPy and in-place loops, compiled to one native kernel."""

__version__ = "0.1.0"
