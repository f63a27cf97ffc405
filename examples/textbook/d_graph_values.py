"""f = (x + y)² + 2xy at (2, -4), in one line and over several lines: the value and both derivatives."""

from adjit import value_and_grad


def in_one_line(x, y):
    return (x + y) ** 2 + 2 * x * y


def with_intermediate_names(x, y):
    total = x + y
    square = total**2
    product = x * y
    twice = 2 * product
    f = square + twice
    return f


def main():
    for f in (in_one_line, with_intermediate_names):
        value, (by_x, by_y) = value_and_grad(f, argnums=(0, 1))(2.0, -4.0)
        print(f"{f.__name__}: f = {value}, df/dx = {by_x}, df/dy = {by_y}")


if __name__ == "__main__":
    main()
