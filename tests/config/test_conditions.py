"""What a condition says: the seed's, and every part of the language."""

from decimal import Decimal
from fractions import Fraction

import pytest

from tallystick.config.conditions import Condition
from tallystick.config.grammar import read, written
from tallystick.config.loader import changed, from_mapping
from tallystick.config.names import FLEET_NAMES, TASK_NAMES, numbers_in
from tallystick.config.settings import Config
from tests.support.conditions import FACTS, NUMBERS, holds, parsed

# --- the seed's own --------------------------------------------------------------------------------------------------


def test_the_seeds_emergency_is_a_task_of_critical_priority() -> None:
    assert holds("task.priority == critical", task__priority="critical")
    assert not holds("task.priority == critical", task__priority="high")


def test_the_seeds_quick_task_takes_less_than_thirty_minutes() -> None:
    assert holds("task.estimated_minutes < 30", task__estimated_minutes=Decimal("29.999"))
    assert not holds("task.estimated_minutes < 30", task__estimated_minutes=30)


def test_the_seeds_urgent_project_is_a_text_although_nothing_quotes_it() -> None:
    assert holds("task.product == urgent-project", task__product="urgent-project")
    assert not holds("task.product == urgent-project", task__product="urgent")


def test_the_seeds_breaker_trips_above_the_daily_limit_and_not_at_it() -> None:
    condition = "cost_daily_usd > daily_limits.max_cost_usd"
    assert not holds(condition, cost_daily_usd=Decimal("100.000000000"))
    assert holds(condition, cost_daily_usd=Decimal("100.000000001"))


def test_default_always_holds() -> None:
    assert parsed("default").always
    assert parsed(" default ").holds({})
    assert not parsed("task.product == default").always


# --- comparisons -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("queue_length == 2", True),
        ("queue_length == 3", False),
        ("queue_length != 3", True),
        ("queue_length != 2", False),
        ("queue_length < 3", True),
        ("queue_length < 2", False),
        ("queue_length <= 2", True),
        ("queue_length <= 1", False),
        ("queue_length > 1", True),
        ("queue_length > 2", False),
        ("queue_length >= 2", True),
        ("queue_length >= 3", False),
        ("2 == queue_length", True),
        ("3 > queue_length", True),
        ("queue_length < agents_active", True),
        ("queue_length > -1", True),
        ("tokens_daily == 1_600_000", True),
        ("task.priority != low", True),
        ("task.product != urgent-project", False),
        ("critical == task.priority", False),
        ("task.product == task.agent_type", False),
        ("task.deferrable == false", True),
        ("task.deferrable != true", True),
    ],
)
def test_six_operators_compare(text: str, expected: bool) -> None:
    assert holds(text) is expected


def test_a_ratio_is_compared_exactly() -> None:
    assert holds("pressure == 0.1", pressure=Fraction(1, 10))
    assert not holds("pressure >= 0.3333333333333333333333333333", pressure=Fraction(3333333333333333, 10**16))
    assert holds("pressure > 0.3333333333333333333333333333", pressure=Fraction(1, 3))
    assert holds("cost_daily_usd == 0.30", cost_daily_usd=Decimal("0.1") + Decimal("0.2"))


def test_in_asks_for_one_of_a_list_and_not_in_for_none() -> None:
    assert holds("task.priority in [high, normal]")
    assert not holds("task.priority in [critical]")
    assert holds("task.priority not in [critical]")
    assert not holds("task.priority not in [high, normal]")
    assert holds("queue_length in [1, 2, 3]")
    assert holds("queue_length in [agents_active, daily_limits.alert_at_percent, 2]")
    assert holds("task.product in ['a b', \"urgent-project\"]")


def test_a_truth_stands_for_itself() -> None:
    assert holds("task.deferrable", task__deferrable=True)
    assert not holds("task.deferrable")
    assert holds("not task.deferrable")


# --- and, or, not ----------------------------------------------------------------------------------------------------

YES, NO = "queue_length == 2", "queue_length == 3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{YES} or {YES} and {NO}", True),
        (f"({YES} or {YES}) and {NO}", False),
        (f"not {NO} and {NO}", False),
        (f"not ({NO} and {NO})", True),
        (f"not {NO} or {NO}", True),
        (f"not not {YES}", True),
        (f"{NO} or {NO} or {YES}", True),
        (f"{YES} and {YES} and {NO}", False),
        ("not queue_length == 3", True),
        ("not task.priority in [critical]", True),
    ],
)
def test_not_binds_closer_than_and_and_closer_than_or(text: str, expected: bool) -> None:
    assert holds(text) is expected


# --- what is not known -----------------------------------------------------------------------------------------------

UNKNOWN = "task.estimated_minutes < 30"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (UNKNOWN, False),
        (f"not {UNKNOWN}", False),
        ("task.estimated_minutes >= 30", False),
        ("task.estimated_minutes == 30", False),
        ("task.estimated_minutes != 30", False),
        ("task.estimated_minutes in [30]", False),
        ("task.estimated_minutes not in [30]", False),
        (f"{UNKNOWN} or {YES}", True),
        (f"{UNKNOWN} or {NO}", False),
        (f"{UNKNOWN} and {YES}", False),
        (f"not ({UNKNOWN} and {NO})", True),
        (f"not ({UNKNOWN} and {YES})", False),
        (f"not ({UNKNOWN} or {YES})", False),
        (f"not ({UNKNOWN} or {NO})", False),
        (f"{UNKNOWN} or not {UNKNOWN}", False),
    ],
)
def test_without_an_estimate_neither_a_comparison_nor_its_opposite_holds(text: str, expected: bool) -> None:
    assert holds(text, task__estimated_minutes=None) is expected


def test_a_list_with_what_is_not_known_holds_what_is_known() -> None:
    assert holds("queue_length in [task.estimated_minutes, 2]", task__estimated_minutes=None)
    assert not holds("queue_length in [task.estimated_minutes, 3]", task__estimated_minutes=None)
    assert not holds("queue_length not in [task.estimated_minutes, 3]", task__estimated_minutes=None)


def test_a_task_without_a_product_is_known_to_be_of_no_product() -> None:
    assert not holds("task.product == urgent-project", task__product=None)
    assert holds("task.product != urgent-project", task__product=None)
    assert holds("not task.product == urgent-project", task__product=None)
    assert holds("task.product not in [a, b]", task__product=None)
    assert not holds("task.product == task.workflow", task__product=None)


def test_a_limit_that_was_removed_is_never_passed() -> None:
    config = from_mapping({"daily_limits": {"max_cost_usd": None}})
    (condition,) = config.trip_conditions
    assert not condition.holds({"cost_daily_usd": Decimal(10**9)})
    assert condition.explain({"cost_daily_usd": 5}) == "cost_daily_usd 5 > daily_limits.max_cost_usd (none)"


# --- names and texts -------------------------------------------------------------------------------------------------


def test_any_number_of_the_configuration_has_its_path_as_a_name() -> None:
    config = changed(Config(), {"products": {"urgent-project": {"weight": 2}, "acme.io": {"max_concurrent_agents": 8}}})
    numbers = dict(numbers_in(config))
    assert numbers["daily_limits.max_cost_usd"] == 100
    assert numbers["token_budgets.architect"] == 150_000
    assert numbers["max_concurrent.per_type.backend-engineer"] == 2
    assert numbers["enforcement.fleet.throttle_at"] == Decimal("0.90")
    assert numbers["priority_levels.high.max_wait_time_minutes"] == 15
    assert numbers["token_budget_multiplier"] == Decimal("1.5")
    assert numbers["products.urgent-project.weight"] == 2
    assert numbers["products.acme.io.max_concurrent_agents"] == 8
    assert numbers["total_budget.time_seconds"] is None
    assert numbers["products.urgent-project.max_concurrent_agents"] is None


def test_what_is_no_number_of_the_configuration_has_no_name() -> None:
    others = {"timezone", "reallocation.enabled", "total_budget.period", "metrics_file", "products", "models.opus.id"}
    assert not others & NUMBERS.keys()
    assert all(value is None or type(value) in (int, Decimal) for value in NUMBERS.values())


def test_a_condition_asks_the_configuration_that_it_was_loaded_with() -> None:
    rules = [{"condition": "task.estimated_tokens > products.x.token_budget_daily", "model": "opus"}]
    for budget in (100, 200):
        config = from_mapping({"rules": rules, "products": {"x": {"token_budget_daily": budget}}})
        assert config.rule_conditions[0].holds({"task.estimated_tokens": 150}) == (budget == 100)


def test_a_limit_that_was_raised_for_today_stands_among_the_facts() -> None:
    (condition,) = Config().trip_conditions
    assert condition.holds({"cost_daily_usd": 120})
    assert not condition.holds({"cost_daily_usd": 120, "daily_limits.max_cost_usd": 150})


@pytest.mark.parametrize("text", ["'a b'", '"a b"', r"'a\'b'", r'"a\"b"', r"'a\\b'", "'in'", "'é\u0301\n'", "''"])
def test_a_text_in_quotes_is_any_text(text: str) -> None:
    meant = text[1:-1].replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    assert holds(f"task.product == {text}", task__product=meant)


@pytest.mark.parametrize("word", ["urgent-project", "_a", "a1", "a-", "größe", "Ünïcode-2", "名前", "default", "true"])
def test_a_word_that_names_nothing_is_a_text(word: str) -> None:
    assert holds(f"task.product == {word}", task__product=word)


def test_a_name_in_quotes_is_a_text() -> None:
    assert holds("task.product == 'pressure'", task__product="pressure")


def test_space_means_nothing_where_nothing_needs_it() -> None:
    packed = "task.estimated_minutes<30and(task.priority in[critical,high]or pressure>=.9)"
    assert written(read(packed.replace(">=.9", ">=0.9").replace("30and", "30 and"))) == (
        "task.estimated_minutes < 30 and (task.priority in [critical, high] or pressure >= 0.9)"
    )
    assert read("queue_length\n >\t2") == read("queue_length>2")


# --- what it tells of itself -----------------------------------------------------------------------------------------


def test_a_condition_tells_what_it_compared() -> None:
    condition = parsed("cost_daily_usd > daily_limits.max_cost_usd and task.priority in [low] or pressure >= 0.9")
    assert list(condition.names) == ["cost_daily_usd", "daily_limits.max_cost_usd", "task.priority", "pressure"]
    assert condition.values(FACTS) == {
        "cost_daily_usd": Decimal("101.20"),
        "daily_limits.max_cost_usd": 100,
        "task.priority": "normal",
        "pressure": Fraction(13, 14),
    }
    assert condition.explain(FACTS) == (
        "cost_daily_usd 101.20 > daily_limits.max_cost_usd 100 and task.priority normal in [low] or pressure about 0.928571 >= 0.9"
    )


@pytest.mark.parametrize(
    ("text", "value", "told"),
    [
        ("task.product == x", None, "task.product (none) == x"),
        ("task.product == x", "a b", "task.product 'a b' == x"),
        ("task.estimated_minutes < 30", None, "task.estimated_minutes (not known) < 30"),
        ("task.estimated_minutes < 30", Decimal("1E+3"), "task.estimated_minutes 1000 < 30"),
        ("not task.deferrable", True, "not task.deferrable true"),
        ("task.product == x", "urgent-project", "task.product urgent-project == x"),
        ("pressure < 0.5", Fraction(1), "pressure 1 < 0.5"),
        ("pressure > 0.9", Fraction(9_000_000_001, 10**10), "pressure about 0.9 > 0.9"),
        ("default", None, "default"),
    ],
)
def test_an_explanation_shows_each_value_beside_its_name(text: str, value: object, told: str) -> None:
    condition = parsed(text)
    assert condition.explain(dict.fromkeys(condition.names, value)) == told  # type: ignore[arg-type]  # any value


def test_only_what_a_condition_names_is_looked_up() -> None:
    assert parsed("queue_length > 1").holds({"queue_length": 2})
    with pytest.raises(KeyError):
        parsed("queue_length > 1").holds({})


def test_every_name_of_the_spec_is_known_and_no_other() -> None:
    assert set(TASK_NAMES) == {
        "task.priority", "task.product", "task.agent_type", "task.estimated_minutes", "task.estimated_tokens",
        "task.workflow", "task.deferrable",
    }  # fmt: skip
    assert set(FLEET_NAMES) == {
        "cost_daily_usd", "tokens_daily", "cost_hourly_usd", "tokens_hourly", "pressure", "agents_active", "queue_length",
    }  # fmt: skip
    assert TASK_NAMES.keys() | FLEET_NAMES.keys() == FACTS.keys()


def test_a_condition_is_parsed_once_per_configuration() -> None:
    config = Config()
    assert config.rule_conditions is config.rule_conditions
    assert isinstance(config.trip_conditions[0], Condition)
    assert config.trip_conditions[0] == Config().trip_conditions[0]
