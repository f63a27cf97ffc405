"""Zeros by structure meet infinite slopes: elements never written, sums before their first term, the other side of a
choice, what nobody reads. All modes leave them zeros; a number that happens to be 0 multiplies as IEEE says."""

import numpy as np
import pytest
from tracing import traced_of

from adjit import grad, hessian, hvp, jacfwd, jacrev, jvp, vmap
from adjit.ir.adjoint.activity import varied_values
from adjit.ir.adjoint.forward import jvp as tangent_program
from adjit.ir.adjoint.tangent_masks import Masks, steep_operands
from adjit.ir.core import Builder, Region, Value, const
from adjit.ir.types import F64, Scalar

pytestmark = pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")

x = np.array([1.0, 2.0, 3.0])
v = np.array([0.3, -0.2, 0.7])


def padded(x):
    p = np.zeros(x.shape[0] + 2)
    p[1:-1] = x
    return np.sum(np.sqrt(p))


def padded_then_spread(x):
    p = np.zeros((x.shape[0] + 2, 3))
    p[1:-1, 1] = x
    return np.sum(p - np.std(p, axis=0))


def before_the_first_term(x):
    s = 0.0
    out = 0.0
    for i in range(x.shape[0]):
        out += np.sqrt(s)
        s += x[i]
    return out


def written_in_a_loop(x):
    p = np.zeros(3)
    y = 0.0
    for k in range(x.shape[0]):
        y += np.sum(np.sqrt(p) * x[k])
        p[k % 3] = x[k]
    return y


def overwritten_by_a_constant(x):
    p = np.zeros(x.shape[0] + 2)
    for i in range(x.shape[0]):
        p[i] = x[i] ** 2
        if x[i] > 2.5:
            p[i] = 0.0
    y = 0.0
    for i in range(x.shape[0] + 2):
        y += np.sqrt(p[i]) + np.exp(-1 / p[i])
    return y


def beyond_a_kink(x):
    return np.sum(np.sqrt(np.maximum(x - 1.5, 0.0)))


def summed_beyond_a_kink(x):
    return np.sqrt(np.sum(np.maximum(x - 5.0, 0.0))) + np.sum(x**2)


def running_sum(x):
    p = np.zeros(x.shape[0] + 1)
    p[np.array([1, 2, 3])] += x
    return np.sum(np.sqrt(np.cumsum(p)))


def moved(x):
    p = np.zeros((2, 4))
    p[1, 1:] = x
    q = np.concatenate([p.T.reshape(2, 4), np.zeros((1, 4))])
    return np.sum(np.sqrt(q[:, ::-1]) * np.arange(12.0).reshape(3, 4))


def gathered(x):
    p = np.zeros(5)
    p[np.array([0, 2, 4])] = x
    return np.sum(np.sqrt(p[np.array([[0, 1], [3, 4]])])) + np.sum(x**3)


def in_a_while(x):
    p = np.zeros(4)
    k = 0
    while np.sum(np.sqrt(p)) < 2.0:
        p[k] = x[k]
        k += 1
    return np.sum(np.sqrt(p))


def in_a_branch(x):
    p = np.zeros(3)
    if x[0] > 0.5:
        p[:2] = x[:2]
    else:
        p[2] = x[2]
    return np.sum(np.sqrt(p))


def read_in_parts(x):
    return np.sum(np.sqrt(x - 1.0)[1:])


def one_element(x):
    return np.sqrt(x - 1.0)[2] + 1 / (x - 1.0)[1]


def read_in_a_loop(x):
    q = np.sqrt(x - 1.0)
    s = 0.0
    for i in range(1, x.shape[0]):
        s += q[i] * x[i]
    return s


def read_in_branches(x):
    q = np.log(x - 1.0)
    return q[1] * x[0] if x[1] > 0 else q[2]


def read_and_combined(x):
    q = np.sqrt(x - 1.0)
    return np.sum((q.reshape(3, 1) * np.ones((1, 2)))[1:, 1])


TWICE = [
    padded,
    padded_then_spread,
    before_the_first_term,
    overwritten_by_a_constant,
    beyond_a_kink,
    summed_beyond_a_kink,
    running_sum,
    moved,
    gathered,
    in_a_while,
    in_a_branch,
    read_in_parts,
    one_element,
    read_in_a_loop,
    read_in_branches,
    read_and_combined,
]


def expected(f):
    """Central differences of the plain function; one-sided at the edge of the domain, where all derivatives are 0."""
    out = np.empty(3)
    for k in range(3):
        step = 1e-6 * np.eye(3)[k]
        high, low = f(x + step), f(x - step)
        out[k] = (high - low) / 2e-6 if np.isfinite(low) else (high - f(x)) / 1e-6
    return out


@pytest.mark.parametrize("f", [*TWICE, written_in_a_loop], ids=lambda f: f.__name__)
def test_forward_and_reverse(f):
    exact = grad(f)(x)
    np.testing.assert_allclose(exact, expected(f), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(jvp(f, (x,), (v,))[1], exact @ v, rtol=1e-12)
    np.testing.assert_allclose(jacfwd(f)(x), exact, rtol=1e-12)


@pytest.mark.parametrize("f", TWICE, ids=lambda f: f.__name__)
def test_second_derivatives(f, monkeypatch):
    if f not in TWICE[::4]:  # kernels take their time
        monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    found = hessian(f)(x)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, found.T, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jacrev(grad(f))(x), found, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(hvp(f, x, v), found @ v, rtol=1e-12, atol=1e-14)


def test_of_many():
    points = np.stack([x, x + 1.0])
    np.testing.assert_allclose(vmap(jacfwd(padded))(points), 0.5 / np.sqrt(points))


def test_a_number_that_is_zero_is_none_by_structure():
    """sqrt(x)**2 is x: its derivative at 0 is not 0, so that a 0 among the numbers must not be taken for one."""
    assert np.isnan(grad(lambda x: np.sqrt(x) ** 2)(0.0))
    assert np.isnan(jvp(lambda x: np.sqrt(x**2), (0.0,), (1.0,))[1])
    assert np.isnan(grad(lambda x: np.sum(np.sqrt(x)[:1] ** 2))(np.zeros(2))[0])


def test_no_masks_without_need():
    """Masks only where an infinite slope follows."""

    def smooth(x):
        p = np.zeros(x.shape[0] + 2)
        p[1:-1] = x
        return np.sum(np.exp(p) * np.tanh(p) / 3.0)

    for f, needed in ((smooth, False), (padded, True)):
        program = traced_of(f, (x,))[0].function
        masks = Masks(program, varied_values(program, program.args))
        assert bool(masks.wanted) is needed
        assert ("bool" in str(tangent_program(program, [0]))) is needed


def test_which_slopes_are_steep():
    a, b = Value(Scalar(F64)), Value(Scalar(F64))
    with Builder(Region()) as made:
        for name, operands, steep in [
            ("sqrt", [a], (0,)),
            ("log", [a], (0,)),
            ("exp", [a], ()),
            ("mul", [a, b], ()),
            ("div", [a, b], (1,)),
            ("div", [a, const(2.0)], ()),
            ("pow", [a, const(3.0)], ()),
            ("pow", [a, const(0.5)], (0,)),
        ]:
            op = made.emit1(name, operands).op
            assert op is not None
            assert tuple(k for k in steep_operands(op) if op.operands[k] in (a, b)) == steep, name
