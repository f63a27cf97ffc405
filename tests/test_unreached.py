"""`UnreachedArgumentWarning`: for what the result does not depend on, once, where the user is; and not otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import adjit
from adjit import (
    UnreachedArgumentWarning,
    check_grads,
    custom_vjp,
    grad,
    hessian,
    hvp,
    jacobian,
    jit,
    jvp,
    stop_gradient,
    value_and_grad,
    vjp,
    vmap,
)

X = np.array([0.3, -1.2, 2.5])
ROOT = Path(adjit.__file__).resolve().parent


def warned(call) -> list[Any]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [w for w in caught if issubclass(w.category, UnreachedArgumentWarning)]


def model(p, x):
    assert p["scale"] > 0.0  # a check is no result
    return np.sum(p["w"] * x) * len(p["shape"])


P = {"w": X, "scale": 2.0, "shape": np.ones(4)}


def test_it_names_the_leaves_once_and_points_at_the_caller() -> None:
    f = grad(model)
    found = warned(lambda: [f(P, X), f(P, X), f(P, X)])
    assert len(found) == 1
    text = str(found[0].message)
    assert "the result of `model` does not depend on argument 0 (`p`)['scale'], argument 0 (`p`)['shape']" in text
    assert "def model(p, x):" in text and "^^^^" in text and "help:" in text
    assert Path(found[0].filename).name == "test_unreached.py"
    assert f(P, X)["scale"] == 0.0 and np.array_equal(f(P, X)["shape"], np.zeros(4))
    assert not warned(lambda: f(P, X.astype(np.float32)))  # it was said


def test_argnums_and_auxiliary_results() -> None:
    assert "argument 1 (`y`)" in str(warned(lambda: grad(lambda x, y: x, argnums=(0, 1))(1.0, 2.0))[0].message)
    assert not warned(lambda: grad(lambda x, y: x)(1.0, 2.0))
    assert warned(lambda: value_and_grad(lambda x: (1.5, x), has_aux=True)(1.0))
    assert not warned(lambda: value_and_grad(lambda x: (x, 1.5), has_aux=True)(1.0))

    def writes(x, y):
        y[0] = x
        return 2.0

    assert warned(lambda: grad(writes)(1.0, X))


def test_it_is_a_warning_like_others() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnreachedArgumentWarning)
        with pytest.raises(UnreachedArgumentWarning):
            grad(lambda x: 1.0)(2.0)
        warnings.simplefilter("ignore", UnreachedArgumentWarning)
        assert grad(lambda x: 1.0)(2.0) == 0.0


@custom_vjp
def constant(x):
    return x * x


constant.defvjp(lambda x: (x * x, None), lambda _, dy: (None,))


def linear(x):
    return np.sum(2.0 * x)


@pytest.mark.daily(1)
@pytest.mark.parametrize(
    "call",
    [
        lambda: hessian(linear)(X),
        lambda: hvp(linear, X, X),
        lambda: grad(grad(lambda x: 2.0 * x))(1.0),
        lambda: grad(lambda x: np.sum(grad(linear)(x)))(X),
        lambda: grad(lambda x: np.sum(jvp(linear, (x,), (X,))[1]))(X),
        lambda: jacobian(lambda x: np.ones(3))(X),
        lambda: vjp(lambda x, y: x, 1.0, 2.0)[1](1.0),
        lambda: vmap(grad(lambda x: 3.0))(X),
        lambda: jit(lambda x: grad(lambda y: 3.0)(x))(1.0),
        lambda: check_grads(lambda x, y: x * x, (1.0, 2.0)),
        lambda: grad(np.floor)(1.5),
        lambda: grad(lambda x: 1.0 if x > 0.0 else 2.0)(1.0),
        lambda: grad(lambda x: np.sum(np.argsort(x) * 1.0))(X),
        lambda: grad(lambda x: stop_gradient(x))(1.0),
        lambda: grad(lambda x: constant(x))(1.0),
        lambda: grad(lambda x: 0.0 * x)(1.0),
        lambda: grad(lambda p: p["w"] * 2.0)({"w": 1.0, "nothing": None}),
    ],
)
def test_no_false_alarms(call) -> None:
    assert not warned(call)


@pytest.mark.slow
def test_a_warm_start_warns_as_well(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text("from adjit import grad\n\ndef f(x, y):\n    return x\n\ngrad(f, argnums=1)(1.0, 2.0)\n")
    path = os.pathsep.join(p for p in (str(ROOT.parent), os.environ.get("PYTHONPATH", "")) if p)
    environment = {**os.environ, "PYTHONPATH": path, "ADJIT_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        run = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True)
        assert "script.py:6: UnreachedArgumentWarning: the result of `f` does not depend on argument 1" in run.stderr
