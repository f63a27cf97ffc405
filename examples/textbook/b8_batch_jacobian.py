"""A Jacobian for each example of a batch: `vmap` of a Jacobian, and when that is the wrong question.

Two layers treat the examples of a batch one by one. So the Jacobian of all outputs by all inputs, (7, 6, 7, 5), is
zero between different examples, and its diagonal blocks, (7, 6, 5), are the Jacobians of one example after the other.

With a batch normalization between the layers, the mean and the variance of the batch couple the examples: what one of
them gives depends on all others. Then there is no Jacobian of "an example"; the diagonal blocks alone leave out what
an input does to the rest of its batch.
"""

from pathlib import Path

import numpy as np

from adjit import jacobian, vmap


def elu(x):
    return np.where(x > 0, x, np.expm1(x))


def network(x, parameters):
    """For one example, and for a batch."""
    W1, b1, W2, b2 = parameters
    return elu(elu(x @ W1 + b1) @ W2 + b2)


def normalized_network(x, parameters):
    """For a batch only."""
    W1, b1, W2, b2 = parameters
    hidden = elu(x @ W1 + b1)
    hidden = (hidden - np.mean(hidden, axis=0)) / np.sqrt(np.var(hidden, axis=0) + 1e-3)
    return elu(hidden @ W2 + b2)


def data():
    random = np.random.default_rng(0)
    x, W1, W2 = random.normal(size=(7, 5)), random.normal(size=(5, 8)), random.normal(size=(8, 6))
    return x, (W1, 0.1 * random.normal(size=8), W2, 0.1 * random.normal(size=6))


def blocks(full):
    """The diagonal blocks of a Jacobian (n, m, n, k), and how large the others are."""
    n = len(full)
    diagonal = np.stack([full[i, :, i] for i in range(n)])
    others = np.max([np.abs(full[i, :, j]).max() for i in range(n) for j in range(n) if i != j])
    return diagonal, others


def draw(path, pictures):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return print("no picture: matplotlib is not installed")
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    for axes, (title, full) in zip(figure.subplots(1, 2), pictures.items()):
        limit = np.abs(full).max()
        axes.imshow(full.reshape(42, 35), vmin=-limit, vmax=limit, cmap="RdBu_r")
        axes.set_title(title)
        axes.set_xlabel("inputs of 7 examples")
        axes.set_ylabel("outputs of 7 examples")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn in", path)


def main(out=Path("out/textbook")):
    x, parameters = data()
    each = vmap(jacobian(network), in_axes=(0, None))(x, parameters)
    full = jacobian(network)(x, parameters)
    diagonal, others = blocks(full)
    print("a Jacobian for each example    ", each.shape)
    print("of the whole batch             ", full.shape)
    print("largest difference on diagonal ", np.abs(each - diagonal).max())
    print("largest entry off the diagonal ", others)

    coupled = jacobian(normalized_network)(x, parameters)
    _, coupling = blocks(coupled)
    print("the same, batch-normalized     ", coupling)
    draw(Path(out) / "b8_batch_jacobian.png", {"layer by layer": full, "batch normalization between": coupled})
    return each, full, coupled


if __name__ == "__main__":
    main()
