"""Products move down to where they are needed, and no further than what they are made of is in memory."""

import numpy as np
import pytest
from differential import check_program

from adjit import grad, jit
from adjit.ir.passes import sink
from adjit.ir.text import parse

HEAD = "func @f(%x: f64[3,3], %y: f64[3,3]) -> (f64[3,3], f64[3,3]) {"


def names(text: str) -> list[str]:
    function = parse(f"{HEAD}\n{text}\n}}")
    return [op.results[0].name or "" if op.results else op.name for op in sink.run(function).body.ops]


def test_a_product_of_arguments_waits_for_its_user() -> None:
    text = """
      %a: f64[3,3] = matmul %x, %y
      %b: f64[3,3] = mul %x, 2.0
      %c: f64[3,3] = matmul %b, %y
      %d: f64[3,3] = mul %a, 2.0
      return %c, %d"""
    assert names(text) == ["b", "c", "a", "d", "return"]


def test_arguments_seen_otherwise_are_arguments() -> None:
    text = """
      %t: f64[3,3] = transpose %x {perm=(1, 0)}
      %a: f64[3,3] = matmul %t, %y
      %b: f64[3,3] = cumsum %x {axis=0}
      %d: f64[3,3] = mul %a, 2.0
      return %b, %d"""
    assert names(text) == ["t", "b", "a", "d", "return"]


def test_one_pass_over_arguments_for_a_result_comes_last() -> None:
    text = """
      %b: f64[3,3] = mul %x, 2.0
      %c: f64[3,3] = exp %x
      %s: f64[3,3] = exp %c
      %a: f64[3,3] = matmul %s, %y
      return %b, %a"""
    assert names(text) == ["c", "s", "a", "b", "return"]


def test_what_others_read_stays() -> None:
    text = """
      %b: f64[3,3] = mul %x, 2.0
      %a: f64[3,3] = matmul %b, %y
      return %b, %a"""
    assert names(text) == ["b", "a", "return"]


def test_other_operands_are_not_kept_longer() -> None:
    text = """
      %s: f64[3,3] = exp %x
      %a: f64[3,3] = matmul %s, %y
      %b: f64[3,3] = matmul %x, %y
      %c: f64[3,3] = mul %b, 3.0
      %d: f64[3,3] = mul %a, 2.0
      return %c, %d"""
    assert names(text) == ["s", "a", "b", "c", "d", "return"]


def test_another_reader_keeps_an_operand() -> None:
    text = """
      %s: f64[3,3] = exp %x
      %a: f64[3,3] = matmul %s, %y
      %b: f64[3,3] = matmul %y, %s
      %c: f64[3,3] = exp %y
      %d: f64[3,3] = mul %a, %c
      return %b, %d"""
    assert names(text) == ["s", "b", "a", "c", "d", "return"]


def test_a_product_comes_before_its_operand_is_overwritten() -> None:
    text = """
      %s: f64[3,3] = exp %x
      %a: f64[3,3] = matmul %s, %y
      %u: f64[3,3] = update %s, 1.0, 0, 0 {spec="ii"}
      %d: f64[3,3] = mul %a, 2.0
      return %u, %d"""
    assert names(text) == ["s", "a", "u", "d", "return"]


def test_nothing_to_move_is_the_same_function() -> None:
    function = parse(f"{HEAD}\n%a: f64[3,3] = matmul %x, %y\n%d: f64[3,3] = mul %a, 2.0\nreturn %a, %d\n}}")
    assert sink.run(function) is function


def chain(x, y, w):  # two products of what two others use
    a = np.sin(x) @ y
    b = (2.0 * a) @ w
    return np.sum(b * b) + np.sum(a[0])


def written(x, y, w):
    a = x @ y
    a[0] = w[0]
    b = a.reshape(4, 2, 2)[1] @ w[:2]
    return np.sum(np.reshape(x, (2, 8)) @ np.reshape(y, (8, 2))) + np.sum(b * b)


@pytest.mark.parametrize(("program", "shapes"), [(chain, ((3, 4), (4, 2), (2, 5))), (written, ((4, 4),) * 3)])
def test_derivatives(program, shapes) -> None:
    rng = np.random.default_rng(3)
    check_program(program, [tuple(rng.standard_normal(shape) for shape in shapes)], argnums=(0, 1, 2))


class TestReshapedArguments:
    """An argument seen in another shape is its own memory: never written, never given away."""

    def test_a_reshaped_argument_is_returned_as_a_copy(self) -> None:
        x = np.arange(6.0)
        out = jit(lambda x: x.reshape(2, 3))(x)
        out[0, 0] = 9.0
        assert x[0] == 0.0

    def test_a_reshaped_argument_is_written_as_a_copy(self) -> None:
        def f(x):
            y = np.copy(np.reshape(x, (2, 3)))
            y[0] = 7.0
            return y, np.reshape(x, (3, 2))

        x = np.arange(6.0)
        y, z = jit(f)(x)
        np.testing.assert_array_equal(x, np.arange(6.0))
        np.testing.assert_array_equal(y, [[7.0, 7.0, 7.0], [3.0, 4.0, 5.0]])
        np.testing.assert_array_equal(z, np.arange(6.0).reshape(3, 2))

    @pytest.mark.parametrize("order", ["C", "F", "strided"])
    def test_any_layout(self, order: str) -> None:
        x = np.arange(24.0).reshape(4, 6)
        given = np.asfortranarray(x) if order == "F" else np.repeat(x, 2, axis=1)[:, ::2] if order == "strided" else x

        def f(x):
            y = np.reshape(x, (8, 3))
            return np.sum(y * y * np.arange(3.0))

        np.testing.assert_allclose(grad(f)(given), (2 * x.reshape(8, 3) * np.arange(3.0)).reshape(4, 6))

    @pytest.mark.parametrize("n", [4, 128])  # large memory comes from the pool, and goes back to it
    def test_a_result_in_another_shape_owns_its_memory(self, n: int) -> None:
        def f(x):
            return np.reshape(x @ x, (2, n // 2, n)), np.reshape(2.0 * x, (n * n,)), np.reshape(np.exp(x), (-1, 2))

        x = np.linspace(-1.0, 1.0, n * n).reshape(n, n)
        run = jit(f)
        first = [np.array(v) for v in run(x)]
        kept = run(x)
        for _ in range(3):
            run(x + 1.0)
        for a, b in zip(first, kept, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(kept[0], (x @ x).reshape(2, n // 2, n), rtol=1e-12, atol=1e-12)

    def test_one_value_in_two_shapes(self) -> None:
        def f(x):
            y = np.exp(x)
            return np.reshape(y, (2, 3)), np.reshape(y, (3, 2)), y

        x = np.arange(6.0)
        a, b, c = jit(f)(x)
        a[:] = 0.0
        np.testing.assert_array_equal(b.ravel(), np.exp(x))
        np.testing.assert_array_equal(c, np.exp(x))
