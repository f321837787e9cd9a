"""What a view is: a fold of the log's events into rows that people and programs read.

A view reads nothing but events and its own rows, so that it can be thrown away and made again at any time. Its rows do
not depend on where a page of events began or ended, nor on when it was restored: the same log gives the same bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar

import msgspec

from tallystick.config.amounts import Amounts, Triple
from tallystick.events.catalog import Event
from tallystick.events.state.accounts import Balances
from tallystick.events.state.money import ZERO, Money

T = TypeVar("T")

encode = msgspec.json.Encoder(order="deterministic").encode
"""A row as it is kept: JSON, the same bytes for the same content."""


class Row(NamedTuple):
    """A row's JSON. A ``live`` row is one that the fold goes on with, and that a screen of the present shows."""

    data: bytes
    live: bool


Changes = Mapping[str, Row | None]
"""Rows that are new or different, by id; None for one that is gone."""
Look = Callable[[str, str], bytes | None]
"""The kept row of a view (its name) with an id, as it was when ``changes`` were last asked."""
Steps = Mapping[type[Any], Callable[[Any, Any], None]]
"""What a view does with an event, by the event's class: a method of the view, given the event. A view that follows
`UsageReported` may follow `summed_use.SummedUse` as well: then plain reports come as their sums.
"""


class View(Protocol):
    """A fold with a name, a plain word. A new ``version`` says that its rows are to be made anew, from the first event.

    It is made with the ``balances`` that all views of a pass share, and may look at them: while it takes a step, they
    are as before the event; when it is asked for its changes, as behind the last one. It never changes them.
    """

    name: str
    version: int
    steps: ClassVar[Steps]

    def __init__(self, balances: Balances, look: Look) -> None: ...

    def changes(self, last: Event) -> Changes:
        """What differs since this was last asked; ``last`` is the newest event, whether the view follows it or not."""

    def restore(self, rows: Iterable[bytes]) -> None:
        """Go on where the live rows left off, in the order of their ids; asked once, before the first event."""


class Progress(Protocol):
    """Hands items on as they are taken; ``total`` is how many there will be: for a progress bar."""

    def __call__(self, items: Iterator[T], total: int) -> Iterator[T]: ...


_NONE = Amounts()


def moved(units: Money) -> Amounts:
    """Amounts without the dimensions in which there is nothing."""
    if units is ZERO:
        return _NONE  # what most rows have in most places
    return Amounts(units[0] or None, units[1] or None, units[2] or None)


def within(limits: Triple, units: Money) -> Amounts:
    """Amounts in the dimensions that ``limits`` limits."""
    return Amounts(
        None if limits[0] is None else units[0],
        None if limits[1] is None else units[1],
        None if limits[2] is None else units[2],
    )
