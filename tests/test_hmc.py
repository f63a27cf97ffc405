"""The Hamiltonian Monte Carlo example: the same chain as in NumPy with a gradient by hand, no Python inside."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

FILE = Path(__file__).resolve().parents[1] / "examples" / "hmc.py"
spec = importlib.util.spec_from_file_location("example_hmc", FILE)
assert spec is not None and spec.loader is not None
hmc = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hmc)


def by_hand(q, features, outcomes):
    z = features @ q
    value = 0.5 * q @ q + np.sum(np.logaddexp(0.0, z) - outcomes * z)
    return value, q + features.T @ (1 / (1 + np.exp(-z)) - outcomes)


def chain_by_numpy(q, features, outcomes, momenta, uniforms, step, count):
    chain, accepted = [], 0
    for momentum, uniform in zip(momenta, uniforms, strict=True):
        value, slope = by_hand(q, features, outcomes)
        new, p = q, momentum
        start = value + 0.5 * p @ p
        for _ in range(count):
            p = p - 0.5 * step * slope
            new = new + step * p
            value, slope = by_hand(new, features, outcomes)
            p = p - 0.5 * step * slope
        if np.log(uniform) < start - value - 0.5 * p @ p:
            q, accepted = new, accepted + 1
        chain.append(q)
    return np.array(chain), accepted


@pytest.mark.slow
def test_the_same_chain_as_numpy():
    features, outcomes, _ = hmc.problem()
    draws = np.random.default_rng(3)
    given = (np.zeros(3), features, outcomes, draws.normal(size=(60, 3)), draws.random(60), 0.1, 12)
    chain, accepted = hmc.sample(*given)
    expected, expected_accepted = chain_by_numpy(*given)
    np.testing.assert_allclose(chain, expected, rtol=0, atol=1e-9)
    assert accepted == expected_accepted > 20


def test_no_python_inside():
    hmc.main(samples=5)
    for function in (hmc.sample, hmc.leapfrog):
        assert len(function.signatures) == len(function.nopython_signatures) == 1
        assert "pyobject" not in str(function.nopython_signatures[0])


def test_the_posterior_is_near_the_truth():
    found = hmc.main()
    assert 0.6 < found["accepted"] <= 1.0
    assert np.all(np.abs(found["mean"] - found["true"]) < 4 * found["deviation"])
