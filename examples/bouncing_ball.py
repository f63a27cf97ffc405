"""A ball dropped on a hard floor, filmed with some noise: which gravity, drag, restitution and first velocity?

What it shows: derivatives through a simulation with events. Between bounces the ball follows v' = -g - c |v| v, in
steps of Runge and Kutta's method. A step that ends below the floor is cut where it meets the floor, found by Newton's
method; the ball leaves with a part of its speed; once too slow to leave, it stays. How many steps, Newton iterations
and bounces there are depends on the parameters: `while`, `if`, `return` over data, written as one thinks them. adjit
differentiates what ran: the moment of a bounce depends on the parameters too, and Newton's iterations carry that.
(Bisection would not: its brackets move in halves, whatever the parameters are.)

SciPy's `least_squares` gets the Jacobian of the 240 residuals by the 4 parameters from one kernel, forward mode.

    python examples/bouncing_ball.py [--out FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from adjit import jacobian, jit, value_and_grad

NAMES = ("gravity", "restitution", "drag", "velocity")
TRUTH = np.array([9.81, 0.83, 0.035, 1.5])
GUESS = np.array([9.0, 0.8, 0.0, 1.0])
HEIGHT = 1.2  # of the hand, known
STEP = 0.01
SLOWEST = 0.15  # speed after a bounce, below which the ball stays on the floor
NOISE = 0.01


def acceleration(v, g, c):
    return -g - c * abs(v) * v


def advance(y, v, h, g, c):
    """One step of the classic fourth-order method; y' = v."""
    a1 = acceleration(v, g, c)
    v2 = v + h / 2 * a1
    a2 = acceleration(v2, g, c)
    v3 = v + h / 2 * a2
    a3 = acceleration(v3, g, c)
    v4 = v + h * a3
    a4 = acceleration(v4, g, c)
    return y + h / 6 * (v + 2 * v2 + 2 * v3 + v4), v + h / 6 * (a1 + 2 * a2 + 2 * a3 + a4)


def heights(parameters, times):
    """The height of the ball at each of the times."""
    g, restitution, c, v = parameters
    y, t = HEIGHT, 0.0
    seen = np.zeros(len(times))
    for k in range(len(times)):
        while t < times[k]:
            h = min(STEP, times[k] - t)
            y_new, v_new = advance(y, v, h, g, c)
            if y_new < 0.0:
                h *= y / (y - y_new)
                y_new, v_new = advance(y, v, h, g, c)
                while abs(y_new) > 1e-13:
                    h -= y_new / v_new
                    y_new, v_new = advance(y, v, h, g, c)
                v_new = -restitution * v_new
                if v_new < SLOWEST:
                    return seen
            y, v, t = y_new, v_new, t + h
        seen[k] = y
    return seen


def residuals(parameters, times, data):
    return heights(parameters, times) - data


def squares(parameters, times, data):
    return np.sum(residuals(parameters, times, data) ** 2)


def film(frames=240, seed=0):
    """Times and heights, as the camera sees them."""
    times = np.arange(frames) / 60.0
    return times, heights(TRUTH, times) + NOISE * np.random.default_rng(seed).normal(size=frames)


def difference_quotient(function, x, h=1e-6):
    return np.array([(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(len(x))])


def draw(path, times, data, curves):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return print("no picture: matplotlib is not installed")
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(times, data, ".", color="0.6", markersize=4, label="data")
    for (label, curve), line in zip(curves.items(), ("--", "-")):
        axes.plot(times, curve, line, linewidth=1.2, label=label)
    axes.set_xlabel("time, s")
    axes.set_ylabel("height, m")
    axes.legend(loc="upper right")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn in", path)


def main(out=Path("out")):
    times, data = film()
    value, gradient = value_and_grad(squares)(GUESS, times, data)
    quotient = difference_quotient(lambda p: squares(p, times, data), GUESS)
    print("squares at the guess       ", value)
    print("their gradient             ", gradient)
    print("difference quotient        ", quotient)

    fit = least_squares(jit(residuals), GUESS, jac=jacobian(residuals), args=(times, data), x_scale="jac")
    deviations = NOISE * np.sqrt(np.diag(np.linalg.inv(fit.jac.T @ fit.jac)))
    print(f"squares after {fit.nfev} evaluations", 2 * fit.cost)
    for name, true, guess, found, deviation in zip(NAMES, TRUTH, GUESS, fit.x, deviations):
        print(f"{name:>12}: guess {guess:6.3f}, found {found:7.4f} ± {deviation:.4f}, true {true:6.3f}")
    draw(Path(out) / "bouncing_ball.png", times, data, {"guess": heights(GUESS, times), "fit": heights(fit.x, times)})
    return {"gradient": gradient, "quotient": quotient, "fit": fit, "deviations": deviations}


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    main(options.parse_args().out)
