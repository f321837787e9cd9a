"""Accounts that open by themselves, at the first report or hold of an id that has none (``accounts.auto``)."""

import datetime as dt
from decimal import Decimal

from tallystick.config.amounts import NOTHING, Amounts
from tallystick.config.limits import ACCOUNT_LIMITS_MAX, AutoAccounts
from tallystick.events import catalog as e
from tallystick.events.decide.daily_limits import no_new_accounts
from tallystick.events.decide.delegated import only_its_fleet
from tallystick.events.decide.levels import STOP, enforced, relevel_above
from tallystick.events.decide.limit_windows import windows_opened
from tallystick.events.decide.openings import is_stopped, is_taken, nested
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.spelling import bad_name
from tallystick.events.decide.turn import Turn
from tallystick.events.evolve.account_limits import cap
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.terms import Terms

_MS_PER_HOUR = Decimal(3_600_000)


def holder(turn: Turn, agent: str) -> Account | Refusal:
    """The account that may hold under an id: the open one, or the one that would open by itself. The account of another
    fleet does not: that fleet holds.
    """
    account = turn.ledger.accounts.get(agent)
    if account is None:
        return unopened(turn, agent)
    return only_its_fleet(account, "holds are that fleet's own") or account


def unopened(turn: Turn, agent: str) -> Account | Refusal:
    """The account that would open for an id, not in the ledger yet: decisions may look at it as if it were open.
    A refusal where none may open by itself.
    """
    ledger = turn.ledger
    auto = ledger.rules.config.accounts.auto
    known = unknown_agent(ledger, agent)
    if auto is None:
        return known
    closed = ledger.released.get(agent)
    if closed is not None and not closed.auto:
        return known
    why = _why_not(ledger, agent, auto)
    if why is not None:
        return Refusal(known.code, f"{known.detail}; none opens by itself: {why}", known.numbers)
    lease_ms = int(auto.idle_release_hours * _MS_PER_HOUR)
    parent = ledger.root if auto.parent is None else ledger.accounts[auto.parent]
    terms = Terms(lease_ms=lease_ms, labels=dict(auto.labels) or None, limits=auto.limits, auto=True)
    account = Account.open(agent, parent, NOTHING, turn.now, terms=terms)
    cap(ledger, account)
    return account


def _why_not(ledger: Ledger, agent: str, auto: AutoAccounts) -> str | None:
    """Why no account may open by itself for an id; None where one may."""
    if ledger.auto_accounts >= auto.max:
        return f"{ledger.auto_accounts} have, and accounts.auto.max is {auto.max}"
    if ledger.tasks.get(agent) is not None:
        return f"{agent} is a task"
    parent = ledger.root if auto.parent is None else ledger.accounts.get(auto.parent)
    if parent is None:
        return f"accounts.auto.parent is {auto.parent}, which has no open account"
    if parent.terms.handed_over:
        return f"accounts.auto.parent is {parent.id}, which is the total of another fleet"
    if auto.limits and nested(parent) >= ACCOUNT_LIMITS_MAX:
        return (
            f"{ACCOUNT_LIMITS_MAX} accounts with limits are at or above {parent.id}, which are all that may be nested"
        )
    refusal = bad_name(ledger, agent, "agent") or is_taken(ledger, agent) or is_stopped(ledger, agent)
    refusal = refusal or no_new_accounts(ledger)
    if refusal is not None:
        return refusal.detail
    if parent is not ledger.root and enforced(ledger, parent).action == STOP:
        return f"{parent.id} is stopped"
    return None


def open_by_itself(turn: Turn, account: Account, used_since: dt.datetime | None = None) -> Account:
    """Open an account that was `unopened`; ``used_since``: for what was used then, before now."""
    assert account.parent is not None
    turn.record(
        e.BudgetAllocated(
            agent=account.id,
            amount=Amounts(*NOTHING),
            parent=None if account.parent is turn.ledger.root else account.parent.id,
            lease_ms=account.terms.lease_ms,
            labels=account.terms.labels,
            limits=account.terms.limits,
            limit_windows=windows_opened(turn.ledger, account.terms.limits, turn.now),
            auto=True,
            used_since=used_since,
        )
    )
    opened = turn.ledger.accounts[account.id]
    relevel_above(turn, opened)
    return opened
