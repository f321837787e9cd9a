"""A line of a bill, as all formats are read: what a provider says was used, when, by which model and key, and its cost."""

import datetime as dt
from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final, NamedTuple

from tallystick.config.amounts import AMOUNT_MAX, NANOS_PER_DOLLAR, NUMBER

_EXACT: Final = Context(prec=60)
_NANO: Final = Decimal("0.000000001")
_SHOWN_MAX: Final = 60
_EPOCH_SECONDS_MAX: Final = 253_402_300_799
"""The last second of the calendar."""


class BillError(ValueError):
    """A bill that cannot be read: where, what was found, and what is allowed."""


class Parts(NamedTuple):
    """Tokens in parts that do not overlap: fresh input, input from a cache, input to a cache, and output."""

    fresh: int = 0
    cached: int = 0
    written: int = 0
    output: int = 0

    @property
    def input(self) -> int:
        return self.fresh + self.cached + self.written

    @property
    def all(self) -> int:
        return self.fresh + self.cached + self.written + self.output


NO_TOKENS: Final = Parts()

TOTAL, DIRECTIONS, CACHED, KINDS = 0, 1, 2, 3
"""How finely a line tells tokens apart: not at all; input and output; what came from a cache, too; all parts."""
GROUPS: Final[tuple[tuple[tuple[int, ...], ...], ...]] = (
    ((0, 1, 2, 3),),
    ((0, 1, 2), (3,)),
    ((0, 2), (1,), (3,)),
    ((0,), (1,), (2,), (3,)),
)
"""By detail, the places of `Parts` that are one number."""


def grouped(parts: Parts, detail: int) -> tuple[int, ...]:
    """Tokens as a bill of this detail tells them apart."""
    return tuple(sum(parts[place] for place in group) for group in GROUPS[detail])


class BilledRow(NamedTuple):
    """A line of a bill. What it does not say is None.

    ``began`` is the moment of a call, and then ``ended`` is None; or the two are the span of a bucket, ``ended``
    excluded. ``call`` is the provider's id of the call, ``detail`` how finely ``parts`` are known. ``cost`` is in nano-dollars, what is finer to the nearest one.
    """

    provider: str
    began: dt.datetime
    ended: dt.datetime | None
    model: str | None
    key: str | None = None
    agent: str | None = None
    call: str | None = None
    parts: Parts | None = None
    requests: int | None = None
    cost: int | None = None
    detail: int = KINDS
    item: str | None = None
    """What was billed, where it is no model's tokens."""


class Other(NamedTuple):
    """A line that bills no usage, as a tax, a credit or a purchase: its kind and nano-dollars."""

    kind: str
    cost: int


Rows = Iterator[BilledRow | Other]


class Found(NamedTuple):
    """What a field of a bill has, and where it stands, for errors."""

    place: str
    name: str
    value: object

    def bad(self, allowed: str) -> BillError:
        """The error that says so."""
        shown = repr(self.value)
        shown = shown if len(shown) <= _SHOWN_MAX else f"{shown[: _SHOWN_MAX - 1]}…"
        return BillError(f"{self.place}: {self.name}: found {shown}, allowed is {allowed}")

    def nanos(self, per_unit: int = NANOS_PER_DOLLAR) -> int:
        """An amount of money, of a unit of so many nano-dollars, to the nearest nano-dollar.

        Raises:
            BillError: it is none, or above 2^63-1.
        """
        number = self._decimal("an amount of money")
        nanos = int((number * per_unit).quantize(Decimal(1), ROUND_HALF_EVEN, _EXACT)) if number.adjusted() < 20 else None
        if nanos is None or abs(nanos) > AMOUNT_MAX:
            raise self.bad(f"an amount of up to {AMOUNT_MAX} nano-dollars")
        return nanos

    def count(self) -> int:
        """A whole number, 0 where there is nothing.

        Raises:
            BillError: it is none, is negative, or above 2^63-1.
        """
        if self.value is None or self.value == "":
            return 0
        number = self._decimal("a whole number")
        if not 0 <= number <= AMOUNT_MAX or number != number.to_integral_value():
            raise self.bad(f"a whole number from 0 to {AMOUNT_MAX}")
        return int(number)

    def _decimal(self, what: str) -> Decimal:
        text = str(self.value).strip()
        try:
            if NUMBER.fullmatch(text):
                return Decimal(text)
        except InvalidOperation:
            pass
        raise self.bad(what)

    def text(self) -> str | None:
        """A text, or None where there is nothing.

        Raises:
            BillError: it is no text.
        """
        if self.value is None or self.value == "":
            return None
        if not isinstance(self.value, str):
            raise self.bad("a text")
        return self.value

    def moment(self) -> dt.datetime:
        """A time in UTC: seconds since 1970, or ISO 8601; without a zone it is of UTC.

        Raises:
            BillError: it is none.
        """
        value = self.value
        if isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 <= value <= _EPOCH_SECONDS_MAX:
            return dt.datetime.fromtimestamp(int(value), dt.UTC)
        text = str(value).strip().removesuffix(" UTC")
        if text.isdecimal() and text.isascii() and len(text) >= 9 and int(text) <= _EPOCH_SECONDS_MAX:
            return dt.datetime.fromtimestamp(int(text), dt.UTC)
        try:
            found = dt.datetime.fromisoformat(text)
            return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found.astimezone(dt.UTC)
        except (ValueError, OverflowError):
            raise self.bad("a time like 2026-03-04T12:00:00Z, or seconds since 1970") from None


def nothing_else_than_dollars(found: Found) -> None:
    """Check a currency.

    Raises:
        BillError: it is another than the US dollar.
    """
    if str(found.value or "usd").strip().lower() != "usd":
        raise found.bad("USD: the fleet's books are in US dollars")


class Line(NamedTuple):
    """An object of a file with the place where it stands."""

    place: str
    fields: dict[str, object]

    def __getitem__(self, name: str) -> Found:
        return Found(self.place, name, self.fields.get(name))

    def first(self, *names: str) -> Found:
        """The first of these fields that has something; the first, where none has."""
        known = (name for name in names if self.fields.get(name) not in (None, ""))
        return self[next(known, names[0])]

    def inner(self, name: str) -> "Line":
        """The object in a field; an empty one where there is none.

        Raises:
            BillError: there is something else.
        """
        value = self.fields.get(name)
        if value is None:
            return Line(f"{self.place}: {name}", {})
        if not isinstance(value, dict):
            raise self[name].bad("an object")
        return Line(f"{self.place}: {name}", value)

    def lines(self, name: str) -> "Iterator[Line]":
        """The objects of a list in a field.

        Raises:
            BillError: there is something else.
        """
        value = self.fields.get(name)
        if not isinstance(value, list):
            raise self[name].bad("a list")
        for number, one in enumerate(value, start=1):
            place = f"{self.place}: {name}[{number}]"
            if not isinstance(one, dict):
                raise Found(place, "", one).bad("an object")
            yield Line(place, one)


