"""Control flow as the language has it: every loop form, every way out of one, at several depths."""

import numpy as np

from .registry import Program


def while_in_for_in_if(x, p, limit):
    total = 0.0
    if p > 0:
        for i in range(len(x)):
            v = x[i]
            while v < limit:
                v = v * 1.5 + 0.1 * p
                if v > 40.0:
                    return v * x[0]
                total += v * p
            total = total + v
    else:
        total = p * p
    return total * 0.5


def early_return_in_nested_loops(x, threshold):
    s = 0.0
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            s += x[i, j] ** 2
            if s > threshold:
                return s * x[i, j]
        if s < 0.01:
            return -s
    return s + x[0, 0]


def for_else(x, limit):
    product = 1.0
    for v in x:
        product *= v
        if product > limit:
            break
    else:
        product = -product * x[0]
    return product * product


def while_else(x, bound):
    n = 0
    while n < 10:
        x = x * 1.3
        n += 1
        if x > bound:
            break
    else:
        x = x + 100.0 * np.cos(x)
    return x * n


def break_and_continue(x):
    total = 0.0
    for i in range(len(x)):
        if x[i] < 0:
            continue
        k = 0
        while True:
            k += 1
            if k % 2 == 0:
                total += x[i] / k
                continue
            if k > 5:
                break
            total += x[i] * x[i] * k
        if total > 60.0:
            break
        total *= 0.9
    return total


def nested_for_else(x):
    s = 0.0
    for i in range(3):
        for j in range(4):
            if x[(i + j) % len(x)] > 2.0:
                break
            s += x[j % len(x)] * (i + 1)
        else:
            s *= 0.5
            continue
        s += 10.0 * x[0]
    return s


def negative_steps(x):
    n = len(x)
    acc = 0.0
    for i in range(n - 1, -1, -1):
        acc = 0.5 * acc + x[i]
    for i in range(n - 2, 0, -2):
        x[i] = x[i + 1] * x[i - 1]
    for i in range(0, n, 3):
        acc += x[i] ** 2
    return acc + np.sum(x[::-1][1:4]) * x[-1]


def runtime_step(x, start, stop, step):
    s = 0.0
    for i in range(start, stop, step):
        s = s * 0.7 + x[i] * (i + 1)
    return s


def loop_variable_after_loop(x, n):
    i = -1
    for i in range(n):
        x[i] *= 2.0
    return np.sum(x) * (i + 2)


def enumerate_zip_reversed(x, y):
    s = 0.0
    for i, (a, b) in enumerate(zip(x, y)):
        s += a * b * (i + 1)
    for k, v in enumerate(reversed(x), start=1):
        s += v**k * 0.1
    for a, b, c in zip(x[1:], y, range(10, 0, -2)):
        s -= a * b / c
    return s


def chained_comparisons(x, lo, hi):
    s = 0.0
    for v in x:
        if lo < v < hi:
            s += v * v
        elif lo >= v > lo - 1.0 != hi:
            s -= v
        elif not (v <= hi <= 10.0):
            s += 3.0 * v * lo
    return s


def short_circuit(x, i):
    """The right operand must not be evaluated when the left one decides: x[i] may be out of range."""
    s = x[0]
    while i < len(x) and x[i] > 0.0:
        s += x[i] * s
        i += 1
    if i >= len(x) or x[i] < -1.0:
        s = s * 2.0
    return s


def and_or_values(a, b):
    c = a or b
    d = (a > 0) and b or 2.0 * a
    e = not a
    return c * d + (1.0 if e else b)


def walrus(x, tol):
    total = 0.0
    while (r := x * x - 2.0) > tol:
        x = x - (step := r / (2.0 * x))
        total += step
    return total + x * (y := x + 1.0) + y


def tuple_swaps(a, b, n):
    for _ in range(n):
        a, b = b, a + 0.5 * b
    (c, d), e = (a * b, a), b
    first, *rest = c, d, e
    return first + 2.0 * rest[0] + 3.0 * rest[1]


def conditional_expressions(x):
    s = 0.0
    for v in x:
        s += v if v > 0.0 else (0.1 * v if v > -1.0 else -0.1)
        s *= 1.0 if s < 5.0 else 0.5
    return s if x[0] > 0 else -s


def several_returns(x, mode):
    if mode == "square":
        return x * x
    if mode == "cube":
        return x**3
    if x > 1.0:
        return np.log(x)
    elif x > 0.0:
        y = np.sqrt(x)
        return y
    return 0.0


def infinite_loop_with_return(x):
    n = 0
    while True:
        x = np.sin(x) + 0.5
        n += 1
        if n > 3 and x > 1.2:
            return x * n
        if n >= 12:
            return x


def break_out_of_both(A, bound):
    total = 0.0
    stop = False
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            total += A[i, j] * A[j, i]
            if total > bound:
                stop = True
                break
        if stop:
            break
    return total * A[0, 0]


def collatz_weights(x, n):
    """Integer control inside, float data outside."""
    s = x
    while n != 1:
        if n % 2 == 0:
            n = n // 2
            s = s * 0.5 + x
        else:
            n = 3 * n + 1
            s = s + x * n
    return s


def unrolled_over_static(x):
    s = 0.0
    for power, factor in ((1, 2.0), (2, -0.5), (3, 0.25)):
        s += factor * x**power
    for f in (np.sin, np.cos, np.tanh):
        s += f(x)
    for name in ["a", "bb", "ccc"]:
        s *= len(name)
    return s


def maybe_assigned(x, n):
    """`y` exists only after the first iteration; it is read where it certainly does."""
    for i in range(n):
        if i > 0:
            x = x + 0.1 * y
        y = x * x
    return x


def dead_ends(x, flag):
    """Names that hold different kinds on different paths are fine as long as no one reads them after."""
    if flag > 0:
        t = x * 2.0
        s = t.sum()
    else:
        t = 5
        s = x[0] * t
    t = s * s
    return t


def data_dependent_trip_counts(x, counts):
    s = 0.0
    for i in range(len(counts)):
        for j in range(counts[i]):
            s += x[i] ** j
        for j in range(i, len(counts)):
            s *= 1.0 + 0.01 * x[j]
    return s


def del_and_pass(x):
    y = x * x
    z = y
    del y
    if z > 3.0:
        pass
    else:
        z = z + 1.0
    return z


def match_on_kind(x, kind):
    match kind:
        case 0:
            y = x * 2.0
        case 1 | 2:
            y = x**kind
        case _:
            y = np.exp(x)
    return y * x


rng = np.random.default_rng(5)
x = rng.standard_normal(7)
y = rng.standard_normal(7)
up = np.abs(x) + 0.5
square = rng.standard_normal((4, 4))

T = {"tracing"}
TK = {"tracing", "kink"}
TC = {"tracing", "complex"}

PROGRAMS = [
    Program(
        "while_in_for_in_if",
        while_in_for_in_if,
        (np.array([0.4, 1.2, 0.9]), 0.8, 5.0),
        (0, 1),
        {"acceptance", "tracing", "kink"},
        (
            (np.array([0.4, 1.2, 0.9]), -0.8, 5.0),
            (np.array([0.4, 1.2, 0.9]), 0.8, 90.0),
            (np.zeros(0), 0.8, 1.0),
        ),
    ),
    Program(
        "early_return_in_nested_loops",
        early_return_in_nested_loops,
        (square, 6.0),
        (0,),
        TK,
        ((square, 1e9), (0.01 * square, 6.0), (square, 0.0)),
    ),
    Program("for_else", for_else, (up, 4.0), (0,), TK, ((up, 1e9), (up, 0.0))),
    Program("while_else", while_else, (1.7, 6.0), (0,), TK, ((0.1, 6.0), (9.0, 6.0))),
    Program("break_and_continue", break_and_continue, (x,), (0,), TK, ((3 * up,), (-up,))),
    Program("nested_for_else", nested_for_else, (x,), (0,), TK, ((up + 2,), (-up,))),
    Program("negative_steps", negative_steps, (x,), (0,), TC, ((x[:5].copy(),),)),
    Program(
        "runtime_step",
        runtime_step,
        (x, 6, -1, -2),
        (0,),
        TC,
        ((x, 0, 7, 1), (x, 1, 6, 3), (x, 3, 3, 1), (x, 0, 5, -1)),
    ),
    Program("loop_variable_after_loop", loop_variable_after_loop, (x, 4), (0,), TC, ((x, 0), (x, 7))),
    Program(
        "enumerate_zip_reversed",
        enumerate_zip_reversed,
        (up, y),
        (0, 1),
        TC,
        ((up[:3].copy(), y), (up[:1].copy(), y[:0].copy())),
    ),
    Program("chained_comparisons", chained_comparisons, (x, -0.5, 0.6), (0, 1), TK, ((3 * x, -0.5, 0.6),)),
    Program("short_circuit", short_circuit, (up, 1), (0,), TK, ((up, 7), (-up, 1), (0.1 * x, 0))),
    Program("and_or_values", and_or_values, (0.7, 1.9), (0, 1), TK, ((-0.7, 1.9), (0.0, 1.9))),
    Program("walrus", walrus, (5.0, 1e-10), (0,), T, ((0.5, 1e-10), (2.0, 0.1))),
    Program("tuple_swaps", tuple_swaps, (0.7, -1.9, 5), (0, 1), TC, ((0.7, -1.9, 0), (0.7, -1.9, 1))),
    Program("conditional_expressions", conditional_expressions, (x,), (0,), TK, ((3 * up,), (-3 * up,))),
    Program("several_returns", several_returns, (1.7, "log"), (0,), TK, ((0.7, "log"), (-0.7, "log"))),
    Program("several_returns_square", several_returns, (1.7, "square"), (0,), TC),
    Program("infinite_loop_with_return", infinite_loop_with_return, (0.3,), (0,), TK, ((-4.0,),)),
    Program("break_out_of_both", break_out_of_both, (square, 2.0), (0,), TK, ((square, 1e9), (square, -1e9))),
    Program("collatz_weights", collatz_weights, (0.01, 7), (0,), TC, ((0.01, 1), (0.01, 27))),
    Program("unrolled_over_static", unrolled_over_static, (0.6,), (0,), TC),
    Program("maybe_assigned", maybe_assigned, (0.6, 4), (0,), TC, ((0.6, 0), (0.6, 1))),
    Program("dead_ends", dead_ends, (x, 1), (0,), TC, ((x, -1),)),
    Program(
        "data_dependent_trip_counts",
        data_dependent_trip_counts,
        (up[:4].copy(), np.array([3, 0, 2, 1])),
        (0,),
        TC,
        ((up[:2].copy(), np.array([0, 5])),),
    ),
    Program("del_and_pass", del_and_pass, (2.5,), (0,), TK, ((0.5,),)),
    Program("match_on_kind", match_on_kind, (0.8, 2), (0,), TC, ((0.8, 0), (0.8, 1), (0.8, 7))),
]
