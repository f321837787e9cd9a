"""Imports into a store, a fleet that runs, and a server: each call once, to the nano-dollar, and nothing for good by a
dry run.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallystick.cli import import_targets
from tallystick.fleet import Fleet
from tests.support.cli import Run
from tests.support.postgres import shared
from tests.support.serving import Served
from tests.support.usage_files import answer, counts_of, meta, minted, rollout, turn, write

MODEL = "claude-sonnet-4-5-20250929"
PRICED = Decimal("0.002955")
"""10 new input tokens at 3 dollars for a million, 1,000 that were cached at 0.3, 300 written to a cache at 3.75, and
100 of output at 15.
"""


def imported(run: Run, *args: str, code: int = 0) -> dict[str, Any]:
    result = run("import", *args, "--json")
    assert result.exit_code == code, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def spent(run: Run, by: str = "agent") -> dict[str, tuple[int, Decimal]]:
    """What was used since the files begin, by agents."""
    parts = json.loads(run("cost", "--by", by, "--since", "2026-01-01", "--json").stdout)
    return {part["by"][by]: (part["tokens_used"], Decimal(part["cost_usd"])) for part in parts}


def test_sessions_count_once_however_often_they_are_imported(run: Run, tmp_path: Path) -> None:
    calls = [answer(f"msg_{n}", f"req_{n}", n) for n in range(1100)]
    write(tmp_path / "projects/-srv-web/s-1.jsonl", *calls[:600], *calls[:10])
    first = imported(run, "claude-code", "projects")
    assert (first["found"], first["recorded"], first["known"]) == (600, 600, 0)
    assert first["dropped"] == {"said again in the files": 10}
    write(tmp_path / "projects/-srv-web/s-2.jsonl", *calls)
    second = imported(run, "claude-code", "projects")
    assert (second["found"], second["recorded"], second["known"]) == (1100, 500, 600)
    assert spent(run) == {"claude-code/web": (1100 * 1410, 1100 * PRICED)}
    assert "sound" in run("audit", "verify").stdout


def test_an_import_that_is_interrupted_is_started_again(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "p/s-1.jsonl", *(answer(f"msg_{n}", f"req_{n}", n) for n in range(1100)))
    ask, asked = import_targets._until_decided, []

    def interrupted(once: Any) -> list[dict[str, Any]]:
        asked.append(once)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return ask(once)

    monkeypatch.setattr(import_targets, "_until_decided", interrupted)
    assert run("import", "claude-code", "p").exit_code == 1
    again = imported(run, "claude-code", "p")
    assert (again["recorded"], again["known"]) == (100, 1000)
    assert spent(run) == {"claude-code/web": (1100 * 1410, 1100 * PRICED)}


def test_a_store_in_postgresql_is_one_like_others(run: Run, tmp_path: Path) -> None:
    url = shared().url(fleet="imported")
    write(tmp_path / "p/s-1.jsonl", answer(), answer("msg_2", "req_2", 2))
    for args, recorded in ((["--dry-run"], 2), ([], 2), (["--dry-run"], 0), ([], 0)):
        told = imported(run, "claude-code", "p", "--store", url, *args)
        assert (told["recorded"], told["known"]) == (recorded, 2 - recorded)


def test_a_dry_run_says_what_an_import_does_and_changes_nothing(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "projects/s-1.jsonl", answer(), answer("msg_2", "req_2", 2, model="no-such-model"))
    told = imported(run, "claude-code", "projects", "--dry-run")
    assert not (tmp_path / "tallystick.db").exists()
    assert Decimal(told.pop("cost_usd")) > PRICED
    assert told == {**imported(run, "claude-code", "projects"), "dry_run": True}
    assert told["unpriced"] == {"no-such-model": 1}
    with (tmp_path / "projects/s-1.jsonl").open("a") as more:
        more.write(f"{json.dumps(answer(output=200))}\n{json.dumps(answer('msg_3', 'req_3', 3))}\n")
    size = (tmp_path / "tallystick.db").stat().st_size
    told = imported(run, "claude-code", "projects", "--dry-run")
    assert (tmp_path / "tallystick.db").stat().st_size == size
    assert told.pop("cost_usd") == str(PRICED)
    assert told == {**imported(run, "claude-code", "projects"), "dry_run": True}
    assert (told["recorded"], told["corrected"], told["known"]) == (1, 1, 1)


def test_beside_live_reports_of_the_same_calls_each_counts_once(run: Run, tmp_path: Path) -> None:
    with Fleet.open(f"sqlite:///{tmp_path / 'tallystick.db'}", notify=False) as fleet:
        telemetry = {"type": "ReportUsage", "agent": "s-1", "model": MODEL, "input_tokens": 1310, "output_tokens": 100}
        telemetry |= {"cached_tokens": 1000, "cache_write_tokens": 300, "occurred_at": "2026-10-01T09:00:01Z"}
        assert "ok" in fleet.ask({**telemetry, "source_id": "req_1"})
        codex = {"type": "ReportUsage", "agent": "c", "model": "gpt-5", "input_tokens": 1000, "output_tokens": 50}
        codex |= {"occurred_at": "2026-10-01T09:00:01Z", "source_id": f"codex/{minted(0)}/1000.600.50.10"}
        assert "ok" in fleet.ask({**codex, "cached_tokens": 600, "reasoning_tokens": 10})
    write(tmp_path / "projects/s-1.jsonl", answer(output=1), answer(), answer("msg_2", "req_2", 2))
    rollout(tmp_path / "sessions", minted(0), meta(minted(0)), turn(0, "gpt-5"), *counts_of((1000, 600, 50, 10)))
    assert imported(run, "claude-code", "projects")["known"] == 1
    assert imported(run, "codex", "sessions")["known"] == 1
    found = spent(run)
    assert found["s-1"] == found["claude-code/web"] == (1410, PRICED)
    assert found["c"][0] == 1050
    assert sum(tokens for tokens, _ in found.values()) == 2 * 1410 + 1050


def test_what_an_adapter_reported_under_the_id_of_a_message_counts_once(run: Run, tmp_path: Path) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 300}
    with Fleet.open(f"sqlite:///{tmp_path / 'tallystick.db'}", notify=False) as fleet:
        report = {"type": "ReportUsage", "agent": "sdk", "model": MODEL, "source_id": "msg_1"}
        fleet.ask({**report, "provider_usage": {**usage, "output_tokens": 90}})
    write(tmp_path / "p/s-1.jsonl", answer(), answer("msg_2", "req_2", 2))
    told = imported(run, "claude-code", "p", "--dry-run")
    assert (told["recorded"], told["corrected"]) == (1, 1)
    assert imported(run, "claude-code", "p")["corrected"] == 1
    assert imported(run, "claude-code", "p")["known"] == 2
    assert spent(run) == {"sdk": (1410, PRICED), "claude-code/web": (1410, PRICED)}


@contextmanager
def running(tmp_path: Path) -> Iterator[str]:
    with Fleet.open(f"sqlite:///{tmp_path / 'tallystick.db'}", notify=False) as fleet:
        assert fleet.control_socket is not None
        yield fleet.store.url


@pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")
def test_a_fleet_that_runs_is_asked_over_its_control_socket(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "projects/s-1.jsonl", *(answer(f"msg_{n}", f"req_{n}", n) for n in range(1100)))
    with running(tmp_path) as url:
        assert imported(run, "claude-code", "projects", "--dry-run", "--store", url)["recorded"] == 1100
        assert imported(run, "claude-code", "projects", "--store", url)["recorded"] == 1100
        assert imported(run, "claude-code", "projects", "--store", url)["known"] == 1100
        refused = run("import", "claude-code", "projects", "--store", url, "--prices", "prices.yml")
        assert refused.exit_code == 2
        assert "this one runs" in refused.stderr
    assert spent(run) == {"claude-code/web": (1100 * 1410, 1100 * PRICED)}


def test_a_server_is_asked_over_http(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "projects/s-1.jsonl", *(answer(f"msg_{n}", f"req_{n}", n) for n in range(1100)))
    server = Served(tmp_path)
    try:
        assert imported(run, "claude-code", "projects", "--dry-run", "--url", server.url)["recorded"] == 1100
        assert imported(run, "claude-code", "projects", "--url", server.url)["recorded"] == 1100
        told = imported(run, "claude-code", "projects", "--dry-run", "--url", server.url)
        assert (told["recorded"], told["known"]) == (0, 1100)
        assert imported(run, "claude-code", "projects", "--url", server.url)["known"] == 1100
        both = run("import", "claude-code", "projects", "--url", server.url, "--store", "sqlite:///x.db")
        assert (both.exit_code, "--store and --url" in both.stderr) == (2, True)
    finally:
        server.stop()
    gone = run("import", "claude-code", "projects", "--dry-run", "--url", server.url)
    assert gone.exit_code == 1
    assert "cannot be reached" in gone.stderr


def test_usage_of_this_period_is_charged_to_the_account_that_is_named(run: Run, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with Fleet.open(f"sqlite:///{tmp_path / 'tallystick.db'}", notify=False) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "ann", "budget": {"tokens": 10_000}})
    write(tmp_path / "p/s-1.jsonl", answer(timestamp=(now + timedelta(seconds=20)).isoformat()))
    assert imported(run, "claude-code", "p", "--agent", "ann")["history"] == 0
    status = json.loads(run("send", '{"type": "GetStatus", "agent": "ann"}').stdout)["ok"]
    assert status["consumed"]["tokens"] == 1410


def test_amounts_in_other_currencies_need_a_rate_and_say_it(run: Run, tmp_path: Path) -> None:
    results = [{"amount": {"value": "1.10", "currency": currency}, "project_id": "p"} for currency in ("eur", "usd")]
    page = {"data": [{"start_time": 1790812800, "end_time": 1790899200, "results": results}]}
    (tmp_path / "costs.json").write_text(json.dumps(page))
    missing = run("import", "openai", "costs.json")
    assert missing.exit_code == 2
    assert "costs.json, line 1: an amount in EUR: name --rate EUR=DOLLARS" in missing.stderr
    assert not (tmp_path / "tallystick.db").exists(), "nothing is half imported"
    for wrong in ("EUR", "EUR=", "EUR=0", "EUR=-1", "EUR=nan", "=1"):
        assert run("import", "openai", "costs.json", "--rate", wrong).exit_code == 2
    told = imported(run, "openai", "costs.json", "--rate", "eur=1.0825")
    assert told["currencies"] == {"EUR": {"amount": "1.10", "rate": "1.0825"}}
    assert spent(run) == {"openai/p": (0, Decimal("1.19075") + Decimal("1.10"))}
    assert spent(run, "label:rate")["1.0825"] == (0, Decimal("1.19075"))


def test_tokens_and_what_they_cost_are_not_imported_together(run: Run, tmp_path: Path) -> None:
    bucket = {"start_time": 1790812800, "end_time": 1790899200}
    for name, result in (("usage", {"input_tokens": 5}), ("costs", {"amount": {"value": 1, "currency": "usd"}})):
        (tmp_path / f"{name}.json").write_text(json.dumps({"data": [{**bucket, "results": [result]}]}))
    refused = run("import", "openai", "usage.json", "costs.json")
    assert refused.exit_code == 2
    assert "or it counts twice" in refused.stderr


def test_what_the_fleet_refuses_is_named_by_file_and_line_and_the_rest_is_recorded(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "p/s-1.jsonl", answer(), answer("msg_2", "req_2", timestamp="2099-01-01T00:00:00Z"))
    for dry in (["--dry-run"], []):
        result = run("import", "claude-code", "p", *dry)
        assert result.exit_code == 1
        assert "s-1.jsonl, line 2: refused: invalid_message: occurred_at" in result.stderr
    assert spent(run) == {"claude-code/web": (1410, PRICED)}


def test_what_cannot_be_read_is_said_and_costs_nothing_else(run: Run, tmp_path: Path) -> None:
    write(tmp_path / "p/s-1.jsonl", answer(), *["{damaged"] * 30)
    result = run("import", "claude-code", "p")
    assert result.exit_code == 0
    assert "s-1.jsonl, line 2: not an object of JSON" in result.stderr
    assert "10 more could not be read" in result.stderr
    (tmp_path / "empty").mkdir()
    assert "empty: no file there ends in .jsonl" in run("import", "codex", "empty").stderr
    nothing = imported(run, "claude-code", "empty")
    assert (nothing["files"], nothing["found"]) == (0, 0)
    (tmp_path / "empty/x.jsonl").write_text("{damaged\n")
    assert imported(run, "claude-code", "empty", code=1)["unreadable"] == 1
    assert run("import", "claude-code", "no-such-folder").exit_code == 2
    assert run("import", "litellm", "empty").exit_code == 2


def test_a_full_disk_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "p/s-1.jsonl", *(answer(f"msg_{n}", f"req_{n}", n) for n in range(300)))
    monkeypatch.setattr("tallystick.importing.staging._PRAGMAS", ("PRAGMA max_page_count = 8",))
    result = run("import", "claude-code", "p")
    assert result.exit_code == 1
    assert "the temporary file of the import could not be written: database or disk is full" in result.stderr


@pytest.mark.parametrize(
    "results",
    [
        [{"amount": {"value": 1, "currency": "x" * 100_000}, "line_item": "gpt-5, input"}],
        [{"input_tokens": 5, "num_model_requests": 1, "model": f"{n}{'x' * 100_000}"} for n in range(20)],
    ],
    ids=["currency", "models"],
)
def test_however_much_a_file_says_a_screen_has_little_of_it(
    run: Run, results: list[dict[str, object]], tmp_path: Path
) -> None:
    file = tmp_path / "usage.json"
    page = {"start_time": 1790812800, "end_time": 1790899200, "results": results}
    file.write_text(json.dumps({"object": "page", "data": [page]}), encoding="utf-8")
    result = run("import", "openai", str(file), "--dry-run")
    assert len(result.output) < 10_000
