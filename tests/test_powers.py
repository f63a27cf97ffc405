"""Powers with small constant exponents are products, exact to a few last places and NumPy's at special values."""

from __future__ import annotations

import numpy as np
import pytest
from random_programs import load

from adjit import grad, jit

PRODUCTS = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, -1.0, -2.0, -3.0, -8.0, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5]
CALLS = [9.0, -9.0, 3.5, 0.3, -1.25]
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e300, 1e-300, -1e300, -1e-300, 5e-324]


@pytest.mark.parametrize("exponent", PRODUCTS + CALLS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_powers_are_numpys(exponent: float, dtype: type) -> None:
    function = jit(load(f"def program(x):\n    return x ** {exponent!r}\n"))
    numbers = np.random.default_rng(1)
    others = numbers.normal(size=500) * np.exp(numbers.normal(size=500))
    with np.errstate(all="ignore"):
        x = np.concatenate([SPECIAL, others]).astype(dtype)
        wanted = np.power(x, np.full(x.shape, exponent, dtype))
        found = function(x)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(np.copysign(1.0, found)[found == 0], np.copysign(1.0, wanted)[wanted == 0])
    np.testing.assert_allclose(found, wanted, rtol=(abs(exponent) + 1) * np.finfo(dtype).eps)
    assert ("pow" in function.ir("scheduled")) == (exponent in CALLS)


@pytest.mark.parametrize("exponent", [*PRODUCTS, *CALLS])
def test_derivatives_of_powers(exponent: float) -> None:
    function = grad(load(f"def program(x):\n    return np.sum(x ** {exponent!r})\n"))
    x = np.array([0.3, 1.0, 2.5])
    np.testing.assert_allclose(function(x), exponent * x ** (exponent - 1), rtol=1e-14)
