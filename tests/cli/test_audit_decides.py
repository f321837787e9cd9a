"""``audit verify`` trusts only the messages: decisions, view rows and SQL views that somebody changed are named."""

import gzip
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.events.catalog.rules_version import RULES_VERSION
from tallystick.events.log.codec import GENESIS, decode_event, exchange_of, seal
from tallystick.events.log.store import Record, open_store
from tests.support.cli import Run
from tests.support.whatif import sealed_again

URL = "sqlite:///tallystick.db"


def records_of(fleet: Path) -> list[Record]:
    store = open_store(f"sqlite:///{fleet}")
    records = list(store.read())
    store.close()
    return records


def write_anew(fleet: Path, records: list[Record]) -> None:
    """Put these records in the place of the log's, as somebody does who can write the file."""
    with sqlite3.connect(fleet) as db:
        db.execute("DELETE FROM stored_events")
        db.executemany("INSERT INTO stored_events VALUES ('fleet',?,?,?)", records)
    db.close()


def changed(fleet: Path, name: str, change: Callable[[Any], Any], nth: int = 0) -> int:
    """Change the nth event of a name in the log, and give it a whole chain again; its position."""
    records = records_of(fleet)
    position = [record.position for record in records if record.name == name][nth]
    write_anew(fleet, sealed_again(records, position, change))
    return position


def sql(file: Path, *statements: str) -> None:
    with sqlite3.connect(file) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def problems(run: Run) -> list[dict[str, Any]]:
    """What ``audit verify --json`` has to say."""
    result = run("audit", "verify", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == (1 if found["problems"] else 0)
    assert found["result"] == ("not sound" if found["problems"] else "sound")
    return list(found["problems"])


def test_an_untouched_log_is_decided_again_as_recorded(run: Run, fleet: Path) -> None:
    assert run("status").exit_code == 0
    result = run("audit", "verify")
    assert result.exit_code == 0, result.output
    end = len(records_of(fleet))
    assert (
        f"decided again   positions 1 to {end}, by version {RULES_VERSION} of the rules: all as recorded"
        in result.stdout
    )
    assert "every one is what the log comes to" in result.stdout
    assert problems(run) == []


def test_a_halved_cost_in_a_log_whose_chain_was_made_anew_is_named_by_position_and_field(run: Run, fleet: Path) -> None:
    def halved(event: Any) -> Any:
        event.cost_nanos //= 2
        return event

    position = changed(fleet, "usage-reported.v1", halved, nth=-1)
    (record,) = [record for record in records_of(fleet) if record.position == position]
    halved_to = decode_event(record.data, record.name).cost_nanos  # type: ignore[attr-defined]
    assert halved_to
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tallystick audit verify: position {position}: usage-reported.v1 (ReportUsage of ")
    assert f"cost_nanos is {halved_to}, and is {2 * halved_to} when it is decided again" in result.stderr
    (problem,) = problems(run)
    assert (problem["where"], problem["position"]) == ("log", position)
    assert problem["fields"] == [{"field": "cost_nanos", "recorded": halved_to, "decided_again": 2 * halved_to}]


def test_a_refusal_whose_numbers_contradict_it_is_named(run: Run, fleet: Path) -> None:
    def richer(event: Any) -> Any:
        event.numbers["available"] = {"tokens": 123}
        return event

    position = changed(fleet, "request-refused.v1", richer)
    (problem,) = problems(run)
    assert problem["position"] == position
    assert {field["field"] for field in problem["fields"]} >= {"numbers.available.tokens"}


def test_a_number_in_a_sentence_that_is_another_is_named(run: Run, fleet: Path) -> None:
    def other(event: Any) -> Any:
        event.detail = event.detail.replace("100000", "1").replace("1 was", "2 was") + " (7 times)"
        return event

    position = changed(fleet, "request-refused.v1", other)
    (problem,) = problems(run)
    assert problem["position"] == position
    assert [field["field"] for field in problem["fields"]] == ["detail"]


def test_a_reply_that_grants_more_is_named(run: Run, fleet: Path) -> None:
    records = records_of(fleet)
    place = next(record for record in records if record.name == "budget-allocated.v1")
    reply = msgspec.json.decode(exchange_of(place.data).reply)
    reply["ok"]["remaining"]["tokens"] += 1
    write_anew(fleet, sealed_again(records, place.position, lambda event: event, msgspec.json.encode(reply)))
    (problem,) = problems(run)
    assert problem["position"] == place.position
    assert [field["field"] for field in problem["fields"]] == ["reply.ok.remaining.tokens"]


def test_a_message_that_counts_twice_under_one_id_is_named(run: Run, fleet: Path) -> None:
    records = records_of(fleet)
    first = next(record for record in records if record.name == "agent-stopped.v1")
    event, exchange = decode_event(first.data, first.name), exchange_of(first.data)
    digest = bytes.fromhex(records[-1].data[-66:-2].decode()) if records else GENESIS
    last = decode_event(records[-1].data, records[-1].name)
    event.position, event.at = last.position + 1, last.at
    data, _ = seal(event, bytes(exchange.command), bytes(exchange.reply), digest)
    write_anew(fleet, [*records, Record(event.position, first.name, data)])
    (problem,) = problems(run)
    assert problem["position"] == event.position
    assert "the id was used before" in problem["reason"]


# --- views ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def views(run: Run, fleet: Path) -> Path:
    """The file of the fleet's views."""
    assert run("status").exit_code == 0
    return fleet.with_name(f"{fleet.name}.views")


ROW = "copy = (SELECT copy FROM views WHERE side='live' AND view='agents') AND id='a'"


def test_an_edited_view_row_is_named_by_view_row_and_field(run: Run, fleet: Path, views: Path) -> None:
    sql(views, f"UPDATE kept SET row = json_set(row, '$.reports', 77) WHERE {ROW}")
    (problem,) = problems(run)
    assert (problem["where"], problem["view"], problem["row"]) == ("view", "agents", "a")
    assert problem["position"] == len(records_of(fleet))
    assert [(field["field"], field["recorded"]) for field in problem["fields"]] == [("reports", 77)]
    result = run("audit", "verify")
    assert result.stderr.startswith("tallystick audit verify: view agents, row a (at position ")
    assert "reports is 77, and the log comes to " in result.stderr


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (f"DELETE FROM kept WHERE {ROW}", "the row is missing"),
        ("INSERT INTO kept SELECT copy, 'aa', live, row FROM kept WHERE " + ROW, "the log comes to no such row"),
        ("INSERT INTO kept SELECT copy, 7, live, row FROM kept WHERE " + ROW, "the log comes to no such row"),
        (f"UPDATE kept SET live = 1 - live WHERE {ROW}", "its bytes are others"),
        (f"UPDATE kept SET row = 'rubbish' WHERE {ROW}", "row is rubbish"),
        (f"UPDATE kept SET row = ' ' || row WHERE {ROW}", "its bytes are others"),
    ],
)
def test_a_row_that_is_missing_or_too_many_or_no_row_is_named(
    run: Run, views: Path, statement: str, reason: str
) -> None:
    sql(views, statement)
    (problem,) = problems(run)
    assert problem["view"] == "agents"
    assert reason in problem["reason"]


def test_every_row_of_every_view_is_compared(run: Run, views: Path) -> None:
    with sqlite3.connect(views) as db:
        rows = db.execute("SELECT copy, id FROM kept ORDER BY copy, id").fetchall()
    db.close()
    kept = views.read_bytes()
    result = json.loads(run("audit", "verify", "--json").stdout)["views"]
    assert (result["rows"], result["odd_rows"]) == (len(rows), 0)
    for copy, id in rows[:: max(1, len(rows) // 8)]:
        views.write_bytes(kept)
        sql(views, f"UPDATE kept SET row = json_set(row, '$.forged', 1) WHERE copy={copy} AND id='{id}'")
        assert [problem["row"] for problem in problems(run)] == [id]


def test_views_of_another_version_are_said_not_to_be_compared(run: Run, views: Path) -> None:
    sql(views, "UPDATE views SET version = version - 1 WHERE view='agents'")
    assert "the view agents is of version" in run("audit", "verify").stdout


def test_verifying_writes_neither_into_the_log_nor_into_the_views(run: Run, fleet: Path, views: Path) -> None:
    before = [
        sqlite3.connect(file).execute("SELECT total_changes(), * FROM sqlite_master").fetchall()
        for file in (fleet, views)
    ]
    log = records_of(fleet)
    assert problems(run) == []
    assert records_of(fleet) == log
    after = [
        sqlite3.connect(file).execute("SELECT total_changes(), * FROM sqlite_master").fetchall()
        for file in (fleet, views)
    ]
    assert before == after


# --- what is defined as SQL -------------------------------------------------------------------------------------------

FORGED = "CREATE VIEW log AS SELECT 1 AS position, 'nothing' AS type, '{}' AS record"


def test_a_redefined_sql_view_of_the_log_is_named(run: Run, fleet: Path) -> None:
    sql(fleet, "DROP VIEW log", FORGED)
    (problem,) = problems(run)
    assert problem["where"] == "sql"
    assert "the view log in" in problem["reason"]
    assert "is defined otherwise than tallystick defines it: CREATE VIEW log AS SELECT 1" in problem["reason"]


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER quiet AFTER INSERT ON stored_events BEGIN DELETE FROM stored_events WHERE 0; END",
        "CREATE VIEW costs AS SELECT 0 AS dollars",
        "CREATE TABLE extra (x)",
        "CREATE INDEX extra ON stored_events (topic)",
    ],
)
def test_what_somebody_else_defined_is_named(run: Run, fleet: Path, statement: str) -> None:
    sql(fleet, statement)
    (problem,) = problems(run)
    assert "is none of tallystick's" in problem["reason"]


def test_a_redefined_view_of_the_view_rows_is_named(run: Run, views: Path) -> None:
    sql(
        views,
        "DROP VIEW shown",
        "CREATE VIEW shown AS SELECT 'cost' AS view, 1 AS version, 'x' AS id, 1 AS live, '' AS row",
    )
    (problem,) = problems(run)
    assert "the view shown in" in problem["reason"]


# --- what is not decided again ----------------------------------------------------------------------------------------


def test_the_chain_alone_is_quick_and_says_so(run: Run, fleet: Path) -> None:
    def halved(event: Any) -> Any:
        event.tokens //= 2
        return event

    changed(fleet, "usage-reported.v1", halved)
    result = run("audit", "verify", "--quick")
    assert result.exit_code == 0, result.output
    assert "not decided again: only the chain was proved (--quick)" in result.stdout
    assert "conservation" not in result.stdout
    sql(fleet, "DELETE FROM stored_events WHERE originator_version=5")
    assert run("audit", "verify", "--quick").exit_code == 1


def test_the_result_says_which_stretch_was_decided_by_which_rules(run: Run, tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "logs" / "data" / "messages.sqlite.gz"
    fleet = tmp_path / "tallystick.db"
    fleet.write_bytes(gzip.decompress(old.read_bytes()))
    end = len(records_of(fleet))
    (tmp_path / "more.jsonl").write_text(
        '{"at": "2026-03-09T12:00:00Z", "type": "AllocateBudget", "agent": "late", "budget": {"tokens": 5}}\n',
        encoding="utf-8",
    )
    assert run("simulate", "more.jsonl", "--store", URL).exit_code == 0
    result = run("audit", "verify")
    assert result.exit_code == 0, result.output
    assert f"other rules     positions 1 to {end} were decided by version 1" in result.stdout
    assert f"decided again   positions {end + 1} to " in result.stdout
    rules = json.loads(run("audit", "verify", "--json").stdout)["rules"]
    assert [(one["version"], one["decided_again"]) for one in rules] == [(1, False), (RULES_VERSION, True)]

    def more(event: Any) -> Any:
        event.amount = type(event.amount)(tokens=500)
        return event

    position = changed(fleet, "budget-allocated.v1", more, nth=-1)
    (problem,) = problems(run)
    assert problem["position"] == position


def test_the_calendar_is_taken_from_the_log(run: Run, fleet: Path) -> None:
    """Another machine's time-zone data may let a day end at another hour; a day that no zone has is named."""
    kept = fleet.read_bytes()

    def later(hours: int) -> Callable[[Any], Any]:
        def change(event: Any) -> Any:
            event.day_ends_at = event.day_ends_at.replace(day=event.day_ends_at.day + hours // 24, hour=hours % 24)
            return event

        return change

    changed(fleet, "config-loaded.v1", later(1))
    result = run("audit", "verify")
    assert result.exit_code == 0, result.output
    assert "calendar        1 end of days or periods taken from the log" in result.stdout
    shutil.rmtree(fleet.with_name("nothing"), ignore_errors=True)
    fleet.write_bytes(kept)
    position = changed(fleet, "config-loaded.v1", later(48))
    (problem,) = problems(run)
    assert (problem["position"], problem["fields"][0]["field"]) == (position, "day_ends_at")


# --- the index of sources ---------------------------------------------------------------------------------------------

SOURCED = [
    f'{{"type": "ReportUsage", "agent": "lucy", "source_id": "msg-{n}", "usage": {{"tokens": {n}}}}}' for n in (1, 2)
]


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM sources WHERE source = 'msg-1'", "lacks msg-1, which the log has at"),
        ("UPDATE sources SET position = 1 WHERE source = 'msg-2'", "names position 1 for msg-2, for which the log has"),
        ("INSERT INTO sources VALUES ('msg-3', 2)", "names position 2 for msg-3, for which the log has nothing"),
    ],
    ids=["a row is missing", "another position", "a row too many"],
)
def test_an_index_of_sources_that_somebody_changed_is_named(run: Run, fleet: Path, statement: str, says: str) -> None:
    for message in SOURCED:
        assert run("send", message).exit_code == 0
    assert problems(run) == []
    sql(fleet, statement)
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert f"the index of sources {says}" in result.output


def test_an_index_of_sources_that_is_not_there_is_no_fault(run: Run, fleet: Path) -> None:
    for message in SOURCED:
        assert run("send", message).exit_code == 0
    sql(fleet, "DROP TABLE sources")
    assert run("audit", "verify").exit_code == 0
    assert '"recorded":false' in run("send", SOURCED[0]).stdout
    assert run("audit", "verify").exit_code == 0
