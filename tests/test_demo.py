"""`make demo`: the epidemic fit reaches the known least-squares solution and writes what it names."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[1] / "examples" / "sir_influenza.py"


@pytest.fixture(scope="module")
def demo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sir_influenza", PATH)
    assert spec is not None and spec.loader is not None
    sys.modules["sir_influenza"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rates", [(1.0, 0.3), (1.6932, 0.4509), (3.0, 1.5), (0.2, 0.9)])
def test_gradient_through_the_adaptive_integrator(demo: ModuleType, rates: tuple[float, float]) -> None:
    x = np.array([*rates, 3.0])
    value, (by_rates, by_cases) = demo.value_and_grad(demo.misfit, argnums=(0, 1))(x[:2], 3.0, demo.IN_BED)
    exact = demo.complex_step(lambda x: demo.misfit(x[:2], x[2], demo.IN_BED), x)
    assert value == pytest.approx(demo.misfit(rates, 3.0, demo.IN_BED), rel=1e-12)
    np.testing.assert_allclose(np.append(by_rates, by_cases), exact, rtol=1e-9, atol=1e-9 * np.abs(exact).max())


def test_a_step_that_is_too_long_is_rejected(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attempt evaluates the model three times; a first step that is too long costs further attempts."""
    evaluations = 0
    plain = demo.rates_of_change

    def counted(*args: float) -> object:
        nonlocal evaluations
        evaluations += 1
        return plain(*args)

    def attempts(first_step: float) -> int:
        nonlocal evaluations
        evaluations = 0
        demo.advance(460.0, 221.0, first_step, 1.7, 0.45, 1.0)
        assert evaluations % 3 == 1
        return evaluations // 3

    monkeypatch.setattr(demo, "rates_of_change", counted)
    _, _, settled = demo.advance(460.0, 221.0, 0.01, 1.7, 0.45, 1.0)
    assert 1 < attempts(settled) < attempts(1.0)


def test_the_whole_job(demo: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    rates_only, everything = demo.main(tmp_path)
    beta, gamma = rates_only.x
    assert beta == pytest.approx(1.6932, abs=5e-5)
    assert gamma == pytest.approx(0.4509, abs=5e-5)
    assert beta / gamma == pytest.approx(3.755, abs=5e-4)
    assert rates_only.fun == pytest.approx(3901.2, abs=0.05)
    assert everything.x[0] / everything.x[1] == pytest.approx(3.85, abs=5e-3)
    assert everything.fun < rates_only.fun
    printed = capsys.readouterr().out
    for text in ("beta = 1.6932", "gamma = 0.4509", "R0 = 3.755", "3901.2", "R0 = 3.85", str(tmp_path)):
        assert text in printed
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {
        "fit.png",
        "1_traced.txt",
        "2_optimized.txt",
        "3_adjoint.txt",
        "4_scheduled.txt",
        "5_kernel.py",
    }
    assert all(path.stat().st_size > 200 for path in tmp_path.iterdir())
