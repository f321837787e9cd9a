"""Parameters of a query: each is named at most once, and is a number within its bounds."""

import re
from collections.abc import Container, Iterable
from typing import Final

from starlette.datastructures import QueryParams

POSITION_MAX: Final = 2**53 - 1
"""The largest position that every JSON reader keeps exact."""
_DIGITS: Final = re.compile(r"[0-9]{1,16}")


class BadParameter(Exception):
    """A parameter is not allowed; the text says which, what was found, and what is allowed."""


def check_names(query: QueryParams, allowed: Iterable[str], many: Container[str] = ()) -> None:
    """Refuse what is not known, so that a misspelled parameter does not go unnoticed.

    Raises:
        BadParameter: a name is not one of ``allowed``, or comes twice and is not one of ``many``.
    """
    names = [name for name, _ in query.multi_items()]
    known = sorted(allowed)
    for name in names:
        if name not in known:
            allowed_are = f"allowed {'are' if len(known) > 1 else 'is'} {', '.join(known) or 'none'}"
            raise BadParameter(f"a parameter of the query: found {name[:100]!r}, {allowed_are}")
        if name not in many and names.count(name) > 1:
            raise BadParameter(f"{name}: found {names.count(name)} of them, allowed is one")


def number(name: str, text: str, least: int, most: int) -> int:
    """A whole number of a parameter or a header.

    Raises:
        BadParameter: it is none, or out of its bounds.
    """
    value = int(text) if _DIGITS.fullmatch(text) else None
    if value is None or not least <= value <= most:
        raise BadParameter(f"{name}: found {text[:100]!r}, allowed are whole numbers from {least} to {most}")
    return value
