"""One cell in which a bill and reports differ: which records explain it, and what each should have said so that their
sum is what was billed.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Final, Protocol

from tallystick.reconcile.billed import CACHED, GROUPS, NO_TOKENS, TOTAL, Parts, grouped
from tallystick.reconcile.books import (
    CACHE,
    DUPLICATED,
    MATCHED,
    NEVER_BILLED,
    NEVER_REPORTED,
    NOT_BILLED,
    NOT_REPORTED,
    PRICED,
    RENAMED,
    TOO_MUCH,
    UNKNOWN,
    Booking,
    Books,
    Change,
    Finding,
    Reported,
)  # fmt: skip
from tallystick.reconcile.calls import UNATTRIBUTED, only_agent_of
from tallystick.reconcile.causes import Cost, Prices, ratio
from tallystick.reconcile.cells import DAY_MS, Cell, Place, Vector, day_of_place
from tallystick.reconcile.spread import spread

_PAIRS_OF_RECORDS: Final = 2_000
"""In a cell of more records, two together are not looked for."""
_CLOSE: Final = 200
"""A cost that is a two-hundredth off is still that of the tokens that were never reported."""
BOOKED: Final = "bill/"
"""How the sources begin under which sums of a bill are booked."""
_SINCE: Final = "booked, and reported since"


class Terms(Protocol):
    """In which terms cells are compared (`sums.Sums`)."""

    detail: int

    def in_money(self, cell: Cell) -> bool: ...
    def delta(self, cell: Cell) -> Vector: ...
    def matched(self, cell: Cell, cost: int, tokens: int) -> None: ...


class OneCell:
    """Settles a cell. What is to be distributed yet is in ``_left`` (nano-dollars); None where the bill has no cost."""

    def __init__(self, terms: Terms, books: Books, prices: Prices, cell: Cell, records: list[Reported]) -> None:
        self._terms, self._books, self._prices, self._cell = terms, books, prices, cell
        self._all = records
        self._records = [record for record in records if record.fixed is None]
        """Those that can be corrected."""
        self._parts = {record.position: list(record.parts) for record in self._records}
        self._cost = {record.position: record.cost for record in self._records}
        self._why: dict[int, str] = {}
        self._is_money = terms.in_money(cell)
        billed = cell.cost if cell.cost is not None or cell.billed is not None else 0
        self._left = None if billed is None else billed - cell.reported_cost
        self._told, self._told_tokens = cell.elsewhere_cost, cell.elsewhere_tokens
        """What of the cell, as it is reported, is said under another cause than that it matches."""

    def settle(self) -> None:
        """Find the causes, and change or book what makes the records equal to the bill."""
        delta = self._terms.delta(self._cell)
        more = tuple(max(0, units) for units in delta)
        less = tuple(max(0, -units) for units in delta)
        if any(more) and any(less):
            if self._is_cache(delta):
                self._shift(less, more)
            else:
                self._take_away(less)
                self._add(more, UNKNOWN)
        elif any(less):
            self._take_away(less)
        elif any(more):
            self._add(more, None)
        if self._left:
            self._price()
        elif self._cell.renamed_from is not None:
            self._say(MATCHED, RENAMED, self._renamed(), self._cell.reported_cost, self._cell.reported_cost, 0)
        cost, tokens = self._cell.reported_cost - self._told, self._cell.reported_parts.all - self._told_tokens
        self._terms.matched(self._cell, cost, tokens)
        self._write()

    # --- tokens -------------------------------------------------------------------------------------------------------

    def _is_cache(self, delta: Vector) -> bool:
        """The same input and output, of which other parts are from a cache."""
        return not self._is_money and self._terms.detail >= CACHED and not delta[-1] and not sum(delta)

    def _shift(self, less: Vector, more: Vector) -> None:
        """Count tokens of the input in another part of it, in the records that have such."""
        weights = [
            sum(self._vector(record)[place] for place, units in enumerate(less) if units) for record in self._records
        ]
        for sign, vector in ((-1, less), (1, more)):
            for place, units in enumerate(vector):
                group = GROUPS[self._terms.detail][place]
                own = [sum(self._parts[record.position][part] for part in group) for record in self._records]
                shares = spread(units, own if sign < 0 else weights) if units else []
                for record, share in zip(self._records, shares, strict=False):
                    self._add_to(record, place, sign * share)
        cost = self._cell.reported_cost
        billed = cost if self._left is None else cost + self._left
        self._say(PRICED, CACHE, ratio(billed, cost), billed, cost, 0)
        self._spread_cost(CACHE)

    def _take_away(self, less: Vector) -> None:
        """Reports are more than the bill. What was booked in its name and has been reported since goes first; then
        those count nothing that were not billed, or that were made twice.
        """
        booked = [record for record in self._records if _is_booked(record)]
        found = self._which(less)
        if booked and (not self._are_twins(found) or any(self._vector(record) == less for record in booked)):
            less = self._take_back(booked, less)
            if not any(less):
                return
            found = self._which(less)
        for record in found:
            cause, note = (DUPLICATED, "reported twice") if self._is_twin(record, found) else (NEVER_BILLED, None)
            self._say(NOT_BILLED, cause, note, 0, record.cost, record.parts.all, record.agent)
            self._parts[record.position], self._cost[record.position] = [0] * 4, 0
            self._why[record.position] = note or cause
            self._left = None if self._left is None else self._left + record.cost
        if found or not self._records:
            return
        taken = 0 if self._left is None else max(0, -self._left)
        self._say(NOT_BILLED, TOO_MUCH, None, 0, taken, sum(less) if not self._is_money else 0)
        for place, units in enumerate(() if self._is_money else less):
            group = GROUPS[self._terms.detail][place]
            own = [sum(self._parts[record.position][part] for part in group) for record in self._records]
            for record, share in zip(self._records, spread(min(units, sum(own)), own), strict=True):
                self._add_to(record, place, -share)
        if self._left is not None and self._left < 0:
            self._spread_cost(TOO_MUCH)

    def _take_back(self, booked: list[Reported], less: Vector) -> Vector:
        """Take from what was booked: an agent has reported it by now. What is too much beyond it is answered."""
        for record in booked:
            whole = self._vector(record)
            taken = tuple(min(units, own) for units, own in zip(less, whole, strict=True))
            if not any(taken):
                continue
            for place, units in enumerate(() if self._is_money else taken):
                self._add_to(record, place, -units)
            if taken == whole:
                self._parts[record.position] = [0] * 4
            cost = taken[0] if self._is_money else record.cost - self._cost_of_rest(record)
            self._say(NOT_BILLED, DUPLICATED, _SINCE, 0, cost, 0 if self._is_money else sum(taken), record.agent)
            self._cost[record.position] -= cost
            self._why[record.position] = _SINCE
            self._left = None if self._left is None else self._left + cost
            less = tuple(units - of_it for units, of_it in zip(less, taken, strict=True))
        return less

    def _cost_of_rest(self, record: Reported) -> int:
        """What is left of the cost of a record of which tokens are taken: in proportion to their price in the list."""
        rest = Parts(*self._parts[record.position])
        part, whole = (self._prices.quote(self._cell.place.model, one) for one in (rest, record.parts))
        if part is None or not whole:
            part, whole = rest.all, record.parts.all
        return record.cost * part // whole

    def _are_twins(self, found: Sequence[Reported]) -> bool:
        return bool(found) and all(self._is_twin(record, found) for record in found)

    def _is_twin(self, record: Reported, found: Sequence[Reported]) -> bool:
        """Whether the same agent has reported the same beside what was ``found``."""
        return any(
            other.agent == record.agent and other.parts == record.parts and other.cost == record.cost
            for other in self._all
            if other not in found and not _is_booked(other)
        )

    def _which(self, less: Vector) -> Sequence[Reported]:
        """The agents' records that together are just so much: one, all of an agent, all, or two."""
        by_vector: dict[Vector, list[Reported]] = defaultdict(list)
        by_agent: dict[str, list[Reported]] = defaultdict(list)
        records = [record for record in self._records if not _is_booked(record)]
        for record in records:
            by_vector[self._vector(record)].append(record)
            by_agent[record.agent].append(record)
        if less in by_vector:
            return by_vector[less][-1:]
        for group in (*by_agent.values(), records):
            if tuple(map(sum, zip(*map(self._vector, group), strict=True))) == less:
                return group
        for record in records if len(records) <= _PAIRS_OF_RECORDS else ():
            rest = tuple(a - b for a, b in zip(less, self._vector(record), strict=True))
            other = next((one for one in by_vector.get(rest, ()) if one is not record), None)
            if other is not None:
                return [record, other]
        return []

    def _add(self, more: Vector, cause: str | None) -> None:
        """The bill is more than reports: what no agent has reported is booked."""
        parts = NO_TOKENS if self._is_money else _first_of_groups(more, self._terms.detail)
        cost = more[0] if self._is_money else self._cost_of(parts)
        again = any(self._vector(record) == more for record in self._all)
        if cause is None:
            cause = DUPLICATED if again else NEVER_REPORTED
            if self._is_money and self._records and not again:
                cause = UNKNOWN
        self._left = None if self._left is None else self._left - cost
        self._book(parts, cost, "billed twice" if cause == DUPLICATED else cause)
        note = "billed twice" if cause == DUPLICATED else None
        self._say(NOT_REPORTED, cause, note, cost, 0, parts.all, self._agent())

    def _cost_of(self, parts: Parts) -> int:
        """What tokens that no agent has reported were billed with: the rest of the cost, where that may be; else what
        they cost by the list, as much above it as reports are.
        """
        quote, whole = (self._prices.quote(self._cell.place.model, one) for one in (parts, self._cell.reported_parts))
        if quote is not None and whole:
            quote = quote * self._cell.reported_cost // whole
        if self._left is None:
            return quote or 0
        rounding = self._cell.lines + self._cell.records
        is_known = quote is not None and self._terms.detail >= CACHED and self._records
        if quote is None or not is_known or abs(self._left - quote) <= max(rounding, quote // _CLOSE):
            return max(0, self._left)
        return quote

    # --- costs --------------------------------------------------------------------------------------------------------

    def _price(self) -> None:
        """The tokens are equal by now, and the cost is not."""
        assert self._left is not None
        parts = Parts(*map(sum, zip(*self._parts.values(), strict=True))) if self._parts else NO_TOKENS
        cost = sum(self._cost.values())
        if not self._records:
            if self._left > 0:
                self._say(NOT_REPORTED, UNKNOWN, None, self._left, 0, 0, self._agent())
                self._book(NO_TOKENS, self._left, UNKNOWN)
            return
        if self._cell.renamed_from is not None:
            cause, note = RENAMED, self._renamed()
        else:
            cause, note = self._prices.cause(
                Cost(self._cell.place.model, parts, cost + self._left, cost, max(self._cell.lines, self._cell.records))
            )
        self._say(PRICED, cause, note, cost + self._left, cost, 0)
        self._spread_cost(f"{cause}: {note}")

    def _spread_cost(self, why: str) -> None:
        """Let the costs of the records be what was billed of them, in proportion."""
        if self._left is None or not self._records:
            return
        counted = [
            record for record in self._records if any(self._parts[record.position]) or self._cost[record.position]
        ]
        weights = [self._cost[record.position] for record in counted]
        units, sign = abs(self._left), 1 if self._left > 0 else -1
        if sign < 0:
            units = min(units, sum(weights))
        elif not any(weights):
            weights = [sum(self._parts[record.position]) for record in counted]
        for record, share in zip(counted, spread(units, weights) if counted else (), strict=False):
            self._cost[record.position] += sign * share
            self._why.setdefault(record.position, why)
        self._left -= sign * units

    # --- words --------------------------------------------------------------------------------------------------------

    def _say(
        self,
        status: str,
        cause: str,
        note: str | None,
        billed: int,
        reported: int,
        tokens: int,
        agent: str | None = None,
    ) -> None:
        place, whole = self._cell.place, status in (PRICED, MATCHED)
        if whole:
            # What is billed elsewhere is said already.
            billed, reported = billed - self._cell.elsewhere_cost, reported - self._cell.elsewhere_cost
        count = self._cell.reported_parts.all - self._cell.elsewhere_tokens if whole else tokens
        self._told += reported
        self._told_tokens += count if whole or status == NOT_BILLED else 0
        billed_tokens, reported_tokens = (
            (0 if status == NOT_BILLED else count),
            (0 if status == NOT_REPORTED else count),
        )
        self._books.find(
            Finding(
                *(status, cause, day_of_place(place), place.model, place.key, agent or place.agent, note),
                *(1, billed, reported, billed_tokens, reported_tokens),
            )
        )

    def _renamed(self) -> str:
        other = self._cell.renamed_from
        return f"reported as {(other and other.place.model) or 'no model'}"

    def _agent(self) -> str | None:
        return self._cell.place.agent or only_agent_of(self._books, self._cell.place.key)

    def _vector(self, record: Reported) -> Vector:
        return (record.cost,) if self._is_money else grouped(record.parts, self._terms.detail)

    def _add_to(self, record: Reported, place: int, units: int) -> None:
        """Add to the first part of a group, or take from all of its parts."""
        group, parts = GROUPS[self._terms.detail][place], self._parts[record.position]
        if units >= 0:
            parts[group[0]] += units
            return
        for part, share in zip(group, spread(-units, [parts[part] for part in group]), strict=True):
            parts[part] -= share

    # --- what is to be done -------------------------------------------------------------------------------------------

    def _book(self, parts: Parts, cost: int, why: str) -> None:
        """Book under the source of this place; what is booked there already becomes so much more."""
        place = self._cell.place
        source = source_of(place)
        known = next((record for record in self._records if record.source == source), None)
        if known is not None:
            self._parts[known.position] = [a + b for a, b in zip(self._parts[known.position], parts, strict=True)]
            self._cost[known.position] += cost
            self._why.setdefault(known.position, why)
            return
        at = (place.began + min(place.ended, place.began + DAY_MS)) // 2
        split = self._terms.detail > TOTAL and not self._is_money
        agent = self._agent() or UNATTRIBUTED
        self._books.book(Booking(source, at, agent, place.model, place.key, parts, cost, split, why, place.item))

    def _write(self) -> None:
        """Change the records that should have said something else."""
        renamed = self._cell.renamed_from is not None
        for record in self._records:
            parts, cost = Parts(*self._parts[record.position]), self._cost[record.position]
            if renamed or parts != record.parts or cost != record.cost:
                why = self._why.get(record.position) or (f"{RENAMED}: {self._renamed()}" if renamed else "rounding")
                model = self._cell.place.model if renamed else None
                self._books.change(Change(record.position, parts, cost, model, why))


def _is_booked(record: Reported) -> bool:
    """Whether it was booked in the name of a bill, and is no agent's."""
    return record.source is not None and record.source.startswith(BOOKED)


def source_of(place: Place) -> str:
    """The source under which what no agent has reported of a place is booked, once."""
    digest = hashlib.sha256("\0".join(map(repr, place)).encode()).hexdigest()[:24]
    return f"{BOOKED}{day_of_place(place)}/{digest}"


def _first_of_groups(vector: Vector, detail: int) -> Parts:
    parts = [0] * 4
    for group, units in zip(GROUPS[detail], vector, strict=True):
        parts[group[0]] = units
    return Parts(*parts)
