"""`check_grads`: what its report says, of right and of wrong derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from adjit import GradientError, GradientReport, callback, check_grads, custom_jvp, custom_vjp, grad, jit

X = np.array([0.3, -1.2, 2.5])


@custom_vjp
def wrong(x):
    return x * x


wrong.defvjp(lambda x: (x * x, x), lambda x, dy: (np.where(x > 2.0, 3.0, 2.0) * x * dy,))


def test_a_report_of_every_mode_and_order() -> None:
    report = check_grads(lambda x: np.sum(np.sin(x) * x), (X,), order=3)
    assert isinstance(report, GradientReport) and report
    assert sorted(c.order for c in report.comparisons) == [1] * 2 + [2] * 4 + [3] * 8
    assert len({c.mode for c in report.comparisons}) == 14
    assert "agree" in repr(report) and "forward mode over reverse mode" in repr(report)
    assert all(c.worst is not None and c.worst.error < 1e-12 for c in report.comparisons)
    assert {c.order for c in check_grads(np.sum, (X,), order=1, modes="rev").comparisons} == {1}


def test_the_worst_entry_is_named() -> None:
    def f(p, n):
        return np.sum(wrong(p["w"])) * n + p["b"]

    args = ({"b": 1.0, "k": 3, "w": X}, 2)
    with pytest.raises(GradientError, match=r"argument 0\['w'\] \(`p_w`\)\[2\]") as caught:
        check_grads(f, args, order=1, modes="rev")
    (comparison,) = caught.value.report.comparisons
    worst = comparison.worst
    assert worst is not None
    assert (comparison.bad, comparison.entries) == (1, 4)
    assert worst.index == (2,) and np.isclose(worst.ours, 1.5 * worst.numerical)
    assert worst.method == "complex step" and worst.step == 1e-30
    assert np.isclose(worst.error, abs(worst.ours - worst.numerical))
    for part in (repr(worst.ours), repr(worst.numerical), "complex step, step 1e-30", "error", "1 of 4 entries"):
        assert part in str(caught.value)
    report = check_grads(f, args, order=1, modes="rev", raises=False)
    assert not report and report.worst is not None and "DIFFER" in repr(report)
    assert isinstance(caught.value, AssertionError)


def test_a_wrong_second_derivative_is_found_at_order_two() -> None:
    @custom_jvp
    def square(x):
        return x * x

    @square.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return x * x, flawed(x) * dx

    @custom_jvp
    def flawed(x):
        return 2.0 * x

    @flawed.defjvp
    def _(primals, tangents):
        (x,), (dx,) = primals, tangents
        return 2.0 * x, 2.5 * dx

    assert check_grads(lambda x: np.sum(square(x)), (X,), order=1)
    with pytest.raises(GradientError, match="over"):
        check_grads(lambda x: np.sum(square(x)), (X,), order=2)


def test_arguments_stay_as_they_are() -> None:
    @jit
    def f(x, k, flags):
        x[0] *= 2.0
        for i in range(1, len(x)):
            if flags[i]:
                x[i] += np.sin(x[i - 1]) * k
        return x.sum()

    x, flags = X.copy(), np.array([True, False, True])
    assert check_grads(f, (x, 3, flags), order=2)
    assert np.array_equal(x, X)
    assert check_grads(grad(lambda x: np.sum(np.exp(x) * x)), (X,))


def test_tolerances_and_steps_by_dtype_and_by_hand() -> None:
    single = check_grads(lambda x: np.sum(np.exp(x)), (X.astype(np.float32),), order=1)
    assert {c.worst.method for c in single.comparisons if c.worst} == {"differences"}
    odd = callback(lambda x: np.sin(x), result=lambda x: x)  # does not continue to complex numbers
    odd.defvjp(lambda dy, y, x: (np.cos(x) * dy,))
    report = check_grads(lambda x: np.sum(odd(x)), (X,), order=1, eps=1e-4)
    assert {c.worst.step for c in report.comparisons if c.worst} <= {1e-4, 1e-4 * 1.2, 1e-4 * 2.5}
    with pytest.raises(GradientError):
        check_grads(lambda x: np.sum(odd(x)), (X,), order=1, eps=1e-4, atol=0.0, rtol=1e-13)


def test_many_entries_are_sampled() -> None:
    (comparison,) = check_grads(lambda x: np.sum(x**3), (np.ones((20, 20)),), order=1, modes="fwd").comparisons
    assert comparison.entries == 64
