"""A gradient that is clipped on its way back, while the value passes unchanged: `custom_vjp`.

The cotangent that arrives here is 1, so 0.5 of it goes on, and v*v gives 0.5 * 2 v.
"""

import numpy as np

from adjit import custom_vjp, value_and_grad


@custom_vjp
def clip(x):
    return x


def backward(_, cotangent):
    norm = np.linalg.norm(cotangent)
    return (cotangent * (0.5 / norm) if norm > 0.5 else cotangent,)


clip.defvjp(lambda x: (x, None), backward)


def clipped(v):
    return clip(v * v)


def clipped_sum(v):
    return np.sum(clip(v * v))


def main():
    value, gradient = value_and_grad(clipped)(2.0)
    print(f"v = 2: clip(v*v) = {value}, gradient {gradient}")
    v = np.array([3.0, 4.0])
    total, gradients = value_and_grad(clipped_sum)(v)
    print(f"v = {v}: sum(clip(v*v)) = {total}, gradient {gradients}")
    return value, gradient, total, gradients


if __name__ == "__main__":
    main()
