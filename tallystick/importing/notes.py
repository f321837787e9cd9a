"""What an import says of the files that it has read."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from tallystick.wording import one_line

SHOWN_MAX: Final = 20
_TEXT_MAX: Final = 300


class Misread(ValueError):
    """A field that says something else than it may; the text names it, what was found, and what is allowed."""


class Notes:
    """How much was read, what was left out and why, and what could not be read: the first of it in full."""

    def __init__(self) -> None:
        self.files = self.lines = self.calls = 0
        self.dropped: Counter[str] = Counter()
        self.unreadable = 0
        self.problems: list[str] = []
        self.remarks: list[str] = []
        self.kinds: dict[str, str] = {}
        """What sums are of (usage or costs), with the file that said so first."""

    def drop(self, why: str, count: int = 1) -> None:
        """Something was read and is not imported, as it is no use of its own."""
        self.dropped[why] += count

    def cannot_read(self, place: str, why: object) -> None:
        """Something could not be read, and the rest is imported."""
        self.unreadable += 1
        if len(self.problems) < SHOWN_MAX:
            self.problems.append(one_line(f"{place}: {str(why)[:_TEXT_MAX]}"))

    def remark(self, text: str) -> None:
        """Something that is no fault, and good to know."""
        if len(self.remarks) < SHOWN_MAX:
            self.remarks.append(one_line(text))

    def said(self) -> Iterator[str]:
        """A line for each problem that is shown, and for each remark."""
        yield from self.problems
        if self.unreadable > len(self.problems):
            yield f"{self.unreadable - len(self.problems):,} more could not be read"
        yield from self.remarks
