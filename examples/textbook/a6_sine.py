"""The sine and its derivative over [-10, 10), drawn; the derivative's own formula is written nowhere."""

from pathlib import Path

import numpy as np

from adjit import grad


def total_sine(x):
    return np.sum(np.sin(x))


def main(out=Path("out/textbook")):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    x = np.arange(-10, 10, 0.1)
    derivative = grad(total_sine)(x)
    print("x          ", x[:4], "...")
    print("sin(x)     ", np.sin(x)[:4], "...")
    print("derivative ", derivative[:4], "...")

    figure, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
    axes.plot(x, np.sin(x), label="sin(x)")
    axes.plot(x, derivative, "--", label="its derivative")
    axes.set_xlabel("x")
    axes.legend(loc="upper right")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "a6_sine.png", dpi=120)
    plt.close(figure)
    print("drawn in   ", out / "a6_sine.png")


if __name__ == "__main__":
    main()
