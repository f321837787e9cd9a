"""What conditions mean: the names that they may use, and whether one holds.

A condition is checked when it is parsed: its names are known, and what it compares can be compared. So it can be asked
later without fail. What is compared is exact; a number that is not known makes neither a comparison nor its opposite
true.
"""

import operator as python
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from tallystick.config.errors import ConditionError, KeyPath, Unfit, nearest, shown
from tallystick.config.grammar import (
    ALWAYS,
    EXAMPLE,
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
    quoted,
    read,
    written,
)
from tallystick.config.names import NUMBER, TASK_NAMES, TEXT, TRUTH, Kind

Value = int | Decimal | Fraction | str | bool | None
"""What a name stands for at some moment; None: a number that is not known, or a text that there is not."""

_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": python.eq,
    "!=": python.ne,
    "<": python.lt,
    "<=": python.le,
    ">": python.gt,
    ">=": python.ge,
}
_UNORDERED: Final = ("==", "!=")
_LISTED_MAX: Final = 12
_NAMES: Final = "the name of a number of the configuration, or of another value that conditions know"
_ALWAYS: Final = Alone(Word(ALWAYS))


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that has been checked.

    Attributes:
        text: as it was written.
        tree: what it says.
        names: the names that it uses, in order, each with what it stands for.
        numbers: those of the names that are numbers of the configuration, with their values there.
    """

    text: str
    tree: Node
    names: Mapping[str, Kind]
    numbers: Mapping[str, int | Decimal | None]

    @classmethod
    def parse(cls, text: str, facts: Mapping[str, Kind], numbers: Mapping[str, int | Decimal | None]) -> "Condition":
        """The condition that a text says, about ``facts`` and the ``numbers`` of a configuration.

        Raises:
            ConditionError: not in the grammar, an unknown name, a value that there is not, or a comparison of what
                cannot be compared.
        """
        tree = read(text)
        check = _Check(text, {**facts, **dict.fromkeys(numbers, NUMBER)})
        if tree != _ALWAYS:
            check.node(tree)
        return cls(text, tree, check.names, {name: numbers[name] for name in check.names if name in numbers})

    @property
    def always(self) -> bool:
        """Whether it holds whatever happens."""
        # Only what stands alone may be it: to compare the nodes of all others field by field takes longer.
        return isinstance(self.tree, Alone) and self.tree == _ALWAYS

    @property
    def can_hold(self) -> bool:
        """Whether it may ever become true: not where it needs a number that the configuration does not have."""
        return self.always or self._outcomes(self.tree)[0]

    def _outcomes(self, node: Node) -> tuple[bool, bool]:
        """Whether a part may become true, and whether it may become false."""
        match node:
            case Compared(left, _, right):
                known = not (self._is_absent(left) or self._is_absent(right))
                return known, known
            case Among(left, items):
                known = not self._is_absent(left)
                return known and not all(map(self._is_absent, items)), known
            case Not(inner):
                return self._outcomes(inner)[::-1]
            case AnyOf(parts):
                outcomes = [self._outcomes(part) for part in parts]
                return any(true for true, _ in outcomes), all(false for _, false in outcomes)
            case AllOf(parts):
                outcomes = [self._outcomes(part) for part in parts]
                return all(true for true, _ in outcomes), any(false for _, false in outcomes)
            case _:
                return True, True

    def _is_absent(self, operand: Operand) -> bool:
        return isinstance(operand, Word) and operand.text in self.numbers and self.numbers[operand.text] is None

    def holds(self, facts: Mapping[str, Value]) -> bool:
        """Whether it is true of the facts by their names.

        A number of the configuration may be among them: it then stands for the configured one, as where a limit was
        raised for today. Where what is compared is not known, neither the comparison nor its opposite holds.
        """
        return self.always or self._truth(self.tree, facts) is True

    def values(self, facts: Mapping[str, Value]) -> dict[str, Value]:
        """What each of its names stands for now: the numbers behind the answer."""
        return {name: self._value_of(name, facts) for name in self.names}

    def explain(self, facts: Mapping[str, Value]) -> str:
        """The condition with the values of its names: ``cost_daily_usd 101.20 > daily_limits.max_cost_usd 100``."""
        return written(self.tree, lambda word: self._with_value(word, facts))

    def lines(self, name: str, facts: Mapping[str, Value]) -> list[int | Decimal] | None:
        """The numbers that ``name`` is compared with: only where it passes one can the answer become another.

        None where it is compared with something else of ``facts`` that no configuration fixes.
        """
        lines: list[int | Decimal] = []
        for pair in _pairs(self.tree):
            for one, other in (pair, pair[::-1]):
                if not (isinstance(one, Word) and one.text == name):
                    continue
                if isinstance(other, Word) and other.text in self.names and other.text not in self.numbers:
                    return None
                value = self._operand(other, facts)
                if isinstance(value, int | Decimal):
                    lines.append(value)
        return lines

    def _with_value(self, word: Word, facts: Mapping[str, Value]) -> str:
        name = word.text
        if name not in self.names:
            return name
        value = self._value_of(name, facts)
        if value is not None:
            return f"{name} {_as_text(value)}"
        estimate = self.names[name] is NUMBER and name not in self.numbers
        return f"{name} ({'not known' if estimate else 'none'})"

    def _value_of(self, name: str, facts: Mapping[str, Value]) -> Value:
        if name in self.numbers and name not in facts:
            return self.numbers[name]
        return facts[name]

    def _truth(self, node: Node, facts: Mapping[str, Value]) -> bool | None:
        """True, false, or not known: Kleene's logic (Introduction to Metamathematics, 1952, § 64)."""
        match node:
            case Compared(left, operator, right):
                return self._compare(left, operator, right, facts)
            case Among(left, items):
                return _either(self._compare(left, "==", item, facts) for item in items)
            case Alone(operand):
                return self._operand(operand, facts) == "true"
            case Not(inner):
                return _opposite(self._truth(inner, facts))
            case AnyOf(parts):
                return _either(self._truth(part, facts) for part in parts)
            case AllOf(parts):
                return _opposite(_either(_opposite(self._truth(part, facts)) for part in parts))

    def _compare(self, left: Operand, operator: str, right: Operand, facts: Mapping[str, Value]) -> bool | None:
        one, other = self._operand(left, facts), self._operand(right, facts)
        if one is None or other is None:
            # A task without a product is of no product, and that is known; without an estimate, nothing is known.
            return None if NUMBER in (self._kind(left), self._kind(right)) else operator == "!="
        return _COMPARE[operator](one, other)

    def _kind(self, operand: Operand) -> Kind | None:
        return self.names.get(operand.text) if isinstance(operand, Word) else None

    def _operand(self, operand: Operand, facts: Mapping[str, Value]) -> Value:
        match operand:
            case Word(text) if text in self.names:
                value = self._value_of(text, facts)
                return _truth_as_text(value) if isinstance(value, bool) else value
            case Word(text) | Text(text):
                return text
            case Number(value):
                return value


def _pairs(node: Node) -> Iterator[tuple[Operand, Operand]]:
    """All that is compared in a condition, two by two."""
    match node:
        case Compared(left, _, right):
            yield left, right
        case Among(left, items):
            yield from ((left, item) for item in items)
        case Not(inner):
            yield from _pairs(inner)
        case AnyOf(parts) | AllOf(parts):
            for part in parts:
                yield from _pairs(part)


def _opposite(truth: bool | None) -> bool | None:
    return None if truth is None else not truth


def _either(truths: Iterable[bool | None]) -> bool | None:
    """True if one is, false if all are, else not known."""
    known: bool | None = False
    for truth in truths:
        if truth:
            return True
        if truth is None:
            known = None
    return known


def _as_text(value: int | Decimal | Fraction | str) -> str:
    match value:
        case bool():
            return _truth_as_text(value)
        case int():
            return str(value)
        case Decimal():
            return format(value, "f")
        case Fraction():
            # A ratio may have no end in decimals; replies show six of them, too.
            near = round(Decimal(value.numerator) / value.denominator, 6).normalize() + 0
            return f"{'' if near == value else 'about '}{near:f}"
        case str():
            return value if re.fullmatch(r"[\w.-]+", value) else quoted(value)


def _truth_as_text(truth: bool) -> str:
    return "true" if truth else "false"


def parse_all(
    keyed: Iterable[tuple[KeyPath, str]], facts: Mapping[str, Kind], numbers: Mapping[str, int | Decimal | None]
) -> tuple[Condition, ...]:
    """The conditions of a configuration, each of which came with its key.

    Raises:
        Unfit: one that cannot be used; it names the key and the part of the text.
    """
    conditions = []
    for key, text in keyed:
        try:
            conditions.append(Condition.parse(text, facts, numbers))
        except ConditionError as error:
            raise Unfit({key: error.allowed}, error.suggestion, error) from None
    return tuple(conditions)


# --- the check -------------------------------------------------------------------------------------------------------


class _Check:
    """Checks a condition against the names that it may use, and collects in ``names`` those that it does."""

    def __init__(self, text: str, known: Mapping[str, Kind]) -> None:
        self._text = text
        self._known = known
        self.names: dict[str, Kind] = {}

    def node(self, node: Node) -> None:
        """Check one part of the condition and all that is in it.

        Raises:
            ConditionError: an unknown name, or something that cannot be compared or asked.
        """
        match node:
            case Compared(left, operator, right, at):
                self._compared(left, operator, right, at)
            case Among(left, items, at):
                for item in items:
                    self._compared(left, "==", item, at)
            case Alone(operand):
                self._alone(operand)
            case Not(inner):
                self.node(inner)
            case AllOf(parts) | AnyOf(parts):
                for part in parts:
                    self.node(part)

    def _compared(self, left: Operand, operator: str, right: Operand, at: int) -> None:
        left_kind, right_kind = self._kind(left), self._kind(right)
        if left_kind is None and right_kind is None:
            found = shown(written(Compared(left, operator, right)))
            allowed = "the name of a value on one side (two fixed values are always equal, or never)"
            raise self._error(left.at, found, allowed, self._nearest_name(left) or self._nearest_name(right))
        name, kind, other = (left, left_kind, right) if left_kind is not None else (right, right_kind, left)
        assert isinstance(name, Word)
        assert kind is not None
        if operator not in _UNORDERED and NUMBER not in (left_kind, right_kind):
            allowed = f"==, !=, in or not in: only numbers have an order, and {name.text} is {kind.words}"
            raise self._error(at, shown(operator), allowed)
        self._fit(other, name.text, kind)

    def _fit(self, operand: Operand, name: str, kind: Kind) -> None:
        """Refuse what cannot be compared with ``name``, which is of a ``kind``."""
        own = self._kind(operand)
        suggestion, hint = None, ""
        if isinstance(operand, Number) or own is not None:
            fits = kind == (own or NUMBER)
            hint = f" ({quoted(written(Alone(operand)))} in quotes is one)" if kind is TEXT else ""
        else:
            text = operand.text if isinstance(operand, Word) else operand.value
            fits = kind is TEXT or text in kind.choices
            suggestion = self._nearest_name(operand) if kind is NUMBER else nearest(text, kind.choices)
        if not fits:
            words = kind.words if kind.choices else f"{kind.words}, as {name} is{hint}"
            raise self._error(operand.at, _found(operand), words, suggestion)

    def _alone(self, operand: Operand) -> None:
        if self._kind(operand) != TRUTH:
            always = operand == Word(ALWAYS)
            allowed = f"{ALWAYS} by itself, without and, or, not" if always else f"a comparison, such as {EXAMPLE}"
            raise self._error(operand.at, _found(operand), allowed, self._nearest_name(operand))

    def _kind(self, operand: Operand) -> Kind | None:
        """What a name stands for; None where the operand is none."""
        if not isinstance(operand, Word):
            return None
        kind = self._known.get(operand.text)
        if kind is not None:
            self.names[operand.text] = kind
        elif "." in operand.text:
            raise self._unknown(operand)
        return kind

    def _unknown(self, word: Word) -> ConditionError:
        if word.text.startswith("task.") and TASK_NAMES.keys().isdisjoint(self._known):
            allowed = "the name of a value of the fleet or of the configuration: this condition is about no single task"
            return self._error(word.at, _found(word), allowed)
        group: list[str] = []
        above = word.text
        while not group and "." in above:
            above = above.rpartition(".")[0]
            group = [name for name in self._known if name.startswith(f"{above}.")]
        few = ", ".join(group) if 0 < len(group) <= _LISTED_MAX else _NAMES
        allowed = f"{few} (a text with dots stands in quotes)"
        return self._error(word.at, _found(word), allowed, nearest(word.text, self._known))

    def _nearest_name(self, operand: Operand) -> str | None:
        """The name that a text, or another name, was probably meant to be."""
        match operand:
            case Word(text) if text in self._known:
                return None
            case Word(text) | Text(text):
                return nearest(text, self._known)
            case Number():
                return None

    def _error(self, at: int, found: str, allowed: str, suggestion: str | None = None) -> ConditionError:
        return ConditionError(self._text, at, found, allowed, suggestion)


def _found(operand: Operand) -> str:
    match operand:
        case Word(text) | Text(text):
            return shown(text)
        case Number(value):
            return shown(value)
