"""A fleet with links in its alerts, and an HTTP service for them in the loop of the test, by the test's clock."""

import asyncio
import datetime as dt
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from starlette.types import ASGIApp

from tallystick import Fleet
from tallystick.actors.policies.delivery import Send
from tallystick.actors.runtime.clock import ManualClock
from tallystick.approvals.alerts import LinkedAlerts
from tallystick.events import catalog as e
from tallystick.events.log.codec import decode_event
from tallystick.events.state.outbox import Notice
from tallystick.http.app import application
from tests.support.asgi import Answered, call
from tests.support.core import START

KEY = "a key of the tests that is long enough"
PUBLIC = "https://budget.example.com"
_SEEN = re.compile(r'name="seen" value="([^"]*)"')


def links_of(text: str, public_url: str = PUBLIC) -> dict[str, str]:
    """The paths of the links in an alert, by what they do."""
    return dict(re.findall(rf"^(.*): {re.escape(public_url)}(/links/\S+)$", text, re.MULTILINE))


class Linked:
    """One fleet. The name ``ceo`` may loosen limits by links, ``ops`` may not."""

    def __init__(self, folder: Path, **config: Any) -> None:
        (folder / "links.key").write_text(KEY)
        self.clock = ManualClock(START)
        settings = {
            "notifications": {"ceo": ["json://ceo.example/"], "ops": ["json://ops.example/"]},
            "approval_links": {"public_url": PUBLIC, "key": f"file:{folder}/links.key", "may_loosen": ["ceo"]},
            "daily_limits": {"max_tokens_total": 1_000},
            "reallocation": {"enabled": False},
            **config,
        }
        self.fleet = Fleet.open(f"sqlite:///{folder}/fleet.db", settings, clock=self.clock, notify=False)
        self.app: ASGIApp

    def run(self, test: Callable[["Linked"], Awaitable[None]]) -> None:
        """Run a test beside the service of the fleet."""

        async def served() -> None:
            self.app, service = application(self.fleet, frozenset({"localhost"}))
            try:
                await test(self)
            finally:
                await service.close()

        asyncio.run(served())

    def ask(self, message: str, **fields: Any) -> Any:
        return self.fleet.ask({"type": message, **fields})

    def events(self, *kinds: type[e.Event]) -> list[Any]:
        found = [decode_event(record.data, record.name) for record in self.fleet.store.read()]
        return [event for event in found if isinstance(event, kinds)]

    def alert(self, code: str, to: str = "ceo") -> dict[str, str]:
        """The links that a recipient gets in the newest alert of a code, by what they do."""
        event = next(one for one in reversed(self.events(e.AlertRaised)) if one.code == code)
        owed = (to, "mark")
        notice = Notice(event.alert, event.code, event.message, event.agent, event.at, (owed,))
        ledger = self.fleet._manager.ledger
        return links_of(LinkedAlerts(self.fleet.store, ledger).prepare(Send(notice, owed, "")).message)

    async def get(self, path: str, method: str = "GET", **more: Any) -> Answered:
        return await call(self.app, method, path, **more)

    async def post(self, path: str, seen: str, **more: Any) -> Answered:
        headers = {"content_type": "application/x-www-form-urlencoded", "origin": "https://localhost"}
        return await call(self.app, "POST", path, urlencode({"seen": seen}).encode(), **{**headers, **more})

    async def use(self, path: str, **more: Any) -> Answered:
        """Open a link, and press its button."""
        return await self.post(path, seen_on(await self.get(path)), **more)

    def after(self, **time: float) -> None:
        self.fleet.advance(START + dt.timedelta(**time))


def seen_on(page: Answered) -> str:
    """What the form of a page sends back."""
    found = _SEEN.search(page.body.decode())
    return "" if found is None else found[1]


@contextmanager
def linked(folder: Path, **config: Any) -> Iterator[Linked]:
    made = Linked(folder, **config)
    try:
        yield made
    finally:
        made.fleet.close()
