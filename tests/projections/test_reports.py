"""What a report tells: the agents of a workflow, what happened to them, why some used more, and what to do better."""

import datetime as dt
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tallystick.config.amounts import Amounts
from tallystick.events import messages as c
from tallystick.events.catalog.forecasts import Outcome
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import EdgeAmounts
from tallystick.projections.reports.quality_metrics import metrics_of
from tallystick.projections.reports.usage_report import AgentStory, UsageReport, report_of
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.timeline import MARKS_MAX
from tallystick.reports.markdown import markdown
from tests.support.core import START, Core, allocate, budget, complete, fleet, hold, start, submit, use
from tests.support.view_logs import stored


def view_store_of(core: Core) -> MemoryViewStore:
    view_store = MemoryViewStore()
    catch_up(stored(core.log), view_store)
    return view_store


def report(core: Core, workflow: str | None = None) -> UsageReport:
    return report_of(view_store_of(core), workflow)


def story(core: Core, agent: str = "ann") -> AgentStory:
    (found,) = [one for one in report(core).agents if one.agent == agent]
    return found


def codes(core: Core) -> list[str]:
    return [advice.code for advice in report(core).recommendations]


@pytest.fixture
def core() -> Core:
    return Core(fleet(100_000), allocate("ann", 1_000, agent_type="qa", product="shop", workflow="w"))


# --- who is in it -----------------------------------------------------------------------------------------------------


def test_a_workflow_is_its_label_and_all_below_an_account_that_has_it_or_its_name(core: Core) -> None:
    core.given(allocate("ann/1", 100, parent="ann"), allocate("w", 500), allocate("w/1", 50, parent="w"))
    core.given(allocate("bob", 100, workflow="other"), c.ReleaseBudget(agent="ann/1"))
    found = report(core, "w")
    assert sorted(agent.agent for agent in found.agents) == ["ann", "ann/1", "w", "w/1"]
    assert (found.summary.agents, found.summary.open, found.summary.released) == (4, 3, 1)
    assert report(core).summary.agents == 5
    assert report(core, "nobody's").agents == []


def test_a_unit_that_passed_through_a_parent_is_counted_once(core: Core) -> None:
    core.given(allocate("ann/1", 400, parent="ann"), use("ann/1", 300), use("ann", 100), c.ReleaseBudget(agent="ann/1"))
    summary = report(core, "w").summary
    assert summary.consumed == EdgeAmounts(tokens=400)
    assert summary.allocated == EdgeAmounts(tokens=1_100)  # 700 left to ann, and 400 that ann/1 had
    assert summary.utilization == {"tokens": round(400 / 1_100, 6)}


def test_usage_after_the_release_is_in_the_report(core: Core) -> None:
    core.given(use("ann", 100), c.ReleaseBudget(agent="ann"), use("ann", 50))
    assert story(core).consumed == EdgeAmounts(tokens=150)


# --- what happened ----------------------------------------------------------------------------------------------------


def test_the_level_history_says_when_and_how_long(core: Core) -> None:
    core.wait(60).given(use("ann", 600))
    core.wait(30).given(use("ann", 400)).wait(10).given(c.BorrowFromPool(agent="ann", amount=budget(1_000)))
    core.wait(5).given(c.Throttle(agent="ann", rate=Decimal("0.5")))
    told = story(core)
    assert [mark.get("level") or mark["order"] for mark in told.level_history] == [
        "yellow", "black", "yellow", "throttle",
    ]  # fmt: skip
    assert told.seconds_at_level == {"green": 60, "yellow": 35, "black": 10}
    assert (told.highest_level, told.stops, told.drawn) == ("black", 1, EdgeAmounts(tokens=1_000))


def test_an_overrun_is_reported_with_its_cause(core: Core) -> None:
    core.given(use("ann", 1_300))
    assert story(core).overruns_by_cause == {"under_estimate": EdgeAmounts(tokens=300)}
    assert report(core).overruns_by_cause == {"under_estimate": EdgeAmounts(tokens=300)}
    assert "overruns" in codes(core)


@pytest.mark.parametrize(("ahead", "warned"), [(59.9, 0), (60, 1), (3_600, 1)])
def test_a_stop_was_foreseen_where_the_warning_came_a_minute_before(core: Core, ahead: float, warned: int) -> None:
    core.given(p.WarnAgent(agent="ann", exhausted_in_seconds=90, method="average_rate")).wait(ahead)
    core.given(use("ann", 1_000))
    assert (story(core).stops, story(core).stops_warned) == (1, warned)


def test_a_warning_counts_for_the_next_stop_only(core: Core) -> None:
    core.given(p.WarnAgent(agent="ann", exhausted_in_seconds=90, method="average_rate")).wait(100)
    core.given(use("ann", 1_000), c.BorrowFromPool(agent="ann", amount=budget(1_000))).wait(100)
    core.given(use("ann", 1_000))
    assert (story(core).stops, story(core).stops_warned) == (2, 1)


def test_moves_and_refusals_are_counted(core: Core) -> None:
    core.given(allocate("bob", 50_000))
    idle = p.Move(source="bob", target="pool", amount=Amounts(20_000), reason="idle", strategy="idle")
    more = p.Move(source="pool", target="ann", amount=Amounts(500), reason="demand", strategy="demand")
    core.wait(61).given(p.ApplyMoves(moves=[idle, more]))
    core.when(hold("ann", "h", 5_000))
    core.when(c.AllocateBudget(agent="late", budget=budget(10**6)))
    assert story(core, "bob").reclaimed == EdgeAmounts(tokens=20_000)
    assert story(core).topped_up == EdgeAmounts(tokens=500)
    assert story(core).refusals == {"budget_exhausted": 1}
    assert {"holds_refused"} <= set(codes(core))


def test_of_a_long_story_the_newest_marks_are_shown(core: Core) -> None:
    for _ in range(MARKS_MAX):
        core.given(c.Stop(agent="ann", reason="again"), c.Resume(agent="ann"))
    told = story(core)
    assert len(told.level_history) == MARKS_MAX
    assert told.level_history_left_out == MARKS_MAX


def test_an_anomaly_is_reported_with_its_place_in_the_log(core: Core) -> None:
    strange = p.RecordAnomaly(
        agent="ann", anomaly="loop", dimension="tokens", step=9, amount=7, message="5 steps used 7 tokens each"
    )
    core.given(strange)
    (anomaly,) = report(core).anomalies
    assert (anomaly["agent"], anomaly["anomaly"], anomaly["text"]) == ("ann", "loop", "5 steps used 7 tokens each")
    assert core.log[anomaly["position"] - 1].position == anomaly["position"]
    assert "loops" in codes(core)


# --- what to do -------------------------------------------------------------------------------------------------------


def finished(core: Core, used: list[int], given: int = 1_000) -> Core:
    for number, tokens in enumerate(used):
        name = f"be-{number}"
        core.given(allocate(name, given, agent_type="backend"), use(name, tokens), c.ReleaseBudget(agent=name))
    return core


def test_where_nine_in_ten_use_little_less_is_recommended_with_its_numbers(core: Core) -> None:
    (advice,) = report(finished(core, [100, 150, 200, 250, 300])).recommendations
    assert advice.code == "allocation_too_large"
    assert advice.numbers == {
        "agent_type": "backend", "dimension": "tokens", "agents": 5, "ran_out": 0,
        "allocated_median": 1_000, "used_p90": 300,
    }  # fmt: skip
    assert "used 300 tokens or less of the 1,000 tokens" in advice.text


def test_where_many_run_out_more_is_recommended(core: Core) -> None:
    advice = report(finished(core, [500, 600, 1_000, 1_000, 900])).recommendations[0]
    assert (advice.code, advice.numbers["ran_out"], advice.numbers["used_p90"]) == ("allocation_too_small", 2, 1_000)


def test_four_agents_are_too_few_to_say_anything_of_their_type(core: Core) -> None:
    assert codes(finished(core, [1, 1, 1, 1])) == []


# --- quality and words ------------------------------------------------------------------------------------------------


def test_fairness_counts_released_agents_with_what_they_had_at_last(core: Core) -> None:
    core.given(allocate("bob", 3_000), c.ReleaseBudget(agent="bob"))
    assert report(core).quality.fairness.tokens == 0.75  # shares of 0.5 and 1.5: variance 0.25 of a mean of 1
    assert report(core, "w").quality.fairness.tokens == 1.0


def test_metrics_lay_forecasts_beside_what_happened(core: Core) -> None:
    def outcome(predicted: float, baseline: float) -> Outcome:
        return Outcome(stage=5, step=4, predicted=predicted, low=9.0, high=12.0, baseline=baseline)

    score = p.RecordScore(
        agent="ann", dimension="tokens", actual=10.0, forecasts=[outcome(11.0, 20.0), outcome(11.1, 9.5)]
    )
    core.given(score, p.RecordScore(agent="ann", dimension="tokens", actual=20.0, forecasts=[outcome(20.0, 20.0)]))
    found = metrics_of(view_store_of(core))
    (stage,) = found.forecasts["tokens"].stages
    assert (stage.stage, stage.scored) == (5, 3)
    assert stage.accuracy == pytest.approx(2 / 3, abs=1e-6)  # 11 for 10 is a hit, 11.1 is not
    assert stage.baseline == pytest.approx(2 / 3, abs=1e-6)
    assert stage.covered == pytest.approx(2 / 3, abs=1e-6)
    assert stage.width == pytest.approx((0.3 + 0.3 + 0.15) / 3, abs=1e-6)
    assert found.coverage is None


def test_markdown_reads_well_and_names_of_others_cannot_break_it(core: Core) -> None:
    core.given(allocate("a|b*<x>", 10, workflow="w"), use("a|b*<x>", 12), use("ann", 100))
    text = markdown(report(core, "w"))
    assert text.startswith("# Workflow w\n")
    assert "1 agent ran out of budget; 0 of 1 stop foreseen" in text
    assert "| a\\|b\\*\\<x\\> |" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_a_report_on_no_agent_says_so() -> None:
    text = markdown(report(Core(fleet(10)), "w"))
    assert "No agent ever had a budget here." in text
    assert "Nothing stands out." in text


# --- hours ------------------------------------------------------------------------------------------------------------


def hours(core: Core) -> list[dict[str, Any]]:

    return [msgspec.json.decode(row) for row in view_store_of(core).live().rows["hours"]]


def test_usage_is_counted_by_the_hour_and_old_hours_are_laid_aside(core: Core) -> None:
    core.given(use("ann", 10), use("bob", 5))
    core.wait(3_600).given(use("ann", 7, "0.5"))
    assert [(row["hour"], row["used"], row["reports"]) for row in hours(core)] == [
        ("2026-03-04T12", {"tokens": 15}, 2),
        ("2026-03-04T13", {"tokens": 7, "cost_nanos": 500_000_000}, 1),
    ]
    core.wait(dt.timedelta(days=16).total_seconds()).given(use("ann", 1))
    assert [row["hour"] for row in hours(core)] == ["2026-03-20T13"]
    assert len(view_store_of(core).whole(["hours"]).rows["hours"]) == 3


def test_what_is_reported_later_counts_in_its_hour_also_where_nothing_was_used_in_that_before(core: Core) -> None:
    core.given(use("ann", 10)).wait(2 * 86_400)
    earlier = [START + dt.timedelta(hours=5), START + dt.timedelta(hours=5.5), START]
    core.given(use("ann", 3), *(c.ReportUsage(agent="ann", usage=budget(7), occurred_at=at) for at in earlier))
    expected = [("2026-03-04T12", 17, 2), ("2026-03-04T17", 14, 2), ("2026-03-06T12", 3, 1)]
    assert sorted((row["hour"], row["used"]["tokens"], row["reports"]) for row in hours(core)) == expected
    # A fold that is restored goes on in the hour at hand.
    store, pieces = stored(core.log), MemoryViewStore()
    for position in range(1, len(core.log) + 1):
        Projector(store, pieces).catch_up(upto=position)
    assert pieces._rows == view_store_of(core)._rows


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def tasks() -> Core:
    """One slot, for which the tasks of two products wait."""
    slots = {"total": 1, "per_type": {"backend-engineer": None, "frontend-engineer": None}}
    core = Core(fleet(10_000_000, max_concurrent=slots, leases={"seconds": 86_400}))
    core.given(submit("a", product="shop", workflow="w", estimated_tokens=60_000), submit("b", product="lab"))
    core.wait(600).given(complete("a", used=60_000), start("b")).given(submit("c", product="shop", workflow="w"))
    return core.wait(120).given(complete("b", used=20_000), start("c")).wait(60).given(submit("d", product="lab"))


def test_waits_are_reported_by_product_the_longest_first(tasks: Core) -> None:
    found = report(tasks.wait(30).given(use("someone", 1))).tasks
    assert found is not None
    assert [msgspec.to_builtins(one) for one in found.waits_by_product] == [
        {"product": "lab", "tasks": 2, "runs": 2, "waited": 2, "average_minutes": 5.2, "longest_minutes": 10},
        {"product": "shop", "tasks": 2, "runs": 2, "waited": 1, "average_minutes": 2, "longest_minutes": 2},
    ]
    assert found.by_state == {"completed": 2, "queued": 1, "running": 1}
    text = markdown(report(tasks))
    assert "| lab | 2 | 2 of 2 | 5.2 | 10 |" in text
    assert "4 tasks: 2 completed, 1 queued, 1 running." in text


def test_work_per_unit_is_of_the_completed_tasks_of_the_workflow(tasks: Core) -> None:
    found = report(tasks, "w").tasks
    assert found is not None
    assert (found.tasks, found.tokens_per_task, found.tasks_per_1k_tokens) == (2, 60_000, round(1 / 60, 6))
    assert (found.cost_per_task, found.estimates_good) == ("0.00", 1)
    whole = report(tasks).tasks
    assert whole is not None
    assert (whole.tokens_per_task, whole.estimates_good) == (40_000, 1), "the other one was not estimated"
    assert story(tasks, "a").tasks == 1
    assert report(Core(fleet(10), allocate("ann", 10))).tasks is None


def test_the_tasks_of_an_account_are_its_workflows_too() -> None:
    core = Core(fleet(10_000_000), allocate("ann", 1_000_000, workflow="w"))
    core.given(submit("a", parent="ann"), complete("a", used=100))
    found = report(core, "w")
    assert found.tasks is not None
    assert (found.tasks.tasks, [one.tasks for one in found.agents if one.agent == "ann"]) == (1, [1])


def test_a_run_is_measured_by_its_token_budget_and_not_by_its_hard_end(tasks: Core) -> None:
    # Of 80,000 each: 60,000 and 20,000 are used, and c has just begun.
    used = round(80_000 / 240_000, 6)
    assert report(tasks).quality.utilization.tokens == used
    assert metrics_of(view_store_of(tasks)).utilization.tokens == used
