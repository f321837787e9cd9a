"""Limits as decisions read them: compiled from the configuration, and found by what a use says of itself.

``daily_limits`` and ``token_budget_daily`` of products are limits as well: of all use of a day, and of a product's.
They are counted also where nothing bounds them, since a maximum that is set later counts from midnight.

The cost of finding those that match grows with how many do, not with how many there are: a limit is listed under one
value of its ``match``, the one under which the fewest others are.
"""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from operator import attrgetter
from typing import Final, NamedTuple

from tallystick.config.limits import (
    DAILY,
    LABEL,
    LIMITS_MAX,
    MEASURES,
    PRODUCT_DAILY,
    SCOPES,
    AccountLimit,
    Calendar,
    Lasting,
    Limit,
    LimitMax,
)
from tallystick.config.model_names import PROVIDERS
from tallystick.config.settings import Config, DailyLimits

TOKENS, TIME, COST, INPUT, OUTPUT, REQUESTS, CONCURRENT = range(7)
DAY_US: Final = 86_400_000_000
FAR: Final = 2**200
"""More than anything is ever used: the maximum of what is counted and not bounded, a line that is never reached."""
BUCKETS: Final = 60
"""A rolling window is counted in so many parts, or finer."""
NONE: Final = "(none)"
"""The counter of what has no value of the scope."""
OTHER: Final = "(other)"
FLEET: Final = "fleet"
"""The one value of the scope ``fleet``."""


class Subject(NamedTuple):
    """What a use, a hold or a run says of itself: what limits match, and whose counters it is counted in."""

    account: str
    agent_type: str | None
    product: str | None
    workflow: str | None
    model: str | None
    provider: str | None
    labels: dict[str, str] | None
    caps: "tuple[LimitRule, ...]" = ()
    """The limits of its account and of those above it."""

    def value(self, key: int | str) -> str | None:
        """By the number of a scope (`SCOPES`), or the name of a label."""
        if isinstance(key, str):
            return None if self.labels is None else self.labels.get(key)
        return self[key - 1]  # type: ignore[return-value]  # labels come behind all scopes


ACCOUNT, _MODEL, _PROVIDER = SCOPES.index("account"), SCOPES.index("model"), SCOPES.index("provider")


class LimitRule:
    """One limit. Lengths are in microseconds; ``definition`` is what may not change without counting anew.

    ``always`` are measures that are counted although nothing bounds them. ``owner``: the account whose own limit it is;
    it has one counter, of all that is used at or below that account.
    """

    __slots__ = (
        "alerts",
        "bounds",
        "bucket_us",
        "config",
        "definition",
        "first_lines",
        "is_long",
        "keys",
        "kind",
        "length_us",
        "lines",
        "match",
        "maxes",
        "measures",
        "name",
        "needs_provider",
        "number",
        "owner",
        "scope",
        "then",
    )

    def __init__(
        self,
        number: int,
        limit: Limit | AccountLimit,
        model_name: Callable[[str], str],
        always: Sequence[int] = (),
        owner: str | None = None,
    ) -> None:
        self.number = number
        self.config = limit
        self.name = limit.name if isinstance(limit, Limit) else f"{owner}/{number - LIMITS_MAX}"
        self.owner = owner
        self.then = limit.then
        self.scope = _key(limit.per)
        window = limit.window or "total"
        self.kind: Calendar | str = window if isinstance(window, str) else window.opens or "rolling"
        self.length_us = window.length_ms * 1_000 if isinstance(window, Lasting) else 0
        self.bucket_us = max(1, self.length_us // BUCKETS)
        self.is_long = self.kind in ("total", "day", "week", "month") or self.length_us >= DAY_US
        """Whether commitments of running tasks count in it."""
        units = limit.max.units
        self.measures = tuple(m for m in range(7) if units[m] is not None or m in always)
        self.maxes = tuple(FAR if (most := units[m]) is None else most for m in self.measures)
        self.alerts = tuple(limit.alerts)
        self.lines = tuple(_lines(most, self.alerts) for most in self.maxes)
        """By measure, the use at which each alert is due."""
        self.keys = tuple(self._keys(m) for m in self.measures)
        """By measure, what each alert is remembered by."""
        self.first_lines = tuple(min((most, *lines)) for most, lines in zip(self.maxes, self.lines, strict=True))
        """By measure, the least of them, or the maximum."""
        self.bounds = tuple(zip(range(len(self.measures)), self.measures, self.first_lines, strict=True))
        """By place: the place, its measure and the first of its lines."""
        self.name_models(model_name)

    def name_models(self, model_name: Callable[[str], str]) -> None:
        """Find what it matches under the names that a catalogue of models has."""
        self.match: list[tuple[int | str, frozenset[str]]] = [
            (_key(key), frozenset(one_value(_key(key), one, model_name) for one in _listed(values)))
            for key, values in self.config.match.items()
        ]
        self.needs_provider = _PROVIDER in (self.scope, *(key for key, _ in self.match))
        match = sorted((repr(key), sorted(values)) for key, values in self.match)
        self.definition = (self.scope, match, self.kind, self.length_us)

    def _keys(self, measure: int) -> tuple[str, ...]:
        """An alert is given once per percentage; of the fleet's day, once per dimension and percentage."""
        if self.name != DAILY:
            return tuple(format(percent.normalize() + 0, "f") for percent in self.alerts)
        name = f"daily_{MEASURES[measure].removesuffix('_usd')}"
        return tuple(f"{name}_reached" if percent >= 100 else f"{name}_near" for percent in self.alerts)

    @property
    def is_shorthand(self) -> bool:
        """Whether another setting is short for it: it refuses under a code of its own, and what running tasks may
        still use counts when a task starts, and not when something is held.
        """
        return self.name == DAILY or self.name.startswith(PRODUCT_DAILY)

    @property
    def is_bounded(self) -> bool:
        """Whether it has a maximum at all."""
        return min(self.maxes) < FAR

    @property
    def is_calendar(self) -> bool:
        return self.kind in ("hour", "day", "week", "month")

    @property
    def is_by_own(self) -> bool:
        """Whether whose counter it is an account says by its id, or by a label."""
        return self.owner is None and (self.scope == ACCOUNT or isinstance(self.scope, str))

    @property
    def asks_for_model(self) -> bool:
        """Whether it cannot say of a hold that names no model whether, or where, it counts."""
        return self.scope in (_MODEL, _PROVIDER)

    def counts(self, units: Sequence[int]) -> bool:
        """Whether anything of a use, by measure, counts: what does not opens no window."""
        for m in self.measures:  # noqa: SIM110 - a generator takes twice as long, and every report asks
            if units[m]:
                return True
        return False

    def fits(self, subject: Subject) -> bool:
        """Whether all that it matches is so."""
        return all(subject.value(key) in values for key, values in self.match)

    def value_of(self, subject: Subject) -> str:
        """Whose counter it is."""
        scope = self.scope
        if self.owner is not None:
            return self.owner
        if scope == 0:
            return FLEET
        value = subject.value(scope)
        # What calls itself so must not bring all that is new to share its counter.
        return NONE if value == OTHER else value or NONE


def rules_of_account(
    agent: str, limits: Sequence[AccountLimit], model_name: Callable[[str], str]
) -> tuple[LimitRule, ...]:
    """The limits of an account, named ``agent/1``, and so on."""
    numbered = enumerate(limits, start=1)
    return tuple(LimitRule(LIMITS_MAX + n, limit, model_name, (), agent) for n, limit in numbered)


def _lines(most: int, alerts: Iterable[Decimal]) -> tuple[int, ...]:
    """So much is a percentage of a maximum, rounded up."""
    parts = [Fraction(percent) / 100 for percent in alerts]
    return tuple(max(1, -(-most * part.numerator // part.denominator)) for part in parts)


def lines_of(rule: LimitRule, most: int) -> tuple[int, ...]:
    """The lines of another maximum."""
    return _lines(most, rule.alerts)


def _listed(values: str | tuple[str, ...]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values


def one_value(key: int | str, value: str, model_name: Callable[[str], str]) -> str:
    """The one name of a value of a scope: models and providers have several."""
    if key == _MODEL:
        return model_name(value)
    return PROVIDERS.get(value.lower(), value) if key == _PROVIDER else value


def _key(scope: str) -> int | str:
    return scope[len(LABEL) :] if scope.startswith(LABEL) else SCOPES.index(scope)


def day_rule(limits: DailyLimits) -> LimitRule:
    """The limit that the fleet's daily limits are short for: it counts every dimension, and bounds those that they do.

    It comes before all others.
    """
    alerts = (limits.alert_at_percent, Decimal(100))
    most = LimitMax(tokens=limits.max_tokens_total, cost_usd=limits.max_cost_usd)
    limit = Limit(name=DAILY, max=most, window="day", then="refuse", alert_at_percent=alerts)
    return LimitRule(-2, limit, str, (TOKENS, TIME, COST))


def product_rule(product: str, tokens: int | None, alert_at: Decimal) -> LimitRule:
    """The limit that a product's tokens per day are short for; None: they are counted, and not bounded."""
    alerts = (alert_at, Decimal(100))
    limit = Limit(
        name=PRODUCT_DAILY + product,
        per="product",
        match={"product": product},
        max=LimitMax(tokens=tokens),
        window="day",
        then="refuse",
        alert_at_percent=alerts,
    )
    return LimitRule(-1, limit, str, (TOKENS,))


KNOWN_MAX = 10_000
Counted = tuple[LimitRule, str | None]
"""A limit that something counts in, and whose counter it is: None where that is the account's own, or by a label."""


class LimitIndex:
    """All limits of a configuration. It is falsy where ``limits`` names none: that is all that a report asks then.

    ``day`` is what the fleet's daily limits are short for, and ``products`` what those of products are.
    """

    __slots__ = (
        "_alert_at",
        "always",
        "asks_for",
        "by_name",
        "calendars",
        "day",
        "keyed",
        "known",
        "needs_provider",
        "products",
    )

    def __init__(self, config: Config, model_name: Callable[[str], str]) -> None:
        self._alert_at = config.daily_limits.alert_at_percent
        self.day = day_rule(config.daily_limits)
        budgets = {name: product.token_budget_daily for name, product in config.products.items()}
        self.products = {
            name: product_rule(name, tokens, self._alert_at) for name, tokens in budgets.items() if tokens is not None
        }
        limits = config.limits
        self.by_name = {limit.name: LimitRule(number, limit, model_name) for number, limit in enumerate(limits)}
        rules = self.by_name.values()
        self.always = [rule for rule in rules if not rule.match]
        self.keyed: dict[int | str, dict[str, list[LimitRule]]] = {}
        self.needs_provider = any(rule.needs_provider for rule in rules)
        own = {key for rule in rules for key, _ in rule.match if key == ACCOUNT or isinstance(key, str)}
        self.asks_for = tuple(sorted(own, key=str))
        """What of an account's own limits match by: its id (`ACCOUNT`), and names of labels."""
        self.known: dict[tuple[str | None, ...], Sequence[Counted]] = {}
        """What accounts count in, by what limits match of them and by the model as they name it: a memory, and no
        state (see `limit_subjects.limits_of`). At most `KNOWN_MAX` kinds, then from the start."""
        self.calendars = frozenset(rule.kind for rule in rules if rule.is_calendar)
        crowd = Tally((key, value) for rule in rules for key, values in rule.match for value in values)
        for rule in rules:
            if rule.match:
                key, values = min(rule.match, key=lambda part: max(crowd[part[0], value] for value in part[1]))
                for value in values:
                    self.keyed.setdefault(key, {}).setdefault(value, []).append(rule)

    def __bool__(self) -> bool:
        return bool(self.by_name)

    def matching(self, subject: Subject) -> Sequence[LimitRule]:
        """Those that a use counts in, in the order of the configuration, then those of accounts, from the top."""
        return [*self.find(subject), *(rule for rule in subject.caps if not rule.match or rule.fits(subject))]

    def product(self, name: str) -> LimitRule:
        """What a product's tokens of the day are counted by."""
        return self.products.get(name) or product_rule(name, None, self._alert_at)

    def named(self, name: str) -> LimitRule:
        """The limit of a name that was counted by."""
        if name == DAILY:
            return self.day
        if name.startswith(PRODUCT_DAILY):
            return self.product(name.removeprefix(PRODUCT_DAILY))
        return self.by_name[name]

    def names(self) -> list[str]:
        """Those that bound something, in the order in which they are looked at."""
        shorthands = [self.day] if self.day.is_bounded else []
        return [rule.name for rule in (*shorthands, *self.products.values(), *self.by_name.values())]

    def find(self, subject: Subject) -> list[LimitRule]:
        """Those of the configuration that a use counts in, in its order."""
        found = [*self.always]
        for key, by_value in self.keyed.items():
            value = subject.value(key)
            rules = None if value is None else by_value.get(value)
            if rules is not None:
                found += [rule for rule in rules if len(rule.match) == 1 or rule.fits(subject)]
        if len(found) > 1:
            found.sort(key=attrgetter("number"))
        return found
