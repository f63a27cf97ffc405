"""Two derivatives of one computation, each asked for on its own: of sin(x0) along x0, of sigmoid(x1) along x1."""

import numpy as np

from adjit import grad


def f(x0, x1):
    return np.sin(x0) + 1 / (1 + np.exp(-x1))


def main():
    by_x0, by_x1 = grad(f, argnums=0)(0.0, 0.0), grad(f, argnums=1)(0.0, 0.0)
    print("df/dx0 =", by_x0)
    print("df/dx1 =", by_x1)
    return by_x0, by_x1


if __name__ == "__main__":
    main()
