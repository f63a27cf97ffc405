"""When the result is not a scalar: give a cotangent (`vjp`), or make it a scalar (`sum`).

`grad` of a function that returns an array is refused; the message says what to write instead.
"""

import numpy as np

import adjit
from adjit import grad, vjp


def square(x):
    return x * x


def sum_of_squares(x):
    return np.sum(x * x)


def main():
    x = np.arange(4.0)
    value, pullback = vjp(square, x)
    (gradient,) = pullback(np.ones(4))
    print("y = x * x               ", value)
    print("vjp with ones           ", gradient)
    print("gradient of the sum     ", grad(sum_of_squares)(x))
    try:
        grad(square)(x)
    except adjit.AdjitError as error:
        print("grad of the array       ", f"{type(error).__name__}:")
        print(error)


if __name__ == "__main__":
    main()
