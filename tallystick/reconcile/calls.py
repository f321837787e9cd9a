"""Bills that list calls: each call beside the report of it, by its id, or else by its figures and its time."""

from collections.abc import Iterator
from typing import Any, Final

from tallystick.reconcile.billed import Parts, grouped
from tallystick.reconcile.books import (
    CACHE,
    DUPLICATED,
    IN_PART,
    LATE,
    MATCHED,
    NEVER_BILLED,
    NEVER_REPORTED,
    NOT_BILLED,
    NOT_REPORTED,
    PRICED,
    RENAMED,
    TIME_ZONE,
    TOO_MUCH,
    Booking,
    Books,
    Change,
    Finding,
    Reported,
    day_of,
)  # fmt: skip
from tallystick.reconcile.causes import Cost, Prices
from tallystick.reconcile.spread import moved_to
from tallystick.reconcile.zones import QUARTER_MS, shown_offset

HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * HOUR_MS
_NEAR_MS: Final = 36 * HOUR_MS
"""So far apart may a call be billed and reported that are known to belong together by their figures only."""
_PAIRS_MIN: Final = 3
_BILLED: Final = (
    "b.id, b.began, b.model, b.key, b.agent, b.call, b.fresh, b.cached, b.written, b.output, b.cost, b.detail"
)
_REPORTED: Final = (
    "r.position, r.at, r.agent, r.model, r.key, r.source, r.fresh, r.cached, r.written, r.output, r.cost, r.last,"
    " r.fixed, r.split"
)
_SENT: Final = "(fresh + cached + written)"
UNATTRIBUTED: Final = "unattributed"
"""Whose account is charged with what was billed where neither the bill nor any report names an agent."""


def only_agent_of(books: Books, key: str | None) -> str | None:
    """The only agent that reports with a key; None where there is none, or more than one."""
    if key is None:
        return None
    sql = "SELECT DISTINCT agent FROM reported WHERE key = ? AND agent != ? LIMIT 2"
    agents = list(books.all(sql, key, UNATTRIBUTED))
    return agents[0][0] if len(agents) == 1 else None


class Billed:
    """A call of the bill, out of the books."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.id, self.began, self.model, self.key, self.agent, self.call = row[:6]
        self.parts = Parts(*(value or 0 for value in row[6:10]))
        self.cost, self.detail = row[10], row[11]


def reported_of(row: tuple[Any, ...]) -> Reported:
    """A report out of the books."""
    position, at, agent, model, key, source, *parts, cost, last, fixed, split = row
    return Reported(position, at, agent, model, key, source, Parts(*parts), cost, last, fixed, bool(split))


class Calls:
    """Matches the calls of the books, and says what differs. ``offset_ms`` is how far the bill's clock is ahead."""

    def __init__(self, books: Books, prices: Prices) -> None:
        self._books, self._prices = books, prices
        self.offset_ms = 0

    def match(self) -> None:
        """Find for each call its report, each at most once; a call that is left was never reported."""
        if not self._books.one("SELECT count(*) FROM billed WHERE ended IS NULL"):
            return
        self._name_repeats()
        self.offset_ms = self._offset()
        if self.offset_ms:
            self._books.run("UPDATE billed SET began = began - ? WHERE ended IS NULL", self.offset_ms)
        known = self._pair(
            "SELECT b.id, max(r.position) AS position FROM billed b JOIN reported r ON r.source = b.call"
            " WHERE b.ended IS NULL GROUP BY b.id ORDER BY b.id"
        )
        for same_model in (True, False):
            # Where ids are of one kind, another id is another call.
            self._pair_by_figures(same_model=same_model, without_source=known > 0)
        for row in self._open_billed():
            self._never_reported(row)

    def leave_reported(self, first: int, last: int) -> None:
        """What was reported in this span, and is of no call: it was not billed."""
        rows = self._books.all(
            f"SELECT {_REPORTED} FROM reported r WHERE state = 0 AND scope = 1 AND at BETWEEN ? AND ?"
            " AND (cost > 0 OR fresh + cached + written + output > 0) ORDER BY position",
            first,
            last,
        )
        for row in rows:
            self._never_billed(reported_of(row))

    # --- pairs --------------------------------------------------------------------------------------------------------

    def _name_repeats(self) -> None:
        """A call that is billed again gets a name of its own, under which it is booked, and found the next time."""
        self._books.run(
            "UPDATE billed SET call = substr(call, 1, 110) || '/' || n FROM (SELECT id AS other, row_number() OVER"
            " (PARTITION BY call ORDER BY id) AS n FROM billed WHERE ended IS NULL AND call IS NOT NULL)"
            " WHERE id = other AND n > 1"
        )

    def _offset(self) -> int:
        """How far the bill's clock is ahead of that of the reports, in quarters of an hour; 0 where it is not known."""
        by_id = "FROM billed b JOIN reported r ON r.source = b.call WHERE b.ended IS NULL"
        groups = f"model, {_SENT} AS sent, output"
        alone = f"SELECT {{}} AS at, {groups} FROM {{}} WHERE {{}} GROUP BY model, sent, output HAVING count(*) = 1"
        figures = (
            f"FROM ({alone.format('began', 'billed', 'ended IS NULL')}) b JOIN"
            f" ({alone.format('at', 'reported', 'scope = 1')}) r USING (model, sent, output)"
        )
        for pairs, apart in ((by_id, "b.began - r.at"), (figures, "b.at - r.at")):
            count = self._books.one(f"SELECT count(*) {pairs}")
            if count < _PAIRS_MIN:
                continue
            middle = self._books.one(f"SELECT {apart} AS d {pairs} ORDER BY d LIMIT 1 OFFSET ?", count // 2)
            offset = round(middle / QUARTER_MS) * QUARTER_MS
            sql = f"SELECT count(*) FROM (SELECT {apart} AS d {pairs}) WHERE abs(d - ?) <= ?"
            close = self._books.one(sql, offset, QUARTER_MS)
            return offset if offset and abs(offset) <= 14 * HOUR_MS and 5 * close >= 4 * count else 0
        return 0

    def _pair(self, question: str) -> int:
        """Compare the pairs that a question finds, of ids and positions; how many they were."""
        books = self._books
        books.run(f"CREATE TABLE pairs AS {question}")
        rows = books.all(
            f"SELECT {_BILLED}, {_REPORTED} FROM pairs p JOIN billed b ON b.id = p.id JOIN reported r ON r.position ="
            " p.position ORDER BY p.rowid"
        )
        count = 0
        for row in rows:
            count += 1
            self._compare(Billed(row[:12]), reported_of(row[12:]))
        books.run("DROP TABLE pairs")
        return count

    def _pair_by_figures(self, *, same_model: bool, without_source: bool) -> None:
        """Calls that have no id in common: the same tokens, and not more than a day and a half apart; the n-th of those
        that are alike belongs to the n-th.
        """
        number = f"row_number() OVER (PARTITION BY {'model,' if same_model else ''} {_SENT}, output ORDER BY %s) AS n"
        billed = f"SELECT *, {number % 'began, id'} FROM billed WHERE ended IS NULL AND state = 0"
        reported = f"SELECT *, {number % 'at, position'} FROM reported WHERE state = 0 AND scope = 1"
        reported += " AND source IS NULL" if without_source else ""
        self._pair(
            f"SELECT b.id, r.position FROM ({billed}) b JOIN ({reported}) r ON r.n = b.n AND r.output = b.output"
            f" AND r.fresh + r.cached + r.written = b.fresh + b.cached + b.written"
            f"{' AND r.model IS b.model' if same_model else ''} AND abs(r.at - b.began) <= {_NEAR_MS}"
            " AND r.output + r.fresh + r.cached + r.written > 0 ORDER BY b.id"
        )

    def _compare(self, billed: Billed, reported: Reported) -> None:
        """Say how a call and its report differ, and what the report should have said."""
        self._books.run("UPDATE billed SET state = 1 WHERE id = ?", billed.id)
        self._books.run("UPDATE reported SET state = 1 WHERE position = ?", reported.position)
        cost = billed.cost
        alike = grouped(billed.parts, billed.detail) == grouped(reported.parts, billed.detail)
        if cost is None:
            quote = None if alike else self._prices.quote(billed.model, billed.parts, several=False)
            cost = reported.cost if quote is None else quote
        status, cause, note = self._difference(billed, reported, cost, alike)
        self._books.find(
            Finding(
                *(status, cause, day_of(reported.at), billed.model, billed.key, reported.agent, note),
                *(1, cost, reported.cost, billed.parts.all, reported.parts.all),
            )
        )
        renamed = billed.model is not None and billed.model != reported.model
        if alike and cost == reported.cost and not renamed:
            return
        parts = reported.parts if alike else moved_to(reported.parts, billed.parts, billed.detail)
        why = cause or "other figures"
        model = billed.model if renamed else None
        self._books.change(Change(reported.position, parts, cost, model, f"{why}: {note}" if note else why))

    def _difference(
        self, billed: Billed, reported: Reported, cost: int, alike: bool
    ) -> tuple[str, str | None, str | None]:
        """The status, the cause and a note of a call and its report."""
        renamed = billed.model is not None and billed.model != reported.model
        if not alike:
            more = billed.parts.all - reported.parts.all
            if billed.parts.input == reported.parts.input and billed.parts.output == reported.parts.output:
                return PRICED, CACHE, "other tokens are from a cache"
            return (NOT_REPORTED, IN_PART, None) if more > 0 else (NOT_BILLED, TOO_MUCH, None)
        if renamed:
            note = f"reported as {reported.model or 'no model'}"
            return (MATCHED if cost == reported.cost else PRICED), RENAMED, note
        if cost != reported.cost:
            return PRICED, *self._prices.cause(Cost(billed.model, reported.parts, cost, reported.cost, 1))
        on, day = day_of(billed.began), day_of(reported.at)
        if on != day and abs(billed.began - reported.at) >= HOUR_MS:
            return MATCHED, LATE, f"billed on {on}"
        if self.offset_ms and day_of(billed.began + self.offset_ms) != day:
            return MATCHED, TIME_ZONE, shown_offset(self.offset_ms)
        return MATCHED, None, None

    # --- what is left -------------------------------------------------------------------------------------------------

    def _open_billed(self) -> Iterator[Billed]:
        rows = self._books.all(f"SELECT {_BILLED} FROM billed b WHERE ended IS NULL AND state = 0 ORDER BY id")
        return map(Billed, rows)

    def _never_reported(self, billed: Billed) -> None:
        first = (billed.call or "").rpartition("/")[0]
        again = first and self._books.one("SELECT 1 FROM billed WHERE call = ? AND ended IS NULL", first)
        cost = billed.cost
        if cost is None:
            cost = self._prices.quote(billed.model, billed.parts, several=False) or 0
        agent = self._known(billed.agent) or only_agent_of(self._books, billed.key)
        cause = DUPLICATED if again else NEVER_REPORTED
        note = "billed twice" if again else None
        day = day_of(billed.began)
        self._books.find(
            Finding(NOT_REPORTED, cause, day, billed.model, billed.key, agent, note, 1, cost, 0, billed.parts.all, 0)
        )
        source = billed.call or f"bill/{day}/{billed.id}"
        self._books.book(
            Booking(
                *(
                    source,
                    billed.began,
                    agent or billed.agent or UNATTRIBUTED,
                    billed.model,
                    billed.key,
                    billed.parts,
                    cost,
                ),
                *(True, note or cause),
            )
        )

    def _known(self, agent: str | None) -> str | None:
        """The agent of a call, where it is one that reports: as the bill names it, or as an import would."""
        for name in () if agent is None else (agent, agent.partition("/")[2]):
            if name and self._books.one("SELECT 1 FROM reported WHERE agent = ? LIMIT 1", name):
                return name
        return None

    def _never_billed(self, reported: Reported) -> None:
        twin = self._books.one(
            "SELECT 1 FROM reported WHERE agent = ? AND model IS ? AND fresh = ? AND cached = ? AND written = ?"
            " AND output = ? AND state = 1 AND position != ? AND at BETWEEN ? AND ?",
            *(reported.agent, reported.model, *reported.parts, reported.position),
            *(reported.at - _DAY_MS, reported.at + _DAY_MS),
        )
        cause, note = (DUPLICATED, "reported twice") if twin else (NEVER_BILLED, None)
        self._books.find(
            Finding(
                *(NOT_BILLED, cause, day_of(reported.at), reported.model, reported.key, reported.agent, note),
                *(1, 0, reported.cost, 0, reported.parts.all),
            )
        )
        self._books.change(Change(reported.position, Parts(), 0, None, note or cause))
