"""``tallystick audit export``: the log for other tools, part by part, in memory that does not grow with it."""

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from tallystick.cli.columns import COLUMNS, Kind, tables
from tallystick.cli.common import output, reading, reads_option, with_progress
from tallystick.cli.numbers import WholeNumber
from tallystick.events.decide.answers import stamp
from tallystick.events.log.store import Record

Form = Callable[[Iterable[Record]], Iterator[bytes]]


@click.command(short_help="Hand the log to other tools.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "parquet"]),
    required=True,
    help="Records as stored, or a table.",
)
@reads_option
@click.option("--after", metavar="POSITION", type=WholeNumber(min=0), default=0, help="Begin behind this position.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write here instead of to stdout.")
def export(form: str, store_url: str, after: int, out: Path | None) -> None:
    """Write the log up to its end at this moment: as it is stored, one JSON record a line, or as a table, in CSV or
    Apache Parquet, with one column per field.

    The columns are the same for every log: position, at, type, id, by; then every field of every event, in the order of
    the catalogue, amounts in tokens, milliseconds and nano-dollars (amount_tokens, amount_time_ms, amount_cost_nanos);
    then command, reply and digest. What is no number, time or text stands in its cell as JSON.

    A file appears under its name only once it is whole.

    \b
    Examples:
      tallystick audit export --format jsonl --out log.jsonl
      tallystick audit export --format csv --after 1000 > tail.csv
      tallystick audit export --format parquet --out log.parquet
    """
    if form == "parquet" and out is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is nothing for a terminal: name a file with --out")
    parts = _form(form)
    with reading(store_url) as store:
        last = store.last()
        end = 0 if last is None else last.position
        records = with_progress(store.read(after, end), max(0, end - after), "exporting")
        with output(out) as stream:
            for part in parts(records):
                stream.write(part)


def _form(name: str) -> Form:
    if name != "parquet":
        return as_csv if name == "csv" else as_jsonl
    try:
        from tallystick.cli.parquet import as_parquet
    except ModuleNotFoundError as error:
        raise click.ClickException(f"Parquet needs {error.name}: pip install 'tallystick[parquet]'") from None
    return as_parquet


def as_jsonl(records: Iterable[Record]) -> Iterator[bytes]:
    """The records as they are stored, one a line."""
    for record in records:
        yield record.data
        yield b"\n"


def as_csv(records: Iterable[Record]) -> Iterator[bytes]:
    """The records as CSV (RFC 4180), the head first.

    Raises:
        BrokenChain: a record cannot be read.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    yield text.getvalue().encode()
    for table in tables(records):
        text.seek(0)
        text.truncate()
        columns = zip(table, COLUMNS.values(), strict=True)
        writer.writerows(zip(*(_written(cells, kind) for cells, kind in columns), strict=True))
        yield text.getvalue().encode()


def _written(cells: list[Any], kind: Kind) -> Iterable[Any]:
    """The cells of a column as CSV shows them; an empty cell is nothing."""
    show = _SHOWN.get(kind)
    return cells if show is None else (None if cell is None else show(cell) for cell in cells)


_SHOWN: Final[dict[Kind, Callable[[Any], str]]] = {"time": stamp, "boolean": lambda value: str(value).lower()}
