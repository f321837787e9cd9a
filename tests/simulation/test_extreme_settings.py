"""Whatever number a setting allows, no later computation fails over it."""

import datetime as dt
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated, Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.config.building import Bounds
from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping
from tallystick.config.settings import Config
from tests.support.core import START
from tests.support.driving import simulated

Message = dict[str, Any]
SECONDS = dt.timedelta(seconds=1)
NAMED = {"products": "lab", "max_concurrent.per_type": "writer", "token_budgets": "default"}


def extremes(section: type, above: str = "") -> Iterator[tuple[str, int | str]]:
    """Each key that holds a number, with its least and its greatest value."""
    for field in msgspec.structs.fields(section):
        key, kinds = f"{above}{field.name}", [field.type]
        while kinds:
            kind = kinds.pop()
            if get_origin(kind) is Mapping:
                key = f"{key}.{NAMED.get(key, '')}"
                kinds.append(get_args(kind)[1])
            elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
                yield from extremes(kind, f"{key}.")
            elif get_origin(kind) is Annotated and get_args(kind)[0] in (int, Decimal):
                for value in _of(next(note for note in get_args(kind) if isinstance(note, msgspec.Meta))):
                    yield key, value
            elif get_origin(kind) is not Annotated:
                kinds += get_args(kind)


def _of(meta: msgspec.Meta) -> tuple[int | str, ...]:
    bounds = (meta.extra or {}).get("bounds")
    if not isinstance(bounds, Bounds):
        assert meta.ge is not None
        assert meta.le is not None
        return int(meta.ge), int(meta.le)
    least = Decimal(1).scaleb(-bounds.decimals) if bounds.above else Decimal(bounds.least)
    return f"{least:f}", str(bounds.most)


EXTREMES = list(extremes(Config))


def config_of(chosen: list[tuple[str, int | str]]) -> Config | None:
    """A configuration with these values, where they fit together."""
    mapping: dict[str, Any] = {"total_budget": {"tokens": 100_000}, "daily_limits": {"max_cost_usd": 50}}
    for key, value in chosen:
        place, *names = mapping, *key.split(".")
        for name in names[:-1]:
            place = place.setdefault(name, {})
        place[names[-1]] = value
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
