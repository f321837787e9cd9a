"""A receiver of webhooks as a user would write one, in a process of its own: it checks signatures with what Python has,
and notes what it accepts in a file. ``python -m tests.support.webhook_receiver FOLDER PORT SECRET``.

Per line of ``FOLDER/answers`` it answers one request with that status; otherwise it accepts (204). What it accepts is
in ``FOLDER/accepted``, one CloudEvent per line.
"""

import base64
import contextlib
import hashlib
import hmac
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

SECONDS = 30
KEY = b"a key of the tests, 32 bytes long"
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def is_signed(headers: Any, body: bytes, secret: str) -> bool:
    """Whether a request was signed with a secret, not long ago."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode()
    expected = base64.b64encode(hmac.new(key, said + body, hashlib.sha256).digest()).decode()
    fresh = abs(time.time() - int(headers["webhook-timestamp"])) < 300
    signatures = [one.removeprefix("v1,") for one in headers["webhook-signature"].split()]
    return fresh and any(hmac.compare_digest(expected, one) for one in signatures)


class Handler(BaseHTTPRequestHandler):
    """What it does with a request."""

    folder: Path
    secret: str

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if not is_signed(self.headers, body, self.secret):
            self._answer(401)
            return
        with contextlib.suppress(FileNotFoundError):
            answers = (self.folder / "answers").read_text().splitlines()
            if answers:
                (self.folder / "answers").write_text("".join(f"{one}\n" for one in answers[1:]))
                self._answer(int(answers[0]))
                return
        events = json.loads(body)
        lines = [json.dumps(event) + "\n" for event in (events if isinstance(events, list) else [events])]
        # At once: one that is killed has written all of them or none.
        with (self.folder / "accepted").open("ab", buffering=0) as file:
            file.write("".join(lines).encode())
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """It is not read."""


class ReceiverProcess:
    """The receiver as a test starts, kills and reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, 0
        folder.mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        """Start it, on the port that it had before."""
        command = [sys.executable, "-m", "tests.support.webhook_receiver", str(self.folder), str(self.port), SECRET]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The events that it has accepted, in their order, repeats too. The last line may be on its way."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "accepted").read_text(encoding="utf-8").split("\n")[:-1]
            return [json.loads(line) for line in lines]
        return []


if __name__ == "__main__":
    Handler.folder, Handler.secret = Path(sys.argv[1]), sys.argv[3]
    server = HTTPServer(("127.0.0.1", int(sys.argv[2])), Handler)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
