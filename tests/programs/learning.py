"""Statistics and machine learning: an LSTM, mixture likelihoods, clustering, small networks."""

import numpy as np

from .registry import Program


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def lstm(xs, W, U, b, h, c, w):
    hidden = h.shape[0]
    loss = 0.0
    for t in range(xs.shape[0]):
        gates = W @ xs[t] + U @ h + b
        i = sigmoid(gates[:hidden])
        f = sigmoid(gates[hidden : 2 * hidden])
        g = np.tanh(gates[2 * hidden : 3 * hidden])
        o = sigmoid(gates[3 * hidden :])
        c = f * c + i * g
        h = o * np.tanh(c)
        loss += w @ h
    return loss


def lstm_in_place(xs, W, U, b, hs, w):
    """The same cell with the state of every step written into the rows of an array."""
    hidden = hs.shape[1]
    c = np.zeros_like(hs[0])
    for t in range(len(xs)):
        gates = W @ xs[t] + U @ hs[t] + b
        gates[: 2 * hidden] = sigmoid(gates[: 2 * hidden])
        gates[2 * hidden : 3 * hidden] = np.tanh(gates[2 * hidden : 3 * hidden])
        gates[3 * hidden :] = sigmoid(gates[3 * hidden :])
        c *= gates[hidden : 2 * hidden]
        c += gates[:hidden] * gates[2 * hidden : 3 * hidden]
        hs[t + 1] = gates[3 * hidden :] * np.tanh(c)
    return np.sum(w * hs[1:])


def log_sum_exp(x):
    m = np.max(x)
    return m + np.log(np.sum(np.exp(x - m)))


def gmm_loops(alphas, means, icf, x):
    """Gaussian mixture, inverse covariance factors stored as log-diagonal then strictly lower columns."""
    n, d = x.shape
    k = alphas.shape[0]
    main = np.empty_like(alphas)
    total = 0.0
    for i in range(n):
        for j in range(k):
            squares = 0.0
            log_det = 0.0
            for row in range(d):
                log_det += icf[j, row]
                q = np.exp(icf[j, row]) * (x[i, row] - means[j, row])
                at = d + row - 1
                for col in range(row):
                    q += icf[j, at] * (x[i, col] - means[j, col])
                    at += d - col - 2
                squares += q * q
            main[j] = alphas[j] + log_det - 0.5 * squares
        total += log_sum_exp(main)
    return total - n * log_sum_exp(alphas)


def gmm_arrays(alphas, means, log_scales, x):
    diff = (x[:, None, :] - means[None, :, :]) * np.exp(log_scales)[None, :, :]
    main = alphas + np.sum(log_scales, axis=1) - 0.5 * np.sum(diff**2, axis=2)
    top = np.max(main, axis=1, keepdims=True)
    lse = top[:, 0] + np.log(np.sum(np.exp(main - top), axis=1))
    return np.sum(lse) - x.shape[0] * log_sum_exp(alphas)


def kmeans_cost(centers, points):
    distance = np.sum((points[:, None, :] - centers[None, :, :]) ** 2, axis=2)
    nearest = np.argmin(distance, axis=1)
    cost = 0.0
    for i in range(points.shape[0]):
        d = points[i] - centers[nearest[i]]
        cost += d @ d
    return cost


def kmeans_min(centers, points):
    distance = np.sum((points[:, None, :] - centers) ** 2, axis=-1)
    return np.sum(distance.min(axis=1))


def two_layers(x, W1, b1, W2, b2, y):
    hidden = np.maximum(x @ W1 + b1, 0.0)
    out = hidden @ W2 + b2
    shifted = out - out.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    loss = 0.0
    for i in range(len(y)):
        loss -= log_p[i, y[i]]
    return loss / len(y)


def batch_norm(x, gamma, beta, w):
    mean = np.mean(x, axis=0)
    var = np.var(x, axis=0)
    return np.sum(w * (gamma * (x - mean) / np.sqrt(var + 1e-5) + beta))


def gradient_descent_inside(W, x, y, rate, steps):
    """A loss after a few steps of training: differentiated through the updates."""
    for _ in range(steps):
        r = x @ W - y
        W -= rate * np.outer(x, r)
    return np.sum((x @ W - y) ** 2)


rng = np.random.default_rng(3)
hidden, features, steps = 3, 2, 5
xs = rng.standard_normal((steps, features))
W = rng.standard_normal((4 * hidden, features))
U = rng.standard_normal((4 * hidden, hidden))
bias = rng.standard_normal(4 * hidden)
alphas = rng.standard_normal(3)
means = rng.standard_normal((3, 4))
icf = 0.5 * rng.standard_normal((3, 4 + 4 * 3 // 2))
points = rng.standard_normal((8, 4))

PROGRAMS = [
    Program(
        "lstm",
        lstm,
        (
            xs,
            W,
            U,
            bias,
            rng.standard_normal(hidden),
            rng.standard_normal(hidden),
            rng.standard_normal(hidden),
        ),
        (0, 1, 2, 3, 4, 5, 6),
        {"acceptance", "complex"},
        ((xs[:0], W, U, bias, *rng.standard_normal((3, hidden))),),
    ),
    Program(
        "lstm_in_place",
        lstm_in_place,
        (xs, W, U, bias, rng.standard_normal((steps + 1, hidden)), rng.standard_normal((steps, hidden))),
        (0, 1, 2, 3, 4, 5),
        {"complex"},
    ),
    Program("gmm_loops", gmm_loops, (alphas, means, icf, points), (0, 1, 2, 3), {"acceptance"}),
    Program("gmm_arrays", gmm_arrays, (alphas, means, icf[:, :4].copy(), points), (0, 1, 2, 3), {"acceptance"}),
    Program("kmeans_cost", kmeans_cost, (means, points), (0, 1), {"acceptance", "kink"}),
    Program("kmeans_min", kmeans_min, (means, points), (0, 1), {"acceptance", "kink"}),
    Program(
        "two_layers",
        two_layers,
        (
            points,
            rng.standard_normal((4, 5)),
            rng.standard_normal(5),
            rng.standard_normal((5, 3)),
            rng.standard_normal(3),
            np.array([0, 2, 1, 1, 0, 2, 2, 0]),
        ),
        (0, 1, 2, 3, 4),
        {"kink"},
    ),
    Program(
        "batch_norm",
        batch_norm,
        (points, rng.standard_normal(4), rng.standard_normal(4), rng.standard_normal((8, 4))),
        (0, 1, 2, 3),
    ),
    Program(
        "gradient_descent_inside",
        gradient_descent_inside,
        (rng.standard_normal((4, 3)), rng.standard_normal(4), rng.standard_normal(3), 0.05, 3),
        (0, 1, 2, 3),
        {"complex"},
    ),
]
