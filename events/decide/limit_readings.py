"""How limits stand now: which match, and what is used, held and committed in each against its maximum."""

import datetime as dt
from collections.abc import Iterable
from typing import NamedTuple

from tallystick.config.price import Tokens
from tallystick.events.decide.pricing import quoted
from tallystick.events.state.accounts import Account, Hold
from tallystick.events.state.counters import Counter
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.limit_rules import CONCURRENT, COST, FLEET, INPUT, OUTPUT, TOKENS, LimitRule, Subject
from tallystick.events.state.limit_subjects import limits_of, own_value
from tallystick.events.state.limits import LimitState, Match
from tallystick.events.state.slot_time import micros

_SPLIT = (TOKENS, INPUT, OUTPUT)


class Reading(NamedTuple):
    """How one measure of a counter stands now, in whole units."""

    measure: int
    most: int
    used: int
    held: int
    committed: int

    def is_over(self, asked: int) -> bool:
        """Whether so much more is not within it; where it is reached, nothing is."""
        if self.used >= self.most and self.measure != CONCURRENT:
            return True
        return self.used + self.held + self.committed + asked > self.most

    @property
    def is_reached(self) -> bool:
        return self.used >= self.most and self.measure != CONCURRENT


def has_limits(ledger: Ledger, account: Account | None) -> bool:
    """Whether more than the day may bound what an account uses: the fleet's limits, or those of accounts."""
    return bool(ledger.rules.limits) or (account is not None and bool(account.caps))


def matches_of(
    ledger: Ledger,
    account: Account,
    at: dt.datetime,
    model: str | None = None,
    labels: dict[str, str] | None = None,
    *,
    hold: bool = False,
) -> list[Match]:
    """The limits that an account counts in with what a message says, each with the counter that it has; none on a
    ledger of views.
    """
    counted = limits_of(ledger, account, model, labels, hold=hold)
    return _with_counters(ledger, ((rule, value or own_value(rule, account, labels)) for rule, value in counted), at)


def matches(ledger: Ledger, subject: Subject, at: dt.datetime) -> list[Match]:
    """As `matches_of`, of what is no open account."""
    counted = ((rule, rule.value_of(subject)) for rule in ledger.rules.limits.matching(subject))
    return _with_counters(ledger, counted, at)


def _with_counters(ledger: Ledger, counted: Iterable[tuple[LimitRule, str]], at: dt.datetime) -> list[Match]:
    limits, found, now = ledger.limits, [], micros(at)
    for rule, said in counted:
        state = limits.states.get(rule.name)
        if state is None:
            if rule.owner is None:
                continue
            # Of an account that would open with what is asked for: nothing is counted yet.
            state = LimitState(rule, 0, 0)
        value = limits.key(state, said, ledger.rules.counters_max, now)
        found.append(Match(state, value, state.counters.get(value)))
    return found


def matches_held(ledger: Ledger, hold: Hold) -> list[Match]:
    """The limits that a hold counts in since it was placed."""
    states, found = ledger.limits.states, []
    for name, born, value in () if hold.limited is None else hold.limited.places:
        state = states.get(name)
        if state is not None and state.born == born:
            found.append(Match(state, value, state.counters.get(value)))
    return found


def matches_today(ledger: Ledger, product: str | None) -> list[Match]:
    """The limits of the day that bound something: the fleet's, and that of a product."""
    day, found = ledger.day, []
    if day.fleet.rule.is_bounded:
        found.append(Match(day.fleet, FLEET, day.counter))
    if product is not None and product in ledger.rules.limits.products:
        state = day.products[product]
        found.append(Match(state, product, state.counters[product]))
    return found


def near(ledger: Ledger, found: Iterable[Match]) -> list[Match]:
    """Those of the limits that may have something to say."""
    limits = ledger.limits
    return [one for one in found if one.state.closed or not limits.is_far(one.rule, one.value, one.counter)]


def reading(ledger: Ledger, match: Match, place: int, now: int) -> Reading:
    """One measure of a limit, by its place. In limits of the day, what running tasks may still use counts when another
    one starts, and not here.
    """
    rule, counter = match.rule, match.counter
    measure, most = rule.measures[place], match.state.most(match.value, place, now)
    if counter is None:
        return Reading(measure, most, 0, 0, 0)
    used = counter.used_at(rule, place, ledger.limits.began_at(rule), now)
    waits = 0 if rule.is_shorthand else committed(ledger, counter, measure)
    return Reading(measure, most, used, counter.held[place], waits)


def committed(ledger: Ledger, counter: Counter, measure: int) -> int:
    """What running tasks may still use, as a measure counts it: without a split, wholly as input and as output."""
    if measure in _SPLIT:
        return counter.committed
    if measure == COST and counter.models is not None:
        return sum(cost_of(ledger, model, tokens) for model, tokens in counter.models.items())
    return 0


def cost_of(ledger: Ledger, model: str, tokens: int) -> int:
    """What so many tokens cost on a model, in nano-dollars, with the fleet's measured mix of input and output.

    They are those of many requests, none of which is known to be long: the base tier holds.
    """
    return quoted(ledger.rules, model, Tokens(*ledger.day.parts(tokens)), base=True).cost_nanos if tokens else 0


def window_words(rule: LimitRule) -> str:
    """A window in words: "day", "total", "5 hours rolling"."""
    return str(rule.config.window or "total")
