"""Which model a task runs on: the first rule that holds, and the packaged ones behind a list without default."""

from decimal import Decimal
from pathlib import Path

import pytest

from tallystick.config.loader import from_mapping, load
from tallystick.config.models import choose_model
from tallystick.config.settings import Config
from tests.support.conditions import FACTS

SEED = Path(__file__).parent / "seed"


@pytest.mark.parametrize(
    ("priority", "minutes", "choice"),
    [
        ("critical", 5, ("opus", 0, "task.priority == critical")),
        ("normal", 5, ("haiku", 1, "task.estimated_minutes < 30")),
        ("normal", 90, ("sonnet", 2, "default")),
        ("normal", Decimal(30), ("sonnet", 2, "default")),
        ("normal", None, ("sonnet", 2, "default")),
    ],
)
@pytest.mark.parametrize("config", [Config(), load(SEED / "rules.yml")], ids=["packaged", "seed"])
def test_the_first_rule_that_holds_wins(
    config: Config, priority: str, minutes: int | None, choice: tuple[str, int, str]
) -> None:
    facts = {**FACTS, "task.priority": priority, "task.estimated_minutes": minutes}
    assert choose_model(config, facts) == choice


def test_a_list_without_default_falls_through_to_the_packaged_rules() -> None:
    config = load(SEED / "ceo_adjusts_limits.yml")
    assert choose_model(config, FACTS) == ("opus", 0, "task.product == urgent-project")
    others = {**FACTS, "task.product": None, "task.estimated_minutes": 5}
    assert choose_model(config, others) == ("haiku", 2, "task.estimated_minutes < 30")


def test_a_default_of_ones_own_ends_the_list() -> None:
    rules = [{"condition": "queue_length > 100", "model": "haiku"}, {"condition": "default", "model": "opus"}]
    config = from_mapping({"rules": rules})
    assert choose_model(config, FACTS) == ("opus", 1, "default")
    assert choose_model(config, {**FACTS, "queue_length": 101}).model == "haiku"


def test_a_rule_may_ask_the_fleet_and_the_configuration() -> None:
    rules = [{"condition": "cost_daily_usd >= 80 and daily_limits.max_cost_usd == 100", "model": "haiku"}]
    config = from_mapping({"rules": rules, "daily_limits": {"max_cost_usd": 100}})
    assert choose_model(config, FACTS).model == "haiku"
    assert choose_model(config, {**FACTS, "cost_daily_usd": 79}).model == "sonnet"
