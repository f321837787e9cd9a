"""Accounts that open by themselves, at the first report or hold of an id that has none (``accounts.auto``)."""

from decimal import Decimal

from tallystick.config.amounts import NOTHING, Amounts
from tallystick.config.limits import ACCOUNT_LIMITS_MAX
from tallystick.events import catalog as e
from tallystick.events.decide.allocate import is_stopped, is_taken, nested
from tallystick.events.decide.daily_limits import no_new_accounts
from tallystick.events.decide.levels import STOP, enforced, relevel_above
from tallystick.events.decide.limit_windows import windows_opened
from tallystick.events.decide.spelling import bad_name
from tallystick.events.decide.turn import Turn
from tallystick.events.evolve.account_limits import cap
from tallystick.events.state.accounts import Account

_MS_PER_HOUR = Decimal(3_600_000)


def unopened(turn: Turn, agent: str) -> Account | None:
    """The account that would open for an id, not in the ledger yet: decisions may look at it as if it were open.

    None where none may: it is not configured or there are too many, the breaker is open, all is paused, or the parent
    is stopped or not open; the id is stopped, is a task's, misspelled, or was released by a message.
    """
    ledger = turn.ledger
    auto = ledger.rules.config.accounts.auto
    if auto is None or ledger.auto_accounts >= auto.max:
        return None
    closed = ledger.released.get(agent)
    if (closed is not None and not closed.auto) or ledger.tasks.get(agent) is not None:
        return None
    parent = ledger.root if auto.parent is None else ledger.accounts.get(auto.parent)
    if parent is None or (auto.limits and nested(parent) >= ACCOUNT_LIMITS_MAX):
        return None
    refusal = bad_name(ledger, agent, "agent") or is_taken(ledger, agent) or is_stopped(ledger, agent)
    if refusal is not None or no_new_accounts(ledger) is not None:
        return None
    if parent is not ledger.root and enforced(ledger, parent).action == STOP:
        return None
    lease_ms = int(auto.idle_release_hours * _MS_PER_HOUR)
    account = Account.open(agent, parent, NOTHING, turn.now, lease_ms=lease_ms)
    account.limits, account.labels, account.auto = auto.limits, dict(auto.labels) or None, True
    account.link(parent)
    cap(ledger, account)
    return account


def open_by_itself(turn: Turn, account: Account) -> Account:
    """Open an account that was `unopened`."""
    assert account.parent is not None
    turn.record(
        e.BudgetAllocated(
            agent=account.id,
            amount=Amounts(*NOTHING),
            parent=None if account.parent is turn.ledger.root else account.parent.id,
            lease_ms=account.lease_ms,
            labels=account.labels,
            limits=account.limits,
            limit_windows=windows_opened(turn.ledger, account.limits, turn.now),
            auto=True,
        )
    )
    opened = turn.ledger.accounts[account.id]
    relevel_above(turn, opened)
    return opened
