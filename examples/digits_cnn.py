"""A small convolutional network learns to read digits, trained with a gradient of adjit's.

What it shows: a network needs no framework. Each layer is a few lines of NumPy with a loop, the parameters are a dict
of arrays (a pytree), and so is the gradient. The value and the gradient of a batch's loss are one compiled kernel: the
convolution is written as one small matrix product per weight of the filter, which runs as it stands. The last batch
of an epoch may have another size; no shape compiles anything anew. Adam is a few lines over the two dicts.

The images are the 1,797 of scikit-learn's `load_digits`, 8 by 8 pixels; a fifth of them are kept for the test.

    python examples/digits_cnn.py [--out FOLDER]

writes a picture of what was learned, and of what is still misread, to a folder.
"""

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.datasets import load_digits

from adjit import jit, value_and_grad

# ---- the network: images are (image, row, column, channel) ----


def convolution(images, weights, bias):
    """Every 3 by 3 window of the images times the filters `weights` (row, column, channel, filter)."""
    rows, columns = images.shape[1] - 2, images.shape[2] - 2
    result = np.zeros((len(images), rows, columns, len(bias))) + bias
    for i in range(3):
        for j in range(3):
            result += images[:, i : i + rows, j : j + columns] @ weights[i, j]
    return result


def relu(x):
    return np.maximum(x, 0.0)


def pooled(images):
    """The largest of each 2 by 2 pixels."""
    count, rows, columns, channels = images.shape
    return np.max(images.reshape(count, rows // 2, 2, columns // 2, 2, channels), axis=(2, 4))


def log_softmax(x):
    shifted = x - np.max(x, axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))


def log_probabilities(network, images):
    """Of each image, the logarithm of the probability of each of the ten digits."""
    x = relu(convolution(images, network["filters1"], network["bias1"]))  # 8 × 8 × 1 → 6 × 6 × 16
    x = relu(convolution(x, network["filters2"], network["bias2"]))  # → 4 × 4 × 32
    x = pooled(x)  # → 2 × 2 × 32
    x = x.reshape(len(x), -1)  # → 128
    return log_softmax(x @ network["dense"] + network["bias"])


@value_and_grad
def loss(network, images, digits):
    """Minus the mean logarithm of the probability that the network gives to the truth."""
    given = log_probabilities(network, images)
    total = 0.0
    for k in range(len(digits)):
        total -= given[k, digits[k]]
    return total / len(digits)


read = jit(log_probabilities)


def accuracy(network, images, digits):
    return np.mean(np.argmax(read(network, images), axis=1) == digits)


# ---- its training ----


def problem(seed=0):
    """Images and digits to train with, and those to test with."""
    data = load_digits()
    images, digits = data.images[..., None] / 16.0, data.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(digits))
    kept, rest = order[: len(order) // 5], order[len(order) // 5 :]
    return images[rest], digits[rest], images[kept], digits[kept]


def untrained(seed=1):
    """He's initialization: variance 2 by the number of inputs."""
    draws = np.random.default_rng(seed)
    return {
        "filters1": draws.normal(size=(3, 3, 1, 16)) * np.sqrt(2 / 9),
        "bias1": np.zeros(16),
        "filters2": draws.normal(size=(3, 3, 16, 32)) * np.sqrt(2 / 144),
        "bias2": np.zeros(32),
        "dense": draws.normal(size=(128, 10)) * np.sqrt(2 / 128),
        "bias": np.zeros(10),
    }


def train(network, images, digits, epochs, batch=64, rate=1e-2, seed=2):
    """Adam (Kingma and Ba, 2015), the rate falling to zero; returns the network, and the mean loss of each epoch."""
    draws = np.random.default_rng(seed)
    mean = {name: np.zeros_like(p) for name, p in network.items()}
    square = {name: np.zeros_like(p) for name, p in network.items()}
    steps, losses = 0, []
    for epoch in range(epochs):
        order, total = draws.permutation(len(digits)), 0.0
        for first in range(0, len(digits), batch):
            chosen = order[first : first + batch]
            value, slope = loss(network, images[chosen], digits[chosen])
            total += value * len(chosen)
            steps += 1
            for name, g in slope.items():
                mean[name] += 0.1 * (g - mean[name])
                square[name] += 0.001 * (g * g - square[name])
                step = mean[name] / (1 - 0.9**steps) / (np.sqrt(square[name] / (1 - 0.999**steps)) + 1e-8)
                network[name] = network[name] - rate * (1 - epoch / epochs) * step
        losses.append(total / len(digits))
    return network, losses


def draw(path, network, losses, images, digits):
    """The falling loss, the first layer's filters, and test images that the network misreads."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    guesses = np.argmax(read(network, images), axis=1)
    wrong = np.flatnonzero(guesses != digits)[:8]
    figure, axes = plt.subplots(3, 8, figsize=(9, 5), layout="constrained", height_ratios=(2, 1, 1))
    for axis in axes.flat:
        axis.axis("off")
    curve = figure.add_subplot(axes[0, 0].get_gridspec()[0, :])
    curve.semilogy(np.arange(1, len(losses) + 1), losses)
    curve.set_xlabel("epoch")
    curve.set_ylabel("loss")
    for k, axis in enumerate(axes[1]):
        axis.imshow(network["filters1"][:, :, 0, k], cmap="RdBu", vmin=-1, vmax=1)
        axis.set_title(f"filter {k}", fontsize="small")
    for k, axis in zip(wrong, axes[2]):
        axis.imshow(images[k, :, :, 0], cmap="gray_r")
        axis.set_title(f"{digits[k]} read as {guesses[k]}", fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(out=Path("out/digits_cnn"), epochs=40):
    images, digits, test_images, test_digits = problem()
    network = untrained()
    begin = perf_counter()
    loss(network, images[:64], digits[:64])
    print(f"traced, differentiated and compiled (or loaded from the cache) in {perf_counter() - begin:.2f} s")

    begin = perf_counter()
    network, losses = train(network, images, digits, epochs)
    spent = perf_counter() - begin
    batches = epochs * -(-len(digits) // 64)
    print(f"{epochs} epochs in {spent:.2f} s, {1e3 * spent / batches:.2f} ms for a batch of 64 and its step")
    print(f"loss {losses[0]:.4f} in the first epoch, {losses[-1]:.4f} in the last")

    right = accuracy(network, images, digits), accuracy(network, test_images, test_digits)
    print(f"read correctly: {right[0]:.2%} of the images trained with, {right[1]:.2%} of {len(test_digits)} others")

    try:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        draw(out / "digits.png", network, losses, test_images, test_digits)
        print(f"drawn in {out / 'digits.png'}")
    except ImportError:
        print("not drawn: matplotlib is not installed")
    return network, losses, right


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/digits_cnn"), help="folder for the picture")
    main(options.parse_args().out)
