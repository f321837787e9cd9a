"""``tallystick events``: the log, one readable line an event, and as it happens beside the process that writes it."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.store import StoreError, open_store
from tallystick.explain.selection import TYPES
from tests.support.cli import Run
from tests.support.cli_logs import place_of, records_of

TIMEOUT_SECONDS = 120


def shown(run: Run, *words: str) -> list[dict[str, Any]]:
    result = run("events", "--json", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_event_is_one_line_in_the_words_of_explain(run: Run, fleet: Path) -> None:
    result = run("events")
    lines = result.stdout.splitlines()
    assert len(lines) == len(records_of(fleet))
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    place = place_of(fleet, "agent-stopped.v1")
    explained = run("audit", "explain", "a").stdout
    (line,) = [line for line in lines if line.startswith(f"{place:>11}  ")]
    assert line in explained.splitlines()
    assert line.endswith("2026-03-04 12:10:52Z  a was stopped: that is enough  (local)")
    assert "\x1b" not in result.stdout


def test_for_machines_each_line_is_an_object_with_what_explain_says_of_it(run: Run, fleet: Path) -> None:
    for found in shown(run, "--since", "20", "--until", "24"):
        explained = json.loads(run("audit", "explain", str(found["position"]), "--json").stdout)
        assert {name: explained[name] for name in found} == found


def test_events_are_selected_by_agent_type_and_refusal(run: Run, fleet: Path) -> None:
    every = shown(run)
    by_agent = shown(run, "--agent", "a-sub")
    assert [one["position"] for one in by_agent] == [
        one["position"]
        for one in every
        if "a-sub" in [one["event"].get(name) for name in ("agent", "source", "target", "parent", "charged")]
    ]
    assert {one["type"] for one in shown(run, "--type", "level-changed", "--type", "hold-placed.v1")} == {
        "level-changed.v1",
        "hold-placed.v1",
    }
    refused = shown(run, "--refused")
    assert refused == [one for one in every if one["type"] == "request-refused.v1"]
    assert shown(run, "--refused", "--agent", "a-sub") == [one for one in refused if one["event"]["agent"] == "a-sub"]


def test_the_newest_events_are_shown_in_order(run: Run, fleet: Path) -> None:
    every = shown(run)
    assert shown(run, "--limit", "3") == shown(run, "-n", "3") == every[-3:]
    assert shown(run, "--limit", "3", "--until", "20") == every[17:20]
    assert shown(run, "--limit", "3", "--since", str(len(every))) == every[-1:]
    assert shown(run, "--limit", "3", "--until", "9999999") == every[-3:]
    by_agent = shown(run, "--agent", "a-sub")
    assert shown(run, "--agent", "a-sub", "--limit", "1") == by_agent[-1:]
    assert len(by_agent) > 1
    assert shown(run, "--limit", "1000000") == every
    none = run("events", "--limit", "0")
    assert (none.exit_code, "--limit" in none.stderr) == (2, True)


def test_events_between_two_moments_include_those_at_both(run: Run, fleet: Path) -> None:
    every = shown(run)
    at = "2026-03-04T12:00:20Z"
    assert shown(run, "--since", at, "--until", at) == [one for one in every if one["at"] == at]
    assert shown(run, "--since", "5", "--until", "7") == every[4:7]
    assert shown(run, "--since", "2026-03-04T12:10") == [one for one in every if one["at"] >= "2026-03-04T12:10"]
    assert shown(run, "--since", "2026-03-04") == shown(run, "--until", "2026-03-05 00:00+00:00") == every
    assert shown(run, "--since", "2026-03-04T14:00+02:00", "--until", "2026-03-04T12:00") == every[:4]
    assert shown(run, "--until", "2026-03-04") == []
    assert run("events", "--since", "2027-01-01").stdout == "No event fits.\n"


def test_a_task_is_shown_with_the_account_of_its_run(run: Run, tmp_path: Path) -> None:
    task = {"task": "T-1", "agent_type": "qa", "product": "shop"}
    with Fleet.open("sqlite:///tallystick.db") as live:
        live.ask({"type": "SubmitTask", **task})
        live.ask({"type": "SubmitTask", **task, "task": "T-2"})
        live.ask({"type": "ReportUsage", "task": "T-1", "usage": {"tokens": 5}})
    types = {one["type"] for one in shown(run, "--task", "T-1")}
    assert types >= {"task-submitted.v1", "task-started.v1", "budget-allocated.v1", "usage-reported.v1"}
    assert "T-2" not in run("events", "--task", "T-1").stdout
    assert not {one["type"] for one in shown(run, "--agent", "T-1")} & {"task-submitted.v1"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--type", "level-chnged"], "there is no type of event 'level-chnged'; similar: level-changed"),
        (["--since", "yesterday"], "found 'yesterday', allowed is a position, or a time"),
        (["--since", "2026-02-30"], "found '2026-02-30', allowed is a position, or a time"),
        (["--follow", "--until", "9"], "--follow goes on"),
    ],
)
def test_what_cannot_be_selected_is_said_in_one_line(run: Run, fleet: Path, words: list[str], said: str) -> None:
    result = run("events", *words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_where_no_fleet_is_it_is_said(run: Run, tmp_path: Path) -> None:
    result = run("events", "--follow")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "there is no fleet at sqlite:///tallystick.db" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_each_type_has_one_name_without_its_version() -> None:
    assert len(TYPES) == len(set(TYPES.values()))
    assert all(name and "." not in name for name in TYPES)


# --- the part of a story ---------------------------------------------------------------------------------------------


def test_a_story_may_be_cut_to_two_moments_or_to_refusals(run: Run, fleet: Path) -> None:
    def story(*words: str) -> list[Any]:
        found = json.loads(run("audit", "explain", "a", "--json", *words).stdout)["story"]
        return [one for one in found if one["type"] != "routine"]

    every = story()
    assert story("--since", "2026-03-04T12:10", "--until", "2026-03-04T12:10:45Z") == [
        one for one in every if "2026-03-04 12:10" <= one["at"] <= "2026-03-04 12:10:45Z"
    ]
    assert story("--refused") == [one for one in every if one["type"] == "request-refused.v1"]
    assert story("--refused") != []
    nothing = run("audit", "explain", "a", "--since", "2027-01-01")
    assert (nothing.exit_code, nothing.stdout) == (0, "Nothing of a fits.\n")
    assert run("audit", "explain", "nobody", "--refused").exit_code == 1


def test_a_position_is_one_event_and_nothing_of_it_is_selected(run: Run, fleet: Path) -> None:
    result = run("audit", "explain", "7", "--refused")
    assert result.exit_code == 2
    assert "not with a position" in result.stderr


# --- as it happens ---------------------------------------------------------------------------------------------------


@contextmanager
def following(folder: Path, *words: str) -> Iterator[tuple["subprocess.Popen[str]", Callable[[], str]]]:
    """A process that follows the store of this folder; and what reads its next line."""
    code = "from tallystick.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "events", "--follow", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    timer = threading.Timer(TIMEOUT_SECONDS, process.kill)
    timer.start()
    try:
        yield process, process.stdout.readline
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


def test_events_of_a_live_fleet_are_shown_as_they_happen_until_ctrl_c(tmp_path: Path) -> None:
    with Fleet.open("sqlite:///tallystick.db") as live:
        live.ask({"type": "AllocateBudget", "agent": "first", "budget": {"tokens": 50}})
        with following(tmp_path) as (process, line):
            while "first was opened" not in line():
                pass
            for number in range(3):
                live.ask({"type": "AllocateBudget", "agent": f"new-{number}", "budget": {"tokens": 5}})
                assert f"new-{number} was opened with 5 tokens" in line()
            process.send_signal(signal.SIGINT)
            rest, error = process.communicate(timeout=TIMEOUT_SECONDS)
        assert (process.returncode, rest, error) == (0, "", "")


def test_what_is_followed_begins_with_as_many_as_were_asked_for(tmp_path: Path) -> None:
    with Fleet.open("sqlite:///tallystick.db") as live:
        for number in range(3):
            live.ask({"type": "AllocateBudget", "agent": f"old-{number}", "budget": {"tokens": 5}})
        with following(tmp_path, "--limit", "2") as (_, line):
            assert "old-1 was opened" in line()
            assert "old-2 was opened" in line()
            live.ask({"type": "AllocateBudget", "agent": "new", "budget": {"tokens": 5}})
            assert "new was opened" in line()


def test_a_fleet_that_is_followed_and_deleted_is_reported(tmp_path: Path) -> None:
    Fleet.open("sqlite:///tallystick.db").close()
    with following(tmp_path) as (process, line):
        assert line()
        for file in tmp_path.iterdir():
            file.unlink(missing_ok=True)  # what reads it may remove some of them itself
        process.wait(TIMEOUT_SECONDS)
        _, error = process.communicate()
    assert process.returncode == 1
    assert error == "tallystick: sqlite:///tallystick.db is not there any more: its file was deleted or replaced\n"


def test_following_begins_with_the_last_ten_or_with_what_was_since(fleet: Path, tmp_path: Path) -> None:
    last = len(records_of(fleet))
    for words, first in (((), last - 9), (("--since", "3"), 3)):
        with following(tmp_path, *words) as (_, line):
            assert [int(line().split()[0]) for _ in range(3)] == [first, first + 1, first + 2]


def test_a_reader_is_woken_by_what_another_store_writes(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/tallystick.db"
    with Fleet.open(url) as live:
        reader = open_store(url)
        subscription = reader.subscribe(0)
        found = iter(subscription)
        first = next(found)
        while first.name != "budget-allocated.v1":
            if first.position == 1:
                live.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 5}})
            first = next(found)
        subscription.stop()
        assert next(found, None) is None
        reader.close()


def test_a_file_in_the_place_of_the_one_that_is_followed_is_not_taken_for_it(fleet: Path) -> None:
    reader = open_store(f"sqlite:///{fleet}")
    found = iter(reader.subscribe(len(records_of(fleet)) - 1))
    next(found)
    other = fleet.with_name("other.db")
    other.write_bytes(fleet.read_bytes())
    other.replace(fleet)
    with pytest.raises(StoreError, match="deleted or replaced"):
        next(found)
    reader.close()
