"""Links in alerts that were really sent, opened in a narrow browser without scripts."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver import Receiver
from tests.support.served_links import STOP, Alerted


@pytest.fixture
def alerted(tmp_path: Path) -> Iterator[Alerted]:
    ceo = Receiver()
    made = Alerted(tmp_path, ceo)
    yield made
    made.server.kill()
    ceo.close()


def test_a_link_works_in_a_narrow_browser_without_scripts_after_the_server_was_killed(
    alerted: Alerted,
    chromium: Any,
) -> None:
    alerted.server.kill()
    alerted.server = alerted.start()
    context = chromium.new_context(viewport={"width": 360, "height": 740}, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{alerted.port}{alerted.links[STOP]}")
    assert page.title() == "Stop a and its sub-agents – tallystick"
    assert page.locator("dl").first.inner_text().startswith("what a and its sub-agents may do")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.get_by_role("button").click()
    assert page.locator("h1").inner_text() == "Done"
    page.goto(f"http://127.0.0.1:{alerted.port}{alerted.links[STOP]}")
    assert page.locator("h1").inner_text() == "This link was used"
    context.close()
