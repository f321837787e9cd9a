"""Bills that list sums: what was billed of a model in a span, with a key or for an agent, and what was reported."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from tallystick.reconcile.billed import KINDS, NO_TOKENS, Parts, grouped
from tallystick.reconcile.books import Books, Reported, day_of
from tallystick.reconcile.calls import reported_of
from tallystick.reconcile.zones import OFFSETS_MS

DAY_MS: Final = 86_400_000
Vector = tuple[int, ...]


class Place(NamedTuple):
    """What a cell is of: a span (milliseconds), and where all lines know them a model, a key and an agent. ``item`` is
    what was billed where it is no model's tokens.
    """

    began: int
    ended: int
    model: str | None
    key: str | None
    agent: str | None
    item: str | None


class Cell:
    """What a bill says of a place, and what reports say of it. ``cost`` is None where the bill names none."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.lines, self.records = 0, 0
        self.billed: Vector | None = None
        """Tokens as the bill tells them apart; None where it says nothing of them."""
        self.cost: int | None = None
        self.reported_parts, self.reported_cost = NO_TOKENS, 0
        self.renamed_from: Cell | None = None
        """The cell of another model whose reports are what is billed here."""
        self.elsewhere_cost, self.elsewhere_tokens = 0, 0
        """What of it is billed on another day, or under another name."""

    def reported(self, detail: int) -> Vector:
        """The tokens that were reported, as the bill tells them apart."""
        return grouped(self.reported_parts, detail)


class Grain(NamedTuple):
    """What tells cells apart, and how finely the bill knows tokens."""

    by_key: bool
    by_agent: bool
    detail: int


class Table:
    """The cells of the books. ``offset_ms``: how far the zone in which the bill begins its days is ahead of UTC."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self.grain = self._grain()
        self.spans = [(int(first), int(last)) for first, last in self._spans()]
        self.offset_ms = 0

    def _grain(self) -> Grain:
        books = self._books
        sums = "FROM billed WHERE ended IS NOT NULL"
        unnamed = "SELECT count(*) FROM reported WHERE scope = 1 AND state = 0 AND at BETWEEN (SELECT min(began) FROM"
        unnamed += " billed WHERE ended IS NOT NULL) AND (SELECT max(ended) - 1 FROM billed) AND "
        by_key = not books.one(f"SELECT count(*) {sums} AND key IS NULL") and not books.one(f"{unnamed} key IS NULL")
        by_agent = not books.one(f"SELECT count(*) {sums} AND agent IS NULL")
        detail = books.one(f"SELECT min(detail) {sums} AND fresh IS NOT NULL")
        return Grain(by_key, by_agent, KINDS if detail is None else detail)

    def _spans(self) -> Iterator[tuple[int, int]]:
        """The spans of the bill: those of its lines, and days of UTC in place of parts of a day."""
        return self._books.all(
            f"SELECT DISTINCT first, max(last) FROM (SELECT CASE WHEN ended - began < {DAY_MS} THEN began / {DAY_MS} *"
            f" {DAY_MS} ELSE began END AS first, CASE WHEN ended - began < {DAY_MS} THEN (began / {DAY_MS} + 1) *"
            f" {DAY_MS} ELSE ended END AS last FROM billed WHERE ended IS NOT NULL) GROUP BY first ORDER BY first"
        )

    def prepare(self) -> None:
        """Sum both sides, the reports by quarters of an hour: then every zone can be tried."""
        books = self._books
        books.run("CREATE TABLE spans (first INTEGER PRIMARY KEY, last INTEGER)")
        books.file.executemany("INSERT INTO spans VALUES (?, ?)", self.spans)
        books.run(
            "CREATE TABLE quarters AS SELECT at / 900000 * 900000 AS at, model, key, agent, item, sum(fresh) AS fresh,"
            " sum(cached) AS cached, sum(written) AS written, sum(output) AS output, sum(cost) AS cost, count(*) AS n"
            " FROM reported WHERE scope = 1 AND state = 0 AND (cost > 0 OR fresh + cached + written + output > 0)"
            " GROUP BY 1, 2, 3, 4, 5"
        )

    def cells(self, offset_ms: int = 0) -> dict[tuple[Any, ...], Cell]:
        """All cells, with the days of the bill in a zone that is so far ahead of UTC."""
        key, agent = ("key" if self.grain.by_key else "NULL", "agent" if self.grain.by_agent else "NULL")
        found: dict[tuple[Any, ...], Cell] = {}
        at_first = "(SELECT first FROM spans WHERE first <= {} ORDER BY first DESC LIMIT 1)"
        rows = self._books.all(
            f"SELECT {at_first.format('began')} AS first, model, {key}, {agent}, CASE WHEN model IS NULL THEN item END,"
            " sum(fresh), sum(cached), sum(written), sum(output), sum(cost), count(*) FROM billed"
            " WHERE ended IS NOT NULL GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5"
        )
        ends = dict(self.spans)
        for first, model, key_, agent_, item, *figures in rows:
            cell = found[first, model, key_, agent_, item] = Cell(
                Place(first - offset_ms, ends[first] - offset_ms, model, key_, agent_, item)
            )
            *parts, cost, cell.lines = figures
            cell.billed = None if parts[0] is None else grouped(Parts(*parts), self.grain.detail)
            cell.cost = cost
        rows = self._books.all(
            f"SELECT s.first, model, {key}, {agent}, CASE WHEN model IS NULL THEN item END, sum(fresh), sum(cached),"
            " sum(written), sum(output), sum(cost), sum(n) FROM quarters q JOIN spans s ON s.first = (SELECT max(first)"
            " FROM spans WHERE first <= q.at + ?1)"
            " AND q.at + ?1 < s.last GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5",
            offset_ms,
        )
        for first, model, key_, agent_, item, *parts, cost, count in rows:
            place = Place(first - offset_ms, ends[first] - offset_ms, model, key_, agent_, item)
            cell = found.setdefault((first, model, key_, agent_, item), Cell(place))
            cell.reported_parts, cell.reported_cost, cell.records = Parts(*parts), cost, count
        return found

    def in_a_zone(self) -> int:
        """The zone, as milliseconds ahead of UTC, in whose days most of the bill is as it was reported: 0 unless in
        another one than UTC more cells are equal, and more than half of those that have anything.
        """
        best, most = 0, _equal(self.cells(), self.grain.detail)
        if most[0] == most[1]:
            return 0
        for offset in OFFSETS_MS:
            equal = _equal(self.cells(offset), self.grain.detail)
            if equal[0] > most[0] and 2 * equal[0] > equal[1]:
                best, most = offset, equal
        return best

    def records(self, cell: Cell) -> list[Reported]:
        """The records of a cell, in the order of the log."""
        place = cell.place
        where = "scope = 1 AND state = 0 AND at >= ? AND at < ? AND model IS ?"
        values: list[object] = [place.began, place.ended, place.model]
        for is_told, name, value in (
            (self.grain.by_key, "key", place.key),
            (self.grain.by_agent, "agent", place.agent),
            (place.model is None, "item", place.item),
        ):
            if is_told:
                where += f" AND {name} IS ?"
                values.append(value)
        names = "position, at, agent, model, key, source, fresh, cached, written, output, cost, last, fixed, split"
        rows = self._books.all(
            f"SELECT {names} FROM reported WHERE {where} AND (cost > 0 OR fresh + cached + written + output > 0)"
            " ORDER BY position",
            *values,
        )
        return [reported_of(row) for row in rows]


def _equal(cells: dict[tuple[Any, ...], Cell], detail: int) -> tuple[int, int]:
    """How many cells are as they were reported, of all."""
    return sum(is_equal(cell, detail) for cell in cells.values()), len(cells)


def is_equal(cell: Cell, detail: int) -> bool:
    """Whether a bill says the same of a cell as reports do: the tokens, or where it names none the cost."""
    if cell.billed is not None:
        return cell.billed == cell.reported(detail)
    return cell.cost is not None and cell.cost == cell.reported_cost


def minus(one: Sequence[int], other: Sequence[int]) -> Vector:
    """By group, the one less the other."""
    return tuple(a - b for a, b in zip(one, other, strict=True))


def day_of_place(place: Place) -> str:
    """The day of UTC in which most of a span lies."""
    return day_of((place.began + min(place.ended, place.began + DAY_MS)) // 2)
