"""The page of a fleet beneath its name, as the front of a cluster passes it on."""

import asyncio
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from tallystick.client import Client
from tallystick.http.server import as_many, listen, settings_of
from tests.support.local_cluster import OPEN, LocalCluster, create
from tests.support.postgres import shared

SECONDS = 120.0


class InThread:
    """A front and shards that are served on a thread. ``address`` is where."""

    def __init__(self, store: str) -> None:
        self._listening = listen("127.0.0.1", 0)
        self.address = f"http://localhost:{self._listening.getsockname()[1]}"
        self._store, self._there = store, threading.Event()
        self._end: Callable[[], Any] = lambda: None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._there.wait(SECONDS)

    async def _serve(self) -> None:
        cluster = LocalCluster(self._store, keys_needed=True)
        server, loop, ended = (
            uvicorn.Server(settings_of(cluster.front.app)),
            asyncio.get_running_loop(),
            asyncio.Event(),
        )
        self._end = lambda: loop.call_soon_threadsafe(ended.set)
        serving = asyncio.create_task(server.serve(as_many(self._listening)))
        self._there.set()
        await ended.wait()
        server.should_exit = True
        # Streams end with their shards.
        await cluster.close()
        await serving

    def close(self) -> None:
        self._end()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def fleet(chromium: Any) -> Iterator[tuple[str, str]]:
    """The URL of a fleet behind a front, and the key of its operator."""
    server, name = shared(), f"behind-{secrets.token_hex(4)}"
    server.new_database(name)
    store = server.url(name).partition("&fleet")[0]
    keys = [create(store, one) for one in ("team-a", "team-b")]
    served = InThread(store)
    yield f"{served.address}/v1/fleets/team-a", keys[0]
    served.close()


def test_it_is_logged_in_to_shows_what_happens_and_gives_orders(fleet: tuple[str, str], chromium: Any) -> None:
    url, key = fleet
    wrong: list[str] = []
    page = chromium.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(f"{url}/") else wrong.append(asked.url))
    page.goto(f"{url}/")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("[data-testid=as-of]")
    with Client(url, key) as client:
        assert "ok" in client.ask(OPEN)
    page.wait_for_selector("[data-agent=a-1]")
    page.get_by_role("button", name="Pause fleet").click()
    page.get_by_label("Reason").fill("to see")
    page.get_by_role("dialog").get_by_role("button", name="Pause fleet").click()
    page.get_by_role("status").get_by_text("paused").wait_for()
    page.reload()
    page.wait_for_selector("[data-agent=a-1]")
    assert wrong == []
    page.context.close()


def test_a_session_of_one_fleet_is_none_of_another(fleet: tuple[str, str], chromium: Any) -> None:
    url, key = fleet
    page = chromium.new_page()
    page.goto(f"{url}/")
    page.get_by_label("Key").fill(key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_selector("[data-testid=as-of]")
    page.goto(f"{url.removesuffix('team-a')}team-b/")
    page.get_by_label("Key").wait_for()
    page.context.close()
