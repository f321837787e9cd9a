"""``tallystick audit export``: the log for other tools, record by record, in memory that does not grow with it."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec

from tallystick.cli.common import counted, output, reading, store_option
from tallystick.events.amounts import Amounts
from tallystick.events.catalog import CATALOG, Event
from tallystick.events.codec import decode_event, exchange_of
from tallystick.events.store import Record

_HEAD = ("position", "at", "type", "id", "by")
_TAIL = ("command", "reply", "digest")
_ROWS = 500
"""How many rows are written at once."""


@click.command(short_help="Hand the log to other tools.")
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv"]), required=True, help="Records as stored, or a table."
)
@store_option
@click.option("--after", metavar="POSITION", type=click.IntRange(min=0), default=0, help="Begin behind this position.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of to stdout.")
def export(form: str, store_url: str, after: int, out: Path | None) -> None:
    """Write the log as it is stored, one JSON record a line, or as CSV with one column per field.

    The columns of the CSV are the same for every log: position, at, type, id, by; then every field of every event, in
    the order of the catalogue, amounts in tokens, milliseconds and nano-dollars (amount_tokens, amount_time_ms,
    amount_cost_nanos); then command, reply and digest. What is no number or text stands in its cell as JSON.

    \b
    Examples:
      tallystick audit export --format jsonl --out log.jsonl
      tallystick audit export --format csv --after 1000 > log.csv
    """
    with reading(store_url) as store:
        last = store.last()
        total = 0 if last is None else max(0, last.position - after)
        records = counted(store.read(after), total, "exporting")
        with output(out) as stream:
            for part in _as_stored(records) if form == "jsonl" else as_table(records):
                stream.write(part)


def _as_stored(records: Iterator[Record]) -> Iterator[bytes]:
    for record in records:
        yield record.data
        yield b"\n"


def as_table(records: Iterator[Record]) -> Iterator[bytes]:
    """The records as CSV (RFC 4180), the head first."""
    text = io.StringIO(newline="")
    write = csv.writer(text).writerow
    write(COLUMNS)
    for count, (_, name, data) in enumerate(records, start=1):
        event = decode_event(data, name)
        exchange = exchange_of(data)
        cells: dict[str, Any] = {
            "at": event.at.isoformat().replace("+00:00", "Z"),
            "type": event.__struct_config__.tag,
            "command": bytes(exchange.command).decode(),
            "reply": bytes(exchange.reply).decode(),
            "digest": data[-66:-2].decode(),
        }
        for field, cell in _FIELDS[type(event)]:
            cells.update(cell(field, getattr(event, field)))
        write([cells.get(column) for column in COLUMNS])
        if not count % _ROWS:
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode()


Cells = dict[str, Any]


def _amounts(field: str, value: Amounts) -> Cells:
    units = zip(Amounts.__struct_fields__, value.triple, strict=True)
    return {f"{field}_{name}": amount for name, amount in units}


def _plain(field: str, value: Any) -> Cells:
    return {field: str(value).lower() if isinstance(value, bool) else value}


def _json(field: str, value: Any) -> Cells:
    return {field: msgspec.json.encode(value).decode() if value else None}


def _time(field: str, value: Any) -> Cells:
    return {field: None if value is None else value.isoformat().replace("+00:00", "Z")}


def _cell(hint: Any) -> Callable[[str, Any], Cells]:
    """How a field of this type is put into cells."""
    if hint is Amounts:
        return _amounts
    if getattr(hint, "__origin__", hint) in (dict, list):
        return _json
    names = {getattr(kind, "__name__", "") for kind in (hint, *get_args(hint))}
    return _time if "datetime" in names else _plain


def _fields_of(event: type[Event]) -> list[tuple[str, Callable[[str, Any], Cells]]]:
    hints = get_type_hints(event)
    return [(name, _cell(hints[name])) for name in event.__struct_fields__ if name != "at"]


def _columns() -> list[str]:
    """The head, each field of the catalogue once, in its order, and the tail."""
    found: dict[str, None] = dict.fromkeys(_HEAD)
    for event in CATALOG:
        for field, cell in _FIELDS[event]:
            found.update(dict.fromkeys(_amounts(field, Amounts()) if cell is _amounts else [field]))
    return [*found, *_TAIL]


_FIELDS = {event: _fields_of(event) for event in CATALOG}
COLUMNS = _columns()
