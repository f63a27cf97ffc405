"""`f.as_torch()` and `f.as_jax()`, against the libraries' own derivatives."""

import numpy as np
import pytest

from adjit import ArgumentError, grad, jit, value_and_grad


def model(params, x, power=2):
    h = np.tanh(x @ params["w"] + params["b"])
    return np.sum(h**power) / x.shape[0]


def outputs(x, y):
    """Several results: arrays, a number, an integer, a string."""
    return {"a": x * y, "s": np.sum(x) * y, "n": np.argmax(x), "name": "text"}


def smooth(x):
    for i in range(1, x.size):
        x[i] = 0.5 * x[i] + 0.5 * x[i - 1] ** 2
    return x


RNG = np.random.default_rng(0)
W, B, DATA, VECTOR = RNG.normal(size=(3, 2)), RNG.normal(size=2), RNG.normal(size=(5, 3)), RNG.normal(size=4)


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def jax():
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield jax
    jax.config.update("jax_enable_x64", before)


class TestTorch:
    def test_gradients_of_trees(self, torch):
        f = jit(model).as_torch()
        w, b, x = (torch.tensor(v, requires_grad=True) for v in (W, B, DATA))
        value = f({"w": w, "b": b}, x)
        value.backward()
        found = [w.grad.clone(), b.grad.clone(), x.grad.clone()]
        again = [torch.tensor(v, requires_grad=True) for v in (W, B, DATA)]
        expected = torch.sum(torch.tanh(again[2] @ again[0] + again[1]) ** 2) / 5
        expected.backward()
        assert value.shape == () and value.dtype == torch.float64
        torch.testing.assert_close(value, expected, rtol=1e-13, atol=0)
        for g, e in zip(found, again, strict=True):
            torch.testing.assert_close(g, e.grad, rtol=1e-12, atol=1e-14)

    def test_gradcheck(self, torch):
        x = torch.tensor(VECTOR, requires_grad=True)
        y = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        f = jit(outputs).as_torch()
        assert torch.autograd.gradcheck(lambda x, y: (f(x, y)["a"], f(x, y)["s"]), (x, y))
        assert torch.autograd.gradcheck(jit(smooth).as_torch(), (x,))

    def test_results_of_all_kinds(self, torch):
        out = jit(outputs).as_torch()(torch.tensor(VECTOR, requires_grad=True), torch.tensor(2.0))
        assert out["name"] == "text" and out["n"].item() == np.argmax(VECTOR) and not out["n"].requires_grad
        assert out["a"].requires_grad and out["s"].requires_grad

    def test_inside_other_operations_and_without_gradient(self, torch):
        f = grad(lambda x: np.sum(np.sin(x)))
        x = torch.tensor(VECTOR, requires_grad=True)
        torch.sum(f.as_torch()(x * 2) ** 2).backward()  # cos(2x)²
        np.testing.assert_allclose(x.grad.numpy(), -4 * np.cos(2 * VECTOR) * np.sin(2 * VECTOR), rtol=1e-12)
        with torch.no_grad():
            assert not f.as_torch()(x).requires_grad
        assert not f.as_torch()(x.detach()).requires_grad

    def test_tensors_are_never_changed_and_results_are_nobody_elses(self, torch):
        for gradient in (False, True):
            x = torch.tensor(VECTOR, requires_grad=gradient)
            y = jit(smooth).as_torch()(x)
            np.testing.assert_array_equal(x.detach().numpy(), VECTOR)
            np.testing.assert_array_equal(y.detach().numpy(), smooth(VECTOR.copy()))
        identity = jit(lambda x: x).as_torch()
        x = torch.tensor(VECTOR)
        identity(x)[0] = 99.0
        assert x[0].item() == VECTOR[0]

    def test_what_changes_between_the_sweeps_does_not_matter(self, torch):
        x = torch.tensor(VECTOR, requires_grad=True)
        copy = x.clone()
        y = jit(lambda x: np.sum(x * x * x)).as_torch()(copy)
        with torch.no_grad():
            copy.zero_()
        y.backward()
        np.testing.assert_allclose(x.grad.numpy(), 3 * VECTOR**2, rtol=1e-13)

    def test_single_precision_and_layouts(self, torch):
        base = torch.tensor(DATA, dtype=torch.float32)
        for x in (base, base.T, base[::2], base.expand(2, 5, 3)):
            x = x.detach().requires_grad_()
            value = jit(lambda x: np.sum(np.sin(x))).as_torch()(x)
            value.backward()
            assert value.dtype == x.grad.dtype == torch.float32
            torch.testing.assert_close(x.grad, torch.cos(x.detach()), rtol=1e-6, atol=1e-6)

    def test_a_second_backward_is_refused(self, torch):
        x = torch.tensor(VECTOR, requires_grad=True)
        f = jit(lambda x: np.sum(x**3)).as_torch()
        (g,) = torch.autograd.grad(f(x), x, create_graph=True)
        np.testing.assert_allclose(g.detach().numpy(), 3 * VECTOR**2, rtol=1e-13)
        with pytest.raises(ArgumentError, match="first derivatives only"):
            torch.sum(g * x).backward()

    def test_errors(self, torch):
        with pytest.raises(ArgumentError, match="without a tensor"):
            jit(model).as_torch()(1.0, 2.0)
        with pytest.raises(IndexError):
            jit(lambda x: x[9]).as_torch()(torch.tensor(VECTOR))


class TestJax:
    def test_gradients_of_trees(self, jax):
        f = jit(model).as_jax()

        def own(params, x):
            return jax.numpy.sum(jax.numpy.tanh(x @ params["w"] + params["b"]) ** 2) / x.shape[0]

        params = {"w": jax.numpy.asarray(W), "b": jax.numpy.asarray(B)}
        x = jax.numpy.asarray(DATA)
        for wrap in (lambda g: g, jax.jit):
            value, gradients = wrap(jax.value_and_grad(f, argnums=(0, 1)))(params, x)
            expected, own_gradients = jax.value_and_grad(own, argnums=(0, 1))(params, x)
            np.testing.assert_allclose(value, expected, rtol=1e-13)
            for a, b in zip(jax.tree.leaves(gradients), jax.tree.leaves(own_gradients), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)

    def test_results_of_all_kinds(self, jax):
        f = jit(outputs).as_jax()
        x, y = jax.numpy.asarray(VECTOR), jax.numpy.asarray(2.0)
        out = f(x, y)
        assert out["name"] == "text" and out["n"] == np.argmax(VECTOR)
        jacobian = jax.jacrev(lambda x, y: f(x, y)["a"], argnums=(0, 1))(x, y)
        np.testing.assert_allclose(jacobian[0], 2 * np.eye(4), atol=0)
        np.testing.assert_allclose(jacobian[1], VECTOR, atol=0)
        np.testing.assert_allclose(jax.grad(lambda x: f(x, y)["s"])(x), np.full(4, 2.0), atol=0)

    def test_integers_have_no_gradient(self, jax):
        f = jit(lambda x, n: np.sum(x**n)).as_jax()
        found = jax.jit(jax.grad(f))(jax.numpy.asarray(VECTOR), jax.numpy.asarray(3))
        np.testing.assert_allclose(found, 3 * VECTOR**2, rtol=1e-13)

    def test_inside_other_operations_and_mapped(self, jax):
        f = grad(lambda x: np.sum(np.sin(x))).as_jax()
        found = jax.grad(lambda x: jax.numpy.sum(f(2 * x) ** 2))(jax.numpy.asarray(VECTOR))
        np.testing.assert_allclose(found, -4 * np.cos(2 * VECTOR) * np.sin(2 * VECTOR), rtol=1e-12)
        rows = jax.vmap(jax.grad(jit(lambda x: np.sum(x**3)).as_jax()))(jax.numpy.asarray(DATA))
        np.testing.assert_allclose(rows, 3 * DATA**2, rtol=1e-13)

    def test_loops_that_probing_values_would_not_end(self, jax):
        def grow(x):
            while np.sum(x) < 1e3:
                x = x * x
            return x[1:]

        x = jax.numpy.asarray([3.0, 4.0])
        f = jit(grow).as_jax()
        np.testing.assert_allclose(f(x), [4.0**8])
        np.testing.assert_allclose(jax.jit(jax.grad(lambda x: f(x)[0]))(x), [0.0, 8 * 4.0**7])

    def test_arguments_are_never_changed(self, jax):
        x = jax.numpy.asarray(VECTOR)
        np.testing.assert_array_equal(jit(smooth).as_jax()(x), smooth(VECTOR.copy()))
        np.testing.assert_array_equal(x, VECTOR)

    def test_shapes_that_depend_on_values(self, jax):
        def head(x, n):
            return x[:n]

        x, n = jax.numpy.asarray(VECTOR), jax.numpy.asarray(2)
        with pytest.raises(ArgumentError, match="result="):
            jit(head).as_jax()(x, n)
        told = jit(head).as_jax(result=jax.ShapeDtypeStruct((2,), np.float64))
        np.testing.assert_array_equal(told(x, n), VECTOR[:2])
        with pytest.raises(Exception, match="XLA was told"):
            jax.block_until_ready(told(x, jax.numpy.asarray(3)))

    def test_single_precision(self, jax):
        found = jax.grad(jit(lambda x: np.sum(np.sin(x))).as_jax())(jax.numpy.asarray(VECTOR, np.float32))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, np.cos(VECTOR), rtol=1e-6)


def test_static_arguments_are_refused():
    for name in ("as_torch", "as_jax"):
        with pytest.raises(ArgumentError, match="static arguments"):
            getattr(jit(model, static_argnames="power"), name)()
    value_and_grad(model)({"w": W, "b": B}, DATA)
