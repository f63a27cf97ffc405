"""Random programs under every transform (see `compositions`), a few of them."""

from __future__ import annotations

import pytest
from compositions import COMPOSITIONS, Case

from adjit.ir.errors import UnsupportedError

HOW_MANY = {"batches": 4, "checkpointed": 4, "loops": 10, "rules": 3, "jacobians": 4, "hessians": 1, "mixed": 1}
CASES = [(name, seed) for name, count in HOW_MANY.items() for seed in range(20000, 20000 + count)]
COMPILED = [("repeated", 20000), ("repeated", 20003)]


def check(name: str, seed: int) -> None:
    try:
        COMPOSITIONS[name](Case(seed))
    except UnsupportedError as refused:
        pytest.skip(f"refused: {refused.message}")


@pytest.mark.daily(1)
@pytest.mark.parametrize(("name", "seed"), CASES)
def test_in_the_interpreter(name: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADJIT_DISABLE_JIT", "1")
    check(name, seed)


@pytest.mark.daily(1)
@pytest.mark.parametrize(("name", "seed"), COMPILED)
def test_compiled(name: str, seed: int) -> None:
    check(name, seed)
