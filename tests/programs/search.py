"""Iterations that stop by themselves: roots, sorting, the textbook's data-dependent control flow."""

import math

import numpy as np

from .registry import Program


def newton_sqrt(a):
    x = a
    while abs(x * x - a) > 1e-14 * a:
        x = 0.5 * (x + a / x)
    return x


def newton_sqrt_bounded(a, limit):
    x = 0.5 * (1.0 + a)
    for _ in range(limit):
        previous = x
        x = 0.5 * (x + a / x)
        if x == previous:
            break
    return x


def bisection(p, lo, hi):
    """A root in x of x**3 + p x - 1; bisection's derivative is zero, one Newton step gives the right one."""
    f_lo = lo**3 + p * lo - 1.0
    for _ in range(200):
        mid = 0.5 * (lo + hi)
        f_mid = mid**3 + p * mid - 1.0
        if f_mid == 0.0 or hi - lo < 1e-9:
            break
        if (f_mid < 0.0) == (f_lo < 0.0):
            lo = mid
            f_lo = f_mid
        else:
            hi = mid
    x = 0.5 * (lo + hi)
    return x - (x**3 + p * x - 1.0) / (3.0 * x**2 + p)


def bubble_sort(x, w):
    n = len(x)
    for i in range(n):
        for j in range(n - 1 - i):
            if x[j] > x[j + 1]:
                x[j], x[j + 1] = x[j + 1], x[j]
    return np.sum(w * x)


def bubble_sort_until_sorted(x, w):
    swapped = True
    while swapped:
        swapped = False
        for j in range(len(x) - 1):
            if x[j] > x[j + 1]:
                t = x[j]
                x[j] = x[j + 1]
                x[j + 1] = t
                swapped = True
    return w @ (x * x)


def insertion_sort(x, w):
    for i in range(1, x.shape[0]):
        key = x[i]
        j = i - 1
        while j >= 0 and x[j] > key:
            x[j + 1] = x[j]
            j -= 1
        x[j + 1] = key
    return np.dot(w, x)


def doubling_then_branch(a):
    b = a * 2
    while np.linalg.norm(b) < 1000:
        b = b * 2
    if np.sum(b) > 0:
        c = b
    else:
        c = 100 * b
    return np.sum(c)


def doubling_scalar(a):
    b = 2 * a
    while abs(b) < 1000:
        b = 2 * b
    if b > 0:
        c = b
    else:
        c = 100 * b
    return c


def tripling_exponential(a):
    b = np.exp(a)
    while np.linalg.norm(b) < 100:
        b = 3 * b
    return np.sum(b)


def decay(x):
    while x > 1:
        x -= 0.1 * (x * x)
    return x


def secant(c, x0, x1):
    f0 = math.cos(x0) - c * x0
    steps = 0
    while True:
        f1 = math.cos(x1) - c * x1
        if f1 == f0 or steps >= 50:
            break
        x2 = x1 - f1 * (x1 - x0) / (f1 - f0)
        if abs(x2 - x1) < 1e-15:
            break
        x0, x1, f0 = x1, x2, f1
        steps += 1
    return x1 - (math.cos(x1) - c * x1) / (-math.sin(x1) - c)


def power_iteration(A, tol):
    v = np.ones(A.shape[0]) / np.sqrt(A.shape[0])
    value = 0.0
    while True:
        u = A @ v
        new = v @ u
        v = u / np.sqrt(np.sum(u * u))
        if abs(new - value) < tol * abs(new):
            break
        value = new
    return new


def line_search(x, g):
    """Backtracking: halve the step until the function decreases enough; `else` belongs to the `for`."""
    f0 = np.sum(x**4)
    step = 1.0
    for k in range(30):
        trial = x - step * g
        f = np.sum(trial**4)
        if f < f0 - 1e-4 * step * np.sum(g * 4 * x**3):
            break
        step *= 0.5
    else:
        f = f0
    return f


def mandelbrot_smooth(re, im, limit):
    x = y = 0.0
    n = 0
    while x * x + y * y <= 256.0 and n < limit:
        x, y = x * x - y * y + re, 2 * x * y + im
        n += 1
    if n == limit:
        return x * x + y * y
    return n + 1 - math.log(math.log(x * x + y * y) / 2) / math.log(2.0)


rng = np.random.default_rng(4)
values, w = rng.standard_normal((2, 7))
factor = rng.standard_normal((4, 4))

PROGRAMS = [
    Program("newton_sqrt", newton_sqrt, (7.3,), (0,), {"acceptance"}, ((1.0,), (1e6,), (1e-3,))),
    Program("newton_sqrt_bounded", newton_sqrt_bounded, (7.3, 60), (0,), set(), ((7.3, 2), (1.0, 60), (5.0, 0))),
    Program(
        "bisection",
        bisection,
        (1.3, 0.0, 2.0),
        (0,),
        {"acceptance"},
        ((0.3, 0.0, 1.0), (1.5, 0.0, 1.0), (7.875, 0.0, 0.25)),
    ),
    Program(
        "bubble_sort",
        bubble_sort,
        (values, w),
        (0, 1),
        {"acceptance", "kink"},
        ((np.sort(values), w), (values[:1].copy(), w[:1].copy()), (values[:4].copy(), w[:4].copy())),
    ),
    Program(
        "bubble_sort_until_sorted",
        bubble_sort_until_sorted,
        (values, w),
        (0, 1),
        {"acceptance", "kink"},
        ((np.sort(values), w), (-np.sort(-values), w)),
    ),
    Program(
        "insertion_sort",
        insertion_sort,
        (values, w),
        (0, 1),
        {"kink"},
        ((np.sort(values), w), (values[::-1].copy(), w)),
    ),
    Program(
        "doubling_then_branch",
        doubling_then_branch,
        (np.array([0.3, -0.2, 1.1, 0.4]),),
        (0,),
        {"acceptance", "textbook", "kink"},
        ((np.array([-0.3, -0.2, -1.1, 0.4]),), (np.array([700.0, 900.0, 1.0, 1.0]),)),
    ),
    Program(
        "doubling_matrix",
        doubling_then_branch,
        (np.array([[0.3, -0.2, 1.1], [0.4, -2.5, 0.1]]),),
        (0,),
        {"acceptance", "textbook", "kink"},
        ((np.array([[0.3, 0.2, 1.1], [0.4, -0.5, 0.1]]),),),
    ),
    Program(
        "doubling_scalar",
        doubling_scalar,
        (0.7,),
        (0,),
        {"acceptance", "textbook", "kink"},
        ((-0.7,), (1500.0,), (-3.0,)),
    ),
    Program(
        "tripling_exponential",
        tripling_exponential,
        (np.array([0.3, -0.2, 1.1, 0.4]),),
        (0,),
        {"acceptance", "textbook", "kink"},
        ((np.array([6.0, 7.0]),),),
    ),
    Program("decay", decay, (3.0,), (0,), {"acceptance", "kink"}, ((0.5,), (8.0,))),
    Program("secant", secant, (1.3, 0.0, 1.0), (0,), set(), ((0.4, 0.5, 1.2),)),
    Program("power_iteration", power_iteration, (factor @ factor.T + np.eye(4), 1e-15), (0,)),
    Program(
        "line_search",
        line_search,
        (np.array([1.0, -0.5, 2.0]), np.array([4.0, -0.5, 32.0])),
        (0, 1),
        {"kink"},
        ((np.array([1.0, -0.5]), np.array([-4.0, 0.5])), (np.array([1.0, -0.5]), np.array([0.1, -0.05]))),
    ),
    Program(
        "mandelbrot_smooth",
        mandelbrot_smooth,
        (0.4, 0.35, 100),
        (0, 1),
        {"kink"},
        ((-0.1, 0.1, 30), (2.0, 2.0, 50)),
    ),
]
