"""What becomes of arrays: what is stored, which memory is written in place, what is copied or allocated where."""

import numpy as np
import pytest
from codegen_support import compare, fresh

from adjit.codegen import scheduled
from adjit.codegen.build import compile_kernel, python_kernel
from adjit.codegen.emit import render
from adjit.codegen.lower import schedule
from adjit.ir.core import Region, walk
from adjit.ir.errors import InternalError
from adjit.ir.text import parse
from adjit.ir.verify import verify

rng = np.random.default_rng(0)
V, W = rng.standard_normal((2, 7))
M = rng.standard_normal((4, 5))


def ops(function, name):
    return [op for op in walk(function.body) if op.name == name]


def inside_loops(region: Region, name: str, depth: int = 0) -> int:
    """How many operations of a name stand inside loops."""
    count = 0
    for op in region.ops:
        count += bool(op.name == name and depth)
        for inner in op.regions:
            count += inside_loops(inner, name, depth + (op.name in ("for", "while")))
    return count


def lowered(text, *args, **keywords):
    """Compare at every stage; returns the schedule."""
    function = parse(text)
    verify(function)
    compare(function, args, **keywords)
    return schedule(function)


# ---------------------------------------------------------------- fusion


def test_expressions_reduce_without_memory():
    low = lowered(
        """func @f(%x: f64[?], %y: f64[?]) -> f64 {
          %a: f64[?] = mul %x, %y
          %b: f64[?] = exp %a
          %s: f64 = reduce_sum %b {axes=(0,)}
          return %s
        }""",
        V,
        W,
    )
    assert not ops(low, "buffer.alloc") and len(ops(low, "for")) == 1


def test_row_products_and_reductions_share_the_pass_over_the_matrix():
    low = lowered(
        """func @f(%A: f64[?,?], %x: f64[?], %b: f64[?]) -> f64 {
          %p: f64[?] = matmul %A, %x
          %r: f64[?] = sub %p, %b
          %q: f64[?] = mul %r, %r
          %s: f64 = reduce_sum %q {axes=(0,)}
          return %s
        }""",
        M,
        V[:5],
        W[:4],
    )
    assert not ops(low, "buffer.alloc")
    assert len(ops(low, "for")) == 4  # over rows and along them; several rows at a time, and those left over


def test_costly_values_with_two_consumers_are_computed_once():
    low = lowered(
        """func @f(%x: f64[?]) -> f64[?] {
          %e: f64[?] = exp %x
          %s: f64 = reduce_sum %e {axes=(0,)}
          %n: i64 = dim %x {axis=0}
          %p: f64[?] = div %e, %s
          return %p
        }""",
        V,
    )
    assert len(ops(low, "exp")) == 1 and len(ops(low, "for")) == 2
    assert len(ops(low, "buffer.alloc")) == 1  # the quotient takes over the memory of the exponentials


def test_what_does_not_depend_on_the_inner_index_is_computed_outside():
    low = lowered(
        """func @f(%x: f64[?], %y: f64[?]) -> f64[?,?] {
          %n: i64 = dim %x {axis=0}
          %m: i64 = dim %y {axis=0}
          %e: f64[?] = exp %x
          %a: f64[?,?] = broadcast %e, %n, %m {axes=(0,)}
          %b: f64[?,?] = broadcast %y, %n, %m {axes=(1,)}
          %c: f64[?,?] = mul %a, %b
          return %c
        }""",
        V,
        W[:3],
    )
    (outer, _inner) = ops(low, "for")
    assert "exp" in [op.name for op in outer.regions[0].ops] and len(ops(low, "buffer.alloc")) == 1


def test_what_the_inner_loop_would_repeat_is_stored():
    low = lowered(
        """func @f(%x: f64[?], %y: f64[?]) -> f64[?,?] {
          %n: i64 = dim %x {axis=0}
          %m: i64 = dim %y {axis=0}
          %e: f64[?] = exp %y
          %a: f64[?,?] = broadcast %x, %n, %m {axes=(0,)}
          %b: f64[?,?] = broadcast %e, %n, %m {axes=(1,)}
          %c: f64[?,?] = mul %a, %b
          return %c
        }""",
        V,
        W[:3],
    )
    assert len(ops(low, "buffer.alloc")) == 2 and inside_loops(low.body, "exp") == 1


def test_neighbouring_loops_become_one_and_memory_in_between_disappears():
    low = lowered(
        """func @f(%x: f64[?], %y: f64[?]) -> (f64, f64, f64[?]) {
          %e: f64[?] = exp %x
          %t: f64[?] = mul %e, %y
          %a: f64 = reduce_sum %t {axes=(0,)}
          %u: f64[?] = div %e, %y
          %b: f64 = reduce_max %u {axes=(0,)}
          %c: f64[?] = sub %e, %x
          return %a, %b, %c
        }""",
        V,
        W,
    )
    assert len(ops(low, "for")) == 1 and len(ops(low, "exp")) == 1 and len(ops(low, "buffer.alloc")) == 1


def test_loops_that_read_what_later_turns_write_are_not_fused():
    low = lowered(
        """func @f(%x: f64[?], %n: i64) -> f64[?] {
          %m: i64 = sub %n, 1
          %a: f64[?] = for %i in (0, %n) (%u = %x) {
            %v: f64 = index %u, %i {spec="i"}
            %w: f64 = mul %v, 2.0
            %t: f64[?] = update %u, %w, %i {spec="i"}
            yield %t
          }
          %b: f64[?] = for %i in (0, %n) (%u = %a) {
            %k: i64 = sub %m, %i
            %v: f64 = index %u, %k {spec="i"}
            %t: f64[?] = accumulate %u, %v, %i {spec="i"}
            yield %t
          }
          return %b
        }""",
        V,
        7,
    )
    assert len([op for op in ops(low, "for") if ops_in(op, "mul") and not ops_in(op, "for")]) == 1


def ops_in(op, name):
    return [o for region in op.regions for o in walk(region) if o.name == name]


# ---------------------------------------------------------------- in place

SWEEP = """func @f(%u: f64[?], %T: i64) -> f64[?] {{
  %n: i64 = dim %u {{axis=0}}
  %m: i64 = sub %n, 2
  %r: f64[?] = for %t in (0, %T) (%a = %u) {{
    %l: f64[?] = index %a, {read}, %m, 1 {{spec="s"}}
    %v: f64[?] = mul %l, 0.5
    %b: f64[?] = {op} %a, %v, {write}, %m, 1 {{spec="s"}}
    yield %b
  }}
  return %r
}}"""


@pytest.mark.daily(2)
@pytest.mark.parametrize("op", ["update", "accumulate"])
@pytest.mark.parametrize(("read", "write", "temporary"), [(1, 1, False), (0, 2, True), (2, 0, True)])
def test_overlapping_slices(op, read, write, temporary):
    low = lowered(SWEEP.format(op=op, read=read, write=write), V, 3)
    assert not inside_loops(low.body, "buffer.alloc")
    assert len(ops(low, "buffer.alloc")) == 1 + temporary


def test_rows_that_may_be_one_need_no_temporary():
    low = lowered(
        """func @f(%A: f64[?,?], %i: i64, %k: i64) -> f64[?,?] {
          %n: i64 = dim %A {axis=1}
          %m: i64 = sub %n, 1
          %r: f64[?] = index %A, %k, 1, %m, 1 {spec="is"}
          %v: f64[?] = mul %r, 3.0
          %B: f64[?,?] = accumulate %A, %v, %i, 1, %m, 1 {spec="is"}
          return %B
        }""",
        M,
        2,
        2,
    )
    assert len(ops(low, "buffer.alloc")) == 1


def test_element_updates_in_loops_copy_once_and_before():
    low = lowered(
        """func @f(%u: f64[?], %T: i64) -> f64[?] {
          %r: f64[?] = for %t in (0, %T) (%a = %u) {
            %x: f64 = index %a, %t {spec="i"}
            %y: f64 = mul %x, %x
            %b: f64[?] = update %a, %y, %t {spec="i"}
            yield %b
          }
          return %r
        }""",
        V,
        5,
    )
    assert len(ops(low, "buffer.alloc")) == 1 and not inside_loops(low.body, "buffer.alloc")
    assert all(not op.results for op in ops(low, "for"))  # nothing is carried: it is the same memory


@pytest.mark.parametrize(("made", "buffers"), [("exp %u", 2), ("mul %u, 2.0", 1)])
def test_an_old_version_that_is_read_later_is_kept_or_made_again(made, buffers):
    low = lowered(
        f"""func @f(%u: f64[?]) -> (f64[?], f64) {{
          %a: f64[?] = {made}
          %b: f64[?] = update %a, 9.0, 0 {{spec="i"}}
          %s: f64[?] = sub %b, %a
          %t: f64 = reduce_sum %s {{axes=(0,)}}
          return %b, %t
        }}""",
        V,
    )
    assert len(ops(low, "buffer.alloc")) == buffers


def test_a_view_of_what_is_about_to_change_is_stored_not_the_whole():
    low = lowered(
        """func @f(%u: f64[?,?], %i: i64) -> (f64[?,?], f64[?]) {
          %a: f64[?,?] = mul %u, 2.0
          %r: f64[?] = index %a, %i {spec="i:"}
          %b: f64[?,?] = update %a, 9.0, %i, 0 {spec="ii"}
          %t: f64[?] = add %r, 1.0
          return %b, %t
        }""",
        M,
        1,
    )
    assert sum(len(op.operands) == 2 for op in ops(low, "buffer.alloc")) == 1


def test_two_buffers_take_turns():
    low = lowered(
        """func @f(%u: f64[?], %T: i64) -> f64[?] {
          %n: i64 = dim %u {axis=0}
          %m: i64 = sub %n, 1
          %r: f64[?] = for %t in (0, %T) (%a = %u) {
            %h: f64[?] = index %a, %m, %n, -1 {spec="s"}
            %b: f64[?] = add %h, %a
            yield %b
          }
          return %r
        }""",
        V,
        3,
    )
    assert len(ops(low, "buffer.alloc")) == 2 and not inside_loops(low.body, "buffer.alloc")


def test_swapped_buffers_are_renamed_not_copied():
    low = lowered(
        """func @f(%u: f64[?], %v: f64[?], %T: i64) -> (f64[?], f64[?]) {
          %r: f64[?], %q: f64[?] = for %t in (0, %T) (%a = %u, %b = %v) {
            %x: f64 = index %a, %t {spec="i"}
            %c: f64[?] = accumulate %b, %x, %t {spec="i"}
            yield %c, %a
          }
          return %r, %q
        }""",
        V,
        W,
        5,
    )
    (loop,) = [op for op in ops(low, "for") if op.results]
    assert len(ops(low, "buffer.alloc")) == 2
    assert not ops_in(loop, "for")  # nothing but the update happens in a turn


def test_branches_update_in_place():
    low = lowered(
        """func @f(%u: f64[?], %T: i64) -> f64[?] {
          %r: f64[?] = for %t in (0, %T) (%a = %u) {
            %x: f64 = index %a, %t {spec="i"}
            %p: bool = gt %x, 0.0
            %c: f64[?] = if %p {
              %b: f64[?] = update %a, 0.0, %t {spec="i"}
              yield %b
            } else {
              yield %a
            }
            yield %c
          }
          return %r
        }""",
        V,
        6,
    )
    (branch,) = ops(low, "if")
    assert not branch.results and len(ops(low, "buffer.alloc")) == 1


def test_results_are_fresh_and_distinct():
    function = parse("func @f(%x: f64[?]) -> (f64[?], f64[?]) { return %x, %x }")
    compare(function, [V])
    a, b = scheduled.run(schedule(function), [V])
    assert a is not b and not np.shares_memory(a, V) and not np.shares_memory(a, b)


def test_shapes_that_change_from_turn_to_turn():
    low = lowered(
        """func @f(%x: f64[?], %T: i64) -> f64[?] {
          %r: f64[?] = for %t in (0, %T) (%a = %x) {
            %b: f64[?] = concat %a, %x {axis=0}
            yield %b
          }
          return %r
        }""",
        V[:2],
        3,
    )
    assert inside_loops(low.body, "buffer.alloc") == 1


# ---------------------------------------------------------------- arguments that the function is there to change


DONATED = """func @f(%A: f64[?,?], %w: f64[?]) -> (f64, f64[?,?]) {
  %n: i64 = dim %A {axis=0}
  %m: i64 = dim %A {axis=1}
  %B: f64[?,?] = for %i in (0, %n) (%a = %A) {
    %r: f64[?] = index %a, %i {spec="i:"}
    %k: f64[?] = mul %r, %w
    %q: f64[?,?] = update %a, %k, %i {spec="i:"}
    %ok: i64 = bound %i, 3 {what="row", axis=0}
    yield %q
  }
  %s: f64 = reduce_sum %A {axes=(0, 1)}
  return %s, %B
}"""


def run_donated(text, args, kernel):
    function = parse(text)
    function.attrs["donated"] = {1: 0}
    low = schedule(function, ["C" if v.is_array else "" for v in function.args])
    verify(low)
    rendered = render(low, "kernel")
    given = fresh(function, args)
    if kernel == "schedule":
        try:
            out = [0, 0, 0, *scheduled.run(low, given)]
        except IndexError:
            out = [1]
    elif kernel == "python":
        out = python_kernel(rendered.source, "kernel")(*given)
    else:
        types = [v.type for v in function.args]
        layouts = ["C" if v.is_array else "" for v in function.args]
        out = compile_kernel(rendered.source, "kernel", types, layouts, noalias=False).call(*given)
    return out, given


@pytest.mark.parametrize("kernel", ["schedule", "python", "compiled"])
def test_donated_arguments_are_written_in_place(kernel):
    out, given = run_donated(DONATED, [M[:3], V[:5]], kernel)
    assert out[0] == 0
    np.testing.assert_allclose(out[3], M[:3].sum())  # the old contents, read after the writes
    np.testing.assert_allclose(given[0], M[:3] * V[:5])
    np.testing.assert_array_equal(out[4], given[0])
    function = parse(DONATED)
    function.attrs["donated"] = {1: 0}
    low = schedule(function)
    assert low.results[1] is low.args[0]
    assert len(ops(low, "buffer.alloc")) == 1  # for the old contents


@pytest.mark.parametrize("kernel", ["schedule", "python", "compiled"])
def test_what_was_written_before_a_failure_stays(kernel):
    out, given = run_donated(DONATED.replace("%s: f64 = reduce_sum %A", "%s: f64 = reduce_sum %B"), [M, V[:5]], kernel)
    assert out[0] == 1
    np.testing.assert_allclose(given[0], M * V[:5])  # the fourth row fails after its write


@pytest.mark.parametrize("kernel", ["schedule", "python", "compiled"])
def test_donated_arguments_that_trade_places(kernel):
    text = """func @f(%a: f64[?], %b: f64[?], %T: i64) -> (f64, f64[?], f64[?]) {
      %r: f64[?], %q: f64[?] = for %t in (0, %T) (%u = %a, %v = %b) {
        %x: f64[?] = update %u, 1.0, %t {spec="i"}
        yield %v, %x
      }
      return 0.0, %r, %q
    }"""
    function = parse(text)
    function.attrs["donated"] = {1: 0, 2: 1}
    given = fresh(function, [V, W, 3])
    low = schedule(function)
    if kernel == "schedule":
        scheduled.run(low, given)
    elif kernel == "python":
        python_kernel(render(low, "kernel").source, "kernel")(*given)
    else:
        types = [v.type for v in function.args]
        compile_kernel(render(low, "kernel").source, "kernel", types, ["C", "C", ""], noalias=False).call(*given)
    a, b = V.copy(), W.copy()
    for t in range(3):
        a[t] = 1.0
        a, b = b, a
    np.testing.assert_array_equal(given[0], a)
    np.testing.assert_array_equal(given[1], b)


# ---------------------------------------------------------------- products and layouts


PRODUCTS = """func @f(%a: {t}[?,?], %b: {t}[?,?]) -> ({t}[?,?], {t}[?,?], {t}[?,?], {t}[?,?]) {{
  %at: {t}[?,?] = transpose %a {{perm=(1, 0)}}
  %bt: {t}[?,?] = transpose %b {{perm=(1, 0)}}
  %w: {t}[?,?] = matmul %a, %b
  %x: {t}[?,?] = matmul %at, %b
  %y: {t}[?,?] = matmul %a, %bt
  %z: {t}[?,?] = matmul %at, %bt
  return %w, %x, %y, %z
}}"""


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("dtype", "layout"), [("f64", "C"), ("f64", "F"), ("f64", "A"), ("f32", "C")])
def test_products_of_all_sizes_and_layouts(dtype, layout):
    for n in (0, 3, 40) if layout != "F" else (3, 40):  # what is empty is in C order
        a, b = rng.standard_normal((2, n, n)).astype(np.float32 if dtype == "f32" else np.float64)
        compare(parse(PRODUCTS.format(t=dtype)), [a, b], layout=layout, rtol=1e-4 if dtype == "f32" else 1e-10)


@pytest.mark.daily(1)
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layout", ["C", "F", "A"])
def test_vector_products_in_all_layouts(layout):
    text = """func @f(%a: f64[?,?], %x: f64[?], %y: f64[?]) -> (f64[?], f64[?], f64[?], f64[?], f64) {
      %at: f64[?,?] = transpose %a {perm=(1, 0)}
      %p: f64[?] = matmul %a, %x
      %q: f64[?] = matmul %y, %a
      %r: f64[?] = matmul %at, %y
      %s: f64[?] = matmul %x, %at
      %d: f64 = matmul %x, %x
      return %p, %q, %r, %s, %d
    }"""
    compare(parse(text), [M, V[:5], W[:4]], layout=layout)


@pytest.mark.daily(1)
@pytest.mark.parametrize("layout", ["C", "F", "A"])
def test_changed_arguments_in_all_layouts(layout):
    function = parse(DONATED)
    function.attrs["donated"] = {1: 0}
    compare(function, [M[:3], V[:5]], layout=layout)


# ---------------------------------------------------------------- tapes

TAPED = """func @f(%x: f64[?], %n: i64) -> f64 {{
  %t0: tape[f64] = tape.new {{element=type(f64)}}
  %s: f64, %t: tape[f64] = for %i in ({lo}, %n) (%a = 1.0, %t1 = %t0) {{
    %e: f64 = index %x, %i {{spec="i"}}
    %t2: tape[f64] = tape.push %t1, %a
    %b: f64 = mul %a, %e
    %t3: tape[f64] = tape.push %t2, %b
    yield %b, %t3
  }}
  %g: f64, %t5: tape[f64] = for %i in reverse({lo}, %n) (%a = %s, %t1 = %t) {{
    %t2: tape[f64], %v: f64 = tape.pop %t1
    %t3: tape[f64], %w: f64 = tape.pop %t2
    %b: f64 = mul %a, %v
    %c: f64 = sub %b, %w
    yield %c, %t3
  }}
  return %g
}}"""


@pytest.mark.parametrize("lo", [0, 2])
@pytest.mark.parametrize("n", [0, 1, 6])
def test_tapes_are_reserved_ahead(lo, n):
    low = lowered(TAPED.format(lo=lo), V, n)
    assert inside_loops(low.body, "buffer.call") == 0


def test_tapes_of_arrays():
    low = lowered(
        """func @f(%x: f64[?], %T: i64) -> f64[?] {
          %n: i64 = dim %x {axis=0}
          %t0: tape[f64[?]] = tape.new {element=type(f64[?])}
          %u: f64[?], %t: tape[f64[?]] = for %i in (0, %T) (%a = %x, %t1 = %t0) {
            %t2: tape[f64[?]] = tape.push %t1, %a
            %b: f64[?] = mul %a, %x
            yield %b, %t2
          }
          %g: f64[?], %t5: tape[f64[?]] = for %i in reverse(0, %T) (%a = %u, %t1 = %t) {
            %t2: tape[f64[?]], %v: f64[?] = tape.pop %t1, %n
            %b: f64[?] = add %a, %v
            yield %b, %t2
          }
          return %g
        }""",
        V,
        4,
    )
    assert not inside_loops(low.body, "buffer.alloc") and inside_loops(low.body, "buffer.call") == 0


def test_tapes_pushed_now_and_then_grow():
    lowered(
        """func @f(%x: f64) -> f64 {
          %t0: tape[f64] = tape.new {element=type(f64)}
          %v2: f64, %k2: i64, %t: tape[f64] = while (%v = %x, %k = 0, %p = %t0) {
            %c: bool = gt %v, 1.0
            test %c
          } do {
            %big: bool = gt %v, 10.0
            %q: tape[f64], %k1: i64 = if %big {
              %q1: tape[f64] = tape.push %p, %v
              %k3: i64 = add %k, 1
              yield %q1, %k3
            } else {
              yield %p, %k
            }
            %w: f64 = mul %v, 0.9
            yield %w, %k1, %q
          }
          %s: f64, %te: tape[f64] = for %i in reverse(0, %k2) (%a = %v2, %q = %t) {
            %q1: tape[f64], %y: f64 = tape.pop %q
            %b: f64 = add %a, %y
            yield %b, %q1
          }
          return %s
        }""",
        1e6,
    )


# ---------------------------------------------------------------- the source


def test_source_is_readable():
    function = parse(
        """func @decay(%x: f64, %rate: f64) -> f64 {
          %r: f64 = while (%v = %x) {
            %c: bool = gt %v, 1.0
            test %c
          } do {
            %s: f64 = mul %v, %v
            %k: f64 = mul %rate, %s
            %w: f64 = sub %v, %k
            yield %w
          }
          return %r
        }"""
    )
    assert (
        compare(function, [5.0, 0.1]).source
        == """import numpy as np


def kernel(x, rate):
    v = x
    while True:
        if not v > 1.0:
            break
        v = v - rate * (v * v)
    return (0, 0, 0, v)
"""
    )


def test_lu_is_the_natural_loop_nest():
    function = parse(
        """func @lu(%A: f64[?,?]) -> f64[?,?] {
          %n: i64 = dim %A {axis=0}
          %R: f64[?,?] = for %i in (0, %n) (%B = %A) {
            %C: f64[?,?] = for %j in (0, %i) (%B1 = %B) {
              %r: f64[?] = index %B1, %i, 0, %j, 1 {spec="is"}
              %c: f64[?] = index %B1, 0, %j, 1, %j {spec="si"}
              %s: f64 = matmul %r, %c
              %a: f64 = index %B1, %i, %j {spec="ii"}
              %d: f64 = sub %a, %s
              %p: f64 = index %B1, %j, %j {spec="ii"}
              %q: f64 = div %d, %p
              %B2: f64[?,?] = update %B1, %q, %i, %j {spec="ii"}
              yield %B2
            }
            yield %C
          }
          return %R
        }"""
    )
    source = compare(function, [M[:4, :4] + 4 * np.eye(4)]).source
    assert source.count("np.empty") == 1 and source.count("for ") == 5


def test_failed_checks_say_which_and_with_what():
    text = """func @f(%x: f64[?], %i: i64) -> f64 {
      %n: i64 = dim %x {axis=0}
      %k: i64 = bound %i, %n {what="index", axis=0}
      %v: f64 = index %x, %k {spec="i"}
      %ok: bool = gt %v, 0.0
      check %ok, %v, %i {error="ValueError", message="{0} at {1}"}
      return %v
    }"""
    function = parse(text)
    x = np.array([1.0, -2.5, 3.0])
    for i in (0, 1, -1, -3, 3, -4):
        compare(function, [x, i])
    rendered = render(schedule(function), "kernel")
    assert [s.name for s in rendered.sites] == ["bound", "check"] and rendered.sites[1].details == ("f64", "i64")


def test_unknown_operations_are_a_bug_not_a_wrong_result():
    from adjit.ir.core import Builder, Value
    from adjit.ir.ops.declare import REGISTRY, OpDef
    from adjit.ir.types import F64, Array

    REGISTRY["mystery"] = OpDef("mystery", lambda o, a, r: [o[0].type], extents=lambda op: [[op.operands[0]]])
    try:
        region = Region([Value(Array(F64, (None,)), "x")])
        with Builder(region) as b:
            b.emit("return", [b.emit1("mystery", region.args)])
        function = parse("func @f() -> f64 { return 0.0 }")
        function.body = region
        with pytest.raises((NotImplementedError, InternalError, AttributeError)):
            schedule(function)
    finally:
        del REGISTRY["mystery"]
