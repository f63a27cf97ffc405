"""Hand-derived, hand-tuned derivatives of GradBench's programs, to compare generated kernels with.

Each module belongs to the program of its name: `primal` and `derivative` take the arguments of the program's two
functions and return what they return. They are compiled by Numba for one thread, in float64 and without fast-math: what
a person reaches who spends time on one program, in the back end that a generated kernel has as well.
"""
