"""Machine code of kernels of many loops: without loop strength reduction, and what others compile with it."""

import numpy as np
import pytest
from llvmlite import binding

from adjit import grad
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
