"""One linear layer trained by gradient descent, written twice.

`loss_loops` is the slow textbook way, Python floats in a double loop over W; `loss_arrays` is one line of
NumPy. Both compile to the same kind of kernel: the numbers agree, and so, nearly, do the times.
"""

from pathlib import Path
from time import perf_counter

import numpy as np

from adjit import value_and_grad


def loss_loops(W, x, y):
    total = 0.0
    for j in range(len(y)):
        predicted = 0.0
        for i in range(len(x)):
            predicted += x[i] * W[i, j]
        total += (y[j] - predicted) ** 2
    return total


def loss_arrays(W, x, y):
    return np.sum((y - x @ W) ** 2)


def data():
    np.random.seed(0)
    return np.random.random(50), np.random.random(10), np.random.random((50, 10))


def train(loss, steps=100, rate=0.001):
    """The loss before each step of plain gradient descent."""
    x, y, W = data()
    value_and_gradient = value_and_grad(loss)
    history = []
    for _ in range(steps):
        value, gradient = value_and_gradient(W, x, y)
        history.append(float(value))
        W -= rate * gradient
    return history


def seconds_per_call(f, *args):
    f(*args)
    best, calls = np.inf, 1
    for _ in range(7):
        start = perf_counter()
        for _ in range(calls):
            f(*args)
        spent = perf_counter() - start
        best = min(best, spent / calls)
        calls = max(1, int(0.02 / best))
    return best


def main(out=Path("out/textbook")):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    x, y, W = data()
    figure, axes = plt.subplots(figsize=(6, 3.5), layout="constrained")
    for loss, line in ((loss_loops, "-"), (loss_arrays, "--")):
        history = train(loss)
        print(loss.__name__)
        for step in (0, 1, 99):
            print(f"  step {step:2}: loss {history[step]!r}")
        plain = seconds_per_call(loss, W, x, y)
        compiled = seconds_per_call(value_and_grad(loss), W, x, y)
        print(f"  plain Python, value only    {1e6 * plain:8.1f} µs")
        print(f"  adjit, value and gradient   {1e6 * compiled:8.1f} µs")
        axes.semilogy(history, line, label=loss.__name__)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.legend()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "c_linear_layer.png", dpi=120)
    plt.close(figure)
    print("drawn in", out / "c_linear_layer.png")


if __name__ == "__main__":
    main()
