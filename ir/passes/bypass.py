"""Bypass: what is read beside the place that was written to is read from what was there before.

In: a function. Out: the same one, or one in which every read (`index`) of an array that is read beside its last write
only, and used for nothing else, reads the array without that write, which is dead then:

    %b: f64[?] = update %a, 0.0, 1, %m, 1 {spec="s"}
    %x: f64 = index %b, 0 {spec="i"}                      =>      %x: f64 = index %a, 0 {spec="i"}

An array that has other readers keeps its write, and its reads: to read an older version of what is written to in place
would mean to keep that version. The mirror image of an array that is made part by part is full of such writes, which
clear the cotangent of each part.
"""

from __future__ import annotations

from ..core import Function, Op, Value, walk
from ..rewrite import clone_function
from .shapes import surely_apart

__all__ = ["run"]

WRITES = ("update", "accumulate")


def run(function: Function) -> Function:
    """The function without such writes; the same object where there are none."""
    if not passed_by(function):
        return function
    out = clone_function(function)
    while found := passed_by(out):
        for write, reads in found.items():
            for read in reads:
                read.operands[0] = write.operands[0]
    return out


def passed_by(function: Function) -> dict[Op, list[Op]]:
    """The writes that all reads of what they make pass by, with these reads."""
    users: dict[Value, list[Op]] = {}
    for op in walk(function.body):
        for value in op.operands:
            if value.op is not None and value.op.name in WRITES:
                users.setdefault(value, []).append(op)
    return {value.op: reads for value, reads in users.items() if value.op is not None and beside(value.op, reads)}


def beside(write: Op, reads: list[Op]) -> bool:
    array = write.result
    return all(
        read.name == "index"
        and array not in read.operands[1:]
        and surely_apart(write.attrs["spec"], write.operands[2:], read.attrs["spec"], read.operands[1:])
        for read in reads
    )
