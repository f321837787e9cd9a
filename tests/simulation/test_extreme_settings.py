"""Whatever number a setting allows, no later computation fails over it."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tests.support.core import START
from tests.support.driving import simulated
from tests.support.extremes import EXTREMES, put

Message = dict[str, Any]
SECONDS = dt.timedelta(seconds=1)


def config_of(chosen: list[tuple[str, int | str]]) -> Config | None:
    """A configuration with these values, where they fit together."""
    mapping: dict[str, Any] = {"total_budget": {"tokens": 100_000}, "daily_limits": {"max_cost_usd": 50}}
    for key, value in chosen:
        put(mapping, key, value)
    try:
        return from_mapping(mapping)
    except ConfigError:
        return None


def messages() -> list[tuple[dt.datetime, Message]]:
    task = {"type": "SubmitTask", "agent_type": "writer", "product": "lab"}
    use = {"type": "ReportUsage", "model": "sonnet", "usage": {"tokens": 600}}
    sent: list[Message] = [
        {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000, "cost_usd": "1"}},
        {"type": "AllocateByPriority", "agents": {"b": "high", "c": "low"}, "total": {"tokens": 1_000}},
        {**task, "task": "t1", "estimated_tokens": 500, "estimated_minutes": 5},
        {**task, "task": "t2", "priority": "critical"},
        {**task, "task": "t3", "depends_on": ["t1"]},
        {"type": "Reserve", "agent": "a", "estimate": {"tokens": 100}},
        {**use, "agent": "a"},
        {**use, "task": "t1"},
        {"type": "BorrowFromPool", "agent": "a", "amount": {"tokens": 100}},
        {"type": "Rebalance"},
        {"type": "Forecast", "agent": "a"},
        {"type": "Heartbeat", "task": "t1"},
        {"type": "GetQueue"},
        {"type": "CompleteTask", "task": "t1", "outcome": "completed", "usage": {"tokens": 700}},
        {"type": "GetGlobalStatus"},
        {**use, "agent": "a"},
        {"type": "CheckEnforcement", "agent": "a"},
        {"type": "ReleaseReserve", "reason": "go on"},
        {"type": "ReleaseBudget", "agent": "a"},
    ]
    return [(START + number * SECONDS, {**one, "id": f"m-{number}"}) for number, one in enumerate(sent)]


def check(config: Config) -> None:
    outcome = simulated(messages(), config, until=START + 25 * SECONDS)
    codes = {reply["error"]["code"] for reply in outcome.replies if "error" in reply}
    assert not codes & {"halted", "busy", "internal_error"}


@pytest.mark.parametrize(("key", "value"), EXTREMES, ids=str)
def test_one_number_at_its_bound_breaks_nothing(key: str, value: int | str) -> None:
    config = config_of([(key, value)])
    if config is not None:
        check(config)


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(EXTREMES), min_size=2, max_size=12, unique_by=lambda it: it[0]))
def test_many_numbers_at_their_bounds_break_nothing(chosen: list[tuple[str, int | str]]) -> None:
    config = config_of(chosen)
    if config is not None:
        check(config)
