"""What is known while nothing but plain cases are decided (see `decide.plain`): a memory, and no part of the state.

A plain case changes balances and counters, and nothing else that plain cases ask for: not what is paused, what an
account was allocated, its level, who pays for it, or where the next line of the day, of the breaker or of the response
lies. So all that is looked at once. It holds until an event is recorded that is no plain case, which the position of
the log shows, and until something is due.
"""

import datetime as dt

from tallystick.config.amounts import Triple, dollars, seconds
from tallystick.events.decide.levels import THROTTLE, has_nothing
from tallystick.events.decide.limit_readings import has_limits
from tallystick.events.decide.own_limits import is_by_limits, remaining
from tallystick.events.messages.replies import EdgeAmounts, shown
from tallystick.events.state.accounts import Account
from tallystick.events.state.counters import Counter
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money

ACCOUNTS_MAX = 1_000
"""So many accounts are known at most; others are looked at with each message."""


class PlainAccount:
    """An account right below the root to which nothing but its level and limits speak, and what of it stays as it is.

    By dimension, ``payers`` are those that pay, None where none is limited, and ``bases`` what its consumption is
    measured against, 0 where it is not limited. From ``ratio_near`` on, its level is decided anew. ``product`` is the
    counter of its product's day, and the first line of that. ``is_covered``: what a hold of it gives back may be
    another's. ``has_own``: what remains is its own free balance. ``is_simple``: it has that, and no limits.
    """

    __slots__ = (
        "account",
        "bases",
        "closed",
        "has_limits",
        "has_own",
        "is_covered",
        "is_simple",
        "may_hold",
        "payers",
        "product",
        "ratio_near",
    )

    def __init__(self, ledger: Ledger, account: Account) -> None:
        first, second, third = account.payers
        dims = account.dims
        self.account = account
        self.payers = (
            None if first.allocated[0] is None else first,
            None if second.allocated[1] is None else second,
            None if third.allocated[2] is None else third,
        )
        self.bases = tuple([account.base(d) if d in dims else 0 for d in (0, 1, 2)])
        self.closed = account.closed
        self.ratio_near = ledger.rules.level_near[account.level]
        self.has_own = bool(dims) or account.is_run
        self.has_limits = has_limits(ledger, account)
        self.may_hold = not (has_nothing(account) or is_by_limits(account))
        self.is_covered = _is_covered(ledger, account)
        self.product = _product_of(ledger, account)
        self.is_simple = self.has_own and not self.has_limits and self.product is None

    def ratio_after(self, used: Money, held: Money) -> float | None:
        """`Account.ratio` with what was used, of which ``held`` was set aside; None where something follows: who pays
        has nothing left, or a level is come to.
        """
        tokens, time_ms, cost = used
        first, second, third = self.payers
        if (
            (first is not None and first.free_tokens + held[0] <= tokens)
            or (second is not None and second.free_ms + held[1] <= time_ms)
            or (third is not None and third.free_nanos + held[2] <= cost)
        ):
            return None
        account, closed = self.account, self.closed
        of_tokens, of_time, of_cost = self.bases
        most = 0.0
        if of_tokens and (ratio := (account.spent_tokens + closed[0] + tokens) / of_tokens) > most:
            most = ratio
        if of_time and (ratio := (account.spent_ms + closed[1] + time_ms) / of_time) > most:
            most = ratio
        if of_cost and (ratio := (account.spent_nanos + closed[2] + cost) / of_cost) > most:
            most = ratio
        return most if most < self.ratio_near else None

    def left(self, ledger: Ledger) -> EdgeAmounts:
        """What it may still use, as answers show it."""
        account = self.account
        if not self.has_own:
            return shown(remaining(ledger, account))
        of_tokens, of_time, of_cost = self.bases
        return EdgeAmounts(
            account.free_tokens if of_tokens else None,
            seconds(account.free_ms) if of_time else None,
            dollars(account.free_nanos) if of_cost else None,
        )

    def free_beside(self, held: Money) -> Triple:
        """What those that pay have free beside what was set aside, where that is limited."""
        first, second, third = self.payers
        return (
            first.free_tokens if held[0] and first is not None else None,
            second.free_ms if held[1] and second is not None else None,
            third.free_nanos if held[2] and third is not None else None,
        )


class Stretch:
    """Plain cases that follow one another, up to ``position``; ``until`` something is due."""

    __slots__ = ("_left", "accounts", "position", "until")

    def __init__(self, ledger: Ledger, until: dt.datetime) -> None:
        self.position = ledger.position
        self.until = until
        self.accounts: dict[str, PlainAccount] = {}
        """Those that are known, by id."""
        self._left = _left(ledger, ZERO)
        """So much at least may still be used, or set aside, before a line of the fleet is come to."""

    def look_at(self, ledger: Ledger, id: str) -> PlainAccount | None:
        """The open account of an id that is not known, if it is a plain one."""
        account = ledger.accounts.get(id)
        if account is None or not _is_plain(ledger, account):
            return None
        known = PlainAccount(ledger, account)
        if len(self.accounts) < ACCOUNTS_MAX:
            self.accounts[id] = known
        return known

    def takes(self, ledger: Ledger, known: PlainAccount, more: Money, back: Money = ZERO) -> bool:
        """Count so much more, used or set aside, if no line of the day, of the breaker or of the fleet's response is
        come to with it. ``back`` is what was set aside of it. What is counted must be recorded.
        """
        product = known.product
        if product is not None:
            counter, line = product
            if counter.used[0] + counter.held[0] + more[0] - back[0] >= line:
                return False
        if self.counts(more):
            return True
        self._left = _left(ledger, back)
        return self.counts(more)

    def counts(self, more: Money) -> bool:
        """`takes`, of the fleet's lines only, and as far as it is known without looking anew."""
        tokens, time_ms, cost = more
        left = self._left
        if tokens >= left[0] or time_ms >= left[1] or cost >= left[2]:
            return False
        self._left = (left[0] - tokens, left[1] - time_ms, left[2] - cost)
        return True


def stretch_at(ledger: Ledger, now: dt.datetime) -> Stretch | None:
    """The stretch that a message at ``now`` belongs to, which may begin with it; None where something other than
    accounts keeps it from being a plain case.
    """
    stretch: Stretch | None = ledger.stretch
    if stretch is None or stretch.position != ledger.position or now >= stretch.until:
        stretch = ledger.stretch = Stretch(ledger, ledger.due_at()) if _may_begin(ledger, now) else None
    return stretch


def _may_begin(ledger: Ledger, now: dt.datetime) -> bool:
    """Whether nothing is due, paused or slowed down, the breaker is closed, and it is known where all lines are."""
    watch = ledger.watch
    return (
        watch is not None
        and (watch.running is None or watch.running == len(ledger.tasks.running))
        and (watch.queued is None or watch.queued == ledger.tasks.queued)
        and ledger.day.tripped is None
        and not ledger.response
        and not ledger.is_paused
        and not ledger.is_due(now)
    )


def _left(ledger: Ledger, back: Money) -> Money:
    """How much more is below all lines of the fleet, once ``back`` is set aside no more."""
    watch, spent, held = ledger.watch, ledger.spent, ledger.held
    assert watch is not None, "a stretch begins where it is known"
    quiet, (tokens, cost) = watch.quiet, watch.spent
    return (
        min(tokens - spent[0], quiet[0] - spent[0] - held[0] + back[0]),
        quiet[1] - spent[1] - held[1] + back[1],
        min(cost - spent[2], quiet[2] - spent[2] - held[2] + back[2]),
    )


def _is_plain(ledger: Ledger, account: Account) -> bool:
    """Whether nothing but its own level, which slows nothing, speaks to an account, and all that it limits is more than
    nothing.
    """
    return (
        account.parent is ledger.root
        and account.level < THROTTLE
        and not account.overdrawn
        and not account.called
        and not account.terms.handed_over
        and account.throttle is None
        and account.stopped is None
        and account.warning is None
        and account.pool_notice >= ledger.pool_exhausted_at
        and account.product not in ledger.rules.paused_products
        and account.id not in ledger.tasks.running
        and all(account.base(d) > 0 for d in account.dims)
    )


def _product_of(ledger: Ledger, account: Account) -> tuple[Counter, int] | None:
    """The counter of an account's product for the day, and the first of its lines; None where it has none."""
    product = account.budget_product
    rule = None if product is None else ledger.rules.limits.products.get(product)
    if rule is None or product is None:
        return None
    return ledger.day.products[product].counters[product], rule.first_lines[0]


def _is_covered(ledger: Ledger, account: Account) -> bool:
    """Whether something that a hold gives back may be another's: who covers its account, or the fleet's reserve."""
    for d, payer in enumerate(account.payers):
        if payer.cover[d]:
            return True
        if payer is ledger.root and payer.allocated[d] is not None and ledger.reserve_size(d) > ledger.reserve.free[d]:
            return True
    return False
