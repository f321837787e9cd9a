"""``audit replay`` and ``audit explain``: what was the state, and why was it decided so."""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tallystick.events.catalog import CATALOG
from tallystick.events.log.codec import decode_event
from tallystick.events.log.store import open_store
from tallystick.events.messages import proposals as p
from tallystick.explain.rows import TABLES
from tallystick.wording import amounts
from tests.support.cli import Run, lines
from tests.support.cli_logs import place_of
from tests.support.core import Core, allocate, use
from tests.support.core import fleet as limits
from tests.support.view_logs import write

# --- replay ----------------------------------------------------------------------------------------------------------


def replayed(run: Run, until: str) -> Any:
    result = run("audit", "replay", "--until", until, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_the_state_at_a_position(run: Run, fleet: Path) -> None:
    then = replayed(run, str(place_of(fleet, "hold-placed.v1")))
    assert [account["agent"] for account in then["accounts"]] == ["a", "a-sub"]
    assert then["accounts"][0]["held"] == {"tokens": 10000, "cost_usd": "0.00"}
    assert then["holds"] == [
        {"hold": "h-1", "agent": "a", "amount": {"tokens": 10000}, "expires_at": "2026-03-04T12:05:30Z"}
    ]
    assert then["fleet"]["total_consumed"]["tokens"] == 30000
    store = open_store(f"sqlite:///{fleet}")
    record = store.record(then["position"])
    store.close()
    assert record is not None
    assert then["digest"].encode() in record.data


def test_the_state_at_a_time_is_that_of_the_last_event_before_it(run: Run, fleet: Path) -> None:
    then = replayed(run, "2026-03-04T12:00:29.999Z")
    assert then["at"] == "2026-03-04T12:00:20Z"
    assert then["holds"] == []
    assert then == replayed(run, "2026-03-04T13:00:29.999+01:00")


def test_the_state_for_people(run: Run, fleet: Path) -> None:
    result = run("audit", "replay", "--until", str(place_of(fleet, "hold-placed.v1")))
    assert "pool       53,950,000 tokens and $2698.50" in result.stdout
    assert "h-1" in result.stdout
    assert "a-sub" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("until", ["0", "2000-01-01T00:00:00Z", "2026-03-04", "2026-03-04 11:59"])
def test_before_the_first_event_there_is_nothing_to_show(run: Run, fleet: Path, until: str) -> None:
    result = run("audit", "replay", "--until", until)
    assert result.exit_code == 1
    assert "nothing had been recorded by then" in result.stderr


@pytest.mark.parametrize(
    ("until", "code", "reason"),
    [
        ("999", 1, "there is no position 999 yet"),
        ("yesterday", 2, "found 'yesterday', allowed is a position, or a time"),
        ("2026-03-04T", 2, "allowed is a position, or a time"),
        ("-1", 2, ""),
    ],
)
def test_a_moment_that_is_none_is_reported(run: Run, fleet: Path, until: str, code: int, reason: str) -> None:
    result = run("audit", "replay", "--until", until)
    assert result.exit_code == code
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


# --- explain: one event ----------------------------------------------------------------------------------------------


def test_every_event_has_exactly_one_row_that_explains_it() -> None:
    explained = Counter(kind for table in TABLES for kind in table)
    assert explained == Counter(CATALOG)
    followed = {kind for table in TABLES for row in table.values() for kind in row.after}
    assert followed <= set(CATALOG)


def test_every_position_can_be_explained(run: Run, fleet: Path) -> None:
    store = open_store(f"sqlite:///{fleet}")
    records = list(store.read())
    store.close()
    for record in records:
        told = json.loads(run("audit", "explain", str(record.position), "--json").stdout)
        assert told["position"] == record.position
        assert told["type"] == record.name
        assert told["by"] == decode_event(record.data, record.name).by
        assert record.position in [entry["position"] for entry in told["caused_together"]]
        assert all(entry["position"] < record.position for entry in told["led_to_by"])


def test_a_level_is_explained_by_its_rule_and_its_numbers(run: Run, fleet: Path) -> None:
    black = place_of(fleet, "level-changed.v1", 1)
    result = run("audit", "explain", str(black))
    assert result.exit_code == 0
    for words in (
        "a went from yellow to black at 111.1111 % of its tokens",
        "50,000 tokens used of 45,000 tokens",
        "its allocation is 50,000 tokens, of which its sub-agents were granted 5,000 tokens",
        "black begins at 100 % (enforcement.stop_at, in force since position 1)",
        "local, with the id line-6:",
        '{"type":"ReportUsage","agent":"a","usage":{"tokens":20000,',
        f"→ {black:>8}  a went from yellow to black",
        "the pool covered 5,000 tokens for a: more was used than had been allocated or held",
        "what led to it",
        "a was opened with 50,000 tokens and $1.50 from the pool",
        "a went from green to yellow",
    ):
        assert words in result.stdout


def test_a_refusal_is_explained_by_its_numbers_and_what_led_to_it(run: Run, fleet: Path) -> None:
    told = run("audit", "explain", str(place_of(fleet, "request-refused.v1"))).stdout
    assert "Reserve of a was refused, budget_exhausted: tokens: 10000 was asked for, 5000 is free" in told
    assert "available: tokens 5000" in told
    stopped = run("audit", "explain", str(place_of(fleet, "request-refused.v1", 1))).stdout
    assert "agent_stopped" in stopped
    assert f"{place_of(fleet, 'agent-stopped.v1')}  a was stopped: that is enough" in stopped


def test_what_the_clock_did_names_the_hold_that_ended(run: Run, fleet: Path) -> None:
    told = run("audit", "explain", str(place_of(fleet, "hold-ended.v1"))).stdout
    assert "no request: the clock recorded it when it was due" in told
    assert f"{place_of(fleet, 'hold-placed.v1')}  a reserved 10,000 tokens in hold h-1" in told


@pytest.mark.parametrize("position", ["0", "9999"])
def test_a_position_that_is_not_there_is_reported(run: Run, fleet: Path, position: str) -> None:
    result = run("audit", "explain", position)
    assert result.exit_code == 1
    assert f"there is no position {position}" in result.stderr


# --- explain: an agent -----------------------------------------------------------------------------------------------


def test_the_story_of_an_agent(run: Run, fleet: Path) -> None:
    result = run("audit", "explain", "a")
    told = result.stdout
    happened = [
        "a was opened with 50,000 tokens and $1.50",
        "a-sub was opened with 5,000 tokens from a",
        "1 report: 30,000 tokens used",
        "a went from green to yellow",
        "1 hold: nothing used",
        "Reserve of a was refused",
        "hold h-1 of a expired",
        "the pool covered 5,000 tokens for a",
        "a went from yellow to black",
        "a is stopped and gave back",
        "moved from the pool to a",
        "settling hold h-1 after its end",
        "a borrowed 100,000 tokens",
        "a was stopped: that is enough",
    ]
    places = [told.index(words) for words in happened]
    assert places == sorted(places)
    assert "stranger" not in told


def test_the_story_for_machines(run: Run, fleet: Path) -> None:
    told = json.loads(run("audit", "explain", "agent:a-sub", "--json").stdout)
    assert told["agent"] == "a-sub"
    assert [entry["type"] for entry in told["story"]] == ["budget-allocated.v1", "request-refused.v1"]


def test_many_reports_in_a_row_are_one_line(run: Run, tmp_path: Path) -> None:
    usage = {"tokens": 100, "cost_usd": "0.001"}
    messages: list[dict[str, object]] = [
        {"at": "2026-03-04T12:00:00Z", "type": "AllocateBudget", "agent": "7", "budget": {"tokens": 50000}},
        *({"at": f"2026-03-04T12:00:{n}Z", "type": "ReportUsage", "agent": "7", "usage": usage} for n in (20, 40, 50)),
    ]
    (tmp_path / "reports.jsonl").write_text(lines(messages), encoding="utf-8")
    run("simulate", "reports.jsonl", "--store", "sqlite:///tallystick.db")
    assert "3 reports: 300 tokens and $0.003 used" in run("audit", "explain", "agent:7").stdout


def test_an_agent_that_no_record_names_is_an_error(run: Run, fleet: Path) -> None:
    result = run("audit", "explain", "nobody")
    assert result.exit_code == 1
    assert "no event names 'nobody'" in result.stderr


def test_words_of_others_cannot_move_the_cursor(run: Run, fleet: Path) -> None:
    run("send", json.dumps({"type": "Stop", "agent": "a-sub", "reason": "x\x1b[2Jy\nz"}))
    place = str(place_of(fleet, "agent-stopped.v1", 1))
    for what in ("a-sub", place):
        told = run("audit", "explain", what).stdout
        assert "a-sub was stopped: x\\x1b[2Jy\\nz" in told
        assert "\x1b" not in told


def test_a_broken_log_explains_nothing(run: Run, fleet: Path) -> None:
    with sqlite3.connect(fleet) as connection:
        connection.execute("DELETE FROM stored_events WHERE originator_version=5")
    for args in (["explain", "9"], ["explain", "a"], ["replay", "--until", "9"]):
        result = run("audit", *args)
        assert result.exit_code == 1
        assert "the log is broken at position 5: the record is missing" in result.stderr
        assert "see tallystick audit verify" in result.stderr
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("triple", "words"),
    [
        ((1, None, None), "1 token"),
        ((1500, 1500, 10_000_000), "1,500 tokens, 1.5 s and $0.01"),
        ((None, None, None), "nothing"),
        ((0, None, 5), "0 tokens and $0.000000005"),
    ],
)
def test_amounts_in_words(triple: tuple[int | None, int | None, int | None], words: str) -> None:
    assert amounts(triple) == words


# --- a fleet that runs dry -------------------------------------------------------------------------------------------

DRY = [
    {"type": "AllocateBudget", "agent": "boss", "budget": {"tokens": 5000}, "priority": "critical"},
    {"type": "AllocateBudget", "agent": "hand", "parent": "boss", "budget": {"tokens": 1000}, "product": "p"},
    {"type": "Throttle", "agent": "boss", "rate": 0.25},
    {"type": "ReportUsage", "agent": "hand", "usage": {"tokens": 100, "time_seconds": 10}},
    {"type": "Reserve", "agent": "hand", "estimate": {"tokens": 10}, "id": "too-soon"},
    {"type": "Resume", "agent": "boss"},
    {"type": "Reserve", "agent": "hand", "estimate": {"tokens": 10, "time_seconds": 1}, "id": "h"},
    {"type": "Heartbeat", "hold": "h"},
    {"type": "Settle", "hold": "h", "usage": {"tokens": 12}},
    {"type": "Reserve", "agent": "hand", "estimate": {"tokens": 10}, "id": "h2"},
    {"type": "CancelHold", "hold": "h2"},
    {"type": "ReturnToPool", "agent": "hand", "amount": {"tokens": 100}},
    {"type": "AllocateFromPool", "agent": "spare", "request": {"tokens": 600}},
    {"type": "AllocateFromPool", "agent": "spare", "request": {"tokens": 100}},
    {"type": "ReportUsage", "agent": "boss", "model": "claude-haiku-5-5", "input_tokens": 8100, "output_tokens": 0},
    {"type": "Reserve", "agent": "spare", "estimate": {"tokens": 10}, "id": "in-crisis"},
    {"type": "BorrowFromPool", "agent": "boss", "amount": {"tokens": 100}},
    {"type": "ReportUsage", "agent": "spare", "usage": {"tokens": 3000}, "operation": "much too much"},
    {"type": "PauseAll", "reason": "the fleet is dry"},
    {"type": "Reserve", "agent": "boss", "estimate": {"tokens": 10}, "id": "paused"},
    {"type": "ResumeAll"},
    {"type": "SetTotalBudget", "budget": {"tokens": 90000}},
    {"type": "ReportUsage", "agent": "boss", "usage": {"tokens": 1}},
    {"type": "ReleaseReserve", "reason": "the audit is due"},
    {"type": "ReleaseBudget", "agent": "boss"},
    {"type": "ReportUsage", "agent": "hand", "usage": {"tokens": 7}},
    {"type": "ReleaseBudget", "agent": "hand"},
]


@pytest.fixture
def dry(run: Run, tmp_path: Path) -> Path:
    (tmp_path / "dry.yml").write_text("total_budget: {tokens: 10000, period: day}\n", encoding="utf-8")
    messages = [{"at": f"2026-03-04T12:00:{n:02}Z", **message} for n, message in enumerate(DRY)]
    messages.append({"at": "2026-03-05T00:00:01Z", "type": "GetGlobalStatus"})
    (tmp_path / "dry.jsonl").write_text(lines(messages), encoding="utf-8")
    result = run("simulate", "dry.jsonl", "--config", "dry.yml", "--store", "sqlite:///tallystick.db")
    assert result.exit_code == 0, result.stderr
    return tmp_path / "tallystick.db"


def test_a_fleet_that_runs_dry_can_be_explained(run: Run, dry: Path) -> None:
    store = open_store(f"sqlite:///{dry}")
    count = sum(1 for _ in store.read())
    store.close()
    told = {position: run("audit", "explain", str(position)) for position in range(1, count + 1)}
    assert all(result.exit_code == 0 for result in told.values())
    everything = "\n".join(result.stdout for result in told.values())
    for words in (
        "boss was throttled to 0.25 of normal speed",
        "the reserve covered",
        "the overdraft covered",
        "the fleet's debt is now",
        "spent and 0 tokens held in this period, against 9,000 tokens that the fleet can spend",
        "throttle begins at 90 % (enforcement.fleet.throttle_at, in force since position 1) and ends 5 % below it",
        "stop_all begins at 100 % of the total and ends 5 % below it",
        "priced as claude-haiku-5-5: $",
        "asked for: 10 tokens; free: ",
        "hold h2 of hand was cancelled",
        "on demand it has drawn 700 tokens in all; at most 50 % of what the fleet can spend",
        "a budget period began: ",
        "the emergency reserve was opened for critical agents: the audit is due",
        "everything was paused: the fleet is dry",
        "the pause was ended",
        "7 tokens, after its release",
    ):
        assert words in everything, words


def test_a_throttle_from_above_is_named_by_its_position(run: Run, dry: Path) -> None:
    told = json.loads(run("audit", "explain", str(place_of(dry, "request-refused.v1")), "--json").stdout)
    assert told["event"]["code"] == "throttled"
    assert told["event"]["numbers"]["decided_by"] == "ancestor_throttle"
    assert place_of(dry, "agent-throttled.v1") in [entry["position"] for entry in told["led_to_by"]]


def test_what_the_fleet_did_is_part_of_every_open_agents_story(run: Run, dry: Path) -> None:
    told = run("audit", "explain", "spare").stdout
    assert "the fleet's response went from" in told
    assert "everything was paused: the fleet is dry" in told


def test_what_became_of_an_alert_is_shown_and_leads_back_to_it(run: Run, tmp_path: Path) -> None:
    core = Core(
        limits(10_000, notifications={"ceo": ["json://one"], "ops": ["json://two"]}), allocate("a", 10), use("a", 10)
    )
    ((alert, notice),) = core.ledger.outbox.items()
    ceo, ops = notice.owed
    core.given(p.RecordDelivery(alert=alert, to="ceo", address=ceo[1]))
    core.given(p.GiveUpDelivery(alert=alert, to="ops", address=ops[1], attempts=36))
    store = open_store("sqlite:///tallystick.db", writer=True)
    write(store, core.log)
    store.close()
    position = place_of(tmp_path / "tallystick.db", "alert-delivered.v1")
    told = run("audit", "explain", str(position), "--json")
    raised = place_of(tmp_path / "tallystick.db", "alert-raised.v1")
    assert [entry["position"] for entry in json.loads(told.stdout)["led_to_by"]] == [raised]
    assert f"alert {alert} was delivered to ceo (address {ceo[1]})" in run("audit", "explain", str(position)).stdout
    failed = run("audit", "explain", str(position + 1)).stdout
    assert f"alert {alert} was not delivered to ops (address {ops[1]}): it was not accepted in 36 attempts" in failed
