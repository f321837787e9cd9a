"""``audit export``: the log for other tools, as it is stored or as a table."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli import exporting
from tallystick.cli.columns import COLUMNS
from tallystick.events.log.codec import UPCASTERS
from tallystick.events.log.store import Record
from tests.support.cli import Run
from tests.support.cli_logs import records_of, store_of

csv.field_size_limit(2**24)  # the price list of a new fleet is one field, longer than the library's own limit

FORMS = ("jsonl", "csv", "parquet")
SHELL = pytest.mark.skipif(sys.platform == "win32", reason="a shell of POSIX")


def test_jsonl_is_the_records_as_stored(run: Run, fleet: Path, tmp_path: Path) -> None:
    result = run("audit", "export", "--format", "jsonl")
    assert result.stdout.encode().splitlines() == records_of(fleet)
    run("audit", "export", "--format", "jsonl", "--after", "30", "--out", "tail.jsonl")
    assert (tmp_path / "tail.jsonl").read_bytes().splitlines() == records_of(fleet)[30:]


def test_csv_has_every_field_in_a_fixed_column(run: Run, fleet: Path) -> None:
    result = run("audit", "export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    columns = list(COLUMNS)
    assert list(rows[0]) == columns
    assert columns[:5] == ["position", "at", "type", "id", "by"]
    assert columns[-5:] == ["command", "reply", "peer", "trace", "digest"]
    for row, record in zip(rows, map(json.loads, records_of(fleet)), strict=True):
        for name, value in record.items():
            if isinstance(value, dict) and f"{name}_tokens" in row:
                assert {key: int(row[f"{name}_{key}"]) for key in value} == value
            elif isinstance(value, dict | list):
                assert json.loads(row[name]) == value
            else:
                assert row[name] == (str(value).lower() if isinstance(value, bool) else str(value))
    allocated = next(row for row in rows if row["type"] == "budget-allocated.v1")
    assert (allocated["amount_tokens"], allocated["amount_time_ms"]) == ("50000", "")
    assert allocated["amount_cost_nanos"] == "1500000000"


def test_an_empty_log_has_only_its_head(run: Run, fleet: Path) -> None:
    assert run("audit", "export", "--format", "csv", "--after", "999").stdout.strip() == ",".join(COLUMNS)
    assert run("audit", "export", "--format", "jsonl", "--after", "999").stdout == ""


def test_a_table_shows_an_old_event_in_its_newest_version(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def to_present(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "type": "budget-returned.v1", "amount": {"tokens": fields["back"]}}

    monkeypatch.setitem(UPCASTERS, "budget-returned.v0", to_present)
    old = {"type": "budget-returned.v0", "position": 1, "at": "2026-03-04T12:00:00Z", "agent": "ann", "back": 7}
    data = msgspec.json.encode(old)[:-1] + b',"digest":"%b"}' % (b"a" * 64)
    url = store_of(tmp_path / "old.db", [Record(1, "budget-returned.v0", data)])
    (row,) = csv.DictReader(io.StringIO(run("audit", "export", "--format", "csv", "--store", url).stdout))
    assert (row["type"], row["agent"], row["amount_tokens"]) == ("budget-returned.v1", "ann", "7")
    assert run("audit", "export", "--format", "jsonl", "--store", url).stdout.encode() == data + b"\n"


@pytest.mark.parametrize("form", FORMS)
def test_what_is_recorded_after_the_export_began_is_not_in_it(
    run: Run, fleet: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def busy(records: Iterable[Record], total: int, doing: str) -> Iterator[Record]:
        with Fleet.open(f"sqlite:///{fleet}") as writing:
            writing.ask({"type": "Heartbeat", "agent": "a"})
        return iter(records)

    run("audit", "export", "--format", form, "--out", "quiet")
    monkeypatch.setattr(exporting, "with_progress", busy)
    run("audit", "export", "--format", form, "--out", "busy")
    assert Path("busy").read_bytes() == Path("quiet").read_bytes()


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_that_cannot_be_written_is_reported(run: Run, fleet: Path) -> None:
    result = run("audit", "export", "--format", "csv", "--out", "no/such/folder.csv")
    assert result.exit_code == 1
    assert result.stderr == "tallystick: no/such/folder.csv: No such file or directory\n"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_an_export_that_fails_leaves_what_was_there(run: Run, fleet: Path, tmp_path: Path, form: str) -> None:
    records = [Record(position, "covered.v1", data) for position, data in enumerate(records_of(fleet), start=1)]
    records[20] = Record(21, "covered.v1", b'{"type":"covered.v1","position":21}')
    folder = tmp_path / "exports"
    folder.mkdir()
    (folder / "log").write_text("yesterday's", encoding="utf-8")
    url = store_of(tmp_path / "broken.db", records)
    result = run("audit", "export", "--format", form, "--store", url, "--out", "exports/log")
    assert result.exit_code == 1
    assert result.stderr.startswith("tallystick: the log is broken at position 21: the record cannot be read: ")
    assert result.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["log"]
    assert (folder / "log").read_text(encoding="utf-8") == "yesterday's"


@SHELL
def test_an_export_that_is_killed_leaves_no_half_file_under_its_name(tmp_path: Path) -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from tallystick.cli.common import output\n"
        "with output(Path('log.csv')) as stream:\n"
        "    stream.write(b'half of it')\n"
        "    stream.flush()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("log.csv.")
    assert left.suffix == ".part"


@SHELL
def test_a_new_export_is_read_by_whom_the_old_one_was_and_a_link_stays(run: Run, fleet: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.csv"
    old.touch(0o600)
    (tmp_path / "log.csv").symlink_to(old)
    run("audit", "export", "--format", "csv", "--out", "log.csv")
    assert (tmp_path / "log.csv").is_symlink()
    assert old.stat().st_mode & 0o777 == 0o600
    assert old.read_bytes().startswith(b"position,at,")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_stdout_takes_the_same_bytes_as_a_file(run: Run, fleet: Path, tmp_path: Path, form: str) -> None:
    run("audit", "export", "--format", form, "--out", "log")
    command = [sys.executable, "-m", "tallystick", "audit", "export", "--format", form]
    done = subprocess.run(command, stdout=subprocess.PIPE, cwd=tmp_path, check=True)
    assert done.stdout == Path("log").read_bytes()


@SHELL
def test_a_pipe_that_is_named_is_written_into_and_not_replaced(run: Run, fleet: Path) -> None:
    os.mkfifo("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    run("audit", "export", "--format", "parquet", "--out", "pipe")
    reader.join(timeout=120)
    run("audit", "export", "--format", "parquet", "--out", "log")
    assert read == [Path("log").read_bytes()]


def test_a_reader_who_has_enough_is_no_error(fleet: Path, tmp_path: Path) -> None:
    """Much more than a pipe holds, into a head that takes one line."""
    store = f"sqlite:///{fleet}"
    code = (
        "from tallystick.fleet import Fleet\n"
        f"with Fleet.open({store!r}) as fleet:\n"
        "    fleet.ask([{'type': 'Heartbeat', 'agent': 'a'}] * 1000)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    command = f"{sys.executable} -m tallystick audit export --format jsonl | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
