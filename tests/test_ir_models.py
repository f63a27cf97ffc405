"""Countermodels of integer facts: they answer quickly, and never against what can be proven."""

import pytest
from random_programs import ARGNUMS, generate

from adjit.api.arguments import flatten_call
from adjit.api.specialize import Transform, specialize
from adjit.ir.affine import Facts
from adjit.ir.errors import UnsupportedError
from adjit.ir.linear import Linear
from adjit.ir.models import Models
from adjit.ir.text import parse

SLICES = """func @f(%x: f64[?], %y: f64[?]) -> i64 {
  %n: i64 = dim %x {axis=0}
  %m: i64 = dim %y {axis=0}
  %h: i64 = sub %n, 2
  %k: i64 = maximum %h, 0
  %l: i64 = minimum %k, %m
  %s: i64 = for %i in (1, %l) (%t = 0) {
    %u: i64 = add %t, 3
    %j: i64 = mod %i, 4
    %v: i64 = add %u, %j
    yield %u
  }
  return %s
}"""


def known() -> tuple[Facts, dict[str, Linear]]:
    function = parse(SLICES)
    facts = Facts(function)
    loop = function.body.ops[-2]
    values = [r for op in (*function.body.ops, *loop.regions[0].ops) for r in op.results] + loop.regions[0].args
    return facts, {v.name: facts.linear(v) for v in values if v.name}


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (lambda v: v["n"], False),
        (lambda v: v["n"] - 2, True),
        (lambda v: v["n"] - v["m"], True),
        (lambda v: v["m"] - v["n"], True),
        (lambda v: v["k"], False),
        (lambda v: v["k"] - v["n"] + 2, False),
        (lambda v: v["n"] - v["k"], False),
        (lambda v: v["k"] - v["n"] + 1, True),
        (lambda v: v["k"] - v["l"], False),
        (lambda v: v["l"] - 1, True),
    ],
)
def test_models_refute_what_may_be_negative(question, expected) -> None:
    facts, values = known()
    form = facts.resolve(question(values))
    assert facts.models.refutes(form) is expected
    assert not (expected and facts.nonneg(form))


def test_facts_change_models_and_end_with_their_scope() -> None:
    facts, v = known()
    assert facts.models.refutes(v["n"] - v["m"])
    facts.push()
    facts.assume_equal(v["n"], v["m"])
    assert not facts.models.refutes(v["n"] - v["m"]) and not facts.models.refutes(v["m"] - v["n"])
    assert facts.models.refutes(v["n"] - 5)
    facts.push()
    facts.assume_nonneg(v["l"] - 1 - v["i"])
    assert not facts.models.refutes(v["n"] - 3)
    facts.pop()
    facts.pop()
    assert any(model.broken is None for model in facts.models.all)


def test_what_contradicts_itself_has_no_model() -> None:
    facts, v = known()
    facts.push()
    facts.assume_nonneg(v["n"] - 4)
    facts.assume_nonneg(Linear(3) - v["n"])
    assert all(model.broken == 1 for model in facts.models.all)
    assert not facts.models.refutes(v["m"] - 7)
    facts.pop()
    assert facts.models.refutes(v["m"] - 700)


@pytest.mark.parametrize("seed", range(0, 24, 2))
def test_no_model_refutes_what_is_proven(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search without models is the reference."""
    refutes, prove = Models.refutes, Facts.prove
    proven = 0

    def checked(facts: Facts, form: Linear, *how: object) -> bool:
        nonlocal proven
        found = prove(facts, form, *how)
        if found:
            proven += bool(form.terms)
            assert not refutes(facts.models, facts.resolve(form)), form
        return found

    monkeypatch.setattr(Models, "refutes", lambda models, form: False)
    monkeypatch.setattr(Facts, "prove", checked)
    program = generate(seed)
    try:
        specialize(program.function, Transform("grad", ARGNUMS, False, ()), flatten_call(program.argument_sets[0], {}))
    except UnsupportedError as refused:
        pytest.skip(f"refused: {refused.message}")
    assert proven > 0
