"""The log as Apache Parquet, for tools that read columns: typed, compressed, written in groups of bounded size."""

import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from tallystick.cli.columns import COLUMNS, Kind, Table, tables
from tallystick.config.amounts import AMOUNT_MAX
from tallystick.events.log.store import Record

GROUP_BYTES: Final = 32 * 1024 * 1024
"""How much of the table, before it is encoded, goes into a row group. A group lies in memory until it is written."""

_TYPES: Final[dict[Kind, Any]] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "text": pa.string(),
    "json": pa.string(),
}
BEYOND: Final = "beyond_int64"
"""The last column: sums that no whole number of Parquet holds, as JSON by the name of their column, which is null."""
_SCHEMA: Final = pa.schema([*((name, _TYPES[kind]) for name, kind in COLUMNS.items()), (BEYOND, pa.string())])
_REPEATED: Final = [name for name, kind in COLUMNS.items() if kind == "text" and name not in ("id", "digest")]
"""Texts of which a log has few different ones: each is kept once in a group. (Where that does not pay, Parquet's writer
finds out by itself and goes on without.)"""


def as_parquet(records: Iterable[Record]) -> Iterator[bytes]:
    """The records as one Parquet file, a row group at a time. Without its last part it is no Parquet file.

    Raises:
        BrokenChain: a record cannot be read.
    """
    # The writer writes into a buffer that is emptied after each group: so it needs no file, and when something goes
    # wrong, the end that it writes at its close is never written and makes no half log look like a whole one.
    sink = io.BytesIO()
    with ParquetWriter(sink, _SCHEMA, compression="zstd", use_dictionary=_REPEATED) as writer:
        for group in _groups(records):
            writer.write_table(group)
            yield _drained(sink)
    yield _drained(sink)


def _groups(records: Iterable[Record]) -> Iterator[Any]:
    batches, size = [], 0
    for table in tables(records):
        batches.append(_batch(table))
        size += batches[-1].nbytes
        if size >= GROUP_BYTES:
            yield pa.Table.from_batches(batches)
            batches, size = [], 0
    if batches:
        yield pa.Table.from_batches(batches)


def _batch(table: Table) -> Any:
    beyond: list[dict[str, int]] = [{} for _ in table[0]]
    columns = zip(COLUMNS.items(), table, strict=True)
    arrays = [_array(name, kind, cells, beyond) for (name, kind), cells in columns]
    arrays.append(pa.array([json.dumps(cells) if cells else None for cells in beyond], pa.string()))
    return pa.record_batch(arrays, schema=_SCHEMA)


def _array(name: str, kind: Kind, cells: list[Any], beyond: list[dict[str, int]]) -> Any:
    try:
        return pa.array(cells, _TYPES[kind])
    except OverflowError:
        for row, cell in enumerate(cells):
            if cell is not None and abs(cell) > AMOUNT_MAX:
                beyond[row][name] = cell
        return pa.array([None if name in beyond[row] else cell for row, cell in enumerate(cells)], _TYPES[kind])


def _drained(sink: io.BytesIO) -> bytes:
    data = sink.getvalue()
    sink.seek(0)
    sink.truncate()
    return data
