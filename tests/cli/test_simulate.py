"""``simulate``: the same file gives the same bytes, and the same log as the live fleet."""

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.prices import load_prices
from tallystick.events.log.codec import digest_of
from tallystick.events.log.store import open_store
from tests.support.cli import SCENARIO, Run, lines


def out_of(result: Any) -> list[Any]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_one_reply_a_line_and_then_the_end(run: Run, scenario: Path) -> None:
    *replies, end = out_of(run("simulate", str(scenario)))
    assert [reply["line"] for reply in replies] == list(range(1, len(SCENARIO) + 1))
    assert [reply["at"] for reply in replies] == [message["at"] for message in SCENARIO]
    assert replies[2]["reply"]["ok"]["status"] == "yellow"
    assert replies[4]["reply"]["error"]["code"] == "budget_exhausted"
    assert replies[11]["reply"]["error"]["code"] == "invalid_message"
    assert end["end"]["conserved"] is True
    assert len(end["end"]["digest"]) == 64


def test_timers_fire_between_the_lines(run: Run, scenario: Path) -> None:
    *replies, _ = out_of(run("simulate", str(scenario)))
    # The hold of 12:00:30 expired at 12:05:30, so its settlement at 12:10:40 is late.
    assert replies[6]["reply"]["ok"]["late"] is True
    # The reallocator had moved budget to the agent by then.
    assert replies[7]["reply"]["ok"]["allocated"]["tokens"] > 150_000


def test_the_same_bytes_in_every_process(scenario: Path, tmp_path: Path) -> None:
    outputs = []
    for seed in ("1", "2"):
        command = [sys.executable, "-m", "tallystick", "simulate", str(scenario)]
        done = subprocess.run(
            command, capture_output=True, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, cwd=tmp_path
        )
        assert done.stderr == b""
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]


def test_the_same_bytes_twice_and_in_a_file(run: Run, scenario: Path, tmp_path: Path) -> None:
    first = run("simulate", str(scenario))
    run("simulate", str(scenario), "--out", "out.jsonl", "--store", "sqlite:///kept.db")
    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == first.stdout


def test_the_live_fleet_comes_to_the_same_digest(run: Run, scenario: Path) -> None:
    end = out_of(run("simulate", str(scenario)))[-1]["end"]
    store = open_store("memory:", writer=True)
    clock = ManualClock(dt.datetime.fromisoformat(str(SCENARIO[0]["at"])))
    with Fleet.open(store, None, load_prices(None), clock=clock) as fleet:
        for number, line in enumerate(SCENARIO, start=1):
            message = {"id": f"line-{number}", **line}
            fleet.advance(dt.datetime.fromisoformat(str(message.pop("at"))))
            fleet.ask(message, str(message.pop("by", "local")))
            fleet.quiesce()
        last = store.last()
    assert last is not None
    assert end == {"position": last.position, "digest": digest_of(last.data).hex(), "conserved": True}


def test_the_settings_of_a_file_are_in_force(run: Run, scenario: Path, tmp_path: Path) -> None:
    (tmp_path / "small.yml").write_text("total_budget: {tokens: 40000}\n", encoding="utf-8")
    replies = out_of(run("simulate", str(scenario), "--config", "small.yml"))
    assert replies[0]["reply"]["error"]["code"] == "pool_exhausted"


def test_a_kept_fleet_goes_on_where_it_was(run: Run, scenario: Path, tmp_path: Path) -> None:
    end = out_of(run("simulate", str(scenario), "--store", "sqlite:///kept.db"))[-1]["end"]
    later = tmp_path / "later.jsonl"
    later.write_text(lines([{"at": "2026-03-04T12:10:56Z", "type": "GetGlobalStatus"}]), encoding="utf-8")
    status, after = out_of(run("simulate", str(later), "--store", "sqlite:///kept.db"))
    assert status["reply"]["ok"]["agent_count"] == 2
    assert after["end"] == end
    again = run("simulate", str(scenario), "--store", "sqlite:///kept.db")
    assert again.exit_code == 2
    assert "has come to 2026-03-04T12:10:53Z already" in again.stderr


def test_an_id_that_is_used_twice_is_answered_as_before(run: Run, tmp_path: Path) -> None:
    message = {"at": "2026-03-04T12:00:00Z", "type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}, "id": "x"}
    (tmp_path / "twice.jsonl").write_text(lines([message, message]), encoding="utf-8")
    first, second, _ = out_of(run("simulate", "twice.jsonl"))
    assert first["reply"] == second["reply"]


def test_a_usage_object_that_is_nested_too_deeply_does_not_lose_its_line(run: Run, tmp_path: Path) -> None:
    usage = '{"input_tokens": 7, "x": ' + "[" * 5_000 + "]" * 5_000 + "}"
    line = '{"at": "2026-03-04T12:00:00Z", "type": "ReportUsage", "agent": "a", "output_tokens": 2, "provider_usage": '
    (tmp_path / "deep.jsonl").write_text(f"{line}{usage}}}\n", encoding="utf-8")
    reply, _ = out_of(run("simulate", "deep.jsonl"))
    assert reply["reply"]["ok"]["unallocated"]


def test_no_number_is_rounded_on_the_way(run: Run, tmp_path: Path) -> None:
    line = '{"at":"2026-03-04T12:00:00Z","type":"AllocateBudget","agent":"a","budget":{"cost_usd":%s}}\n'
    (tmp_path / "exact.jsonl").write_text((line % "100.123456789").replace("\n", "\r\n"), encoding="utf-8")
    assert out_of(run("simulate", "exact.jsonl"))[0]["reply"]["ok"]["allocated"] == {"cost_usd": "100.123456789"}
    (tmp_path / "exact.jsonl").write_text(line % "0.1234567891", encoding="utf-8")
    assert out_of(run("simulate", "exact.jsonl"))[0]["reply"]["error"]["code"] == "invalid_amount"


GOOD = '{"at": "2026-03-04T12:00:00Z", "type": "GetGlobalStatus"}\n'
BAD_LINES = [
    (GOOD + "{oops}\n", "2:2: not JSON: Expecting property name enclosed in double quotes"),
    (GOOD + "\n[1]\n", "3:1: a line is one JSON object, a message"),
    ("null\n", "1:1: a line is one JSON object, a message"),
    ('{"type": "GetGlobalStatus"}', "1:1: at: missing"),
    ('{"type": "GetGlobalStatus", "at": "noon"}', '1:29: at: found "noon", allowed is an RFC 3339 time'),
    ('{"at": "2026-03-04T12:00:00", "type": "GetGlobalStatus"}', "1:2: at: found"),
    ('{"at": 1772625600, "type": "GetGlobalStatus"}', "1:2: at: found 1772625600"),
    ('{"at": "2026-02-30T12:00:00Z", "type": "GetGlobalStatus"}', "1:2: at: found"),
    (GOOD + GOOD.replace("12:00", "11:59"), "2:2: at: 2026-03-04T11:59:00Z is earlier than the line before"),
    (GOOD.replace("{", '{"by": 7, '), "1:2: by: allowed is a name"),
    (GOOD.replace("{", '{"by": "", '), "1:2: by: allowed is a name"),
    (GOOD + "[" * 100_000, "2:1: not JSON: nested too deeply"),
    (GOOD.replace("{", '{"by": "\\ud800", '), "1:1: not JSON"),
    ('{"at": NaN}', "1:1: not JSON"),
]


@pytest.mark.parametrize(("text", "reason"), BAD_LINES, ids=[reason[:40] for _, reason in BAD_LINES])
def test_a_bad_file_is_reported_by_line_column_and_reason(run: Run, tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "bad.jsonl").write_text(text, encoding="utf-8")
    result = run("simulate", "bad.jsonl", "--store", "sqlite:///kept.db")
    assert result.exit_code == 2
    assert f"bad.jsonl:{reason}" in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not (tmp_path / "kept.db").exists(), "nothing was run"


def test_a_file_that_is_not_utf_8_is_a_bad_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(GOOD.encode().replace(b"Get", b"\xff"))
    result = run("simulate", "bad.jsonl")
    assert result.exit_code == 2
    assert "bad.jsonl:1:" in result.stderr
    assert "not UTF-8" in result.stderr


def test_an_empty_file_is_a_bad_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n", encoding="utf-8")
    result = run("simulate", "empty.jsonl")
    assert result.exit_code == 2
    assert "holds no messages" in result.stderr
