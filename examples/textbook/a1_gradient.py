"""The gradient of a scalar with respect to an array.

y = 2 x·x has the gradient 4x; the sum of x has a gradient of ones. Nothing accumulates between calls: a
gradient asked for twice is the same twice.
"""

import numpy as np

from adjit import grad, value_and_grad


def y(x):
    return 2 * np.dot(x, x)


def total(x):
    return np.sum(x)


def main():
    x = np.arange(4.0)
    value, gradient = value_and_grad(y)(x)
    print("x                       ", x)
    print("y = 2 x.x               ", value)
    print("gradient of y           ", gradient)
    print("equal to 4 x            ", gradient == 4 * x)
    print("gradient of y, again    ", grad(y)(x))
    print("gradient of sum(x)      ", grad(total)(x))


if __name__ == "__main__":
    main()
