"""Ten thousand agents: the page draws and asks for those in sight only."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.fleet import Fleet
from tests.support.serving import Served

AGENTS, TEAMS = 10_000, 50
NODES_MAX = 2_500


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'fleet.db'}"


@pytest.fixture(scope="module")
def served(folder: Path, url: str, chromium: Any) -> Iterator[Served]:
    with Fleet.open(url, {"total_budget": {"tokens": 10**12}}, notify=False) as fleet:
        fleet.ask(
            [{"type": "AllocateBudget", "agent": f"team-{i:02}", "budget": {"tokens": 10**9}} for i in range(TEAMS)]
        )
        for first in range(0, AGENTS - TEAMS, 1_000):
            numbers = range(first, min(first + 1_000, AGENTS - TEAMS))
            fleet.ask(
                [
                    {
                        "type": "AllocateBudget",
                        "agent": f"agent-{i:05}",
                        "parent": f"team-{i % TEAMS:02}",
                        "budget": {"tokens": 10_000},
                    }
                    for i in numbers
                ]
            )
    server = Served(folder)
    yield server
    assert server.stop() == 0


def test_only_agents_in_sight_are_in_the_page(opened: Callable[..., Any]) -> None:
    page = opened()
    assert page.locator("[data-testid=agent-count]").inner_text() == f"{AGENTS:,}"
    grid = page.get_by_role("treegrid")
    assert grid.get_attribute("aria-rowcount") == str(AGENTS + 1)
    page.get_by_label("Order of agents").select_option("name")
    page.locator("[data-agent=agent-00000]").wait_for()
    grid.focus()
    page.keyboard.press("End")
    page.locator(f"[data-agent=agent-{AGENTS - TEAMS - 1:05}]").wait_for()
    assert page.locator("[data-agent]").count() < 60
    assert page.evaluate("() => document.querySelectorAll('*').length") < NODES_MAX
    page.keyboard.press("Home")
    page.locator("[data-agent=team-00]").wait_for()
    page.get_by_label("Search agents").fill("agent-04242")
    page.wait_for_function("() => document.querySelectorAll('[data-agent]').length === 1")
