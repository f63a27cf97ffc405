"""`jacfwd`, `jacrev`, `jacobian` and `hessian`: shapes as JAX's, values against complex step and each other."""

import numpy as np
import pytest

from adjit import ArgumentError, grad, hessian, jacfwd, jacobian, jacrev, jit

RNG = np.random.default_rng(3)
X = RNG.normal(size=4)
A = RNG.normal(size=(4, 4)) + 4 * np.eye(4)
MODES = [jacfwd, jacrev, jacobian]


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")


def complex_jacobian(function, x):
    columns = []
    for index in np.ndindex(x.shape):
        z = x.astype(complex)
        z[index] += 1e-30j
        columns.append(np.asarray(function(z)).imag / 1e-30)
    return np.stack(columns, -1).reshape(columns[0].shape + x.shape)


def rosenbrock(x):
    s = 0.0
    for i in range(len(x) - 1):
        s += 100.0 * (x[i + 1] - x[i] ** 2) ** 2 + (1.0 - x[i]) ** 2
    return s


def relax(x):  # a number of turns that depends on the data: the reverse sweep has a tape
    y = 10 * x
    while np.sum(y * y) > 1.0:
        y = 0.7 * y - 0.02 * np.sin(y) * y
    return y


def eliminate(a):
    n = a.shape[0]
    for k in range(n):
        for i in range(k + 1, n):
            a[i, k] /= a[k, k]
            for j in range(k + 1, n):
                a[i, j] -= a[i, k] * a[k, j]
    return a


def tall(x):
    return np.concatenate((np.sin(x), x[0] * x, x * x))


def wide(x):
    return np.exp(x[:1]) * np.sum(x)


def logsumexp(x):
    m = np.max(x)
    return m + np.log(np.sum(np.exp(x - m)))


def network(params, x):
    h = np.tanh(x @ params["w"] + params["b"])
    return np.sum((h @ params["v"] + params["c"]) ** 2)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("function", "x"), [(rosenbrock, X), (relax, X), (eliminate, A), (tall, X), (wide, X), (lambda x: x.T @ x, A)]
)
def test_jacobians_agree_with_complex_step(mode, function, x):
    before = x.copy()
    found = mode(function)(x)
    expected = complex_jacobian(function, x)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)
    assert np.array_equal(x, before)


@pytest.mark.parametrize("mode", MODES)
def test_jacobians_in_one_kernel(mode):
    def mixed(x):
        return relax(x) * np.sum(x)

    compiled = mode(mixed)
    np.testing.assert_allclose(compiled(X), complex_jacobian(mixed, X), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(compiled(X[:3]), complex_jacobian(mixed, X[:3]), rtol=1e-11, atol=1e-12)
    assert "chunk" in compiled.ir("adjoint")
    assert compiled.__wrapped__ is mixed


def test_the_kernel_of_jacobian_chooses_by_shape():
    def product(a, x):
        return a @ x

    both = jacobian(product, argnums=1)
    for m, n in ((2, 9), (9, 2), (3, 3)):
        a = RNG.normal(size=(m, n))
        np.testing.assert_allclose(both(a, np.ones(n)), a, rtol=1e-14)
    assert " = if %" in both.ir()
    few = jacobian(rosenbrock)  # one output: reverse mode, known while tracing
    np.testing.assert_allclose(few(X), grad(rosenbrock)(X), rtol=1e-13)
    assert " = if %" not in few.ir()


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize("mode", MODES)
def test_shapes_and_structures_are_jax_s(mode):
    def function(a, x, b):
        return a * np.sin(x) * (b @ x), {"s": np.sum(b * b) * a}

    first, second = mode(function, argnums=(0, 1, 2))(2.0, X, A)
    assert [np.shape(j) for j in first] == [(4,), (4, 4), (4, 4, 4)]
    assert [np.shape(j) for j in second["s"]] == [(), (4,), (4, 4)]
    np.testing.assert_allclose(first[0], np.sin(X) * (A @ X), rtol=1e-13)
    np.testing.assert_allclose(second["s"][2], 4 * A, rtol=1e-13)
    assert not np.any(second["s"][1])
    alone = mode(function, argnums=-2)(2.0, X, A)
    np.testing.assert_array_equal(alone[0], first[1])
    jacobian_, aux = mode(lambda x: (x * x, len(x)), has_aux=True)(X)
    np.testing.assert_allclose(jacobian_, np.diag(2 * X), rtol=1e-14)
    assert aux == 4
    assert mode(lambda x: x**3)(2.0) == pytest.approx(12.0)
    assert mode(lambda x: x * x)(np.float32(2)).dtype == np.float32


@pytest.mark.usefixtures("interpreted")
def test_as_decorators():
    @jacfwd
    def one(x):
        return x * x

    @jacrev(argnums=1)
    def two(a, x):
        return a * x

    @hessian(has_aux=True)
    def three(x):
        return np.sum(x**3), "aux"

    np.testing.assert_allclose(one(X), np.diag(2 * X))
    np.testing.assert_allclose(two(3.0, X), 3 * np.eye(4))
    found, aux = three(X)
    np.testing.assert_allclose(found, np.diag(6 * X), rtol=1e-13)
    assert aux == "aux"


# ---------------------------------------------------------------- second and third order


@pytest.mark.usefixtures("interpreted")
def test_hessian_of_logsumexp_and_rosenbrock():
    p = np.exp(X) / np.sum(np.exp(X))
    np.testing.assert_allclose(hessian(logsumexp)(X), np.diag(p) - np.outer(p, p), atol=1e-14)
    expected = [[1330.0, 480.0, 0.0], [480.0, 1082.0, -400.0], [0.0, -400.0, 200.0]]
    np.testing.assert_allclose(hessian(rosenbrock)(np.array([-1.2, 1.0, 0.8])), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("interpreted")
@pytest.mark.parametrize(
    "second",
    [
        lambda f: jacfwd(grad(f)),
        lambda f: jacrev(grad(f)),
        lambda f: jacfwd(jacfwd(f)),
        lambda f: jacrev(jacrev(f)),
        lambda f: jacfwd(jacrev(f)),
        lambda f: jacrev(jacfwd(f)),
        lambda f: jacobian(jacobian(jit(f))),
    ],
)
def test_every_nesting_gives_the_hessian(second):
    def loss(x):
        return np.sum(relax(x) ** 3) * x[0]

    np.testing.assert_allclose(second(loss)(X), hessian(loss)(X), rtol=1e-10, atol=1e-12)


def test_nested_transforms_compile():
    def loss(x):
        return np.sum(relax(x) ** 3) * x[0]

    found = hessian(loss)(X)
    np.testing.assert_allclose(jacfwd(grad(loss))(X), found, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found, found.T, rtol=1e-10, atol=1e-12)
    step = (grad(loss)(X + 1e-6 * np.eye(4)[0]) - grad(loss)(X - 1e-6 * np.eye(4)[0])) / 2e-6
    np.testing.assert_allclose(found[0], step, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("interpreted")
def test_third_derivatives_agree():
    forward = jacfwd(jacfwd(jacfwd(rosenbrock)))(X)
    assert forward.shape == (4, 4, 4)
    np.testing.assert_allclose(jacrev(hessian(rosenbrock))(X), forward, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(hessian(relax)(X), jacfwd(jacfwd(relax))(X), rtol=1e-10, atol=1e-12)


@pytest.mark.usefixtures("interpreted")
def test_hessian_of_a_network_is_a_tree_of_blocks():
    params = {"w": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2), "v": RNG.normal(size=2), "c": 0.3}
    x = RNG.normal(size=(5, 3))
    found = hessian(network)(params, x)
    other = jacfwd(grad(network))(params, x)
    for a, p in params.items():
        for b, q in params.items():
            assert np.shape(found[a][b]) == np.shape(p) + np.shape(q)
            np.testing.assert_allclose(found[a][b], other[a][b], rtol=1e-11, atol=1e-12)
    assert found["c"]["c"] == pytest.approx(10.0)


# ---------------------------------------------------------------- refusals


@pytest.mark.usefixtures("interpreted")
def test_misuse_is_refused():
    with pytest.raises(ArgumentError, match="only floats"):
        jacfwd(lambda n: n * 2.0)(3)
    with pytest.raises(ArgumentError, match="no derivative"):
        jacrev(lambda x: np.argmax(x))(X)
    with pytest.raises(ArgumentError, match="positional"):
        jacfwd(lambda x: x, argnums=2)(X)
    with pytest.raises(ArgumentError, match="no argument number"):
        jacobian(lambda x: x, argnums="x")
    with pytest.raises(ArgumentError, match="pair"):
        hessian(rosenbrock, has_aux=True)(X)
    with pytest.raises(ArgumentError, match="takes a function"):
        hessian(3.0)
    with pytest.raises(ArgumentError, match="has no derivative"):
        jacfwd(lambda p: p["x"])({"x": X, "name": "a"})


def test_memory_of_a_loop_that_does_not_run():
    """Buffers of a loop over seeds are made before it, with extents that are negative where there is no seed."""

    def coupled(x):
        return np.sum(x[1:] * x[:-1]) * np.sum(x)

    assert hessian(coupled)(np.ones(0)).shape == (0, 0)
    np.testing.assert_allclose(hessian(coupled)(np.ones(2)), [[2.0, 4.0], [4.0, 2.0]])
