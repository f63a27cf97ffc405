"""Reverse mode on formulas of a few scalars, each checked in two ways.

A difference quotient at 1e-8 agrees to about half the digits. Complex step, f(x + ih) with a tiny h, agrees
to all of them, because nothing is subtracted: it is the better check wherever a function takes complex input.
"""

import numpy as np

from adjit import value_and_grad


def product(a, b):
    return a * (a + b)


def rational(a, b):
    return (a / b - a) * (b / a + a + b) * (a - b)


def transcendental(a, b, c):
    return np.log((np.sin(a * b) + np.exp(c - a / b)) ** 2) * c


CASES = ((product, (4.0, 3.0)), (rational, (230.3, 33.2)), (transcendental, (43.0, 3.0, 2.0)))


def difference_quotients(f, args, h=1e-8):
    shift = [tuple(v + h * (k == i) for k, v in enumerate(args)) for i in range(len(args))]
    return tuple((f(*moved) - f(*args)) / h for moved in shift)


def complex_steps(f, args, h=1e-100):
    shift = [tuple(v + 1j * h * (k == i) for k, v in enumerate(args)) for i in range(len(args))]
    return tuple(float(np.imag(f(*moved))) / h for moved in shift)


def main():
    for f, args in CASES:
        value, gradient = value_and_grad(f, argnums=tuple(range(len(args))))(*args)
        print(f"{f.__name__}{args} = {value!r}")
        print("  adjit              ", *(f"{float(d)!r:>22}" for d in gradient))
        print("  complex step       ", *(f"{d!r:>22}" for d in complex_steps(f, args)))
        print("  difference quotient", *(f"{float(d)!r:>22}" for d in difference_quotients(f, args)))


if __name__ == "__main__":
    main()
