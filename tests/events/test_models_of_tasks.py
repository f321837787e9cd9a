"""The model of a run: what was chosen for a task before holds for those that are alike, and for no others."""

from typing import Any

import pytest

from tallystick.config.names import TASK_NAMES
from tallystick.events import messages as c
from tests.support.core import Core, fleet, submit


def ruled(condition: str) -> Core:
    """A fleet with room, in which one condition chooses another model."""
    rules = [{"condition": condition, "model": "haiku"}, {"condition": "default", "model": "sonnet"}]
    slots = {"total": None, "per_type": {}}
    return Core(fleet(auto_model_selection={"rules": rules}, max_concurrent=slots))


APART: dict[str, tuple[str, dict[str, Any]]] = {
    "task.priority": ("task.priority == low", {"priority": "low"}),
    "task.product": ("task.product == site", {"product": "site"}),
    "task.agent_type": ("task.agent_type == writer", {"agent_type": "writer"}),
    "task.estimated_minutes": ("task.estimated_minutes < 30", {"estimated_minutes": 29}),
    "task.estimated_tokens": ("task.estimated_tokens < 400", {"estimated_tokens": 399}),
    "task.workflow": ("task.workflow == release", {"workflow": "release"}),
}
"""By fact, a condition about it, and a task of which only that is another."""


@pytest.mark.parametrize("name", APART)
def test_a_task_gets_the_model_of_those_that_are_alike_in_all_that_rules_may_ask(name: str) -> None:
    condition, other = APART[name]
    core = ruled(condition)
    assert core.ledger.rules.models_chosen == {}
    models = [
        core.when(submit(f"t-{i}", **{"agent_type": "tester", **rest})).model
        for i, rest in enumerate(({}, other, {}, other))
    ]
    assert models == ["sonnet", "haiku", "sonnet", "haiku"]
    assert len(core.ledger.rules.models_chosen or ()) == 2


def test_every_fact_of_a_task_tells_tasks_apart() -> None:
    assert {*APART, "task.deferrable"} == set(TASK_NAMES), "no task is deferrable yet"


def test_a_rule_about_the_fleet_is_asked_each_time() -> None:
    core = ruled("agents_active >= 1")
    assert [core.when(submit(f"t-{i}")).model for i in range(2)] == ["sonnet", "haiku"]


def test_under_an_operators_priority_it_is_chosen_anew() -> None:
    core = ruled("task.priority == low")
    assert core.when(submit("a")).model == "sonnet"
    core.given(c.OverridePriority(product="shop", priority="low"))
    assert core.when(submit("b")).model == "haiku"
