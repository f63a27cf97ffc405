"""What a copy gives once is read where it was copied from: the same results, one array less."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from differential import check_program

import adjit
from adjit.codegen.lower.cleanup import cleanup
from adjit.codegen.lower.read_through import read_through
from adjit.codegen.scheduled import run
from adjit.ir.text import parse
from adjit.ir.verify import verify

PROGRAM = """func @f(%x: &f64[?,?], %n: i64) -> (&f64[?], &f64[?]) {{
  %a: i64 = buffer.dim %x {{axis=0}}
  %b: i64 = buffer.dim %x {{axis=1}}
  %sums: &f64[?] = buffer.alloc %b {{dtype=f64}}
  %out: &f64[?] = buffer.alloc %b {{dtype=f64}}
  for %k in (0, %b) {{
    buffer.store 0.0, %sums, %k
    buffer.store 0.0, %out, %k
    yield
  }}
  %copy: &f32[?,?] = buffer.alloc %a, %b {{dtype=f32}}
  for %i in (0, {rows}) {{
    for %j in (0, %b) {{
      %u: f64 = buffer.load %x, {of}
      %s: f64 = buffer.load %sums, %j
      %t: f64 = add %s, %u
      buffer.store %t, %sums, %j
      %v: f32 = cast %u {{dtype=f32}}
      buffer.store %v, %copy, {at}
      yield
    }}
    yield
  }}
  {between}
  for %j in (0, {columns}) {{
    for %i in (0, %a) {{
      {first}
      %d: f64 = cast %c {{dtype=f64}}
      %e: f64 = buffer.load %out, %j
      %g: f64 = mul %e, 0.5
      %h: f64 = add %g, %d
      buffer.store %h, %out, %j
      {last}
      yield
    }}
    yield
  }}
  return %sums, %out
}}"""
READ = "%c: f32 = buffer.load %copy, %i, %j"
CLEAR = "buffer.store 0.0:f32, %copy, %i, %j"
USUAL = {"rows": "%a", "columns": "%b", "of": "%i, %j", "at": "%i, %j", "between": "", "first": READ, "last": CLEAR}


def copies_left(**changed: str) -> int:
    """How many copies there are after the pass; what the program gives is what it gave."""
    text = PROGRAM.format(**(USUAL | changed))
    before, after = parse(text), parse(text)
    read_through(after)
    cleanup(after)
    verify(after)
    x = np.sin(np.arange(9.0)).reshape(3, 3)
    for plain, found in zip(run(before, [x.copy(), 3]), run(after, [x.copy(), 3]), strict=True):
        np.testing.assert_array_equal(found, plain)
    return sum("buffer.alloc" in line and "dtype=f32" in line for line in str(after).splitlines())


def test_a_copy_that_is_read_once_goes() -> None:
    assert copies_left() == 0
    assert copies_left(last="") == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": "%n"},  # who knows whether that is all
        {"at": "%j, %i"},
        {"of": "%j, %i"},  # rows of the copy are columns
        {"first": CLEAR + "\n      " + READ, "last": ""},
        {"first": "%c: f32 = buffer.load %copy, 0, %j", "last": ""},  # read again and again
        {"first": "%c: f32 = buffer.load %copy, 0, %j"},  # written before it is read
        {"last": "buffer.store 0.0:f32, %copy, %j, %i"},
        {"between": "buffer.store 2.0:f32, %copy, 1, 1"},
        {"between": "buffer.store 2.0, %x, 1, 1"},
        {"between": "for %q in (0, 2) { buffer.store 2.0, %x, %q, %q  yield }"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_others_stay(changed: dict[str, str]) -> None:
    assert copies_left(**changed) == 1


def filters(x: Any, weights: Any, bias: Any, seen: Any) -> Any:
    """A convolution whose result is of another precision than its sum."""
    rows, columns = x.shape[1] - 1, x.shape[2] - 1
    out = np.empty((x.shape[0], rows, columns, weights.shape[3]), dtype=np.float32)
    for i in range(rows):
        for j in range(columns):
            out[:, i, j, :] = np.sum(
                x[:, i : i + 2, j : j + 2, :, np.newaxis] * weights[np.newaxis, :, :, :], axis=(1, 2, 3)
            )
    return np.sum((out + bias) * seen)


def arguments() -> tuple[Any, ...]:
    random = np.random.default_rng(3)
    return tuple(random.normal(size=n) for n in ((2, 4, 5, 3), (2, 2, 3, 6), (6,), (2, 3, 4, 6)))


def test_cotangents_in_another_precision() -> None:
    """The weights of a sum are read for each slice that the reverse sweep takes out."""
    gradient = adjit.grad(filters, argnums=(0, 1, 2))
    for found, plain in zip(gradient(*arguments()), wanted(*arguments()), strict=True):
        np.testing.assert_allclose(found, plain, rtol=1e-6, atol=1e-6)
    assert "dtype=f32}" in gradient.ir("scheduled")
    assert "%out_adj: &f32" not in gradient.ir("scheduled")


def wanted(x: Any, weights: Any, bias: Any, seen: Any) -> tuple[Any, ...]:
    """The gradients, by hand."""
    of_x, of_weights = np.zeros_like(x), np.zeros_like(weights)
    for i in range(seen.shape[1]):
        for j in range(seen.shape[2]):
            piece = seen[:, i, j, :].astype(np.float32).astype(np.float64)
            of_x[:, i : i + 2, j : j + 2, :] += np.einsum("no,klco->nklc", piece, weights)
            of_weights += np.einsum("no,nklc->klco", piece, x[:, i : i + 2, j : j + 2, :])
    return of_x, of_weights, seen.sum(axis=(0, 1, 2))


@pytest.mark.slow
def test_results() -> None:
    def slices(x: Any, seen: Any) -> Any:
        out = np.zeros(seen.shape)
        for j in range(seen.shape[1]):
            out[:, j] = np.sin(x[:, j] * x[:, 0])
        return np.sum(out * seen)

    x, seen = np.random.default_rng(4).normal(size=(2, 5, 4))
    check_program(slices, [(x, seen), (x[:, :1], seen[:, :1])], (0,), compile=True)
