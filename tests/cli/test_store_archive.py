"""``store archive``: old records leave the store for a compressed file, and every command answers as before."""

import datetime as dt
import gzip
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.store import Record, Store, StoreError, open_store
from tallystick.events.log.store_archiving import archive
from tallystick.events.log.store_sqlite import SqliteStore
from tests.support.cli import Run
from tests.support.layouts import put_each_in_a_row

NOW = dt.datetime(2026, 4, 1, tzinfo=dt.UTC)
QUESTIONS = (
    ("events", "--json"),
    ("events", "--refused", "--json"),
    ("audit", "verify", "--quick", "--json"),
    ("audit", "verify", "--json"),
    ("audit", "export", "--format", "jsonl"),
    ("audit", "explain", "5"),
    ("audit", "replay", "--until", "9"),
    ("status", "--at", "7", "--json"),
    ("status", "--at", "2026-03-04T12:00:30Z", "--json"),
    ("cost", "--by", "product,model", "--per", "hour", "--at", "8", "--json"),
    ("report", "--json", "--at", "9"),
    ("projections", "rebuild"),
)


def answers(run: Run) -> list[tuple[int, str]]:
    """What every reader of the log says."""
    found = [run(*question) for question in QUESTIONS]
    return [(one.exit_code, one.stdout) for one in found]


def records_of(url: str = "sqlite:///tallystick.db") -> list[Record]:
    with closing(open_store(url)) as store:
        return list(store.read())


def archived(run: Run, before: object, *more: str) -> Any:
    result = run("store", "archive", "--before", str(before), "--json", *more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["archived"]


def stored_rows(file: Path) -> int:
    with closing(sqlite3.connect(file)) as connection:
        found: int = connection.execute("SELECT COUNT(*) FROM stored_events").fetchone()[0]
    return found


@pytest.mark.parametrize("layout", ["old", "new"])
@pytest.mark.parametrize("upto", [1, 6, 10_000])
def test_all_who_read_the_log_answer_as_before(run: Run, fleet: Path, upto: int, layout: str) -> None:
    if layout == "old":
        put_each_in_a_row(fleet)
    run("status")
    log, before = records_of(), answers(run)
    found = archived(run, min(upto + 1, len(log)))
    assert found["upto"] == min(upto, len(log) - 1)
    if layout == "old":
        assert stored_rows(fleet) == len(log) - found["upto"]
    assert records_of() == log
    assert answers(run) == before
    Path("tallystick.db.views").unlink()
    run("status")
    assert answers(run)[:-1] == before[:-1]


def test_records_are_read_from_any_position_on_over_several_archives(run: Run, fleet: Path) -> None:
    log = records_of()
    for before in (4, 9, 13):
        archived(run, before)
    with closing(open_store("sqlite:///tallystick.db")) as store:
        for after in range(len(log) + 2):
            assert list(store.read(after)) == log[after:]
            assert [store.record(after + 1)] == (log[after : after + 1] or [None])
            for upto in range(after, len(log) + 2):
                assert list(store.read(after, upto)) == log[after:upto]
        assert store.last() == log[-1]
        assert store.stray() is None


def test_an_archive_is_plain_gzip_one_record_a_line_with_its_anchor_in_the_first(run: Run, fleet: Path) -> None:
    log = records_of()
    found = archived(run, 6)
    title, *lines = gzip.decompress(Path(found["file"]).read_bytes()).splitlines()
    ends, between = [lines[0], lines[-1]], lines[1:-1]
    assert ends == [log[0].data, log[4].data]
    assert between == [record.data.rpartition(b',"digest":"')[0] + b"}" for record in log[1:4]]
    assert json.loads(title)["anchor"] == found["anchor"]
    assert found["anchor"] == f"5:{json.loads(log[4].data)['digest']}"
    assert "1 of 1" not in run("audit", "verify", "--anchor", found["anchor"]).stderr
    assert run("audit", "verify", "--anchor", found["anchor"]).exit_code == 0
    assert run("store", "info").stdout.count("archive    records 1 to 5") == 1


def test_a_time_moves_what_was_recorded_before_it(run: Run, fleet: Path) -> None:
    log = records_of()
    at = json.loads(log[7].data)["at"]
    found = archived(run, at)
    assert [json.loads(record.data)["at"] >= at for record in log].index(True) == found["upto"]


def test_the_newest_record_stays_and_what_is_gone_is_not_moved_again(run: Run, fleet: Path) -> None:
    log = records_of()
    assert archived(run, "2030-01-01")["upto"] == len(log) - 1
    assert archived(run, "2030-01-01") is None
    text = run("store", "archive", "--before", "2030-01-01")
    assert "nothing to archive" in text.stdout
    with Fleet.open("sqlite:///tallystick.db") as live:
        live.ask({"type": "AllocateBudget", "agent": "later", "budget": {"tokens": 5}})
    positions = [record.position for record in records_of()]
    assert positions == list(range(1, len(positions) + 1))
    assert len(positions) > len(log)
    assert run("audit", "verify").exit_code == 0


def test_a_fleet_goes_on_with_archived_records_and_corrects_one_of_them(run: Run) -> None:
    url = "sqlite:///tallystick.db"
    with Fleet.open(url) as live:
        live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000}})
        report = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 70}, "id": "r-1", "source_id": "s-1"}
        said = live.ask(report)
        position = max(record.position for record in records_of(url) if record.name == "usage-reported.v1")
        live.ask({"type": "AllocateBudget", "agent": "b", "budget": {"tokens": 5}})
    archived(run, position + 1)
    with Fleet.open(url) as live:
        assert live.ask(report) == said
        corrected = {"type": "CorrectUsage", "position": position, "usage": {"tokens": 50}, "reason": "counted twice"}
        assert "ok" in live.ask({**corrected})
        assert live.ask({"type": "GetStatus", "agent": "a"})["ok"]["consumed"]["tokens"] == 50
        assert "ok" in live.ask({**report, "id": "r-2"})
        assert live.ask({"type": "GetStatus", "agent": "a"})["ok"]["consumed"]["tokens"] == 50
    assert run("audit", "verify").exit_code == 0


def test_a_fleet_that_runs_is_not_archived(run: Run, fleet: Path) -> None:
    with Fleet.open(f"sqlite:///{fleet}"):
        result = run("store", "archive", "--before", "5")
        assert result.exit_code == 1
        assert "is being written by process" in result.stderr
    assert not list(fleet.parent.glob("*.archive*"))


def test_a_reader_that_is_under_way_does_not_notice(run: Run, fleet: Path) -> None:
    log = records_of()
    with closing(open_store("sqlite:///tallystick.db")) as store:
        reading = store.read()
        first = next(reading)
        archived(run, 12)
        assert [first, *reading] == log
        assert list(store.read(3)) == log[3:]


def test_who_follows_a_fleet_from_its_first_record_gets_archived_ones_too(run: Run, fleet: Path) -> None:
    log = records_of()
    archived(run, 12)
    for writer in (False, True):
        with closing(open_store("sqlite:///tallystick.db", writer=writer)) as store:
            for after in (0, 5, 11, 12):
                assert _followed(store, after, len(log)) == log[after:]


def _followed(store: Store, after: int, upto: int) -> list[Record]:
    subscription, found = store.subscribe(after), list[Record]()
    for record in subscription:
        found.append(record)
        if record.position == upto:
            break
    subscription.stop()
    return found


def test_a_backup_has_the_archives_and_is_whole_by_itself(run: Run, fleet: Path, tmp_path: Path) -> None:
    log = records_of()
    archived(run, 7)
    assert run("store", "backup", "elsewhere.db").exit_code == 0
    (tmp_path / "away").mkdir()
    for file in tmp_path.glob("elsewhere.db*"):
        file.rename(tmp_path / "away" / file.name)
    fleet.unlink()
    assert records_of("sqlite:///away/elsewhere.db") == log
    assert run("audit", "verify", "--store", "sqlite:///away/elsewhere.db").exit_code == 0
    assert not list(tmp_path.glob("*.part*"))


def test_a_damaged_archive_is_not_backed_up(run: Run, fleet: Path, tmp_path: Path) -> None:
    file = Path(archived(run, 7)["file"])
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    result = run("store", "backup", "copy.db")
    assert result.exit_code == 1
    assert "is not what was written" in result.stderr
    assert not list(tmp_path.glob("copy.db*"))


def test_without_its_archive_a_fleet_does_not_open_and_says_which_file_it_lacks(run: Run, fleet: Path) -> None:
    file = Path(archived(run, 7)["file"])
    file.rename(file.with_suffix(".away"))
    for words in (("audit", "verify"), ("send", "pause", "lunch"), ("store", "backup", "copy.db")):
        result = run(*words)
        assert result.exit_code == 1
        assert f"the archive {file} is not there: put it back beside the store" in result.stderr
    file.write_bytes(b"short")
    assert "has 5 bytes, and had" in run("send", "pause", "lunch").stderr


def test_verify_names_the_first_position_of_a_damaged_block(run: Run, fleet: Path) -> None:
    file = Path(archived(run, 7)["file"])
    data = bytearray(file.read_bytes())
    data[-20] ^= 0xFF
    file.write_bytes(data)
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "position 1" in result.stdout + result.stderr
    assert "is damaged" in result.stdout + result.stderr


def test_verify_names_the_position_of_a_record_that_was_changed_in_an_archive(run: Run, fleet: Path) -> None:
    file = Path(archived(run, 7)["file"])
    with closing(sqlite3.connect(fleet)) as connection, connection:
        at, size = connection.execute("SELECT at_byte, size FROM archive_blocks").fetchone()
        text = gzip.decompress(file.read_bytes()[at : at + size])
        lines = text.splitlines(keepends=True)
        lines[3] = lines[3].replace(b'"by":"', b'"by":"x')
        member = gzip.compress(b"".join(lines))
        file.write_bytes(file.read_bytes()[:at] + member)
        connection.execute("UPDATE archive_blocks SET size=?", (len(member),))
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "positions 1 to 6: the digest at the end does not match" in result.stderr


def test_an_archive_of_an_older_version_in_which_each_record_has_its_digest_is_read(run: Run, fleet: Path) -> None:
    run("status")
    log, before = records_of(), answers(run)
    found = archived(run, 6)
    file = Path(found["file"])
    with closing(sqlite3.connect(fleet)) as connection, connection:
        (at,) = connection.execute("SELECT at_byte FROM archive_blocks").fetchone()
        member = gzip.compress(b"".join(record.data + b"\n" for record in log[:5]))
        file.write_bytes(file.read_bytes()[:at] + member)
        connection.execute("UPDATE archive_blocks SET size=?", (len(member),))
        connection.execute("UPDATE archives SET size=?", (at + len(member),))
    assert records_of() == log
    assert answers(run) == before
    changed = gzip.compress(b"".join(record.data.replace(b"lab", b"bal") + b"\n" for record in log[:5]))
    with closing(sqlite3.connect(fleet)) as connection, connection:
        file.write_bytes(file.read_bytes()[:at] + changed)
        connection.execute("UPDATE archive_blocks SET size=?", (len(changed),))
    first = next(record.position for record in log if b"lab" in record.data)
    assert first <= 5
    assert f"position {first}: the digest does not match" in run("audit", "verify").stderr


def test_a_log_that_is_not_sound_is_not_archived(run: Run, fleet: Path) -> None:
    with closing(sqlite3.connect(fleet)) as connection, connection:
        changed = "CAST(replace(state, '\"by\"', '\"By\"') AS BLOB)"
        connection.execute(f"UPDATE stored_events SET state = {changed} WHERE originator_version = 5")
    rows = stored_rows(fleet)
    result = run("store", "archive", "--before", "9")
    assert result.exit_code == 1
    assert "position 5" in result.stderr
    assert stored_rows(fleet) == rows
    assert not list(fleet.parent.glob("*.archive*"))


def test_a_file_in_the_place_of_an_archive_is_left_alone(run: Run, fleet: Path) -> None:
    other = fleet.with_name("tallystick.db.archive-1-6.jsonl.gz")
    other.write_bytes(b"of another fleet")
    result = run("store", "archive", "--before", "7")
    assert result.exit_code == 1
    assert "is there already, with other records" in result.stderr
    assert other.read_bytes() == b"of another fleet"


def test_the_room_goes_back_to_the_disk_and_rows_keep_their_places(run: Run, tmp_path: Path) -> None:
    url = "sqlite:///tallystick.db"
    with Fleet.open(url) as live:
        live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10**6}})
        for _ in range(30):
            live.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}] * 100)
    log, size = records_of(), (tmp_path / "tallystick.db").stat().st_size
    found = archived(run, len(log) - 5)
    assert (tmp_path / "tallystick.db").stat().st_size < size / 4
    assert found["bytes"] < size / 4
    assert records_of() == log
    with closing(open_store(url)) as store:
        assert store.stray() is None
        assert list(store.read(1_500, 2_600)) == log[1_500:2_600]


def test_growth_is_counted_by_the_days_of_the_log(run: Run, fleet: Path) -> None:
    log = records_of()
    found = json.loads(run("store", "info", "--kinds", "--json").stdout)
    assert sum(found["days"].values()) == len(log)
    assert sum(kind["events"] for kind in found["kinds"].values()) == len(log)
    assert sum(kind["bytes"] for kind in found["kinds"].values()) == sum(len(record.data) for record in log)
    archived(run, 9)
    again = json.loads(run("store", "info", "--kinds", "--json").stdout)
    assert [again[name] for name in ("days", "kinds", "records")] == [
        found[name] for name in ("days", "kinds", "records")
    ]


def test_a_store_that_another_writer_took_over_moves_nothing(fleet: Path, tmp_path: Path) -> None:
    shutil.copy(fleet, tmp_path / "own.db")
    store = open_store("sqlite:///own.db", writer=True)
    assert isinstance(store, SqliteStore)
    with closing(sqlite3.connect(tmp_path / "own.db")) as connection, connection:
        connection.execute("UPDATE writer SET epoch = epoch + 1")
    with pytest.raises(StoreError, match="another writer"):
        archive(store, 5, NOW, lambda records, _: records)
    store.close()
    assert stored_rows(tmp_path / "own.db") == stored_rows(fleet)
    assert records_of(f"sqlite:///{tmp_path}/own.db") == records_of()


def test_an_archive_is_written_to_the_byte_as_it_was_the_first_time(fleet: Path, tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        shutil.copy(fleet, tmp_path / f"{name}.db")
        store = open_store(f"sqlite:///{name}.db", writer=True)
        assert isinstance(store, SqliteStore)
        found = archive(store, 6, NOW, lambda records, _: records)
        store.close()
        assert found is not None
        files.append(found.file.read_bytes())
    assert files[0] == files[1]
