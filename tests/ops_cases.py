"""On what the operations of the table are tested.

In: the declarations. Out: for each operation `cases_of(name)`, a list of (operands, attributes). Of functions of
elements they are made from the declared ranges: scalars, vectors, matrices, 3-d arrays, scalars beside arrays. Of
others they are made from the declared shapes (a `domain` of pairs (shapes, attributes)), or written down in `CASES`
where operands are positions, extents or matrices with a structure. Float operands are the differentiated ones.
`empty_cases_of(name)`: the same with nothing in them, each extent in turn being 0 throughout, or from `EMPTY`.
Operations that only make sense in a program (control flow, tapes, checks) are in `PROGRAMS`.
"""

import numpy as np
from ops_matrices import MATRIX_CASES, MATRIX_EMPTY

from adjit.ir.callbacks import Site, register
from adjit.ir.ops import REGISTRY
from adjit.ir.types import F64, I64, DType

ELEMENTWISE = {n: d for n, d in REGISTRY.items() if d.category == "elementwise" and d.effect == ""}
OUTSIDE = {"control", "terminator", "check", "tape", "rule", "callback"}  # tested with programs: PROGRAMS
MACHINE = {"buffer", "internal"}  # what code generation and the reverse sweep use among themselves
RULES = {n: d for n, d in REGISTRY.items() if d.differentiable and d.category not in OUTSIDE}

M = np.arange(12.0).reshape(3, 4) * 0.37 - 1.3
V = np.array([0.4, -1.2, 2.5, 0.9, -0.3])
K = np.array([2, 0, 2, 4])
T = np.arange(12.0).reshape(2, 3, 2) * -0.21 + 0.9
NOTHING = np.zeros(0)
NOWHERE = np.zeros(0, np.int64)
TRUTH = np.array([[True, False], [False, False]])
WHOLE = np.array([[1, 6, -8], [3, 0, 1 << 40]])
WHOLE = np.array([[3, -5], [2, 9]])
WITH_NAN = np.array([1.0, np.nan, 2.0])

RESULT = ("tuple", tuple, (("leaf", 0, "array"), ("leaf", 1, "scalar")))
WEIGHTS = Site(lambda n: (np.arange(1.0, n + 1), 0.5), "weights", (("leaf", 0, "int"),), (), RESULT)
NOTED = Site(lambda n, k: None, "noted", (("leaf", 0, "int"), ("leaf", 1, "float")), (), ("static", None))

# operations whose operands are not all free floats: operands (integers are positions and extents), attributes
CASES = {
    "cast": [
        ([V], {"dtype": F64}),
        ([np.float64(0.7)], {"dtype": F64}),
        ([M], {"dtype": F64}),
        ([T], {"dtype": F64}),
        ([V], {"dtype": I64}),
    ],
    "bitcast": [([WHOLE], {"dtype": F64}), ([np.int64(1 << 62)], {"dtype": F64}), ([WHOLE[0]], {"dtype": F64})],
    "stop_gradient": [([V], {}), ([np.float64(0.7)], {}), ([T], {})],
    "fill": [([np.float64(0.7), 2, 3], {}), ([np.float64(0.7), 3], {}), ([np.float64(0.7), 2, 1, 3], {})],
    "index": [
        ([V, 3], {"spec": "i"}),
        ([V, 4, 2, -2], {"spec": "s"}),
        ([M, 2, 0, 2, 3], {"spec": "is"}),
        ([M, 1], {"spec": ":i"}),
        ([M, 0, 0, 1], {"spec": "s:"}),
        ([T, 1, 2, 2, -2], {"spec": "is:"}),
    ],
    "update": [
        ([V, np.float64(5.0), 3], {"spec": "i"}),
        ([V, V[:2] * 3, 4, 2, -2], {"spec": "s"}),
        ([M, V[:4], 1], {"spec": "i:"}),
        ([M, np.float64(2.0), 0, 2, 2], {"spec": "s:"}),
        ([T, M[:2, :3], 1], {"spec": "::i"}),
    ],
    "accumulate": [
        ([V, np.float64(5.0), 3], {"spec": "i"}),
        ([M, V[:3], 1], {"spec": ":i"}),
        ([M, np.float64(2.0), 0, 2, 2, 3], {"spec": "si"}),
        ([T, M[:2, :2], 1], {"spec": ":i:"}),
    ],
    "gather": [
        ([V, K], {"axes": (0,)}),
        ([M, np.array([[2, 0], [1, 1]])], {"axes": (0,)}),
        ([M, np.array([2, 0]), np.array([3, 3])], {"axes": (0, 1)}),
        ([T, np.array([2, 0, 2])], {"axes": (1,)}),
    ],
    "scatter_add": [
        ([V, V[:4] * 2, K], {"axes": (0,)}),
        ([M, V[:2], np.array([2, 2]), np.array([3, 3])], {"axes": (0, 1)}),
        ([V, np.float64(0.5), K], {"axes": (0,)}),
        ([T, T[:, :2], np.array([2, 2])], {"axes": (1,)}),
    ],
    "scatter": [
        ([V, V[:4] * 2, K], {"axes": (0,)}),
        ([M, M[:2] + 1, np.array([2, 2])], {"axes": (0,)}),
        ([V, np.float64(0.5), K], {"axes": (0,)}),
        ([T, T[:, :2], np.array([2, 2])], {"axes": (1,)}),
        ([V, V[:3] * 2, np.array([4, 0, 2])], {"axes": (0,), "unique": True}),
    ],
    "stretch": [
        ([V[:1], 3, 0], {}),
        ([V, 5, 1], {}),
        ([M[:1], 3, 4, 0, 1], {}),
        ([T[:, :1], 2, 3, 2, 1, 0, 1], {}),
        ([M[:1, :1], 2, 3, 0, 0], {}),
    ],
    "broadcast": [
        ([V, 3, 5], {"axes": (1,)}),
        ([V, 5, 2], {"axes": (0,)}),
        ([np.float64(0.3), 2, 2], {"axes": ()}),
        ([M[:, :1], 3, 4], {"axes": (0, 1)}),
        ([M[:2], 2, 3, 4], {"axes": (0, 2)}),
        ([T[:, :1], 2, 3, 2], {"axes": (0, 1, 2)}),
    ],
    "transpose": [([M], {"perm": (1, 0)}), ([M.reshape(3, 2, 2)], {"perm": (2, 0, 1)})],
    "reshape": [([M, 2, 6], {}), ([M, 12], {}), ([T, 3, 4], {}), ([V, 1, 5, 1], {})],
    "concat": [([V, V[:2] * 2], {"axis": 0}), ([M, M[:, :2], M[:, :1]], {"axis": 1}), ([T, T[:, :1]], {"axis": 1})],
    "iota": [([7], {})],
    "dim": [([M], {"axis": 1}), ([T], {"axis": 0})],
    "stayed": [
        ([np.array([1, 3, 1, 0]), 4], {"axes": (0,)}),
        ([np.array([[1, 0], [1, 1]]), np.array([[2, 0], [2, 0]]), 2, 3], {"axes": (0, 1)}),
    ],
    "nonzero": [([V > 0, 3], {}), ([M > 0, 8], {}), ([V > 9, 0], {})],
    "argsort": [([V], {}), ([M], {}), ([np.round(T)], {}), ([np.array([2.0, np.nan, -0.0, 0.0, np.nan, -1.0])], {})],
    "searchsorted": [
        ([np.sort(V), np.append(V, [-9.0, 9.0, np.nan])], {"side": "left"}),
        ([np.sort(V), M], {"side": "right"}),
        ([np.array([1.0, 1.0, 2.0, np.nan]), np.float64(1.0)], {"side": "right"}),
        ([np.array([1, 3, 3]), np.array([3, 0, 4])], {"side": "left"}),
    ],
    **MATRIX_CASES,
    "reduce_any": [([TRUTH], {"axes": axes}) for axes in [(0, 1), (0,), (1,)]],
    "reduce_all": [([~TRUTH], {"axes": axes}) for axes in [(0, 1), (0,), (1,)]],
    "reduce_or": [([WHOLE], {"axes": axes}) for axes in [(0, 1), (0,), (1,)]],
    "argmax": [
        ([np.array([[1.0, np.nan, 3.0], [2.0, 2.0, -np.inf]])], {"axis": 0}),
        ([np.array([[1.0, np.nan, 3.0], [2.0, 2.0, -np.inf]])], {"axis": 1}),
        ([T], {"axis": 1}),
    ],
    "argmin": [([np.array([1.0, -3.0, -3.0, np.inf])], {"axis": 0}), ([np.array([3, 1, 2])], {"axis": 0})],
}

# further values, not for derivatives: integers, NaN, what else a lowering might get wrong
MORE = {
    "reduce_max": [([WITH_NAN], {"axes": (0,)}), ([WHOLE], {"axes": (1,)})],
    "reduce_min": [([WITH_NAN], {"axes": (0,)}), ([WHOLE], {"axes": (0,)})],
    "reduce_sum": [([WHOLE], {"axes": (1,)}), ([np.float32([0.1, 0.2])], {"axes": (0,)})],
    "fill": [([np.float32(0.7), 3], {})],
}

# nothing in, nothing out: of operations whose operands are positions and extents
EMPTY = {
    **MATRIX_EMPTY,
    "fill": [([np.float64(0.7), 0], {}), ([np.float64(0.7), 3, 0], {})],
    "index": [([V, 2, 0, 1], {"spec": "s"}), ([M[:0], 1], {"spec": ":i"})],
    "update": [([V, NOTHING, 2, 0, 1], {"spec": "s"}), ([M[:0], np.float64(2.0), 1], {"spec": ":i"})],
    "accumulate": [([V, NOTHING, 2, 0, 1], {"spec": "s"}), ([M[:0], np.float64(2.0), 1], {"spec": ":i"})],
    "gather": [([V, NOWHERE], {"axes": (0,)}), ([M[:, :0], np.array([2, 2])], {"axes": (0,)})],
    "scatter_add": [([V, NOTHING, NOWHERE], {"axes": (0,)}), ([M[:, :0], M[:2, :0], K[:2]], {"axes": (0,)})],
    "scatter": [([V, NOTHING, NOWHERE], {"axes": (0,)}), ([M[:, :0], M[:2, :0], K[:2]], {"axes": (0,)})],
    "stretch": [([NOTHING, 0, 1], {}), ([V[:1], 0, 0], {}), ([M[:1, :0], 3, 0, 0, 1], {})],
    "broadcast": [([NOTHING, 3, 0], {"axes": (1,)}), ([V, 0, 5], {"axes": (1,)}), ([V[:1], 2, 0], {"axes": (1,)})],
    "reshape": [([M[:0], 2, 0], {}), ([NOTHING, 0], {})],
    "iota": [([0], {})],
    "stayed": [([NOWHERE, 4], {"axes": (0,)})],
    "nonzero": [([TRUTH[0, :0], 0], {}), ([TRUTH[:0], 0], {})],
    "argsort": [([NOTHING], {}), ([M[:0]], {}), ([M[:, :0]], {})],
    "searchsorted": [([NOTHING, V], {"side": "left"}), ([V, NOTHING], {"side": "right"})],
    "reduce_any": [([TRUTH[:0]], {"axes": (0,)}), ([TRUTH[:0]], {"axes": (1,)})],
    "reduce_all": [([TRUTH[:0]], {"axes": (0,)}), ([TRUTH[:0]], {"axes": (1,)})],
    "reduce_or": [([WHOLE[:0]], {"axes": (0,)}), ([WHOLE[:0]], {"axes": (1,)}), ([WHOLE[:, :0]], {"axes": (0, 1)})],
}

# operations that have no value for an extent of 0 (their `evaluate` raises ValueError, as NumPy; the tracer checks)
REFUSE_EMPTY = {"reduce_max", "reduce_min", "argmax", "argmin"}

PROGRAMS = {
    "a branch": (
        """func @branch(%x: f64, %A: f64[?], %p: bool) -> (f64, f64[?]) {
          %y: f64, %B: f64[?] = if %p {
            %s: f64 = sin %x
            %C: f64[?] = mul %A, %x
            yield %s, %C
          } else {
            %t: f64 = mul %x, %x
            yield %t, %A
          }
          return %y, %B
        }""",
        [[np.float64(0.7), V, True], [np.float64(0.7), V, False], [np.float64(0.7), NOTHING, True]],
    ),
    "a rule": (
        """func @ruled(%x: f64, %A: f64[?]) -> f64[?] {
          %s: f64 = sin %x
          %B: f64[?] = mul %A, %s
          %C: f64[?] = mul %B, %B
          %y: f64[?] = custom %x, %A, %C, %x, %A {args=2, outs=1,
              pushforward=func @rule(%x: f64, %A: f64[?], %dx: f64, %dA: f64[?]) -> f64[?] {
            %s: f64 = sin %x
            %c: f64 = cos %x
            %a: f64[?] = mul %dA, %s
            %d: f64 = mul %c, %dx
            %b: f64[?] = mul %A, %d
            %t: f64[?] = add %a, %b
            %B: f64[?] = mul %A, %s
            %u: f64[?] = mul %B, %t
            %v: f64[?] = mul %u, 2.0
            return %v
          }, pushforward_at=(2, 3)}
          return %y
        }""",
        [[np.float64(0.7), V], [np.float64(0.7), V[:1]], [np.float64(0.7), NOTHING]],
    ),
    "callbacks": (
        """func @called(%x: f64, %A: f64[?], %site: i64, %other: i64) -> f64[?] {
          %n: i64 = dim %A {axis=0}
          %w: f64[?], %k: f64 = callback %site, %n, %n {args=1, dtypes=(f64, f64), ranks=(1, 0), name="weights"}
          ordered_callback %other, %n, %k {args=2, dtypes=(), ranks=(), name="noted"}
          %B: f64[?] = mul %A, %w
          %a: f64 = mul %x, %k
          %C: f64[?] = mul %B, %a
          return %C
        }""",
        [
            [np.float64(0.7), V, np.int64(register(WEIGHTS)), np.int64(register(NOTED))],
            [np.float64(0.7), NOTHING, np.int64(register(WEIGHTS)), np.int64(register(NOTED))],
        ],
    ),
    "a loop over elements": (
        """func @horner(%x: f64, %A: f64[?]) -> f64 {
          %n: i64 = dim %A {axis=0}
          %y: f64 = for %i in reverse(0, %n) (%s = 0.5) {
            %k: i64 = bound %i, %n
            %a: f64 = index %A, %k {spec="i"}
            %m: f64 = mul %s, %x
            %t: f64 = add %m, %a
            yield %t
          }
          return %y
        }""",
        [[np.float64(0.7), V], [np.float64(0.7), V[:1]], [np.float64(0.7), NOTHING]],
    ),
    "a loop that runs until": (
        """func @decay(%x: f64, %r: f64) -> f64 {
          %y: f64 = while (%v = %x) {
            %c: bool = gt %v, 1.0
            test %c
          } do {
            %s: f64 = mul %v, %v
            %k: f64 = mul %r, %s
            %w: f64 = sub %v, %k
            yield %w
          }
          return %y
        }""",
        [[np.float64(3.1), np.float64(0.1)], [np.float64(0.4), np.float64(0.1)]],
    ),
    "checks": (
        """func @checked(%A: f64[?], %B: f64[?]) -> f64[?] {
          %n: i64 = dim %A {axis=0}
          %m: i64 = dim %B {axis=0}
          %k: i64 = same_extent %n, %m {what="extents differ"}
          %ok: bool = ge %k, 0
          check %ok, %n {error="ValueError", message="{0}"}
          %C: f64[?] = mul %A, %B
          return %C
        }""",
        [[V, V[::-1].copy()], [NOTHING, NOTHING]],
    ),
    "a tape": (
        """func @kept(%x: f64, %A: f64[?]) -> (f64, f64[?]) {
          %t0: tape[f64] = tape.new {element=type(f64)}
          %y: f64, %t: tape[f64] = for %i in (0, 4) (%v = %x, %p = %t0) {
            %q: tape[f64] = tape.push %p, %v
            %s: f64 = sin %v
            yield %s, %q
          }
          %z: f64, %e: tape[f64] = for %i in (0, 4) (%w = %y, %p = %t) {
            %q: tape[f64], %v: f64 = tape.pop %p
            %m: f64 = mul %w, %v
            yield %m, %q
          }
          %B: f64[?] = mul %A, %z
          return %z, %B
        }""",
        [[np.float64(0.7), V], [np.float64(0.7), NOTHING]],
    ),
}


def domains(definition):
    """Per operand, what a declaration says of its values."""
    domain = definition.domain
    return (domain,) if isinstance(domain, str) or isinstance(domain[0], float) else domain


def sample(domain, shape, seed):
    rng = np.random.default_rng(seed)
    if domain == "bool":
        return np.asarray(rng.random(shape) < 0.5)[()]
    if domain == "int":
        return np.asarray(rng.integers(-6, 7, shape))[()]
    if domain == "whole":  # an operand without derivative: a constant
        return rng.integers(1, 5)
    low, high = domain
    return np.asarray(low + (high - low) * rng.random(shape))[()]


def element_cases(definition, shapes, alone):
    """Arguments of a function of elements: all of each shape, and, of those in `alone`, each operand alone among
    scalars."""
    operands = domains(definition)
    count = len(operands)
    mixes = {(shape,) * count for shape in shapes}
    if count > 1:
        mixes |= {tuple(shape if k == j else () for k in range(count)) for shape in alone for j in range(count)}
    return [
        ([sample(d, s, 7 * k + len(s)) for k, (d, s) in enumerate(zip(operands, mix))], {})
        for mix in sorted(mixes, key=lambda mix: (max(map(len, mix)), mix))
    ]


def cases_of(name):
    """(operands, attributes) of every test case of an operation."""
    definition = REGISTRY[name]
    if name in CASES:
        return CASES[name]
    if definition.domain is None:
        return []
    if definition.category == "elementwise":
        return element_cases(definition, [(), (5,), (2, 3), (2, 1, 3)], [(4,), (2, 3)])
    return [
        ([sample((-2.0, 2.0), s, k + 5) for k, s in enumerate(shapes)], attrs) for shapes, attrs in definition.domain
    ]


def emptied(operands):
    """Versions of operands with one extent, wherever it occurs, 0."""
    extents = {n for x in operands for n in np.shape(x)} - {0}
    for extent in sorted(extents):
        yield [x if not np.ndim(x) else np.resize(x, [0 if n == extent else n for n in np.shape(x)]) for x in operands]


def empty_cases_of(name):
    """Cases with an extent of 0; made from `cases_of` where no operand is a position or an extent."""
    if name in EMPTY:
        return EMPTY[name]
    if REGISTRY[name].category == "elementwise" and name not in CASES:
        return element_cases(REGISTRY[name], [(0,), (2, 0), (0, 1, 3)], [(0,)])
    found = {}
    for operands, attrs in cases_of(name):
        if any(np.asarray(x).dtype.kind == "i" and not np.ndim(x) for x in operands) and name not in ELEMENTWISE:
            continue
        for empty in emptied(operands):
            found.setdefault((str([np.shape(x) for x in empty]), str(attrs)), (empty, attrs))
    return list(found.values())


def is_free(x):
    """Whether an operand is differentiated."""
    return np.asarray(x).dtype.kind == "f"


def in_dtype(operands, dtype: DType):
    """Operands with their floats in a dtype."""
    return [np.asarray(x).astype(dtype.numpy)[()] if is_free(x) else x for x in operands]
