"""Names, views and writes: two names of one array, views of views, and which object a name means."""

import numpy as np

from .registry import Program


def view_of_view(A, v):
    B = A[1:-1, ::2]
    C = B[:, 1]
    C[:] = C * v
    B[0] += v[0] * A[0, ::2]
    D = C[::-1][:2]
    D[1] = D[0] * A[1, 2]
    return np.sum(A * A) + C[0]


def choose_then_write(a, b, p):
    c = a if p > 0 else b
    c[0] = 1.5
    c[1] *= a[2]
    return np.sum(a * a) + 3.0 * np.sum(b)


def choose_in_loop(a, b, steps):
    c = a
    for k in range(steps):
        c[k % 3] = c[k % 3] * 0.5 + b[0]
        if a[1] > b[1]:
            c = b
        else:
            c = a
    c[:] *= 2.0
    return a @ b


def two_names(a):
    b = a
    b[0] = a[1] * 2.0
    b[1] += a[0]
    b *= 1.5
    c = b.copy()
    c[0] = 100.0
    return np.sum(a) * a[0]


def rebinding_is_not_writing(a, x):
    b = a
    b = b * x
    b[0] = 7.0
    a += b
    return np.sum(a * a)


def row_views_in_loop(A, w):
    for i in range(A.shape[0]):
        row = A[i]
        for j in range(1, row.shape[0]):
            row[j] = row[j] + w[j] * row[j - 1]
        row -= row[0]
    return np.sum(A**2)


def iterate_rows_and_write(A, s):
    for row in A:
        row *= s
        row[0] = s * s
        s = s + 0.1 * row[-1]
    return np.sum(A) * s


def transposed_write(A, x):
    B = A.T
    B[0] = x
    B[1, :] += B[0]
    A[0] *= x[0]
    return np.sum(np.sin(A))


def reshape_view(x, w):
    m = x.reshape(2, 3)
    m[1] = m[0] * m[1]
    m[:, 2] = w
    return np.sum(x * x * x)


def overlapping_slices(x):
    x[1:] = x[:-1]
    x[:-2] += x[2:]
    x[::2] = x[::-1][::2] * 2.0
    return np.sum(x * np.arange(len(x)))


def write_through_helper(A, k):
    def scale(block, by):
        block *= by
        block[0, 0] += 1.0
        return block

    top = scale(A[:2, :2], k)
    bottom = scale(A[1:, 1:], k * k)
    top[1, 1] -= bottom[0, 0] * 0.5
    return np.sum(A * A)


def views_in_a_list(A, x):
    rows = [A[0], A[2], A[:, 1]]
    for r in rows:
        r[1] = r[0] * x
    rows[2][0] += 4.0 * rows[0][1]
    return np.sum(A * A)


def old_value_survives(x, n):
    """`before` is a value, not a view: later writes to x[0] must not change it."""
    total = 0.0
    for k in range(n):
        before = x[0]
        x[0] = x[1] * before
        x[1] = before + x[0]
        total += before * x[0]
    return total


def augmented_targets(A, x):
    A[1] += x
    A[:, 0] -= x[0]
    A[0, 1] **= 2
    A[1:, 1:] /= 2.0 + x[1] ** 2
    A[-1, -1] *= A[0, 0]
    x[::2] += A[0, 0]
    x -= x[0]
    return np.sum(A) + np.sum(x**2)


def buffer_reused(x, steps):
    tmp = np.empty_like(x)
    for _ in range(steps):
        tmp[:] = x
        x[1:] = tmp[:-1] * tmp[1:]
        x[0] = tmp[-1]
    return np.sum(x * tmp)


def prefix_in_place(x):
    for i in range(1, len(x)):
        x[i] += x[i - 1]
    for i in range(len(x) - 2, -1, -1):
        x[i] = max(x[i], x[i + 1] - 0.5)
    return np.sum(x * x)


def swap_rows(A, pivots):
    for k in range(len(pivots)):
        A[k], A[pivots[k]] = A[pivots[k]].copy(), A[k].copy()
        A[k] *= k + 1.0
    return np.sum(A[:, 0] * A[:, -1])


def workspace_of_inner_call(x, n):
    """A fresh array per iteration, of which the last one is kept."""
    best = np.zeros(2)
    for k in range(n):
        trial = np.empty(2)
        trial[0] = x[k] * x[k]
        trial[1] = np.sin(x[k])
        if trial[0] + trial[1] > best[0] + best[1]:
            best = trial
    return best[0] - 2.0 * best[1]


def two_versions_in_a_branch(a, b, turns):
    """`a` before the inner loop and `a` after it are both carried, and only one branch changes them."""
    kept = a.copy()
    for i in range(turns):
        if b[1] < 2.0:
            for _ in range(i):
                b[:2] *= a[1:3]
                for k in range(1, len(kept)):
                    a[-k] -= np.tanh(a[2])
                kept[i] *= a[i]
            a -= 0.2
    return np.sum(b) + np.sum(kept)


def copy_and_original_change(a, turns):
    """Both start from one array, and both are overwritten, each reading what it held."""
    c = a.copy()
    for _ in range(turns):
        for k in range(1, len(a)):
            c[k] = c[k] * np.sin(c[k - 1])
            a[k] = a[k] * np.cos(a[k - 1])
    return np.sum(a * c)


def copies_made_in_branches(a, p, turns):
    """Two results of an `if` that hold the same, and go on as different arrays."""
    for i in range(turns):
        if a[0] > 0.2 * i * p:
            a[0] *= a[1]
            c = a.copy()
        else:
            c = a.copy()
        for k in range(1, len(a)):
            c[k] = c[k] * np.sin(c[k - 1])
            a[k] = a[k] * np.cos(a[k - 1])
        a += c
    return np.sum(a * a)


def written_under_a_condition(x, a, b):
    """What may be written to `a` decides whether it is; where it was not, `a` does not hold it."""
    if x <= 1.0:
        y = np.sin(b[1])
        if y > 0.05:
            a[2] = y
        x = y * y * x
    for k in range(3):
        y = np.sin(b[k])
        if y > 0.0:
            a[k] = y
        x = y * y * x
    return np.sum(a) + x


rng = np.random.default_rng(6)
A = rng.standard_normal((5, 6))
small = rng.standard_normal((3, 4))
a, b = rng.standard_normal((2, 3))
x6 = rng.standard_normal(6)

T = {"tracing"}
TC = {"tracing", "complex"}
AC = {"acceptance", "tracing", "complex"}

PROGRAMS = [
    Program("view_of_view", view_of_view, (A, a), (0, 1), AC),
    Program("choose_then_write", choose_then_write, (a, b, 1), (0, 1), AC, ((a, b, -1), (a, b, 0))),
    Program(
        "choose_in_loop",
        choose_in_loop,
        (a, b, 5),
        (0, 1),
        {"acceptance", "tracing", "kink"},
        ((b, a, 4), (a, b, 0), (a, b, 1)),
    ),
    Program("two_names", two_names, (a,), (0,), TC),
    Program("rebinding_is_not_writing", rebinding_is_not_writing, (a, 0.7), (0, 1), TC),
    Program("row_views_in_loop", row_views_in_loop, (small, rng.standard_normal(4)), (0, 1), TC),
    Program("iterate_rows_and_write", iterate_rows_and_write, (small, 0.7), (0, 1), TC),
    Program("transposed_write", transposed_write, (small, a), (0, 1), TC),
    Program("reshape_view", reshape_view, (x6, rng.standard_normal(2)), (0, 1), TC),
    Program("overlapping_slices", overlapping_slices, (x6,), (0,), TC, ((rng.standard_normal(7),),)),
    Program("write_through_helper", write_through_helper, (rng.standard_normal((3, 3)), 0.8), (0, 1), TC),
    Program("views_in_a_list", views_in_a_list, (small, 0.8), (0, 1), TC),
    Program("copy_and_original_change", copy_and_original_change, (x6, 3), (0,), TC, ((x6, 0),)),
    Program(
        "copies_made_in_branches",
        copies_made_in_branches,
        (x6 + 0.3, 1.0, 3),
        (0,),
        {"tracing", "kink"},
        ((x6, -1.0, 3), (x6, 9.0, 2)),
    ),
    Program("old_value_survives", old_value_survives, (a, 4), (0,), TC, ((a, 0), (a, 1))),
    Program("augmented_targets", augmented_targets, (small, rng.standard_normal(4)), (0, 1), TC),
    Program("buffer_reused", buffer_reused, (x6, 3), (0,), TC, ((x6, 1),)),
    Program("prefix_in_place", prefix_in_place, (x6,), (0,), {"tracing", "kink"}, ((-np.abs(x6),),)),
    Program("swap_rows", swap_rows, (small, np.array([2, 1, 2])), (0,), TC, ((small, np.array([0, 0, 0])),)),
    Program(
        "workspace_of_inner_call",
        workspace_of_inner_call,
        (x6, 6),
        (0,),
        {"tracing", "kink"},
        ((x6, 0), (x6, 1)),
    ),
    Program(
        "two_versions_in_a_branch",
        two_versions_in_a_branch,
        (x6, a[:3] * 0.3, 4),
        (0, 1),
        TC,
        ((x6, a[:3] * 0.3, 2), (x6, a[:3] + 9.0, 3)),
    ),
    Program(
        "written_under_a_condition",
        written_under_a_condition,
        (0.7, x6, np.array([1.5, 1.2, 0.3])),
        (0, 1, 2),
        {"tracing", "kink"},
        ((0.7, x6, np.array([-1.5, -1.2, 0.3])), (2.0, x6, np.array([0.2, -0.9, 0.1]))),
    ),
]
