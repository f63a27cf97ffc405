"""Random valid programs of the IR, for tests that compare a program with what became of it.

Programs use every kind of control flow, aliasing-free array writes, checks that may fail, slices, tapes
pushed in one loop and popped in the reverse one, and many operands that rules look for (zeros, ones, equal
operands).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from adjit.ir.core import Builder, Const, Function, Region, Span, Value, const
from adjit.ir.interp import run
from adjit.ir.types import BOOL, F32, F64, I64, Array, DType, Scalar, Tape

VECTOR, MATRIX = Array(F64, (None,)), Array(F64, (None, None))
SCALARS: dict[DType, list[Any]] = {
    F64: [0.0, 0.0, -0.0, 1.0, -1.0, 2.0, 0.5, 3.25],
    I64: [0, 1, 1, 2, -1],
    BOOL: [True, False],
    F32: [0.0, 1.0, 0.1],
}


class Generator:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.budget = self.random.choice([8, 25, 50, 80])
        self.line = 0

    def function(self) -> Function:
        args = [
            Value(Scalar(F64), "x"),
            Value(Scalar(I64), "n"),
            Value(VECTOR, "a"),
            Value(MATRIX, "m"),
            Value(Scalar(BOOL), "p"),
            Value(Scalar(F32), "h"),
        ]
        body = Region(list(args))
        with Builder(body) as b:
            pool = list(args)
            self.block(b, pool, 3)
            made = self.plain(pool)[len(args) :]
            b.emit("return", made[:: max(1, len(made) // 16)] + made[-2:] + args[-1:])
        return Function("random", body, {"args": tuple(a.name for a in args)})

    def args(self) -> list[Any]:
        r = np.random.default_rng(self.random.randrange(10**9))
        small = r.random() < 0.25
        rows, columns, length = (int(k) for k in (r.integers(0, 3, size=3) if small else r.integers(3, 6, size=3)))
        return [
            float(r.choice([r.normal(), 0.0, -0.0, np.inf], p=[0.7, 0.1, 0.1, 0.1])),
            int(r.integers(-1, 5)),
            r.normal(size=length),
            r.normal(size=(rows, columns)),
            bool(r.integers(2)),
            np.float32(r.normal()),
        ]

    # ------------------------------------------------------------ values

    def plain(self, pool: list[Value]) -> list[Value]:
        return [v for v in pool if not isinstance(v.type, Tape)]

    def value(self, pool: list[Value], type_: Any) -> Value:
        """A value of a type from the pool, the newer the likelier; sometimes a constant."""
        fitting = [v for v in pool if v.type == type_]
        if isinstance(type_, Scalar) and (not fitting or self.random.random() < 0.25):
            return Const(self.random.choice(SCALARS[type_.dtype]), type_.dtype)
        return fitting[-1 - min(int(self.random.expovariate(0.4)), len(fitting) - 1)]

    def number(self, pool: list[Value]) -> Value:
        return self.value(pool, Scalar(F64))

    def integer(self, pool: list[Value]) -> Value:
        return self.value(pool, Scalar(I64))

    # ------------------------------------------------------------ operations

    def block(self, b: Builder, pool: list[Value], depth: int) -> None:
        """Operations; what they define joins the pool."""
        for _ in range(self.random.randint(1, 7)):
            if self.budget <= 0:
                return
            self.budget -= 1
            self.line += 1
            choices = [self.scalar, self.scalar, self.integers, self.logic, self.array, self.array, self.element]
            choices += [self.element, self.again, self.again]
            if depth:
                choices += [self.branch, self.loop, self.while_, self.taped, self.check]
            with b.at(Span("random.py", self.line)):
                pool += [v for v in self.random.choice(choices)(b, pool, depth) if v is not None]

    def scalar(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        name = self.random.choice("add sub mul div neg sin select cast maximum".split())
        if name == "sin":
            name = "neg"
        if name == "cast":
            source = self.random.choice([F64, I64, F32])
            target = self.random.choice([F64, F32])
            x = self.value(pool, Scalar(source))
            y = b.emit1("cast", [x], {"dtype": target})
            return [y, b.emit1("cast", [y], {"dtype": self.random.choice([F64, F32])})]
        type_ = Scalar(self.random.choice([F64, F64, F64, F32]))
        operands = [self.value(pool, type_) for _ in range(1 if name == "neg" else 2)]
        if name == "select":
            operands.insert(0, self.value(pool, Scalar(BOOL)))
        if name == "maximum":
            name = "add"
        return b.emit(name, operands)

    def integers(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        name = self.random.choice("add sub mul add sub dim neg".split())
        if name == "dim":
            array = self.value(pool, self.random.choice([VECTOR, MATRIX]))
            return b.emit("dim", [array], {"axis": self.random.randrange(array.rank)})
        return b.emit(name, [self.integer(pool) for _ in range(1 if name == "neg" else 2)])

    def logic(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        if self.random.random() < 0.6:
            type_ = self.random.choice([Scalar(F64), Scalar(I64)])
            name = self.random.choice("lt le gt ge eq ne".split())
            return b.emit(name, [self.value(pool, type_), self.value(pool, type_)])
        name = self.random.choice("logical_and logical_or logical_not".split())
        count = 1 if name == "logical_not" else 2
        return b.emit(name, [self.value(pool, Scalar(BOOL)) for _ in range(count)])

    def again(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        """An operation that was done before, perhaps with its operands swapped."""
        done = [v.op for v in pool if v.op is not None and not v.op.regions and len(v.op.results) == 1]
        done = [op for op in done if not op.name.startswith("tape")]
        if not done:
            return []
        arithmetic = [op for op in done if op.name in ("sub", "div", "add", "mul")]
        op = self.random.choice((arithmetic or done)[-4:])
        operands = list(op.operands)
        swap = len(operands) == 2 and operands[0].type == operands[1].type and op.name != "bound"
        if swap and self.random.random() < 0.7:
            operands.reverse()
        return b.emit(op.name, operands, op.attrs)

    def position(self, b: Builder, pool: list[Value], array: Value, axis: int) -> Value:
        """An index that is usually valid: small, or near an induction variable."""
        n = b.emit1("dim", [array], {"axis": axis})
        inductions = [v for v in pool if v.name == "i" and v.op is None]
        i = self.integer(pool)
        if self.random.random() < 0.75:
            i = (
                self.random.choice(inductions)
                if inductions and self.random.random() < 0.7
                else self.random.choice([const(0), const(1), const(2)])
            )
            if self.random.random() < 0.4:
                i = b.emit1(self.random.choice(["add", "sub"]), [i, const(1)])
        if self.random.random() < 0.2:  # under a condition that may or may not suffice
            inside = Region()
            limit = self.random.choice([n, const(2)])
            with Builder(inside) as inner:
                inner.emit("yield", [inner.emit1("bound", [i, n], {"what": "index", "axis": axis})])
            outside = Region()
            with Builder(outside) as inner:
                zero = inner.emit1("bound", [const(0), n], {"what": "index", "axis": axis})
                inner.emit("yield", [zero])
            test = b.emit1(self.random.choice(["lt", "le", "ge", "eq"]), [i, limit])
            regions = [inside, outside] if self.random.random() < 0.7 else [outside, inside]
            return b.emit("if", [test], {}, regions)[0]
        return b.emit1("bound", [i, n], {"what": "index", "axis": axis})

    def length(self, b: Builder, pool: list[Value]) -> Value:
        """An integer that is an extent: not negative, and small."""
        small = b.emit1("select", [b.emit1("lt", [k := self.integer(pool), const(4)]), k, const(2)])
        return b.emit1("select", [b.emit1("gt", [small, const(0)]), small, const(0)])

    def array(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        kind = self.random.choice("map fill broadcast transpose row slice sum update store zip".split())
        v = self.value(pool, VECTOR)
        m = self.value(pool, MATRIX)
        if kind == "map":
            x = self.random.choice([v, m])
            return b.emit(self.random.choice(["add", "mul", "sub"]), self.shuffled([x, self.number(pool)]))
        if kind == "zip":
            w = self.value(pool, VECTOR) if self.random.random() < 0.5 else b.emit1("mul", [v, v])
            p, q = (b.emit1("dim", [u], {"axis": 0}) for u in (v, w))
            b.emit("same_extent", [p, q], {"what": "operands differ"})
            return b.emit(self.random.choice(["add", "mul"]), [v, w])
        if kind == "fill":
            return b.emit("fill", [self.number(pool), self.length(b, pool)])[:1]
        if kind == "broadcast":
            n = b.emit1("dim", [v], {"axis": 0})
            other = self.length(b, pool)
            first = self.random.random() < 0.5
            return b.emit("broadcast", [v, *([n, other] if first else [other, n])], {"axes": (0 if first else 1,)})
        if kind == "transpose":
            return b.emit("transpose", [m], {"perm": self.random.choice([(0, 1), (1, 0)])})
        if kind == "row":
            axis = self.random.randrange(2)
            return b.emit("index", [m, self.position(b, pool, m, axis)], {"spec": ":i" if axis else "i:"})
        if kind == "slice":
            return [self.slice(b, pool, v)[0]]
        if kind == "sum":
            return b.emit("reduce_sum", [v], {"axes": (0,)}) if "reduce_sum" in known() else []
        if kind == "update":
            part, positions = self.slice(b, pool, v)
            name = self.random.choice(["update", "accumulate"])
            new = self.random.choice([part, self.number(pool)])
            return b.emit(name, [v, new, *positions], {"spec": "s"})
        axis = self.random.randrange(2)
        name = self.random.choice(["update", "accumulate"])
        place = self.position(b, pool, m, axis)
        return b.emit(name, [m, self.number(pool), place], {"spec": ":i" if axis else "i:"})

    def shuffled(self, values: list[Value]) -> list[Value]:
        return self.random.sample(values, len(values))

    def slice(self, b: Builder, pool: list[Value], v: Value) -> tuple[Value, list[Value]]:
        """A slice clipped as Python does for lo = 1 or 0 and hi = n or n - 1."""
        n = b.emit1("dim", [v], {"axis": 0})
        lo = self.random.choice([0, 1])
        raw = b.emit1("sub", [n, const(lo + self.random.choice([0, 1]))])
        length = b.emit1("select", [b.emit1("gt", [raw, const(0)]), raw, const(0)])
        positions = [const(lo), length, const(1)]
        return b.emit1("index", [v, *positions], {"spec": "s"}), positions

    def element(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        if self.random.random() < 0.5:
            v, spec, axes = self.value(pool, VECTOR), "i", (0,)
        else:
            v, spec, axes = self.value(pool, MATRIX), "ii", (0, 1)
        places = [self.position(b, pool, v, axis) for axis in axes]
        kind = self.random.choice(["index", "update", "accumulate", "both", "race", "beside"])
        if kind == "beside":  # all but the first element is written, and the first one read
            v = self.value(pool, VECTOR)
            n = b.emit1("dim", [v], {"axis": 0})
            first = b.emit1("bound", [const(0), n], {"what": "index", "axis": 0})
            rest = [const(1), b.emit1("sub", [n, const(1)]), const(1)]
            written = b.emit1("update", [v, self.number(pool), *rest], {"spec": "s"})
            return b.emit("index", [written, first], {"spec": "i"})
        if kind == "index":
            return b.emit("index", [v, *places], {"spec": spec})
        if kind == "race":  # is what was written here still here, when something was written there?
            there = [self.position(b, pool, v, axis) for axis in axes]
            first = b.emit1("update", [v, self.number(pool), *places], {"spec": spec})
            second = b.emit1("update", [first, self.number(pool), *there], {"spec": spec})
            return [second, b.emit1("index", [second, *places], {"spec": spec})]
        name = "update" if kind == "both" else kind
        new = b.emit1(name, [v, self.number(pool), *places], {"spec": spec})
        if kind == "both":
            return [new, b.emit1("index", [new, *places], {"spec": spec})]
        return [new]

    def check(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        ok = b.emit1("logical_or", [self.value(pool, Scalar(BOOL)), b.emit1("lt", [self.integer(pool), const(9)])])
        b.emit("check", [ok, self.integer(pool)], {"error": "ValueError", "message": "no: {0}"})
        return [ok]

    # ------------------------------------------------------------ control flow

    def some(self, pool: list[Value]) -> list[Value]:
        plain = self.plain(pool)
        chosen = self.random.sample(plain, k=min(len(plain), self.random.randint(0, 4)))
        return [v for v in chosen if self.random.random() < 0.9]

    def branch(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        like = self.some(pool)
        regions = []
        for _ in range(2):
            region = Region()
            with Builder(region) as inner:
                local = list(pool)
                if self.random.random() < 0.8:
                    self.block(inner, local, depth - 1)
                inner.emit("yield", [self.value(local, v.type) for v in like])
            regions.append(region)
        return b.emit("if", [self.value(pool, Scalar(BOOL))], {}, regions)

    def trip(self, b: Builder, pool: list[Value]) -> list[Value]:
        kind = self.random.choice(["const", "length", "dim", "inner"])
        if kind == "const":
            return [const(self.random.choice([0, 0, 1])), const(self.random.choice([0, 1, 2, 3, 3]))]
        if kind == "length":
            return [const(0), self.length(b, pool)]
        n = b.emit1("dim", [self.value(pool, VECTOR)], {"axis": 0})
        if kind == "dim":
            return [const(self.random.choice([0, 1])), n]
        return [const(1), b.emit1("sub", [n, const(1)])]

    def loop(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        bounds = self.trip(b, pool)
        inits = self.some(pool)
        body = Region([Value(Scalar(I64), "i"), *(Value(v.type, v.name) for v in inits)])
        with Builder(body) as inner:
            local = pool + body.args
            self.block(inner, local, depth - 1)
            inner.emit("yield", [self.yielded(local, body.args, v) for v in body.args[1:]])
        return b.emit("for", [*bounds, *inits], {"reverse": self.random.random() < 0.3}, [body])

    def yielded(self, local: list[Value], args: list[Value], arg: Value) -> Value:
        return arg if self.random.random() < 0.2 else self.value(local, arg.type)

    def while_(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        inits = [const(self.random.choice([0, 1])), *self.some(pool)]
        before = Region([Value(v.type, "v") for v in inits])
        body = Region()
        with Builder(before) as inner:
            local = pool + before.args
            self.block(inner, local, 0)
            limit = const(self.random.choice([0, 1, 3]))
            go = inner.emit1("lt", [before.args[0], limit])
            if self.random.random() < 0.3:
                go = inner.emit1("logical_and", [go, self.value(local, Scalar(BOOL))])
            inner.emit("test", [go])
        with Builder(body) as inner:
            local = list(local)
            self.block(inner, local, depth - 1)
            count = inner.emit1("add", [before.args[0], const(1)])
            inner.emit("yield", [count, *(self.yielded(local, before.args, v) for v in before.args[1:])])
        return b.emit("while", inits, {}, [before, body])

    def taped(self, b: Builder, pool: list[Value], depth: int) -> list[Value]:
        """A loop that keeps a value of each iteration, and the reverse loop that takes them back."""
        lo, hi = self.trip(b, pool)
        element = self.random.choice([Scalar(F64), Scalar(I64)])
        start = b.emit1("tape.new", [], {"element": element})
        x = self.number(pool)
        body = Region([Value(Scalar(I64), "i"), Value(x.type, "s"), Value(start.type, "t")])
        with Builder(body) as inner:
            local = pool + body.args[:2]
            self.block(inner, local, depth - 1)
            kept = inner.emit1("tape.push", [body.args[2], self.value(local, element)])
            inner.emit("yield", [self.number(local), kept])
        y, tape = b.emit("for", [lo, hi, x, start], {"reverse": False}, [body])
        back = Region([Value(Scalar(I64), "i"), Value(x.type, "s"), Value(start.type, "t")])
        with Builder(back) as inner:
            rest, v = inner.emit("tape.pop", [back.args[2]])
            used = self.random.random() < 0.7 and element == Scalar(F64)
            local = pool + back.args[:2]
            self.block(inner, local, depth - 1)
            s = inner.emit1("add", [back.args[1], v]) if used else self.number(local)
            inner.emit("yield", [s, rest])
        z, _ = b.emit("for", [lo, hi, y, tape], {"reverse": True}, [back])
        return [y, z] if self.random.random() < 0.7 else [y]


def known() -> dict[str, Any]:
    from adjit.ir.ops import REGISTRY

    return REGISTRY


def outcome(function: Function, args: list[Any]) -> Any:
    """Results as bytes (every nan alike), or the error that was raised."""
    try:
        results = run(function, args)
    except (IndexError, ValueError) as error:
        return type(error).__name__, str(error)
    out = []
    for r in results:
        array = np.array(r)
        if array.dtype.kind == "f":
            array[np.isnan(array)] = np.nan
        out.append((array.dtype, array.shape, array.tobytes()))
    return out
