"""With keys, the dashboard asks for one; what its holder may not do is not offered."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tests.support.serving import Served


@pytest.fixture(scope="module")
def keys(folder: Path) -> dict[str, str]:
    """A key of an operator, one of an analyst, and one of an agent."""
    made = {}
    for role, more in (("operator", ()), ("analyst", ()), ("agent", ("--agent", "lead"))):
        url = f"sqlite:///{folder / 'fleet.db'}"
        command = ["key", "create", "--role", role, "--name", role, "--store", url, "--json", *more]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        made[role] = json.loads(result.output)["secret"]
    return made


@pytest.fixture(scope="module")
def served(folder: Path, keys: dict[str, str], chromium: Any) -> Iterator[Served]:
    server = Served(folder)
    yield server
    assert server.stop() == 0


@pytest.fixture
def logged_in(chromium: Any, served: Served, keys: dict[str, str]) -> Iterator[Callable[[str], Any]]:
    contexts = []

    def log_in(role: str) -> Any:
        context = chromium.new_context()
        contexts.append(context)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{served.port}/")
        page.get_by_label("Key").fill("not a key")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("alert").get_by_text("This key is not valid here.").wait_for()
        page.get_by_label("Key").fill(keys[role])
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("[data-testid=as-of]")
        return page

    yield log_in
    for context in contexts:
        context.close()


def test_an_operator_logs_in_pauses_and_logs_out(logged_in: Callable[[str], Any]) -> None:
    page = logged_in("operator")
    assert page.evaluate("() => document.cookie") == "", "no script sees the session"
    page.get_by_role("button", name="Pause fleet").click()
    page.get_by_label("Reason").fill("to see")
    page.get_by_role("dialog").get_by_role("button", name="Pause fleet").click()
    page.get_by_role("status").get_by_text("paused").wait_for()
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Key").wait_for()


def test_an_analyst_only_looks(logged_in: Callable[[str], Any]) -> None:
    page = logged_in("analyst")
    page.get_by_text("More", exact=True).click()
    page.get_by_text("analyst, analyst").wait_for()
    offered = page.locator("header .orders button").evaluate_all(
        "buttons => buttons.filter(one => !one.disabled).map(one => one.textContent)"
    )
    assert offered == ["Log out"]


def test_an_agents_key_shows_nothing_and_can_be_changed_for_another(
    chromium: Any, served: Served, keys: dict[str, str]
) -> None:
    page = chromium.new_page()
    page.goto(f"http://127.0.0.1:{served.port}/")
    page.get_by_label("Key").fill(keys["agent"])
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("alert").get_by_text("the role agent may not read this").wait_for()
    page.get_by_role("button", name="Log in with another key").click()
    page.get_by_label("Key").fill(keys["analyst"])
    page.get_by_role("button", name="Log in", exact=True).click()
    page.wait_for_selector("[data-testid=as-of]")
    page.context.close()
