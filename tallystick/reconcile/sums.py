"""What the cells of a bill of sums differ in, why, and what the records of each should have said."""

from collections import defaultdict
from typing import Final

from tallystick.reconcile.billed import GROUPS, KINDS
from tallystick.reconcile.books import LATE, MATCHED, RENAMED, TIME_ZONE, Books, Finding
from tallystick.reconcile.causes import Prices
from tallystick.reconcile.cells import Cell, Place, Table, Vector, day_of_place, is_equal, minus
from tallystick.reconcile.one_cell import OneCell
from tallystick.reconcile.zones import shown_offset

_LATE_MS: Final = 7 * 86_400_000
"""So late may a call be billed."""


class Sums:
    """Works through the cells of the books; what it finds and would change goes there."""

    def __init__(self, books: Books, prices: Prices) -> None:
        self._books, self._prices = books, prices
        self.offset_ms, self.detail, self._only_money = 0, KINDS, False

    def match(self) -> None:
        """Find what is equal, what explains the rest, and what would make it equal."""
        if not self._books.one("SELECT count(*) FROM billed WHERE ended IS NOT NULL"):
            return
        table = Table(self._books)
        table.prepare()
        self.detail = table.grain.detail
        self._only_money = not self._books.one("SELECT count(*) FROM billed WHERE ended IS NOT NULL AND fresh >= 0")
        self.offset_ms = table.in_a_zone()
        in_utc = table.cells() if self.offset_ms else {}
        cells, rest = table.cells(self.offset_ms), []
        for place, cell in cells.items():
            if is_equal(cell, self.detail) and cell.cost in (None, cell.reported_cost):
                before = in_utc.get(place)
                shifted = bool(self.offset_ms) and (before is None or not is_equal(before, self.detail))
                cause, note = (TIME_ZONE, shown_offset(self.offset_ms)) if shifted else (None, None)
                self.matched(cell, cell.reported_cost, cell.reported_parts.all, cause, note)
            else:
                rest.append(cell)
        rest = self._renamed(rest)
        for cause in (RENAMED, LATE):
            self._elsewhere(rest, cause)
        for cell in rest:
            OneCell(self, self._books, self._prices, cell, table.records(cell.renamed_from or cell)).settle()

    # --- what is explained by another cell ----------------------------------------------------------------------------

    def _renamed(self, cells: list[Cell]) -> list[Cell]:
        """Join what was reported of one model to the same tokens that were billed of another, in the same span."""
        reported: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
        for cell in cells:
            if cell.billed is None and cell.cost is None:
                reported[*_but_model(cell.place), self.seen(cell)].append(cell)
        gone: set[int] = set()
        for cell in cells:
            if cell.records or cell.place.model is None:
                continue
            alike = reported.get((*_but_model(cell.place), self.wanted(cell)))
            if alike:
                other = alike.pop()
                gone.add(id(other))
                cell.renamed_from, cell.records = other, other.records
                cell.reported_parts, cell.reported_cost = other.reported_parts, other.reported_cost
        return [cell for cell in cells if id(cell) not in gone]

    def _elsewhere(self, cells: list[Cell], cause: str) -> None:
        """What is missing in one cell and too much in another was billed late, or under another name."""
        key = _but_model if cause == RENAMED else _but_day
        too_few: dict[tuple[object, ...], list[Cell]] = defaultdict(list)
        for cell in cells:
            delta = self.delta(cell)
            if any(delta) and min(delta) >= 0 and cell.renamed_from is None:
                too_few[*key(cell.place), delta].append(cell)
        for cell in cells:
            wanted = tuple(-units for units in self.delta(cell))
            near = [
                other
                for other in too_few.get((*key(cell.place), wanted), ())
                if any(wanted) and abs(other.place.began - cell.place.began) <= _LATE_MS
            ]
            if near:
                other = min(near, key=lambda one: abs(one.place.began - cell.place.began))
                too_few[*key(cell.place), wanted].remove(other)
                self._move(cell, other, cause)

    def _move(self, cell: Cell, other: Cell, cause: str) -> None:
        """Count what is billed too much in the ``other`` cell where it was reported."""
        tokens = (0,) if self.in_money(cell) else self.delta(other)
        if cell.billed is not None or other.billed is not None:
            nothing = (0,) * len(tokens)
            cell.billed = tuple(a + b for a, b in zip(cell.billed or nothing, tokens, strict=True))
            other.billed = minus(other.billed or nothing, tokens)
        cost = cell.reported_cost - (cell.cost or 0)
        if cell.cost is not None or other.cost is not None:
            cost = (other.cost or 0) - other.reported_cost
            cell.cost, other.cost = (cell.cost or 0) + cost, (other.cost or 0) - cost
        place, count = cell.place, sum(tokens)
        day, name = day_of_place(other.place), other.place.model or "no model"
        note = f"billed as {name}" if cause == RENAMED else f"billed on {day}"
        self._books.find(
            Finding(
                *(MATCHED, cause, day_of_place(place), place.model, place.key, place.agent, note),
                *(1, cost, cost, count, count),
            )
        )
        cell.elsewhere_cost, cell.elsewhere_tokens = cell.elsewhere_cost + cost, cell.elsewhere_tokens + count

    # --- what is asked of a cell --------------------------------------------------------------------------------------

    def in_money(self, cell: Cell) -> bool:
        """Whether only the costs of a cell can be compared."""
        return cell.billed is None and (cell.cost is not None or self._only_money)

    def seen(self, cell: Cell) -> Vector:
        """What reports say was used: tokens as the bill tells them apart, or the cost."""
        return (cell.reported_cost,) if self.in_money(cell) else cell.reported(self.detail)

    def wanted(self, cell: Cell) -> Vector:
        """What the bill says was used, in the same terms."""
        if self.in_money(cell):
            return (cell.cost or 0,)
        return cell.billed or (0,) * len(GROUPS[self.detail])

    def delta(self, cell: Cell) -> Vector:
        """What is billed beyond what was reported."""
        return minus(self.wanted(cell), self.seen(cell))

    def matched(self, cell: Cell, cost: int, tokens: int, cause: str | None = None, note: str | None = None) -> None:
        """So much of a cell is billed as it was reported."""
        if cost or tokens:
            place = cell.place
            self._books.find(
                Finding(
                    *(MATCHED, cause, day_of_place(place), place.model, place.key, place.agent, note),
                    *(cell.records or 1, cost, cost, tokens, tokens),
                )
            )


def _but_model(place: Place) -> tuple[object, ...]:
    return (place.began, place.key, place.agent, place.item)


def _but_day(place: Place) -> tuple[object, ...]:
    return (place.model, place.key, place.agent, place.item)
