"""Long work in parts: a generator that pauses where others may have their turn, and returns what it found."""

from bisect import bisect_right
from collections.abc import Generator, Iterator, Sequence
from typing import Final, TypeVar

Found = TypeVar("Found")
Parts = Generator[None, None, Found]

AT_ONCE: Final = 250
"""Looks at one agent in a part: about a millisecond."""


class Pace:
    """Says when a part is long enough."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = AT_ONCE

    def is_over(self, looks: int = 1) -> bool:
        """Whether a part ends here, behind work that takes as long as so many looks at one agent."""
        self._left -= looks
        if self._left > 0:
            return False
        self._left = AT_ONCE
        return True


def each_of(names: Sequence[str]) -> Iterator[str]:
    """The names of a sorted list, of which some may come and go meanwhile: those that stay come once.

    Nothing is copied but what comes next: a copy of all would take long, and collections would look at all of it.
    """
    at = 0
    while page := names[at : at + AT_ONCE]:
        yield from page
        at = bisect_right(names, page[-1])


def whole(parts: Parts[Found]) -> Found:
    """What is found, without pauses."""
    while True:
        try:
            next(parts)
        except StopIteration as end:
            found: Found = end.value
            return found
