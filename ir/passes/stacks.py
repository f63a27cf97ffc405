"""Stacks: tapes that are pushed and popped in step become one.

In: a function that is ready to be scheduled. Out: the same, with fewer tapes. The tapes of one reverse sweep are marked
(`stack`, an attribute of `tape.new`): whatever region of the forward sweep pushes onto one of them, its mirror pops, as
often and in the opposite order. So a single stack can hold what several of them held, which costs a loop one pointer,
one position and one comparison with the room there is, instead of as many as there are values to be kept. All that a
region pushes is pushed at its end then, and popped at the start of its mirror:

    %a: tape[f64] = tape.new {stack=1}           %s: tape[i64] = tape.new
    %b: tape[i64] = tape.new {stack=1}
    ... = while (%a1 = %a, %b1 = %b, ...) {      ... = while (%s1 = %s, ...) {
      ...                                          ...
    } do {                                       } do {
      %b2 = tape.push %b1, %i                      %c: bool = ...
      %c: bool = ...                        =>     %s3 = if %c {
      %a3 = if %c {                                  %bits: i64 = bitcast %x {dtype=i64}
        %a2 = tape.push %a1, %x                      %s2 = tape.push %s1, %bits
        yield %a2                                    yield %s2
      } else { yield %a1 }                         } else { yield %s1 }
      yield %a3, %b2, ...                          %s4 = tape.push %s3, %i
    }                                              yield %s4, ...
                                                 }

The mark is a promise about trip counts and conditions; that the regions mirror each other is looked at here, since
passes may have changed them. Numbers of 8 bytes share a stack, of other types those of one type; booleans go with
numbers of 8 bytes that their region pushes, in one word. What a `for` pushes in every turn stays apart: its memory is
reserved at once, and its place follows from the number of the turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..core import Const, Function, Op, Region, Value
from ..rewrite import clone_function
from ..types import BOOL, F64, I64, DType, Scalar, Tape

__all__ = ["run"]

LOOPS = ("for", "while")
WORDS = (F64, I64)
BITS = 62
"""How many booleans a word holds at most."""

Path = tuple[tuple[Op, int], ...]
"""The regions around an operation, outermost first, each by its operation and number (0 for the body of a loop)."""


@dataclass(eq=False)
class Site:
    """Where a tape is pushed or popped."""

    op: Op
    region: Region
    path: Path


@dataclass(eq=False)
class Track:
    """One tape: what makes it, where it is pushed and popped, and the results of control flow that carry it."""

    new: Op
    push: Site
    pop: Site
    carriers: list[Value]

    @property
    def dtype(self) -> DType:
        return self.push.op.operands[1].dtype


def run(function: Function) -> Function:
    """`function` itself where nothing shares a stack."""
    if not any(True for _ in groups(function)):
        return function
    out = clone_function(function)
    for group in list(groups(out)):
        merge(*group)
    return out


# ---------------------------------------------------------------- where tapes go


class Uses:
    """Which operations use each tape, and how regions lie in each other."""

    def __init__(self, function: Function) -> None:
        self.users: dict[Value, list[tuple[Op, Region]]] = {}
        self.parent: dict[Region, tuple[Op, Region]] = {}
        self.position: dict[Op, int] = {}
        self.marked: list[tuple[Op, Region]] = []
        self.collect(function.body)

    def collect(self, region: Region) -> None:
        for k, op in enumerate(region.ops):
            self.position[op] = k
            if op.name == "tape.new" and op.attrs.get("stack"):
                self.marked.append((op, region))
            for operand in op.operands:
                if isinstance(operand.type, Tape):
                    self.users.setdefault(operand, []).append((op, region))
            for inner in op.regions:
                self.parent[inner] = (op, region)
                self.collect(inner)

    def inside(self, region: Region, tape: Value) -> set[Op]:
        """The operations of a region that use a tape, or in which it is used."""
        out: set[Op] = set()
        for op, where in self.users.get(tape, []):
            while where is not region and where in self.parent:
                op, where = self.parent[where]
            if where is region:
                out.add(op)
        return out

    def track(self, new: Op, home: Region) -> Track | None:
        """Follow a tape from its beginning; None where it is used in another way than those of a sweep are."""
        assert isinstance(new.result.type, Tape)
        if not isinstance(new.result.type.element, Scalar):
            return None
        follower = Follower(self)
        if not follower.follow(new.result, home, ()) or follower.end is not None:
            return None
        if len(follower.pushes) != 1 or len(follower.pops) != 1:
            return None
        return Track(new, follower.pushes[0], follower.pops[0], follower.carriers)


class Follower:
    """The way of one tape. `end`: the operand of a terminator where it left the region last followed."""

    def __init__(self, uses: Uses) -> None:
        self.uses = uses
        self.pushes: list[Site] = []
        self.pops: list[Site] = []
        self.carriers: list[Value] = []
        self.end: int | None = None

    def follow(self, value: Value, region: Region, path: Path) -> bool:
        """Follow a tape through a region."""
        current: Value | None = value
        while current is not None:
            users = self.uses.inside(region, current)
            if not users:
                break
            owner = users.pop()
            if users:
                return False
            if owner.name == "yield":
                self.end = owner.operands.index(current)
                return True
            if current in owner.operands:
                fits, current = self.passed(current, owner, region, path)
            elif owner.name == "if":
                fits, current = self.branches(current, owner, path)
            else:
                return False
            if not fits:
                return False
        self.end = None
        return True

    def passed(self, value: Value, op: Op, region: Region, path: Path) -> tuple[bool, Value | None]:
        """The tape after an operation that takes it, if that is of the known kinds."""
        if op.name in ("tape.push", "tape.pop"):
            (self.pushes if op.name == "tape.push" else self.pops).append(Site(op, region, path))
            return True, op.results[0]
        if op.name not in LOOPS:
            return False, None
        first = 2 if op.name == "for" else 0
        slot = op.operands.index(value) - first
        argument = op.regions[0].args[slot + (1 if op.name == "for" else 0)]
        if not self.follow(argument, op.regions[-1], (*path, (op, 0))) or self.end != slot:
            return False, None
        self.carriers.append(op.results[slot])
        return True, op.results[slot]

    def branches(self, value: Value, op: Op, path: Path) -> tuple[bool, Value | None]:
        """The tape after an `if` that mentions it in its branches, if it goes on."""
        ends: set[int | None] = set()
        for number, branch in enumerate(op.regions):
            if not self.follow(value, branch, (*path, (op, number))):
                return False, None
            ends.add(self.end)
        end = ends.pop()
        if ends or end is None:
            return not ends, None
        self.carriers.append(op.results[end])
        return True, op.results[end]


# ---------------------------------------------------------------- which ones go together


def groups(function: Function) -> Iterator[tuple[list[Track], Region]]:
    """Tapes that can share a stack, and the region that makes them."""
    uses = Uses(function)
    found: dict[tuple[object, ...], list[Track]] = {}
    for new, home in uses.marked:
        track = uses.track(new, home)
        if track is None or not track.push.path or not track.pop.path or track.push.path[-1][0].name == "for":
            continue
        first, last = track.push.path[0][0], track.pop.path[0][0]
        if uses.position[first] >= uses.position[last]:
            continue
        kind = "word" if track.dtype in (*WORDS, BOOL) else track.dtype.name
        found.setdefault((new.attrs["stack"], id(home), id(first), id(last), kind), []).append(track)
    homes = dict(uses.marked)
    for tracks in found.values():
        with_numbers = {id(t.push.region) for t in tracks if t.dtype in WORDS}
        tracks = [t for t in tracks if t.dtype is not BOOL or id(t.push.region) in with_numbers]
        if len(tracks) > 1 and mirrored(tracks, 0, uses.position):
            yield tracks, homes[tracks[0].new]


def mirrored(tracks: Sequence[Track], depth: int, position: dict[Op, int]) -> bool:
    """Whether the regions from `depth` on that pop some tapes mirror those that push them."""
    deeper = [t for t in tracks if len(t.push.path) > depth]
    if any((len(t.pop.path) > depth) != (len(t.push.path) > depth) for t in tracks):
        return False
    last: int | None = None
    for op, inside in by_owner(deeper, depth, position):
        mirrors = {t.pop.path[depth][0] for t in inside}
        mirror = mirrors.pop()
        if mirrors or any(t.pop.path[depth][0] is mirror for t in deeper if t not in inside):
            return False
        if op.name != mirror.name and not (op.name in LOOPS and mirror.name in LOOPS):
            return False
        if last is not None and position[mirror] >= last:
            return False
        last = position[mirror]
        for number in range(len(op.regions) if op.name == "if" else 1):
            part = [t for t in inside if t.push.path[depth][1] == number]
            if any(t.pop.path[depth][1] != number for t in part) or not mirrored(part, depth + 1, position):
                return False
    return True


def by_owner(tracks: Sequence[Track], depth: int, position: dict[Op, int]) -> list[tuple[Op, list[Track]]]:
    """The operations that push some tapes inside of them, in program order, with those tapes."""
    found: dict[Op, list[Track]] = {}
    for track in tracks:
        found.setdefault(track.push.path[depth][0], []).append(track)
    return sorted(found.items(), key=lambda item: position[item[0]])


# ---------------------------------------------------------------- one stack


def merge(tracks: list[Track], home: Region) -> None:
    """Let some tapes be one stack; changes the regions they are in."""
    dtypes = {t.dtype for t in tracks}
    dtype = dtypes.pop() if len(dtypes) == 1 else I64
    type_ = Tape(Scalar(dtype))
    position = {op: k for t in tracks for site in (t.push, t.pop) for op, k in places(site, home)}
    for track in tracks:
        for carrier in track.carriers:
            drop(carrier)
        for site in (track.push, track.pop):
            site.region.ops.remove(site.op)
    start = Op("tape.new", [], [type_], {"element": type_.element}, (), tracks[0].new.span, ["stack"])
    home.ops[home.ops.index(tracks[0].new)] = start
    for track in tracks[1:]:
        home.ops.remove(track.new)

    def region(part: list[Track], depth: int, value: Value, where: Region, forward: bool) -> Value:
        """Take the stack through a region: what is further in first, where the sweep goes forward."""
        own = [t for t in part if len(t.push.path) == depth]
        if not forward and own:
            value = pop_record(own, value, where, dtype)
        owners = by_owner([t for t in part if len(t.push.path) > depth], depth, position)
        for op, inside in owners if forward else reversed(owners):
            mirror = op if forward else inside[0].pop.path[depth][0]

            def body(value: Value, number: int, inner: Region, inside: list[Track] = inside) -> Value:
                chosen = [t for t in inside if t.push.path[depth][1] == number]
                return region(chosen, depth + 1, value, inner, forward)

            value = carry(mirror, value, body)
        if forward and own:
            value = push_record(own, value, where, dtype)
        return value

    region(tracks, 0, region(tracks, 0, start.result, home, True), home, False)


def places(site: Site, home: Region) -> Iterator[tuple[Op, int]]:
    """The operations around a site, with their positions."""
    region = home
    for op, number in site.path:
        yield op, region.ops.index(op)
        region = op.regions[number] if op.name == "if" else op.regions[-1]


def drop(carrier: Value) -> None:
    """Remove what carries a tape through control flow, by its result."""
    op = carrier.op
    assert op is not None
    slot = next(k for k, r in enumerate(op.results) if r is carrier)
    del op.results[slot]
    if op.name == "if":
        for branch in op.regions:
            del branch.terminator.operands[slot]
        return
    first = 1 if op.name == "for" else 0
    del op.operands[slot + 2 * first]
    del op.regions[0].args[slot + first]
    del op.regions[-1].terminator.operands[slot]


def carry(op: Op, value: Value, body: Callable[[Value, int, Region], Value]) -> Value:
    """Take a stack through control flow; `body(value, number, region)` gives what it is at the end of a region."""
    type_, name = value.type, value.name
    if op.name == "if":
        for number, branch in enumerate(op.regions):
            branch.terminator.operands.append(body(value, number, branch))
    else:
        argument = Value(type_, name)
        op.operands.append(value)
        op.regions[0].args.append(argument)
        op.regions[-1].terminator.operands.append(body(argument, 0, op.regions[-1]))
    result = Value(type_, name, op)
    op.results.append(result)
    return result


def push_record(own: list[Track], stack: Value, region: Region, dtype: DType) -> Value:
    """Push what some tapes held at the end of a region."""
    ops: list[Op] = []

    def emit(name: str, operands: list[Value], type_: Scalar | Tape, attrs: dict[str, DType] | None = None) -> Value:
        ops.append(Op(name, operands, [type_], dict(attrs or {}), (), own[0].push.op.span))
        return ops[-1].result

    words: list[Value] = []
    for track in own:
        value = track.push.op.operands[1]
        if track.dtype is not BOOL:
            words.append(value if track.dtype is dtype else emit("bitcast", [value], Scalar(dtype), {"dtype": dtype}))
    for flags in in_words(own):
        word: Value | None = None
        for k, track in enumerate(flags):
            flag = emit("cast", [track.push.op.operands[1]], Scalar(I64), {"dtype": I64})
            flag = flag if k == 0 else emit("mul", [flag, Const(1 << k, I64)], Scalar(I64))
            word = flag if word is None else emit("bitwise_or", [word, flag], Scalar(I64))
        assert word is not None
        words.append(word)
    for word in words:
        stack = emit("tape.push", [stack, word], Tape(Scalar(dtype)))
        stack.name = "stack"
    region.ops[-1:-1] = ops
    return stack


def pop_record(own: list[Track], stack: Value, region: Region, dtype: DType) -> Value:
    """Pop what some tapes held at the start of a region; it is found where it was popped before."""
    ops: list[Op] = []
    span = own[0].pop.op.span

    def popped() -> Value:
        nonlocal stack
        op = Op("tape.pop", [stack], [Tape(Scalar(dtype)), Scalar(dtype)], {}, (), span, ["stack", None])
        ops.append(op)
        stack = op.results[0]
        return op.results[1]

    def define(track: Track, name: str, operands: list[Value], attrs: dict[str, DType]) -> None:
        op = Op(name, operands, [], attrs, (), span)
        result = track.pop.op.results[1]
        op.results.append(result)
        result.op = op
        ops.append(op)

    for flags in reversed(in_words(own)):
        word = popped()
        for k, track in enumerate(flags):
            chosen = Op("bitwise_and", [word, Const(1 << k, I64)], [Scalar(I64)], {}, (), span)
            ops.append(chosen)
            define(track, "ne", [chosen.result, Const(0, I64)], {})
    for track in reversed([t for t in own if t.dtype is not BOOL]):
        word = popped()
        if track.dtype is not dtype:
            define(track, "bitcast", [word], {"dtype": track.dtype})
        else:
            result = track.pop.op.results[1]
            ops[-1].results[1] = result
            result.op = ops[-1]
    region.ops[:0] = ops
    return stack


def in_words(own: list[Track]) -> list[list[Track]]:
    """The booleans among some tapes, as many together as fit into a word."""
    flags = [t for t in own if t.dtype is BOOL]
    return [flags[k : k + BITS] for k in range(0, len(flags), BITS)]
