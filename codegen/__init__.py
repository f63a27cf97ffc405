"""From IR to loops to one Numba kernel; the only package that imports Numba."""
