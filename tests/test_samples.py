"""Large extents that fit together: what a slice leaves out is found whatever names its extents go by."""

from __future__ import annotations

import numpy as np
import pytest

import adjit
from adjit.codegen.lower.samples import SAMPLES, samples_of
from adjit.codegen.lower.slice_sums import assemble_slices
from adjit.ir.core import walk
from adjit.ir.text import parse

FITTING = """func @f(%x: f64[?], %y: f64[?], %z: f64[?]) -> i64 {
  %n: i64 = dim %x {axis=0}
  %m: i64 = dim %y {axis=0}
  %k: i64 = dim %z {axis=0}
  %low: i64 = sub %n, 2
  %e: i64 = same_extent %low, %m {what="sizes"}
  %high: i64 = add %m, 3
  %g: i64 = same_extent %high, %k {what="sizes"}
  return %e
}"""


def extents(text: str) -> dict[str, int]:
    function = parse(text)
    samples = samples_of(function)
    return {
        str(op.operands[0].name): samples.number(op.result, SAMPLES[0]) or 0
        for op in walk(function.body)
        if op.name == "dim"
    }


def test_checks_hold_of_the_samples() -> None:
    found = extents(FITTING)
    assert found["x"] - 2 == found["y"]
    assert found["y"] + 3 == found["z"]
    assert all(abs(n - SAMPLES[0]) <= 5 for n in found.values())


def test_slices_that_are_cut_short() -> None:
    """`x[2 : m + 4]` and `x[: m + 2]` are as long as each other only if x has m + 4 elements, or more."""
    found = extents("""func @f(%x: f64[?], %y: f64[?]) -> i64 {
      %n: i64 = dim %x {axis=0}
      %m: i64 = dim %y {axis=0}
      %a: i64 = add %m, 4
      %b: i64 = minimum %a, %n
      %c: i64 = sub %b, 2
      %d: i64 = add %m, 2
      %e: i64 = minimum %d, %n
      %f: i64 = same_extent %c, %e {what="sizes"}
      return %f
    }""")
    assert found["x"] >= found["y"] + 4


def test_checks_that_never_hold_end() -> None:
    found = extents("""func @f(%x: f64[?]) -> i64 {
      %n: i64 = dim %x {axis=0}
      %m: i64 = add %n, 1
      %f: i64 = same_extent %m, %n {what="sizes"}
      return %f
    }""")
    assert found == {"x": SAMPLES[0]}


def fluxes(x: np.ndarray, c: np.ndarray) -> float:
    rows, columns = c.shape
    middle = 4.0 * x[1 : rows + 3, 1 : columns + 3] - (
        x[2 : rows + 4, 1 : columns + 3]
        + x[: rows + 2, 1 : columns + 3]
        + x[1 : rows + 3, 2 : columns + 4]
        + x[1 : rows + 3, : columns + 2]
    )
    down = middle[1:, 1 : columns + 1] - middle[:-1, 1 : columns + 1]
    right = middle[1 : rows + 1, 1:] - middle[1 : rows + 1, :-1]
    inner = x[2 : rows + 2, 2 : columns + 2] - c * (down[1:] - down[:-1] + right[:, 1:] - right[:, :-1])
    return np.sum(inner * inner)


@pytest.mark.daily(1)
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (7, 3), (20, 30)])
def test_fluxes_between_fluxes(shape: tuple[int, int]) -> None:
    """Sizes are those of the coefficients; all that is added to one array is one nest, whatever they go by."""
    draw = np.random.default_rng(3)
    x, c = draw.normal(size=(shape[0] + 4, shape[1] + 4)), draw.normal(size=shape)
    gradient = adjit.grad(fluxes, argnums=(0, 1))
    for found, wanted in zip(gradient(x, c), numerically(x, c), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-7, atol=1e-7)
    found = [op for op in walk(assemble_slices(parse(gradient.ir("adjoint"))).body) if op.name == "assemble"]
    if min(shape) > 1:  # extents of 1 belong to the signature: other additions remain
        assert [len(op.attrs["specs"]) for op in found] == [2, 2, 4, 6]


def numerically(x: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
    out = []
    for array in (x, c):
        slope = np.zeros_like(array)
        for at in np.ndindex(array.shape):
            kept = array[at]
            array[at] = kept + 1e-2
            above = fluxes(x, c)
            array[at] = kept - 1e-2
            slope[at] = (above - fluxes(x, c)) / 2e-2
            array[at] = kept
        out.append(slope)
    return out
