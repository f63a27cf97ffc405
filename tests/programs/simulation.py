"""Time stepping: stencils in swapped buffers, recurrences, an adaptive integrator, a look-up walk."""

import numpy as np

from .registry import Program


def heat_two_buffers(u, alpha, steps, w):
    v = u.copy()
    for t in range(steps):
        for i in range(1, len(u) - 1):
            v[i] = u[i] + alpha * (u[i - 1] - 2.0 * u[i] + u[i + 1])
        u, v = v, u
    return np.sum(w * u)


def heat_slices_swapped(u, v, alpha, steps, w):
    for t in range(steps):
        v[1:-1] = u[1:-1] + alpha * (u[:-2] - 2 * u[1:-1] + u[2:])
        tmp = u
        u = v
        v = tmp
    return w @ (u * u)


def stencil_five_point(u, steps, w):
    for t in range(steps):
        u[1:-1, 1:-1] = 0.2 * (u[1:-1, 1:-1] + u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
    return np.sum(w * u)


def stencil_five_point_loops(u, w):
    v = np.zeros_like(u)
    n, m = u.shape
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            v[i, j] = 0.5 * u[i, j] + 0.125 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])
    return np.sum(w * v)


def quadratic_recurrence(x, c, steps):
    for _ in range(steps):
        x = x * x + c
    return x


def linear_recurrence(x, steps):
    for _ in range(steps):
        x = 0.9 * x + 0.1
    return x


def readme_loss(theta, t_end):
    y, t, h = theta[0], 0.0, 0.1
    while t < t_end:
        if abs(y) > 10.0:
            break
        y = y + h * np.sin(theta[1] * y)
        t += h
    return y * y


def adaptive_heun(theta, y0, t_end, tol):
    """Heun's method with Euler's inside it; a step is taken again, smaller, when the two disagree."""
    t = 0.0
    y = y0
    h = 0.5
    accepted = rejected = 0
    while t < t_end:
        if t + h > t_end:
            h = t_end - t
        k1 = -theta[0] * y + theta[1] * np.sin(t)
        k2 = -theta[0] * (y + h * k1) + theta[1] * np.sin(t + h)
        error = abs(h * (k2 - k1) / 2)
        if error > tol:
            h = h * max(0.2, 0.9 * np.sqrt(tol / error))
            rejected += 1
            continue
        y = y + h * (k1 + k2) / 2
        t = t + h
        h = h * min(2.0, 0.9 * np.sqrt(tol / (error + 1e-12)))
        accepted += 1
        if accepted > 1000:
            break
    return y * y + 0.1 * y


def adaptive_rk_system(theta, y0, t_end, tol, w):
    """Bogacki-Shampine on a predator-prey system, vector state, first-same-as-last stage reused."""

    def rate(y):
        dy = np.empty_like(y)
        dy[0] = theta[0] * y[0] - theta[1] * y[0] * y[1]
        dy[1] = theta[2] * y[0] * y[1] - theta[3] * y[1]
        return dy

    t, h = 0.0, 0.1
    y = y0.copy()
    k1 = rate(y)
    while t < t_end:
        h = min(h, t_end - t)
        k2 = rate(y + 0.5 * h * k1)
        k3 = rate(y + 0.75 * h * k2)
        y_new = y + h * (2 / 9 * k1 + 1 / 3 * k2 + 4 / 9 * k3)
        k4 = rate(y_new)
        error = np.max(np.abs(h * (-5 / 72 * k1 + 1 / 12 * k2 + 1 / 9 * k3 - 1 / 8 * k4)))
        if error <= tol:
            t += h
            y = y_new
            k1 = k4
        h *= min(4.0, max(0.25, 0.9 * (tol / (error + 1e-14)) ** (1 / 3)))
    return w @ y


def random_walk(position, table, gain, moves, links):
    """A walk on a graph: which node comes next is looked up in integer arrays drawn beforehand."""
    node = 0
    total = 0.0
    for t in range(len(moves)):
        node = links[node, moves[t]]
        position = position * 0.95 + table[node]
        total += gain[moves[t]] * position * position
        table[node] *= 0.9
    return total


def gather_and_scatter(x, index, w):
    out = np.zeros_like(x)
    for k in range(index.shape[0]):
        out[index[k]] += x[index[k - 1]] * w[k]
    return np.sum(out * out)


def swap_two_arrays(a, b, steps):
    for k in range(steps):
        a[k % len(a)] = a[k % len(a)] * b[0] + 0.5
        a, b = b, a
    return np.sum(a) - 2.0 * np.sum(b * b)


def rotate_three_arrays(a, b, c, steps):
    for _ in range(steps):
        a[0] = a[1] * b[0] - c[2]
        a, b, c = b, c, a
    return a @ b + 3.0 * np.sum(c)


def leapfrog(q, p, mass, h, steps, k):
    n = q.shape[0]
    force = np.zeros_like(q)
    for step in range(steps):
        force[:] = 0.0
        for i in range(n):
            for j in range(i + 1, n):
                d = q[i] - q[j]
                r2 = np.sum(d * d) + 0.1
                f = k * mass[i] * mass[j] / (r2 * np.sqrt(r2)) * d
                force[i] -= f
                force[j] += f
        p += h * force
        q += h * p / mass[:, None]
    return np.sum(q * q) + np.sum(p * p)


rng = np.random.default_rng(2)
u, v, w = rng.standard_normal((3, 9))
grid, grid_weights = rng.standard_normal((2, 6, 8))
links = rng.integers(0, 5, size=(5, 3))
moves = rng.integers(0, 3, size=12)

PROGRAMS = [
    Program(
        "heat_two_buffers",
        heat_two_buffers,
        (u, 0.3, 7, w),
        (0, 1, 3),
        {"acceptance", "complex"},
        ((u, 0.3, 0, w), (u, 0.1, 4, w), (u[:2].copy(), 0.1, 3, w[:2].copy())),
    ),
    Program(
        "heat_slices_swapped",
        heat_slices_swapped,
        (u, u.copy(), 0.3, 5, w),
        (0, 1, 2, 4),
        {"acceptance", "complex"},
        ((u, v, 0.3, 4, w), (u, v, 0.3, 0, w)),
    ),
    Program(
        "stencil_five_point",
        stencil_five_point,
        (grid, 4, grid_weights),
        (0,),
        {"acceptance", "complex", "linear"},
    ),
    Program(
        "stencil_five_point_loops",
        stencil_five_point_loops,
        (grid, grid_weights),
        (0,),
        {"acceptance", "complex", "linear"},
    ),
    Program(
        "quadratic_recurrence",
        quadratic_recurrence,
        (0.3, 0.1, 20),
        (0, 1),
        {"acceptance", "complex"},
        ((0.3, 0.1, 0), (-0.8, -0.5, 7)),
    ),
    Program(
        "linear_recurrence",
        linear_recurrence,
        (0.3, 20),
        (0,),
        {"acceptance", "complex", "linear"},
        ((0.3, 0),),
    ),
    Program(
        "readme_loss",
        readme_loss,
        (np.array([1.0, 2.0]), 3.0),
        (0,),
        {"acceptance", "kink"},
        ((np.array([9.8, 0.1]), 30.0), (np.array([1.0, 2.0]), -1.0)),
    ),
    Program(
        "adaptive_heun",
        adaptive_heun,
        (np.array([1.5, 2.0]), 1.3, 3.0, 1e-3),
        (0, 1),
        {"acceptance", "kink"},
        ((np.array([20.0, 2.0]), 1.3, 3.0, 1e-3), (np.array([1.5, 2.0]), 1.3, 0.0, 1e-3)),
    ),
    Program(
        "adaptive_rk_system",
        adaptive_rk_system,
        (np.array([1.1, 0.4, 0.1, 0.4]), np.array([10.0, 5.0]), 6.0, 1e-4, np.array([0.7, -0.3])),
        (0, 1, 4),
        {"acceptance", "kink"},
    ),
    Program(
        "random_walk",
        random_walk,
        (0.4, rng.standard_normal(5), rng.standard_normal(3), moves, links),
        (0, 1, 2),
        {"acceptance", "complex"},
        ((0.4, rng.standard_normal(5), rng.standard_normal(3), moves[:0].copy(), links),),
    ),
    Program(
        "gather_and_scatter",
        gather_and_scatter,
        (rng.standard_normal(4), np.array([2, 0, 2, 3, 1, 2]), rng.standard_normal(6)),
        (0, 2),
        {"complex"},
    ),
    Program(
        "swap_two_arrays",
        swap_two_arrays,
        (rng.standard_normal(3), rng.standard_normal(3), 7),
        (0, 1),
        {"acceptance", "complex"},
        ((u[:3].copy(), v[:3].copy(), 4), (u[:3].copy(), v[:3].copy(), 0), (u[:2].copy(), v[:2].copy(), 1)),
    ),
    Program(
        "rotate_three_arrays",
        rotate_three_arrays,
        (*rng.standard_normal((3, 3)), 8),
        (0, 1, 2),
        {"complex"},
        tuple((*rng.standard_normal((3, 3)), steps) for steps in (0, 1, 6)),
    ),
    Program(
        "leapfrog",
        leapfrog,
        (
            rng.standard_normal((3, 2)),
            0.1 * rng.standard_normal((3, 2)),
            np.array([1.0, 2.0, 0.5]),
            0.05,
            4,
            0.8,
        ),
        (0, 1, 2, 3, 5),
        {"complex"},
    ),
]
