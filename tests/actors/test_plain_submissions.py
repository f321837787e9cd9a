"""A task that needs only a slot is seen at one look: all goes as where every check is asked, to the byte."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors.policies.scheduling import index
from tallystick.events import messages as c
from tallystick.events.decide import admission
from tallystick.events.state.ledger import Ledger
from tests.support.core import START, Core, allocate, fleet, submit, use
from tests.support.driving import Outcome, Timed, simulated
from tests.support.examples import examples
from tests.support.task_sessions import session

PROFILE = settings(
    max_examples=examples(80),
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def played(messages: list[Timed], *, quick: bool) -> tuple[Outcome, int]:
    """A session through a fleet that sees plain cases at one look, or that never does; how many it saw so."""
    seen = 0

    def look(ledger: Ledger, task: str, agent_type: str, parent: str | None) -> bool:
        nonlocal seen
        found = quick and admission_look(ledger, task, agent_type, parent)
        seen += found
        return found

    admission_look = admission.needs_only_a_slot
    with pytest.MonkeyPatch.context() as patched:
        for module in (admission, index):
            patched.setattr(module, "needs_only_a_slot", look)
        return simulated(messages, until=START + dt.timedelta(hours=2)), seen


@PROFILE
@given(st.integers(0, 2**64))
def test_any_queue_goes_as_where_every_check_is_asked(seed: int) -> None:
    messages = session(seed)
    one, _ = played(messages, quick=True)
    other, _ = played(messages, quick=False)
    assert one.replies == other.replies
    assert [record.data for record in one.records] == [record.data for record in other.records]
    assert one.state == other.state


PLAIN: dict[str, Any] = {
    "daily_limits": {"max_tokens_total": None, "max_cost_usd": None},
    "token_budgets": {"backend-engineer": 100},
    "circuit_breaker": {"trip_conditions": ["tokens_daily > 900"]},
}


def test_in_a_fleet_without_limits_tasks_need_only_a_slot() -> None:
    core = Core(fleet(10_000, **PLAIN))
    assert admission.needs_only_a_slot(core.ledger, "t", "backend-engineer", None)
    assert core.when(submit("t")).decision == "admitted"


@pytest.mark.parametrize(
    ("config", "commands", "rest", "code"),
    [
        ({}, [c.PauseAll(reason="a fire")], {}, "paused"),
        ({"manual_override": {"pause_all_agents": True}}, [], {}, "paused"),
        ({}, [allocate("ann", 5_000), use("ann", 901)], {}, "breaker_open"),
        ({"products": {"shop": {"paused": True}}}, [], {}, "product_paused"),
        ({}, [allocate("t", 10), c.Stop(agent="t", reason="a test"), c.ReleaseBudget(agent="t")], {}, "agent_stopped"),
        ({"daily_limits": {"max_tokens_total": 120}}, [submit("other", product="site")], {}, "daily_tokens"),
        ({"products": {"shop": {"token_budget_daily": 120}}}, [submit("other")], {}, "product_daily_tokens"),
        ({"limits": [{"name": "l", "window": "day", "max": {"tokens": 120}}]}, [submit("o")], {}, "limit_reached"),
        ({}, [allocate("ann", 9_900)], {}, "pool_exhausted"),
        ({}, [allocate("lead", 10)], {"parent": "lead"}, "cannot_fit"),
    ],
)
def test_a_task_in_whose_way_something_else_is_needs_more_than_a_slot(
    config: dict[str, Any], commands: list[c.Command], rest: dict[str, Any], code: str
) -> None:
    core = Core(fleet(10_000, **{**PLAIN, **config}))
    core.given(*commands)
    answer = core.when(submit("t", **rest))
    assert (answer.decision, answer.reason.code) == ("queued", code)


def test_a_task_of_a_fleet_whose_parent_has_not_answered_needs_more_than_a_slot() -> None:
    delegate = {"parent": "https://parent.example", "account": "team", "budget": {"tokens": 9}}
    core = Core(c.LoadConfig(config={**PLAIN, "token_budgets": {"default": None}, "delegate": delegate}))
    assert core.when(submit("t", agent_type="other")).reason.code == "paused"
