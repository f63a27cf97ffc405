"""On what the operations of the table are tested: their own domains, and cases for those that move elements."""

import numpy as np

from adjit.ir.ops import REGISTRY
from adjit.ir.types import F64

ELEMENTWISE = {n: d for n, d in REGISTRY.items() if d.category == "elementwise" and d.effect == ""}
OUTSIDE = {"control", "terminator", "check", "tape"}  # tested with the programs that use them
RULES = {n: d for n, d in REGISTRY.items() if d.differentiable and d.category not in OUTSIDE}

M = np.arange(12.0).reshape(3, 4) * 0.37 - 1.3
V = np.array([0.4, -1.2, 2.5, 0.9, -0.3])
K = np.array([2, 0, 2, 4])
# operations whose operands are not all free floats: operands (integers are positions and extents), attributes
CASES = {
    "cast": [([V], {"dtype": F64}), ([np.float64(0.7)], {"dtype": F64})],
    "fill": [([np.float64(0.7), 2, 3], {})],
    "index": [
        ([V, 3], {"spec": "i"}),
        ([V, 4, 2, -2], {"spec": "s"}),
        ([M, 2, 0, 2, 3], {"spec": "is"}),
        ([M, 1], {"spec": ":i"}),
        ([M, 0, 0, 1], {"spec": "s:"}),
    ],
    "update": [
        ([V, np.float64(5.0), 3], {"spec": "i"}),
        ([V, V[:2] * 3, 4, 2, -2], {"spec": "s"}),
        ([M, V[:4], 1], {"spec": "i:"}),
        ([M, np.float64(2.0), 0, 2, 2], {"spec": "s:"}),
    ],
    "accumulate": [
        ([V, np.float64(5.0), 3], {"spec": "i"}),
        ([M, V[:3], 1], {"spec": ":i"}),
        ([M, np.float64(2.0), 0, 2, 2, 3], {"spec": "si"}),
    ],
    "gather": [
        ([V, K], {"axes": (0,)}),
        ([M, np.array([[2, 0], [1, 1]])], {"axes": (0,)}),
        ([M, np.array([2, 0]), np.array([3, 3])], {"axes": (0, 1)}),
    ],
    "scatter_add": [
        ([V, V[:4] * 2, K], {"axes": (0,)}),
        ([M, V[:2], np.array([2, 2]), np.array([3, 3])], {"axes": (0, 1)}),
        ([V, np.float64(0.5), K], {"axes": (0,)}),
    ],
    "scatter": [
        ([V, V[:4] * 2, K], {"axes": (0,)}),
        ([M, M[:2] + 1, np.array([2, 2])], {"axes": (0,)}),
        ([V, np.float64(0.5), K], {"axes": (0,)}),
    ],
    "broadcast": [
        ([V, 3, 5], {"axes": (1,)}),
        ([V, 5, 2], {"axes": (0,)}),
        ([np.float64(0.3), 2, 2], {"axes": ()}),
        ([M[:, :1], 3, 4], {"axes": (0, 1)}),
    ],
    "transpose": [([M], {"perm": (1, 0)}), ([M.reshape(3, 2, 2)], {"perm": (2, 0, 1)})],
    "reshape": [([M, 2, 6], {}), ([M, 12], {})],
    "concat": [([V, V[:2] * 2], {"axis": 0}), ([M, M[:, :2], M[:, :1]], {"axis": 1})],
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
    low, high = domain
    return np.asarray(low + (high - low) * rng.random(shape))[()]


def cases_of(name):
    """(operands, attributes) of every test case of an operation."""
    definition = REGISTRY[name]
    if name in CASES:
        return CASES[name]
    if definition.domain is None:
        return []
    if definition.category != "elementwise":
        return [
            ([sample((-2.0, 2.0), s, k + 5) for k, s in enumerate(shapes)], attrs)
            for shapes, attrs in definition.domain
        ]
    operands = domains(definition)
    mixes = {((),) * len(operands), ((5,),) * len(operands), ((2, 3),) * len(operands)}
    mixes |= {tuple((4,) if k == j else () for k in range(len(operands))) for j in range(len(operands))}
    return [
        ([sample(d, s, 7 * k + len(s)) for k, (d, s) in enumerate(zip(operands, shapes))], {})
        for shapes in sorted(mixes)
    ]


def is_free(x):
    return np.asarray(x).dtype.kind == "f"
