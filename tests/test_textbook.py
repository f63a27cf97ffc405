"""The textbook's programs (parts A1-A6, C, D) give the values the textbook lists, and their files run."""

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from adjit import grad, jit, stop_gradient, value_and_grad, vjp
from programs import named

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "textbook"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))


def example(name: str) -> ModuleType:
    """The example of that name, imported from its file."""
    key = f"textbook_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, FOLDER / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[key] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[key]


X = np.arange(4.0)


class TestFirstChapter:
    """A: gradients, cotangents, detaching, control flow."""

    def test_a1_gradient_of_a_scalar(self) -> None:
        a1 = example("a1_gradient")
        value, gradient = value_and_grad(a1.y)(X)
        assert value == 28.0
        np.testing.assert_array_equal(gradient, [0.0, 4.0, 8.0, 12.0])
        assert (gradient == 4 * X).all()
        np.testing.assert_array_equal(grad(a1.total)(X), np.ones(4))

    def test_a1_nothing_accumulates(self) -> None:
        gradient = grad(example("a1_gradient").y)
        first = gradient(X)
        kept = first.copy()
        second = gradient(X)
        np.testing.assert_array_equal(first, kept)
        np.testing.assert_array_equal(second, kept)
        np.testing.assert_array_equal(X, np.arange(4.0))

    def test_a2_cotangent_of_ones(self) -> None:
        a2 = example("a2_not_a_scalar")
        value, pullback = vjp(a2.square, X)
        np.testing.assert_array_equal(value, X * X)
        (gradient,) = pullback(np.ones(4))
        np.testing.assert_array_equal(gradient, [0.0, 2.0, 4.0, 6.0])
        np.testing.assert_array_equal(grad(a2.sum_of_squares)(X), [0.0, 2.0, 4.0, 6.0])

    def test_a2_other_cotangents_of_one_pullback(self) -> None:
        _, pullback = vjp(example("a2_not_a_scalar").square, X)
        (doubled,) = pullback(2 * np.ones(4))
        (single,) = pullback(np.array([0.0, 0.0, 1.0, 0.0]))
        np.testing.assert_array_equal(doubled, 4 * X)
        np.testing.assert_array_equal(single, [0.0, 0.0, 4.0, 0.0])

    def test_a2_array_result_is_refused(self) -> None:
        import adjit

        with pytest.raises(adjit.AdjitError) as refused:
            grad(example("a2_not_a_scalar").square)(X)
        text = str(refused.value)
        assert "(4,)" in text or "[4]" in text, "the message names the shape"
        for way_out in ("sum", "vjp", "jacobian"):
            assert way_out in text

    def test_a3_detached(self) -> None:
        a3 = example("a3_detach")
        np.testing.assert_array_equal(grad(a3.detached)(X), X * X)
        np.testing.assert_array_equal(grad(a3.attached)(X), 2 * X)

    def test_a3_stop_gradient_is_the_identity_of_values(self) -> None:
        np.testing.assert_array_equal(stop_gradient(X), X)
        assert jit(example("a3_detach").detached)(X) == np.sum(X**3)

    def test_a4_scalars(self) -> None:
        a4 = example("a4_control_flow")
        derivative = value_and_grad(a4.f)
        for a in (*a4.SCALARS, *np.random.default_rng(0).normal(scale=30, size=50).tolist()):
            value, gradient = derivative(a)
            assert value == a4.f(a)
            assert gradient == pytest.approx(a4.f(a) / a, rel=1e-15)

    def test_a4_vector_and_matrix(self) -> None:
        a4 = example("a4_control_flow")
        for a in (a4.VECTOR, -a4.VECTOR, a4.MATRIX, -a4.MATRIX, 1e-3 * a4.MATRIX):
            value, pullback = vjp(a4.f, a)
            np.testing.assert_array_equal(value, a4.f(a))
            (gradient,) = pullback(np.ones_like(a))
            np.testing.assert_allclose(gradient, value / a, rtol=1e-15)

    def test_a4_negative_sum_and_eight_further_doublings(self) -> None:
        a4 = example("a4_control_flow")
        assert a4.VECTOR.sum() < 0
        _, pullback = vjp(a4.f, a4.VECTOR)
        np.testing.assert_array_equal(pullback(np.ones(4))[0], np.full(4, 51200.0))

    def test_a5_derivative_equals_the_value(self) -> None:
        a5 = example("a5_exponential_loop")
        for a in (-3.0, -0.1, 0.0, 0.5, 4.0, 4.7, 6.0):
            value, derivative = value_and_grad(a5.f)(a)
            assert value == pytest.approx(a5.f(a), rel=1e-15)
            assert derivative == pytest.approx(value, rel=1e-14)
        a = np.array([0.5, -1.0, 2.0])
        value, pullback = vjp(a5.f, a)
        np.testing.assert_allclose(value, a5.f(a), rtol=1e-15)
        np.testing.assert_allclose(pullback(np.ones(3))[0], value, rtol=1e-14)

    def test_a6_derivative_of_the_sine(self) -> None:
        x = np.arange(-10, 10, 0.1)
        gradient = grad(example("a6_sine").total_sine)(x)
        # an ulp of the cosine's scale, which is 1
        assert np.max(np.abs(gradient - np.cos(x))) <= 2 * np.finfo(float).eps
        np.testing.assert_allclose(gradient, np.cos(x), rtol=1e-12)

    @pytest.mark.parametrize(
        "name", ["doubling_scalar", "doubling_then_branch", "doubling_matrix", "tripling_exponential"]
    )
    def test_control_flow_returning_a_sum(self, name: str) -> None:
        program = named(name)
        for args in program.calls():
            value, gradient = value_and_grad(program.function)(*args)
            assert value == pytest.approx(program.function(*args), rel=1e-15)
            if name == "tripling_exponential":
                factor = program.function(*args) / np.sum(np.exp(args[0]))
                np.testing.assert_allclose(gradient, factor * np.exp(args[0]), rtol=1e-14)
            else:
                factor = program.function(*args) / np.sum(args[0])
                np.testing.assert_allclose(gradient, factor * np.ones_like(args[0]), rtol=1e-14)


class TestReverseModeFromScratch:
    """C: formulas of scalars, and one linear layer."""

    EXPECTED = {  # noqa: RUF012
        "product": (28.0, (11.0, 4.0)),
        "rational": (None, (-153284.83150602411, 3815.0389441500993)),
        "transcendental": (None, (60.85353612046653, 872.2331479536114, -3.2853671032530305)),
    }

    @pytest.mark.parametrize("name", EXPECTED)
    def test_formula(self, name: str) -> None:
        c = example("c_scalar_formulas")
        f, args = next((f, args) for f, args in c.CASES if f.__name__ == name)
        value, gradient = value_and_grad(f, argnums=tuple(range(len(args))))(*args)
        expected_value, expected = self.EXPECTED[name]
        assert value == pytest.approx(f(*args), rel=1e-14)
        assert expected_value is None or value == expected_value
        assert isinstance(gradient, tuple)
        assert gradient == pytest.approx(expected, rel=1e-12)
        assert gradient == pytest.approx(c.complex_steps(f, args), rel=1e-12)
        assert gradient == pytest.approx(c.difference_quotients(f, args), rel=1e-3)

    @pytest.mark.parametrize("name", ["loss_loops", "loss_arrays"])
    def test_linear_layer(self, name: str) -> None:
        c = example("c_linear_layer")
        history = c.train(getattr(c, name))
        assert len(history) == 100
        assert history[0] == pytest.approx(1711.1598338302545, rel=1e-12)
        assert history[1] == pytest.approx(1589.0079167896924, rel=1e-12)
        assert history[99] == pytest.approx(1.119446761827309, rel=1e-12)


class TestComputationGraph:
    """D: the values of a small graph."""

    @pytest.mark.parametrize("name", ["in_one_line", "with_intermediate_names"])
    def test_value_and_partial_derivatives(self, name: str) -> None:
        f = getattr(example("d_graph_drawn"), name)
        assert value_and_grad(f, argnums=(0, 1))(2.0, -4.0) == (-12.0, (-12.0, 0.0))
        assert grad(f)(2.0, -4.0) == -12.0
        assert grad(f, argnums=1)(2.0, -4.0) == 0.0

    @pytest.mark.parametrize("name", ["in_one_line", "with_intermediate_names"])
    def test_both_walks_over_the_drawn_graph(self, name: str) -> None:
        d = example("d_graph_drawn")
        nodes, edges = d.graph_of(getattr(d, name), 2.0, -4.0)
        assert nodes[-1][1] == -12.0
        assert d.forwards(nodes, edges, 0)[-1] == -12.0 and d.forwards(nodes, edges, 1)[-1] == 0.0
        assert d.backwards(nodes, edges)[:2] == [-12.0, 0.0]


SHOWN = {
    "a1_gradient": ["28.0", "[ 0.  4.  8. 12.]", "[1. 1. 1. 1.]"],
    "a2_not_a_scalar": ["[0. 2. 4. 6.]", "vjp"],
    "a3_detach": ["[0. 1. 4. 9.]", "[0. 2. 4. 6.]"],
    "a4_control_flow": ["51200.0"],
    "a5_exponential_loop": ["derivative"],
    "a6_sine": ["a6_sine.png"],
    "c_scalar_formulas": ["28.0", "-153284.8315060241", "60.8535361204665"],
    "c_linear_layer": ["1711.159833830", "1589.007916789", "1.1194467618"],
    "d_graph_drawn": ["f = -12.0, df/dx = -12.0, df/dy = 0.0"],
    "a7_second_derivatives": ["order 0:", "order 3:", "x the gradient"],
    "b1_paused": ["(4.0, 0.0)", "y does not reach the result"],
    "b2_clipped_gradient": ["gradient 2.0"],
    "b3_two_derivatives": ["df/dx0 = 1.0", "df/dx1 = 0.25"],
    "b4_higher_order": ["3.0 6.0 6.0"],
    "b5_input_gradient": ["(5, 10)", "(10,)"],
    "b6_jacobians": ["(201,)", "(7, 10, 5, 10)"],
    "b7_hessian": ["(5, 8, 5, 8)"],
    "b8_batch_jacobian": ["(7, 6, 5)", "(7, 6, 7, 5)"],
}


class TestAdvancedGuide:
    """A7 and B: pausing, rules, higher orders, Jacobians and Hessians."""

    @pytest.mark.slow
    def test_a7_programs_grow_with_the_order(self) -> None:
        found = example("a7_second_derivatives").main(quick=True)
        counts = list(found["counts"].values()) if isinstance(found["counts"], dict) else list(found["counts"])
        assert counts == sorted(counts) and counts[2] > 2 * counts[1]

    def test_b1_paused(self) -> None:
        b1 = example("b1_paused")
        for program in (b1.paused_block, b1.paused_value):
            gradient = grad(program, argnums=(0, 1))
            assert gradient(2.0, 3.0) == (4.0, 0.0)
            assert "y does not reach the result" in gradient.explain()
        assert grad(b1.of_a_dict)({"x": 2.0, "y": 3.0}) == {"x": 4.0, "y": 3.0}

    def test_b2_clipped_gradient(self) -> None:
        b2 = example("b2_clipped_gradient")
        assert grad(b2.clipped)(2.0) == 2.0
        v = np.array([3.0, 4.0])
        np.testing.assert_allclose(grad(b2.clipped_sum)(v), 2 * v * 0.5 / np.sqrt(2), rtol=1e-14)

    def test_b3_b4_values(self) -> None:
        assert example("b4_higher_order").main() == (3.0, 6.0, 6.0)

    def test_b5_input_gradient(self) -> None:
        b5 = example("b5_input_gradient")
        value, by_kernel, by_bias = b5.main()
        assert by_kernel.shape == (5, 10) and by_bias.shape == (10,)
        x, kernel, bias = b5.data()
        step, along = 1e-6, np.cos(np.arange(50.0)).reshape(5, 10)

        def at(h: float) -> float:
            pre = x @ (kernel + h * along) + bias
            hidden = np.maximum(pre, 0.0)
            return float(np.linalg.norm((2 * hidden * (pre > 0)) @ (kernel + h * along).T))

        assert value == pytest.approx(at(0.0), rel=1e-12)
        assert np.sum(by_kernel * along) == pytest.approx((at(step) - at(-step)) / (2 * step), rel=1e-6)

    def test_b6_jacobians(self, tmp_path: Path) -> None:
        x, derivative, by_kernel, summed, gradient = example("b6_jacobians").main(tmp_path)
        np.testing.assert_allclose(derivative, 1 / ((1 + np.exp(-x)) * (1 + np.exp(x))), rtol=1e-13)
        assert by_kernel.shape == (7, 10, 5, 10)
        np.testing.assert_allclose(summed, gradient, rtol=1e-12)

    def test_b7_hessian(self, tmp_path: Path) -> None:
        H, before, after, blocks = example("b7_hessian").main(tmp_path)
        assert H.shape == (5, 8, 5, 8)
        np.testing.assert_allclose(H, H.transpose(2, 3, 0, 1), rtol=1e-12, atol=1e-12)
        assert after < before
        assert np.shape(blocks["W1"]["b2"]) == (5, 8, 6)

    def test_b8_batch_jacobian(self, tmp_path: Path) -> None:
        each, full, coupled = example("b8_batch_jacobian").main(tmp_path)
        assert each.shape == (7, 6, 5) and full.shape == (7, 6, 7, 5)
        for k in range(7):
            np.testing.assert_allclose(each[k], full[k, :, k], rtol=1e-13)
        others = ~np.eye(7, dtype=bool)
        assert not np.any(full.transpose(0, 2, 1, 3)[others])
        assert np.any(coupled.transpose(0, 2, 1, 3)[others])


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_runs_and_prints(name: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main = example(name).main
    draws = "out" in main.__code__.co_varnames[: main.__code__.co_argcount]
    if draws:
        pytest.importorskip("matplotlib")
        main(tmp_path)
        assert list(tmp_path.glob("*.png"))
    else:
        main()
    printed = capsys.readouterr().out
    for text in SHOWN[name]:
        assert text in printed


def test_values_of_the_linear_layer_in_plain_numpy() -> None:
    """The textbook's own numbers, by the gradient written out: the reference of the tests above."""
    c = example("c_linear_layer")
    x, y, W = c.data()
    history = []
    for _ in range(100):
        history.append(float(c.loss_arrays(W, x, y)))
        W -= 0.001 * -2 * np.outer(x, y - x @ W)
    assert math.isclose(history[0], 1711.1598338302545, rel_tol=1e-12)
    assert math.isclose(history[1], 1589.0079167896924, rel_tol=1e-12)
    assert math.isclose(history[99], 1.119446761827309, rel_tol=1e-12)
