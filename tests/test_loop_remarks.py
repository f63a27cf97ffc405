"""LLVM says nothing on the terminal: no loop is promised vectors that calls of other libraries in it forbid."""

import numpy as np
import pytest
from scipy import special

from adjit import grad, jit

X = np.array([[0.5, 1.5, 2.5], [1.0, 0.25, 3.0]])
FUNCTIONS = {
    "gammaln": special.gammaln,
    "j0": special.j0,
    "digamma": special.digamma,
    "erfinv": lambda x: special.erfinv(x / 9.0),
    "xlogy": lambda x: special.xlogy(x, x),
    "logaddexp": lambda x: np.logaddexp(x, 1.0 - x),
    "nextafter": lambda x: np.nextafter(x, 2.0),
    "ldexp": lambda x: np.ldexp(x, 2),
    "erf": special.erf,
    "power": lambda x: x**x,
    "arctan2": lambda x: np.arctan2(x, x + 1.0),
    "fmod": lambda x: np.fmod(x, 0.7),
}


@pytest.mark.daily(1)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_rows_of_exponentials_beside_other_functions(name, capfd):
    function = FUNCTIONS[name]

    def total(x):
        s = 0.0
        for i in range(len(x)):
            s += np.sum(function(x[i]) * np.exp(x[i]))
        return s

    def at_once(x):
        return np.sum(function(x) * np.exp(x))

    for f in (total, at_once):
        np.testing.assert_allclose(jit(f)(X), f(X), rtol=1e-13)
    slope = (at_once(X + 1e-6) - at_once(X - 1e-6)) / 2e-6
    np.testing.assert_allclose(np.sum(grad(total)(X)), slope, rtol=1e-7)
    np.testing.assert_allclose(grad(total)(X), grad(at_once)(X), rtol=1e-12)
    assert "remark" not in capfd.readouterr().err
