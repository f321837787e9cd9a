"""Limits as decisions read them: compiled from the configuration, and found by what a use says of itself.

The cost of finding those that match grows with how many do, not with how many there are: a limit is listed under one
value of its ``match``, the one under which the fewest others are.
"""

from collections import Counter as Tally
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from tallystick.config.limits import LABEL, LIMITS_MAX, SCOPES, AccountLimit, Calendar, Lasting, Limit

TOKENS, TIME, COST, INPUT, OUTPUT, REQUESTS, CONCURRENT = range(7)
DAY_US: Final = 86_400_000_000
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
        if type(key) is int:
            return self[key - 1]  # type: ignore[return-value]
        return None if self.labels is None else self.labels.get(key)  # type: ignore[arg-type]


_MODEL, _PROVIDER = SCOPES.index("model"), SCOPES.index("provider")


class LimitRule:
    """One limit. Lengths are in microseconds; ``definition`` is what may not change without counting anew.

    ``owner``: the account whose own limit it is; it has one counter, of all that is used at or below that account.
    """

    __slots__ = (
        "alerts",
        "bucket_us",
        "config",
        "definition",
        "first_lines",
        "is_long",
        "kind",
        "length_us",
        "lines",
        "match",
        "maxes",
        "measures",
        "name",
        "number",
        "owner",
        "scope",
        "then",
    )

    def __init__(
        self,
        number: int,
        limit: Limit | AccountLimit,
        models: dict[str, tuple[str, str]],
        name: str,
        owner: str | None = None,
    ) -> None:
        self.number = number
        self.config = limit
        self.name = name
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
        self.measures = tuple(m for m in range(7) if units[m] is not None)
        self.maxes = tuple(units[m] or 0 for m in self.measures)
        self.alerts = tuple(limit.alerts)
        self.lines = tuple(_lines(most, self.alerts) for most in self.maxes)
        """By measure, the use at which each alert is due."""
        self.first_lines = tuple(min((most, *lines)) for most, lines in zip(self.maxes, self.lines, strict=True))
        """By measure, the least of them, or the maximum."""
        self.name_models(models)

    def name_models(self, models: dict[str, tuple[str, str]]) -> None:
        """Find what it matches under the names that a catalogue of models has."""
        self.match: list[tuple[int | str, frozenset[str]]] = [
            (_key(key), frozenset(_canonical(key, one, models) for one in _listed(values)))
            for key, values in self.config.match.items()
        ]
        match = sorted((str(key), sorted(values)) for key, values in self.match)
        self.definition = (self.scope, match, self.kind, self.length_us)

    @property
    def is_calendar(self) -> bool:
        return self.kind in ("hour", "day", "week", "month")

    @property
    def asks_for_model(self) -> bool:
        """Whether it cannot say of a hold that names no model whether, or where, it counts."""
        return self.scope in (_MODEL, _PROVIDER)

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
        if type(scope) is int:
            return subject[scope - 1] or NONE  # type: ignore[return-value]
        return NONE if subject.labels is None else subject.labels.get(scope, NONE)  # type: ignore[arg-type]


def rules_of_account(
    agent: str, limits: Sequence[AccountLimit], models: dict[str, tuple[str, str]]
) -> tuple[LimitRule, ...]:
    """The limits of an account, named ``agent/1``, and so on."""
    numbered = enumerate(limits, start=1)
    return tuple(LimitRule(LIMITS_MAX + n, limit, models, f"{agent}/{n}", agent) for n, limit in numbered)


def _lines(most: int, alerts: Iterable[Decimal]) -> tuple[int, ...]:
    """So much is a percentage of a maximum, rounded up."""
    return tuple(max(1, -(-most * int(percent * 10**9) // (100 * 10**9))) for percent in alerts)


def percent_text(percent: Decimal) -> str:
    """A percentage as alerts are remembered by."""
    return format(percent.normalize() + 0, "f")


def lines_of(rule: LimitRule, most: int) -> tuple[int, ...]:
    """The lines of another maximum."""
    return _lines(most, rule.alerts)


def _listed(values: str | tuple[str, ...]) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else values


def _canonical(key: str, value: str, models: dict[str, tuple[str, str]]) -> str:
    return models.get(value, (value, ""))[0] if key == "model" else value


def _key(scope: str) -> int | str:
    return scope[len(LABEL) :] if scope.startswith(LABEL) else SCOPES.index(scope)


class LimitIndex:
    """All limits of a configuration. It is falsy where there are none: that is all that a report asks then."""

    __slots__ = ("always", "by_name", "calendars", "keyed", "needs_provider")

    def __init__(self, limits: Sequence[Limit], models: dict[str, tuple[str, str]]) -> None:
        self.by_name = {limit.name: LimitRule(n, limit, models, limit.name) for n, limit in enumerate(limits)}
        rules = self.by_name.values()
        self.always = [rule for rule in rules if not rule.match]
        self.keyed: dict[int | str, dict[str, list[LimitRule]]] = {}
        self.needs_provider = any(_PROVIDER in (rule.scope, *(key for key, _ in rule.match)) for rule in rules)
        self.calendars = frozenset(rule.kind for rule in rules if rule.is_calendar)
        crowd = Tally((key, value) for rule in rules for key, values in rule.match for value in values)
        for rule in rules:
            if rule.match:
                key, values = min(rule.match, key=lambda part: max(crowd[part[0], value] for value in part[1]))
                for value in values:
                    self.keyed.setdefault(key, {}).setdefault(value, []).append(rule)

    def __bool__(self) -> bool:
        return bool(self.by_name)

    def matching(self, subject: Subject, *, hold: bool = False) -> list[LimitRule]:
        """Those that a use counts in, in the order of the configuration, then those of accounts, from the top; of a
        hold only those that it is known of.
        """
        found = [*self.always]
        for key, by_value in self.keyed.items():
            value = subject.value(key)
            rules = None if value is None else by_value.get(value)
            if rules is not None:
                found += [rule for rule in rules if len(rule.match) == 1 or rule.fits(subject)]
        if hold and subject.model is None:
            found = [rule for rule in found if not rule.asks_for_model]
        if self.keyed and len(found) > 1:
            found.sort(key=_number)
        if subject.caps:
            found += [rule for rule in subject.caps if not rule.match or rule.fits(subject)]
        return found


def _number(rule: LimitRule) -> int:
    return rule.number
