"""A model that is asked to be insensitive to its inputs: the gradient of the norm of a gradient.

The inner gradient is with respect to the inputs and stands in the function that is differentiated with respect to the
parameters: derivatives may be taken inside of what is differentiated.
"""

import numpy as np

from adjit import grad, value_and_grad


def layer(x, kernel, bias):
    return np.maximum(x @ kernel + bias, 0.0)


def sensitivity(parameters, x):
    kernel, bias = parameters
    by_input = grad(lambda x: np.sum(layer(x, kernel, bias) ** 2))(x)
    return np.linalg.norm(by_input)


def data():
    random = np.random.default_rng(0)
    return random.normal(size=(7, 5)), random.normal(size=(5, 10)), random.normal(size=10)


def main():
    x, kernel, bias = data()
    value, (by_kernel, by_bias) = value_and_grad(sensitivity)((kernel, bias), x)
    print("norm of the gradient by the input", value)
    print("its gradient by the kernel       ", by_kernel.shape)
    print("its gradient by the bias         ", by_bias.shape)
    return value, by_kernel, by_bias


if __name__ == "__main__":
    main()
