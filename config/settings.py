"""The settings, one strict frozen structure per section of resource-limits.yml, named as its keys are.

What a key means is said in that file, which is packaged beside this one and holds the same defaults: they stand here
too because the core, which never opens a file, needs them. A test keeps the two equal.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import cached_property
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from tallystick.config.amounts import AMOUNT_MAX, COST, Triple, exact_units
from tallystick.config.circles import circle_in
from tallystick.config.conditions import Condition, parse_all
from tallystick.config.control import Control, ManualOverride
from tallystick.config.errors import KeyPath, Unfit, dotted, nearest
from tallystick.config.grammar import ALWAYS
from tallystick.config.kinds import (
    ConditionText,
    Count,
    Dollars,
    Hours,
    Minutes,
    Multiplier,
    Name,
    Percent,
    Positive,
    PositiveSeconds,
    PositiveWeight,
    Priority,
    Ratio,
    Seconds,
    Share,
    Text,
    Threshold,
    TokenWeight,
    Weight,
    WindowMinutes,
)
from tallystick.config.limits import COUNTERS_MAX, Accounts, Limit, check_limits
from tallystick.config.names import FLEET_NAMES, TASK_NAMES, numbers_in
from tallystick.config.networks import check_networks
from tallystick.config.outgoing import ApprovalLinks, Webhook, check_outgoing
from tallystick.config.section import Section, check_rising
from tallystick.config.telemetry import Telemetry
from tallystick.config.total_budget import Delegate, TotalBudget, check_total


class FleetResponse(Section, frozen=True):
    """Where the pressure of the whole fleet throttles, degrades and stops its agents."""

    throttle_at: Threshold = Decimal("0.90")
    degrade_at: Threshold = Decimal("0.95")
    stop_at: Threshold = Decimal("1.00")
    hysteresis: Share = Decimal("0.05")

    def __post_init__(self) -> None:
        check_rising(self, ("throttle_at", "degrade_at", "stop_at"))
        if self.hysteresis >= self.throttle_at:
            below, above = f"below throttle_at ({self.throttle_at})", f"above hysteresis ({self.hysteresis})"
            raise Unfit({("hysteresis",): below, ("throttle_at",): above})


class LastCall(Section, frozen=True):
    """The last part of each account's allocation, which is kept for one last operation; 0 keeps nothing."""

    percent: Percent = Decimal(0)


class Enforcement(Section, frozen=True):
    """Where an account's own consumption warns, throttles, degrades and stops it."""

    warn_at: Threshold = Decimal("0.50")
    throttle_at: Threshold = Decimal("0.75")
    degrade_at: Threshold = Decimal("0.90")
    stop_at: Threshold = Decimal("1.00")
    throttle_rate: Ratio = Decimal("0.5")
    warn_before_exhaustion_seconds: Seconds = Decimal(120)
    last_call: LastCall = LastCall()
    fleet: FleetResponse = FleetResponse()

    def __post_init__(self) -> None:
        check_rising(self, ("warn_at", "throttle_at", "degrade_at", "stop_at"))


class Reallocation(Section, frozen=True):
    """When idle budget is taken back, and to whom it goes."""

    enabled: bool = True
    interval_seconds: PositiveSeconds = Decimal(10)
    idle_seconds: PositiveSeconds = Decimal(60)
    idle_below: Share = Decimal("0.25")
    reclaim_fraction: Share = Decimal("0.5")
    demand_above: Share = Decimal("0.80")


class Holds(Section, frozen=True):
    """Amounts set aside before an operation."""

    ttl_seconds: PositiveSeconds = Decimal(300)
    quantile: Ratio = Decimal("0.95")


class AllocationWeights(Section, frozen=True):
    """What each priority counts for where a total is split by priority."""

    critical: Weight = Decimal("1.0")
    high: Weight = Decimal("0.75")
    normal: Weight = Decimal("0.5")
    low: Weight = Decimal("0.25")

    def __post_init__(self) -> None:
        if not any((self.critical, self.high, self.normal, self.low)):
            words = "above 0 for at least one of the four priorities"
            raise Unfit({(name,): words for name in self.__struct_fields__})

    def of(self, priority: Priority) -> Decimal:
        """The weight of a priority."""
        weight: Decimal = getattr(self, priority)
        return weight


class Leases(Section, frozen=True):
    """How long a task keeps its slot without a sign of life, and how often it is tried."""

    seconds: PositiveSeconds = Decimal(120)
    max_attempts: Positive = 3


class MaxConcurrent(Section, frozen=True):
    """Slots; None is no limit."""

    total: Count | None = 5
    per_type: Mapping[Name, Count] = msgspec.field(
        default_factory=lambda: {"backend-engineer": 2, "frontend-engineer": 2}
    )


class PriorityLevel(Section, frozen=True):
    """How a priority is ranked. ``preempt_lower``: it may take the slot of a running task of lower priority."""

    weight: Weight
    max_wait_time_minutes: Minutes
    preempt_lower: bool = False


class PriorityLevels(Section, frozen=True):
    """The four levels, highest first."""

    critical: PriorityLevel = PriorityLevel(Decimal("1.0"), Decimal(0), preempt_lower=True)
    high: PriorityLevel = PriorityLevel(Decimal("0.75"), Decimal(15))
    normal: PriorityLevel = PriorityLevel(Decimal("0.5"), Decimal(60))
    low: PriorityLevel = PriorityLevel(Decimal("0.25"), Decimal(240))

    def of(self, priority: Priority) -> PriorityLevel:
        """The settings of a priority."""
        level: PriorityLevel = getattr(self, priority)
        return level


class Scoring(Section, frozen=True):
    """What the three terms of a waiting task's score count for."""

    priority: Weight = Decimal("0.5")
    wait: Weight = Decimal("0.3")
    blocking: Weight = Decimal("0.2")


class Fairness(Section, frozen=True):
    """What a product's use is, by which shares across products are measured, and over how long."""

    by: Literal["slot_time", "tokens", "cost"] = "slot_time"
    minutes: WindowMinutes = 60
    input_weight: TokenWeight = Decimal(1)
    output_weight: TokenWeight = Decimal(2)


class DailyLimits(Section, frozen=True):
    """Limits of one day in the fleet's time zone; None is no limit."""

    max_tokens_total: Count | None = 2_000_000
    max_cost_usd: Dollars | None = Decimal(100)
    alert_at_percent: Percent = Decimal(80)

    @property
    def max_cost_nanos(self) -> int | None:
        """The cost limit in nano-dollars."""
        dollars = self.max_cost_usd
        return None if dollars is None else exact_units(dollars, COST, "daily_limits.max_cost_usd")


class ModelRule(Section, frozen=True):
    """Where ``condition`` holds, a task runs on ``model`` (an alias of the catalogue)."""

    condition: ConditionText
    model: Name


class AutoModelSelection(Section, frozen=True):
    """The rules, of which the first that holds wins."""

    rules: tuple[ModelRule, ...] = (
        ModelRule("task.priority == critical", "opus"),
        ModelRule("task.estimated_minutes < 30", "haiku"),
        ModelRule(ALWAYS, "sonnet"),
    )


class Model(Section, frozen=True):
    """A model of the catalogue: who serves it, under what id, and which alias is the next cheaper one."""

    provider: Name
    id: Name
    degrades_to: Name | None = None


class Estimates(Section, frozen=True):
    """When the estimates of an agent type are corrected, and to which percentile of its actuals."""

    over_by_percent: Weight = Decimal(10)
    over_tasks: Positive = 5
    percentile: Percent = Decimal(80)


class Product(Section, frozen=True):
    """What one product is granted; None is no limit of its own."""

    priority: Priority | None = None
    max_concurrent_agents: Count | None = None
    token_budget_daily: Count | None = None
    weight: PositiveWeight = Decimal(1)
    paused: bool = False


class WhenTripped(Section, frozen=True):
    """What a tripped breaker does, and who hears of it."""

    action: Literal["pause_all"] = "pause_all"
    notify: Name = "ceo"
    allow_override: bool = True


class CircuitBreaker(Section, frozen=True):
    """Conditions of which each trips the breaker when it becomes true."""

    trip_conditions: tuple[ConditionText, ...] = ("cost_daily_usd > daily_limits.max_cost_usd",)
    when_tripped: WhenTripped = WhenTripped()


class Config(Section, frozen=True, dict=True):
    """Everything that resource-limits.yml says, and its conditions as they are asked: parsed once.

    Made without arguments, it is the packaged file.
    """

    total_budget: TotalBudget = TotalBudget(60_000_000, None, Decimal(3000), "month")
    emergency_reserve_percent: Percent = Decimal(10)
    minimum_share_percent: Percent = Decimal(5)
    max_pool_share_percent: Percent = Decimal(50)
    timezone: Name = "UTC"
    enforcement: Enforcement = Enforcement()
    reallocation: Reallocation = Reallocation()
    holds: Holds = Holds()
    idempotency_hours: Hours = Decimal(24)
    idempotency_ids_max: Positive = 1_000_000
    allocation_weights: AllocationWeights = AllocationWeights()
    leases: Leases = Leases()
    max_concurrent: MaxConcurrent = MaxConcurrent()
    token_budgets: Mapping[Name, Positive] = msgspec.field(
        default_factory=lambda: {
            "default": 80_000,
            "architect": 150_000,
            "backend-engineer": 80_000,
            "qa-engineer": 60_000,
        }
    )
    token_budget_multiplier: Multiplier = Decimal("1.5")
    priority_levels: PriorityLevels = PriorityLevels()
    scoring: Scoring = Scoring()
    preemption_cooldown_minutes: Minutes = Decimal(10)
    fairness: Fairness = Fairness()
    daily_limits: DailyLimits = DailyLimits()
    limits: tuple[Limit, ...] = ()
    limits_counters_max: Positive = COUNTERS_MAX
    accounts: Accounts = Accounts()
    telemetry: Telemetry = Telemetry()
    auto_model_selection: AutoModelSelection = AutoModelSelection()
    models: Mapping[Name, Model] = msgspec.field(
        default_factory=lambda: {
            "opus": Model("anthropic", "claude-opus-5-5", "sonnet"),
            "sonnet": Model("anthropic", "claude-sonnet-5-5", "haiku"),
            "haiku": Model("anthropic", "claude-haiku-5-5"),
        }
    )
    estimates: Estimates = Estimates()
    products: Mapping[Name, Product] = msgspec.field(default_factory=dict)
    circuit_breaker: CircuitBreaker = CircuitBreaker()
    manual_override: ManualOverride = ManualOverride()
    notifications: Mapping[Name, tuple[Text, ...]] = msgspec.field(default_factory=lambda: {"ceo": ()})
    notification_networks: tuple[Text, ...] = ()
    webhooks: Mapping[Name, Webhook] = msgspec.field(default_factory=dict)
    approval_links: ApprovalLinks | None = None
    metrics_file: Text | None = None
    control: Control = Control()
    delegate: Delegate | None = None

    def __post_init__(self) -> None:
        _check_zone(self.timezone)
        _check_models(self)
        _check_conditions(self)
        check_limits(self.limits)
        check_networks(self.notification_networks)
        check_outgoing(self.webhooks, self.approval_links, self.notifications)
        check_total(self.total_budget, self.delegate)
        who = self.circuit_breaker.when_tripped.notify
        if who not in self.notifications:
            raise _not_among("notifications", self.notifications, who, ("circuit_breaker", "when_tripped", "notify"))

    @property
    def total(self) -> Triple:
        """The total budget in tokens, milliseconds and nano-dollars; None where it is not limited."""
        return self.total_budget.amounts

    @cached_property
    def max_tokens(self) -> Mapping[str, int]:
        """By agent type, the hard end of a run in tokens: its soft mark times ``token_budget_multiplier``.

        The entry ``default``, where there is one, is for the types that are not named; the others have none.
        """
        factor = self.token_budget_multiplier
        return {name: min(int(budget * factor), AMOUNT_MAX) for name, budget in self.token_budgets.items()}

    @cached_property
    def rule_conditions(self) -> tuple[Condition, ...]:
        """The condition of each rule of ``auto_model_selection``: about a task, the fleet, this file's numbers."""
        rules = self.auto_model_selection.rules
        keyed = ((("auto_model_selection", "rules", n, "condition"), rule.condition) for n, rule in enumerate(rules))
        return parse_all(keyed, {**FLEET_NAMES, **TASK_NAMES}, self._numbers)

    @cached_property
    def trip_conditions(self) -> tuple[Condition, ...]:
        """What trips the breaker: conditions about the fleet and the numbers of this file."""
        texts = self.circuit_breaker.trip_conditions
        keyed = ((("circuit_breaker", "trip_conditions", n), text) for n, text in enumerate(texts))
        return parse_all(keyed, FLEET_NAMES, self._numbers)

    @cached_property
    def _numbers(self) -> Mapping[str, int | Decimal | None]:
        return dict(numbers_in(self))


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    # A name may also be that of a folder, or point outside the data base.
    except (KeyError, ValueError, OSError):
        suggestion = nearest(name, available_timezones())
        raise Unfit({("timezone",): "a time zone of the IANA data base, such as 'Europe/Zurich'"}, suggestion) from None


def _check_models(config: Config) -> None:
    """Rules and ``degrades_to`` name models of the catalogue, and no model degrades to itself by any way round."""
    models = config.models
    for number, rule in enumerate(config.auto_model_selection.rules):
        if rule.model not in models:
            raise _not_among("models", models, rule.model, ("auto_model_selection", "rules", number, "model"))
    for alias, model in models.items():
        if model.degrades_to is not None and model.degrades_to not in models:
            raise _not_among("models", models, model.degrades_to, ("models", alias, "degrades_to"))
    circle = circle_in({alias: model.degrades_to for alias, model in models.items()})
    if circle:
        words = f"a model that does not lead back ({' -> '.join([*circle, circle[0]])})"
        raise Unfit({("models", passed, "degrades_to"): words for passed in circle})


def _check_conditions(config: Config) -> None:
    """Every condition can be asked; some rule holds for any task, and no condition trips the breaker for ever."""
    if not any(condition.always for condition in config.rule_conditions):
        raise Unfit({("auto_model_selection", "rules"): f"rules of which one has the condition {ALWAYS}"})
    for number, condition in enumerate(config.trip_conditions):
        if condition.always:
            words = f"a comparison, such as {CircuitBreaker().trip_conditions[0]}: what always holds would never let go"
            raise Unfit({("circuit_breaker", "trip_conditions", number): words})


def _not_among(section: str, names: Mapping[str, object], name: str, key: KeyPath) -> Unfit:
    """``key`` names an entry that is not there: a wrong name, or an entry that was taken away."""
    allowed = {key: f"one of {', '.join(names)}", (section, name): f"an entry, because {dotted(key)} names it"}
    return Unfit(allowed, nearest(name, names))
