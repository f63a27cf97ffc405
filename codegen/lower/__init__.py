"""Array IR -> scheduled IR: explicit loops over buffers.

In: a function of the array IR. Out: a function of the scheduled IR (`codegen.scheduled`), same results. `panels` makes
products of matrices of those of vectors in loops, `slice_sums` finds what is assembled from shifted slices, `fusion`
decides what is stored at all and what is live, `storage` which memory it gets, `scheduler` walks the function, `rules`
make the loop nests. `known_places` makes values of small workspaces."""

from __future__ import annotations

from collections.abc import Sequence

from ...ir.core import Function
from ...ir.types import Tape
from .. import scheduled as _operations
from . import fusion
from .abreast import abreast
from .blocking import block_sweeps
from .cleanup import cleanup
from .forwarding import forward
from .fuse_loops import fuse_loops
from .inheriting import inherit
from .jam import jam_rows
from .known_places import keep_values
from .lanes import use_lanes
from .panels import make_panels
from .parallel import mark
from .parking import park
from .powers import write_powers
from .product_blocks import block_products
from .read_through import read_through
from .rows_first import rows_first
from .scheduler import Scheduler
from .settling import settle
from .skewing import skew
from .slice_sums import assemble_slices
from .triangles import sweep_triangles
from .unswitching import unswitch

__all__ = ["schedule", "take_turns"]

ROUNDS = 4
"""How often loops are fused: what is forwarded in one that was fused may have stood in the way of the next."""


def schedule(function: Function, layouts: Sequence[str] = (), turns: bool = True) -> Function:
    """The scheduled IR of a function. `layouts`: per argument ``C``, ``A`` (any strides), or "" for scalars. `turns`:
    loops over the same arrays may take turns (`take_turns`, for who does more to the loops before).

    Arguments are read only; results are fresh buffers, distinct from each other and from arguments.

    >>> from adjit.ir.text import parse
    >>> f = parse("func @f(%x: f64[?]) -> f64 { %s: f64 = reduce_sum %x {axes=(0,)}  return %s }")
    >>> print(schedule(f))
    func @f(%x: &f64[?]) -> f64 {
      %0: i64 = buffer.dim %x {axis=0}
      %s: f64 = for %1 in (0, %0) (%s_1 = 0.0) {
        %2: f64 = buffer.load %x, %1
        %3: f64 = add_any_order %s_1, %2
        yield %3
      }
      return %s
    } with {layouts=("C",)}
    """
    function = assemble_slices(make_panels(function))
    given = [*layouts] or ["C" if arg.is_array else "" for arg in function.args]
    strided, fortran = ({arg for arg, layout in zip(function.args, given) if layout == order} for order in "AF")
    out = Scheduler(function, fusion.plan(function), strided, {arg for arg in fortran if arg.rank > 1}).run()
    flat: list[str] = []
    for arg, layout in zip(function.args, given):  # a tape is two arguments
        flat += ["C", ""] if isinstance(arg.type, Tape) else [layout]
    out.attrs["layouts"] = tuple(flat)
    write_powers(out)
    cleanup(out)
    for _ in range(ROUNDS):
        fused = fuse_loops(out)
        forward(out)
        cleanup(out)
        if not fused:
            break
    block_products(out)
    keep_values(out)
    cleanup(out)
    block_sweeps(out)
    forward(out)
    cleanup(out)
    left_over = use_lanes(out)
    cleanup(out)
    left_over = rows_first(out, left_over)
    cleanup(out)
    left_over, independent = sweep_triangles(out, left_over)
    cleanup(out)
    left_over = abreast(out, left_over)
    cleanup(out)
    jam_rows(out, left_over, independent)
    cleanup(out)
    settle(out)
    park(out)
    read_through(out)
    unswitch(out)
    cleanup(out)
    if turns:
        take_turns(out)
    if "threads" in out.attrs:
        mark(out)
        cleanup(out)
    return out


def take_turns(function: Function) -> None:
    """The last step of a schedule, in place."""
    skew(function)
    cleanup(function)
    inherit(function)


_ = _operations
