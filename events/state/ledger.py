"""The state of the fleet.

`Ledger` holds what decisions need and nothing else. It changes only by ``evolve`` (in ``evolve.py``), one event at a
time; ``check_conserved`` proves after every commit, and in full at every verification, that all money is where the
accounts say it is. Totals are kept incrementally: no cost here grows with the fleet or with the log.
"""

import datetime as dt
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from tallystick.config.amounts import DIMENSIONS, NOTHING, Triple
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events.catalog.event import EPOCH
from tallystick.events.catalog.rules_version import FIRST_RULES
from tallystick.events.state.accounts import Account, Balances
from tallystick.events.state.agent_leases import AgentLeases
from tallystick.events.state.bills import Bills
from tallystick.events.state.calendar import NEVER, earlier, later
from tallystick.events.state.charged import Charged
from tallystick.events.state.commitments import Commitments
from tallystick.events.state.day import Day, Watch
from tallystick.events.state.delegation import Child, Delegation
from tallystick.events.state.ended_holds import EndedHolds
from tallystick.events.state.estimates import Estimates
from tallystick.events.state.history import History
from tallystick.events.state.ids import Ids
from tallystick.events.state.keys import Keys
from tallystick.events.state.limit_rules import FAR
from tallystick.events.state.limits import Limits
from tallystick.events.state.money import Money, limited, minus, money
from tallystick.events.state.orders import Order, Orders
from tallystick.events.state.outbox import Outbox
from tallystick.events.state.outputs import Outputs
from tallystick.events.state.remembered import Closed
from tallystick.events.state.rules import Rules
from tallystick.events.state.slot_time import SlotTimes
from tallystick.events.state.tasks import Task, Tasks

UNPRICED_MAX = 1_000
LATE_KEPT = 10_000
"""So many released accounts, and so many ended holds that were not settled, are remembered longer than ids are."""
_MINUTE = dt.timedelta(minutes=1)


class Ledger(Balances):
    """One fleet's whole state. An empty one waits for its first `ConfigLoaded`."""

    def __init__(self) -> None:
        super().__init__()
        self.rules = Rules(Config(), PriceList())
        self.configured = False
        self.rules_version = FIRST_RULES
        """By which version of the rules decisions are made now."""
        self.position, self.now, self.looked_at = 0, EPOCH, EPOCH
        """``looked_at`` is when the command came that is decided: no part of the state, windows that roll end by it."""

        self.names: list[str] = []
        """The ids of the open accounts, sorted: the order of the pages."""

        self.expiries: list[tuple[dt.datetime, str]] = []
        """A heap; an entry whose hold is gone or was extended is stale and skipped."""

        self.orders = Orders()
        """What operators have ordered, as each account feels it: a cache."""

        self.budget: Triple = NOTHING
        """What a period grants; the total is the opening and this."""
        self.period_ends: dt.datetime | None = None

        self.response = 0
        self.response_lines: Money = (FAR, FAR, FAR)
        """By dimension, the smallest ``spent + held`` that could raise the response; a report compares with it."""
        self.paused: str | None = None
        self.reserve_open = False
        self.given_up: dict[str, str] = {}
        """The specialists that have failed too often, each with its last error."""
        self.unpriced: dict[str, None] = {}
        """The models (at most `UNPRICED_MAX`) whose missing price an alert has named, until the next price list."""
        self.outbox: Outbox = {}
        """The alerts (at most `OUTBOX_MAX`) that are not delivered to every address."""
        self.pool_exhausted_at = 0
        """The position of the `PoolExhausted` that is in force, 0 for none."""

        self._begin_memory()
        self.history = History()
        """What earlier runs taught. No decision reads it: kept here, forecasts lose nothing by a restart."""

        self.tasks, self.estimates, self.day, self.commitments = Tasks(), Estimates(), Day(), Commitments()
        self.limits = Limits()
        self.slot_times = SlotTimes()
        """Like ``history``, for the allocator."""
        self.charged = Charged()
        """Likewise, where fairness is measured by tokens or cost; empty where it is not."""
        self.watch: Watch | None = None
        """How far usage may go before a daily line is crossed or the breaker may trip; None: not known."""
        self.opened_at = EPOCH
        """When the fleet was last opened after a time in which nothing was heard."""
        self.period_began, self.period_began_at = 0, EPOCH
        """The position at which the budget's period at hand began; 0: with the log. And when it began: the first one
        with the first configuration.
        """
        self.corrections: dict[int, int] = {}
        """By position of a record without a source that was corrected, that of its last correction."""
        self.clock_apart_ms = 0
        """How far the machine's clock was found ahead of the ledger's time (negative: behind it); 0: together."""
        self.done: dict[str, tuple[int, int, int]] = {}
        """By open account, of the tasks that it paid for: how many were completed, estimated, and estimated well."""

    def _begin_memory(self) -> None:
        """Nothing was asked, held, released or delegated yet."""
        self.delegated: dict[str, Child] = {}
        """By id, the accounts that are the totals of other fleets; of those that were released too."""
        self.delegation: Delegation | None = None
        """How this fleet stands with its parent, if it has one."""
        self.stopped_above: str | None = None
        """Why the parent lets nothing go on."""
        self.known_elsewhere: Callable[[str], bool] | None = None
        """Whether a name is valid as it is spelled although this state does not know it: where a log is decided anew
        that knew it. No part of the state.
        """
        self.below: tuple[int, dict[str, Any]] = (0, {})
        """The position at which subtrees were last asked for, and what was found of them (`decide.subtree`)."""
        self.stretch: Any = None
        """What is known while nothing but plain cases are decided (`decide.stretch`): no part of the state."""
        self.bills: Bills = {}
        """By provider, what came of the newest bill that was reconciled. No decision reads it."""
        self.leases, self.outputs, self.keys = AgentLeases(), Outputs(), Keys()
        self.auto_accounts, self.without_budget = 0, 0
        """How many of the open accounts have opened by themselves, and how many carve nothing out."""
        self.ids = Ids()
        """Command id to the position of its first event: the memory that makes a repeat harmless."""
        self.id_marks: deque[tuple[dt.datetime, int]] = deque()
        """At most once a minute, a time and the position reached: what is older than the memory is found by it."""
        self.next_mark = EPOCH
        self.ended_holds = EndedHolds()
        """So that a late `Settle` differs from one of a hold that never was. Of those that ended before the memory of
        ids only the newest are kept that were not settled: for settled ones nothing more is to come.
        """
        self.lives: dict[int, Closed] = {}
        """The released accounts that are remembered, by `Account.life`, in the order of their release."""
        self.released: dict[str, Closed] = {}
        """Of ids without an open account, the last one."""
        self.released_order: deque[tuple[int, int]] = deque()
        self.stops: dict[str, str] = {}
        """The ids without an open account that an operator has stopped, and why: until `Resume`."""

    # --- what the fleet has -------------------------------------------------------------------------------------------

    @property
    def total(self) -> Triple:
        """The current period's total."""
        return limited(self.root.allocated, minus(money(self.root.allocated), self.opening))

    @property
    def pool(self) -> Triple:
        """What the root has free to give."""
        return limited(self.root.allocated, self.root.free)

    @property
    def in_reserve(self) -> Triple:
        return limited(self.root.allocated, self.reserve.free)

    @property
    def overdraft(self) -> Triple:
        """What the fleet owes: used beyond total and reserve."""
        return limited(self.root.allocated, self.root.cover)

    @property
    def consumed(self) -> Triple:
        """What was spent in the current period, in every dimension, limited or not."""
        return minus((self.spent[0], self.spent[1], self.spent[2]), self.opening)

    @property
    def is_paused(self) -> bool:
        """Everything is stopped by hand, or by the parent."""
        return self.paused is not None or self.rules.paused or self.stopped_above is not None

    @property
    def pause_cause(self) -> str:
        """Why everything is stopped, where it is."""
        if self.paused is not None:
            return self.paused
        return "by configuration" if self.rules.paused else f"by the parent: {self.stopped_above}"

    @property
    def paused_by(self) -> str:
        """Who has stopped everything, as ``decided_by`` names it."""
        return "pause_all" if self.paused is not None or self.rules.paused else "parent"

    @property
    def in_crisis(self) -> bool:
        """The reserve is open for critical agents."""
        return self.reserve_open or self.response >= 3

    def reserve_size(self, dimension: int) -> int:
        """The configured reserve of a limited dimension, whatever was drawn from it."""
        allocated = self.root.allocated[dimension]
        assert allocated is not None
        part = self.rules.reserve_part
        return (allocated - self.opening[dimension]) * part.numerator // part.denominator

    def spendable(self, dimension: int) -> int:
        """``total - reserve`` of a limited dimension: what shares and pressure are measured against."""
        allocated = self.root.allocated[dimension]
        assert allocated is not None
        return allocated - self.opening[dimension] - self.reserve_size(dimension)

    def committed(self, dimension: int) -> int:
        """Spent in this period, and held."""
        return self.spent[dimension] - self.opening[dimension] + self.held[dimension]

    def find_response_lines(self) -> None:
        """Find `response_lines` anew, after the total, the response or the thresholds changed."""
        lines = [FAR, FAR, FAR]
        self.watch = None
        for d in DIMENSIONS:
            total = self.root.allocated[d]
            if total is None:
                continue
            bases = (*[self.spendable(d)] * 3, total - self.opening[d])
            # Any response above the present one: where a threshold is above 1, a later one may come first.
            for at, base in list(zip((*self.rules.fleet_at, Fraction(1)), bases, strict=True))[self.response :]:
                line = self.opening[d] + max(1, -(-at.numerator * base // at.denominator))
                lines[d] = min(lines[d], line)
        self.response_lines = (lines[0], lines[1], lines[2])

    def minimum_share(self, dimension: int) -> int:
        """What no reclaim, return or rebalance takes an agent below; 0 where the total is not limited."""
        sharing = len(self.accounts) - self.without_budget
        if self.root.allocated[dimension] is None or not sharing:
            return 0
        share = self.rules.minimum_share
        return self.spendable(dimension) * share.numerator // (share.denominator * sharing)

    def count_account(self, account: Account, sign: int) -> None:
        """An account has opened, or is about to close."""
        self.auto_accounts += sign * account.terms.auto
        self.without_budget += sign * account.carves_nothing

    def same_account(self, agent: str | None, life: int) -> Account | None:
        """The open account of an id, if it is the one that was opened at position ``life``."""
        account = None if agent is None else self.accounts.get(agent)
        return account if account is not None and account.life == life else None

    def payer_of(self, closed: Closed | None) -> Account:
        """The account that pays for a released one: the nearest of those it was below that is still open, or the root.

        An account that was opened under the id of one of them since then does not.
        """
        while closed is not None:
            parent = self.same_account(closed.parent, closed.parent_life)
            if parent is not None:
                return parent
            closed = self.lives.get(closed.parent_life)
        return self.root

    def payer_of_run(self, task: Task) -> Account:
        """The account that pays for what a run of a task had used when it was over."""
        parent = self.same_account(task.parent, task.parent_life)
        return self.payer_of(self.lives.get(task.parent_life)) if parent is None else parent

    def orders_of(self, account: Account | None) -> Order:
        """What operators have ordered for an account and for all above it."""
        return self.orders.of(account, self.rules.paused_products)

    @property
    def used_today(self) -> Money:
        """What was spent since the day began, in every dimension."""
        return self.day.used

    def spent_by(self, agent: str) -> Money:
        """What an open account was charged with itself, in every dimension."""
        return self.accounts[agent].spent

    def due_at(self) -> dt.datetime:
        """When something happens by itself next: a hold or a lease expires, or the day or the period ends."""
        due = self.due_beside_holds()
        return min(due, self.expiries[0][0]) if self.expiries else due

    def is_due(self, now: dt.datetime) -> bool:
        """Whether something happens by itself by ``now`` (`due_at`): every command asks this."""
        expiries, ends_at = self.expiries, self.period_ends
        if (expiries and expiries[0][0] <= now) or (ends_at is not None and ends_at <= now):
            return True
        if self.configured and (self.day.ends_at <= now or self.limits.due <= now):
            return True
        leases = self.tasks.leases
        if leases and leases[0][0] <= now and not self.is_paused:
            return True
        return bool(self.leases) and self.agent_lease_ends_at() <= now

    def due_beside_holds(self) -> dt.datetime:
        """`due_at`, holds apart."""
        due = min(self.turns_at(), self.agent_lease_ends_at())
        return min(due, self.tasks.due_at()) if self.tasks.leases and not self.is_paused else due

    def agent_lease_ends_at(self) -> dt.datetime:
        """When the lease of an agent could end next (see `AgentLeases.look`)."""
        return self.leases.due_at() if self.leases and not self.is_paused else NEVER

    def turns_at(self) -> dt.datetime:
        """When the day, a calendar window of a limit or the period ends, whichever is first."""
        due = min(self.day.ends_at, self.limits.due) if self.configured else NEVER
        return due if self.period_ends is None else min(due, self.period_ends)

    # --- the memory of ids --------------------------------------------------------------------------------------------

    def remember(self, id: str, position: int) -> None:
        """Keep the id of a command that was recorded, if it is a new one, and forget the oldest beyond the configured
        number.
        """
        self.ids.add(id, position)
        self.ids.keep(self.rules.ids_max)

    def remember_all(self, ids: Sequence[str], positions: Sequence[int], *, new: bool = False) -> None:
        """Keep the ids of several commands, each with its position, as `remember` does one after the other. ``new``:
        they are known to differ, and none of them is remembered.
        """
        self.ids.add_all(ids, positions, self.rules.ids_max, new=new)

    def mark(self, position: int, at: dt.datetime) -> None:
        """Note when the log came to ``position`` (at most once a minute), and forget what is older than the memory."""
        self.next_mark = later(at, _MINUTE)
        self.id_marks.append((at, position))
        self._forget_before(earlier(at, dt.timedelta(hours=self.rules.ids_keep_hours)))

    def _forget_before(self, horizon: dt.datetime) -> None:
        """Forget ids, ended holds, released accounts and finished tasks from before ``horizon`` (to the minute, never
        earlier).
        """
        marks = self.id_marks
        # What was recorded behind a mark, and before the next one, is less than a minute younger than it.
        while len(marks) > 1 and later(marks[0][0], _MINUTE) <= horizon:
            marks.popleft()
        floor = marks[0][1]
        self.ids.forget_before(floor)
        self.ids.keep(self.rules.ids_max)
        self.ended_holds.forget_before(floor, LATE_KEPT)
        while len(self.released_order) > LATE_KEPT and self.released_order[0][0] < floor:
            closed = self.lives.pop(self.released_order.popleft()[1])
            if self.released.get(closed.id) is closed:
                del self.released[closed.id]
        self.tasks.forget(floor)
