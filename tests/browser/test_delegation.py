"""The dashboards of a parent and its child: where the total comes from, and what is another fleet's."""

from pathlib import Path
from typing import Any

from tests.support.serving import Served

TOTAL = "total_budget: {tokens: 100000}"
DELEGATE = "delegate: {{parent: {url}, account: team, budget: {{tokens: 10000}}}}"


def served(folder: Path, name: str, config: str) -> Served:
    place = folder / name
    place.mkdir()
    (place / "config.yml").write_text(config, encoding="utf-8")
    return Served(place, "--config", "config.yml")


def ask(server: Served, *messages: dict[str, Any]) -> None:
    client = server.client()
    answer = client.post("/v1/messages", list(messages))
    client.close()
    assert all("ok" in one for one in answer.json), answer.body


def test_a_child_says_where_its_total_comes_from_and_whether_its_parent_is_away(
    open_anywhere: Any, tmp_path: Path
) -> None:
    top = served(tmp_path, "top", TOTAL)
    budget = {"tokens": 1000}
    ask(top, {"type": "AllocateBudget", "agent": "team", "budget": budget, "delegated": True})
    child = served(tmp_path, "team", DELEGATE.format(url=top.url))
    ask(child, {"type": "AllocateBudget", "agent": "ann", "budget": budget})

    above = open_anywhere(top.url)
    mark = above.locator("[data-agent=team]").get_by_text("fleet")
    assert "which alone takes from it" in mark.get_attribute("title")
    above.context.close()

    page = open_anywhere(child.url)
    parent = page.get_by_test_id("parent")
    assert parent.inner_text().startswith(f"the total is from {top.url}, account team; asked ")
    top.kill()
    parent.get_by_text("away since ").wait_for()
    parent.get_by_text("this fleet goes on within what it has").wait_for()
    page.context.close()  # it would say that it cannot ask any more
    assert child.stop() == 0
