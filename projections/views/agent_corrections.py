"""How a correction of usage changes the rows of agents without an open account."""

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

from tallystick.config.amounts import DIMENSIONS, Amounts, Triple
from tallystick.events import catalog as e
from tallystick.events.state.money import Money, money, only, plus
from tallystick.projections.views.view import moved


class ClosedRow(Protocol):
    """What is corrected of an `AgentRow`."""

    agent: str
    parent: str | None
    life: int
    released_at: dt.datetime | None
    percentage: float
    allocated: Amounts
    consumed: Amounts
    late: Amounts
    closed: Amounts
    paid: Amounts
    given_back: Amounts
    overrun: Amounts
    remaining: Amounts


R = TypeVar("R", bound=ClosedRow)


def correct_late(row: ClosedRow, event: e.UsageCorrected) -> bool:
    """Correct what an agent used without an account, or after its release, on its row; whether that shows it."""
    record = event.record
    assert isinstance(record, e.UsageReported)
    if row.released_at is None:
        row.consumed = moved(plus(money(row.consumed.triple), event.difference))
        return True
    if record.unallocated or record.life not in (None, row.life):
        return False
    row.late = moved(plus(money(row.late.triple), event.difference))
    return True


def closed_rows(event: e.UsageCorrected, find: Callable[[str], R | None]) -> Iterator[R]:
    """The rows of the closed accounts that a record was charged to, from the first on up; ``find`` gives the row of an
    id whose last account is closed.
    """
    agent, life = event.closed, None
    while agent is not None:
        row = find(agent)
        if row is None or (row.life != event.life if life is None else row.life >= life):
            return  # another account was opened under the id since then
        yield row
        agent, life = row.parent, row.life


def correct_closed(rows: Iterator[R], event: e.UsageCorrected) -> dict[str, R]:
    """Correct what closed accounts had used, by agent: the first was charged itself, and left it to those above.

    Where none below it limited a dimension that an account limits itself, it was charged for what others used.
    """
    corrected: dict[str, R] = {}
    limited = [False, False, False]
    for row in rows:
        limits = row.allocated.triple
        for d, units in enumerate(event.difference):
            if corrected and (limited[d] or limits[d] is None):
                row.closed = moved(plus(money(row.closed.triple), only(d, units)))
            elif corrected or not event.is_own:
                row.paid = moved(plus(money(row.paid.triple), only(d, units)))
            limited[d] = limited[d] or limits[d] is not None
        _use(row, event.difference)
        corrected[row.agent] = row
    return corrected


def _use(row: ClosedRow, units: Money) -> None:
    """A closed account has used so much more, or less; what follows from that is computed anew."""
    limits, used = row.allocated.triple, plus(money(row.consumed.triple), units)
    row.consumed = _within(limits, used, others=True)
    beyond = [max(0, used[d] - (limits[d] or 0)) for d in DIMENSIONS]
    left = [max(0, (limits[d] or 0) - used[d]) for d in DIMENSIONS]
    row.overrun = _within(limits, (beyond[0], beyond[1], beyond[2]))
    row.remaining = _within(limits, (left[0], left[1], left[2]))
    most = 0.0
    for d in DIMENSIONS:
        base = (limits[d] or 0) + money(row.given_back.triple)[d]
        if limits[d] is not None:
            most = max(most, used[d] / base if base > 0 else 1.0 if used[d] else 0.0)
    row.percentage = round(most, 6)


def _within(limits: Triple, units: Money, *, others: bool = False) -> Amounts:
    """Amounts in the dimensions that are limited, and with ``others`` in those in which there is something."""
    first, second, third = (
        units[d] if limits[d] is not None else (units[d] or None) if others else None for d in DIMENSIONS
    )
    return Amounts(first, second, third)
