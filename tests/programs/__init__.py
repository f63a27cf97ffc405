"""Programs to differentiate: plain Python and NumPy functions with arguments, and nothing about adjit.

from programs import PROGRAMS, named, of_kind
"""

from . import aliasing, arrays, control, learning, linalg, search, simulation, structure
from .registry import (
    Program,
    complex_step,
    difference_quotient,
    direction,
    is_float,
    leaves,
    map_leaves,
    shifted,
)

__all__ = [
    "PROGRAMS",
    "Program",
    "complex_step",
    "difference_quotient",
    "direction",
    "is_float",
    "leaves",
    "map_leaves",
    "named",
    "of_kind",
    "shifted",
]

PROGRAMS: list[Program] = [
    program
    for family in (linalg, simulation, learning, search, control, aliasing, structure, arrays)
    for program in family.PROGRAMS
]

_by_name = {program.name: program for program in PROGRAMS}
if len(_by_name) != len(PROGRAMS):
    raise ValueError("two programs have the same name")


def named(name: str) -> Program:
    """The program of that name."""
    return _by_name[name]


def of_kind(*kinds: str) -> list[Program]:
    """The programs that are of every one of the kinds."""
    return [program for program in PROGRAMS if program.kinds.issuperset(kinds)]
