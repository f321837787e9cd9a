"""How the budget stands that a command is about: for who shows it beside the answer."""

import datetime as dt
from copy import copy
from typing import NamedTuple

from tallystick.config.amounts import TOKENS
from tallystick.events.catalog import ACTIONS, LEVELS
from tallystick.events.decide.levels import enforced, under_limits
from tallystick.events.decide.limit_readings import has_limits, matches_of, near
from tallystick.events.decide.limits import passed
from tallystick.events.decide.own_limits import level_now, remaining
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import Command
from tallystick.events.state.accounts import Account
from tallystick.events.state.ledger import Ledger


class NotedBudget(NamedTuple):
    """What `GetStatus` and `CheckEnforcement` say of an account; amounts in tokens, None where they are not limited."""

    allocated: int | None
    remaining: int | None
    level: str
    action: str


def account_of(ledger: Ledger, command: Command) -> Account | None:
    """The open account that a command is about: by agent, by task, or by hold, also one that has ended."""
    name = getattr(command, "agent", None) or getattr(command, "task", None)
    if name is not None:
        return ledger.accounts.get(name)
    hold = getattr(command, "hold", None)
    open_hold = ledger.holds.get(hold) if hold is not None else None
    if open_hold is not None:
        return open_hold.account
    ended = ledger.ended_holds.get(hold) if hold is not None else None
    return None if ended is None else ledger.same_account(ended.agent, ended.life)


def noted_budget(ledger: Ledger, account: Account, now: dt.datetime) -> NotedBudget:
    """How an account stands now."""
    turn = Turn(ledger, now, "", "")
    measure = enforced(ledger, account)
    if has_limits(ledger, account):
        found = matches_of(ledger, account, turn.now, account.model)
        measure = copy(measure)
        under_limits(measure, passed(turn, near(ledger, found)))
    left = remaining(ledger, account)[TOKENS]
    return NotedBudget(account.allocated[TOKENS], left, LEVELS[level_now(ledger, account)], ACTIONS[measure.action])
