"""When a hold that was refused, or more for one, will be granted, if nothing else happens until then.

The answer is found by letting time pass on a fork of the state: what holds give back, what covers repay, a new day or
period, the end of a fleet's stop. On the fork `reserve`, or `extend_hold`, decides as it will decide then.
"""

import datetime as dt
from collections import Counter, deque
from copy import copy, deepcopy
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from tallystick.config.amounts import EDGE_NAMES
from tallystick.events import messages as c
from tallystick.events.decide.clock import pass_time
from tallystick.events.decide.holds import extend_hold, extension, reserve
from tallystick.events.decide.levels import enforced, throttled_until
from tallystick.events.decide.limits import next_room
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.day import Day
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limits import fork_of as limits_fork

LOOKED_AT_MAX = 512
"""So many moments are looked at, each the end of a hold, a day or a period; later ones are not foreseen."""
RENEWALS_MAX = 12
"""So many periods with rollover; without it, one is as good as the next."""
PASSES = frozenset({"budget_exhausted", "daily_limit_reached", "limit_reached", "throttled"})
"""The refusals that time may end."""


def with_time(turn: Turn, command: c.Reserve | c.Heartbeat, refusal: Refusal) -> Refusal:
    """The refusal of a hold, or of more for one, with ``retry_after_seconds``: when it will be granted; null where
    waiting cannot help, as where the hold ends before.
    """
    if refusal.code in PASSES:
        agent = command.agent if isinstance(command, c.Reserve) else turn.ledger.holds[command.hold or ""].agent
        account = turn.ledger.accounts[agent or ""]
        seconds = None if _is_hopeless(account, refusal) else _seconds(turn, command, account.id, refusal)
        refusal.numbers["retry_after_seconds"] = seconds
    return refusal


def _is_hopeless(account: Account, refusal: Refusal) -> bool:
    """Whether an account has used up its own: no hold that ends, and no new day, brings anything back to it."""
    if refusal.code != "budget_exhausted" or any(account.held) or any(account.delegated):
        return False
    return refusal.numbers.get("decided_by") in ("level", "zero_budget") or _lacks_its_own(account, refusal)


def _lacks_its_own(account: Account, refusal: Refusal) -> bool:
    asked, there = refusal.numbers.get("requested"), refusal.numbers.get("available")
    for d, name in enumerate(EDGE_NAMES):
        wanted, free = getattr(asked, name, None), getattr(there, name, None)
        if wanted is None or free is None or account.payers[d] is not account:
            continue
        if Decimal(wanted) > Decimal(free):
            return True
    return False


def _asked_again(turn: Turn, command: c.Reserve | c.Heartbeat) -> object:
    """How the same is decided on a fork."""
    if isinstance(command, c.Reserve):
        return reserve(turn, command)
    assert command.hold is not None
    return extend_hold(turn, command.hold, extension(command))


def _seconds(turn: Turn, command: c.Reserve | c.Heartbeat, agent: str, refusal: Refusal) -> int | float | None:
    fork = fork_of(turn.ledger)
    if isinstance(command, c.Heartbeat) and command.hold is not None:
        fork.holds[command.hold]  # the fork's own copy, which is extended
    last, renewals = turn.now, 0
    for _ in range(LOOKED_AT_MAX):
        room_at = next_room(refusal, last)
        due = _next(fork, agent, last, room_at)
        if due == NEVER:
            return None
        if fork.period_ends is not None and due >= fork.period_ends:
            renewals += 1
        before = bool(fork.expiries)
        pass_time(fork, due)
        answer = _asked_again(Turn(fork, due, "", turn.by), command)
        last = due
        if not isinstance(answer, Refusal):
            break
        refusal = answer
        if answer.code not in PASSES or (next_room(answer, last) is None and _nothing_left(fork, before, renewals)):
            return None
    left = (last - turn.now).total_seconds()
    return int(left) if left.is_integer() else left


def _next(fork: Ledger, agent: str, last: dt.datetime, room_at: dt.datetime | None) -> dt.datetime:
    """The next moment at which something may be otherwise: something is due, a wait ends or a limit has room."""
    account = fork.accounts[agent]
    until = throttled_until(account, enforced(fork, account))
    due = fork.due_at() if room_at is None else min(fork.due_at(), room_at)
    return min(due, until) if until is not None and until > last else due


def _nothing_left(fork: Ledger, had_holds: bool, renewals: int) -> bool:
    """Whether all that is still to come has come once without a hold in the way: a day, and a period if there are."""
    if fork.expiries or had_holds:
        return False
    if fork.period_ends is None:
        return True
    return renewals > (RENEWALS_MAX if fork.rules.config.total_budget.rollover else 0)


# --- the fork --------------------------------------------------------------------------------------------------------


class _Accounts(dict[str, Account]):
    """The open accounts of a fork: each is copied, with those above it, when it is first looked at."""

    def __init__(self, ledger: Ledger, root: Account) -> None:
        super().__init__()
        self._ledger = ledger
        self._root = root

    def __missing__(self, name: str) -> Account:
        path: list[Account] = []
        at: Account | None = self._ledger.accounts[name]
        while at is not None and at is not self._ledger.root and not dict.__contains__(self, at.id):
            path.append(at)
            at = at.parent
        above = self._root if at is None or at is self._ledger.root else dict.__getitem__(self, at.id)
        for account in reversed(path):
            above = self[account.id] = account.twin(above)
        return above

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self._ledger.accounts else default

    def __contains__(self, name: object) -> bool:
        return name in self._ledger.accounts


class _Holds(dict[str, Hold]):
    """The holds of a fork: those that stand and are not over in the fork."""

    def __init__(self, ledger: Ledger, accounts: _Accounts) -> None:
        super().__init__()
        self._ledger = ledger
        self._accounts = accounts
        self._over: set[str] = set()

    def __missing__(self, name: str) -> Hold:
        hold = self._ledger.holds[name]
        copied = self[name] = replace(hold, account=self._accounts[hold.agent])
        return copied

    def get(self, name: str, default: Any = None) -> Any:
        if name in self._over:
            return default
        # One that was copied may differ; the others are only looked at.
        return self[name] if dict.__contains__(self, name) else self._ledger.holds.get(name, default)

    def pop(self, name: str, *default: Any) -> Any:
        self._over.add(name)
        return super().pop(name, *default)


def fork_of(ledger: Ledger) -> Ledger:
    """The state as one that time may pass on, and that nothing is seen of afterwards.

    Its cost grows with the holds that stand, by little: a list of them is copied, and nothing else of them.
    Runs go on: their owners give signs of life.
    """
    fork = copy(ledger)
    fork.root = ledger.root.twin(None)
    fork.reserve = ledger.reserve.twin(fork.root)
    accounts = _Accounts(ledger, fork.root)
    fork.accounts, fork.holds = accounts, _Holds(ledger, accounts)
    fork.spent, fork.held, fork.expiries = [*ledger.spent], [*ledger.held], [*ledger.expiries]
    fork.outbox, fork.stops = dict(ledger.outbox), dict(ledger.stops)
    fork.ended_holds, fork.ended_order = {}, deque()
    fork.day, fork.commitments = _day(ledger.day), deepcopy(ledger.commitments)
    fork.limits = limits_fork(ledger.limits)
    fork.tasks = copy(ledger.tasks)
    fork.tasks.leases = []
    fork.next_mark = NEVER
    return fork


def _day(day: Day) -> Day:
    fork = copy(day)
    fork.by_product, fork.held_by_product = Counter(day.by_product), Counter(day.held_by_product)
    fork.alerts, fork.silenced = dict(day.alerts), dict(day.silenced)
    return fork
