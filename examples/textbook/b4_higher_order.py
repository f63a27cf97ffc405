"""Derivatives of derivatives: x³ at 1 has 3, then 6, then 6 again, by nesting `grad`."""

from adjit import grad


def cube(x):
    return x**3


def main():
    first = grad(cube)
    second = grad(first)
    third = grad(second)
    results = first(1.0), second(1.0), third(1.0)
    print("first, second and third derivative of x³ at 1:", *results)
    return results


if __name__ == "__main__":
    main()
