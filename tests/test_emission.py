"""Machine code of kernels of many loops, or of rows of many places: without loop strength reduction, and what others
compile with it. Frames of kernels with rows of vectors are aligned."""

import numpy as np
import pytest
from llvmlite import binding

from adjit import grad, jit
from adjit.codegen import build
from adjit.codegen.llvm import emission as module
from adjit.codegen.llvm import passes
from adjit.codegen.llvm.emission import emission, without_strength_reduction
from adjit.ir.text import parse

ROW = """
define void @f(ptr noalias %x, ptr noalias %y, i64 %n, i64 %step) {
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %j, %loop ]
  %at = mul i64 %i, %step
  %p = getelementptr double, ptr %x, i64 %at
  %v = load double, ptr %p
  %q = getelementptr double, ptr %y, i64 %at
  store double %v, ptr %q
  %j = add i64 %i, 1
  %more = icmp slt i64 %j, %n
  br i1 %more, label %loop, label %out
out:
  ret void
}
"""


def code() -> str:
    target = binding.Target.from_triple(binding.get_process_triple())
    machine = target.create_target_machine(opt=3)
    return str(machine.emit_assembly(binding.parse_assembly(ROW)))


def test_the_switch_is_set_back():
    usual = code()
    with without_strength_reduction():
        assert code() != usual
    assert code() == usual
    with pytest.raises(KeyError), without_strength_reduction():
        raise KeyError
    assert code() == usual


def test_only_kernels_of_many_loops_go_without(monkeypatch):
    function = parse(
        """func @f(%x: f64, %n: i64) -> f64 {
          %y: f64 = for %i in (0, %n) (%s = 0.0) {
            %t: f64 = add %s, %x
            yield %t
          }
          return %y
        }"""
    )
    usual = code()
    with emission(function):
        assert code() == usual
    monkeypatch.setattr(module, "MANY", 1)
    with emission(function):
        assert code() != usual
    monkeypatch.setattr(module, "KNOWN", binding.llvm_version_info[0] - 1)
    with emission(function):
        assert code() == usual


def test_results_are_the_same_bits(monkeypatch):
    def diffuse(u, steps):
        for _ in range(steps):
            v = u.copy()
            u[1:-1, 1:-1] = v[1:-1, 1:-1] * 0.6 + 0.1 * (v[2:, 1:-1] + v[:-2, 1:-1] + v[1:-1, 2:] + v[1:-1, :-2])
            u[0] = u[1] * v[0]
        return np.sum(u * u)

    def small(u, steps):
        return diffuse(u, steps)

    def large(u, steps):
        return diffuse(u, steps)

    u = np.random.default_rng(0).normal(size=(13, 18))
    usual = grad(small)(u, 3)
    monkeypatch.setattr(passes, "LARGE", 1)
    monkeypatch.setattr(module, "MANY", 1)
    monkeypatch.setattr(build, "_load", lambda key: None)  # what the disk holds may be of another limit
    switched = []
    monkeypatch.setattr(
        module,
        "without_strength_reduction",
        lambda: switched.append(True) or without_strength_reduction(),
    )
    np.testing.assert_array_equal(grad(large)(u, 3), usual)
    assert switched


def cells(x, w, b):
    """Rows of elementary functions in a loop that has to be reversed."""
    h = np.zeros_like(x)
    c = np.zeros_like(x)
    for _ in range(5):
        forget = 1.0 / (1.0 + np.exp(-(w[0] * h + b[0] * x)))
        enter = 1.0 / (1.0 + np.exp(-(w[1] * h + b[1])))
        leave = 1.0 / (1.0 + np.exp(-(w[2] * h + b[2] * x)))
        c = c * forget + enter * np.tanh(w[3] * h + b[3])
        h = leave * np.tanh(c)
    return np.sum(h)


def test_rows_of_many_places_go_without(monkeypatch):
    """The adjoint's rows touch what was kept, the forward sweep's alone few places."""
    touched, switched = [], []
    counted = module.places
    monkeypatch.setattr(build, "_load", lambda key: None)
    monkeypatch.setattr(module, "places", lambda row: touched.append(counted(row)) or touched[-1])
    monkeypatch.setattr(
        module, "without_strength_reduction", lambda: switched.append(True) or without_strength_reduction()
    )
    x, (w, b) = np.linspace(-1.0, 1.0, 11), np.random.default_rng(1).normal(size=(2, 4, 11))
    value = jit(cells)(x, w, b)
    np.testing.assert_allclose(value, cells(x, w, b), rtol=1e-12)
    assert touched and max(touched) <= module.PLACES and not switched
    found = grad(cells, argnums=(1,))(x, w, b)
    assert max(touched) > module.PLACES and switched == [True]
    step = 1e-6 * np.random.default_rng(2).normal(size=w.shape)
    slope = (cells(x, w + step, b) - cells(x, w - step, b)) / 2
    np.testing.assert_allclose(np.sum(found[0] * step), slope, rtol=1e-6)


@pytest.mark.parametrize("aligned", [True, False])
def test_frames_of_kernels_with_rows_of_several_functions_are_aligned(aligned):
    def rows(x, n):
        total = 0.0
        for i in range(n):
            y = np.tanh(x[i]) if aligned else x[i] * 2.0
            total += np.sum(y * np.exp(x[i]))
        return total

    f = jit(rows)
    f(np.ones((3, 11)), 3)
    assert (f"alignstack={module.LINE}" in f.llvm()) == aligned
