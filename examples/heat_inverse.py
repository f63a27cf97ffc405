"""What is a rod made of? Its conductivity, found by matching a simulation of the heat equation to thermometers.

What it shows: a simulation written with in-place updates of an array, 10,000 time steps of an explicit scheme, is
differentiated as it stands. The gradient with respect to 60 unknown conductivities costs a few simulations, not 60; so
L-BFGS-B fits the whole model, two hundred times over, in a few seconds.

One end of the rod is heated in pulses; fifteen thermometers are read now and then, each with an error of a few
thousandths. The conductivity along the rod is positive (its logarithm is what is fitted) and smooth (its jumps
from cell to cell cost a little).

    python examples/heat_inverse.py [--out FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from adjit import jit, value_and_grad

CELLS, STEPS, EVERY = 60, 10_000, 250
STEP = 0.2 / CELLS**2  # stable for conductivities up to 2.5


def temperatures(logarithms, thermometers, steps, every):
    """What the thermometers show, a row every so many steps."""
    u = np.zeros(len(logarithms) + 2)  # with the two ends
    k = np.exp(logarithms)
    between = np.empty(len(k) + 1)  # conductivity where two cells meet: the harmonic mean
    between[0], between[-1] = k[0], k[-1]
    between[1:-1] = 2.0 / (1.0 / k[1:] + 1.0 / k[:-1])
    ratio = STEP * len(k) ** 2
    shown = np.empty((steps // every, len(thermometers)))
    for t in range(steps):
        u[0] = 1.0 if t % 2000 < 1000 else 0.0  # the heater, on and off
        u[-1] = u[-2]  # the other end is insulated
        flow = between * (u[1:] - u[:-1])
        u[1:-1] += ratio * (flow[1:] - flow[:-1])
        if t % every == every - 1:
            shown[t // every] = u[thermometers]
    return shown


def misfit(logarithms, thermometers, readings, steps, every, smoothness):
    error = temperatures(logarithms, thermometers, steps, every) - readings
    jumps = logarithms[1:] - logarithms[:-1]
    return np.sum(error * error) + smoothness * np.sum(jumps * jumps)


def truth():
    """The logarithm of a conductivity with a badly conducting stretch and a good one."""
    x = (np.arange(CELLS) + 0.5) / CELLS
    return 0.7 * np.tanh(20 * (x - 0.6)) - 1.0 * np.exp(-(((x - 0.3) / 0.08) ** 2))


def measured(error=0.002, seed=0):
    """Which cells have thermometers, and readings with errors."""
    thermometers = np.arange(2, CELLS, 4)
    exact = jit(temperatures)(truth(), thermometers, STEPS, EVERY)
    return thermometers, exact + error * np.random.default_rng(seed).standard_normal(exact.shape)


def draw(path, found, iterations):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    x = (np.arange(CELLS) + 0.5) / CELLS
    axis.plot(x, np.exp(truth()), "k--", label="the rod")
    axis.plot(x, np.exp(found), label=f"found in {iterations} iterations")
    axis.set_xlabel("place")
    axis.set_ylabel("conductivity")
    axis.legend()
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(out=Path("out/heat_inverse")):
    thermometers, readings = measured()
    data = (thermometers, readings, STEPS, EVERY, 3e-5)
    slope_at = value_and_grad(misfit)
    begin = np.zeros(CELLS)

    value, slope = slope_at(begin, *data)
    direction = np.cos(np.arange(CELLS))
    ahead, back = (jit(misfit)(begin + sign * 1e-5 * direction, *data) for sign in (1, -1))
    quotient = (ahead - back) / 2e-5
    print(f"slope along a direction: {slope @ direction:.9f}, by a difference quotient {quotient:.9f}")

    fit = minimize(slope_at, begin, data, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    error = np.abs(fit.x - truth())
    print(f"misfit {value:.4f} at first, {fit.fun:.6f} after {fit.nit} iterations ({fit.nfev} gradients)")
    off = np.abs(begin - truth()).mean()
    print(f"logarithm of the conductivity: off by {off:.3f} at first, {error.mean():.3f} now")
    try:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        draw(out / "conductivity.png", fit.x, fit.nit)
        print(f"drawn in {out / 'conductivity.png'}")
    except ImportError:
        print("not drawn: matplotlib is not installed")
    return {
        "slope": slope @ direction,
        "quotient": quotient,
        "before": value,
        "after": fit.fun,
        "off": off,
        "error": error,
    }


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/heat_inverse"), help="folder for the picture")
    main(options.parse_args().out)
