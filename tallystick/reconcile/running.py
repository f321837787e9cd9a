"""A reconciliation from its files and its log to what was found: the steps in their order."""

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tallystick.config.kinds import NAME_MAX
from tallystick.config.spelling import repaired
from tallystick.events.log.store import Record
from tallystick.events.state.accounts import RESERVED_NAMES
from tallystick.events.state.rules import Rules
from tallystick.importing.notes import Notes
from tallystick.projections.reports.focus import NO_MODEL
from tallystick.reconcile.billed import BilledRow, BillError, Other
from tallystick.reconcile.books import NOT_REPORTED, UNKNOWN, Books, at_of, day_of, ms_of
from tallystick.reconcile.calls import Calls
from tallystick.reconcile.causes import Prices
from tallystick.reconcile.formats import read_bill
from tallystick.reconcile.reported import ReportedUsage
from tallystick.reconcile.sums import Sums
from tallystick.reconcile.zones import shown_offset

AGAIN: Final = 3
"""On so many days, or in so many bills, an agent has fallen short again and again."""
_AHEAD: Final = dt.timedelta(days=1)
"""So far ahead may a day begin in another zone."""
_SELLERS: Final = frozenset({"openai", "anthropic"})
"""Whose own bills list all that their models were used for; those of routers list what went through them."""


class Sum(NamedTuple):
    """Lines and nano-dollars of a status and a cause."""

    status: str
    cause: str
    lines: int
    billed: int
    reported: int


class Short(NamedTuple):
    """An agent that reported less than was billed: on how many days of this bill, in how many earlier bills, and what
    is missing, in nano-dollars.
    """

    agent: str
    days: int
    bills_before: int
    missing: int

    @property
    def again(self) -> bool:
        """Whether that happens again and again."""
        return self.days >= AGAIN or self.bills_before + 1 >= AGAIN


class Reconciliation(NamedTuple):
    """What came of a bill. Amounts are in nano-dollars; ``zone`` is that of the bill's days, where it is not UTC.

    ``others`` are charges for no usage, ``left_out`` lines that say none. ``recorded``: the log knows of this bill
    already.
    """

    books: Books
    bill: str
    provider: str
    formats: list[str]
    first: str
    last: str
    zone: str | None
    billed: int
    explained: int
    reported: int
    sums: list[Sum]
    others: Mapping[str, int]
    left_out: Mapping[str, int]
    short: list[Short]
    recorded: bool


def reconcile(
    files: Sequence[Path], form: str | None, records: Iterable[Record], rules: Rules, books: Books, now: dt.datetime
) -> Reconciliation:
    """Lay the bill in these files beside what the records say; ``form`` is the format, which is found otherwise.

    Raises:
        BillError: a file cannot be read as a bill, bills nothing, or what has not begun yet.
        BrokenChain: a record cannot be read.
        OSError: a file cannot be read.
    """
    try:
        return _reconcile(files, form, records, rules, books, now)
    except sqlite3.Error as error:
        raise BillError(
            f"{files[0].name}: what it comes to cannot be added up, or kept on the disk: {error}"
        ) from error


def _reconcile(
    files: Sequence[Path], form: str | None, records: Iterable[Record], rules: Rules, books: Books, now: dt.datetime
) -> Reconciliation:
    prices = Prices(rules)
    # 1. The bill, so that it is known what it is of.
    others: dict[str, int] = {}
    notes = Notes()
    formats = [_read(number, file, form, prices, (books, others, notes)) for number, file in enumerate(files)]
    if again := books.drop_repeats():
        notes.drop("said again in another file", again)
    if not books.one("SELECT count(*) FROM billed"):
        raise BillError(f"{files[0].name}: found no line that bills usage, allowed is a bill of usage")
    newest = books.one("SELECT max(began) FROM billed")
    if newest > ms_of(now + _AHEAD):
        began = at_of(newest).isoformat(timespec="minutes")
        raise BillError(f"{files[0].name}: found a span that begins at {began}, allowed are those that have begun")
    # 2. What was reported, and which of it the bill speaks of.
    usage = ReportedUsage(books, prices.one_name)
    usage.read(records)
    _leave_out_others(books, prices)
    books.index()
    # 3. Calls by their ids and figures, then sums.
    calls = Calls(books, prices)
    calls.match()
    sums = Sums(books, prices)
    sums.match()
    first, last = books.file.execute("SELECT min(began), max(coalesce(ended - 1, began)) FROM billed").fetchone()
    if not books.one("SELECT count(*) FROM billed WHERE ended IS NOT NULL"):
        calls.leave_reported(first, last)
    # 4. What it comes to.
    digest = _digest(files)
    offset = sums.offset_ms or calls.offset_ms
    return Reconciliation(
        books,
        digest,
        _provider(books),
        formats,
        day_of(first),
        day_of(last),
        shown_offset(offset) if offset else None,
        *_totals(books),
        _sums(books),
        others,
        dict(notes.dropped),
        _short(books, [set(event.short) for event in usage.reconciled if event.bill != digest]),
        any(event.bill == digest for event in usage.reconciled),
    )


def _read(number: int, file: Path, form: str | None, prices: Prices, into: tuple[Books, dict[str, int], Notes]) -> str:
    """Put the lines of a file into the books, and other charges beside them; the name of its format."""
    books, others, notes = into
    found, rows = read_bill(file, form, notes)

    def usage() -> Iterator[tuple[BilledRow, str | None]]:
        for row in rows:
            if isinstance(row, Other):
                others[row.kind] = others.get(row.kind, 0) + row.cost
            else:
                named = _named(row)
                yield named, None if named.model is None else prices.one_name(named.model)

    books.run("BEGIN")
    books.add_billed(usage(), number)
    books.run("COMMIT")
    return found


def _named(row: BilledRow) -> BilledRow:
    """A line with names as the log keeps names."""
    texts = {name: getattr(row, name) for name in ("provider", "model", "key", "agent", "item")}
    names: dict[str, Any] = {name: text and repaired(text[:NAME_MAX]) for name, text in texts.items()}
    return row._replace(**{**names, "agent": None if names["agent"] in RESERVED_NAMES else names["agent"]})


def _leave_out_others(books: Books, prices: Prices) -> None:
    """What the bill does not speak of: models of others; a seller's own bill speaks of all that it sells."""
    providers = {row[0] for row in books.all("SELECT DISTINCT provider FROM billed")}
    models = {row[0] for row in books.all("SELECT DISTINCT model FROM billed WHERE model IS NOT NULL")}
    for (model,) in list(books.all("SELECT DISTINCT model FROM reported WHERE model IS NOT NULL")):
        if model not in models and prices.provider(model) not in providers & _SELLERS:
            books.run("UPDATE reported SET scope = 0 WHERE model = ?", model)
    books.run(
        "UPDATE reported SET scope = 0 WHERE model IS NULL AND coalesce(item, ?1) NOT IN (SELECT coalesce(item, ?1)"
        " FROM billed WHERE model IS NULL)",
        NO_MODEL,
    )
    books.run("UPDATE billed SET item = NULL WHERE item = ?", NO_MODEL)


def _digest(files: Sequence[Path]) -> str:
    """The SHA-256 of the files, in whatever order they are given."""
    parts = []
    for file in files:
        with file.open("rb") as data:
            parts.append(hashlib.file_digest(data, "sha256").hexdigest())
    return parts[0] if len(parts) == 1 else hashlib.sha256("".join(sorted(parts)).encode()).hexdigest()


def _provider(books: Books) -> str:
    names = [row[0] for row in books.all("SELECT DISTINCT provider FROM billed ORDER BY provider")]
    return "+".join(names)[:NAME_MAX]


def _totals(books: Books) -> tuple[int, int, int]:
    """What was billed, what of it is explained, and what agents had reported by themselves."""
    billed = books.one("SELECT coalesce(sum(billed), 0) FROM findings")
    unknown = books.one("SELECT coalesce(sum(billed), 0) FROM findings WHERE cause = ?", UNKNOWN)
    missing = books.one("SELECT coalesce(sum(billed - reported), 0) FROM findings WHERE status = ?", NOT_REPORTED)
    return billed, billed - unknown, max(0, billed - missing)


def _sums(books: Books) -> list[Sum]:
    sql = "SELECT status, cause, sum(lines), sum(billed), sum(reported) FROM findings GROUP BY 1, 2 ORDER BY 1, 2"
    return [Sum(*row) for row in books.all(sql)]


def _short(books: Books, before: Sequence[set[str]]) -> list[Short]:
    """The agents that reported less than was billed, the most missing first."""
    rows = books.all(
        "SELECT agent, count(DISTINCT day), sum(billed - reported) FROM findings WHERE status = ? AND agent != ''"
        " AND cause NOT IN ('duplicated', ?) GROUP BY agent ORDER BY 3 DESC, 1",
        NOT_REPORTED,
        UNKNOWN,
    )
    return [Short(agent, days, sum(agent in one for one in before), missing) for agent, days, missing in rows]
