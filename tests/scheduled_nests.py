"""Random nests of scheduled IR: a loop over %j, an inner loop over %k, and another one around them.

In: a seed. Out: the text of a function that copies two matrices and a vector and runs such a nest over them, with
reads, writes and sums at random places. Most of these nests must not be reordered; a pass that moves pairs of turns is
right if it leaves every bit of every result as it was.
"""

from __future__ import annotations

import random

__all__ = ["nest"]

COPY = """
  for %p in (0, %m) {{
    for %q in (0, %m) {{
      %e{0}: f64 = buffer.load %{0}0, %p, %q
      buffer.store %e{0}, %{0}, %p, %q
      yield
    }}
    yield
  }}"""
PROGRAM = """func @f.vjp(%a0: &f64[?,?], %d0: &f64[?,?], %v0: &f64[?], %n: i64) -> (&f64[?,?], &f64[?,?], &f64[?]) {{
  %m: i64 = buffer.dim %v0 {{axis=0}}
  %a: &f64[?,?] = buffer.alloc %m, %m {{dtype=f64}}
  %d: &f64[?,?] = buffer.alloc %m, %m {{dtype=f64}}
  %v: &f64[?] = buffer.alloc %m {{dtype=f64}}{copies}
  for %p in (0, %m) {{
    %ev: f64 = buffer.load %v0, %p
    buffer.store %ev, %v, %p
    yield
  }}
{outer}
    for %j in {middle} {{
      %j1: i64 = add %j, 1
{body}
      yield
    }}
{end}
  return %a, %d, %v
}}"""


class Nest:
    def __init__(self, seed: int, cotangents: bool) -> None:
        self.cotangents = cotangents
        self.random = random.Random(seed)
        self.lines: list[str] = []
        self.count = 0
        self.usual = self.random.choice([0.0, 0.6, 0.9, 1.0, 1.0])
        self.numbers: list[str] = []

    def name(self) -> str:
        self.count += 1
        return f"%t{self.count}"

    def say(self, depth: int, line: str) -> None:
        self.lines.append("  " * depth + line)

    def compute(self, depth: int, expression: str) -> str:
        name = self.name()
        self.say(depth, f"{name}: f64 = {expression}")
        return name

    def place(self, indices: list[str]) -> str:
        pick = self.random.choice
        if self.random.random() < self.usual:  # where solvers and factorizations have them
            k = indices[2]
            usual = [f"{k}, %j", f"%i, {k}", f"{k}, %i"] if k != "%j" else ["%i, %j", "%j, %j", "%j, %i"]
            return pick([f"%{pick('ad')}, {pick(usual)}"] * 4 + [f"%v, {indices[2]}"])
        if self.random.random() < 0.25:
            return f"%v, {pick(indices)}"
        return f"%{pick('aaddd')}, {pick(indices)}, {pick(indices)}"

    def value(self, depth: int, indices: list[str]) -> str:
        """A product of two numbers, not too large."""
        factors = []
        for _ in range(2):
            if self.numbers and self.random.random() < 0.4:
                factors.append(self.random.choice(self.numbers))
            else:
                factors.append(self.compute(depth, f"buffer.load {self.place(indices)}"))
        return self.compute(depth, f"mul {self.compute(depth, f'mul {factors[0]}, {factors[1]}')}, 0.0625")

    def statement(self, depth: int, indices: list[str]) -> None:
        place, value = self.place(indices), self.value(depth, indices)
        if self.random.random() < 0.75:
            old = self.compute(depth, f"buffer.load {place}")
            kind = self.random.choice(["add", "sub"])
            mark = " {accumulates=true}" if self.cotangents and kind == "add" else ""
            value = self.compute(depth, f"{kind} {old}, {value}")
            self.say(depth, f"buffer.store {value}, {place}{mark}")
            return
        self.say(depth, f"buffer.store {value}, {place}")

    def text(self) -> str:
        pick, chance = self.random.choice, self.random.random
        triangles = {"%i": ["(0, %i)", "(0, %i1)", "(%i, %n)", "(%i1, %n)", "(0, %n)", "(1, %i)"]}
        outer, end = "  %i: i64 = sub %n, 1\n  %i1: i64 = add %i, 1", ""
        if chance() < 0.8:
            outer, end = f"  for %i in {pick(['', 'reverse'])}(0, %n) {{\n    %i1: i64 = add %i, 1", "    yield\n  }"
        middle = pick(["", "reverse"]) + pick(triangles["%i"])
        inner = pick(["", "reverse"]) + pick(
            ["(0, %j)"] * 3 + ["(%j1, %n)"] * 3 + ["(0, %j1)", "(%j, %n)", "(0, %i)", "(%i, %n)", "(0, %n)", "(1, %j)"]
        )
        around, deep = ["%i", "%j", "%j"], ["%i", "%j", "%k", "%k", "%j"] + pick([[], [], ["%j1"], ["%i1"]])
        shift = pick(["", "", "", "%k, %j1", "%k, %i"])  # as in slices, which count from where they begin
        if shift:
            inner = inner.split("(")[0] + "(0, %h)"
            deep = [name.replace("%k", "%kk") for name in deep]
            self.say(3, f"%h: i64 = sub {'%n' if '%j1' in shift else '%j'}, {shift.split()[1]}")
        pulls = chance() < 0.3
        for _ in range(self.random.randrange(3)):
            self.statement(3, around)
        if chance() < 0.8:
            self.numbers.append(self.value(3, around))
            if pulls:
                self.numbers.clear()
        if pulls:
            start = pick(["0.0", self.value(3, around)])
            total, found = self.name(), self.name()
            self.say(3, f"{found}: f64 = for %k in {inner} ({total} = {start}) {{")
            if shift:
                self.say(4, f"%kk: i64 = add {shift}")
            added = self.compute(4, f"{pick(['add', 'sub'])} {total}, {self.value(4, deep)}")
            self.say(4, f"yield {added}")
            self.say(3, "}")
            self.numbers.append(found)
        else:
            for number in range(pick([1, 1, 2])):
                mine = [name + (number * "2" if "k" in name else "") for name in deep]
                k = "%k" + number * "2"
                self.say(3, f"for {k} in {inner} {{")
                if shift:
                    self.say(4, f"%k{k[1:]}: i64 = add {shift.replace('%k', k)}")
                shared = list(self.numbers)
                for _ in range(self.random.randrange(1, 3)):
                    self.statement(4, mine)
                self.numbers = shared
                self.say(4, "yield")
                self.say(3, "}")
        for _ in range(self.random.randrange(3)):
            self.statement(3, around)
        copies = COPY.format("a") + COPY.format("d")
        return PROGRAM.format(copies=copies, outer=outer, end=end, middle=middle, body="\n".join(self.lines))


def nest(seed: int, cotangents: bool = False) -> str:
    """The text of a function. `cotangents`: additions to memory have no order that anybody wrote."""
    return Nest(seed, cotangents).text()
