"""The fleet's total, its reserve and its debt: what a period may use, and what follows from another total."""

import calendar
import datetime as dt
from zoneinfo import ZoneInfo

from tallystick.config.amounts import AMOUNT_MAX, DIMENSIONS, EDGE_NAMES, Amounts, InvalidAmount, Triple, at_edge
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal, shown
from tallystick.events.state.calendar import local_date, midnight_after
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import Money


def below_committed(ledger: Ledger, total: Triple) -> Refusal | None:
    """Why a total cannot be in force: more than it is granted, held or spent in this period."""
    committed = [_root_used(ledger)[d] - ledger.opening[d] for d in DIMENSIONS]
    for d in DIMENSIONS:
        units = total[d]
        if units is not None and units != ledger.total[d] and units < committed[d]:
            wanted, there = at_edge(units, d), at_edge(committed[d], d)
            return Refusal(
                "below_committed",
                f"{EDGE_NAMES[d]}: found {wanted}, but {there} is granted, held or spent already",
                {"requested": shown(total), "committed": shown((committed[0], committed[1], committed[2]))},
            )
        if units is not None and units + ledger.opening[d] > AMOUNT_MAX:
            raise InvalidAmount(
                f"budget.{EDGE_NAMES[d]}", units, "a total that stays below 2^63 with all that was spent"
            )
    return None


def put_total(turn: Turn, total: Triple, budget: Triple, ends_at: dt.datetime | None) -> None:
    """Record a total for the current period: the debt is paid first, then the reserve is filled, the rest is pool."""
    ledger = turn.ledger
    root_total, reserve, overdraft = _spread(ledger, total, ledger.opening)
    turn.record(
        e.TotalBudgetSet(
            budget=Amounts(*budget), total=root_total, reserve=reserve, overdraft=overdraft, period_ends_at=ends_at
        )
    )


def _root_used(ledger: Ledger) -> Money:
    """What the root has granted to agents, holds and has spent, by dimension: all but pool and reserve."""
    root, reserve = ledger.root, ledger.reserve
    used = [root.held[d] + root.spent[d] + root.closed[d] + root.delegated[d] - reserve.granted[d] for d in DIMENSIONS]
    return (used[0], used[1], used[2])


def _spread(ledger: Ledger, total: Triple, opening: Money) -> tuple[Amounts, Amounts, Amounts]:
    """The root's total over all periods, its reserve and its overdraft, for a period that began at ``opening``."""
    used = _root_used(ledger)
    part = ledger.rules.reserve_part
    root_total: list[int | None] = [None, None, None]
    reserve: list[int | None] = [None, None, None]
    overdraft: list[int | None] = [None, None, None]
    for d in DIMENSIONS:
        units = total[d]
        if units is None:
            continue
        whole = opening[d] + units
        root_total[d] = whole
        overdraft[d] = max(0, used[d] - whole)
        reserve[d] = min(units * part.numerator // part.denominator, max(0, whole - used[d]))
    return Amounts(*root_total), Amounts(*reserve), Amounts(*overdraft)


def renew_period(turn: Turn) -> None:
    """Begin the period that the clock is in: what was left lapses, or is kept with ``rollover``."""
    ledger = turn.ledger
    config = ledger.rules.config.total_budget
    ends_at = ledger.period_ends
    assert ends_at is not None
    opening = (ledger.spent[0], ledger.spent[1], ledger.spent[2])
    kept = [0, 0, 0]
    if config.rollover:
        for d in DIMENSIONS:
            allocated = ledger.root.allocated[d]
            kept[d] = 0 if allocated is None else max(0, allocated - opening[d])
    total = tuple(None if units is None else units + kept[d] for d, units in enumerate(ledger.budget))
    root_total, reserve, overdraft = _spread(ledger, (total[0], total[1], total[2]), opening)
    turn.record(
        e.PeriodRenewed(
            began_at=ends_at,
            period_ends_at=period_end(ledger.rules.config, ends_at),
            budget=Amounts(*ledger.budget),
            total=root_total,
            reserve=reserve,
            overdraft=overdraft,
        )
    )
    respond(turn)


def period_end(config: Config, now: dt.datetime) -> dt.datetime | None:
    """When the period that ``now`` is in ends: the next midnight, Monday or first of the month in the fleet's zone."""
    period = config.total_budget.period
    if period == "none":
        return None
    zone = ZoneInfo(config.timezone)
    today = local_date(now, zone)
    if period == "day":
        days = 1
    elif period == "week":
        days = 7 - today.weekday()
    else:
        days = calendar.monthrange(today.year, today.month)[1] - today.day + 1
    return midnight_after(today, days, zone)
