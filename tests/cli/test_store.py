"""``tallystick store``: what a file is, and a copy of a live fleet that is proved before it has a name."""

import json
import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.store import open_store
from tests.support.cli import Run
from tests.support.programs import SECONDS


def answer(run: Run, *words: str) -> dict[str, Any]:
    result = run("store", *words, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_file_says_which_fleet_it_is_how_far_it_goes_and_who_wrote_it(run: Run, fleet: Path) -> None:
    found = answer(run, "info")
    assert found["store"] == f"sqlite:///{fleet}"
    assert found["bytes"] >= fleet.stat().st_size
    head = run("audit", "anchor").stdout.split()[0]
    assert f"{found['records']}:{found['digest']}" == head
    assert found["writer"]["holder"].startswith("process ")
    assert found["first_at"] == "2026-03-04T12:00:00Z"
    text = run("store", "info").stdout
    assert f"head       {head}" in text
    assert f"fleet      {found['fleet']}" in text


def test_a_copy_says_of_which_file_it_is_one_and_both_are_the_same_fleet(run: Run, tmp_path: Path) -> None:
    with Fleet.open("sqlite:///tallystick.db") as live:
        live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 5}})
        while_open = answer(run, "info")
        assert while_open["writer"]["runs"] is True
        assert while_open["copied"] is False
    shutil.copy(tmp_path / "tallystick.db", tmp_path / "copy.db")
    copy = answer(run, "info", "--store", "sqlite:///copy.db")
    assert copy["fleet"] == while_open["fleet"]
    assert copy["copied"] is True
    text = run("store", "info", "--store", "sqlite:///copy.db").stdout
    assert f"it was last written as {tmp_path}/tallystick.db: this file is a copy of that one, or was moved" in text


def test_the_writer_of_a_file_that_knows_no_place_is_shown_without_one(run: Run, fleet: Path) -> None:
    with closing(sqlite3.connect(fleet)) as connection, connection:
        connection.execute("DROP TABLE place")
    found = answer(run, "info")
    assert found["writer"]["place"] is None
    assert found["copied"] is False
    with Fleet.open(f"sqlite:///{fleet}"):
        assert answer(run, "info")["writer"]["place"] == str(fleet)


def test_an_empty_store_says_so(run: Run) -> None:
    open_store("sqlite:///tallystick.db", writer=True).close()
    assert "empty: no fleet has begun here" in run("store", "info").stdout


def test_a_copy_of_a_fleet_at_work_is_whole_and_sound(run: Run, tmp_path: Path) -> None:
    with Fleet.open("sqlite:///tallystick.db") as live:
        live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000_000}})
        stop, goes_on = threading.Event(), threading.Event()

        def work() -> None:
            while not stop.is_set():
                live.ask([{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}] * 20)
                goes_on.set()

        worker = threading.Thread(target=work)
        worker.start()
        assert goes_on.wait(SECONDS)
        try:
            result = run("store", "backup", "copy.db")
        finally:
            stop.set()
            worker.join()
        assert result.exit_code == 0, result.stderr
        assert "the copy is sound" in result.stdout
        log = [record.data for record in open_store("sqlite:///tallystick.db").read()]
    copied = [record.data for record in open_store("sqlite:///copy.db").read()]
    assert copied == log[: len(copied)]
    assert len(copied) > 3
    assert result.stdout.split()[-1].startswith(f"{len(copied)}:")
    assert "result          sound" in run("audit", "verify", "--store", "sqlite:///copy.db").stdout
    with Fleet.open("sqlite:///copy.db") as again:
        assert "ok" in again.ask({"type": "GetStatus", "agent": "a"})
    assert not list(tmp_path.glob("*.part*"))


def test_a_copy_is_readable_by_those_who_may_read_the_fleet(run: Run, fleet: Path, tmp_path: Path) -> None:
    fleet.chmod(0o600)
    assert run("store", "backup", "copy.db").exit_code == 0
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_file_system_without_links_takes_a_copy_too(
    run: Run, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", no_link)
    assert answer(run, "backup", "copy.db")["file"] == str(tmp_path / "copy.db")
    assert answer(run, "info", "--store", "sqlite:///copy.db")["fleet"] == answer(run, "info")["fleet"]


@pytest.mark.parametrize("target", ["tallystick.db", "there.txt", "dangling", "missing/copy.db"])
def test_a_copy_never_takes_the_place_of_a_file(run: Run, fleet: Path, tmp_path: Path, target: str) -> None:
    (tmp_path / "there.txt").write_text("a letter")
    (tmp_path / "dangling").symlink_to(tmp_path / "there.txt")
    before = fleet.read_bytes()
    result = run("store", "backup", target)
    assert result.exit_code == 1
    assert "is there already" in result.stderr or "cannot be written" in result.stderr
    assert result.stderr.count("\n") == 1
    assert fleet.read_bytes() == before
    assert (tmp_path / "there.txt").read_text() == "a letter"
    assert not list(tmp_path.glob("*.part*"))


def test_a_fleet_that_is_not_sound_is_not_copied_and_what_is_wrong_is_said(
    run: Run, fleet: Path, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(fleet)) as connection, connection:
        changed = "CAST(replace(state, '\"by\"', '\"By\"') AS BLOB)"
        connection.execute(f"UPDATE stored_events SET state = {changed} WHERE originator_version = 5")
    result = run("store", "backup", "copy.db")
    assert result.exit_code == 1
    assert "the copy is not sound" in result.stderr
    assert "position 5" in result.stderr
    assert not (tmp_path / "copy.db").exists()
    assert not list(tmp_path.glob("*.part*"))


@pytest.mark.parametrize("words", [["info"], ["backup", "copy.db"]])
def test_where_no_fleet_is_nothing_is_made(run: Run, tmp_path: Path, words: list[str]) -> None:
    result = run("store", *words)
    assert result.exit_code == 1
    assert "there is no fleet at sqlite:///tallystick.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_store_in_memory_has_no_file_to_copy(run: Run) -> None:
    result = run("store", "backup", "copy.db", "--store", "memory:")
    assert "memory: is in memory: there is no file to copy" in result.stderr
    assert "empty" in run("store", "info", "--store", "memory:").stdout
