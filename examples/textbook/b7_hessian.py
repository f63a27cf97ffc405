"""The Hessian of a network's loss with respect to a weight matrix, and one damped Newton step with it.

For W of shape (5, 8) it has the shape (5, 8, 5, 8); as a 40 x 40 matrix it is symmetric. With respect to several
parameters at once it is a tree of such blocks, one for each pair.
"""

from pathlib import Path

import numpy as np

from adjit import hessian, value_and_grad


def loss(W1, others, x):
    b1, W2, b2 = others
    hidden = np.maximum(x @ W1 + b1, 0.0)
    return np.mean(np.maximum(hidden @ W2 + b2, 0.0) ** 2)


def loss_of_all(parameters, x):
    return loss(parameters["W1"], (parameters["b1"], parameters["W2"], parameters["b2"]), x)


def data():
    random = np.random.default_rng(4)
    x, W1, W2 = random.normal(size=(7, 5)), random.normal(size=(5, 8)), random.normal(size=(8, 6))
    return x, W1, (0.1 * random.normal(size=8), W2, 0.1 * random.normal(size=6))


def draw(path, matrix):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return print("no picture: matplotlib is not installed")
    figure = Figure(figsize=(5, 4.2), layout="constrained")
    axes = figure.subplots()
    limit = np.abs(matrix).max()
    figure.colorbar(axes.imshow(matrix, vmin=-limit, vmax=limit, cmap="RdBu_r"), ax=axes)
    axes.set_title("second derivatives by the 40 weights")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn in", path)


def main(out=Path("out/textbook")):
    x, W1, others = data()
    before, g = value_and_grad(loss)(W1, others, x)
    H = hessian(loss)(W1, others, x)
    matrix = H.reshape(40, 40)
    step = np.linalg.solve(matrix + 1e-3 * np.eye(40), g.ravel()).reshape(5, 8)
    after = loss(W1 - step, others, x)
    print("Hessian by W1      ", H.shape, "symmetric to", np.abs(matrix - matrix.T).max())
    print("loss before        ", before)
    print("after a Newton step", after)

    parameters = dict(zip(("b1", "W2", "b2"), others), W1=W1)
    blocks = hessian(loss_of_all)(parameters, x)
    for row in ("W1", "b2"):
        for column in ("W1", "b2"):
            print(f"block {row}, {column}       ", blocks[row][column].shape)
    draw(Path(out) / "b7_hessian.png", matrix)
    return H, before, after, blocks


if __name__ == "__main__":
    main()
