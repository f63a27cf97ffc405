"""A value taken out of the differentiation: `stop_gradient`.

With u = stop_gradient(x*x), the gradient of sum(u*x) is u itself, not 3x². The same y = x*x, differentiated
by itself, has the gradient 2x.
"""

import numpy as np

from adjit import grad, stop_gradient


def detached(x):
    u = stop_gradient(x * x)
    z = u * x
    return np.sum(z)


def attached(x):
    y = x * x
    return np.sum(y)


def main():
    x = np.arange(4.0)
    print("u = x * x               ", x * x)
    print("gradient of sum(u * x)  ", grad(detached)(x))
    print("gradient of sum(x * x)  ", grad(attached)(x))


if __name__ == "__main__":
    main()
