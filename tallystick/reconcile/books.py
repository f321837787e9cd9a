"""The two sides of a reconciliation side by side: what was billed and what was reported, in a file that goes with it,
so that memory grows with neither; and what was found, and is to be changed.
"""

import datetime as dt
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from tallystick.reconcile.billed import BilledRow, Parts

Status = str
MATCHED: Final = "matched"
PRICED: Final = "priced_differently"
NOT_REPORTED: Final = "billed_not_reported"
NOT_BILLED: Final = "reported_not_billed"
STATUSES: Final = (MATCHED, PRICED, NOT_REPORTED, NOT_BILLED)

PRICE: Final = "price"
CACHE: Final = "cache"
RENAMED: Final = "renamed"
LATE: Final = "late"
DUPLICATED: Final = "duplicated"
NEVER_REPORTED: Final = "never_reported"
NEVER_BILLED: Final = "never_billed"
TIME_ZONE: Final = "time_zone"
IN_PART: Final = "reported_in_part"
TOO_MUCH: Final = "reported_too_much"
UNKNOWN: Final = "unknown"

OPEN, DONE = 0, 1
"""Whether a row has found what it belongs to."""
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MS: Final = dt.timedelta(milliseconds=1)
_FIRST_MS: Final = (dt.datetime.min.replace(tzinfo=dt.UTC) - _EPOCH) // _MS
_LAST_MS: Final = (dt.datetime.max.replace(tzinfo=dt.UTC) - _EPOCH) // _MS
_SCHEMA: Final = """
PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA temp_store = FILE; PRAGMA cache_size = -32000;
CREATE TABLE billed (
    id INTEGER PRIMARY KEY, began INTEGER, ended INTEGER, model TEXT, said TEXT, key TEXT, agent TEXT, call TEXT,
    fresh INTEGER, cached INTEGER, written INTEGER, output INTEGER, requests INTEGER, cost INTEGER, detail INTEGER,
    item TEXT, provider TEXT, file INTEGER, state INTEGER DEFAULT 0);
CREATE TABLE reported (
    position INTEGER PRIMARY KEY, at INTEGER, agent TEXT, model TEXT, key TEXT, source TEXT,
    fresh INTEGER, cached INTEGER, written INTEGER, output INTEGER, requests INTEGER, cost INTEGER,
    last INTEGER, fixed TEXT, split INTEGER, item TEXT, scope INTEGER DEFAULT 1, state INTEGER DEFAULT 0);
CREATE TABLE findings (
    status TEXT, cause TEXT, day TEXT, model TEXT, key TEXT, agent TEXT, note TEXT,
    lines INTEGER, billed INTEGER, reported INTEGER, billed_tokens INTEGER, reported_tokens INTEGER,
    UNIQUE (status, cause, day, model, key, agent, note));
CREATE TABLE changes (
    position INTEGER PRIMARY KEY, fresh INTEGER, cached INTEGER, written INTEGER, output INTEGER, cost INTEGER,
    model TEXT, why TEXT);
CREATE TABLE bookings (
    source TEXT PRIMARY KEY, at INTEGER, agent TEXT, model TEXT, key TEXT, fresh INTEGER, cached INTEGER,
    written INTEGER, output INTEGER, cost INTEGER, split INTEGER, why TEXT, item TEXT);
"""
_INDEXES: Final = """
CREATE INDEX IF NOT EXISTS billed_calls ON billed (call) WHERE call IS NOT NULL;
CREATE INDEX IF NOT EXISTS billed_models ON billed (model);
CREATE INDEX IF NOT EXISTS reported_sources ON reported (source) WHERE source IS NOT NULL;
CREATE INDEX IF NOT EXISTS reported_agents ON reported (agent, model);
CREATE INDEX IF NOT EXISTS reported_times ON reported (at);
"""


class Reported(NamedTuple):
    """What counts now of a report or settlement. ``at`` is in milliseconds, ``last`` the position of its last
    correction (0: none), ``fixed`` why no correction of it is possible, ``split`` whether it tells tokens apart,
    ``item`` what it was, where it is no model's tokens.
    """

    position: int
    at: int
    agent: str
    model: str | None
    key: str | None
    source: str | None
    parts: Parts
    cost: int
    last: int = 0
    fixed: str | None = None
    split: bool = True
    item: str | None = None


class Finding(NamedTuple):
    """What was found of some lines of a day: amounts in nano-dollars. ``day`` is one of UTC, or of the bill."""

    status: Status
    cause: str | None
    day: str
    model: str | None
    key: str | None
    agent: str | None
    note: str | None
    lines: int
    billed: int
    reported: int
    billed_tokens: int
    reported_tokens: int


class Change(NamedTuple):
    """What a record should have said; ``model`` where it is another."""

    position: int
    parts: Parts
    cost: int
    model: str | None
    why: str


class Booking(NamedTuple):
    """What was billed and no agent has reported: booked under ``source``; ``at`` in milliseconds."""

    source: str
    at: int
    agent: str
    model: str | None
    key: str | None
    parts: Parts
    cost: int
    split: bool
    why: str
    item: str | None = None


def ms_of(at: dt.datetime) -> int:
    """A moment in milliseconds since 1970."""
    return (at - _EPOCH) // _MS


def at_of(ms: int) -> dt.datetime:
    """The moment of so many milliseconds since 1970; the first or the last of the calendar where it is beyond it."""
    return _EPOCH + max(_FIRST_MS, min(ms, _LAST_MS)) * _MS


def day_of(ms: int) -> str:
    """The day of UTC of a moment."""
    return at_of(ms).date().isoformat()


def plain(value: str | None) -> str:
    """A name as a key of sums: unique constraints do not see that two nulls are one."""
    return "" if value is None else value


class Books:
    """The tables, and what is asked of them more than once."""

    def __init__(self) -> None:
        self.file = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self.file.executescript(_SCHEMA)

    def close(self) -> None:
        self.file.close()

    def all(self, sql: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """The rows of a question, as they come; the tables may be written meanwhile."""
        return self.file.cursor().execute(sql, values)

    def one(self, sql: str, *values: Any) -> Any:
        """The first value of the first row; None where there is none."""
        row = self.file.execute(sql, values).fetchone()
        return None if row is None else row[0]

    def run(self, sql: str, *values: Any) -> None:
        self.file.execute(sql, values)

    def index(self) -> None:
        """Both sides are there."""
        self.file.executescript(_INDEXES)

    def add_billed(self, rows: Iterable[tuple[BilledRow, str | None]], file: int) -> None:
        """Lines of a file of the bill, each with the one name of its model."""
        self.file.executemany(
            "INSERT INTO billed (began, ended, model, said, key, agent, call, fresh, cached, written, output, requests,"
            " cost, detail, item, provider, file) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                (
                    *(ms_of(row.began), None if row.ended is None else ms_of(row.ended)),
                    *(name, row.model, row.key, row.agent, row.call),
                    *((None,) * 4 if row.parts is None else row.parts),
                    *(row.requests, row.cost, row.detail, row.item, row.provider, file),
                )
                for row, name in rows
            ),
        )

    def drop_repeats(self) -> int:
        """Count what several files say once: exports overlap. How many lines that were; the same again in one file is
        billed again.
        """
        before = self.one("SELECT count(*) FROM billed")
        line = "began, ended, said, key, agent, item, fresh, cached, written, output, cost"
        for same, which in (("call", "call IS NOT NULL"), (line, "call IS NULL")):
            self.run(
                f"DELETE FROM billed WHERE id IN (SELECT id FROM (SELECT id, file, min(file) OVER (PARTITION BY {same})"
                f" AS first FROM billed WHERE {which}) WHERE file > first)"
            )
        return int(before - self.one("SELECT count(*) FROM billed"))

    def put_reported(self, row: Reported) -> None:
        """A report or settlement, or what counts of it from here on."""
        self.file.execute(
            "INSERT OR REPLACE INTO reported (position, at, agent, model, key, source, fresh, cached, written, output,"
            " cost, last, fixed, split, item) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (*row[:6], *row.parts, row.cost, row.last, row.fixed, row.split, row.item),
        )

    # --- what was found -----------------------------------------------------------------------------------------------

    def find(self, one: Finding) -> None:
        """Add to what was found of the same."""
        self.file.execute(
            "INSERT INTO findings VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET lines = lines +"
            " excluded.lines, billed = billed + excluded.billed, reported = reported + excluded.reported, billed_tokens"
            " = billed_tokens + excluded.billed_tokens, reported_tokens = reported_tokens + excluded.reported_tokens",
            (*map(plain, (one.status, one.cause, one.day, one.model, one.key, one.agent, one.note)), *one[7:]),
        )

    def found(self, where: str = "1", order: str = "1") -> Iterator[Finding]:
        """What was found, in the order of its names."""
        rows = self.all(
            f"SELECT * FROM findings WHERE {where} ORDER BY {order}, status, cause, day, model, key, agent, note"
        )
        for status, cause, day, model, key, agent, note, *figures in rows:
            yield Finding(status, cause or None, day, model or None, key or None, agent or None, note or None, *figures)

    def change(self, one: Change) -> None:
        """A record should have said this; the last of several says what."""
        self.file.execute(
            "INSERT OR REPLACE INTO changes VALUES (?,?,?,?,?,?,?,?)",
            (one.position, *one.parts, one.cost, one.model, one.why),
        )

    def book(self, one: Booking) -> None:
        """Something is to be booked."""
        self.file.execute(
            "INSERT INTO bookings VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            (one.source, one.at, one.agent, one.model, one.key, *one.parts, *one[6:]),
        )

    def changes(self) -> Iterator[tuple[Change, Reported]]:
        """The changes with the records that they are of, in the order of the log."""
        for row in self.all(
            "SELECT c.*, r.at, r.agent, r.model, r.key, r.source, r.fresh, r.cached, r.written, r.output, r.cost,"
            " r.last, r.fixed, r.split FROM changes c JOIN reported r USING (position) ORDER BY position"
        ):
            change = Change(row[0], Parts(*row[1:5]), row[5], row[6], row[7])
            at, agent, model, key, source, *figures = row[8:]
            parts, (cost, last, fixed, split) = Parts(*figures[:4]), figures[4:]
            yield change, Reported(row[0], at, agent, model, key, source, parts, cost, last, fixed, bool(split))

    def bookings(self) -> Iterator[Booking]:
        """What is to be booked, the oldest first."""
        for row in self.all("SELECT * FROM bookings ORDER BY at, source"):
            source, at, agent, model, key, *parts = row[:9]
            yield Booking(source, at, agent, model, key, Parts(*parts), row[9], bool(row[10]), row[11], row[12])
