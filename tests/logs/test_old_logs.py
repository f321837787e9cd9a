"""Logs that older versions wrote stay readable: each is proved, replayed, shown and explained as when it was new.

`data/` holds a few small stores, packed, and the head of each log. They are never made again: a version that changes
what is stored adds a log of its own, and reads those that are there.
"""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tallystick.cli.main import main
from tests.support import decision_logs

HERE = Path(__file__).parent
DATA = HERE / "data"
HEADS: dict[str, str] = json.loads((DATA / "heads.json").read_text(encoding="utf-8"))
"""The newest position of each log and its digest, like `12:463c…`."""
EVENTS = re.findall(r"^### (\S+\.v\d+)$", (HERE.parents[1] / "docs/reference/events.md").read_text("utf-8"), re.M)
ASKED = {
    *("AllocateBudget", "AllocateEqual", "AllocateProportional", "AllocateByPriority", "AllocateFromPool"),
    *("ReportUsage", "Reserve", "Settle", "CancelHold", "Heartbeat", "Throttle", "Stop", "Resume", "Rebalance"),
    *("BorrowFromPool", "ReturnToPool", "ReleaseBudget", "SubmitTask", "CompleteTask", "CancelTask", "SetTotalBudget"),
    *("PauseAll", "ResumeAll", "OverridePriority", "ApproveLimit", "ResetBreaker", "ReleaseReserve", "LoadConfig"),
    *("AcceptClock", "CreateKey", "RevokeKey"),
}
"""Every message that leaves something in the log; questions leave nothing under their own names."""


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds a fleet or settings of the person who runs it."""
    monkeypatch.chdir(tmp_path)
    for name in ("TALLYSTICK_STORE", "TALLYSTICK_CONFIG", "TALLYSTICK_PRICES", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=sorted(HEADS))
def head(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The head of a log; a copy of its store is the default store of this test's folder."""
    return unpacked(request.param, tmp_path)


def unpacked(name: str, folder: Path) -> str:
    (folder / "tallystick.db").write_bytes(gzip.decompress((DATA / f"{name}.gz").read_bytes()))
    return HEADS[name]


def run(*args: str) -> Result:
    result = CliRunner().invoke(main, args, prog_name="tallystick")
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def shown(*args: str) -> Any:
    """What a command prints for machines."""
    result = run(*args)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def position_of(head: str) -> int:
    return int(head.partition(":")[0])


def records() -> Iterator[dict[str, Any]]:
    """All records of the store of this test's folder."""
    result = run("audit", "export", "--format", "jsonl")
    assert result.exit_code == 0, result.output
    yield from map(json.loads, result.stdout.splitlines())


def test_an_old_log_is_sound(head: str) -> None:
    result = run("audit", "verify", "--anchor", head)
    assert result.exit_code == 0, result.output
    assert re.search(rf"^head +{head}$", result.stdout, re.M)
    assert re.search(r"^result +sound$", result.stdout, re.M)


def test_an_old_log_is_replayed_to_its_digest(head: str) -> None:
    state = shown("audit", "replay", "--until", str(position_of(head)), "--json")
    assert f"{state['position']}:{state['digest']}" == head


def test_views_show_what_is_in_an_old_log(head: str) -> None:
    position = str(position_of(head))
    assert shown("status", "--at", position, "--json")["position"] == position_of(head)
    assert shown("report", "--at", position, "--json")["position"] == position_of(head)
    assert shown("cost", "--at", position, "--json").keys() >= {"date", "tokens_used", "cost_usd"}
    assert shown("queue", "--at", position, "--json").keys() >= {"tasks", "running"}
    assert shown("limits", "--at", position, "--json").keys() == {"limits", "counters"}


def test_every_kind_of_record_of_an_old_log_is_explained(head: str) -> None:
    kinds: dict[str, list[int]] = {}
    for record in records():
        kinds.setdefault(record["type"], []).append(record["position"])
    for positions in kinds.values():
        for position in {positions[0], positions[-1]}:
            explained = shown("audit", "explain", str(position), "--json")
            assert explained["position"] == position
            assert explained["text"]


def test_every_event_of_an_old_log_is_shown(head: str) -> None:
    result = run("events", "--json")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["position"] for one in found] == list(range(1, position_of(head) + 1))
    assert all(one["text"] for one in found)


def test_an_old_log_goes_on(head: str, tmp_path: Path) -> None:
    (tmp_path / "more.jsonl").write_text(
        '{"at": "2026-03-09T12:00:00Z", "id": "a-new-one", "type": "LoadConfig", "config": {}}\n'
        '{"at": "2026-03-09T12:00:00Z", "id": "another", "type": "GetGlobalStatus"}\n',
        encoding="utf-8",
    )
    result = run("simulate", "more.jsonl", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout.splitlines()[-1])["end"]["conserved"]
    result = run("audit", "verify", "--anchor", head)
    assert result.exit_code == 0, result.output


def test_windows_from_the_first_use_are_read_by_our_rules_where_a_log_of_version_4_was_decided_by_its_own(
    tmp_path: Path,
) -> None:
    """Two holds of that log opened windows, at 18:01, in which nothing was used after all: by those rules they counted
    from then on, and more was granted at 23:02; ours count from the first use, at 21:00.
    """
    head = unpacked("first-use.sqlite", tmp_path)
    granted = {record["hold"]: record["position"] for record in records() if record["type"] == "hold-placed.v1"}
    at = str(granted["granted"] - 1)
    stands = {(one["limit"], one["value"]): one for one in shown("limits", "--at", at, "--json")["limits"]}
    configured, own = stands["plan-5h", "ann"], stands["bob/1", "bob"]
    assert (configured["used"]["requests"], configured["ends_at"]) == (3, "2026-03-05T02:00:00Z")
    assert (own["used"]["tokens"], own["ends_at"]) == (4_100, "2026-03-05T02:00:00Z")
    for command in (("audit", "verify", "--anchor", head), ("whatif",)):
        result = run(*command)
        assert result.exit_code == 0, result.output
        assert f"ositions 1 to {position_of(head)} were decided by version 4" in result.output


def test_the_old_logs_hold_every_event_and_every_message_that_is_recorded(tmp_path: Path) -> None:
    happened: set[str] = set()
    asked: set[str] = set()
    codes: set[str] = set()
    for name in HEADS:
        unpacked(name, tmp_path)
        for record in records():
            happened.add(record["type"])
            asked.add(record.get("command", {}).get("type", ""))
            codes.add(record.get("code", ""))
    happened |= {one.name for name in decision_logs.kept().heads for one in decision_logs.records_of(name)}
    assert happened >= set(EVENTS)
    assert asked >= ASKED
    assert len(codes) > 20, "refusals of many kinds"
