"""Optimal control through 100,000 time steps, in a megabyte.

What it shows: the reverse sweep of a long simulation needs its states, and to keep them all takes as much memory as
there are steps. `for t in checkpoint(range(steps), memory="1MB")` keeps a few, and computes the others again when they
are needed: the same gradient, bit for bit, for about two more forward sweeps. Nothing else in the program changes.

A chain of masses on springs that harden when they are stretched is set swinging by a blow. A force on its first mass,
constant for each of 200 intervals, shall bring it to rest: what is minimized is the energy left at the end, and a
little for the force used.

    python examples/optimal_control.py [--out FOLDER]
"""

import argparse
import gc
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.optimize import minimize

from adjit import checkpoint, clear_memory, jit, value_and_grad

MASSES, STEP, INTERVALS = 32, 5e-4, 200


def forces(x):
    """On each mass, from its two springs; the chain's last spring holds on to a wall."""
    stretched = np.empty(len(x) + 1)
    stretched[0] = 0.0
    stretched[1:-1] = x[1:] - x[:-1]
    stretched[-1] = -x[-1]
    pull = stretched + 0.5 * stretched**3
    return pull[1:] - pull[:-1]


def energy(x, v):
    stretched = np.concatenate((x[1:] - x[:-1], -x[-1:]))
    return np.sum(0.5 * v * v) + np.sum(0.5 * stretched**2 + 0.125 * stretched**4)


def cost(control, steps):
    """The energy at the end, and a little for the control; every state is kept for the reverse sweep."""
    x, v = np.zeros(MASSES), np.zeros(MASSES)
    v[MASSES // 2] = 2.0  # the blow
    for t in range(steps):
        v += STEP * forces(x)
        v[0] += STEP * control[t * len(control) // steps]
        x += STEP * v
    return energy(x, v) + 1e-3 * STEP * steps * np.mean(control * control)


def cost_in_little_memory(control, steps):
    """The same, within a megabyte."""
    x, v = np.zeros(MASSES), np.zeros(MASSES)
    v[MASSES // 2] = 2.0
    for t in checkpoint(range(steps), memory="1MB"):
        v += STEP * forces(x)
        v[0] += STEP * control[t * len(control) // steps]
        x += STEP * v
    return energy(x, v) + 1e-3 * STEP * steps * np.mean(control * control)


def measured(function, *arguments):
    """The result, seconds, and by how many bytes the peak of resident memory grows (None where Linux does not say)."""
    status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def resident(kind):
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))

    function(*arguments)  # compiled, and everything loaded
    clear_memory()
    gc.collect()
    if clear.exists():
        clear.write_text("5")
    before = resident("VmRSS") if clear.exists() else None
    begin = perf_counter()
    result = function(*arguments)
    seconds = perf_counter() - begin
    return result, seconds, None if before is None else resident("VmHWM") - before


def draw(path, control, costs):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    axes[0].step(np.linspace(0, 1, len(control)), control)
    axes[0].set_xlabel("time")
    axes[0].set_ylabel("force on the first mass")
    axes[1].semilogy(costs, ".-")
    axes[1].set_xlabel("iteration")
    axes[1].set_ylabel("energy left, and the price of the force")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(out=Path("out/optimal_control"), steps=100_000, iterations=30):
    control = 0.1 * np.sin(np.arange(INTERVALS))
    frugal, lavish = value_and_grad(cost_in_little_memory), value_and_grad(cost)
    (_, slope), seconds, growth = measured(frugal, control, steps)
    (_, all_kept), seconds_kept, growth_kept = measured(lavish, control, steps)
    same = bool(np.array_equal(slope, all_kept))
    print(f"gradient through {steps} steps: {seconds:.2f} s; all states kept {seconds_kept:.2f} s; same bits: {same}")
    if growth is not None:
        print(f"memory: {growth / 1e6:.1f} MB; with all states kept {growth_kept / 1e6:.1f} MB")

    costs = []
    fit = minimize(
        frugal,
        control,
        (steps,),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": iterations},
        callback=lambda x: costs.append(jit(cost)(x, steps)),
    )
    free = jit(cost)(np.zeros(INTERVALS), steps)
    print(f"energy left without control {free:.4f}; with the best found in {fit.nit} iterations {fit.fun:.4f}")
    try:
        out = Path(out)
        out.mkdir(parents=True, exist_ok=True)
        draw(out / "control.png", fit.x, costs)
        print(f"drawn in {out / 'control.png'}")
    except ImportError:
        print("not drawn: matplotlib is not installed")
    return {"same": same, "growth": growth, "growth_kept": growth_kept, "free": free, "best": fit.fun}


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/optimal_control"), help="folder for the picture")
    main(options.parse_args().out)
