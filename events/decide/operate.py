"""Operate: totals, periods, pauses, the reserve and the configuration, each with who, when and why in the log."""

import hashlib
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from tallystick.config.amounts import (
    DIMENSIONS,
    EDGE_NAMES,
    InvalidAmount,
    Triple,
    exact_units,
)
from tallystick.config.errors import ConfigError
from tallystick.config.loader import changed, from_mapping, to_mapping
from tallystick.config.prices import from_mapping as prices_from_mapping
from tallystick.config.prices import to_mapping as prices_to_mapping
from tallystick.config.remarks import kept, never_tripping
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog import rules_version
from tallystick.events.catalog.rules_version import FIRST_RULES
from tallystick.events.decide.answers import totals
from tallystick.events.decide.breaker import close_breaker
from tallystick.events.decide.daily_limits import day_of
from tallystick.events.decide.delegation import other_parent
from tallystick.events.decide.fleet_response import respond
from tallystick.events.decide.levels import relevel
from tallystick.events.decide.limit_windows import windows_needed
from tallystick.events.decide.limits import lines_in_force, record_lowered
from tallystick.events.decide.spelling import bad_name, is_known
from tallystick.events.decide.total_budget import below_committed, period_end, put_total
from tallystick.events.decide.turn import Turn
from tallystick.events.decide.webhook_kinds import unknown_kind
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Loaded, Overridden, Refusal, Totals
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.money import ZERO

# --- the total and its period ----------------------------------------------------------------------------------------


def set_total_budget(turn: Turn, command: c.SetTotalBudget) -> Totals | Refusal:
    """Replace the dimensions of the total that are named; null removes the limit.

    Raises:
        InvalidAmount: a malformed amount, or no dimension named.
    """
    if turn.ledger.delegation is not None:
        return Refusal("delegated", "the total of this fleet is what its parent has granted: it is set there")
    change = command.budget
    given = (change.tokens, change.time_seconds, change.cost_usd)
    if all(value is msgspec.UNSET for value in given):
        raise InvalidAmount("budget", "nothing", "one or more of tokens, time_seconds, cost_usd")
    now = turn.ledger.total
    wanted, budget = list(now), list(turn.ledger.budget)
    for d, value in enumerate(given):
        if value is not msgspec.UNSET:
            wanted[d] = None if value is None else exact_units(value, d, f"budget.{EDGE_NAMES[d]}")
            budget[d] = wanted[d]
    total = (wanted[0], wanted[1], wanted[2])
    refusal = below_committed(turn.ledger, total)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    put_total(turn, total, (budget[0], budget[1], budget[2]), turn.ledger.period_ends)
    respond(turn)
    return totals(turn.ledger)


# --- the fleet -------------------------------------------------------------------------------------------------------


def pause_all(turn: Turn, command: c.PauseAll) -> Totals:
    """Every action is ``stop`` from here on."""
    turn.record(e.FleetPaused(reason=command.reason))
    return totals(turn.ledger)


def resume_all(turn: Turn, command: c.ResumeAll) -> Totals:
    """End the operator's pause (one in the configuration is ended there)."""
    turn.record(e.FleetResumed())
    return totals(turn.ledger)


def release_reserve(turn: Turn, command: c.ReleaseReserve) -> Totals:
    """Critical agents may draw on the reserve until the next period or total."""
    turn.record(e.ReserveReleased(reason=command.reason))
    return totals(turn.ledger)


# --- configuration and prices ----------------------------------------------------------------------------------------


def load_config(turn: Turn, command: c.LoadConfig) -> Loaded | Refusal:
    """Put a configuration in force: what it names replaces what is, and only null lifts a limit.

    The total follows only where the file's own total changed. The breaker closes where a limit was raised above what
    had tripped it.
    """
    ledger = turn.ledger
    before = ledger.rules.loaded if ledger.configured else None
    try:
        knows = partial(is_known, ledger)
        config = from_mapping(command.config, knows) if before is None else changed(before, command.config, knows)
    except ConfigError as error:
        return Refusal("invalid_message", f"config: {error}")
    wrong = unknown_kind(config)
    if wrong is not None:
        return Refusal("invalid_message", f"config: {wrong}")
    refusal = None if before is None else _only_local(turn, before, config) or other_parent(before, config)
    if refusal is not None:
        return refusal
    budget, total = _new_budget(ledger, before, config)
    if before is not None:
        refusal = below_committed(ledger, total)
        if refusal is not None:
            return refusal
    # Nothing can fail after this line.
    mapping = to_mapping(config)
    date, day_ends_at = day_of(config, turn.now)
    if ledger.day.date is not None:
        # Another time zone moves the end of the day at hand, and keeps what was counted in it.
        date = ledger.day.date
    lines = lines_in_force(ledger)
    rules = FIRST_RULES if ledger.configured else rules_version.RULES_VERSION
    turn.record(
        e.ConfigLoaded(
            config=mapping,
            sha256=content_hash(mapping),
            date=date,
            day_ends_at=day_ends_at,
            rules=rules,
            limit_windows=windows_needed(config, turn.now, ledger.limits.calendars),
        )
    )
    _enter_period(turn, before, config, budget, total)
    if before is not None:
        for name in list(ledger.names):
            relevel(turn, ledger.accounts[name])
        close_breaker(turn)
        record_lowered(turn, lines)
    respond(turn)
    warnings = [*never_tripping(config)]
    if before is not None:
        warnings += kept(before, command.config)
    now = totals(ledger)
    return Loaded(now.total, now.pool_available, now.reserve, now.overdraft, now.paused, warnings)


_LOCAL = (
    *("notifications", "notification_networks", "webhooks", "approval_links"),
    *("metrics_file", "control", "delegate"),
)
"""Keys that hold addresses or paths: a message must not choose where the fleet sends to, or what it writes over. Nor
may it choose which key it has to show.
"""


def _only_local(turn: Turn, before: Config, config: Config) -> Refusal | None:
    if turn.id.startswith(c.INTERNAL_ID):
        return None
    for key in _LOCAL:
        if getattr(before, key) != getattr(config, key):
            detail = (
                f"config.{key}: found another value, allowed is the one in force: it comes from the local file only"
            )
            return Refusal("local_only", detail, {"key": key})
    return None


def _new_budget(ledger: Ledger, before: Config | None, config: Config) -> tuple[Triple, Triple]:
    """A period's budget, and the total of the period at hand, in each dimension that the file has changed."""
    wanted = config_total(config)
    if config.delegate is not None:
        now: Triple = ZERO if before is None else ledger.total
        return now, now
    if before is None:
        return wanted, wanted
    known = config_total(before)
    budget, total = (
        tuple(wanted[d] if wanted[d] != known[d] else now[d] for d in DIMENSIONS)
        for now in (ledger.budget, ledger.total)
    )
    return (budget[0], budget[1], budget[2]), (total[0], total[1], total[2])


def _enter_period(turn: Turn, before: Config | None, config: Config, budget: Triple, total: Triple) -> None:
    """Let the total, the reserve and the period's end follow a configuration, where they differ."""
    ends_at = turn.ledger.period_ends
    if before is None or _period_of(before) != _period_of(config):
        ends_at = period_end(config, turn.now)
    elif (
        config_total(before) == config_total(config)
        and before.emergency_reserve_percent == config.emergency_reserve_percent
    ):
        return
    put_total(turn, total, budget, ends_at)


def _period_of(config: Config) -> tuple[str, str]:
    return config.total_budget.period, config.timezone


def adopt_rules(turn: Turn, command: p.AdoptRules) -> Done | Refusal:
    """Go on by a newer version of the rules."""
    there = turn.ledger.rules_version
    if not there < command.rules <= rules_version.RULES_VERSION:
        allowed = f"versions above {there}, up to {rules_version.RULES_VERSION}"
        return Refusal("invalid_message", f"rules: found {command.rules}, allowed are {allowed}")
    # Nothing can fail after this line.
    turn.record(e.RulesAdopted(rules=command.rules))
    return Done()


def load_prices(turn: Turn, command: p.LoadPrices) -> Done | Refusal:
    """Put a price list in force."""
    try:
        prices = prices_from_mapping(command.prices, command.published)
    except ConfigError as error:
        return Refusal("invalid_message", f"prices: {error}")
    # Nothing can fail after this line.
    mapping = prices_to_mapping(prices)
    turn.record(e.PricesLoaded(**mapping, sha256=content_hash(mapping)))
    return Done()


def config_total(config: Config) -> Triple:
    """The configured total in internal units (the loader has checked it)."""
    total = config.total_budget
    seconds: Decimal | None = total.time_seconds
    dollars: Decimal | None = total.cost_usd
    return (
        total.tokens,
        None if seconds is None else exact_units(seconds, 1, "total_budget.time_seconds"),
        None if dollars is None else exact_units(dollars, 2, "total_budget.cost_usd"),
    )


def content_hash(mapping: dict[str, Any]) -> str:
    """SHA-256 of a mapping's JSON, keys in order: the same content has the same hash."""
    return hashlib.sha256(msgspec.json.encode(mapping, order="sorted")).hexdigest()


def record_snapshot(turn: Turn, command: p.RecordSnapshot) -> Done:
    """The hash of a snapshot, so that a restart can check it."""
    turn.record(e.SnapshotRecorded(upto=command.position, sha256=command.sha256))
    return Done()


def override_priority(turn: Turn, command: c.OverridePriority) -> Overridden | Refusal:
    """All tasks of a product are of this level from here on, whether they wait or come later."""
    refusal = bad_name(turn.ledger, command.product, "product")
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(e.PriorityOverridden(product=command.product, priority=command.priority, reason=command.reason))
    override = turn.ledger.rules.config.manual_override.priority_override
    return Overridden(command.product, override.get(command.product))
