"""Forward mode and Hessian-vector products as users call them: `jvp`, `linearize`, `hvp`, `check_grads`."""

import numpy as np
import pytest

import adjit
from adjit import (
    ArgumentError,
    ShapeError,
    UnsupportedError,
    check_grads,
    grad,
    hessian,
    hvp,
    jit,
    jvp,
    linearize,
    stop_gradient,
    vjp,
)

X = np.array([-1.2, 1.0, 0.8])
V = np.array([0.3, -2.0, 1.0])


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")


def rosenbrock(x):
    s = 0.0
    for i in range(len(x) - 1):
        s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return s


def control_flow(a):
    b = a * 2
    while np.sqrt(np.sum(b * b)) < 1000:
        b = b * 2
    return b if np.sum(b) > 0 else 100 * b


def eliminate(a):
    n = a.shape[0]
    for k in range(n):
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= a[i, k] * a[k, j]
    return a


def network(params, x):
    h = np.tanh(x @ params["w"] + params["b"])
    return {"out": h @ params["v"], "norm": params["c"] * np.sum(h * h)}


def along(function, primals, tangents):
    """The derivative along tangents by complex step through the Python function."""
    moved = [p + 1e-30j * t for p, t in zip(primals, tangents, strict=True)]
    return np.imag(function(*moved)) / 1e-30


# ---------------------------------------------------------------- jvp


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("function", [rosenbrock, control_flow, lambda x: np.log(np.sum(np.exp(x)))])
def test_jvp_is_the_derivative_along_the_tangent(function):
    value, tangent = jvp(function, (X,), (V,))
    np.testing.assert_allclose(value, function(X.copy()), rtol=1e-14)
    np.testing.assert_allclose(tangent, along(function, (X,), (V,)), rtol=1e-12)


def test_jvp_of_an_in_place_loop_compiled_leaves_the_argument_alone():
    a = np.random.default_rng(0).normal(size=(4, 4)) + 4 * np.eye(4)
    before, direction = a.copy(), np.ones((4, 4))
    value, tangent = jvp(eliminate, (a,), (direction,))
    assert np.array_equal(a, before)
    np.testing.assert_allclose(value, eliminate(a.copy()), rtol=1e-13)
    np.testing.assert_allclose(tangent, along(eliminate, (before,), (direction,)), rtol=1e-11)


@pytest.mark.usefixtures("interpreted")
def test_jvp_of_trees_and_of_several_arguments():
    rng = np.random.default_rng(1)
    params = {"w": rng.normal(size=(3, 2)), "b": rng.normal(size=2), "v": rng.normal(size=2), "c": 0.5}
    x = rng.normal(size=(4, 3))
    direction = {k: np.ones_like(p) if k != "c" else 2.0 for k, p in params.items()}
    value, tangent = jvp(network, (params, x), (direction, x))
    assert list(value) == list(tangent) == ["out", "norm"]
    moved = {k: p + 1e-30j * direction[k] for k, p in params.items()}
    expected = network(moved, x + 1e-30j * x)
    np.testing.assert_allclose(tangent["out"], expected["out"].imag / 1e-30, rtol=1e-12)
    np.testing.assert_allclose(tangent["norm"], expected["norm"].imag / 1e-30, rtol=1e-12)


@pytest.mark.usefixtures("interpreted")
def test_jvp_with_aux_keeps_integers_out_of_the_tangent():
    value, tangent, aux = jvp(lambda x: (x * x, {"n": len(x)}), (X,), (V,), has_aux=True)
    np.testing.assert_allclose(tangent, 2 * X * V)
    np.testing.assert_allclose(value, X * X)
    assert aux == {"n": 3}


def test_jvp_is_compiled_once_and_shows_its_kernel():
    def square(x):
        return x * x

    assert jvp(square, (3.0,), (2.0,)) == (9.0, 12.0)
    (compiled,) = square.__adjit_kept__.values()
    assert jvp(square, (4.0,), (1.0,)) == (16.0, 8.0)
    assert list(square.__adjit_kept__.values()) == [compiled]
    assert "mul" in compiled.ir("optimized")
    assert "def " in compiled.source()
    single = jvp(square, (np.float32(3),), (np.float32(1),))
    assert [type(x) for x in single] == [np.float32, np.float32]


@pytest.mark.usefixtures("interpreted")
def test_misuse_of_jvp_is_refused():
    with pytest.raises(ArgumentError, match="one tuple"):
        jvp(rosenbrock, X, V)
    with pytest.raises(ArgumentError, match="2 tangents for 1"):
        jvp(rosenbrock, (X,), (V, V))
    with pytest.raises(ArgumentError, match="structure"):
        jvp(lambda p: p["a"], ({"a": 1.0},), ((1.0,),))
    with pytest.raises(ArgumentError, match="its primal"):
        jvp(rosenbrock, (X,), (1.0,))
    with pytest.raises(ShapeError, match="shape of its primal"):
        jvp(rosenbrock, (X,), (np.ones(4),))
    with pytest.raises(ArgumentError, match="only floats"):
        jvp(lambda n: n * 2.0, (3,), (1,))
    with pytest.raises(ArgumentError, match="int64"):
        jvp(lambda x: np.argmax(x), (X,), (V,))
    with pytest.raises(ArgumentError, match="takes a function"):
        jvp(3.0, (X,), (V,))


# ---------------------------------------------------------------- linearize, hvp


@pytest.mark.usefixtures("interpreted")
def test_linearize_keeps_its_point():
    x = X.copy()
    value, tangent_of = linearize(control_flow, x)
    x[:] = 0.0
    np.testing.assert_allclose(value, control_flow(X))
    np.testing.assert_allclose(tangent_of(V), along(control_flow, (X,), (V,)), rtol=1e-12)
    np.testing.assert_allclose(tangent_of(2 * V), 2 * tangent_of(V), rtol=1e-14)
    value, tangent_of, aux = linearize(lambda x: (x * x, "label"), 3.0, has_aux=True)
    assert (value, tangent_of(1.0), aux) == (9.0, 6.0, "label")


def test_hvp_is_the_hessian_times_the_vector():
    expected = hessian(rosenbrock)(X) @ V
    np.testing.assert_allclose(hvp(rosenbrock, X, V), expected, rtol=1e-12)
    difference = (grad(rosenbrock)(X + 1e-6 * V) - grad(rosenbrock)(X - 1e-6 * V)) / 2e-6
    np.testing.assert_allclose(hvp(rosenbrock, X, V), difference, rtol=1e-6)


@pytest.mark.usefixtures("interpreted")
def test_hvp_of_trees_with_further_arguments():
    def energy(p, k):
        return k * p["a"] ** 2 * np.sum(p["b"] ** 3)

    point, vector = {"a": 2.0, "b": X}, {"a": 1.0, "b": V}
    found = hvp(energy, point, vector, 3.0)
    assert found["a"] == pytest.approx(3 * (2 * np.sum(X**3) + 2 * 2.0 * np.sum(3 * X**2 * V)), rel=1e-12)
    np.testing.assert_allclose(found["b"], 3 * (4.0 * 6 * X * V + 4.0 * 3 * X**2), rtol=1e-12)
    with pytest.raises(ArgumentError, match="one float"):
        hvp(lambda x: x * x, X, V)


# ---------------------------------------------------------------- inside traced functions


def inner_derivatives(x):
    y, back = vjp(lambda z: z * z * x, x)
    _, push = linearize(lambda z: np.sin(z), x)
    h = hessian(lambda u: u[0] * u[1] * u[0])(np.array([x, 2.0]))
    s = 0.0
    for k in range(3):
        s += jvp(lambda z: z**3 * x, (x + k,), (1.0,))[1]
    return y + back(1.0)[0] + push(2.0) + np.sum(h) + s


def inner_expected(x):
    return x**3 + 2 * x * x + 2 * np.cos(x) + (4 + 4 * x) + sum(3 * (x + k) ** 2 * x for k in range(3))


def test_derivatives_inside_a_compiled_function_and_through_it():
    assert jit(inner_derivatives)(1.5) == pytest.approx(inner_expected(1.5), rel=1e-13)
    assert grad(inner_derivatives)(1.5) == pytest.approx(inner_expected(1.5 + 1e-30j).imag / 1e-30, rel=1e-12)


@pytest.mark.usefixtures("interpreted")
def test_derivatives_of_derivatives_to_the_third_order():
    cubic = grad(grad(grad(lambda x: x**4)))
    assert cubic(2.0) == pytest.approx(48.0, rel=1e-14)
    assert jvp(grad(np.sin), (1.0,), (1.0,))[1] == pytest.approx(-np.sin(1.0), rel=1e-14)
    assert grad(lambda x: grad(jit(lambda y: x * y**2))(x))(3.0) == pytest.approx(12.0, rel=1e-14)


@pytest.mark.usefixtures("interpreted")
def test_transforms_decorate_functions_inside_a_traced_function():
    def outer(x):
        @grad
        def slope(y):
            return y * y * x

        @grad(argnums=1)
        def other(y, z):
            return y * z**3

        return slope(x) + other(x, x)

    assert grad(outer)(2.0) == pytest.approx(8.0 + 36.0, rel=1e-14)  # of 2 x**2 + 3 x**3
    with pytest.raises(ArgumentError, match="takes a function"):
        grad(lambda x: grad(3)(x))(1.0)


class Spring:
    def __init__(self, stiffness):
        self.stiffness = stiffness

    def energy(self, x):
        return np.sum(self.stiffness * x**3)


def test_methods_read_their_object_at_each_call():
    spring = Spring(np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(hvp(spring.energy, X, V), 6 * spring.stiffness * X * V, rtol=1e-13)
    spring.stiffness = np.array([3.0, 4.0, 5.0])
    np.testing.assert_allclose(hvp(spring.energy, X, V), 6 * spring.stiffness * X * V, rtol=1e-13)


@pytest.mark.usefixtures("interpreted")
def test_a_differentiated_function_has_no_side_effects():
    def outer(x):
        a = np.zeros(2)

        def inner(y):
            a[0] = y
            return y * y

        return grad(inner)(x) + a[0]

    with pytest.raises(UnsupportedError, match="changes"):
        grad(outer)(1.0)


# ---------------------------------------------------------------- check_grads


def test_check_grads_accepts_what_is_right():
    check_grads(rosenbrock, (X,))
    check_grads(lambda p, k: (p["x"] ** 3, np.sum(p["x"]) * p["s"] * k), ({"x": X, "s": 2.0}, 3), order=3)
    check_grads(eliminate, (np.eye(3) * 3 + 1,), modes="rev")
    check_grads(lambda x: np.sum(x**3), (X.astype(np.float32),), order=1)


@pytest.mark.parametrize("mode", ["fwd", "rev"])
def test_check_grads_names_the_worst_entry(mode):
    def wrong(x):
        return np.sum(stop_gradient(x[1]) ** 3) + x[0]

    with pytest.raises(AssertionError, match=r"argument 0 \(`x`\)\[1\]"):
        check_grads(wrong, (X,), order=1, modes=(mode,))


def test_check_grads_refuses_what_it_cannot_check():
    with pytest.raises(ArgumentError, match="no mode"):
        check_grads(rosenbrock, (X,), modes=("forward",))
    with pytest.raises(ArgumentError, match="order"):
        check_grads(rosenbrock, (X,), order=0)
    with pytest.raises(ArgumentError, match="no argument is a float"):
        check_grads(lambda n: n + 1, (3,))
    with pytest.raises(ArgumentError, match="one tuple"):
        check_grads(rosenbrock, X)


def test_the_names_are_public():
    assert {"jvp", "linearize", "hvp", "check_grads"} <= set(adjit.__all__)
