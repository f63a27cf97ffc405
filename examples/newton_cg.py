"""Newton-CG on Rosenbrock's valley in 1,000 dimensions: Newton's steps from products of the Hessian with vectors.

What it shows: `hvp` is the Hessian times a vector, forward over reverse in one kernel: a few evaluations of the
function, however many variables there are. SciPy's Newton-CG finds each Newton step by conjugate gradients, so these
products are all it asks for; the Hessian itself, a million numbers, is never formed.

A method with only gradients learns how the valley bends from the steps that it has taken. Here that takes three to
seven times as many iterations, and at the end, where each of Newton's steps gains more digits than the one before, it
still goes on by a factor. Newton-CG without `hessp` takes differences of gradients for products: it gets about
as far as half of the digits of those allow.

    python examples/newton_cg.py [--out FOLDER]
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from adjit import grad, hvp, value_and_grad


def rosenbrock(x):
    """The chained form, as one writes it; its minimum, 0, is at (1, ..., 1)."""
    total = 0.0
    for i in range(len(x) - 1):
        total += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return total


def start(n):
    """The classic starting point, repeated."""
    return np.where(np.arange(n) % 2 == 0, -1.2, 1.0)


def product(x, v):
    return hvp(rosenbrock, x, v)


METHODS = {  # how it is called here: SciPy's method, what it is given besides gradients, its options
    "Newton-CG": ("Newton-CG", product, {"xtol": 1e-10}),
    "Newton-CG, differences": ("Newton-CG", None, {"xtol": 1e-10}),
    "L-BFGS-B": ("L-BFGS-B", None, {"ftol": 0.0, "gtol": 1e-7, "maxiter": 20_000, "maxfun": 40_000}),
    "CG": ("CG", None, {"gtol": 1e-7, "maxiter": 20_000}),
}


def descend(name, n):
    """SciPy's result; with the norm of the gradient after each iteration, and the numbers of calls."""
    method, hessp, options = METHODS[name]
    calls = {"gradients": 0, "products": 0}
    value_and_gradient, gradient = value_and_grad(rosenbrock), grad(rosenbrock)
    norms = [np.linalg.norm(gradient(start(n)))]

    def counted(x):
        calls["gradients"] += 1
        return value_and_gradient(x)

    def counted_product(x, v):
        calls["products"] += 1
        return hessp(x, v)

    result = minimize(
        counted,
        start(n),
        jac=True,
        hessp=counted_product if hessp else None,
        method=method,
        options=options,
        callback=lambda x: norms.append(np.linalg.norm(gradient(x))),
    )
    result.norms, result.calls = norms, calls
    return result


def draw(path, results):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return print("no picture: matplotlib is not installed")
    figure = Figure(figsize=(7, 3.8), layout="constrained")
    axes = figure.subplots()
    for name, result in results.items():
        axes.semilogy(result.norms, label=name, linewidth=0.8)
    axes.set_xlabel("iterations")
    axes.set_ylabel("|gradient|")
    axes.set_title(f"Rosenbrock's function of {len(result.x):,} variables")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    print("drawn in", path)


def main(out=Path("out"), n=1000):
    results = {name: descend(name, n) for name in METHODS}
    print(f"{'n = ' + str(n):24}{'iterations':>11}{'gradients':>11}{'products':>11}{'value':>11}{'|gradient|':>12}")
    for name, r in results.items():
        counts = f"{r.nit:11}{r.calls['gradients']:11}{r.calls['products']:11}"
        print(f"{name:24}{counts}{r.fun:11.1e}{r.norms[-1]:12.1e}")
    print("the last of Newton's steps, |gradient|:", *(f"{norm:.0e}" for norm in results["Newton-CG"].norms[-5:]))
    draw(Path(out) / "newton_cg.png", results)
    return results


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out"), help="folder for the picture")
    main(options.parse_args().out)
