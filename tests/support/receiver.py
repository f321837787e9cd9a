"""A receiver of alerts: a real HTTP server on loopback that takes apprise's web hooks."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.stores import SECONDS


class Receiver:
    """Accepts what it is sent while it is ``up``; ``on_post`` is called before it answers."""

    def __init__(self) -> None:
        self.up = True
        self.got: list[dict[str, Any]] = []
        """What was sent here, accepted or not, in order."""
        self.on_post: Callable[[dict[str, Any]], object] = lambda message: None
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"json://127.0.0.1:{self._server.server_address[1]}/hook"

    @property
    def alerts(self) -> list[str]:
        return [message["alert"] for message in self.got]

    def wait_for(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.got) >= count, SECONDS), f"{len(self.got)} of {count} came"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with receiver._changed:
                    receiver.got.append(message)
                    receiver._changed.notify_all()
                receiver.on_post(message)
                self.send_response(204 if receiver.up else 503)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """It is not read."""

        return Handler
