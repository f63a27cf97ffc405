"""Random programs of the IR: the schedule, the rendered source and machine code mean what the interpreter means."""

import pytest
from codegen_support import compare
from ir_random import Generator

from adjit.ir.verify import verify


@pytest.mark.daily(1)
@pytest.mark.parametrize("first", range(0, 200, 20))
def test_random_programs(first):
    for seed in range(first, first + 20):
        generator = Generator(seed)
        function = generator.function()
        verify(function)
        for _ in range(2):
            compare(function, generator.args(), compiled=seed % 20 == 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "first", [pytest.param(k, marks=() if k % 200 == 0 else pytest.mark.sweep) for k in range(1000, 3000, 100)]
)
def test_many_random_programs(first):
    for seed in range(first, first + 100):
        generator = Generator(seed)
        function = generator.function()
        for _ in range(2):
            compare(function, generator.args(), compiled=seed % 50 == 0)
