"""How usage, holds and signs of life change the state. Every report passes here."""

import datetime as dt
import sys

from tallystick.events import catalog as e
from tallystick.events.evolve.day import hold_for, used_without_account
from tallystick.events.evolve.tasks import used_late
from tallystick.events.evolve.transfers import set_aside, spend
from tallystick.events.state.accounts import Account, Hold, money
from tallystick.events.state.growth import observed
from tallystick.events.state.holds import add_hold, extend_hold, remove_hold
from tallystick.events.state.ledger import UNPRICED_MAX, Ledger

_MILLISECOND = dt.timedelta(milliseconds=1)


def report(ledger: Ledger, event: e.UsageReported) -> None:
    """Usage is charged to the agent's account, or to the account that pays for an agent without one."""
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
    """A report starts a new idle period, and its reply delivers the warnings that wait for the agent."""
    at, pace_ms = event.at, event.time_ms
    if not pace_ms and account.last_report_at is not None:
        pace_ms = (at - account.last_report_at) // _MILLISECOND
    account.pace_ms = pace_ms
    account.activity_at = at
    account.last_report_at = at
    account.reclaimed = False
    account.warning = None
    account.pool_notice = ledger.pool_exhausted_at
    if account.budget_product is not None:
        ledger.day.by_product[account.budget_product] += event.tokens
        if account.run is not None:
            ledger.commitments.spend(account.run, event.tokens)
    account.growth = observed(account.growth, (event.tokens, event.time_ms, event.cost_nanos))


def place_hold(ledger: Ledger, event: e.HoldPlaced) -> None:
    """An amount is set aside."""
    account = ledger.accounts[event.agent]
    amount, lease = money(event.amount.triple), _lease_of(ledger, account)
    hold = Hold(event.hold, account.id, amount, event.ttl_ms, event.expires_at, lease, account)
    add_hold(ledger, hold)
    _set_aside(ledger, hold, 1)
    account.activity_at = event.at
    account.reclaimed = False


def _lease_of(ledger: Ledger, account: Account) -> str | None:
    task = ledger.tasks.running.get(account.id)
    return None if task is None else task.lease


def move_expiry(ledger: Ledger, event: e.HoldExtended) -> None:
    """A hold expires later."""
    hold = ledger.holds[event.hold]
    extend_hold(ledger, hold, event.expires_at)
    hold.account.activity_at = event.at


def settle_hold(ledger: Ledger, event: e.HoldSettled) -> None:
    """A hold ends, and what was really used is charged."""
    account = _remove_hold(ledger, event.hold, "settled", event.position)
    spend(ledger, account, event)
    _reported(ledger, account, event)


def give_hold_back(ledger: Ledger, event: e.HoldEnded) -> None:
    """A hold ends unused."""
    account = _remove_hold(ledger, event.hold, event.how, event.position)
    account.activity_at = event.at


def _remove_hold(ledger: Ledger, hold_id: str, how: str, position: int) -> Account:
    hold = remove_hold(ledger, hold_id)
    account = hold.account
    _set_aside(ledger, hold, -1)
    ledger.ended_holds[hold_id] = (account.id, how, hold.lease)
    ledger.ended_order.append((position, hold_id))
    return account


def _set_aside(ledger: Ledger, hold: Hold, sign: int) -> None:
    account = hold.account
    set_aside(ledger, account, hold.amount, sign)
    if account.budget_product is not None:
        hold_for(ledger, hold, sign)
