"""A writer of straight-line LLVM code: in, Python expressions over `Real`, `Word` and `Mask`; out, LLVM text.

The bodies of the elementary functions are written as Python functions of a `Writer` and of float64 values.
What they compute *with* is not numbers but the values of this module, whose operators append one LLVM
instruction each. So `x * y + 1.0` reads as mathematics and becomes exactly `fmul`, `fadd`: nothing is
contracted, reassociated or reordered unless the body says so. All code is scalar and free of branches (but
for `Writer.rarely`); LLVM's loop vectorizer widens it to whatever the machine has.

Only instructions that vectorize on every common machine are offered: no conversions between integers and
floats (they need AVX-512 on x86), no arithmetic shifts of 64-bit words (likewise), no `floor` or `rint`
(SSE4.1).

>>> w = Writer(fused=True, single=False)
>>> y = w.muladd(w.argument(0), 2.0, 1.0)
>>> print(w.lines[0])
  %v0 = call double @llvm.fma.f64(double %x0, double 0x4000000000000000, double 0x3FF0000000000000)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

ROUND: float = 1.5 * 2.0**52
"""Added to a number below 2**51, leaves the nearest integer in the low bits of the sum."""

WIDTHS = (2, 4, 8, 16)
"""The numbers of float64 lanes that the vectorizer may choose."""

WORD_MASK = (1 << 64) - 1
MANTISSA = (1 << 52) - 1


def bits_of(value: float) -> int:
    """Return the 64 bits of a double as an integer.

    >>> hex(bits_of(1.0))
    '0x3ff0000000000000'
    """
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """An SSA value of the function being written; `name` is its LLVM spelling."""

    writer: Writer
    name: str


class Mask(Value):
    """A truth value (i1)."""

    __slots__ = ()

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.writer, self.writer.add(f"and i1 {self.name}, {other.name}"))

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.writer, self.writer.add(f"or i1 {self.name}, {other.name}"))

    def __xor__(self, other: Mask) -> Mask:
        return Mask(self.writer, self.writer.add(f"xor i1 {self.name}, {other.name}"))

    def __invert__(self) -> Mask:
        return Mask(self.writer, self.writer.add(f"xor i1 {self.name}, true"))


class Word(Value):
    """64 bits; arithmetic is modulo 2**64, shifts fill with zeros."""

    __slots__ = ()

    def _binary(self, operation: str, other: Word | int) -> Word:
        return Word(self.writer, self.writer.add(f"{operation} i64 {self.name}, {self.writer.word(other).name}"))

    def __add__(self, other: Word | int) -> Word:
        return self._binary("add", other)

    def __sub__(self, other: Word | int) -> Word:
        return self._binary("sub", other)

    def __rsub__(self, other: int) -> Word:
        return self.writer.word(other)._binary("sub", self)

    def __and__(self, other: Word | int) -> Word:
        return self._binary("and", other)

    def __or__(self, other: Word | int) -> Word:
        return self._binary("or", other)

    def __xor__(self, other: Word | int) -> Word:
        return self._binary("xor", other)

    def __lshift__(self, other: int) -> Word:
        return self._binary("shl", other)

    def __rshift__(self, other: int) -> Word:
        return self._binary("lshr", other)

    def equals(self, other: Word | int) -> Mask:
        """Whether both have the same bits."""
        return Mask(self.writer, self.writer.add(f"icmp eq i64 {self.name}, {self.writer.word(other).name}"))

    def real(self) -> Real:
        """The double with these bits."""
        return Real(self.writer, self.writer.add(f"bitcast i64 {self.name} to double"))


class Real(Value):
    """A float64; comparisons are false when an operand is NaN."""

    __slots__ = ()

    def _binary(self, operation: str, other: Real | float, swapped: bool = False) -> Real:
        first, second = self, self.writer.real(other)
        if swapped:
            first, second = second, first
        return Real(self.writer, self.writer.add(f"{operation} double {first.name}, {second.name}"))

    def _compare(self, condition: str, other: Real | float) -> Mask:
        text = f"fcmp {condition} double {self.name}, {self.writer.real(other).name}"
        return Mask(self.writer, self.writer.add(text))

    def __add__(self, other: Real | float) -> Real:
        return self._binary("fadd", other)

    def __radd__(self, other: float) -> Real:
        return self._binary("fadd", other, swapped=True)

    def __sub__(self, other: Real | float) -> Real:
        return self._binary("fsub", other)

    def __rsub__(self, other: float) -> Real:
        return self._binary("fsub", other, swapped=True)

    def __mul__(self, other: Real | float) -> Real:
        return self._binary("fmul", other)

    def __rmul__(self, other: float) -> Real:
        return self._binary("fmul", other, swapped=True)

    def __truediv__(self, other: Real | float) -> Real:
        return self._binary("fdiv", other)

    def __rtruediv__(self, other: float) -> Real:
        return self._binary("fdiv", other, swapped=True)

    def __neg__(self) -> Real:
        return Real(self.writer, self.writer.add(f"fneg double {self.name}"))

    def __abs__(self) -> Real:
        return self.writer.intrinsic("fabs", self)

    def __lt__(self, other: Real | float) -> Mask:
        return self._compare("olt", other)

    def __le__(self, other: Real | float) -> Mask:
        return self._compare("ole", other)

    def __gt__(self, other: Real | float) -> Mask:
        return self._compare("ogt", other)

    def __ge__(self, other: Real | float) -> Mask:
        return self._compare("oge", other)

    def equals(self, other: Real | float) -> Mask:
        """Whether both are the same number (0.0 equals -0.0, NaN equals nothing)."""
        return self._compare("oeq", other)

    def unordered(self, other: Real | float) -> Mask:
        """Whether either is NaN."""
        return self._compare("uno", other)

    def sqrt(self) -> Real:
        """The correctly rounded square root: one machine instruction."""
        return self.writer.intrinsic("sqrt", self)

    def with_sign_of(self, other: Real) -> Real:
        """This magnitude with the sign bit of `other`."""
        return self.writer.intrinsic("copysign", self, other)

    def word(self) -> Word:
        """The bits."""
        return Word(self.writer, self.writer.add(f"bitcast double {self.name} to i64"))


class Writer:
    """Collects the instructions of one function of float64 arguments `%x0`, `%x1`, ….

    `fused` says whether the machine has a fused multiply-add. With it, `muladd` rounds once; without, twice,
    and the exact product of `two_product` is made of half-length factors. Either way the result of an element
    does not depend on its position in a vector, since LLVM is never left the choice. `single` says that the
    result will be rounded to float32, so that the body may stop at about 30 correct bits.
    """

    def __init__(self, *, fused: bool, single: bool) -> None:
        self.fused = fused
        self.single = single
        self.lines: list[str] = []
        self.declared: dict[str, tuple[str, tuple[str, ...]]] = {}  # LLVM intrinsics: result, operands
        self.constants: dict[str, tuple[int, ...]] = {}  # tables of words
        self.rare: dict[str, tuple[Callable[..., Real], int]] = {}  # what `rarely` calls, numbers of operands
        self._count = 0
        self._block = "entry"

    def add(self, text: str) -> str:
        """Append one instruction and return the name of its result."""
        name = f"%v{self._count}"
        self._count += 1
        self.lines.append(f"  {name} = {text}")
        return name

    def call(self, function: str, result: str, *operands: tuple[str, Value | str]) -> str:
        """Call an LLVM intrinsic, with (type, value) operands; return the name of the result."""
        self.declared[function] = (result, tuple(kind for kind, _ in operands))
        arguments = ", ".join(f"{kind} {v if isinstance(v, str) else v.name}" for kind, v in operands)
        return self.add(f"call {result} @{function}({arguments})")

    def intrinsic(self, name: str, *operands: Real) -> Real:
        """Call `llvm.<name>.f64`."""
        return Real(self, self.call(f"llvm.{name}.f64", "double", *(("double", x) for x in operands)))

    def argument(self, index: int) -> Real:
        """The function's argument `index`."""
        return Real(self, f"%x{index}")

    def real(self, value: Real | float) -> Real:
        """A constant, spelt by its bits so that nothing is lost; a `Real` passes unchanged."""
        return value if isinstance(value, Real) else Real(self, f"0x{bits_of(float(value)):016X}")

    def word(self, value: Word | int) -> Word:
        """An integer constant, modulo 2**64; a `Word` passes unchanged."""
        return value if isinstance(value, Word) else Word(self, str(value & WORD_MASK))

    def select(self, mask: Mask, yes: Real | float, no: Real | float) -> Real:
        """`yes` where `mask`, else `no`; both are computed."""
        text = f"select i1 {mask.name}, double {self.real(yes).name}, double {self.real(no).name}"
        return Real(self, self.add(text))

    def select_word(self, mask: Mask, yes: Word | int, no: Word | int) -> Word:
        """`yes` where `mask`, else `no`."""
        text = f"select i1 {mask.name}, i64 {self.word(yes).name}, i64 {self.word(no).name}"
        return Word(self, self.add(text))

    def at_most(self, x: Real, bound: float) -> Real:
        """min(x, bound), NaN staying NaN."""
        return self.select(x > bound, bound, x)

    def at_least(self, x: Real, bound: float) -> Real:
        """max(x, bound), NaN staying NaN."""
        return self.select(x < bound, bound, x)

    def muladd(self, a: Real, b: Real | float, c: Real | float) -> Real:
        """a * b + c, in one rounding where the machine can, in two where it cannot."""
        if self.fused:
            return self.intrinsic("fma", a, self.real(b), self.real(c))
        return a * b + c

    def two_product(self, a: Real, b: Real | float) -> tuple[Real, Real]:
        """(p, e): p = a * b rounded, p + e the exact product (without a fused multiply-add: T. J. Dekker)."""
        b = self.real(b)
        product = a * b
        if self.fused:
            return product, self.intrinsic("fma", a, b, -product)
        a_high, b_high = self._upper_half(a), self._upper_half(b)
        a_low, b_low = a - a_high, b - b_high
        error = ((a_high * b_high - product) + a_high * b_low) + a_low * b_high
        return product, error + a_low * b_low

    def _upper_half(self, x: Real) -> Real:
        return (x.word() & ~((1 << 27) - 1)).real()

    def residual(self, c: Real, a: Real, b: Real) -> Real:
        """c - a * b, exact where c is near a * b."""
        if self.fused:
            return self.intrinsic("fma", -a, b, c)
        product, error = self.two_product(a, b)
        return (c - product) - error

    def two_sum(self, a: Real, b: Real) -> tuple[Real, Real]:
        """(s, e): s = a + b rounded, s + e the exact sum (D. E. Knuth)."""
        total = a + b
        b_part = total - a
        return total, (a - (total - b_part)) + (b - b_part)

    def fast_two_sum(self, a: Real, b: Real) -> tuple[Real, Real]:
        """As `two_sum`, for |a| >= |b| or a = 0 (T. J. Dekker)."""
        total = a + b
        return total, (a - total) + b

    def polynomial(self, x: Real, coefficients: Sequence[float]) -> Real:
        """The value at x, lowest coefficient first, as a tree (G. Estrin): about log2(degree) dependent
        steps.
        """
        terms: list[Real | float] = list(coefficients)
        power = x
        while len(terms) > 1:
            pairs: list[Real | float] = []
            for low in range(0, len(terms) - 1, 2):
                pairs.append(self.muladd(power, terms[low + 1], terms[low]))
            if len(terms) % 2:
                pairs.append(terms[-1])
            terms = pairs
            if len(terms) > 1:
                power = power * power
        return self.real(terms[0])

    def power_of_two(self, exponent: Word) -> Real:
        """2**n for the n in the low 12 bits of `exponent` plus 1023, from -1022 to 1023: the caller adds the
        bias.
        """
        return (exponent << 52).real()

    def small_integer(self, word: Word) -> Real:
        """The number in a word below 2**52, plus 2**52: a conversion without a conversion instruction."""
        return (word | bits_of(2.0**52)).real()

    def rarely(
        self, mask: Mask, name: str, body: Callable[..., Real], operands: tuple[Real, ...], otherwise: Real
    ) -> Real:
        """`body(*operands)` where `mask`, else `otherwise`; `name` is unique to the body.

        The only branch there is. It is not in the way of the vectorizer: the body becomes a function of its own,
        with masked vector forms (see `lowering.py`).
        """
        label = f"rare{self._count}"
        self._count += 1
        self.rare[name] = (body, len(operands))
        arguments = ", ".join(f"double {x.name}" for x in operands)
        self.lines += [
            f"  br i1 {mask.name}, label %{label}, label %{label}.join",
            f"{label}:",
            f"  %{label}.value = call double @adjit_{name}({arguments}) {vector_forms(name, len(operands))}",
            f"  br label %{label}.join",
            f"{label}.join:",
        ]
        arms = f"[ {otherwise.name}, %{self._block} ], [ %{label}.value, %{label} ]"
        self._block = f"{label}.join"
        return Real(self, self.add(f"phi double {arms}"))


def vector_forms(name: str, count: int) -> str:
    """The attribute that tells the vectorizer of the masked vector forms of `adjit_<name>`."""
    names = (f"_ZGV_LLVM_M{n}{'v' * count}_adjit_{name}(adjit_{name}_v{n})" for n in WIDTHS)
    return f'"vector-function-abi-variant"="{",".join(names)}"'
