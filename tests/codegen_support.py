"""Runs a function of the IR at every stage of code generation and compares: interpreter, schedule, source,
machine code."""

import copy

import numpy as np
from numba.core.runtime import _nrt_python, rtsys

from adjit.codegen import scheduled
from adjit.codegen.build import compile_kernel, python_kernel
from adjit.codegen.emit import render
from adjit.codegen.lower import schedule
from adjit.ir import interp
from adjit.ir.text import parse, to_text
from adjit.ir.types import DTYPES
from adjit.ir.verify import verify

NUMPY = {name: dtype.numpy for name, dtype in DTYPES.items()}


def outcome(run):
    """("ok", results) or ("fails", what the failing check says)."""
    try:
        return "ok", run()
    except Exception as error:
        if type(error).__name__ == "InternalError":
            raise
        return "fails", f"{type(error).__name__}: {str(error).splitlines()[0]}"


def of_kernel(rendered, returned):
    status, *details = returned[:3]
    if status == 0:
        return "ok", list(returned[3:])
    site = rendered.sites[status - 1]
    values = [NUMPY[d].type(v) for d, v in zip(site.details, details)]
    error = interp.failure(site.name, site.attrs, [None, *values] if site.name == "check" else values, site.span)
    return "fails", f"{type(error).__name__}: {str(error).splitlines()[0]}"


def laid_out(array, layout):
    """A copy of an array in C order, Fortran order, or ("A") with gaps and a negative stride."""
    if layout != "A":
        return np.array(array, order=layout)
    room = np.empty([3 * n for n in array.shape], array.dtype)
    part = room[tuple(slice(None, None, -3 if k == 0 else 3) for k in range(array.ndim))]
    part[...] = array
    return part


def fresh(function, args, layout="C"):
    return [
        laid_out(a, layout) if isinstance(a, np.ndarray) else v.type.dtype.numpy.type(a)
        for v, a in zip(function.args, copy.deepcopy(args))
    ]


def same(one, other, where, rtol=1e-10):
    assert one[0] == other[0], (where, one, other)
    if one[0] == "fails":
        assert one[1] == other[1], where
        return
    assert len(one[1]) == len(other[1])
    tolerances = rtol if isinstance(rtol, list) else [rtol] * len(one[1])
    for x, y, rtol in zip(one[1], other[1], tolerances, strict=True):
        np.testing.assert_allclose(y, x, rtol=rtol, atol=rtol * 1e-2, equal_nan=True, err_msg=where)
        assert np.asarray(x).shape == np.asarray(y).shape, where


def unchanged(function, args, given, expected):
    """Arguments are as they were; those that the function is there to change hold its results."""
    donated = {arg: result for result, arg in (function.attrs.get("donated") or {}).items()}
    for k, (before, after) in enumerate(zip(fresh(function, args), given)):
        if k in donated:
            if expected[0] == "ok":
                np.testing.assert_allclose(after, expected[1][donated[k]], rtol=1e-10, atol=1e-12)
        else:
            np.testing.assert_array_equal(before, after)


def compare(function, args, *, compiled=True, both=True, roundtrip=True, rtol=1e-10, layout="C"):
    """Run at every stage; returns the rendered kernel. Arguments must come out unchanged. `rtol`: of
    all results, or a list of one for each; `layout`: of all arrays; `both`: compile by way of Numba's front end too,
    not only to LLVM directly."""
    expected = outcome(lambda: interp.run(function, args))
    layouts = [layout if v.is_array else "" for v in function.args]
    low = schedule(function, layouts)
    verify(low, after="schedule")
    if roundtrip and not low.attrs.get("donated"):
        assert to_text(parse(to_text(low))) == to_text(low)
    given = fresh(function, args, layout)
    same(expected, outcome(lambda: scheduled.run(low, given)), "scheduled", rtol)
    unchanged(function, args, given, expected)
    rendered = render(low, "kernel")
    given = fresh(function, args, layout)
    with np.errstate(all="ignore"):
        returned = python_kernel(rendered.source, "kernel")(*given)
    same(expected, of_kernel(rendered, returned), f"plain Python:\n{rendered.source}", rtol)
    unchanged(function, args, given, expected)
    if compiled:
        types = [v.type for v in function.args]
        free = not function.attrs.get("donated")
        for way in ("numba", "llvm") if both else ("llvm",):
            kernel = compile_kernel(
                rendered.source, "kernel", types, layouts, noalias=free, scheduled=low if way == "llvm" else None
            )
            given = fresh(function, args, layout)
            owned = allocations()
            returned = kernel.call(*given)
            same(expected, of_kernel(rendered, returned), f"compiled by way of {way}:\n{rendered.source}", rtol)
            unchanged(function, args, given, expected)
            del returned
            assert allocations() == owned, f"memory that nobody releases, by way of {way}:\n{rendered.source}"
    return rendered


def allocations():
    """How many pieces of memory Numba's run time holds."""
    _nrt_python.memsys_enable_stats()
    stats = rtsys.get_allocation_stats()
    return stats.mi_alloc - stats.mi_free
