"""How each event changes the state. It never fails and never decides: what an event says has happened.

One function per class of event, found by its type. Money moves by the amounts that the event names; the law that the
moves must keep is checked elsewhere (``ledger.check_conserved``).
"""

import bisect
import datetime as dt
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tallystick.config.amounts import DIMENSIONS
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import still_open, without_scored
from tallystick.events.evolve.day import BESIDE, DAY_EVENTS, hold_for, used_without_account
from tallystick.events.evolve.fleet import FLEET_EVENTS
from tallystick.events.evolve.tasks import TASK_EVENTS, used_late
from tallystick.events.evolve.transfers import delegate, fill_reserve, grant, pay_cover, set_aside, spend
from tallystick.events.state.accounts import ZERO, Account, Closed, Hold, less, minus, money, only, plus
from tallystick.events.state.estimates import is_good
from tallystick.events.state.growth import observed
from tallystick.events.state.holds import add_hold, extend_hold, remove_hold
from tallystick.events.state.ledger import UNPRICED_MAX, Ledger

_MILLISECOND = dt.timedelta(milliseconds=1)


def evolve(ledger: Ledger, event: e.Event) -> None:
    """Apply one event, the next one of the log, to the state."""
    is_new_minute = event.at >= ledger.next_mark
    if is_new_minute:
        ledger.day.mark(event.at, ledger.spent)
    _EVOLVE[type(event)](ledger, event)
    ledger.position = event.position
    ledger.now = event.at
    if event.id and event.id not in ledger.ids:
        ledger.remember(event.id, event.position)
    if is_new_minute:
        ledger.mark(event.position, event.at)


# --- use: the hot path -----------------------------------------------------------------------------------------------


def _usage_reported(ledger: Ledger, event: e.UsageReported) -> None:
    if event.hold in ledger.ended_holds:
        # A late settlement: there is no second one.
        ledger.ended_holds[event.hold] = (event.agent, "settled", event.lease)
    if event.unpriced and event.model is not None and len(ledger.unpriced) < UNPRICED_MAX:
        ledger.unpriced[event.model] = None
    account = ledger.accounts.get(event.agent) if event.lease is None else None
    if account is None:
        spend(ledger, ledger.root if event.charged is None else ledger.accounts[event.charged], event)
        used_without_account(ledger, event)
        used_late(ledger, event)
        return
    spend(ledger, account, event)
    if event.input_tokens is not None:
        mix = ledger.day.mix
        mix[0] += event.input_tokens
        mix[1] += event.output_tokens or 0
        mix[2] += event.cached_tokens or 0
    _reported(ledger, account, event)
    if event.model is not None and event.model != account.model:
        # Every record brings a text of its own; the accounts share one.
        account.model = sys.intern(event.model)


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
    if account.under is not None:
        ledger.day.by_product[account.under] += event.tokens
        if account.run is not None:
            ledger.commitments.spend(account.run, event.tokens)
    account.growth = observed(account.growth, (event.tokens, event.time_ms, event.cost_nanos))


# --- holds -----------------------------------------------------------------------------------------------------------


def _hold_placed(ledger: Ledger, event: e.HoldPlaced) -> None:
    account = ledger.accounts[event.agent]
    hold = Hold(
        event.hold, account, money(event.amount.triple), event.ttl_ms, event.expires_at, _lease_of(ledger, account)
    )
    add_hold(ledger, hold)
    _set_aside(ledger, hold, 1)
    account.activity_at = event.at
    account.reclaimed = False


def _lease_of(ledger: Ledger, account: Account) -> str | None:
    task = ledger.tasks.running.get(account.id)
    return None if task is None else task.lease


def _hold_extended(ledger: Ledger, event: e.HoldExtended) -> None:
    hold = ledger.holds[event.hold]
    extend_hold(ledger, hold, event.expires_at)
    hold.account.activity_at = event.at


def _hold_settled(ledger: Ledger, event: e.HoldSettled) -> None:
    account = _end_hold(ledger, event.hold, "settled", event.position)
    spend(ledger, account, event)
    _reported(ledger, account, event)


def _hold_ended(ledger: Ledger, event: e.HoldEnded) -> None:
    account = _end_hold(ledger, event.hold, event.how, event.position)
    account.activity_at = event.at


def _end_hold(ledger: Ledger, hold_id: str, how: str, position: int) -> Account:
    hold = remove_hold(ledger, hold_id)
    account = hold.account
    _set_aside(ledger, hold, -1)
    ledger.ended_holds[hold_id] = (account.id, how, hold.lease)
    ledger.ended_order.append((position, hold_id))
    return account


def _set_aside(ledger: Ledger, hold: Hold, sign: int) -> None:
    account = hold.account
    set_aside(ledger, account, hold.amount, sign)
    if account.under is not None:
        hold_for(ledger, hold, sign)


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
            delegate(account.source(d), d, account.granted[d])
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
            delegate(source, d, -account.granted[d])
            consumed = account.consumed(d)
            source.free[d] -= consumed
            source.closed = plus(source.closed, only(d, consumed))
    ledger.done.pop(account.id, None)
    position = event.position
    ledger.released[account.id] = Closed(
        account.id, parent.id, account.priority, event.allocated, event.consumed, position, account.under
    )
    ledger.released_order.append((position, account.id))


def _topped_up(account: Account) -> None:
    account.warned = False
    account.warning = None


def _budget_drawn(ledger: Ledger, event: e.BudgetDrawn) -> None:
    account = ledger.accounts[event.agent]
    grant(account, event.amount.triple, 1)
    units = money(event.amount.triple)
    account.drawn = plus(account.drawn, units)
    if event.borrowed:
        account.borrowed = plus(account.borrowed, units)
    _topped_up(account)


def _budget_returned(ledger: Ledger, event: e.BudgetReturned) -> None:
    account = ledger.accounts[event.agent]
    units = money(event.amount.triple)
    grant(account, event.amount.triple, -1)
    account.borrowed = less(account.borrowed, units)
    account.drawn = less(account.drawn, units)


def _budget_moved(ledger: Ledger, event: e.BudgetMoved) -> None:
    if event.strategy == "idle":
        account = ledger.accounts[event.source]
        grant(account, event.amount.triple, -1)
        account.reclaimed = True
    else:
        account = ledger.accounts[event.target]
        grant(account, event.amount.triple, 1)
        account.drawn = plus(account.drawn, money(event.amount.triple))
        _topped_up(account)


def _unused_returned(ledger: Ledger, event: e.UnusedReturned) -> None:
    account = ledger.accounts[event.agent]
    grant(account, event.amount.triple, -1)
    account.given_back = plus(account.given_back, money(event.amount.triple))


def _unused_restored(ledger: Ledger, event: e.UnusedRestored) -> None:
    account = ledger.accounts[event.agent]
    grant(account, event.amount.triple, 1)
    account.given_back = ZERO


# --- cover, reserve, overdraft ---------------------------------------------------------------------------------------


def _covered(ledger: Ledger, event: e.Covered) -> None:
    pay_cover(ledger, event.source, event.target, event.amount, 1)


def _cover_repaid(ledger: Ledger, event: e.CoverRepaid) -> None:
    pay_cover(ledger, event.target, event.source, event.amount, -1)


def _reserve_drawn(ledger: Ledger, event: e.ReserveDrawn) -> None:
    fill_reserve(ledger, minus(ZERO, money(event.amount.triple)))


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


# --- forecasts: kept for those who foresee, see `Ledger.history` -----------------------------------------------------


def _forecast_made(ledger: Ledger, event: e.ForecastMade) -> None:
    account = ledger.accounts[event.agent]
    account.forecasts = still_open([*(account.forecasts or ()), *event.predictions])


def _forecast_scored(ledger: Ledger, event: e.ForecastScored) -> None:
    ledger.history.fold(event)
    account = ledger.accounts.get(event.agent)
    if account is not None and account.forecasts is not None:
        account.forecasts = without_scored(account.forecasts, event) or None


def _run_learned(ledger: Ledger, event: e.RunLearned) -> None:
    ledger.history.fold(event)


def _task_completed(ledger: Ledger, event: e.TaskCompleted) -> None:
    """Who paid for it learns what became of it, as long as its account is open."""
    parent = ledger.tasks.known[event.task].parent
    if event.outcome == "completed" and parent is not None:
        done, good = ledger.done.get(parent, (0, 0))
        ledger.done[parent] = done + 1, good + is_good(event.estimated_tokens, event.consumed.tokens or 0)


def _both(first: Callable[[Ledger, Any], None], second: Callable[[Ledger, Any], None]) -> Callable[[Ledger, Any], None]:
    def evolve_both(ledger: Ledger, event: Any) -> None:
        first(ledger, event)
        second(ledger, event)

    return evolve_both


def _nothing(ledger: Ledger, event: e.Event) -> None:
    """For events that people and followers read, and no decision needs."""


_EVOLVE: dict[type[e.Event], Callable[[Ledger, Any], None]] = {
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
    e.ForecastMade: _forecast_made,
    e.ForecastScored: _forecast_scored,
    e.RunLearned: _run_learned,
    e.AnomalyFound: _nothing,
    e.RequestRefused: _nothing,
    e.AgentHeard: _nothing,
    e.SnapshotRecorded: _nothing,
    **FLEET_EVENTS,
    **TASK_EVENTS,
    **DAY_EVENTS,
}
_EVOLVE[e.TaskCompleted] = _both(_EVOLVE[e.TaskCompleted], _task_completed)
_EVOLVE.update({kind: _both(_EVOLVE[kind], step) for kind, step in BESIDE.items()})
