"""An epidemic model fitted to real counts, differentiated through its adaptive integrator.

In January 1978 influenza went through an English boarding school of 763 boys; the counts are the boys in bed
on each of 14 days. The SIR model

    dS/dt = -β S I / N,    dI/dt = β S I / N - γ I

is integrated by an embedded Runge-Kutta pair that chooses its own steps: a `while` loop in which steps are
accepted or rejected, as one writes it in plain Python. adjit differentiates that loop as it ran, and SciPy's
L-BFGS-B finds the least-squares rates from the gradient; then again with the initial number of cases fitted.

    python examples/sir_influenza.py [--out FOLDER]

writes a picture of the fit and the program at every stage of compilation to a folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.optimize import minimize

from adjit import value_and_grad

IN_BED = np.array([3.0, 8, 28, 75, 221, 291, 255, 235, 190, 125, 70, 28, 12, 5])
BOYS = 763.0
TOLERANCE = 1e-7  # of one step, relative
STAGES = ("traced", "optimized", "adjoint", "scheduled")


# ---- the model: plain Python ----


def rates_of_change(s, i, beta, gamma):
    infections = beta * s * i / BOYS
    return -infections, infections - gamma * i


def advance(s, i, h, beta, gamma, duration):
    """The state after `duration` days, in steps of about `h` (which is returned too, as it then is).

    Bogacki and Shampine, "A 3(2) pair of Runge-Kutta formulas", Appl. Math. Lett. 2 (1989): third order,
    the error estimated by an embedded second-order formula; the last stage is the next step's first.
    """
    t = 0.0
    s1, i1 = rates_of_change(s, i, beta, gamma)
    while t < duration:
        step = min(h, duration - t)
        s2, i2 = rates_of_change(s + step / 2 * s1, i + step / 2 * i1, beta, gamma)
        s3, i3 = rates_of_change(s + step * 3 / 4 * s2, i + step * 3 / 4 * i2, beta, gamma)
        s_new = s + step / 9 * (2 * s1 + 3 * s2 + 4 * s3)
        i_new = i + step / 9 * (2 * i1 + 3 * i2 + 4 * i3)
        s4, i4 = rates_of_change(s_new, i_new, beta, gamma)

        s_error = step / 72 * (-5 * s1 + 6 * s2 + 8 * s3 - 9 * s4) / (TOLERANCE * (1 + abs(s_new)))
        i_error = step / 72 * (-5 * i1 + 6 * i2 + 8 * i3 - 9 * i4) / (TOLERANCE * (1 + abs(i_new)))
        error = (s_error**2 + i_error**2 + 1e-12) ** 0.5
        if error <= 1:
            t += step
            s, i, s1, i1 = s_new, i_new, s4, i4
        h = step * min(5.0, max(0.2, 0.9 * error ** (-1 / 3)))
    return s, i, h


def misfit(rates, first_cases, counts):
    """The squared differences between the model's I and the counts, from day 1 on, summed."""
    beta, gamma = rates
    s, i, h = BOYS - first_cases, first_cases, 0.1
    total = (i - counts[0]) ** 2
    for count in counts[1:]:
        s, i, h = advance(s, i, h, beta, gamma, 1.0)
        total += (i - count) ** 2
    return total


# ---- two references for its gradient ----


class StepComplex(complex):
    """A complex number that compares by its real part: what complex step needs to follow the branches."""

    def __lt__(self, other):
        return self.real < other.real

    def __le__(self, other):
        return self.real <= other.real

    def __gt__(self, other):
        return self.real > other.real

    def __ge__(self, other):
        return self.real >= other.real

    def __abs__(self):
        return self if self.real >= 0 else -self

    def _result_of(name):
        def operation(self, *others):
            result = getattr(complex, name)(self, *others)
            return result if result is NotImplemented else StepComplex(result)

        return operation

    for _name in "neg add radd sub rsub mul rmul truediv rtruediv pow".split():
        locals()[f"__{_name}__"] = _result_of(f"__{_name}__")
    del _name, _result_of


def complex_step(function, x, h=1e-30):
    """The gradient at x, to rounding: the imaginary part of f(x + ih e_k) / h."""
    gradient = np.empty(len(x))
    for k in range(len(x)):
        moved = [StepComplex(v, h if k == j else 0.0) for j, v in enumerate(x)]
        gradient[k] = function(moved).imag / h
    return gradient


def finite_differences(function, x):
    """Value and gradient at x by central differences."""
    gradient = np.empty(len(x))
    for k in range(len(x)):
        h = 1e-6 * max(1.0, abs(x[k]))
        up, down = x.copy(), x.copy()
        up[k] += h
        down[k] -= h
        gradient[k] = (function(up) - function(down)) / (2 * h)
    return function(x), gradient


# ---- the job ----


def fit(objective, start, bounds, names):
    """L-BFGS-B, one line of progress per iteration."""
    print(f"{'iteration':>9} {'squares':>12}", *(f"{name:>9}" for name in names))
    iterations = 0

    def progress(intermediate_result):
        nonlocal iterations
        iterations += 1
        print(f"{iterations:9} {intermediate_result.fun:12.4f}", *(f"{v:9.4f}" for v in intermediate_result.x))

    result = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=progress,
        options={"ftol": 1e-15, "gtol": 1e-4, "maxiter": 200},
    )
    print(f"{result.message.strip().lower()}, {result.nfev} gradients")
    return result


def seconds(function, *args):
    """Time of one call: the best of several runs, each long enough for the clock."""
    function(*args)
    calls, best = 1, np.inf
    for _ in range(8):
        begin = perf_counter()
        for _ in range(calls):
            function(*args)
        spent = perf_counter() - begin
        best = min(best, spent / calls)
        calls = max(1, int(0.05 / best))
    return best


def curve(rates, first_cases, points_per_day=20):
    """The model's I over the fortnight, by the plain Python functions."""
    beta, gamma = rates
    s, i, h = BOYS - first_cases, first_cases, 0.1
    days, infected = [1.0], [i]
    for _ in range((len(IN_BED) - 1) * points_per_day):
        s, i, h = advance(s, i, h, beta, gamma, 1 / points_per_day)
        days.append(days[-1] + 1 / points_per_day)
        infected.append(i)
    return np.array(days), np.array(infected)


def draw(path, fits):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    days = np.arange(1, len(IN_BED) + 1)
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(days, IN_BED, "o", color="0.2", label="boys in bed")
    for (label, rates, first_cases, squares), line in zip(fits, ("-", "--")):
        axes.plot(
            *curve(rates, first_cases),
            line,
            label=f"{label}: $\\beta$ = {rates[0]:.4f}, $\\gamma$ = {rates[1]:.4f} per day, "
            f"$R_0$ = {rates[0] / rates[1]:.3f}, squares {squares:.1f}",
        )
    axes.set_xlabel("day")
    axes.set_ylabel("cases")
    axes.set_ylim(0, 400)
    axes.set_title("Influenza in a boarding school of 763 boys, January 1978, and the SIR model")
    axes.legend(loc="upper right", fontsize="small")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write_stages(function, out):
    """The program as traced, optimized, differentiated and scheduled, and the kernel's source."""
    written = []
    for number, stage in enumerate(STAGES, start=1):
        path = out / f"{number}_{stage}.txt"
        path.write_text(function.ir(stage).rstrip() + "\n", encoding="utf-8")
        written.append(path)
    path = out / f"{len(STAGES) + 1}_kernel.py"
    path.write_text(function.source().rstrip() + "\n", encoding="utf-8")
    return [*written, path]


def main(out=Path("out/sir_influenza")):
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)

    gradient_by_rates = value_and_grad(misfit)
    begin = perf_counter()
    start = np.array([1.0, 0.3])
    gradient_by_rates(start, 3.0, IN_BED)
    print(f"traced, differentiated and compiled (or loaded from the cache) in {perf_counter() - begin:.2f} s\n")

    print("Rates, from 3 cases among 763 boys on day 1")
    rates_only = fit(lambda x: gradient_by_rates(x, 3.0, IN_BED), start, [(0.05, 10.0), (0.02, 5.0)], ("beta", "gamma"))
    beta, gamma = rates_only.x
    print(f"beta = {beta:.4f} and gamma = {gamma:.4f} per day, R0 = {beta / gamma:.3f}, squares {rates_only.fun:.1f}")

    print("\nThe gradient at the start, checked")
    _, by_adjit = gradient_by_rates(start, 3.0, IN_BED)
    by_complex_step = complex_step(lambda x: misfit(x, 3.0, IN_BED), start)
    _, by_differences = finite_differences(lambda x: misfit(x, 3.0, IN_BED), start)
    for label, gradient in (
        ("adjit", by_adjit),
        ("complex step", by_complex_step),
        ("finite differences", by_differences),
    ):
        relative = np.linalg.norm(gradient - by_complex_step) / np.linalg.norm(by_complex_step)
        print(f"  {label:18} {gradient[0]:22.12f} {gradient[1]:22.12f}   relative difference {relative:.1e}")

    kernel = seconds(gradient_by_rates, rates_only.x, 3.0, IN_BED)
    plain = seconds(finite_differences, lambda x: misfit(x, 3.0, IN_BED), rates_only.x)
    print("\nTime of one value and gradient")
    print(f"  adjit                                 {1e3 * kernel:9.3f} ms")
    print(f"  finite differences in plain Python    {1e3 * plain:9.3f} ms, {plain / kernel:.0f} times as long")

    print("\nRates and the number of cases on day 1")
    gradient_by_all = value_and_grad(misfit, argnums=(0, 1))

    def objective(x):
        squares, (by_rates, by_first_cases) = gradient_by_all(x[:2], x[2], IN_BED)
        return squares, np.append(by_rates, by_first_cases)

    everything = fit(
        objective,
        np.append(rates_only.x, 3.0),
        [(0.05, 10.0), (0.02, 5.0), (0.05, 50.0)],
        ("beta", "gamma", "cases"),
    )
    beta, gamma, first_cases = everything.x
    print(
        f"beta = {beta:.4f} and gamma = {gamma:.4f} per day, {first_cases:.2f} cases on day 1, "
        f"R0 = {beta / gamma:.2f}, squares {everything.fun:.1f}"
    )

    picture = out / "fit.png"
    draw(
        picture,
        [
            ("from 3 cases", rates_only.x, 3.0, rates_only.fun),
            (f"from {first_cases:.2f} cases", everything.x[:2], first_cases, everything.fun),
        ],
    )
    stages = write_stages(gradient_by_rates, out)
    print(f"\nWritten to {out.resolve()}:")
    for path in (picture, *stages):
        print(f"  {path.name}")
    return rates_only, everything


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=Path("out/sir_influenza"), help="folder for what is written")
    main(options.parse_args().out)
