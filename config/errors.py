"""What is wrong with a file of settings, said in one line that a person can act on."""

import difflib
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final

KeyPath = tuple[str | int, ...]
"""Where a value stands: keys of maps and numbers (from 0) of list items, from the top of the file."""

_SECRET: Final = re.compile(r"://.*@", re.DOTALL)
_SHOWN_MAX = 60
_WORD_MAX = 128


class ConfigError(ValueError):
    """A file or mapping of settings that cannot be used.

    ``str()`` is one line: ``limits.yml:7:3: enforcement.warn_att: unknown key; did you mean 'warn_at'? (allowed: …)``.

    Attributes:
        problem: what is wrong, without the place.
        path: the key's path as it is written (``rules[0].model``), empty where no key is to blame.
        found, allowed: the offending text and what is allowed instead, where there is such a thing.
        suggestion: the nearest known word, or None.
        file, line, column: where it stands, counted from 1; None for a mapping that was never a file.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: KeyPath = (),
        found: str | None = None,
        allowed: str | None = None,
        suggestion: str | None = None,
        file: str | None = None,
        place: tuple[int, int] | None = None,
    ) -> None:
        self.problem = problem
        self.path = dotted(path)
        self.found = found
        self.allowed = allowed
        self.suggestion = suggestion
        self.file = file
        self.line = place[0] if place is not None else None
        self.column = place[1] if place is not None else None
        where = ":".join(str(part) for part in (file, self.line, self.column) if part is not None)
        super().__init__(_one_line(": ".join(part for part in (where, self.path, problem) if part)))


class ConditionError(ValueError):
    """A condition that cannot be used. ``at`` is where the part that is wrong begins in ``text``, from 0.

    ``str()`` is one line: ``line 1, column 18 of the condition: found 'critcal', allowed is one of critical, …``.

    Attributes:
        line, column: the same place, counted from 1.
        found, allowed: that part, and what could stand there instead, in words.
        suggestion: the nearest word that could, or None.
    """

    def __init__(self, text: str, at: int, found: str, allowed: str, suggestion: str | None = None) -> None:
        self.line = text.count("\n", 0, at) + 1
        self.column = at - text.rfind("\n", 0, at)
        self.found = found
        self.allowed = allowed
        self.suggestion = suggestion
        super().__init__(_one_line(f"line {self.line}, column {self.column} of the condition: {self.problem}"))

    @property
    def problem(self) -> str:
        """What is wrong, without the place."""
        return found_instead(self.found, self.allowed, self.suggestion)


class Unfit(ValueError):
    """Values that are well formed but do not fit together.

    Raised by the structures themselves; the builder, which knows the file, adds the place. ``allowed`` says for each of
    the keys (relative to the structure) what would fit there; the first that the file itself holds is the one to show.
    ``within`` says which part of a text is wrong, where it is not the whole.
    """

    def __init__(
        self, allowed: Mapping[KeyPath, str], suggestion: str | None = None, within: ConditionError | None = None
    ) -> None:
        self.allowed = allowed
        self.suggestion = suggestion
        self.within = within
        super().__init__(" or ".join(f"{dotted(key)}: allowed is {words}" for key, words in allowed.items()))


def _one_line(text: str) -> str:
    """Line breaks and control characters of the file, written out, so that none reaches a terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def dotted(path: KeyPath) -> str:
    """A key's path as it is written: ``auto_model_selection.rules[0].model``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: object) -> str:
    """A value as the file has it, short enough for one line; an address without user, password and key."""
    match value:
        case None:
            text = "nothing (null)"
        case bool():
            text = "true" if value else "false"
        case Decimal() | int() | float():
            text = str(value)
        case str():
            text = f"'{_SECRET.sub('://***@', value)}'"
        case dict():
            text = "a map"
        case list() | tuple():
            text = "a list"
        case _:
            text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN_MAX else text[: _SHOWN_MAX - 3] + "..."


def nearest(word: object, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None; what is no word, or is longer than any, was not meant as one."""
    if not isinstance(word, str) or len(word) > _WORD_MAX:
        return None
    matches = difflib.get_close_matches(word, list(known), n=1)
    return matches[0] if matches else None


def did_you_mean(suggestion: str | None) -> str:
    """The end of a sentence that suggests a word; empty without one."""
    return f"; did you mean '{suggestion}'?" if suggestion is not None else ""


def found_instead(found: str, allowed: str, suggestion: str | None) -> str:
    """The sentence about a value that cannot stand where it does."""
    return f"found {found}, allowed is {allowed}{did_you_mean(suggestion)}"
