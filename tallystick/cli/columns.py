"""The log as a table: the same columns for every log, each of one kind, so that tables of many logs fit together.

They are read off the catalogue, and a new event brings its own: first position, at, type, id, by; then every field of
every event once, in the order of the catalogue, amounts as one whole number per unit; last command, reply and digest.
An event that was stored in an old version is shown in the newest.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from tallystick.config.amounts import Amounts
from tallystick.events.catalog import CATALOG, Event
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import digest_of, exchange_of
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record

Kind = Literal["integer", "number", "boolean", "time", "text", "json"]
"""What the cells of a column are: int, float, bool, datetime (UTC), str, and str that holds JSON; or None."""
Table = list[list[Any]]
"""Cells by column, in the order of `COLUMNS`."""

ROWS: Final = 2_000
"""How many rows are put together at a time."""

_HEAD: Final[dict[str, Kind]] = {"position": "integer", "at": "time", "type": "text", "id": "text", "by": "text"}
_TAIL: Final[dict[str, Kind]] = {"command": "json", "reply": "json", "peer": "json", "trace": "text", "digest": "text"}
_KINDS: Final[dict[object, Kind]] = {
    int: "integer",
    float: "number",
    bool: "boolean",
    dt.datetime: "time",
    str: "text",
    Literal: "text",
}

_Read = Callable[[Event], Any]


def tables(records: Iterable[Record]) -> Iterator[Table]:
    """The records as one table, a part of at most `ROWS` rows at a time.

    Raises:
        BrokenChain: a record cannot be read.
    """
    left = iter(records)
    while part := list(islice(left, ROWS)):
        yield _table(part)


def _table(records: list[Record]) -> Table:
    table: Table = [[None] * len(records) for _ in COLUMNS]
    *_, commands, replies, peers, traces, digests = table
    for row, record in enumerate(records):
        event = event_of(record)
        try:
            exchange = exchange_of(record.data)
        except msgspec.MsgspecError as error:
            raise BrokenChain(record.position, f"the record cannot be read: {error}") from error
        for place, read in _CELLS[type(event)]:
            table[place][row] = read(event)
        if exchange.command:
            commands[row] = bytes(exchange.command).decode()
            replies[row] = bytes(exchange.reply).decode()
            peers[row] = bytes(exchange.peer).decode() or None
            traces[row] = exchange.trace or None
        digests[row] = digest_of(record.data).hex()
    return table


def columns_of(catalog: Iterable[type[Event]]) -> dict[str, Kind]:
    """The columns that these events need, in order, and their kinds. What a name means, it means in every event."""
    columns = dict(_HEAD)
    for event in catalog:
        for name, kind, _ in _fields(event):
            known = columns.setdefault(name, kind)
            assert known == kind, f"{event.__name__}.{name} is {kind}, in another event {known}"
    return columns | _TAIL


def _fields(event: type[Event]) -> Iterator[tuple[str, Kind, _Read]]:
    """The columns that an event fills, of what kind they are, and how their cells are read off it."""
    tag = event.__struct_config__.tag
    yield "type", "text", lambda _: tag
    hints = get_type_hints(event)
    for field in event.__struct_fields__:
        hint = _present(hints[field])
        if hint is Amounts:
            yield from ((f"{field}_{unit}", "integer", _unit_of(field, unit)) for unit in Amounts.__struct_fields__)
        elif kind := _KINDS.get(get_origin(hint) or hint):
            yield field, kind, attrgetter(field)
        else:
            yield field, "json", _json_of(field)


def _present(hint: Any) -> Any:
    """What a field holds where it holds something."""
    if get_origin(hint) not in (Union, UnionType):
        return hint
    kinds = [kind for kind in get_args(hint) if kind is not NoneType]
    return kinds[0] if len(kinds) == 1 else object


def _unit_of(field: str, unit: str) -> _Read:
    def read(event: Event) -> Any:
        amounts = getattr(event, field)
        return None if amounts is None else getattr(amounts, unit)

    return read


def _json_of(field: str) -> _Read:
    def read(event: Event) -> Any:
        value = getattr(event, field)
        return None if value is None else msgspec.json.encode(value).decode()

    return read


COLUMNS: Final = columns_of(CATALOG)
"""The kind of each column by its name, in order."""
_PLACES: Final = {name: place for place, name in enumerate(COLUMNS)}
_CELLS: Final = {event: [(_PLACES[name], read) for name, _, read in _fields(event)] for event in CATALOG}
