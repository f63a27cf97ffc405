"""Random programs about names, views and control flow: the traced IR in the interpreter against Python.

Values and what the caller's arrays hold afterwards must agree, on inputs that take other paths as well. A program may
be refused, with an error of adjit's own. (Derivatives and kernels of random programs are tested elsewhere.)
"""

import linecache
import random

import numpy as np
import pytest
import tracing

from adjit.ir.errors import AdjitError, InternalError

HELPERS = """
def scale(v, k):
    v *= k
    return v


def pick(p, a, b):
    if p > 0:
        return a
    return b


def total(v):
    s = 0.0
    for q in v:
        s += q
    return s


def first_above(v, limit):
    for q in range(len(v)):
        if v[q] > limit:
            return q
    return -1


"""


class Generator:
    """Writes one program of numbers x, y, n, vectors a, b and a matrix M."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)
        self.lines: list[str] = []
        self.depth = 0
        self.loops = 0
        self.fresh = 0
        self.kinds = {"x": "f", "y": "f", "n": "i", "a": "A", "b": "A", "M": "M"}
        self.budget = self.r.randint(6, 22)

    def any(self, kind: str) -> str:
        return self.r.choice([name for name, k in self.kinds.items() if k == kind])

    def number(self, depth: int = 0) -> str:
        forms = [
            lambda: repr(round(self.r.uniform(-2, 2), 2)),
            lambda: self.any("f"),
            lambda: self.any("f"),
            lambda: f"{self.any('A')}[{self.position()}]",
            lambda: f"{self.any('M')}[{self.position()}, {self.position()}]",
            lambda: f"({self.number(depth + 1)} {self.r.choice('+-*')} {self.number(depth + 1)})",
            lambda: f"np.sin({self.number(depth + 1)})",
            lambda: f"({self.number(depth + 1)} if {self.condition(depth + 1)} else {self.number(depth + 1)})",
            lambda: f"np.sum({self.vector(depth + 1)})",
            lambda: f"max({self.number(depth + 1)}, {self.number(depth + 1)})",
            lambda: f"float({self.any('i')})",
            lambda: f"abs({self.number(depth + 1)})",
            lambda: f"total({self.any('A')})",
            lambda: f"({self.number(depth + 1)} / (1.5 + abs({self.number(depth + 1)})))",
        ]
        return self.r.choice(forms if depth < 3 else forms[:5])()

    def position(self) -> str:
        n = self.any("i")
        k = self.r.randint(0, 3)
        return self.r.choice([str(k - 3), str(k % 3), f"{n} % 3", f"({n} + {k}) % 3", f"-1 - {n} % 3"])

    def condition(self, depth: int = 0) -> str:
        forms = [
            lambda: f"{self.number(2)} > {self.number(2)}",
            lambda: f"{self.any('i')} % 2 == {self.r.randint(0, 1)}",
            lambda: f"{self.any('f')} < {round(self.r.uniform(-1, 1), 2)}",
            lambda: f"({self.condition(depth + 1)} and {self.condition(depth + 1)})",
            lambda: f"({self.condition(depth + 1)} or {self.condition(depth + 1)})",
            lambda: f"not {self.condition(depth + 1)}",
            lambda: f"{round(self.r.uniform(-2, 0), 2)} < {self.any('f')} <= {round(self.r.uniform(0, 2), 2)}",
        ]
        return self.r.choice(forms if depth < 2 else forms[:3])()

    def vector(self, depth: int = 0) -> str:
        forms = [
            lambda: self.any("A"),
            lambda: self.any("A"),
            lambda: f"({self.vector(depth + 1)} {self.r.choice('+-*')} {self.vector(depth + 1)})",
            lambda: f"({self.vector(depth + 1)} * {self.number(2)})",
            lambda: f"{self.vector(depth + 1)}[::-1]",
            lambda: f"{self.any('M')}[{self.position()}]",
            lambda: f"{self.any('M')}[:, {self.position()}]",
            lambda: f"{self.vector(depth + 1)}.copy()",
            lambda: f"np.where({self.vector(depth + 1)} > {self.number(2)}, {self.vector(depth + 1)}, 0.5)",
        ]
        return self.r.choice(forms if depth < 3 else forms[:2])()

    # statements

    def emit(self, text: str, deeper: int = 0) -> None:
        self.lines.append("    " * (self.depth + 1 + deeper) + text)

    def new(self, kind: str) -> str:
        self.fresh += 1
        return f"{kind}{self.fresh}"

    def block(self, count: int, *opening: str) -> None:
        before, start = dict(self.kinds), len(self.lines)
        self.depth += 1
        for text in opening:
            self.emit(text)
        for _ in range(count):
            self.statement()
        if len(self.lines) == start:
            self.emit("pass")
        self.depth -= 1
        if self.r.random() < 0.7:
            self.kinds = before

    def statement(self) -> None:
        if self.budget <= 0:
            return
        self.budget -= 1
        kind = self.r.choice(
            ["write"] * 9 + ["bind"] * 9 + ["if"] * 3 + ["for"] * 3 + ["while", "leave", "call", "call"]
        )
        getattr(self, f"{kind}_statement")()

    def bind_statement(self) -> None:
        r = self.r
        form = r.randint(0, 6)
        if form == 0:
            self.define("f", self.number())
        elif form == 1:
            self.emit(f"{self.any('f')} {r.choice(['=', '+=', '*='])} {self.number()}")
        elif form == 2:
            self.define("A", self.vector())
        elif form == 3:
            self.emit(f"{self.any('A')} = {self.vector()}")
        elif form == 4:
            a, b = self.any("A"), self.any("A")
            self.emit(f"{a}, {b} = {b}, {a}")
        elif form == 5:
            self.define("A", f"{self.vector(2)} if {self.condition()} else {self.vector(2)}")
        else:
            self.define("A", f"pick({self.number(2)}, {self.any('A')}, {self.any('A')})")

    def define(self, kind: str, text: str) -> None:
        name = self.new(kind)
        self.emit(f"{name} = {text}")
        self.kinds[name] = kind

    def write_statement(self) -> None:
        r = self.r
        # the right side is a new array: NumPy itself gets overlapping rows and columns wrong (`M[1] = M[:, 2]`)
        value = r.choice([f"({self.vector(1)}) * 1.0", self.number(1)])
        a, M = self.any("A"), self.any("M")
        target = r.choice(
            [
                f"{a}[:]", f"{a}[::-1]", f"{a}", f"{a}[{r.randint(0, 1)}:]", f"{a}[1:2]",
                f"{M}[{self.position()}]", f"{M}[:, {self.position()}]",
            ]
        )  # fmt: skip
        if target.endswith(("1:]", "0:]", "1:2]")) or r.random() < 0.4:
            value = self.number(1)
            if r.random() < 0.5:
                target = r.choice([f"{a}[{self.position()}]", f"{M}[{self.position()}, {self.position()}]"])
        self.emit(f"{target} {r.choice(['+=', '*=', '-='] if target == a else ['=', '+=', '*='])} {value}")

    def call_statement(self) -> None:
        if self.r.random() < 0.5:
            part = self.r.choice([self.any("A"), f"{self.any('A')}[1:]", f"{self.any('M')}[{self.position()}]"])
            self.emit(f"scale({part}, {self.number(2)})")
        else:
            self.emit(f"{self.any('f')} = {self.number(2)} + first_above({self.any('A')}, {self.number(2)})")

    def if_statement(self) -> None:
        if self.depth >= 4:
            return
        self.emit(f"if {self.condition()}:")
        self.block(self.r.randint(1, 3))
        if self.r.random() < 0.3:
            self.emit(f"elif {self.condition()}:")
            self.block(self.r.randint(1, 2))
        if self.r.random() < 0.5:
            self.emit("else:")
            self.block(self.r.randint(1, 3))

    def for_statement(self) -> None:
        if self.depth >= 4:
            return
        r, n = self.r, self.any("i")
        bounds = r.choice(
            [
                f"range({n} % 4)", f"range({r.randint(1, 4)})", "range(len(a))", f"range({r.randint(2, 3)}, -1, -1)",
                f"range({n} % 5, {r.randint(0, 6)}, {r.choice([1, 2, -1])})",
            ]
        )  # fmt: skip
        name = self.new("i")
        self.emit(f"for {name} in {bounds}:")
        self.loop(name)

    def while_statement(self) -> None:
        if self.depth >= 4:
            return
        name = self.new("i")
        self.emit(f"{name} = 0")
        self.emit(f"while {name} < {self.r.randint(1, 4)} and {self.condition(1)}:")
        self.loop(name, f"{name} += 1")

    def loop(self, name: str, *opening: str) -> None:
        self.kinds[name] = "i"
        self.loops += 1
        self.block(self.r.randint(1, 4), *opening)
        self.loops -= 1
        if not opening:
            self.kinds.pop(name, None)
        if self.r.random() < 0.2:
            self.emit("else:")
            self.block(1)

    def leave_statement(self) -> None:
        self.emit(f"if {self.condition()}:")
        way = self.r.choice(["break", "continue", "return"]) if self.loops else "return"
        self.emit(way if way != "return" else f"return {self.number()}", 1)

    def program(self) -> str:
        while self.budget > 0:
            self.statement()
        self.emit(f"return x + y + np.sum({self.any('A')}) + np.sum(a * 0.3) - np.sum(b) + np.sum(M * M)")
        return HELPERS + "def program(x, y, n, a, b, M):\n" + "\n".join(self.lines) + "\n"


def inputs(seed: int) -> list[tuple]:
    out: list[tuple] = []
    for k in range(4):
        r = np.random.default_rng(seed * 7 + k)
        x, y = r.normal(size=2)
        out.append(
            (float(x), float(y), int(r.integers(0, 6)), r.normal(size=3), r.normal(size=3), r.normal(size=(3, 3)))
        )
    return out


def run(seed: int) -> bool:
    """Check one program; False where it is refused."""
    source = Generator(seed).program()
    name = f"<random {seed}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    namespace: dict = {"np": np}
    exec(compile(source, name, "exec"), namespace)
    program = namespace["program"]
    try:
        traced, _ = tracing.traced_of(program, inputs(seed)[0])
    except InternalError:
        raise
    except AdjitError as error:
        assert error.span is not None
        assert error.help
        return False
    for args in inputs(seed):
        tracing.compare(program, traced, args, rtol=1e-9)
    return True


@pytest.mark.parametrize("block", range(4))
def test_random_programs(block: int) -> None:
    traced = sum(run(seed) for seed in range(40 * block, 40 * block + 40))
    assert traced >= 30, "most programs should be traced"


@pytest.mark.slow
@pytest.mark.daily(2)
@pytest.mark.parametrize("block", range(10))
def test_many_random_programs(block: int) -> None:
    traced = sum(run(seed) for seed in range(1000 + 200 * block, 1200 + 200 * block))
    assert traced >= 150
