"""No key, no token and no session is in anything that a server and its fleet leave behind."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import Served


def tallystick(folder: Path, *args: str) -> str:
    command = [sys.executable, "-m", "tallystick", *args, "--store", f"sqlite:///{folder / 'fleet.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=True)
    (folder / f"{args[0]}-{args[1]}.err").write_text(done.stderr, encoding="utf-8")
    return done.stdout


def created(folder: Path, *args: str) -> Any:
    return json.loads(tallystick(folder, "key", "create", "--json", *args))


def test_all_that_is_left_behind_has_no_key_in_it(tmp_path: Path) -> None:
    wrong = "tsk_this-is-not-a-key-but-somebody-may-think-so"
    operator = created(tmp_path, "--role", "operator", "--name", "ann")
    served = Served(tmp_path)
    # While it runs, too.
    agent = created(tmp_path, "--role", "agent", "--agent", "lead")
    client = served.client()
    statuses = []
    for key in (operator["secret"], agent["secret"], wrong):
        shown = {"Authorization": f"Bearer {key}"}
        message = {"type": "AllocateBudget", "agent": "lead", "budget": {"tokens": 10}}
        statuses.append(client.post("/v1/messages", message, **shown).status)
        statuses.append(client.post("/v1/messages", b"{" + key.encode(), **shown).status)
        client.call("GET", "/metrics", headers=shown)
    begun = client.post("/v1/session", {"key": agent["secret"]})
    cookie = begun.headers["set-cookie"].split(";")[0]
    here = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{served.port}"}
    statuses.append(client.post("/v1/get-status", {"agent": "lead"}, **here).status)
    client.post("/v1/session", {"key": wrong})
    tallystick(tmp_path, "key", "revoke", agent["key"])
    statuses.append(client.post("/v1/get-status", {"agent": "lead"}, **here).status)
    statuses.append(client.post("/v1/messages", {}, Authorization=f"Bearer {agent['secret']}").status)
    assert statuses == [200, 400, 403, 400, 401, 401, 200, 401, 401]
    client.close()
    assert served.stop() == 0
    tallystick(tmp_path, "audit", "export", "--format", "jsonl", "--out", str(tmp_path / "log.jsonl"))
    secrets = [operator["secret"], agent["secret"], wrong, cookie.partition("=")[2]]
    assert all(len(secret) > 40 for secret in secrets)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"fleet.db", "serve.log", "log.jsonl"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        for secret in secrets:
            assert secret.encode() not in content, path
    log = served.log.read_text(encoding="utf-8")
    assert '"event":"access_refused"' in log
    assert '"key":"ann"' not in log, "what an operator may do is no refusal"
    assert "key-misused.v1" in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


FAILS = """
import structlog
from tallystick.http.server import log_requests

def answer(headers):
    raise ValueError("it fails")

log_requests()
try:
    answer({"authorization": "Bearer tsk_not-for-the-eyes-of-who-looks-over-a-shoulder"})
except ValueError as error:
    structlog.get_logger("tallystick.http").error("request_failed", exc_info=error)
"""


def test_a_failure_on_a_terminal_shows_where_it_was_and_no_variable() -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    failing = subprocess.Popen([sys.executable, "-c", FAILS], stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65_536):
            shown += part
    except OSError:
        pass  # the other end was closed
    os.close(ours)
    assert failing.wait(60) == 0
    assert b"ValueError: it fails" in shown
    assert b"in answer" in shown
    assert b"tsk_" not in shown
