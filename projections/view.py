"""What a view is: a fold of the log's events into rows that people and programs read.

A view reads nothing but events and its own rows, so that it can be thrown away and made again at any time. Its rows do
not depend on where a page of events began or ended, nor on when it was restored: the same log gives the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, Protocol

import msgspec

from tallystick.events.accounts import Money
from tallystick.events.amounts import Amounts
from tallystick.events.catalog import Event

encode = msgspec.json.Encoder(order="deterministic").encode
"""A row as it is kept: JSON, the same bytes for the same content."""


class Row(NamedTuple):
    """A row's JSON. A ``live`` row is one that the fold goes on with, and that a screen of the present shows."""

    data: bytes
    live: bool


Changes = Mapping[str, Row | None]
"""Rows that are new or different, by id; None for one that is gone."""
Look = Callable[[str, str], bytes | None]
"""The kept row of a view (its name) with an id."""


class View(Protocol):
    """A fold with a name. A new ``version`` says that the rows are to be made anew, from the first event."""

    name: str
    version: int

    def fold(self, event: Event) -> None:
        """Follow the next event of the log."""

    def changes(self) -> Changes:
        """What differs since this was last asked."""

    def restore(self, rows: Iterable[bytes]) -> None:
        """Go on where the live rows left off; asked once, before the first event."""


def moved(units: Money) -> Amounts:
    """Amounts without the dimensions in which there is nothing."""
    return Amounts(units[0] or None, units[1] or None, units[2] or None)
