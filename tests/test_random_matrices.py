"""Random programs of dense linear algebra: library kernels that read matrices in several shapes, mixed with products,
transposed and written to in place. (A store was once dropped since it was read by another name only.)"""

from __future__ import annotations

import inspect
import random
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from differential import Difference, check_program
from random_programs import load

from adjit import grad, jvp

SEEDS = range(40)
COMPILED = range(40, 44)
FOUND = {
    "a Cholesky factor": """def program(b):
    return np.sum(np.linalg.cholesky(np.outer(b, b) + np.eye(len(b))))
""",
    "an orthogonal factor": """def program(b):
    return np.sum(np.linalg.qr(np.outer(b, b) + np.eye(len(b)))[0])
""",
    "a Gaussian process": """def program(b, c):
    K = np.exp(-0.5 * (b[:, None] - b) ** 2) + 0.5 * np.eye(len(b))
    L = np.linalg.cholesky(K)
    a = np.linalg.solve(L.T, np.linalg.solve(L, c))
    return 0.5 * c @ a + np.sum(np.log(np.diag(L)))
""",
}
SIZES = (4, 3)


class Writer:
    """A function of two matrices and two vectors; `matrices` and `vectors` name what there is so far."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.matrices, self.vectors = ["A", "B"], ["b", "c"]
        self.lines: list[str] = []
        for _ in range(self.random.randint(4, 7)):
            self.statement()

    def matrix(self) -> str:
        name = self.random.choice(self.matrices)
        return self.random.choice([name, name, name, f"{name}.T", f"np.tril({name})", f"{name}[::-1]"])

    def vector(self) -> str:
        return self.random.choice(self.vectors)

    def square(self) -> str:
        return self.random.choice([self.matrix(), f"({self.matrix()} @ {self.matrix()})"])

    def definite(self) -> str:
        name = self.random.choice(self.matrices)
        return f"({name} @ {name}.T + np.eye(len(b)))"

    def regular(self) -> str:
        return f"(0.3 * np.sin({self.square()}) + 3 * np.eye(len(b)))"

    def new_matrix(self) -> str:
        return self.random.choice(
            [
                lambda: f"np.linalg.inv({self.regular()})",
                lambda: f"np.linalg.solve({self.regular()}, {self.matrix()})",
                lambda: f"np.linalg.cholesky({self.definite()})",
                lambda: f"np.linalg.qr({self.regular()})[{self.random.randint(0, 1)}]",
                lambda: (
                    f"scipy.linalg.solve_triangular(np.tril({self.regular()}), {self.matrix()}, "
                    f"lower=True, trans={self.random.randint(0, 1)})"
                ),
                lambda: f"0.4 * {self.matrix()} @ {self.matrix()}",
                lambda: f"np.sin({self.matrix()}) + {self.matrix()} * {self.matrix()}",
                lambda: f"0.5 * np.outer({self.vector()}, {self.vector()}) + {self.matrix()}",
            ]
        )()

    def new_vector(self) -> str:
        return self.random.choice(
            [
                lambda: f"np.linalg.solve({self.regular()}, {self.vector()})",
                lambda: f"np.linalg.slogdet({self.regular()})[1] * {self.vector()}",
                lambda: f"0.4 * {self.matrix()} @ {self.vector()}",
                lambda: f"0.3 * np.sum({self.matrix()}, axis={self.random.randint(0, 1)})",
                lambda: f"np.diag({self.matrix()}) + {self.vector()}",
            ]
        )()

    def write(self) -> str:
        own = [name for name in self.matrices if name not in "AB"]
        if not own:
            return "B = B.copy()"
        name = self.random.choice(own)
        return self.random.choice(
            [
                f"{name}[0] *= {self.vector()}",
                f"{name}[:, 1] += 0.5 * {self.vector()}",
                f"{name}[1:] -= 0.2 * {self.random.choice(self.matrices)}[:-1]",
                f"{name} += 0.1 * {self.matrix()}",
            ]
        )

    def statement(self) -> None:
        kind = self.random.randint(0, 9)
        name = f"v{len(self.lines)}"
        if kind < 5:
            self.lines.append(f"{name} = {self.new_matrix()}")
            self.matrices.append(name)
        elif kind < 8:
            self.lines.append(f"{name} = {self.new_vector()}")
            self.vectors.append(name)
        else:
            self.lines.append(self.write())

    def __str__(self) -> str:
        last = [f"np.sum(np.tanh({name}))" for name in self.random.sample(self.matrices, 2)]
        last += [f"0.3 * {name} @ c" for name in self.random.sample(self.vectors, 2)]
        body = "\n".join(f"    {line}" for line in (*self.lines, f"return {' + '.join(last)}"))
        return f"def program(A, B, b, c):\n{body}\n"


def arguments(n: int) -> tuple[Any, ...]:
    numbers = np.random.default_rng(n)
    return tuple(0.7 * numbers.normal(size=shape) for shape in ((n, n), (n, n), n, n))


def check(text: str, compile: bool) -> None:
    """Right at every stage; none of these is refused."""
    try:
        check_program(load(text, scipy=scipy), [arguments(n) for n in SIZES], (0, 1, 2, 3), compile)
    except Difference as found:
        raise AssertionError(f"{found}\n\n{text}") from found


@pytest.mark.parametrize("seed", SEEDS)
def test_seeded_program(seed: int) -> None:
    check(str(Writer(seed)), compile=False)


@pytest.mark.parametrize("seed", COMPILED)
def test_seeded_program_compiled(seed: int) -> None:
    check(str(Writer(seed)), compile=True)


@pytest.mark.daily(1)
@pytest.mark.parametrize("body", FOUND)
def test_gradient_is_as_forward_mode_says(body: str) -> None:
    function = load(FOUND[body])
    given = dict(zip("ABbc", arguments(4), strict=True))
    args = tuple(given[name] for name in inspect.signature(function).parameters)
    gradient = grad(function)(*args)
    for at in np.ndindex(args[0].shape):
        unit = np.zeros_like(args[0])
        unit[at] = 1.0
        _, tangent = jvp(lambda x: function(x, *args[1:]), (args[0],), (unit,))
        assert gradient[at] == pytest.approx(tangent, rel=1e-9, abs=1e-11)
