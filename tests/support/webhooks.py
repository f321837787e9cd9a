"""A webhook of a fleet in memory, sent to a real HTTP server of the test that answers as it is told."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tallystick import Fleet
from tallystick.actors.runtime.clock import ManualClock
from tallystick.config.outgoing import Webhook
from tallystick.webhooks.forwarder import Forwarder, Source
from tallystick.webhooks.progress import Kept, KeptInMemory
from tests.support.core import START
from tests.support.programs import SECONDS, until
from tests.support.webhook_receiver import SECRET, is_signed

LOCAL = ("127.0.0.1",)
VARIABLE = "TALLYSTICK_TEST_SECRET"


class Request:
    """What came: the headers, and the positions of the events that the body has."""

    def __init__(self, headers: Any, body: bytes) -> None:
        self.headers, self.body = headers, body
        events = json.loads(body)
        self.events: list[dict[str, Any]] = events if isinstance(events, list) else [events]
        self.positions = [int(event["sequence"]) for event in self.events]


class Answering:
    """Answers each request with what ``answer`` says of it: a status, and perhaps headers. Signatures are checked."""

    def __init__(self) -> None:
        self.answer: Callable[[Request], int | tuple[int, dict[str, str]]] = lambda request: 204
        self.got: list[Request] = []
        self.accepted: list[int] = []
        """The positions of the events that were accepted, in their order."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def until_accepted(self, positions: list[int]) -> None:
        until(lambda: len(self.accepted) >= len(positions))
        assert self.accepted == positions

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        here = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert is_signed(self.headers, body, SECRET)
                request = Request(self.headers, body)
                here.got.append(request)
                said = here.answer(request)
                status, headers = said if isinstance(said, tuple) else (said, {})
                if 200 <= status < 300:
                    here.accepted += request.positions
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """It is not read."""

        return Handler


class Held:
    """The receiver's answer to the first request, which is on its way until it ``goes_on``; the others are accepted."""

    def __init__(self, receiver: Answering) -> None:
        self.is_on_its_way, self.goes_on = threading.Event(), threading.Event()
        receiver.answer = self._answer

    def until_on_its_way(self) -> None:
        assert self.is_on_its_way.wait(SECONDS)

    def _answer(self, _: Request) -> int:
        self.is_on_its_way.set()
        return 204 if self.goes_on.wait(SECONDS) else 503


def named(receiver: Answering, **more: Any) -> dict[str, Any]:
    """A configuration with one webhook."""
    hook = {"url": receiver.url, "secret": f"${{{VARIABLE}}}", **more}
    return {"webhooks": {"audit": hook}, "notification_networks": [*LOCAL]}


@contextmanager
def answering() -> Iterator[Answering]:
    """A receiver, and the secret that is shared with it."""
    os.environ[VARIABLE] = SECRET
    made = Answering()
    try:
        yield made
    finally:
        made.close()
        del os.environ[VARIABLE]


class Sending:
    """A fleet, a receiver, and what is between them. ``waits`` are the seconds that it has waited for."""

    def __init__(self, fleet: Fleet, receiver: Answering) -> None:
        self.fleet, self.receiver = fleet, receiver
        self.kept: Kept = KeptInMemory()
        self.waits: list[float] = []
        self.has_ended = False
        self._forwarders: list[Forwarder] = []

    def begin(self, **hook: Any) -> Forwarder:
        """Send with these settings, as a process that has just begun."""
        settings = Webhook(**{"url": self.receiver.url, "secret": f"${{{VARIABLE}}}", **hook})
        source = Source(self.fleet.store, self.fleet.records, "urn:tallystick:fleet:test", lambda: self.has_ended)
        made = Forwarder("audit", settings, LOCAL, source, self.kept, pause=self._pause)
        self._forwarders.append(made)
        made.begin()
        return made

    def record(self, count: int) -> list[int]:
        """Let the fleet record some events; their positions."""
        before = self.fleet.position
        for _ in range(count):
            self.fleet.ask({"type": "Throttle", "agent": "a", "rate": "0.5"})
        self.fleet.quiesce()
        return list(range(before + 1, self.fleet.position + 1))

    @property
    def all(self) -> list[int]:
        """The positions of all events."""
        return list(range(1, self.fleet.position + 1))

    def end(self) -> None:
        self.has_ended = True
        for one in self._forwarders:
            one.end()
            one.join(20)

    def _pause(self, seconds: float) -> None:
        self.waits.append(seconds)
        threading.Event().wait(0.001)


@contextmanager
def sending() -> Iterator[Sending]:
    """A fleet with some events, and a receiver."""
    with answering() as receiver, Fleet.open("memory:", clock=ManualClock(START)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        made = Sending(fleet, receiver)
        try:
            yield made
        finally:
            made.end()
