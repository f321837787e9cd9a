"""A gateway between a client and a served fleet, which loses answers or gives its own, as gateways do."""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, NamedTuple

SECONDS = 120


class Own(NamedTuple):
    """An answer of the gateway itself."""

    status: int
    media: str
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})


Outcome = Callable[[int, bytes], Own | str]
"""What becomes of a request, by its number from 1 on and its body: ``pass``; ``lose``, where it is carried out and its
answer is lost; ``cut``, where it is not even passed on; or the gateway's own answer."""


class Relay(ThreadingHTTPServer):
    """Passes requests on to a port of this machine."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, outcome: Outcome) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.outcome = port, outcome
        self.requests: list[bytes] = []
        self.authorizations: set[str | None] = set()
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def number_of(self, body: bytes, authorization: str | None) -> int:
        with self.lock:
            self.requests.append(body)
            self.authorizations.add(authorization)
            return len(self.requests)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Relay

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        outcome = self.server.outcome(self.server.number_of(body, self.headers["authorization"]), body)
        if isinstance(outcome, Own):
            self._answer(outcome)
            return
        answer = None if outcome == "cut" else self._passed_on(body)
        if outcome == "pass" and answer is not None:
            self._answer(answer)
        else:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    def _passed_on(self, body: bytes) -> Own:
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=SECONDS)
        ) as connection:
            connection.request("POST", self.path, body, {"content-type": "application/json"})
            response = connection.getresponse()
            media = response.getheader("content-type", "")
            return Own(response.status, media, response.read(), {})

    def _answer(self, own: Own) -> None:
        self.send_response(own.status)
        for name, value in {"content-type": own.media, "content-length": str(len(own.body)), **own.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(own.body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextlib.contextmanager
def relay(port: int, outcome: Outcome) -> Iterator[Relay]:
    """A gateway before a port, which runs as long as the block."""
    made = Relay(port, outcome)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        thread.join(SECONDS)
        made.server_close()
