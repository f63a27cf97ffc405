"""A loop that runs until its data say stop, then a branch on the data.

However often the loop doubles and whichever branch is taken, f(a) = k a for a constant k on the path that was
run; so the derivative is f(a) / a, for numbers, vectors and matrices alike.
"""

import numpy as np

from adjit import grad, vjp


def f(a):
    b = a * 2
    while np.linalg.norm(b) < 1000:
        b = b * 2
    c = b if np.sum(b) > 0 else 100 * b
    return c


SCALARS = (0.7, -0.7, 3.25, -42.0, 499.0, 2000.0, -1e-3)
VECTOR = np.array([-1.2, -0.7, -1.9, 0.4])  # its sum is negative; eight more doublings reach a norm of 1000
MATRIX = np.array([[0.3, -0.2, 1.1], [0.4, 2.5, 0.1]])


def main():
    derivative = grad(f)
    print("       a        f(a)   derivative     f(a)/a")
    for a in SCALARS:
        print(f"{a:8g} {f(a):11g} {derivative(a):12g} {f(a) / a:10g}")
    for a in (VECTOR, MATRIX):
        value, pullback = vjp(f, a)
        (gradient,) = pullback(np.ones_like(a))
        print("\na         ", a.tolist())
        print("derivative", gradient.tolist())
        print("f(a)/a    ", (value / a).tolist())


if __name__ == "__main__":
    main()
