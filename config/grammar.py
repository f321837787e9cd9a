"""The language of conditions: its grammar, the tree that a text becomes, and the text that a tree becomes.

Nothing here knows what a name means; that is in conditions.py. A text is parsed by lark's LALR parser, in time that
grows with its length and no faster, and is never evaluated as Python.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Final

from tallystick.config.errors import ConditionError, shown

if TYPE_CHECKING:
    from lark import Lark, Token, UnexpectedInput

GRAMMAR: Final = r"""
?any_of:     all_of ("or" all_of)*
?all_of:     negated ("and" negated)*
?negated:    NOT negated                 -> negation
         |   comparison
?comparison: operand OPERATOR operand    -> compared
         |   operand "in" items          -> among
         |   operand NOT "in" items      -> not_among
         |   operand                     -> alone
         |   "(" any_of ")"
items:       "[" operand ("," operand)* "]"
?operand:    NAME                        -> word
         |   NUMBER                      -> number
         |   STRING                      -> text

OPERATOR:    /[=!]=|[<>]=?/
NOT:         "not"
NAME:        /[^\W\d][\w-]*(\.[\w-]+)*/
NUMBER:      /-?[0-9]+(_[0-9]+)*(\.[0-9]+)?(?![\w.-])/
STRING:      /"([^"\\]|\\.)*"|'([^'\\]|\\.)*'/s
%ignore      /\s+/
"""

LENGTH_MAX: Final = 4096
NESTING_MAX: Final = 32
ALWAYS: Final = "default"
"""The condition that always holds."""

EXAMPLE: Final = "task.priority == critical"


@dataclass(frozen=True, slots=True)
class Word:
    """A name, or else a text without quotes. ``at`` is where a part begins in the text of the condition, from 0."""

    text: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Text:
    """A text in quotes: never a name."""

    value: str
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Number:
    """A number, exactly as written."""

    value: Decimal
    at: int = field(default=0, compare=False)


Operand = Word | Text | Number


@dataclass(frozen=True, slots=True)
class Compared:
    """``left operator right``, the operator one of == != < <= > >=."""

    left: Operand
    operator: str
    right: Operand
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Among:
    """``left in [items]``."""

    left: Operand
    items: tuple[Operand, ...]
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Alone:
    """An operand that is not compared with anything."""

    operand: Operand
    at: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    """``not inner``. ``depth`` is how many of not, and, or stand inside one another, this one included."""

    inner: "Node"
    at: int = field(default=0, compare=False)
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class AllOf:
    """``parts`` joined by ``and``: two or more."""

    parts: "tuple[Node, ...]"
    at: int = field(default=0, compare=False)
    depth: int = field(default=1, compare=False)


@dataclass(frozen=True, slots=True)
class AnyOf:
    """``parts`` joined by ``or``: two or more."""

    parts: "tuple[Node, ...]"
    at: int = field(default=0, compare=False)
    depth: int = field(default=1, compare=False)


Node = Compared | Among | Alone | Not | AllOf | AnyOf


# --- from text to tree -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def read(text: str) -> Node:
    """The tree of a condition.

    Raises:
        ConditionError: it is longer than 4,096 characters, not in the grammar, has an escape that is none, or nests
            not, and, or more than 32 deep.
    """
    if len(text) > LENGTH_MAX:
        raise ConditionError(text, LENGTH_MAX, f"{len(text)} characters", f"at most {LENGTH_MAX}")
    parser, unexpected = _parser()
    try:
        # The parser builds the nodes below as it goes, so that no tree of its own is ever walked.
        tree: Any = parser.parse(text)
    except unexpected as error:
        raise _refusal(text, error) from None
    except _Unreadable as unreadable:
        raise ConditionError(text, unreadable.at, unreadable.found, unreadable.allowed) from None
    node: Node = tree
    return node


def check_digits(text: str) -> None:
    """Refuse underscores between the digits of a number: the grammar still reads them, for conditions in old logs.

    Raises:
        ConditionError: a number is written with underscores. What is wrong in any other way is left to `read`.
    """
    if "_" not in text or len(text) > LENGTH_MAX:
        return
    parser, unexpected = _parser()
    try:
        for token in parser.lex(text):
            if token.type == "NUMBER" and "_" in token:
                plain = token.replace("_", "")
                raise ConditionError(text, _start(token), shown(str(token)), "a number without underscores", plain)
    except unexpected:
        return


@cache
def _parser() -> "tuple[Lark, type[UnexpectedInput]]":
    """The parser, and what it raises. Loaded with the first condition, so that nothing waits for it that reads none."""
    from lark import Lark, UnexpectedInput  # noqa: PLC0415  # see above

    return Lark(GRAMMAR, start="any_of", parser="lalr", lexer="basic", transformer=_Nodes()), UnexpectedInput


class _Unreadable(Exception):
    """Text that the grammar takes and the tree does not."""

    def __init__(self, at: int, found: str, allowed: str) -> None:
        self.at, self.found, self.allowed = at, found, allowed


class _Nodes:
    """Makes the node of each rule of the grammar; ``parts`` are the nodes and named tokens inside it, in order."""

    def any_of(self, parts: list[Node]) -> Node:
        return AnyOf(tuple(parts), parts[0].at, _deeper(parts, parts[0].at))

    def all_of(self, parts: list[Node]) -> Node:
        return AllOf(tuple(parts), parts[0].at, _deeper(parts, parts[0].at))

    def negation(self, parts: "tuple[Token, Node]") -> Node:
        word, inner = parts
        return Not(inner, _start(word), _deeper([inner], _start(word)))

    def compared(self, parts: "tuple[Operand, Token, Operand]") -> Node:
        left, operator, right = parts
        return Compared(left, str(operator), right, _start(operator))

    def among(self, parts: tuple[Operand, tuple[Operand, ...]]) -> Node:
        left, items = parts
        return Among(left, items, left.at)

    def not_among(self, parts: "tuple[Operand, Token, tuple[Operand, ...]]") -> Node:
        left, _, items = parts
        return Not(Among(left, items, left.at), left.at)

    def alone(self, parts: list[Operand]) -> Node:
        return Alone(parts[0], parts[0].at)

    def items(self, parts: list[Operand]) -> tuple[Operand, ...]:
        return tuple(parts)

    def word(self, parts: "list[Token]") -> Operand:
        return Word(str(parts[0]), _start(parts[0]))

    def number(self, parts: "list[Token]") -> Operand:
        return Number(Decimal(parts[0].replace("_", "")), _start(parts[0]))

    def text(self, parts: "list[Token]") -> Operand:
        at = _start(parts[0])
        return Text(_unquoted(str(parts[0]), at), at)


def _start(token: "Token") -> int:
    assert token.start_pos is not None
    return token.start_pos


def _deeper(parts: Iterable[Node], at: int) -> int:
    """One more than the deepest of the parts, which bounds how deep anything that walks the tree can go."""
    deepest = 0
    for part in parts:
        if isinstance(part, Not | AllOf | AnyOf):
            deepest = max(deepest, part.depth)
    if deepest == NESTING_MAX:
        found = f"{NESTING_MAX + 1} of not, and, or inside one another"
        raise _Unreadable(at, found, f"at most {NESTING_MAX}")
    return deepest + 1


def _unquoted(quoted: str, at: int) -> str:
    for escape in re.finditer(r"\\(.)", quoted, re.DOTALL):
        if escape[1] not in "\\'\"":
            allowed = r"one of \\, \', \" after a backslash"
            raise _Unreadable(at + escape.start(), shown(escape[0]), allowed)
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


# --- what is said about a text that is not in the grammar ------------------------------------------------------------

_EXPECTED: Final = (
    ("LPAR", f"a condition, such as {EXAMPLE}"),
    ("NAME", "a name, a number or a text"),
    ("OPERATOR", "a comparison (==, !=, <, <=, >, >=, in, not in)"),
    ("IN", "'in'"),
    ("LSQB", "a list in brackets, such as [critical, high]"),
    ("AND", "'and'"),
    ("OR", "'or'"),
    ("COMMA", "','"),
    ("RSQB", "']'"),
    ("RPAR", "')'"),
    ("$END", "the end"),
)
"""What the parser could go on with, in words; what one of the first three begins is not said again."""
_COVERED: Final = {"LPAR": {"NAME"}, "OPERATOR": {"IN"}}

_MEANT: Final = {
    "=": "==", "===": "==", "=<": "<=", "=>": ">=", "<>": "!=",
    "!": "not", "&": "and", "&&": "and", "|": "or", "||": "or",
}  # fmt: skip
"""Signs of other languages, and what they are here."""
_TERMINALS: Final = {"and": "AND", "or": "OR", "not": "NOT", "in": "IN"}
_SIGNS: Final = "=!<>&|"
_PIECE: Final = re.compile(rf"[\w.-]+|[{_SIGNS}]+|.", re.DOTALL)


def _refusal(text: str, error: "UnexpectedInput") -> ConditionError:
    """What stands where the parser could not go on, and what could stand there."""
    at: int = error.pos_in_stream  # type: ignore[assignment]  # None is only where lark's own class begins
    if getattr(error, "token", None) == "":  # The end is a token without a text.
        at = len(text.rstrip())
        return ConditionError(text, at, "the end", _allowed(_accepted(text[:at])))
    while at > 0 and text[at] in _SIGNS and text[at - 1] in _SIGNS:
        at -= 1  # What was taken for an operator is the beginning of something else.
    found = _PIECE.match(text, at)
    assert found is not None
    piece = found[0]
    accepted = _accepted(text[:at])
    allowed = _allowed(accepted)
    if piece in "\"'":
        allowed = "a closing quote for the text that begins here"
    elif "NAME" in accepted and re.match(r"-?[0-9]", piece):
        allowed = "a number such as 30 or 0.5 (a text that begins with a digit stands in quotes)"
    elif "NAME" not in accepted and piece[0] not in f"{_SIGNS}()[],":
        allowed += " (a text of several words, or with other signs, stands in quotes)"
    meant = _MEANT.get(piece) or piece.lower()
    fits = meant != piece and (meant in _TERMINALS or piece in _MEANT)
    fits = fits and _TERMINALS.get(meant, "OPERATOR") in accepted
    return ConditionError(text, at, shown(piece), allowed, meant if fits else None)


def _accepted(before: str) -> set[str]:
    """The terminals with which a good beginning may go on.

    The beginning is read again by itself: a parser that has met what it does not take has reduced too much by then.
    """
    parser, _ = _parser()
    state = parser.parse_interactive(before)
    state.exhaust_lexer()
    accepted: set[str] = state.accepts()  # type: ignore[no-untyped-call]  # lark leaves it untyped
    return accepted


def _allowed(accepted: set[str]) -> str:
    covered = set().union(*(_COVERED[terminal] for terminal in accepted & _COVERED.keys()))
    *others, last = [words for terminal, words in _EXPECTED if terminal in accepted - covered]
    return f"{', '.join(others)} or {last}" if others else last


# --- from tree to text -----------------------------------------------------------------------------------------------


def written(node: Node, show: Callable[[Word], str] = lambda word: word.text) -> str:
    """The text of a tree, which `read` reads as the same tree; ``show`` may add to a word, for display."""
    match node:
        case Compared(left, operator, right):
            return f"{_operand(left, show)} {operator} {_operand(right, show)}"
        case Among(left, items):
            return _among(left, "in", items, show)
        case Alone(operand):
            return _operand(operand, show)
        case Not(Among(left, items)):
            return _among(left, "not in", items, show)
        case Not(inner):
            return f"not {_within(inner, AllOf | AnyOf, show)}"
        case AllOf(parts):
            return " and ".join(_within(part, AllOf | AnyOf, show) for part in parts)
        case AnyOf(parts):
            return " or ".join(_within(part, AnyOf, show) for part in parts)


def _within(node: Node, bracketed: Any, show: Callable[[Word], str]) -> str:
    text = written(node, show)
    return f"({text})" if isinstance(node, bracketed) else text


def _among(left: Operand, word: str, items: Iterable[Operand], show: Callable[[Word], str]) -> str:
    return f"{_operand(left, show)} {word} [{', '.join(_operand(item, show) for item in items)}]"


def _operand(operand: Operand, show: Callable[[Word], str]) -> str:
    match operand:
        case Word():
            return show(operand)
        case Text(value):
            return quoted(value)
        case Number(value):
            return format(value, "f")


def quoted(text: str) -> str:
    """A text in quotes, as it may stand in a condition."""
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"
