"""When a hold that was refused, or more for one, will be granted, if nothing else happens until then.

The answer is found by letting time pass on a fork of the state: what holds give back, what covers repay, a new day or
period, the end of a fleet's stop. On the fork `reserve`, or `extend_hold`, decides as it will decide then.

Most refusals are a matter of the account's own holds, or of nothing that time brings: then no other hold is looked at
(`retry_own`), so that the cost does not grow with the fleet. Where other holds matter, only the next ones are.
"""

import datetime as dt
from collections import Counter
from copy import copy
from decimal import Decimal
from heapq import heapify
from typing import Any

from msgspec.structs import replace

from tallystick.config.amounts import EDGE_NAMES, NOTHING, Triple
from tallystick.events import messages as c
from tallystick.events.decide import pricing
from tallystick.events.decide.clock import pass_time
from tallystick.events.decide.extend_holds import extend_hold, extension
from tallystick.events.decide.holds import reserve
from tallystick.events.decide.levels import enforced, throttled_until
from tallystick.events.decide.limit_readings import has_limits
from tallystick.events.decide.limits import next_room
from tallystick.events.decide.retry_own import is_alone, is_used_up, own_due
from tallystick.events.decide.turn import Turn
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.agent_leases import AgentLeases
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.commitments import Commitment, Commitments
from tallystick.events.state.ended_holds import EndedHolds
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_forks import fork_of as limits_fork

LOOKED_AT_MAX = 64
"""So many moments are looked at, each the end of holds, a day or a period; later ones are not foreseen."""
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
        account = turn.ledger.accounts.get(agent or "")
        if account is None:
            return refusal  # it would have opened with this hold: nothing of its own stands in the way
        seconds = None if _is_hopeless(account, refusal) else _seconds(turn, command, account, refusal)
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


def _asked_again(fork: Ledger, command: c.Reserve | c.Heartbeat, at: dt.datetime, by: str) -> object:
    """How the same is decided on a fork."""
    turn = Turn(fork, at, "", by)
    if isinstance(command, c.Reserve):
        return reserve(turn, command)
    assert command.hold is not None
    if fork.holds.get(command.hold) is not None:
        fork.holds[command.hold]  # the fork's own copy, which is extended
    return extend_hold(turn, command.hold, extension(command))


def _wanted(ledger: Ledger, command: c.Reserve | c.Heartbeat) -> Triple:
    if isinstance(command, c.Reserve):
        return pricing.price(ledger.rules, command).triple
    return extension(command).more or NOTHING


def _seconds(turn: Turn, command: c.Reserve | c.Heartbeat, account: Account, refusal: Refusal) -> int | float | None:
    wanted = _wanted(turn.ledger, command)
    at = None
    if not has_limits(turn.ledger, account) and is_alone(turn.ledger, account, wanted):
        at = _by_its_own_holds(turn, command, refusal, account, wanted)
    if at is None:
        at = _by_all_that_ends(turn, command, refusal, account.id)
    if at == NEVER:
        return None
    left = (at - turn.now).total_seconds()
    return int(left) if left.is_integer() else left


def _by_its_own_holds(
    turn: Turn, command: c.Reserve | c.Heartbeat, refusal: Refusal, account: Account, wanted: Triple
) -> dt.datetime | None:
    """When an account is granted a hold after the ends of its own; `NEVER`; None where other holds may matter.

    The others can only help: what is granted without their ends is granted with them.
    """
    last, answer = turn.now, refusal
    own = [(hold.expires_at, hold.id) for hold in (account.holds or {}).values()]
    fork: Ledger | None = None
    for _ in range(LOOKED_AT_MAX):
        here = account if fork is None else fork.accounts[account.id]
        due = own_due(fork or turn.ledger, here, wanted, answer, own)
        if due is None or due == NEVER or due <= last:
            return NEVER if due == NEVER else None
        fork = fork or fork_of(turn.ledger, own)
        pass_time(fork, due)
        again = _asked_again(fork, command, due, turn.by)
        if not isinstance(again, Refusal):
            return due
        if again.code not in PASSES:
            return NEVER
        last, answer, own = due, again, fork.expiries
    return None


def _by_all_that_ends(turn: Turn, command: c.Reserve | c.Heartbeat, refusal: Refusal, agent: str) -> dt.datetime:
    """When a hold is granted after all that ends and begins; `NEVER`. Beyond what is looked at, the last moment."""
    fork = fork_of(turn.ledger, turn.ledger.expiries)
    last, renewals, answer = turn.now, 0, refusal
    for _ in range(LOOKED_AT_MAX):
        room_at = next_room(answer, last)
        due = _next(fork, agent, last, room_at)
        if due == NEVER:
            return NEVER
        if is_used_up(answer) and due < fork.turns_at():
            # No hold that ends brings anything back before the next day.
            due = fork.turns_at()
            if len(turn.ledger.holds) > LOOKED_AT_MAX:
                return due
        if fork.period_ends is not None and due >= fork.period_ends:
            renewals += 1
        before = bool(fork.expiries)
        pass_time(fork, due)
        again = _asked_again(fork, command, due, turn.by)
        last = due
        if not isinstance(again, Refusal):
            break
        if again.code not in PASSES or (next_room(again, last) is None and _nothing_left(fork, before, renewals)):
            return NEVER
        answer = again
    return last


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
            above.caps = account.caps
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


class _Runs(dict[str, Commitment]):
    """What the runs of a fork have set aside: copied when a hold of one ends."""

    def __init__(self, runs: dict[str, Commitment]) -> None:
        super().__init__()
        self._runs = runs

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self and name in self._runs:
            self[name] = copy(self._runs[name])
        return super().get(name, default)


def fork_of(ledger: Ledger, expiries: list[tuple[dt.datetime, str]]) -> Ledger:
    """The state as one that time may pass on, and that nothing is seen of afterwards.

    Of all holds, those of ``expiries`` end. The list is copied, and nothing else grows with the fleet: accounts, holds
    and what runs have set aside are copied when they are looked at. Runs go on, and accounts with leases:
    their owners give signs of life.
    """
    fork = copy(ledger)
    fork.root = ledger.root.twin(None)
    fork.reserve = ledger.reserve.twin(fork.root)
    accounts = _Accounts(ledger, fork.root)
    fork.accounts, fork.holds = accounts, _Holds(ledger, accounts)
    fork.spent, fork.held, fork.expiries = [*ledger.spent], [*ledger.held], [*expiries]
    heapify(fork.expiries)
    fork.outbox = dict(ledger.outbox)
    fork.ended_holds = EndedHolds()
    fork.day, fork.commitments = ledger.day.twin(), _commitments(ledger.commitments)
    fork.limits = limits_fork(ledger.limits)
    fork.tasks = copy(ledger.tasks)
    fork.tasks.leases = []
    fork.leases = AgentLeases()
    fork.next_mark = NEVER
    fork.stretch = None
    return fork


def _commitments(commitments: Commitments) -> Commitments:
    fork = copy(commitments)
    fork.runs = _Runs(commitments.runs)
    fork.by_product, fork.by_model = Counter(commitments.by_product), Counter(commitments.by_model)
    return fork
