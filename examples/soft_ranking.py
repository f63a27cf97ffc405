"""Learning to rank: bubble sort with soft swaps, and the correlation of ranks as a loss.

What it shows: a sort is comparisons and swaps in place. Where each swap is soft (two neighbours are mixed by how
clearly they are out of order, as a sigmoid says), the sorting program has a derivative everywhere, and `grad` takes
the two nested loops as they are written. What happens to the values happens to a matrix that begins as the identity:
its columns say where each value goes, and so its rank.

The ranks make a loss: one minus Spearman's correlation with ranks that are given. The data are scores that depend on
features in a way that is monotonic, but far from linear, with outliers: least squares learns the outliers, ranks are
untouched by them.

    python examples/soft_ranking.py [--out FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.stats import rankdata, spearmanr

from adjit import value_and_grad


def soft_ranks(values, softness):
    """Ranks from 0 to n - 1, in between where values are about as close as `softness`."""
    n = len(values)
    x = np.copy(values)
    where = np.eye(n)  # row i: which of the given values is at place i
    for last in range(n - 1, 0, -1):
        for i in range(last):
            swap = 1.0 / (1.0 + np.exp((x[i + 1] - x[i]) / softness))  # near 1 where x[i] is clearly larger
            low = (1.0 - swap) * x[i] + swap * x[i + 1]
            x[i + 1] = swap * x[i] + (1.0 - swap) * x[i + 1]
            x[i] = low
            for k in range(n):
                first = (1.0 - swap) * where[i, k] + swap * where[i + 1, k]
                where[i + 1, k] = swap * where[i, k] + (1.0 - swap) * where[i + 1, k]
                where[i, k] = first
    return np.arange(n) @ where


def disagreement(weights, features, ranks, softness):
    """One minus the correlation of the soft ranks of `features @ weights` with `ranks`."""
    scores = features @ weights
    scores = scores / np.sqrt(np.mean(scores * scores))  # ranks know no scale: neither should the softness
    found = soft_ranks(scores, softness)
    a, b = found - np.mean(found), ranks - np.mean(ranks)
    return 1.0 - np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def problem(count, seed):
    """Features, and scores that grow very unevenly with a linear function of them; some are far off the scale."""
    draws = np.random.default_rng(seed)
    features = draws.standard_normal((count, 4))
    linear = features @ np.array([1.0, -2.0, 0.5, 0.25])
    return features, np.exp(2.0 * linear) + 0.1 * draws.random(count)


def draw(path, features, scores, by_ranks, by_squares):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained", sharey=True)
    for axis, weights, title in ((axes[0], by_squares, "least squares"), (axes[1], by_ranks, "soft ranks")):
        axis.plot(rankdata(scores), rankdata(features @ weights), ".")
        axis.set_title(title)
        axis.set_xlabel("true rank")
    axes[0].set_ylabel("predicted rank")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(out=Path("out/soft_ranking"), count=40):
    features, scores = problem(count, seed=0)
    others, other_scores = problem(400, seed=1)
    ranks = rankdata(scores) - 1.0

    loss = value_and_grad(disagreement)
    by_squares = np.linalg.lstsq(features, scores, rcond=None)[0]
    begin = np.array([0.1, 0.1, 0.1, 0.1])
    fit = minimize(loss, begin, (features, ranks, 0.05), jac=True, method="L-BFGS-B", options={"maxiter": 60})

    def correlation(weights):
        return float(spearmanr(others @ weights, other_scores).statistic)

    found = {name: correlation(w) for name, w in (("start", begin), ("squares", by_squares), ("ranks", fit.x))}
    print(f"loss {loss(begin, features, ranks, 0.05)[0]:.4f} at first, {fit.fun:.4f} after {fit.nit} iterations")
    print("Spearman's correlation on 400 others:", ", ".join(f"{name} {value:.4f}" for name, value in found.items()))
    print("weights, up to their scale:", np.round(fit.x / fit.x[0], 2), "; true: [ 1.   -2.    0.5   0.25]")
    try:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        draw(out / "ranks.png", others, other_scores, fit.x, by_squares)
        print(f"drawn in {out / 'ranks.png'}")
    except ImportError:
        print("not drawn: matplotlib is not installed")
    return found, fit.x


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/soft_ranking"), help="folder for the picture")
    main(options.parse_args().out)
