"""What may not be meant: no limit, a limit that another always comes before, a condition that nothing makes true."""

from typing import Any

import pytest

from tallystick.config.loader import from_mapping
from tallystick.config.remarks import kept, names_key, never_binding, never_tripping, not_limited, remarks
from tallystick.config.settings import Config


def said(found: Any) -> list[str]:
    return [f"{remark.key}: {remark.message}" for remark in found]


def test_the_packaged_limits_are_all_there_and_can_all_bind() -> None:
    assert [remark.key for remark in remarks(Config())] == ["total_budget.time_seconds"]


def test_what_a_file_does_not_limit_is_said() -> None:
    config = from_mapping({"total_budget": {"tokens": 200_000_000, "cost_usd": 500}})
    assert [remark.key for remark in not_limited(config)] == [
        "total_budget.time_seconds",
        "daily_limits.max_tokens_total",
        "daily_limits.max_cost_usd",
        "max_concurrent.total",
        "token_budgets.default",
    ]
    assert {remark.code for remark in not_limited(config)} == {"not_limited"}


@pytest.mark.parametrize(
    ("mapping", "found"),
    [
        (
            {"total_budget": {"tokens": 100}, "daily_limits": {"max_tokens_total": 100}},
            ["daily_limits.max_tokens_total: 100 is never reached: total_budget.tokens is 100"],
        ),
        ({"total_budget": {"tokens": 100}, "daily_limits": {"max_tokens_total": 99}}, []),
        ({"total_budget": {"tokens": 100, "period": "week"}, "daily_limits": {"max_tokens_total": 15}}, []),
        (
            {"total_budget": {"cost_usd": 800, "period": "week"}, "daily_limits": {"max_cost_usd": 100}},
            ["total_budget.cost_usd: 800 is never reached: a week at daily_limits.max_cost_usd uses at most 700"],
        ),
        (
            {
                "max_concurrent": {"total": 3, "per_type": {"a": 2, "b": 3}},
                "products": {"p": {"max_concurrent_agents": 4}},
            },
            [
                "max_concurrent.per_type.b: 3 is never reached: max_concurrent.total is 3",
                "products.p.max_concurrent_agents: 4 is never reached: max_concurrent.total is 3",
            ],
        ),
        (
            {"daily_limits": {"max_tokens_total": 5}, "products": {"p": {"token_budget_daily": 5}}},
            ["products.p.token_budget_daily: 5 is never reached: daily_limits.max_tokens_total is 5"],
        ),
    ],
)
def test_a_limit_that_another_always_comes_before_is_said(mapping: dict[str, Any], found: list[str]) -> None:
    assert said(never_binding(from_mapping(mapping))) == found


@pytest.mark.parametrize(
    ("condition", "can"),
    [
        ("cost_daily_usd > daily_limits.max_cost_usd", False),
        ("daily_limits.max_cost_usd < cost_daily_usd", False),
        ("not cost_daily_usd <= daily_limits.max_cost_usd", False),
        ("pressure > 1 and cost_daily_usd > daily_limits.max_cost_usd", False),
        ("pressure > 1 or cost_daily_usd > daily_limits.max_cost_usd", True),
        ("cost_daily_usd in [daily_limits.max_cost_usd, daily_limits.max_tokens_total]", False),
        ("cost_daily_usd in [daily_limits.max_cost_usd, 5]", True),
        ("not (pressure > 1 or cost_daily_usd > daily_limits.max_cost_usd)", False),
        ("not (pressure > 1 and cost_daily_usd > daily_limits.max_cost_usd)", True),
        ("cost_daily_usd > 5", True),
    ],
)
def test_a_trip_condition_that_needs_an_absent_limit_is_said(condition: str, can: bool) -> None:
    config = from_mapping({"circuit_breaker": {"trip_conditions": ["tokens_daily > 9", condition]}})
    found = list(never_tripping(config))
    assert [(remark.code, remark.key) for remark in found] == (
        [] if can else [("can_never_trip", "circuit_breaker.trip_conditions[1]")]
    )
    if found:
        assert "there is no daily_limits.max" in found[0].message


def test_the_packaged_condition_is_said_to_be_dead_where_its_limit_is_absent() -> None:
    (found,) = never_tripping(from_mapping({"total_budget": {"tokens": 5}}))
    assert (found.code, found.key) == ("can_never_trip", "circuit_breaker.trip_conditions[0]")
    assert "there is no daily_limits.max_cost_usd" in found.message
    assert not list(never_tripping(from_mapping({"daily_limits": {"max_cost_usd": 5}})))
    assert not list(never_tripping(from_mapping({"circuit_breaker": {"trip_conditions": []}})))


@pytest.mark.parametrize(
    ("mapping", "key", "named"),
    [
        ({"daily_limits": {"max_cost_usd": 5}}, "daily_limits.max_cost_usd", True),
        ({"daily_limits": {"max_cost_usd": None}}, "daily_limits.max_cost_usd", True),
        ({"daily_limits": {}}, "daily_limits.max_cost_usd", False),
        ({}, "daily_limits.max_cost_usd", False),
        ({"products": {"a.b": {"token_budget_daily": 1}}}, "products.a.b.token_budget_daily", True),
        ({"products": {"a.b": None}}, "products.a.b.token_budget_daily", True),
        ({"products": {"a": {"weight": 2}}}, "products.a.b.token_budget_daily", False),
    ],
)
def test_a_mapping_names_a_key_or_does_not(mapping: dict[str, Any], key: str, named: bool) -> None:
    assert names_key(mapping, key) is named


def test_the_limits_that_a_mapping_leaves_out_are_listed_once() -> None:
    in_force = from_mapping({"total_budget": {"tokens": 5}, "daily_limits": {"max_cost_usd": 1}})
    (found,) = kept(in_force, {"total_budget": {"tokens": 6}})
    assert found.code == "limits_kept"
    assert found.message == "not named, so they stay in force: daily_limits.max_cost_usd; null lifts a limit"
    assert kept(in_force, {"total_budget": {"tokens": 6}, "daily_limits": {"max_cost_usd": None}}) == []
