"""The examples run from end to end, draw their pictures, and do what they say."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "examples"
ELSEWHERE = {"hmc", "sir_influenza"}  # test_hmc.py, test_demo.py; the textbook's: test_textbook.py
CHECKED = {
    "bouncing_ball",
    "bundle_adjustment",
    "digits_cnn",
    "heat_inverse",
    "newton_cg",
    "optimal_control",
    "soft_ranking",
}


def example(name: str) -> ModuleType:
    """The example of that name, imported from its file."""
    key = f"example_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, FOLDER / f"{name}.py")
        assert spec is not None and spec.loader is not None
        sys.modules[key] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[key]


def pictures(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.png") if path.read_bytes().startswith(b"\x89PNG")]


def test_others_run(tmp_path: Path) -> None:
    """Examples that nothing here knows yet."""
    for name in sorted({path.stem for path in FOLDER.glob("*.py")} - ELSEWHERE - CHECKED):
        done = subprocess.run([sys.executable, FOLDER / f"{name}.py"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout
    assert {path.stem for path in FOLDER.glob("*.py")} >= ELSEWHERE | CHECKED


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_it_says_what_it_shows(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "What it shows: " in text or path.stem == "sir_influenza"
    assert f"python examples/{path.name}" in text
    assert path.name in (FOLDER.parent / "docs" / "examples.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_newton_cg(tmp_path: Path) -> None:
    results = example("newton_cg").main(tmp_path, n=200)
    newton = results.pop("Newton-CG")
    assert newton.success and newton.fun < 1e-20 and newton.calls["products"] > newton.nit
    np.testing.assert_allclose(newton.x, np.ones(200), atol=1e-8)
    assert min(r.nit for name, r in results.items() if "Newton" not in name) > 2 * newton.nit
    assert pictures(tmp_path)


def test_products_of_the_hessian() -> None:
    newton_cg = example("newton_cg")
    x, v = newton_cg.start(6) + 0.1, np.linspace(-1.0, 1.0, 6)
    hessian = np.zeros((6, 6))
    for i in range(5):  # by hand
        hessian[i, i] += 1200 * x[i] ** 2 - 400 * x[i + 1] + 2
        hessian[i + 1, i + 1] += 200
        hessian[i, i + 1] -= 400 * x[i]
        hessian[i + 1, i] -= 400 * x[i]
    np.testing.assert_allclose(newton_cg.product(x, v), hessian @ v, rtol=1e-12)


@pytest.mark.slow
def test_bouncing_ball(tmp_path: Path) -> None:
    ball = example("bouncing_ball")
    found = ball.main(tmp_path)
    np.testing.assert_allclose(found["gradient"], found["quotient"], rtol=1e-5)
    assert found["fit"].success
    assert np.all(np.abs(found["fit"].x - ball.TRUTH) < 4 * found["deviations"])
    assert 0.5 < 2 * found["fit"].cost / (240 * ball.NOISE**2) < 1.5  # what is left is the noise
    assert pictures(tmp_path)


@pytest.mark.slow
def test_optimal_control(tmp_path: Path) -> None:
    found = example("optimal_control").main(tmp_path, iterations=15)
    assert found["same"]
    assert found["best"] < 0.8 * found["free"]
    if found["growth"] is not None:
        assert found["growth"] < 3e6
        assert found["growth_kept"] > found["growth"] + 1e7
    assert pictures(tmp_path)


def test_a_budget_that_is_too_small_is_refused() -> None:
    control = example("optimal_control")
    from adjit import checkpoint, grad

    def f(push, steps):
        x, v = np.zeros(control.MASSES), np.zeros(control.MASSES)
        for _ in checkpoint(range(steps), memory="1KB"):
            v += 0.01 * control.forces(x)
            v[0] += push
            x += 0.01 * v
        return control.energy(x, v)

    with pytest.raises(ValueError, match=r"memory|snapshots|bytes"):
        grad(f)(0.1, 100_000)


def test_soft_ranking(tmp_path: Path) -> None:
    ranking = example("soft_ranking")
    correlations, weights = ranking.main(tmp_path)
    assert correlations["ranks"] > 0.97 > correlations["squares"] + 0.05
    np.testing.assert_allclose(weights / weights[0], [1.0, -2.0, 0.5, 0.25], atol=0.2)
    assert pictures(tmp_path)


def test_soft_ranks_are_ranks_where_values_are_far_apart() -> None:
    ranking = example("soft_ranking")
    values = np.array([3.0, -1.0, 7.0, 0.5, 5.0])
    np.testing.assert_allclose(ranking.soft_ranks(values, 0.02), [2.0, 0.0, 4.0, 1.0, 3.0], atol=1e-9)
    slope = ranking.disagreement
    features, scores = ranking.problem(8, seed=3)
    ranks = np.argsort(np.argsort(scores)).astype(np.float64)
    from adjit import grad

    weights = np.array([0.3, -0.2, 0.5, 0.1])
    found = grad(slope)(weights, features, ranks, 0.3)
    steps = 1e-6 * np.eye(4)
    ahead = [slope(weights + h, features, ranks, 0.3) - slope(weights - h, features, ranks, 0.3) for h in steps]
    np.testing.assert_allclose(found, np.array(ahead) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_heat_inverse(tmp_path: Path) -> None:
    found = example("heat_inverse").main(tmp_path)
    assert found["slope"] == pytest.approx(found["quotient"], rel=1e-6)
    assert found["after"] < 1e-3 * found["before"]
    assert found["error"].mean() < 0.2 * found["off"]
    assert pictures(tmp_path)


def test_bundle_adjustment(tmp_path: Path) -> None:
    found = example("bundle_adjustment").main(tmp_path, cameras=8, points=60)
    assert found["same"]
    rows, columns = found["shape"]
    assert columns == 8 * 9 + 60 * 3 and found["nnz"] == 12 * rows
    assert found["before"] > 2.0 > 0.5 > found["after"]
    assert pictures(tmp_path)


def test_bundle_adjustments_jacobian() -> None:
    bundle = example("bundle_adjustment")
    start, data = bundle.problem(4, 12, seed=2)
    matrix = bundle.derivative(start, *data).toarray()
    for column in (0, 4, 6, 7, 20, 36, 40, 71):
        h = np.zeros(len(start))
        h[column] = 1e-6 * max(1.0, abs(start[column]))
        quotient = (bundle.run(start + h, *data) - bundle.run(start - h, *data)) / (2 * h[column])
        np.testing.assert_allclose(matrix[:, column], quotient, rtol=1e-5, atol=1e-5)


def test_digits(tmp_path: Path) -> None:
    network, losses, (trained, others) = example("digits_cnn").main(tmp_path)
    assert others > 0.97 and trained > 0.99
    assert losses[-1] < 0.01 * losses[0] and set(network) == set(example("digits_cnn").untrained())
    assert pictures(tmp_path)
