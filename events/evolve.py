"""How each event changes the state. It never fails and never decides: what an event says has happened.

One function per class of event, found by its type. Money moves by the amounts that the event names; the law that the
moves must keep is checked elsewhere (``ledger.check_conserved``).
"""

import bisect
import datetime as dt
import heapq
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tallystick.config.loader import restore
from tallystick.config.prices import PriceList
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.events import catalog as e
from tallystick.events.accounts import OVERDRAFT, POOL, RESERVE, ZERO, Account, Closed, Hold, Money, minus, money, plus
from tallystick.events.amounts import DIMENSIONS, Amounts, Triple
from tallystick.events.ledger import Ledger
from tallystick.events.rules import Rules

_MILLISECOND = dt.timedelta(milliseconds=1)


def evolve(ledger: Ledger, event: e.Event) -> None:
    """Apply one event, the next one of the log, to the state."""
    _EVOLVE[type(event)](ledger, event)
    ledger.position = event.position
    ledger.now = event.at
    if event.id and event.id not in ledger.ids:
        ledger.remember(event.id, event.position)
    if event.at >= ledger.next_mark:
        ledger.mark(event.position, event.at)


# --- use: the hot path -----------------------------------------------------------------------------------------------


def _usage_reported(ledger: Ledger, event: e.UsageReported) -> None:
    if event.hold in ledger.ended_holds:
        # A late settlement: there is no second one.
        ledger.ended_holds[event.hold] = (event.agent, "settled")
    account = ledger.accounts.get(event.agent)
    if account is None:
        _spend(ledger, ledger.root if event.charged is None else ledger.accounts[event.charged], event)
        return
    _spend(ledger, account, event)
    _reported(ledger, account, event)
    if event.model is not None:
        account.model = event.model


def _reported(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled") -> None:
    """A report starts a new idle period, and its reply delivers what the agent had to be told."""
    at, pace_ms = event.at, event.time_ms
    if not pace_ms and account.last_report_at is not None:
        pace_ms = (at - account.last_report_at) // _MILLISECOND
    account.pace_ms = pace_ms
    account.activity_at = at
    account.last_report_at = at
    account.reclaimed = False
    account.warning = None
    account.pool_notice = ledger.pool_exhausted_at


def _spend(ledger: Ledger, account: Account, event: "e.UsageReported | e.HoldSettled") -> None:
    # Every report passes here: the three dimensions stand one under the other instead of in a loop.
    spent, total = account.spent, ledger.spent
    first, second, third = account.payers
    if amount := event.tokens:
        first.free[0] -= amount
        total[0] += amount
        spent[0] += amount
        if first is not account:
            first.spent[0] += amount
    if amount := event.time_ms:
        second.free[1] -= amount
        total[1] += amount
        spent[1] += amount
        if second is not account:
            second.spent[1] += amount
    if amount := event.cost_nanos:
        third.free[2] -= amount
        total[2] += amount
        spent[2] += amount
        if third is not account:
            third.spent[2] += amount


# --- holds -----------------------------------------------------------------------------------------------------------


def _hold_placed(ledger: Ledger, event: e.HoldPlaced) -> None:
    account = ledger.accounts[event.agent]
    hold = Hold(event.hold, account, money(event.amount.triple), event.ttl_ms, event.expires_at)
    ledger.holds[hold.id] = hold
    if account.holds is None:
        account.holds = {}
    account.holds[hold.id] = hold
    heapq.heappush(ledger.expiries, (hold.expires_at, hold.id))
    _set_aside(ledger, account, hold.amount, 1)
    account.activity_at = event.at
    account.reclaimed = False


def _set_aside(ledger: Ledger, account: Account, amount: Money, sign: int) -> None:
    for d in DIMENSIONS:
        if amount[d]:
            units = sign * amount[d]
            payer = account.payers[d]
            payer.free[d] -= units
            account.held[d] += units
            if payer is not account:
                payer.held[d] += units
            ledger.held[d] += units


def _hold_extended(ledger: Ledger, event: e.HoldExtended) -> None:
    hold = ledger.holds[event.hold]
    hold.expires_at = event.expires_at
    heapq.heappush(ledger.expiries, (hold.expires_at, hold.id))
    hold.account.activity_at = event.at
    _drop_stale(ledger)


def _hold_settled(ledger: Ledger, event: e.HoldSettled) -> None:
    account = _end_hold(ledger, event.hold, "settled", event.position)
    _spend(ledger, account, event)
    _reported(ledger, account, event)


def _hold_ended(ledger: Ledger, event: e.HoldEnded) -> None:
    account = _end_hold(ledger, event.hold, event.how, event.position)
    account.activity_at = event.at


def _end_hold(ledger: Ledger, hold_id: str, how: str, position: int) -> Account:
    hold = ledger.holds.pop(hold_id)
    account = hold.account
    if account.holds is not None:
        del account.holds[hold_id]
        if not account.holds:
            account.holds = None
    _set_aside(ledger, account, hold.amount, -1)
    ledger.ended_holds[hold_id] = (account.id, how)
    ledger.ended_order.append((position, hold_id))
    _drop_stale(ledger)
    return account


def _drop_stale(ledger: Ledger) -> None:
    """The first of the heap is always a hold that stands, so that it says when the next one expires."""
    while ledger.expiries and _is_stale(ledger, ledger.expiries[0]):
        heapq.heappop(ledger.expiries)


def _is_stale(ledger: Ledger, entry: tuple[dt.datetime, str]) -> bool:
    hold = ledger.holds.get(entry[1])
    return hold is None or hold.expires_at != entry[0]


# --- accounts --------------------------------------------------------------------------------------------------------


def _budget_allocated(ledger: Ledger, event: e.BudgetAllocated) -> None:
    parent = ledger.root if event.parent is None else ledger.accounts[event.parent]
    account = Account(
        event.agent,
        parent,
        event.amount.triple,
        event.at,
        event.priority,
        event.agent_type,
        event.product,
        event.workflow,
    )
    account.pool_notice = ledger.pool_exhausted_at
    ledger.accounts[account.id] = account
    bisect.insort(ledger.names, account.id)
    ledger.released.pop(account.id, None)
    if parent is not ledger.root:
        if parent.children is None:
            parent.children = {}
        parent.children[account.id] = account
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            _delegate(account.source(d), d, account.granted[d])
    if event.on_demand:
        account.drawn = account.granted


def _budget_released(ledger: Ledger, event: e.BudgetReleased) -> None:
    account = ledger.accounts.pop(event.agent)
    parent = account.parent
    assert parent is not None
    del ledger.names[bisect.bisect_left(ledger.names, account.id)]
    if parent.children is not None:
        parent.children.pop(account.id, None)
        if not parent.children:
            parent.children = None
    for d in DIMENSIONS:
        if account.allocated[d] is not None:
            source = account.source(d)
            _delegate(source, d, -account.granted[d])
            consumed = account.consumed(d)
            source.free[d] -= consumed
            source.closed = plus(source.closed, _in(d, consumed))
    position = event.position
    ledger.released[account.id] = Closed(
        account.id, parent.id, account.priority, event.allocated, event.consumed, position
    )
    ledger.released_order.append((position, account.id))


def _delegate(source: Account, d: int, units: int) -> None:
    """Move ``units`` from a source's free balance to what it has granted."""
    source.free[d] -= units
    source.delegated = plus(source.delegated, _in(d, units))


def _in(d: int, units: int) -> Money:
    return (units if d == 0 else 0, units if d == 1 else 0, units if d == 2 else 0)


def _grant(account: Account, amount: Triple, sign: int) -> None:
    """Raise (or lower) an account's allocation by ``amount``, from (or to) its sources."""
    units = money(amount)
    allocated = account.allocated
    for d in DIMENSIONS:
        if units[d]:
            _delegate(account.source(d), d, sign * units[d])
            account.free[d] += sign * units[d]
    change = units if sign > 0 else minus(ZERO, units)
    account.granted = plus(account.granted, change)
    account.allocated = (
        None if allocated[0] is None else allocated[0] + change[0],
        None if allocated[1] is None else allocated[1] + change[1],
        None if allocated[2] is None else allocated[2] + change[2],
    )


def _topped_up(account: Account) -> None:
    account.warned = False
    account.warning = None


def _budget_drawn(ledger: Ledger, event: e.BudgetDrawn) -> None:
    account = ledger.accounts[event.agent]
    _grant(account, event.amount.triple, 1)
    units = money(event.amount.triple)
    account.drawn = plus(account.drawn, units)
    if event.borrowed:
        account.borrowed = plus(account.borrowed, units)
    _topped_up(account)


def _budget_returned(ledger: Ledger, event: e.BudgetReturned) -> None:
    account = ledger.accounts[event.agent]
    units = money(event.amount.triple)
    _grant(account, event.amount.triple, -1)
    account.borrowed = _less(account.borrowed, units)
    account.drawn = _less(account.drawn, units)


def _less(left: Money, right: Money) -> Money:
    """Subtraction that ends at zero."""
    return (max(0, left[0] - right[0]), max(0, left[1] - right[1]), max(0, left[2] - right[2]))


def _budget_moved(ledger: Ledger, event: e.BudgetMoved) -> None:
    if event.strategy == "idle":
        account = ledger.accounts[event.source]
        _grant(account, event.amount.triple, -1)
        account.reclaimed = True
    else:
        account = ledger.accounts[event.target]
        _grant(account, event.amount.triple, 1)
        account.drawn = plus(account.drawn, money(event.amount.triple))
        _topped_up(account)


def _unused_returned(ledger: Ledger, event: e.UnusedReturned) -> None:
    account = ledger.accounts[event.agent]
    _grant(account, event.amount.triple, -1)
    account.given_back = plus(account.given_back, money(event.amount.triple))


def _unused_restored(ledger: Ledger, event: e.UnusedRestored) -> None:
    account = ledger.accounts[event.agent]
    _grant(account, event.amount.triple, 1)
    account.given_back = ZERO


# --- cover, reserve, overdraft ---------------------------------------------------------------------------------------


def _covered(ledger: Ledger, event: e.Covered) -> None:
    _cover(ledger, event.source, event.target, event.amount, 1)


def _cover_repaid(ledger: Ledger, event: e.CoverRepaid) -> None:
    _cover(ledger, event.target, event.source, event.amount, -1)


def _cover(ledger: Ledger, payer: str, paid: str, amount: Amounts, sign: int) -> None:
    """Money from ``payer`` to ``paid`` (or back): what is granted changes, what is allocated does not."""
    units = money(amount.triple)
    change = units if sign > 0 else minus(ZERO, units)
    if paid == POOL:
        root = ledger.root
        if payer == RESERVE:
            _fill_reserve(ledger, minus(ZERO, change))
        else:
            assert payer == OVERDRAFT
            root.granted = plus(root.granted, change)
            for d in DIMENSIONS:
                root.free[d] += change[d]
        return
    account = ledger.accounts[paid]
    account.granted = plus(account.granted, change)
    for d in DIMENSIONS:
        if change[d]:
            _delegate(account.source(d), d, change[d])
            account.free[d] += change[d]


def _fill_reserve(ledger: Ledger, change: Money) -> None:
    """Move money from the pool into the reserve (or out of it, where ``change`` is negative)."""
    reserve, root = ledger.reserve, ledger.root
    reserve.granted = plus(reserve.granted, change)
    root.delegated = plus(root.delegated, change)
    for d in DIMENSIONS:
        reserve.free[d] += change[d]
        root.free[d] -= change[d]


def _reserve_drawn(ledger: Ledger, event: e.ReserveDrawn) -> None:
    _fill_reserve(ledger, minus(ZERO, money(event.amount.triple)))


def _set_total(ledger: Ledger, event: "e.TotalBudgetSet | e.PeriodRenewed") -> None:
    """Put the root's total, reserve and overdraft where the event says; the pool is the rest."""
    total, reserve, overdraft = event.total.triple, event.reserve, event.overdraft
    root = ledger.root
    root.allocated = total
    root.granted = plus(money(total), money(overdraft.triple))
    _fill_reserve(ledger, minus(money(reserve.triple), ledger.reserve.granted))
    for d in DIMENSIONS:
        used = root.held[d] + root.spent[d] + root.delegated[d] + root.closed[d]
        root.free[d] = root.granted[d] - used
    ledger.budget = event.budget.triple
    ledger.period_ends = event.period_ends_at
    ledger.reserve_open = False
    ledger.pool_exhausted_at = 0
    ledger.press()


# --- the fleet -------------------------------------------------------------------------------------------------------


def _period_renewed(ledger: Ledger, event: e.PeriodRenewed) -> None:
    ledger.opening = (ledger.spent[0], ledger.spent[1], ledger.spent[2])
    _set_total(ledger, event)


def _config_loaded(ledger: Ledger, event: e.ConfigLoaded) -> None:
    ledger.rules = Rules(restore(event.config), ledger.rules.prices)
    ledger.configured = True
    ledger.press()


def _prices_loaded(ledger: Ledger, event: e.PricesLoaded) -> None:
    prices: PriceList = prices_from_mapping(event.prices)
    ledger.rules = Rules(ledger.rules.config, prices)


def _fleet_paused(ledger: Ledger, event: e.FleetPaused) -> None:
    ledger.paused = event.reason


def _fleet_resumed(ledger: Ledger, event: e.FleetResumed) -> None:
    ledger.paused = None


def _reserve_released(ledger: Ledger, event: e.ReserveReleased) -> None:
    ledger.reserve_open = True


def _fleet_response_changed(ledger: Ledger, event: e.FleetResponseChanged) -> None:
    ledger.response = e.RESPONSES.index(event.response)
    ledger.press()


def _pool_exhausted(ledger: Ledger, event: e.PoolExhausted) -> None:
    ledger.pool_exhausted_at = event.position


# --- enforcement -----------------------------------------------------------------------------------------------------


def _level_changed(ledger: Ledger, event: e.LevelChanged) -> None:
    ledger.accounts[event.agent].level = e.LEVELS.index(event.level)


def _agent_throttled(ledger: Ledger, event: e.AgentThrottled) -> None:
    ledger.accounts[event.agent].throttle = Decimal(event.rate)


def _agent_stopped(ledger: Ledger, event: e.AgentStopped) -> None:
    ledger.accounts[event.agent].stopped = event.reason


def _agent_resumed(ledger: Ledger, event: e.AgentResumed) -> None:
    account = ledger.accounts[event.agent]
    account.throttle = None
    account.stopped = None


def _exhaustion_warned(ledger: Ledger, event: e.ExhaustionWarned) -> None:
    account = ledger.accounts[event.agent]
    account.warned = True
    account.warning = event.exhausted_in_seconds


def _nothing(ledger: Ledger, event: e.Event) -> None:
    """For events that people and followers read, and no decision needs."""


_EVOLVE: dict[type[e.Event], Callable[[Ledger, Any], None]] = {
    e.ConfigLoaded: _config_loaded,
    e.PricesLoaded: _prices_loaded,
    e.TotalBudgetSet: _set_total,
    e.PeriodRenewed: _period_renewed,
    e.FleetPaused: _fleet_paused,
    e.FleetResumed: _fleet_resumed,
    e.ReserveReleased: _reserve_released,
    e.FleetResponseChanged: _fleet_response_changed,
    e.PoolExhausted: _pool_exhausted,
    e.AlertRaised: _nothing,
    e.BudgetAllocated: _budget_allocated,
    e.BudgetDrawn: _budget_drawn,
    e.BudgetReturned: _budget_returned,
    e.BudgetMoved: _budget_moved,
    e.Rebalanced: _nothing,
    e.UnusedReturned: _unused_returned,
    e.UnusedRestored: _unused_restored,
    e.ReserveDrawn: _reserve_drawn,
    e.Covered: _covered,
    e.CoverRepaid: _cover_repaid,
    e.BudgetReleased: _budget_released,
    e.UsageReported: _usage_reported,
    e.HoldPlaced: _hold_placed,
    e.HoldExtended: _hold_extended,
    e.HoldSettled: _hold_settled,
    e.HoldEnded: _hold_ended,
    e.LevelChanged: _level_changed,
    e.AgentThrottled: _agent_throttled,
    e.AgentStopped: _agent_stopped,
    e.AgentResumed: _agent_resumed,
    e.ExhaustionWarned: _exhaustion_warned,
    e.RequestRefused: _nothing,
    e.AgentHeard: _nothing,
    e.SnapshotRecorded: _nothing,
}
