"""What is stored is dropped only where no name of the buffer is read afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from adjit.codegen.lower.forwarding import forward
from adjit.codegen.scheduled import run
from adjit.ir.text import parse, to_text
from adjit.ir.verify import verify

PROGRAM = """func @f(%x: &f64[?]) -> (f64, f64) {{
  %n: i64 = buffer.dim %x {{axis=0}}
  %t: &f64[?] = buffer.alloc %n {{dtype=f64}}
  {early}
  for %i in (0, %n) {{
    %u: f64 = buffer.load %x, %i
    %v: f64 = mul %u, %u
    buffer.store %v, %t, %i
    yield
  }}
  {named}
  for %j in (0, %n) {{
    buffer.store 7.0, {stored}, %j
    yield
  }}
  %a: f64 = buffer.load %t, 1
  for %k in (0, %n) {{
    buffer.store 8.0, {stored}, %k
    yield
  }}
  {late}
  return %a, %b
}}"""
MATRIX = "%r: &f64[?,?] = buffer.reshape %t, 1, %n"
GROWN = '%r: &f64[?] = buffer.call %t, 0, 1 {kernel="tape_reserve"}'
USUAL = {"early": "", "named": "", "stored": "%t", "late": "%b: f64 = buffer.load %t, 0"}
CASES = {
    "its own name": {},
    "another shape, made before": {"early": MATRIX, "late": "%b: f64 = buffer.load %r, 0, 0"},
    "another shape, made between": {"named": MATRIX, "late": "%b: f64 = buffer.load %r, 0, 0"},
    "another shape, given to a library kernel": {
        "early": f"{MATRIX}\n  %m: &f64[?,?] = buffer.alloc 1, 1 {{dtype=f64}}",
        "late": 'buffer.call %m, %r, %r {kernel="matmul_nt"}\n  %b: f64 = buffer.load %m, 0, 0',
    },
    "what a library kernel gives back": {"named": GROWN, "late": "%b: f64 = buffer.load %r, 0"},
    "what a library kernel gives back is stored to": {"named": GROWN, "stored": "%r"},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_read_by_another_name_stays(case: str) -> None:
    text = PROGRAM.format(**(USUAL | CASES[case]))
    before, after = parse(text), parse(text)
    forward(after)
    verify(after)
    x = np.array([3.0, -2.0, 5.0])
    plain, found = (run(function, [x.copy()]) for function in (before, after))
    np.testing.assert_array_equal(found, plain)
    assert "buffer.store 8.0" in to_text(after)


def test_what_nobody_reads_goes() -> None:
    function = parse(PROGRAM.format(**(USUAL | {"late": "%b: f64 = buffer.load %x, 0"})))
    forward(function)
    assert "buffer.store 7.0" in to_text(function)
    assert "buffer.store 8.0" not in to_text(function)
