"""The dashboard where things are not as in the seed: no limits, no product, names that mean something to Markdown."""

from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.reports.dashboard import dashboard_markdown, dashboard_of
from tests.support.core import Core, allocate, budget, submit, use
from tests.support.task_views import ONE_SLOT, one_slot, view_store_of


def shown(core: Core) -> list[str]:
    return dashboard_markdown(dashboard_of(view_store_of(core), core.now)).splitlines()


def test_a_quiet_day_has_no_lines_for_what_is_not_known() -> None:
    assert shown(one_slot()) == [
        "## Resource Usage",
        "",
        "**Today (2026-03-04)**",
        "",
        "### Agents",
        "- Active: 0/1 (0% utilization)",
        "- Queue: 0 tasks waiting",
        "",
        "### Costs",
        "- Tokens used: 0 (no limit)",
        "- Cost: $0 (no limit)",
    ]


def test_without_a_limit_on_slots_there_is_no_utilization() -> None:
    core = one_slot(max_concurrent={**ONE_SLOT["max_concurrent"], "total": None}).given(submit("t"))
    assert "- Active: 1" in shown(core)


@pytest.mark.parametrize(("tokens", "warned"), [(799, False), (800, True), (1_000, True)])
def test_the_warning_sign_stands_from_the_alert_percentage_on(tokens: int, warned: bool) -> None:
    limits: dict[str, Any] = {"max_tokens_total": 1_000, "max_cost_usd": None, "alert_at_percent": 80}
    core = one_slot(daily_limits=limits).given(use("ann", tokens))
    (line,) = [line for line in shown(core) if line.startswith("- Tokens used")]
    assert line.endswith("⚠️") == warned


def test_usage_of_no_product_and_of_no_task_has_its_lines() -> None:
    core = one_slot().given(allocate("ann", 1_000, product="a*b # c"), use("ann", 30), use("stranger", 10))
    core.given(c.ReportUsage(agent="ann", model="claude-opus-5-5", usage=budget(10, cost="1.25")))
    found = shown(core)
    assert found[-2:] == [r"- a\*b \# c: 80% of tokens", "- (no product): 20% of tokens"]
    assert "- Opus: 0 tasks, $1.25" in found, "an id of the catalogue is shown by its alias"
