"""A figure that several commands show is the same in all of them, whatever happened: late usage, releases, days."""

from functools import cached_property
from random import Random
from typing import Any

import msgspec
import pytest

from tallystick.cli.status import used_percent
from tallystick.config.amounts import COST, TOKENS, dollars
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.state.money import money
from tallystick.projections.reports.agent_usage import used_by
from tallystick.projections.reports.cost import Costs
from tallystick.projections.reports.quality_metrics import metrics_of
from tallystick.projections.reports.resource_metrics import resource_metrics
from tallystick.projections.reports.status import Status
from tallystick.projections.reports.task_day import TaskDay
from tallystick.projections.reports.usage_report import report_of
from tallystick.projections.views.cost import By
from tallystick.projections.views.task_rows import tasks_in
from tallystick.projections.views.tasks import TasksView
from tallystick.reports.dashboard import dashboard_of
from tallystick.reports.day_end import projected_eod
from tallystick.reports.forecasts import forecasts_of
from tests.support.core import Core, allocate, complete, fleet, submit, use
from tests.support.corrections import counted
from tests.support.examples import examples
from tests.support.figures import ZONES, any_run
from tests.support.task_views import view_store_of

WAYS: tuple[By, ...] = ("product", "model", "type", "agent")


class Shown:
    """All that is shown of one fleet at one moment."""

    def __init__(self, core: Core) -> None:
        self.core, self.now = core, core.now
        self.views = view_store_of(core)
        self.costs, self.month = Costs(self.views), Costs(self.views, whole=True)
        self.eod = projected_eod(self.views, self.costs, self.now)
        self.day = self.costs.day(self.eod)
        self.status = Status(self.views)
        self.dashboard = dashboard_of(self.views, self.now)
        self.report = report_of(self.views)
        self.forecast = forecasts_of(self.views, None, self.now)

    @cached_property
    def global_status(self) -> Any:
        return self.core.when(c.GetGlobalStatus(limit=1_000))


@pytest.fixture(scope="module", params=range(examples(6)))
def shown(request: pytest.FixtureRequest) -> Shown:
    """A random run; each of the zones comes up."""
    seed = request.param
    return Shown(any_run(Random(seed), 100, ZONES[seed % len(ZONES)]))


def test_the_day_used_the_same_in_cost_dashboard_forecast_and_core(shown: Shown) -> None:
    used, day = shown.core.ledger.used_today, shown.forecast.day
    assert shown.day.tokens_used == used[TOKENS] == shown.dashboard.tokens.used
    assert dollars(used[COST]) == shown.dashboard.cost.used
    assert (day["tokens"].used if "tokens" in day else 0) == used[TOKENS]
    assert (day["cost_usd"].used if "cost_usd" in day else "0.00") == dollars(used[COST])


def test_the_end_of_the_day_is_the_same_in_cost_dashboard_and_forecast(shown: Shown) -> None:
    found = shown.forecast.day.get("cost_usd")
    expected = None if found is None or found.expected is None else round(float(found.expected), 2)
    assert (shown.eod or None) == (shown.dashboard.projected_eod or None) == (expected or None)


def test_the_parts_of_a_day_and_of_a_month_add_up_to_it_and_the_days_to_what_the_fleet_consumed(shown: Shown) -> None:
    month = shown.month.month()
    for by in WAYS:
        assert sum(part.tokens_used for part in shown.costs.by(by)) == shown.day.tokens_used
        assert sum(part.tokens_used for part in shown.month.by(by, month.month)) == month.tokens_used
    consumed = shown.global_status.total_consumed
    assert sum(day.used.tokens or 0 for day in shown.month.days) == (consumed.tokens or 0)
    assert dollars(sum(day.used.cost_nanos or 0 for day in shown.month.days)) == (consumed.cost_usd or "0.00")


def test_a_product_used_the_same_in_cost_dashboard_and_the_cores_daily_limits(shown: Shown) -> None:
    parts = {part.name: part.tokens_used for part in shown.costs.by("product") if part.tokens_used}
    assert {use.product: use.tokens for use in shown.dashboard.products} == parts
    counted = {name: tokens for name, tokens in shown.core.ledger.day.by_product.items() if tokens}
    assert {name: tokens for name, tokens in parts.items() if name is not None} == counted


def test_a_model_costs_the_same_in_cost_and_dashboard(shown: Shown) -> None:
    parts = {part.name: part.cost_usd for part in shown.costs.by("model") if part.name is not None}
    assert {use.model: use.cost_usd for use in shown.dashboard.models if use.model in parts} == parts


def test_utilization_is_the_same_in_status_metrics_and_report(shown: Shown) -> None:
    utilization = msgspec.structs.asdict(shown.status.quality.utilization)
    found = metrics_of(shown.views).utilization
    assert {name: getattr(found, name) for name in utilization} == utilization
    assert msgspec.structs.asdict(shown.report.quality.utilization) == utilization
    summary = shown.report.summary.utilization
    assert summary == {name: utilization[name] for name in summary}


def test_an_account_stands_the_same_in_get_status_status_and_report(shown: Shown) -> None:
    queries = shown.status.queries(shown.now)
    stories = {story.agent: story for story in shown.report.agents}
    for answered in shown.global_status.agent_statuses:
        of_views = queries.budget_status(answered.agent)
        assert msgspec.structs.replace(of_views, subtree=None) == msgspec.structs.replace(answered, subtree=None)
        assert stories[answered.agent].percentage == answered.percentage
        assert stories[answered.agent].overrun == answered.overrun
        assert used_percent(shown.status.agents[answered.agent]) == int(answered.percentage * 100 + 1e-6)


def test_what_the_fleet_has_is_the_same_in_get_global_status_and_status(shown: Shown) -> None:
    of_views = shown.status.queries(shown.now).global_status()
    for name in ("total", "total_allocated", "total_consumed", "pool_available", "overdraft", "pressure"):
        assert getattr(of_views, name) == getattr(shown.global_status, name)


def test_every_unit_that_an_agent_used_is_its_own_once_also_where_others_were_charged(shown: Shown) -> None:
    stories, units = {story.agent: story for story in shown.report.agents}, counted(shown.core)
    for name, story in stories.items():
        row = shown.status.agent(name)
        assert row is not None
        if not row.task:
            own = [event for event in shown.core.log if isinstance(event, e.UsageReported | e.HoldSettled)]
            own = [event for event in own if event.agent == name and event.position > row.life]
            used = sum(
                units[event.position][TOKENS] for event in own if getattr(event, "life", None) in (None, row.life)
            )
            assert (story.consumed.tokens or 0) == used
    together = shown.forecast.together.get("tokens")
    assert (together.used if together else 0) == (shown.report.summary.consumed.tokens or 0)


def test_tasks_run_and_wait_the_same_in_metrics_and_dashboard(shown: Shown) -> None:
    work = TaskDay(shown.views, shown.now)
    assert len(work.running) == shown.dashboard.active == len(shown.core.ledger.tasks.running)
    assert resource_metrics(work).queue_performance.avg_wait_time_minutes == shown.dashboard.avg_wait_minutes


def test_a_completed_task_costs_the_same_in_resource_metrics_and_in_the_tasks_of_the_day(shown: Shown) -> None:
    work = TaskDay(shown.views, shown.now)
    assert work.day is not None
    tasks = tasks_in(shown.views.whole((TasksView.name,)).rows[TasksView.name])
    done = [
        task for task in tasks if task.state == "completed" and task.ended_at and task.ended_at >= work.day.began_at
    ]
    assert work.done().tasks == len(done)
    assert work.done().tokens == sum(task.used.tokens or 0 for task in done)
    assert work.done().cost_nanos == sum(task.used.cost_nanos or 0 for task in done)


# --- each difference that there was -----------------------------------------------------------------------------------


def test_late_usage_is_no_use_of_what_was_allocated_and_counts_once_as_used() -> None:
    core = Core(fleet(10_000)).given(allocate("ann", 1_000), allocate("ann/1", 100, parent="ann"), use("ann/1", 50))
    core.given(c.ReleaseBudget(agent="ann/1"), use("ann/1", 30))
    shown = Shown(core)
    assert shown.status.quality.utilization == shown.report.quality.utilization
    assert {story.agent: story.consumed.tokens for story in shown.report.agents} == {"ann": None, "ann/1": 80}
    assert shown.report.summary.consumed.tokens == 80


def test_what_a_parent_pays_for_an_open_sub_agent_is_what_the_sub_agent_used() -> None:
    core = Core(fleet(10_000, "10")).given(allocate("ann", 1_000, "5"), allocate("ann/1", 100, parent="ann"))
    row = Shown(core.given(use("ann/1", 50, "2"))).status.agents["ann"]
    assert used_by(row) == (0, 0, 0)
    assert money(row.paid.triple)[COST] == money(row.consumed.triple)[COST] == 2 * 10**9


def test_a_task_that_waits_uses_for_its_product() -> None:
    core = Core(fleet(10**6, max_concurrent={"total": 1})).given(submit("runs"), submit("waits", product="lab"))
    core.given(c.ReportUsage(task="waits", usage=allocate("-", 70).budget))
    shown = Shown(core)
    assert [(part.name, part.tokens_used) for part in shown.costs.by("product")] == [("lab", 70)]
    assert core.ledger.day.by_product["lab"] == 70


def test_what_a_task_used_after_its_completion_is_what_it_cost_in_metrics_and_report() -> None:
    core = Core(fleet(10**6)).given(submit("t"), complete("t", used=70))
    core.given(c.ReportUsage(task="t", usage=allocate("-", 30).budget))
    shown = Shown(core)
    assert shown.report.tasks is not None
    assert shown.report.tasks.tokens_per_task == 100
    assert resource_metrics(TaskDay(shown.views, shown.now)).cost_efficiency.tokens_per_task == 100


def test_the_forecast_of_a_day_begins_at_its_midnight_in_zones_of_half_hours() -> None:
    core = Core(fleet(10**6, "100", timezone="Asia/Kolkata")).given(use("ann", 70, "1"))
    assert Shown(core).forecast.day["tokens"].used == 70
