"""The list of passes that every function goes through.

In: a `Function`. Out: an equivalent, simpler one. The passes are repeated until none of them changes
anything, or `ROUNDS` times. With the environment variable ``ADJIT_VERIFY=1`` the verifier runs after every
pass, and an error names the pass.

>>> from adjit.ir.text import parse
>>> f = parse('''func @f(%x: f64) -> f64 {
...   %a: f64 = mul %x, 1.0
...   %b: f64 = sin %a
...   %c: f64 = sin %x
...   %d: f64 = add %b, %c
...   return %d
... }''')
>>> print(optimize(f))
func @f(%x: f64) -> f64 {
  %b: f64 = sin %x
  %d: f64 = add %b, %b
  return %d
}
"""

from __future__ import annotations

import os
from collections.abc import Callable

from .core import Function
from .passes import (
    bypass,
    cse,
    dce,
    drop_rules,
    early_checks,
    equations,
    licm,
    narrow,
    prove,
    repeats,
    share,
    simplify,
    sink,
    stacks,
)
from .verify import verify as verify_function

__all__ = ["PASSES", "finish", "optimize"]

Pass = Callable[[Function], Function]

PASSES: list[tuple[str, Pass]] = [
    ("simplify", simplify.run),
    ("prove", prove.run),
    ("cse", cse.run),
    ("licm", licm.run),
    ("bypass", bypass.run),
    ("dce", dce.run),
]

ROUNDS = 4


def optimize(function: Function, verify: bool | None = None) -> Function:
    """The function after `PASSES`; it is not changed itself.

    `verify`: check the IR before and after every pass (by default, where ``ADJIT_VERIFY=1``); raises
    `InternalError` naming the pass.
    """
    if verify is None:
        verify = os.environ.get("ADJIT_VERIFY", "") not in ("", "0")
    if verify:
        verify_function(function)
    unchanged = 0  # how many passes in a row left the function alone
    for _ in range(ROUNDS):
        for name, run in PASSES:
            if unchanged == len(PASSES):
                return function
            result = run(function)
            unchanged = unchanged + 1 if result is function else 0
            function = result
            if verify and not unchanged:
                verify_function(function, after=name)
    return function


def finish(function: Function, writes: bool = False) -> Function:
    """An optimized function that will not be differentiated any more, ready to be scheduled. `writes`: it is there to
    change arguments."""
    without_rules = drop_rules.run(function)
    if without_rules is not function:
        function = optimize(without_rules)
    function = share.run(repeats.run(function))
    function = function if writes else early_checks.run(sink.run(function))
    return equations.run(narrow.run(stacks.run(function)))
