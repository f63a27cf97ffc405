"""Jacobians: the shape of the result, followed by the shape of what it is differentiated by.

Of 201 values with respect to one number, in one forward sweep; and of a dense layer's output with respect to its
kernel. Summed over the axes of the output, a Jacobian is the gradient of the sum.
"""

from pathlib import Path

import numpy as np

from adjit import grad, jacobian


def sigmoid_moved(delta, x):
    return 1 / (1 + np.exp(-(x + delta)))


def layer(kernel, bias, x):
    return np.maximum(x @ kernel + bias, 0.0)


def draw(path, x, y, derivative):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return print("no picture: matplotlib is not installed")
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(x, y, label="sigmoid(x)")
    axes.plot(x, derivative, "--", label="its derivative")
    axes.set_xlabel("x")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn in", path)


def main(out=Path("out/textbook")):
    x = np.linspace(-10, 10, 201)
    derivative = jacobian(sigmoid_moved)(0.0, x)
    print("of sigmoid(x + d) by d    ", derivative.shape)

    random = np.random.default_rng(0)
    inputs, kernel, bias = random.normal(size=(7, 5)), random.normal(size=(5, 10)), random.normal(size=10)
    by_kernel = jacobian(layer)(kernel, bias, inputs)
    summed = by_kernel.sum(axis=(0, 1))
    gradient = grad(lambda kernel: np.sum(layer(kernel, bias, inputs)))(kernel)
    print("of a layer by its kernel  ", by_kernel.shape)
    print("summed, less the gradient ", np.abs(summed - gradient).max())
    draw(Path(out) / "b6_jacobians.png", x, sigmoid_moved(0.0, x), derivative)
    return x, derivative, by_kernel, summed, gradient


if __name__ == "__main__":
    main()
