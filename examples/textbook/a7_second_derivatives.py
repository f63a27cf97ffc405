"""Why a second derivative costs more than a first.

The program for a first derivative is the program and a reverse sweep of about its size. The program for a second
derivative is that, differentiated again, so it grows with the order; and where x is a vector, a Hessian has a column
for each of its elements, while a gradient comes out of one sweep. The operations are counted in the IR, the times
measured.
"""

from time import perf_counter

import numpy as np

from adjit import grad, hessian, hvp, jit


def f(x):
    s = 0.0
    for i in range(len(x) - 1):
        s += np.exp(-x[i] * x[i + 1]) * np.sin(x[i] - x[i + 1])
    return s


def repeated(t):
    s = t
    for _ in range(5):
        s = np.sin(s) * t + s * s * 0.1
    return s


def operations(compiled, stage):
    """How many operations stand in the program, those of loops' bodies included."""

    def count(ops):
        return sum(1 + sum(count(region.ops) for region in op.regions) for op in ops)

    return count(compiled.ir_function(stage).body.ops)


def seconds(call):
    call()
    best, calls = np.inf, 1
    for _ in range(7):
        start = perf_counter()
        for _ in range(calls):
            call()
        spent = perf_counter() - start
        best = min(best, spent / calls)
        calls = max(1, int(0.005 / best))
    return best


def main(quick=False):
    orders = [jit(repeated)]
    for _ in range(3):
        orders.append(grad(orders[-1]))
    counts = []
    for order, derivative in enumerate(orders):
        value = derivative(0.7)
        counts.append(operations(derivative, "adjoint" if order else "optimized"))
        print(f"order {order}: {value:12.8f}, a program of {counts[-1]} operations")

    x = np.linspace(-1, 1, 20 if quick else 200)
    v = np.ones_like(x)
    value, gradient, columns = jit(f), grad(f), hessian(f)
    times = {
        "value": seconds(lambda: value(x)),
        "gradient": seconds(lambda: gradient(x)),
        "Hessian times vector": seconds(lambda: hvp(f, x, v)),
        "Hessian": seconds(lambda: columns(x)),
    }
    for name, spent in times.items():
        print(f"{name:21} {1e6 * spent:9.1f} µs, {spent / times['gradient']:7.1f} x the gradient")
    return {"counts": counts, "times": times, "columns": columns(x), "product": hvp(f, x, v)}


if __name__ == "__main__":
    main()
