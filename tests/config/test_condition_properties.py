"""Whatever a condition says, it is written and read as the same, and decided as by hand; whatever a text is, it is read
or refused in a line, in time that its length bounds.
"""

import ast
import re
import time
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config import conditions, grammar, names
from tallystick.config.conditions import Condition, Value
from tallystick.config.errors import ConditionError
from tallystick.config.grammar import (
    ALWAYS,
    LENGTH_MAX,
    AllOf,
    Alone,
    Among,
    AnyOf,
    Compared,
    Node,
    Not,
    Number,
    Operand,
    Text,
    Word,
    read,
    written,
)
from tallystick.config.names import FLEET_NAMES, NUMBER, TASK_NAMES, TEXT
from tests.support.conditions import NUMBERS, parsed
from tests.support.examples import examples

OPERATORS = ("==", "!=", "<", "<=", ">", ">=")
OPPOSITES = dict(zip(OPERATORS, ("!=", "==", ">=", ">", "<=", "<"), strict=True))
RESERVED = {"and", "or", "not", "in"}


def joined(leaves: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    """Conditions of a few leaves, joined by and, or, not in any way."""
    return st.recursive(
        leaves,
        lambda inner: (
            inner.map(Not)
            | st.lists(inner, min_size=2, max_size=3).map(tuple).map(AllOf)
            | st.lists(inner, min_size=2, max_size=3).map(tuple).map(AnyOf)
        ),
        max_leaves=8,
    )


# --- written and read ------------------------------------------------------------------------------------------------

WORDS = (
    st.from_regex(re.compile(r"[^\W\d][\w-]{0,8}(\.[\w-]{1,4}){0,2}"), fullmatch=True)
    .filter(lambda word: word not in RESERVED)
    .map(Word)
)
ANY_NUMBERS = st.decimals(allow_nan=False, allow_infinity=False, places=3).map(Number)
OPERANDS = WORDS | st.text(max_size=6).map(Text) | ANY_NUMBERS
SHAPES = joined(
    st.builds(Compared, OPERANDS, st.sampled_from(OPERATORS), OPERANDS)
    | st.builds(Among, OPERANDS, st.lists(OPERANDS, min_size=1, max_size=3).map(tuple))
    | st.builds(Alone, OPERANDS)
)


@settings(deadline=None)
@given(SHAPES)
def test_what_is_written_is_read_as_the_same(tree: Node) -> None:
    assert read(written(tree)) == tree


@settings(deadline=None)
@given(SHAPES)
def test_where_a_part_stands_is_where_its_text_begins(tree: Node) -> None:
    text = written(tree)
    for operand in operands(read(text)):
        assert text.startswith(written(Alone(operand)), operand.at)


def operands(node: Node) -> list[Operand]:
    match node:
        case Compared(left, _, right):
            return [left, right]
        case Among(left, items):
            return [left, *items]
        case Alone(operand):
            return [operand]
        case Not(inner):
            return operands(inner)
        case AllOf(parts) | AnyOf(parts):
            return [operand for part in parts for operand in operands(part)]


# --- decided as by hand ----------------------------------------------------------------------------------------------

KNOWN = {**FLEET_NAMES, **TASK_NAMES}
LIMITS: Mapping[str, int | Decimal | None] = {
    **dict.fromkeys(NUMBERS, 2),
    "daily_limits.max_cost_usd": Decimal(1),
    "daily_limits.max_tokens_total": None,
}
NUMERIC = st.sampled_from(sorted({name for name, kind in KNOWN.items() if kind is NUMBER} | LIMITS.keys())).map(Word)
TEXTUAL = st.sampled_from(sorted(name for name, kind in KNOWN.items() if kind is TEXT)).map(Word)
PRIORITIES = st.sampled_from(["critical", "high", "normal", "low"])
TRUTHS = st.sampled_from(["true", "false"])
SMALL = st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(1), Decimal(2)]).map(Number)
LETTERS = st.sampled_from("ab")


def compared(
    name: st.SearchStrategy[Word], other: st.SearchStrategy[Operand], operators: tuple[str, ...] = ("==", "!=")
) -> st.SearchStrategy[Node]:
    """A name with something of its kind, on either side, or among several."""
    operator = st.sampled_from(operators)
    return (
        st.builds(Compared, name, operator, other)
        | st.builds(Compared, other, operator, name)
        | st.builds(Among, name, st.lists(other, min_size=1, max_size=3).map(tuple))
    )


def either(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Operand]:
    return texts.map(Word) | texts.map(Text)


SENSIBLE = joined(
    compared(NUMERIC, SMALL | NUMERIC, OPERATORS)
    | compared(TEXTUAL, either(LETTERS) | TEXTUAL)
    | compared(st.just(Word("task.priority")), either(PRIORITIES))
    | compared(st.just(Word("task.deferrable")), either(TRUTHS))
    | st.just(Alone(Word("task.deferrable")))
)
AMOUNTS = st.sampled_from([0, 1, 2, Decimal("0.5"), Decimal("1.0"), Fraction(1, 2), Fraction(1, 3)])


@st.composite
def circumstances(draw: st.DrawFn) -> dict[str, Value]:
    facts: dict[str, Value] = {name: draw(AMOUNTS) for name in FLEET_NAMES}
    for name, kind in TASK_NAMES.items():
        facts[name] = draw(st.none() | (AMOUNTS if kind is NUMBER else LETTERS))
    facts["task.priority"] = draw(PRIORITIES)
    facts["task.deferrable"] = draw(st.booleans())
    if draw(st.booleans()):
        facts["daily_limits.max_tokens_total"] = draw(AMOUNTS)
    return facts


def by_hand(node: Node, facts: Mapping[str, Value], *, wanted: bool = True) -> bool:
    """Whether a condition (or, where not ``wanted``, its opposite) is true: ``not`` is carried inwards until every
    comparison stands for itself, and then one with a number that is not known is false.
    """
    match node:
        case Not(inner):
            return by_hand(inner, facts, wanted=not wanted)
        case AllOf(parts):
            return (all if wanted else any)([by_hand(part, facts, wanted=wanted) for part in parts])
        case AnyOf(parts):
            return (any if wanted else all)([by_hand(part, facts, wanted=wanted) for part in parts])
        case Among(left, items):
            return by_hand(AnyOf(tuple(Compared(left, "==", item) for item in items)), facts, wanted=wanted)
        case Alone():
            return facts["task.deferrable"] is wanted
        case Compared(left, operator, right):
            return compared_by_hand(left, operator if wanted else OPPOSITES[operator], right, facts)


def compared_by_hand(left: Operand, operator: str, right: Operand, facts: Mapping[str, Value]) -> bool:
    one, other = meant(left, facts), meant(right, facts)
    if isinstance(one, Fraction) and isinstance(other, Fraction):
        sign = (one > other) - (one < other)
        return sign in {"==": {0}, "!=": {-1, 1}, "<": {-1}, "<=": {-1, 0}, ">": {1}, ">=": {0, 1}}[operator]
    if "not known" in (one, other):
        return False
    same = one == other and one != ("none",)
    return same if operator == "==" else not same


def meant(operand: Operand, facts: Mapping[str, Value]) -> object:
    """A number as a fraction, a text as itself, and what there is not in words."""
    match operand:
        case Number(value):
            return Fraction(value)
        case Word(name) if name in KNOWN or name in LIMITS:
            number = name in LIMITS or KNOWN[name] is NUMBER
            value = facts[name] if name in facts else LIMITS[name]
            if value is None:
                return "not known" if number else ("none",)
            return (
                {True: "true", False: "false"}[value]
                if isinstance(value, bool)
                else Fraction(value)
                if number
                else value
            )
        case Word(text) | Text(text):
            return text


@settings(max_examples=examples(300), deadline=None)
@given(SENSIBLE, circumstances())
def test_a_condition_holds_as_it_would_by_hand(tree: Node, facts: dict[str, Value]) -> None:
    condition = Condition.parse(written(tree), KNOWN, LIMITS)
    assert condition.holds(facts) == by_hand(tree, facts)


@settings(deadline=None)
@given(SENSIBLE, circumstances())
def test_never_do_a_condition_and_its_opposite_hold(tree: Node, facts: dict[str, Value]) -> None:
    condition, opposite = (Condition.parse(written(node), KNOWN, LIMITS) for node in (tree, Not(tree)))
    assert not (condition.holds(facts) and opposite.holds(facts))
    if None not in condition.values(facts).values():
        assert condition.holds(facts) or opposite.holds(facts)


@settings(deadline=None)
@given(SENSIBLE, circumstances())
def test_an_explanation_has_every_name_with_its_value(tree: Node, facts: dict[str, Value]) -> None:
    condition = Condition.parse(written(tree), KNOWN, LIMITS)
    told = condition.explain(facts)
    assert condition.values(facts).keys() == {
        operand.text for operand in operands(tree) if isinstance(operand, Word) and operand.text in KNOWN | LIMITS
    }
    assert all(re.search(rf"{re.escape(name)} [\w(']", told) for name in condition.names)


# --- any text --------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *KNOWN, *OPERATORS, *RESERVED, ALWAYS, "daily_limits.max_cost_usd", "task.x", "critical", "urgent-project",
        "(", ")", "[", "]", ",", "'", '"', "\\", ".", "-", "=", "!", "&&", "0", "1.5", "1_0", "30min", "\n", "é", "名", "²",
        "'a b'", "__import__('os')", "lambda:", "{}", "%s", "\x00", "\ud800", "\u2028",
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=12).map(" ".join) | st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=40)


def outcome(text: str) -> Condition | ConditionError:
    try:
        return parsed(text)
    except ConditionError as error:
        return error


@settings(max_examples=examples(1_000), deadline=None)
@given(TEXTS)
def test_any_text_is_a_condition_or_refused_at_a_place_in_it(text: str) -> None:
    match outcome(text):
        case Condition(_, tree, named):
            again = parsed(written(tree))
            assert (again.tree, again.names) == (tree, named)
        case ConditionError() as error:
            lines = text.split("\n")
            assert 1 <= error.line <= len(lines)
            assert 1 <= error.column <= len(lines[error.line - 1]) + 1
            assert str(error).isprintable()
            assert error.found
            assert error.allowed


LONG = {
    "words": "a " * 2048,
    "one word": "a" * 4096,
    "dots": "a" + ".a" * 2047,
    "digits": "1" * 4095 + "x",
    "groups": "1" + "_1" * 2047,
    "open quotes": "'" * 4095,
    "escapes": "'" + "\\" * 4095,
    "opening parentheses": "(" * 4096,
    "closed parentheses": "(" * 2040 + "pressure > 1" + ")" * 2040,
    "nots": "not " * 1024,
    "comparisons": "pressure > 1 or " * 255 + "pressure > 1",
    "a list": "pressure in [" + "1," * 2040 + "1]",
    "nested": ("(pressure > 1 or not " * 400)[:4096],
    "operators": "<" * 4096,
    "space": " " * 4096,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_text_of_the_greatest_length_costs_little_whatever_it_holds(text: str) -> None:
    assert len(text) <= LENGTH_MAX
    parsed("default")
    began = time.process_time()
    match outcome(text):
        case Condition() as condition:
            condition.holds({"pressure": 0})
        case error:
            assert len(str(error)) < 1_000
    assert time.process_time() - began < 1


def test_nothing_in_the_language_of_conditions_runs_a_text() -> None:
    for module in (grammar, names, conditions):
        assert module.__file__ is not None
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        called = {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not called & {"eval", "exec", "compile", "__import__"}
