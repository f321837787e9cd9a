"""Events that follow one another, applied to the state in one go: reports, holds and settlements are nearly all.

`evolve_all` leaves the state as `evolve` does, event by event. What plain reports and settlements say was used adds up:
each account, each product and the fleet are charged with sums, and of what only the newest use says (pace, signs of
life) the newest is noted. What depends on the order of events is done in their order: holds are placed and taken back,
and what is known of models changes. An event with which anything else changes is left to `evolve`, which is the oracle
in `tests/events/test_reports_in_one_go.py` and `test_holds_in_one_go.py`.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import compress
from operator import attrgetter
from typing import Final, cast

from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events.evolve import evolve
from tallystick.events.evolve.charged import charge
from tallystick.events.evolve.day import use
from tallystick.events.evolve.holds import (
    close_hold,
    end_holds,
    is_whole,
    let_hold_pass,
    place_hold,
    settles_all,
    take_back,
)
from tallystick.events.evolve.transfers import charge_account
from tallystick.events.evolve.usage import answered, note_model, note_report, says_only_use
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.growth import observed, observed_all
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO, Money, plus
from tallystick.events.state.remembered import EndedHold

_Use = e.UsageReported | e.HoldSettled
_Summed = tuple[Account, Sequence[_Use], Money, Money, bytes]
_AT = attrgetter("at")
_MANY: Final = 6
"""Fewer events are applied sooner one by one."""


def evolve_all(ledger: Ledger, events: Sequence[e.Event]) -> None:
    """Apply events, the next ones of the log, none earlier than the one before it, to the state. Where one cannot have
    happened, the state is that of the event before it.
    """
    place = 0
    while place < len(events):
        # With the first event of a minute more changes.
        end = bisect_left(events, ledger.next_mark, place, key=_AT)
        if end > place:
            _within_a_minute(ledger, events[place:end])
        if end < len(events):
            evolve(ledger, events[end])
        place = end + 1


def _within_a_minute(ledger: Ledger, events: Sequence[e.Event]) -> None:
    accounts, first = ledger.accounts, 0
    by_agent: dict[str, list[_Use]] = {}
    holds, may_be_plain = _Holds(ledger), not ledger.rules.limits
    for place, event in enumerate(events):
        if may_be_plain:
            plain: _Use | None = None
            if type(event) is e.UsageReported:
                plain = event if says_only_use(event) else None
            elif type(event) is e.HoldSettled:
                plain = event if holds.are_ended_by(event) else None
            elif type(event) is e.HoldPlaced and holds.are_placed_by(event):
                continue
            if plain is not None:
                theirs = by_agent.get(plain.agent)
                if theirs is not None:
                    theirs.append(plain)
                    continue
                account = accounts.get(plain.agent)
                if account is not None and not account.caps:
                    by_agent[plain.agent] = [plain]
                    continue
        _apply(ledger, events[first:place], by_agent, holds)
        evolve(ledger, event)
        first, by_agent, may_be_plain = place + 1, {}, not ledger.rules.limits
        if holds:
            holds = _Holds(ledger)
    _apply(ledger, events[first:], by_agent, holds)


class _Holds:
    """The holds that are placed and settled by plain events of which none is applied yet."""

    __slots__ = ("_ended", "_ledger", "_placed", "passed")

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._placed: dict[str, e.HoldPlaced] = {}
        """Those that stand."""
        self.passed: dict[str, e.HoldPlaced] = {}
        """Those that are settled, too."""
        self._ended: set[str] = set()
        """Of those that stood before."""

    def __bool__(self) -> bool:
        return bool(self._placed or self.passed or self._ended)

    def are_placed_by(self, event: e.HoldPlaced) -> bool:
        """Whether a hold is a new one, of an account that is open and has no limits."""
        hold, account = event.hold, self._ledger.accounts.get(event.agent)
        if account is None or account.caps or hold in self._placed or hold in self.passed or hold in self._ledger.holds:
            return False
        self._placed[hold] = event
        return True

    def are_ended_by(self, event: e.HoldSettled) -> bool:
        """Whether a hold stands, of which nothing was used before, and ends with this settlement of its agent."""
        hold = event.hold
        placed = self._placed.get(hold)
        if not settles_all(event):
            return False
        if placed is None:
            standing = self._ledger.holds.get(hold)
            if standing is None or standing.agent != event.agent or hold in self._ended or not is_whole(standing):
                return False
            self._ended.add(hold)
        elif placed.agent == event.agent:
            self.passed[hold] = self._placed.pop(hold)
        else:
            return False
        return True


def _apply(ledger: Ledger, events: Sequence[e.Event], by_agent: dict[str, list[_Use]], holds: _Holds) -> None:
    """Apply plain events; their uses by agent, with an account."""
    end = len(events)
    # What a use has come near to depends on what was held then, so nothing is placed behind the last one.
    while holds and end and type(events[end - 1]) is e.HoldPlaced:
        end -= 1
    summed = [] if end < _MANY else _all_summed(ledger, by_agent)
    if summed:
        _add_up(ledger, events[:end], summed, holds)
    for event in events[end:] if summed else events:
        evolve(ledger, event)


def _add_up(ledger: Ledger, events: Sequence[e.Event], summed: Sequence[_Summed], holds: _Holds) -> None:
    uses = cast(Sequence[_Use], events)
    if holds:
        uses = [event for event in events if type(event) is e.UsageReported or type(event) is e.HoldSettled]
        _move_holds(ledger, events, holds.passed)
    by_product: dict[str | None, Money] = {}
    for account, theirs, total, most, growth in summed:
        charge_account(account, *total)
        name = account.budget_product
        by_product[name] = plus(by_product[name], total) if name in by_product else total
        if account.run is not None and name is not None:
            ledger.commitments.spend(account.run, total[TOKENS])
        account.growth, account.pool_notice = growth, ledger.pool_exhausted_at
        newest, active_at = theirs[-1], account.activity_at
        if newest.after_outage:
            # It says nothing of the pace, which is as the one before it has left it.
            for event in theirs[:-1]:
                note_report(account, event, most)
        elif len(theirs) > 1:
            account.last_report_at = theirs[-2].at
        note_report(account, newest, most)
        account.activity_at = max(account.activity_at, active_at)  # a hold may have come later
    _use_all(ledger, by_product, ledger.accounts[uses[-1].agent].budget_product)
    _note_in_order(ledger, uses)
    last = events[-1]
    ids, positions = [event.id for event in events], range(events[0].position, last.position + 1)
    if all(ids):
        ledger.remember_all(ids, positions)
    else:
        ledger.remember_all([*filter(None, ids)], [*compress(positions, ids)])
    ledger.position, ledger.now = last.position, last.at


def _move_holds(ledger: Ledger, events: Sequence[e.Event], passed: Mapping[str, e.HoldPlaced]) -> None:
    """Place holds, and end those that are settled; what was used of them is charged with all that adds up."""
    stood, ended = list[Hold](), list[EndedHold]()
    for event in events:
        if type(event) is e.HoldPlaced:
            if event.hold not in passed:
                place_hold(ledger, event)
        elif type(event) is e.HoldSettled:
            used = (event.tokens, event.time_ms, event.cost_nanos)
            placed = passed.get(event.hold)
            if placed is None:
                hold = ledger.holds[event.hold]
                take_back(ledger, hold, ZERO)
                stood.append(hold)
                ended.append(close_hold(ledger, hold, event, used))
            else:
                ended.append(let_hold_pass(ledger, placed, event, used))
    end_holds(ledger, stood, ended)


def _all_summed(ledger: Ledger, by_agent: dict[str, list[_Use]]) -> "list[_Summed]":
    """The uses of all accounts; none where one says more than can be: those before it are to be applied."""
    try:
        return [_summed(ledger.accounts[agent], theirs) for agent, theirs in by_agent.items()]
    except ArithmeticError:
        return []


def _summed(account: Account, reports: Sequence[_Use]) -> "_Summed":
    """An account's uses with their total, by dimension the most that one of them says, and its growth after them."""
    if len(reports) == 1:
        event = reports[0]
        used = (event.tokens, event.time_ms, event.cost_nanos)
        return account, reports, used, used, observed(account.growth, used)
    tokens = [event.tokens for event in reports]
    times = [event.time_ms for event in reports]
    nanos = [event.cost_nanos for event in reports]
    total, most = (sum(tokens), sum(times), sum(nanos)), (max(tokens), max(times), max(nanos))
    return account, reports, total, most, observed_all(account.growth, tokens, times, nanos)


def _use_all(ledger: Ledger, by_product: dict[str | None, Money], last: str | None) -> None:
    """What was used of products counts for the fleet and for the day. What the last one has come near to is remembered:
    it was the product of the last report.
    """
    by_product[last] = by_product.pop(last)
    for product, total in by_product.items():
        for d, units in enumerate(total):
            ledger.spent[d] += units
        use(ledger, product, total)


def _note_in_order(ledger: Ledger, uses: Sequence[_Use]) -> None:
    """What is kept of each use, or adds up to what depends on their order."""
    accounts, charges = ledger.accounts, ledger.rules.fairness_by != "slot_time"
    for event in uses:
        if event.model is not None or event.input_tokens is not None:
            note_model(ledger, accounts[event.agent], event, answered(event))
        if charges and accounts[event.agent].budget_product is not None:
            charge(ledger, accounts[event.agent], event)
