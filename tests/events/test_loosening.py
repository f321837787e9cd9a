"""What loosens a limit, cell by cell: each message, and each setting that a message may change."""

from typing import Any

import msgspec
import pytest

from tallystick.config.loader import changed, from_mapping
from tallystick.config.section import Section
from tallystick.config.settings import Config, Product
from tallystick.events import messages as c
from tallystick.events.decide.loosening import ALWAYS, BY_STATE, loosens, refusal_of
from tallystick.events.decide.tightening import TIGHTENS, loosened
from tallystick.events.log.codec import read_message
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core
from tests.support.messages import good

NEVER = {
    c.RecordReconciliation,
    c.AllocateBudget, c.AllocateEqual, c.AllocateProportional, c.AllocateByPriority, c.AllocateFromPool,
    c.ReportUsage, c.Reserve, c.Settle, c.CancelHold, c.Heartbeat, c.GetHolds, c.GetLimits, c.GetStatus,
    c.GetGlobalStatus, c.CheckEnforcement, c.Stop, c.Rebalance, c.BorrowFromPool, c.ReturnToPool, c.GenerateReport,
    c.Forecast, c.GetEfficiency, c.ReleaseBudget, c.SubmitTask, c.GetTask, c.CompleteTask, c.CancelTask, c.RetryTask,
    c.GetQueue, c.PauseAll, c.RevokeKey, c.ListKeys,
}  # fmt: skip
"""What uses, asks, gives back, stops, or takes a part of what there is."""

CONFIG: dict[str, Any] = {
    "total_budget": {"tokens": 1000, "cost_usd": 10},
    "emergency_reserve_percent": 0,
    "daily_limits": {"max_tokens_total": 500, "max_cost_usd": 5},
    "limits": [{"name": "m", "window": "day", "max": {"tokens": 100, "requests": 9}}],
    "max_concurrent": {"total": 5, "per_type": {"coder": 2}},
    "token_budgets": {"default": 100},
    "products": {"shop": {"token_budget_daily": 50, "max_concurrent_agents": 2}},
}


@pytest.fixture
def core() -> Core:
    core = Core()
    core.when(command_of({"type": "LoadConfig", "config": CONFIG}))
    core.when(command_of({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}}))
    core.when(command_of({"type": "Throttle", "agent": "a", "rate": "0.5"}))
    return core


def command_of(message: Any) -> c.Command:
    read = read_message(message, lambda: "new")
    assert not isinstance(read, Refusal), read.detail
    return read[0]


def test_every_message_is_in_the_table_once() -> None:
    assert sorted(one.__name__ for one in (*ALWAYS, *BY_STATE, *NEVER)) == sorted(one.__name__ for one in c.WIRE)


@pytest.mark.parametrize("kind", c.WIRE, ids=lambda kind: kind.__name__)
def test_a_message_loosens_as_the_table_says(core: Core, kind: type[c.Command]) -> None:
    if kind in BY_STATE:
        return
    command = command_of(good(kind))
    assert (loosens(core.ledger, command) is not None) == (kind in ALWAYS)


def total(**budget: Any) -> dict[str, Any]:
    return {"type": "SetTotalBudget", "budget": budget}


BY_WHAT_IT_SAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "a lower total": (total(tokens=900), False),
    "the same total": (total(tokens=1000), False),
    "a higher total": (total(tokens=1001), True),
    "no total": (total(cost_usd=None), True),
    "a total where there was none": (total(time_seconds=5), False),
    "one lower, one higher": (total(tokens=900, cost_usd="10.01"), True),
    "a total that is no number": (total(tokens=-5), False),
    "a slower throttle": ({"type": "Throttle", "agent": "a", "rate": "0.4"}, False),
    "a faster throttle": ({"type": "Throttle", "agent": "a", "rate": "0.6"}, True),
    "a throttle that is no number": ({"type": "Throttle", "agent": "a", "rate": "NaN"}, False),
    "a first throttle": ({"type": "Throttle", "agent": "b", "rate": 1}, False),
    "a raise of the day": ({"type": "ApproveLimit", "max_cost_usd": 20}, True),
    "a raise of a limit": ({"type": "ApproveLimit", "limit": "m", "max": {"tokens": 200}}, True),
    "the end of a raise": ({"type": "ApproveLimit", "limit": "m", "max": {}}, False),
    "the end of one measure's raise": ({"type": "ApproveLimit", "limit": "m", "max": {"tokens": None}}, False),
    "a stricter setting": ({"type": "LoadConfig", "config": {"daily_limits": {"max_tokens_total": 400}}}, False),
    "a looser setting": ({"type": "LoadConfig", "config": {"daily_limits": {"max_tokens_total": 600}}}, True),
    "a setting that is not allowed": ({"type": "LoadConfig", "config": {"daily_limits": 5}}, False),
    "nothing new": ({"type": "LoadConfig", "config": CONFIG}, False),
}


@pytest.mark.parametrize(("message", "does"), BY_WHAT_IT_SAYS.values(), ids=BY_WHAT_IT_SAYS)
def test_what_depends_on_what_is_said_and_in_force(core: Core, message: dict[str, Any], does: bool) -> None:
    assert (loosens(core.ledger, command_of(message)) is not None) == does


def test_a_total_that_a_message_has_lowered_is_what_counts(core: Core) -> None:
    core.when(command_of(total(tokens=500)))
    raised = {"type": "LoadConfig", "config": {"total_budget": {"tokens": 900}}}
    assert loosens(core.ledger, command_of(raised)) == "loosens total_budget"


# --- settings ---------------------------------------------------------------------------------------------------------

STRICTER: dict[str, tuple[Any, Any]] = {
    "total_budget.tokens": (900, 1100),
    "total_budget.time_seconds": (5, None),
    "total_budget.cost_usd": (9, None),
    "total_budget.rollover": (False, True),
    "emergency_reserve_percent": (20, 5),
    "max_pool_share_percent": (40, 60),
    "enforcement.warn_at": ("0.4", "0.6"),
    "enforcement.throttle_at": ("0.7", "0.8"),
    "enforcement.degrade_at": ("0.85", "0.95"),
    "enforcement.stop_at": ("0.95", "1.1"),
    "enforcement.throttle_rate": ("0.4", "0.6"),
    "enforcement.last_call.percent": (6, 4),
    "enforcement.fleet.throttle_at": ("0.8", "0.91"),
    "enforcement.fleet.degrade_at": ("0.92", "0.96"),
    "enforcement.fleet.stop_at": ("0.99", "1.2"),
    "enforcement.fleet.hysteresis": ("0.06", "0.04"),
    "max_concurrent.total": (4, None),
    "max_concurrent.per_type": ({"coder": 1, "other": 3}, {"coder": 3}),
    "token_budgets": ({"default": 90, "architect": 80}, {"architect": 110}),
    "token_budget_multiplier": ("1.4", 2),
    "daily_limits.max_tokens_total": (400, None),
    "daily_limits.max_cost_usd": (4, 6),
    "daily_limits.alert_at_percent": (70, 90),
    "limits": (
        [
            {"name": "m", "window": "day", "max": {"tokens": 90, "requests": 9, "cost_usd": 1}},
            {"name": "n", "window": "hour", "max": {"tokens": 5}},
        ],
        [{"name": "m", "window": "day", "max": {"tokens": 100}}],
    ),
    "products.max_concurrent_agents": ({"shop": {"max_concurrent_agents": 1}}, {"shop": None}),
    "products.token_budget_daily": ({"new": {"token_budget_daily": 5}}, {"shop": {"token_budget_daily": 51}}),
    "products.paused": ({"shop": {"paused": True}}, {"shop": {"paused": False}}),
    "circuit_breaker.trip_conditions": (
        ["cost_daily_usd > daily_limits.max_cost_usd", "queue_length > 9"],
        ["queue_length > 9"],
    ),
    "circuit_breaker.when_tripped.allow_override": (False, True),
    "manual_override.pause_all_agents": (True, False),
}
"""For each key that can be stricter: a change that is, and one that loosens."""


def before() -> Config:
    """What is in force."""
    return from_mapping(CONFIG | {"emergency_reserve_percent": 10, "enforcement": {"last_call": {"percent": 5}}})


def said(key: str, value: Any) -> dict[str, Any]:
    path = ["products"] if key.startswith("products.") else key.split(".")
    for name in reversed(path):
        value = {name: value}
    found: dict[str, Any] = value
    return found


def test_every_key_that_can_be_stricter_has_both_changes() -> None:
    assert STRICTER.keys() == TIGHTENS.keys()


@pytest.mark.parametrize("key", TIGHTENS)
def test_a_change_that_is_stricter_needs_no_key_and_the_other_way_does(key: str) -> None:
    there = before()
    stricter, looser = (said(key, value) for value in STRICTER[key])
    is_switch = isinstance(STRICTER[key][0], bool) or key in ("products.paused", "total_budget.time_seconds")
    from_looser = changed(there, looser) if is_switch else there
    from_stricter = changed(there, stricter) if is_switch else there
    assert loosened(from_looser, changed(from_looser, stricter)) is None
    assert loosened(from_stricter, changed(from_stricter, looser)) == key


def leaves(kind: Any, path: str = "") -> list[str]:
    """Every key that holds a value of its own; the entries of a map are one key."""
    found = []
    for field in msgspec.structs.fields(kind):
        key = f"{path}.{field.encode_name}" if path else field.encode_name
        is_section = isinstance(field.type, type) and issubclass(field.type, Section)
        found += leaves(field.type, key) if is_section else [key]
    return found


def test_every_key_of_the_table_is_there_and_a_change_of_any_other_key_loosens() -> None:
    keys = {*leaves(Config), *(f"products.{name}" for name in Product.__struct_fields__)} - {"products"}
    assert TIGHTENS.keys() <= keys
    for setting in (
        {"timezone": "Europe/Zurich"},
        {"holds": {"ttl_seconds": 1}},
        {"minimum_share_percent": 6},
        {"total_budget": {"period": "day"}},
        {"models": {"opus": {"degrades_to": None}}},
        {"products": {"shop": {"weight": 2}}},
        {"accounts": {"auto": {"max": 1}}},
        {"limits_counters_max": 5},
        {"reallocation": {"enabled": False}},
    ):
        assert loosened(before(), changed(before(), setting)) is not None, setting


# --- the refusal ------------------------------------------------------------------------------------------------------


def test_without_a_key_in_force_nothing_needs_one(core: Core) -> None:
    assert refusal_of(core.ledger, c.ResumeAll(), b'{"type":"ResumeAll"}', None) is None


def test_a_message_may_not_change_the_key(core: Core) -> None:
    key = "sha256:" + "0" * 64
    core.when(command_of({"type": "LoadConfig", "config": {"control": {"operator_key": key}}}))
    core.then_refused("local_only", key="control")
