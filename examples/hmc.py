"""Hamiltonian Monte Carlo whose inner loop is compiled by Numba and calls a gradient of adjit's.

What it shows: `energy.njit` is the value and the gradient of a plain Python function, called from the user's own
`@njit` code. The leapfrog loop never enters the interpreter: `sample` is one compiled function, and gives its
signature.

The model is Bayesian logistic regression: weights with a normal prior, given which of some patients recovered.

    python examples/hmc.py
"""

import numpy as np
from numba import njit

from adjit import value_and_grad


@value_and_grad
def energy(q, features, outcomes):
    """Minus the logarithm of the posterior density of the weights `q`, up to a constant."""
    total = 0.5 * np.sum(q * q)
    for i in range(features.shape[0]):
        z = np.dot(features[i], q)
        total += np.logaddexp(0.0, z) - outcomes[i] * z
    return total


energy_and_force = energy.njit  # the same for @njit code: (q, features, outcomes) -> (energy, gradient)


@njit
def leapfrog(q, p, features, outcomes, step, count):
    """Follow Hamilton's equations for `count` steps; returns the position, momentum and potential energy there."""
    value, slope = energy_and_force(q, features, outcomes)
    for _ in range(count):
        p = p - 0.5 * step * slope
        q = q + step * p
        value, slope = energy_and_force(q, features, outcomes)
        p = p - 0.5 * step * slope
    return q, p, value


@njit
def sample(q, features, outcomes, momenta, uniforms, step, count):
    """A chain from `q`: one position per row of `momenta`, and how many proposals were accepted."""
    chain = np.empty(momenta.shape)
    accepted = 0
    value = energy_and_force(q, features, outcomes)[0]
    for n in range(momenta.shape[0]):
        p = momenta[n].copy()
        new_q, new_p, new_value = leapfrog(q, p, features, outcomes, step, count)
        change = value + 0.5 * np.sum(p * p) - new_value - 0.5 * np.sum(new_p * new_p)
        if np.log(uniforms[n]) < change:
            q, value = new_q, new_value
            accepted += 1
        chain[n] = q
    return chain, accepted


def problem(patients=200, seed=0):
    """Features and outcomes drawn from known weights."""
    draws = np.random.default_rng(seed)
    weights = np.array([1.0, -2.0, 0.5])
    features = draws.normal(size=(patients, 3))
    outcomes = (draws.random(patients) < 1 / (1 + np.exp(-features @ weights))).astype(np.float64)
    return features, outcomes, weights


def main(samples=2000, step=0.05, count=20, seed=1):
    features, outcomes, weights = problem()
    draws = np.random.default_rng(seed)
    momenta, uniforms = draws.normal(size=(samples, 3)), draws.random(samples)
    chain, accepted = sample(np.zeros(3), features, outcomes, momenta, uniforms, step, count)
    kept = chain[samples // 5 :]
    return {"mean": kept.mean(axis=0), "deviation": kept.std(axis=0), "accepted": accepted / samples, "true": weights}


if __name__ == "__main__":
    found = main()
    print("accepted", found["accepted"])
    for true, mean, deviation in zip(found["true"], found["mean"], found["deviation"], strict=True):
        print(f"weight {true:5.2f}: posterior {mean:6.3f} ± {deviation:.3f}")
    print("compiled:", *sample.nopython_signatures)
