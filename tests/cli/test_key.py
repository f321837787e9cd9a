"""`tallystick key`: shown once, kept as its SHA-256, ended at once; beside a live fleet and without one."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tallystick.events.catalog import KeyCreated
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import open_store
from tallystick.fleet import Fleet


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "TALLYSTICK_OPERATOR_KEY"):
        monkeypatch.delenv(name, raising=False)


def run(*args: str) -> Result:
    result = CliRunner().invoke(main, ["key", *args], prog_name="tallystick")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def listed() -> list[dict[str, Any]]:
    keys: list[dict[str, Any]] = json.loads(run("list", "--json").stdout)["keys"]
    return keys


def test_a_key_is_shown_once_and_kept_as_its_digest(tmp_path: Path) -> None:
    made = run("create", "--role", "agent", "--agent", "lead", "--expires", "90d")
    assert made.exit_code == 0, made.output
    secret = made.stdout.strip()
    assert secret.startswith("tsk_")
    assert len(secret) == len("tsk_") + 43, "256 bits"
    assert "shown this once" in made.stderr
    (line,) = listed()
    assert (line["role"], line["agent"], line["state"]) == ("agent", "lead", "valid")
    assert line["key"].startswith("lead-")
    with contextlib.closing(open_store("sqlite:///tallystick.db")) as store:
        events = [decode_event(record.data, record.name) for record in store.read()]
    (created,) = [event for event in events if isinstance(event, KeyCreated)]
    assert created.sha256 == hashlib.sha256(secret.encode()).hexdigest()
    for file in tmp_path.iterdir():
        assert secret.encode() not in file.read_bytes(), file
    assert run("create", "--role", "analyst").stdout.strip() != secret


def test_a_key_is_revoked_by_its_name() -> None:
    run("create", "--role", "operator", "--name", "ann", "--approve-up-to", "12.50")
    ended = run("revoke", "ann", "--reason", "it was in a screenshot")
    assert ended.stdout == "the key ann (operator, approving up to $12.50) is revoked\n"
    assert [line["state"] for line in listed()] == ["revoked"]
    assert "revoked" in run("list").stdout
    again = run("revoke", "ann")
    assert (again.exit_code, "was revoked at" in again.stderr) == (1, True)


def test_a_live_fleet_creates_keys_over_its_control_socket() -> None:
    with Fleet.open("sqlite:///tallystick.db") as fleet:
        secret = run("create", "--role", "analyst", "--name", "ann").stdout.strip()
        digest = hashlib.sha256(secret.encode()).hexdigest()
        found = fleet.access.keys.find(digest)
        assert found is not None
        assert (found.name, found.role) == ("ann", "analyst")
        assert [line["key"] for line in listed()] == ["ann"]
        assert run("revoke", "ann").exit_code == 0
        assert found.invalid_since(fleet.access.now()) is not None


def test_a_fleet_with_an_operators_key_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"control": {"operator_key": f"sha256:{hashlib.sha256(b'let me').hexdigest()}"}}
    with Fleet.open("sqlite:///tallystick.db", config):
        refused = run("create", "--role", "operator")
        assert (refused.exit_code, "needs the operator's key" in refused.stderr) == (1, True)
        monkeypatch.setenv("TALLYSTICK_OPERATOR_KEY", "let me")
        assert run("create", "--role", "operator", "--name", "ann").exit_code == 0
        monkeypatch.delenv("TALLYSTICK_OPERATOR_KEY")
        assert run("revoke", "ann").exit_code == 0, "to end a key loosens nothing"


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("create",), 2, "--role"),
        (("create", "--role", "king"), 2, "king"),
        (("create", "--role", "agent"), 2, "--agent"),
        (("create", "--role", "auditor", "--expires", "soon"), 2, "soon"),
        (("create", "--role", "auditor", "--expires", "2020-01-01T00:00:00Z"), 1, "expires_at"),
        (("create", "--role", "operator", "--approve-up-to", "much"), 2, "much"),
        (("create", "--role", "operator", "--approve-up-to", "-1"), 1, "approve_up_to_usd"),
        (("create", "--role", "auditor", "--approve-up-to", "1"), 1, "approve_up_to_usd"),
        (("revoke", "ann"), 1, "no fleet"),
        (("list",), 1, "no fleet"),
    ],
)
def test_a_mistake_is_one_line(args: tuple[str, ...], code: int, says: str) -> None:
    result = run(*args)
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2


def test_who_ends_a_key_that_there_is_not_learns_where_they_are_listed() -> None:
    run("create", "--role", "analyst", "--name", "ann")
    result = run("revoke", "nobody")
    assert (result.exit_code, result.stderr) == (
        1,
        "tallystick: there is no key 'nobody': tallystick key list shows those that there are\n",
    )
