"""Recording paused for part of a computation.

What is computed in the block counts as a constant: z = x² + y² has a derivative along x alone. `explain()` names the
argument that does not reach the result. Gradients with respect to a dict come back as a dict.
"""

from adjit import grad, stop_gradient


def paused_block(x, y):
    with stop_gradient():
        y_squared = y**2
    return x**2 + y_squared


def paused_value(x, y):
    return x**2 + stop_gradient(y**2)


def of_a_dict(inputs):
    return inputs["x"] ** 2 + 3 * inputs["y"]


def main():
    results = {}
    for f in (paused_block, paused_value):
        gradient = grad(f, argnums=(0, 1))
        results[f.__name__] = gradient(2.0, 3.0), gradient.explain()
        print(f"{f.__name__}: dz/dx, dz/dy = {results[f.__name__][0]}")
        print("  " + results[f.__name__][1].replace("\n", "\n  "))
    results["of_a_dict"] = grad(of_a_dict)({"x": 2.0, "y": 3.0})
    print("of a dict:", results["of_a_dict"])
    return results


if __name__ == "__main__":
    main()
