"""``audit verify``: whatever is done to the stored log with the ``sqlite3`` shell, the first bad position is named."""

import json
import shutil
import sqlite3
import subprocess
import sys
import zlib
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

import tallystick.actors.manager
from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.codec import GENESIS
from tallystick.events.log.snapshot import unpacked
from tallystick.events.log.store import open_store
from tests.support.cli import Run
from tests.support.layouts import body_of, put_each_in_a_row

pytestmark = pytest.mark.skipif(shutil.which("sqlite3") is None, reason="the sqlite3 shell is not installed")


def sqlite(db: Path, statement: str) -> str:
    return subprocess.run(["sqlite3", str(db)], input=statement, check=True, capture_output=True, text=True).stdout


def end_of(db: Path) -> int:
    return int(sqlite(db, "SELECT max(originator_version) FROM stored_events"))


def test_an_untouched_log_is_sound(run: Run, fleet: Path) -> None:
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert f"events          {end_of(fleet)}, 2026-03-04 12:00:00Z to 2026-03-04 12:10:53Z" in result.stdout
    assert "result          sound" in result.stdout
    assert "not checked: whether the tail was cut off" in result.stdout


E = "UPDATE stored_events SET "
BEHIND = 0
"""Stands for the position behind the end."""
TAMPERINGS = {
    "a number is changed": (
        E + "state=CAST(replace(CAST(state AS TEXT),'30000','29999') AS BLOB) WHERE originator_version=6",
        6,
        "the digest does not match",
    ),
    "a record is rewritten as text": (
        E + "state=replace(CAST(state AS TEXT),'30000','29999') WHERE originator_version=6",
        6,
        "stored as text",
    ),
    "a record is rewritten as the same text": (
        E + "state=CAST(state AS TEXT) WHERE originator_version=6",
        6,
        "stored as text",
    ),
    "a digest is changed": (
        E + "state=CAST(substr(CAST(state AS TEXT),1,length(state)-4)||'00\"}' AS BLOB) WHERE originator_version=9",
        9,
        "the digest does not match",
    ),
    "a record is emptied": (E + "state=x'' WHERE originator_version=9", 9, "does not end in a digest"),
    "a record is no record": (E + "state=NULL WHERE originator_version=9", 9, "stored as text"),
    "a stored name is changed": (
        E + "topic='hold-placed.v1' WHERE originator_version=6",
        6,
        "stored as 'hold-placed.v1', but names another type",
    ),
    "a record in the middle is deleted": (
        "DELETE FROM stored_events WHERE originator_version=12",
        12,
        "the record is missing",
    ),
    "the first record is deleted": ("DELETE FROM stored_events WHERE originator_version=1", 1, "the record is missing"),
    "the gap is closed by moving up": (
        "DELETE FROM stored_events WHERE originator_version=12;"
        + E
        + "originator_version=-originator_version WHERE originator_version>12;"
        + E
        + "originator_version=-originator_version-1 WHERE originator_version<0",
        12,
        "the digest does not match",
    ),
    "a record is inserted at the end": (
        (
            "INSERT INTO stored_events SELECT 'fleet',(SELECT max(originator_version)+1 FROM stored_events),"
            "topic,state FROM stored_events WHERE originator_version=6"
        ),
        BEHIND,
        "the digest does not match",
    ),
    "a record is inserted far behind the end": (
        "INSERT INTO stored_events SELECT 'fleet',99,topic,state FROM stored_events WHERE originator_version=6",
        BEHIND,
        "the record is missing: the next one in the store is at position 99",
    ),
    "two records are swapped": (
        E
        + "originator_version=0 WHERE originator_version=7;"
        + E
        + "originator_version=7 WHERE originator_version=8;"
        + E
        + "originator_version=8 WHERE originator_version=0",
        7,
        "the digest does not match",
    ),
    "the contents of two records are swapped": (
        "CREATE TEMP TABLE two AS SELECT * FROM stored_events WHERE originator_version IN (7,8);"
        + E
        + "state=(SELECT state FROM two WHERE originator_version=8) WHERE originator_version=7;"
        + E
        + "state=(SELECT state FROM two WHERE originator_version=7) WHERE originator_version=8",
        7,
        "the digest does not match",
    ),
}


@pytest.mark.parametrize("what", TAMPERINGS)
def test_the_first_bad_position_is_named(run: Run, fleet: Path, what: str) -> None:
    """In the layout of older versions, in which each record has a row."""
    statement, position, reason = TAMPERINGS[what]
    position = position or end_of(fleet) + 1
    put_each_in_a_row(fleet)
    sqlite(fleet, statement)
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tallystick audit verify: position {position}: ")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert f"proved events   {position - 1}" in result.stdout


STRAYS = {
    "another stream": ("INSERT INTO stored_events VALUES ('shadow',1,'x','y')", "belongs to the stream 'shadow'"),
    "position zero": ("INSERT INTO stored_events VALUES ('fleet',0,'x','y')", "is at position 0"),
    "no position": ("INSERT INTO stored_events VALUES ('fleet',NULL,'x','y')", "is at position None"),
    "a row put back elsewhere": (
        (
            "CREATE TEMP TABLE one AS SELECT * FROM stored_events WHERE originator_version=5;"
            "DELETE FROM stored_events WHERE originator_version=5; INSERT INTO stored_events SELECT * FROM one"
        ),
        " of the table is at position 5",
    ),
}


@pytest.mark.parametrize("what", STRAYS)
def test_a_row_that_readers_do_not_see_is_named(run: Run, fleet: Path, what: str) -> None:
    statement, reason = STRAYS[what]
    sqlite(fleet, statement)
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1


# --- what only an outside record shows -------------------------------------------------------------------------------


def test_a_cut_tail_shows_only_against_an_anchor(run: Run, fleet: Path, tmp_path: Path) -> None:
    kept, end = tmp_path / "anchors.txt", end_of(fleet)
    run("audit", "anchor", "--out", str(kept))
    anchor = run("audit", "anchor").stdout
    assert anchor.startswith(f"{end}:")
    assert kept.read_text(encoding="utf-8").split()[0] == anchor.split()[0]
    assert run("audit", "verify", "--anchor-file", str(kept)).exit_code == 0

    sqlite(fleet, f"DELETE FROM stored_events WHERE originator_version>{end - 4}")
    without = run("audit", "verify")
    assert without.exit_code == 0
    assert "not checked: whether the tail was cut off" in without.stdout
    for option in (["--anchor-file", str(kept)], ["--anchor", anchor.strip()]):
        result = run("audit", "verify", *option)
        assert result.exit_code == 1
        assert (
            f"position {end - 3}: the log ends at position {end - 4}, and an anchor is from position {end}"
            in result.stderr
        )


def test_a_cut_tail_shows_against_the_views_beside_the_log(run: Run, fleet: Path) -> None:
    assert run("status").exit_code == 0
    end = end_of(fleet)
    assert f"views           agree with the log at position {end}" in run("audit", "verify").stdout
    sqlite(fleet, f"DELETE FROM stored_events WHERE originator_version>{end - 4}")
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert (
        f"position {end - 3}: the log ends at position {end - 4}, and the file of views is from position {end}"
        in result.stderr
    )


def test_a_log_written_anew_shows_only_against_an_anchor(run: Run, fleet: Path) -> None:
    anchor = run("audit", "anchor").stdout.strip()
    store = open_store(f"sqlite:///{fleet}")
    records = list(store.read())
    store.close()
    put_each_in_a_row(fleet)
    digest, forged = GENESIS, []
    for record in records:
        body = body_of(record).replace(b"that is enough", b"no reason at all")
        digest = sha256(digest + body).digest()
        forged.append((record.position, body + b',"digest":"' + digest.hex().encode() + b'"}'))
    statements = [f"{E}state=x'{data.hex()}' WHERE originator_version={position}" for position, data in forged]
    sqlite(fleet, ";".join(statements))
    assert run("audit", "verify").exit_code == 0
    result = run("audit", "verify", "--anchor", anchor)
    assert result.exit_code == 1
    assert f"position {end_of(fleet)}: an anchor has another digest for it" in result.stderr


@pytest.mark.parametrize("text", ["", "12", "12:abc", "0:" + "0" * 64, "x:" + "0" * 64])
def test_what_is_no_anchor_is_refused(run: Run, fleet: Path, tmp_path: Path, text: str) -> None:
    file = tmp_path / "anchors.txt"
    file.write_text(f"1:{'0' * 64} 2026-03-04T12:00:00Z\n\n{text or '#'}\n", encoding="utf-8")
    for option in (["--anchor", text], ["--anchor-file", str(file)]):
        result = run("audit", "verify", *option)
        assert result.exit_code == 2
        assert "an anchor is POSITION:DIGEST" in result.stderr
        assert result.stderr.count("\n") == 1
    assert "anchors.txt:3" in result.stderr


# --- snapshots -------------------------------------------------------------------------------------------------------


@pytest.fixture
def snapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fleet of some sixty events, with snapshots at 20 and 40."""
    monkeypatch.setattr(tallystick.actors.manager, "SNAPSHOT_EVERY", 20)
    db = tmp_path / "tallystick.db"
    with Fleet.open(f"sqlite:///{db}") as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100_000}})
        for _ in range(50):
            fleet.ask({"type": "ReportUsage", "agent": "a", "usage": {"tokens": 10}})
    return db


ASKED = '{"type": "GetStatus", "agent": "a"}'


def reply_of(run: Run) -> dict[str, object]:
    reply = json.loads(run("send", ASKED).stdout)["ok"]
    del reply["idle_seconds"]
    return dict(reply)


def test_snapshots_equal_the_replay(run: Run, snapped: Path) -> None:
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert result.stdout.count("equals the replay") == 2


@pytest.mark.parametrize(
    "change",
    [
        "state=CAST(x'7B' || substr(state,2) AS BLOB)",
        "state=x'00'",
        "state=substr(state,1,100)",
    ],
)
def test_a_tampered_snapshot_changes_nothing_and_is_named(run: Run, snapped: Path, change: str) -> None:
    before = reply_of(run)
    sqlite(snapped, f"UPDATE snapshots SET {change}")
    assert reply_of(run) == before
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "the snapshot was changed: it is ignored when the fleet is opened" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_snapshot_in_which_an_amount_was_changed_changes_nothing_and_is_named(run: Run, snapped: Path) -> None:
    before = reply_of(run)
    with closing(sqlite3.connect(snapped)) as connection, connection:
        for position, state in connection.execute("SELECT originator_version, state FROM snapshots").fetchall():
            changed = unpacked(state).replace(b"100000", b"900000")
            assert changed != unpacked(state)
            connection.execute(
                "UPDATE snapshots SET state=? WHERE originator_version=?", (zlib.compress(changed), position)
            )
    assert reply_of(run) == before
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "the snapshot was changed: it is ignored when the fleet is opened" in result.stderr


def test_a_deleted_snapshot_changes_nothing(run: Run, snapped: Path) -> None:
    before = reply_of(run)
    sqlite(snapped, "DELETE FROM snapshots")
    assert reply_of(run) == before
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert "2 older or deleted: not compared, and not needed" in result.stdout


def test_a_snapshot_from_behind_the_end_shows_a_cut_tail(run: Run, snapped: Path) -> None:
    sqlite(snapped, "DELETE FROM stored_events WHERE originator_version>30")
    result = run("audit", "verify")
    assert result.exit_code == 1
    assert "position 31: the log ends at position 30, and a snapshot is from position 4" in result.stderr


# --- as a process ----------------------------------------------------------------------------------------------------


def test_verify_as_a_process_says_one_line_and_exits_with_1(fleet: Path, tmp_path: Path) -> None:
    put_each_in_a_row(fleet)
    sqlite(fleet, "DELETE FROM stored_events WHERE originator_version=12")
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "audit", "verify"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert "position 12: the record is missing" in done.stderr
    assert done.stderr.count("\n") == 1
