"""The action that applies to an agent: the most severe of all, and which measure decided."""

from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tests.support.core import Core, allocate, budget, fleet, hold, tokens, use


@pytest.fixture
def core() -> Core:
    return Core(fleet(1_000), allocate("ann", 500), allocate("ann/1", 100, parent="ann"), allocate("bob", 100))


def applied(core: Core, agent: str) -> tuple[Any, ...]:
    answer = core.check(agent)
    return (answer.action, answer.throttle_rate, answer.decided_by)


def test_an_explicit_throttle_applies_to_descendants_until_resume(core: Core) -> None:
    answer = core.when(c.Throttle(agent="ann", rate=Decimal("0.25")))
    core.then_events(e.AgentThrottled)
    assert (answer.action, answer.throttle_rate, answer.decided_by) == ("throttle", 0.25, "throttle")
    assert applied(core, "ann/1") == ("throttle", 0.25, "ancestor_throttle")
    assert applied(core, "bob") == ("continue", 1.0, "level")
    core.given(c.Resume(agent="ann"))
    assert applied(core, "ann/1") == ("continue", 1.0, "level")


def test_an_explicit_stop_applies_to_descendants_until_resume(core: Core) -> None:
    core.given(c.Stop(agent="ann", reason="enough"))
    assert applied(core, "ann") == ("stop", 0.0, "stop")
    assert applied(core, "ann/1") == ("stop", 0.0, "ancestor_stop")
    assert core.status("ann").state == "stopped"
    core.given(c.Resume(agent="ann"))
    assert applied(core, "ann") == ("continue", 1.0, "level")
    assert core.status("ann").state == "open"


def test_nothing_but_resume_clears_a_stop(core: Core) -> None:
    core.given(
        c.Stop(agent="bob", reason="enough"), c.ResumeAll(), c.SetTotalBudget(budget=c.BudgetChange(tokens=5_000))
    )
    core.given(c.Throttle(agent="bob", rate=Decimal(1)), use("bob", 1))
    assert applied(core, "bob") == ("stop", 0.0, "stop")


def test_resume_clears_neither_a_level_nor_the_fleets_response(core: Core) -> None:
    core.given(use("bob", 100), c.Resume(agent="bob"))
    assert applied(core, "bob") == ("stop", 0.0, "level")
    core.given(use("stranger", 800), c.Resume(agent="ann"))
    assert applied(core, "ann") == ("throttle", 0.5, "fleet_response")


def test_the_most_severe_decides_and_the_slowest_rate_counts(core: Core) -> None:
    core.given(use("bob", 75), c.Throttle(agent="bob", rate=Decimal("0.1")))
    assert applied(core, "bob") == ("throttle", 0.1, "throttle")
    core.given(use("bob", 15))
    assert applied(core, "bob") == ("degrade", 0.1, "level")


def test_a_pause_stops_all_and_says_so(core: Core) -> None:
    answer = core.when(c.PauseAll(reason="audit"))
    assert answer.paused is True
    assert applied(core, "ann") == ("stop", 0.0, "pause_all")
    assert core.when(use("stranger", 1)).action == "stop"
    assert core.when(c.ResumeAll()).paused is False
    assert applied(core, "ann") == ("continue", 1.0, "level")


def test_a_pause_in_the_configuration_ends_in_the_configuration(core: Core) -> None:
    core.given(fleet(1_000, manual_override={"pause_all_agents": True}), c.ResumeAll())
    assert applied(core, "ann") == ("stop", 0.0, "pause_all")
    core.when(hold("ann", "h", 1))
    core.then_refused("paused")
    core.given(fleet(1_000))
    assert applied(core, "ann") == ("stop", 0.0, "pause_all"), "an omission ends nothing"
    core.given(fleet(1_000, manual_override={"pause_all_agents": False}))
    assert applied(core, "ann") == ("continue", 1.0, "level")


def test_a_paused_product_stops_its_agents_only(core: Core) -> None:
    core.given(allocate("cyd", 10, product="shop"), fleet(1_000, products={"shop": {"paused": True}}))
    assert applied(core, "cyd") == ("stop", 0.0, "product_pause")
    core.when(hold("cyd", "h", 1))
    core.then_refused("paused", decided_by="product_pause")
    assert applied(core, "bob") == ("continue", 1.0, "level")


@pytest.mark.parametrize("rate", ["0", "-0.5", "1.1", "NaN", "Infinity", "1E-30"])
def test_a_rate_is_above_0_and_at_most_1(core: Core, rate: str) -> None:
    core.when(c.Throttle(agent="ann", rate=Decimal(rate)))
    core.then_refused("invalid_amount", field="rate")


def test_orders_to_an_unknown_agent_are_refused(core: Core) -> None:
    for command in (
        c.Throttle(agent="eve", rate=Decimal("0.5")),
        c.Stop(agent="eve", reason="x"),
        c.Resume(agent="eve"),
        c.CheckEnforcement(agent="eve"),
        c.Heartbeat(agent="eve"),
        p.WarnAgent(agent="eve", exhausted_in_seconds=1, method="m"),
    ):
        core.when(command)
        core.then_refused("unknown_agent", agent="eve")


@pytest.mark.parametrize(
    ("seconds", "rate", "wait"),
    [("8", "0.5", 8), ("8", "0.25", 24), ("8", "1", 0), ("40", "0.25", 60), ("0.001", "0.5", 0.001)],
)
def test_the_wait_is_the_last_operations_time_by_the_rate_at_most_60_s(
    core: Core, seconds: str, rate: str, wait: float
) -> None:
    core.given(c.Throttle(agent="bob", rate=Decimal(rate)))
    assert core.when(use("bob", 1, seconds=seconds)).wait_seconds == wait


def test_without_an_operations_time_the_time_since_the_previous_report_counts(core: Core) -> None:
    core.given(use("bob", 70)).wait(12)
    assert core.when(use("bob", 5)).wait_seconds == 12
    core.wait(5)
    assert core.check("bob").wait_seconds == 7
    core.wait(7)
    assert core.check("bob").wait_seconds == 0


def test_the_first_report_without_a_time_waits_for_nothing(core: Core) -> None:
    assert core.when(use("bob", 80)).wait_seconds == 0


def test_degrade_names_the_next_cheaper_model_as_the_agent_named_its_own(core: Core) -> None:
    for model, cheaper in (("opus", "sonnet"), ("claude-opus-5-5", "claude-sonnet-5-5"), ("haiku", None), ("x", None)):
        core = Core(fleet(1_000), allocate("bob", 100))
        answer = core.when(c.ReportUsage(agent="bob", usage=use("bob", 90, "0").usage, model=model))
        assert (answer.action, answer.model) == ("degrade", cheaper)


def test_before_degrade_no_other_model_is_named(core: Core) -> None:
    assert core.when(c.ReportUsage(agent="bob", usage=use("bob", 80, "0").usage, model="opus")).model is None


def test_the_early_warning_is_given_once_with_the_next_reply(core: Core) -> None:
    warning = p.WarnAgent(agent="bob", exhausted_in_seconds=90, method="average")
    core.given(warning)
    core.then_events(e.ExhaustionWarned, e.AlertRaised)
    core.when(warning)
    core.then_refused("already_warned")
    assert core.when(use("bob", 1)).warnings == ["exhaustion_expected_in_90_seconds"]
    assert core.when(use("bob", 1)).warnings is None


def test_more_budget_lets_an_agent_be_warned_again(core: Core) -> None:
    warning = p.WarnAgent(agent="bob", exhausted_in_seconds=90, method="average")
    core.given(warning, c.BorrowFromPool(agent="bob", amount=budget(10)), warning)
    core.then_events(e.ExhaustionWarned, e.AlertRaised)


def test_a_check_says_what_a_report_would_say(core: Core) -> None:
    answer = core.when(use("bob", 60))
    again = core.check("bob")
    assert (again.percentage, again.status, again.action, again.remaining) == (0.6, "yellow", "warn", tokens(40))
    assert (answer.percentage, answer.status, answer.action, answer.remaining) == (0.6, "yellow", "warn", tokens(40))
