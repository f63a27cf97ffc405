"""The last step: scheduled IR as a Python module.

In: a scheduled function. Out: `Rendered`: the source of a module with one function, and the sites at which it can
fail. The source runs by itself: under plain Python, for debuggers, and compiled by Numba
(``error_model='numpy'``) as the kernel.

>>> from adjit.ir.text import parse
>>> from adjit.codegen.lower import schedule
>>> f = parse("func @f(%x: f64[?]) -> f64 { %y: f64[?] = mul %x, %x  %s: f64 = reduce_sum %y {axes=(0,)}  return %s }")
>>> print(render(schedule(f), "f").source.split("\\n\\n\\n")[1])
def f(x):
    s = 0.0
    for i in range(x.shape[0]):
        t = x[i]
        s = plus(s, t * t)
    return (0, 0, 0, s)
<BLANKLINE>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..ir.core import Function, Span
from .render.writer import Writer

__all__ = ["Rendered", "Site", "render"]


@dataclass(frozen=True)
class Site:
    """A check that can fail: the operation's name and attributes, its place in the user's source, its details'
    dtypes."""

    name: str
    attrs: dict[str, Any]
    span: Span | None
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rendered:
    """`sites[k - 1]` is what failed where the kernel returns status k."""

    source: str
    name: str
    sites: tuple[Site, ...]


def render(scheduled: Function, name: str) -> Rendered:
    """The source of a module that defines `name`, a function of the scheduled function's arguments.

    It returns ``(status, detail0, detail1, *results)``: status 0, or the number (from 1) of the check that
    failed, with the values it is about and results without meaning. It writes to no argument."""
    from .primitives import NAMES  # here, since it loads Numba, which nothing needs before the first kernel

    writer = Writer(scheduled, name, NAMES)
    body = writer.write()
    head = ["import numpy as np"]
    if writer.needs:
        head += ["", f"from adjit.codegen.primitives import {', '.join(sorted(writer.needs))}"]
    source = "\n".join(head) + "\n\n\n" + body + "\n"
    sites = tuple(Site(op.name, op.attrs, op.span, tuple(str(x.dtype) for x in details_of(op))) for op in writer.sites)
    return Rendered(source, name, sites)


def details_of(op: Any) -> list[Any]:
    return list(op.operands[1:3] if op.name == "check" else op.operands)
