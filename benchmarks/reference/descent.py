"""Gradient descent as `particle` and `saddle` define it, as constants and a rule for the rate: kernels write the loop
out with their own functions and derivatives."""

from __future__ import annotations

__all__ = ["FIRST_RATE", "FLAT", "IN_A_ROW"]

FLAT = 1e-5
FIRST_RATE = 1e-5
IN_A_ROW = 10
