"""The fields of a row or an object, read with care: what is not there is None, what cannot be is named."""

import datetime as dt
import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tallystick.config.amounts import AMOUNT_MAX
from tallystick.importing.notes import Misread

_MILLISECONDS: Final = 100_000_000_000
"""Seconds since 1970 are below it until the year 5138."""
_SHOWN_MAX: Final = 60
_TRUE: Final = ("true", "t", "1", "yes")


class Fields:
    """An object of a file. ``within`` is where it stands, as errors say it."""

    def __init__(self, values: Mapping[str, Any], within: str = "") -> None:
        self._values, self._within = values, within

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) not in (None, "")

    def text(self, *names: str) -> str | None:
        """The first of these that is a text, or a number as text."""
        for name in names:
            value = self._values.get(name)
            if isinstance(value, str):
                if text := _whole(value).strip():
                    return text
            elif isinstance(value, int | Decimal) and not isinstance(value, bool):
                return str(value)
        return None

    def count(self, *names: str) -> int | None:
        """The first of these that is there, as a whole number that is not negative.

        Raises:
            Misread: it is none.
        """
        value = self._values.get(names[0])
        if type(value) is int and 0 <= value <= AMOUNT_MAX:
            return value  # as nearly all are
        found = self._number(*names)
        if found is None:
            return None
        name, number = found
        if number != number.to_integral_value() or not 0 <= number <= AMOUNT_MAX:
            raise self.misread(name, "a whole number, not negative")
        return int(number)

    def money(self, *names: str) -> Decimal | None:
        """The first of these that is there, as an amount that is not negative.

        Raises:
            Misread: it is none.
        """
        found = self._number(*names)
        if found is None:
            return None
        name, number = found
        if number < 0:
            raise self.misread(name, "an amount, not negative")
        return number

    def moment(self, *names: str) -> dt.datetime | None:
        """The first of these that is there, as a time: RFC 3339, without a zone in UTC, or seconds or milliseconds
        since 1970.

        Raises:
            Misread: it is none.
        """
        for name in names:
            if name in self:
                try:
                    return _moment(self._values[name])
                except (ValueError, OverflowError, OSError, InvalidOperation):
                    raise self.misread(name, "a time like 2026-03-04T12:00:00Z") from None
        return None

    def flag(self, name: str) -> bool:
        value = self._values.get(name)
        return value is True or (isinstance(value, str) and value.lower() in _TRUE)

    def inside(self, name: str) -> "Fields":
        """An object within, also one that is written as JSON text; an empty one where there is none."""
        value = self._values.get(name)
        if isinstance(value, str) and value.startswith("{"):
            try:
                value = json.loads(value, parse_float=Decimal)
            except (ValueError, RecursionError):
                value = None
        return Fields(value if isinstance(value, dict) else {}, f"{self._within}{name}.")

    def items(self, name: str) -> list[Any]:
        """A list within, also one that is written as JSON text; an empty one where there is none."""
        value = self._values.get(name)
        if isinstance(value, str) and value.startswith("["):
            try:
                value = json.loads(value, parse_float=Decimal)
            except (ValueError, RecursionError):
                value = None
        return value if isinstance(value, list) else []

    @property
    def values(self) -> Mapping[str, Any]:
        return self._values

    def misread(self, name: str, allowed: str) -> Misread:
        value = self._values.get(name)
        shown = "nothing" if value in (None, "") else repr(str(value)[:_SHOWN_MAX])
        return Misread(f"{self._within}{name}: found {shown}, allowed is {allowed}")

    def _number(self, *names: str) -> tuple[str, Decimal] | None:
        for name in names:
            if name not in self:
                continue
            value = self._values[name]
            try:
                number = Decimal(str(value)) if not isinstance(value, bool) else Decimal("nan")
            except InvalidOperation:
                number = Decimal("nan")
            if not number.is_finite():
                raise self.misread(name, "a number, not negative")
            return name, number
        return None


def _whole(text: str) -> str:
    """A text without halves of characters, which JSON may have, and nothing could write."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _moment(value: Any) -> dt.datetime:
    text = str(value).strip()
    if isinstance(value, str) and not text.replace(".", "", 1).isdigit():
        found = dt.datetime.fromisoformat(text.removesuffix(" UTC"))
        return (found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    number = Decimal(text)
    seconds = number / 1_000 if number >= _MILLISECONDS else number
    micros = int(seconds * 1_000_000)
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=micros)
