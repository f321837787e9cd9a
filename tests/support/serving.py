"""A fleet served by a process of its own, and a client that speaks plain HTTP to it."""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

SECONDS = 120
KEPT_SECONDS = 2.0
"""How long an unused connection is kept. A server closes it after 5 s."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection that is kept, as a program has it, until the server may close it any moment."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        self._used_at = time.monotonic()

    def post(self, path: str, message: Any, **headers: str) -> Answer:
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.call("POST", path, body, {"content-type": "application/json", **named})

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        if time.monotonic() - self._used_at > KEPT_SECONDS:
            self._connection.close()  # it is opened again by the next request
        self._connection.request(method, path, body, dict(headers or {}))
        response = self._connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        self._used_at = time.monotonic()
        return answer

    def close(self) -> None:
        self._connection.close()


class Served:
    """`tallystick serve` in a process of its own; ``store`` is a file in the folder where it is left out."""

    def __init__(self, folder: Path, *options: str, port: int = 0, store: str | None = None) -> None:
        self.log = folder / "serve.log"
        self._log = self.log.open("ab")
        url = store or f"sqlite:///{folder / 'fleet.db'}"
        command = [sys.executable, "-m", "tallystick", "serve", "--store", url]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), *options], stdout=subprocess.PIPE, stderr=self._log, text=True, cwd=folder
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert " at http://" in line, self.log.read_text(encoding="utf-8")
        self.port = urlsplit(line.split(" at ")[1].strip()).port or 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Client:
        return Client(self.port)

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
        return code


class Event(NamedTuple):
    """A server-sent event, or a block of a stream that is none: ``data`` is None there."""

    id: str | None
    data: str | None
    comment: str | None = None


class Listener:
    """Reads a stream as a browser does, one block after the other."""

    def __init__(self, port: int, query: str = "", **headers: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request("GET", f"/v1/stream{query}", headers=named)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def block(self) -> Event | None:
        """The next block; None at the end of the stream."""
        found: dict[str, str] = {}
        while line := self.response.readline().decode():
            if line == "\n":
                return Event(found.get("id"), found.get("data"), found.get(""))
            name, _, value = line.rstrip("\n").partition(":")
            found[name] = value.removeprefix(" ")
        return None

    def take(self, count: int) -> list[Event]:
        """The next events."""
        taken: list[Event] = []
        while len(taken) < count:
            block = self.block()
            assert block is not None, f"the stream ended after {taken}"
            if block.data is not None:
                taken.append(block)
        return taken

    def close(self) -> None:
        self.connection.close()
