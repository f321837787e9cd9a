"""Writing a batch to a log in PostgreSQL: one statement, which the server has whole before it begins.

A writer that is stopped in the middle of it leaves no transaction open that another one would have to wait for, as it
would in the middle of a COPY. The bytes of all rows travel as one value, and the server cuts them apart: that is as
fast as a COPY, and twice as fast as an array of values.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate, islice
from typing import Any, Final, NamedTuple

from psycopg import errors
from psycopg.sql import SQL, Identifier

from tallystick.events.log.postgres_lease import Lease
from tallystick.events.log.postgres_sources import ADDED, entered
from tallystick.events.log.postgres_tables import EVENTS, Connection
from tallystick.events.log.store_contract import PAGE, Fenced, Record, StoreError
from tallystick.events.log.store_segments import Row, rows_of

MINE: Final = SQL("SELECT fleet FROM tallystick_writers WHERE fleet = %s AND epoch = %s FOR KEY SHARE")
"""That a writer's place is still its own; no one takes it before the transaction has ended."""
SELECT: Final = SQL("SELECT originator_version, topic, state FROM {} WHERE originator_id = %s").format(
    Identifier(EVENTS)
)
PAGE_OF_ROWS: Final = (
    SQL(
        "{} AND originator_version > %s AND originator_version <= coalesce((SELECT min(originator_version) FROM {}"
        " WHERE originator_id = %s AND originator_version >= %s), 9223372036854775807) ORDER BY originator_version"
    )
    .format(SELECT, Identifier(EVENTS))
    .as_bytes()
)
"""The rows behind a position, up to the first that reaches another one."""
_COPY: Final = SQL("COPY {} (originator_id, originator_version, topic, state) FROM STDIN (FORMAT BINARY)").format(
    Identifier(EVENTS)
)
_WRITE: Final = SQL(
    "WITH mine AS (SELECT w.fleet FROM tallystick_writers AS w WHERE fleet = %s AND epoch = %s AND (%s = 0 OR EXISTS"
    " (SELECT FROM {events} WHERE originator_id = w.fleet AND originator_version = %s)) FOR KEY SHARE){and_sources}"
    " INSERT INTO {events} (originator_id, originator_version, topic, state) SELECT mine.fleet, one.position, one.name,"
    " substring(whole.data FROM one.first FOR one.length) FROM mine, (SELECT %s::bytea AS data OFFSET 0) AS whole,"
    " unnest(%s::bigint[], %s::text[], %s::int[], %s::int[]) AS one (position, name, first, length)"
)
"""Where the writer's place is its own, and the log has the record before the batch, or nothing comes before it."""
_APPEND: Final = _WRITE.format(and_sources=SQL(""), events=Identifier(EVENTS)).as_bytes()
_APPEND_SOURCED: Final = _WRITE.format(and_sources=SQL(f", sourced AS ({ADDED})"), events=Identifier(EVENTS)).as_bytes()


class Batch(NamedTuple):
    """Rows to be written behind the position ``before``."""

    before: int
    rows: Sequence[Row]


def write(connection: Connection, lease: Lease, named: str, batch: Batch, sources: Sequence[tuple[str, int]]) -> None:
    """Write a batch, all or nothing, where the writer's place is its own and the log ends before the batch.

    Raises:
        Fenced: another writer took over, or the positions are taken.
        StoreError: the log does not reach to the batch: it is not the one that was written.
        psycopg.Error: the database is away, or refuses.
    """
    before, rows = batch
    lengths = [len(row.state) for row in rows]
    firsts = accumulate(lengths[:-1], initial=1)
    statement = _APPEND
    parameters: list[Any] = [lease.fleet, lease.epoch, before, before]
    if sources:
        statement = _APPEND_SOURCED
        parameters += entered(sources, rows[-1].position)
    positions, topics = numbers(row.position for row in rows), texts(row.topic for row in rows)
    parameters += [b"".join([row.state for row in rows]), positions, topics, numbers(firsts), numbers(lengths)]
    try:
        if connection.execute(statement, parameters, prepare=True, binary=True).rowcount == len(rows):
            return
    except errors.UniqueViolation as error:
        raise Fenced(f"another writer has written to {named}: {error.diag.message_detail}") from error
    check_mine(connection, lease)
    raise StoreError(
        f"{named} has no record at position {before} any more: the database was restored from a backup, or replaced by"
        " a copy that is behind"
    )


def numbers(values: Iterable[int]) -> str:
    """An array as the server reads it from a text, which costs a tenth of what a list of Python does."""
    return f"{{{','.join(map(str, values))}}}"


def texts(values: Iterable[str]) -> str:
    """As `numbers`, of texts; none has a zero byte."""
    quoted = '","'.join([value.replace("\\", r"\\").replace('"', r"\"") for value in values])
    return f'{{"{quoted}"}}'


def write_again(
    connection: Connection, lease: Lease, named: str, batch: Batch, sources: Sequence[tuple[str, int]]
) -> None:
    """Write a batch of which it is not known whether it was written, as `write` does: it is there once, and whole."""
    if _is_written(connection, lease.fleet, batch):
        return
    try:
        write(connection, lease, named, batch, sources)
    except Fenced:
        # The server may have ended what was sent over the broken connection only now.
        if not _is_written(connection, lease.fleet, batch):
            raise


def copy_in(connection: Connection, fleet: str, records: Iterable[Record]) -> int:
    """Copy records into the log of a fleet; how many there were. It is whole when the transaction has ended.

    Raises:
        psycopg.Error: the database is away, or refuses, or has such a record.
    """
    count, left = 0, iter(records)
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        copy.set_types(("text", "int8", "text", "bytea"))
        while batch := list(islice(left, PAGE)):
            count += len(batch)
            for row in rows_of(batch):
                copy.write_row((fleet, *row))
    return count


def check_mine(connection: Connection, lease: Lease) -> None:
    """Lock the writer's place until the end of the transaction.

    Raises:
        Fenced: another writer took over.
        psycopg.Error: the database is away, or refuses.
    """
    if connection.execute(MINE, (lease.fleet, lease.epoch), prepare=True).fetchone() is None:
        raise Fenced(lease.lost(connection))


def _is_written(connection: Connection, fleet: str, batch: Batch) -> bool:
    """Whether a batch whose answer was lost is there: it is whole, then. Records chain, so no other is the same."""
    last = batch.rows[-1]
    query = SQL("{} AND originator_version = %s").format(SELECT)
    row = connection.execute(query, (fleet, last.position), binary=True).fetchone()
    return row is not None and Row(*row) == last
