"""The same with b = exp(a), tripled while it is small: the derivative equals the value."""

import numpy as np

from adjit import value_and_grad, vjp


def f(a):
    b = np.exp(a)
    while np.linalg.norm(b) < 100:
        b = 3 * b
    return b


def main():
    print("       a          f(a)    derivative")
    for a in (-3.0, 0.0, 0.5, 4.0, 6.0):
        value, derivative = value_and_grad(f)(a)
        print(f"{a:8g} {value:13g} {derivative:13g}")
    a = np.array([0.5, -1.0, 2.0])
    value, pullback = vjp(f, a)
    print("\na          ", a)
    print("f(a)       ", value)
    print("derivative ", pullback(np.ones(3))[0])


if __name__ == "__main__":
    main()
