"""The dashboard of a standby: it says that it is one, and what is ordered there is done by the writer."""

import hashlib
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from tallystick import Fleet
from tests.support.postgres import shared
from tests.support.shared_fleets import Servers, servers

KEY = "tsk_of-the-tests"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[Servers]:
    store = shared().url(fleet=f"browser-{secrets.token_hex(6)}")
    with Fleet.open(store) as fleet:
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        fleet.ask({"type": "CreateKey", "key": "ann", "role": "operator", "sha256": digest})
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1000}})
    with servers(tmp_path_factory.mktemp("pair"), store) as found:
        yield found


def test_the_page_of_a_standby_says_so_and_its_orders_reach_the_writer(made: Servers, chromium: Any) -> None:
    writer, standby = made.start(), made.start("--standby")
    page = chromium.new_page()
    page.goto(f"{standby.url}/")
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("status").get_by_text("standby, ").wait_for()
    page.get_by_role("button", name="Pause fleet").click()
    page.get_by_label("Reason").fill("to see")
    page.get_by_role("dialog").get_by_role("button", name="Pause fleet").click()
    page.get_by_role("status").get_by_text("paused").wait_for()
    client = writer.client()
    shown = {"authorization": f"Bearer {KEY}"}
    paused = client.post("/v1/get-global-status", {"limit": 0}, **shown).json["paused"]
    newest = client.call("GET", "/v1/views/events?limit=1", headers=shown).json[0]
    client.close()
    assert (paused, newest["by"]) == (True, "ann")
    page.context.close()
    assert made.stop(standby) == 0
    assert made.stop(writer) == 0
