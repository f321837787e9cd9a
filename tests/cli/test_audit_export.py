"""``audit export``: the log for other tools."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

from tallystick.cli.exporting import COLUMNS
from tallystick.events.store import open_store
from tests.cli.conftest import Run


def records_of(fleet: Path) -> list[bytes]:
    store = open_store(f"sqlite:///{fleet}")
    records = [record.data for record in store.read()]
    store.close()
    return records


def test_jsonl_is_the_records_as_stored(run: Run, fleet: Path, tmp_path: Path) -> None:
    result = run("audit", "export", "--format", "jsonl")
    assert result.stdout.encode().splitlines() == records_of(fleet)
    run("audit", "export", "--format", "jsonl", "--after", "30", "--out", "tail.jsonl")
    assert (tmp_path / "tail.jsonl").read_bytes().splitlines() == records_of(fleet)[30:]


def test_csv_has_every_field_in_a_fixed_column(run: Run, fleet: Path) -> None:
    result = run("audit", "export", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == COLUMNS
    assert COLUMNS[:5] == ["position", "at", "type", "id", "by"]
    assert COLUMNS[-3:] == ["command", "reply", "digest"]
    for row, record in zip(rows, map(json.loads, records_of(fleet)), strict=True):
        for name, value in record.items():
            if name in ("reply", "command") or (isinstance(value, dict) and f"{name}_tokens" not in row):
                assert json.loads(row[name]) == value
            elif isinstance(value, dict):
                assert {key: int(row[f"{name}_{key}"]) for key in value} == value
            else:
                assert row[name] == (str(value).lower() if isinstance(value, bool) else str(value))
    allocated = next(row for row in rows if row["type"] == "budget-allocated.v1")
    assert (allocated["amount_tokens"], allocated["amount_time_ms"]) == ("50000", "")
    assert allocated["amount_cost_nanos"] == "1500000000"


def test_an_empty_log_has_only_its_head(run: Run, fleet: Path) -> None:
    assert run("audit", "export", "--format", "csv", "--after", "999").stdout.strip() == ",".join(COLUMNS)
    assert run("audit", "export", "--format", "jsonl", "--after", "999").stdout == ""


def test_a_format_of_a_later_issue_is_told(run: Run, fleet: Path) -> None:
    result = run("audit", "export", "--format", "parquet")
    assert result.exit_code == 2
    assert "'parquet' is not one of 'jsonl', 'csv'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_file_that_cannot_be_written_is_told(run: Run, fleet: Path) -> None:
    result = run("audit", "export", "--format", "csv", "--out", "no/such/folder.csv")
    assert result.exit_code == 1
    assert result.stderr == "tallystick: no/such/folder.csv: No such file or directory\n"


def test_a_reader_who_has_enough_is_no_error(fleet: Path, tmp_path: Path) -> None:
    """Much more than a pipe holds, into a head that takes one line."""
    store = f"sqlite:///{fleet}"
    code = (
        "from tallystick.actors.fleet import Fleet\n"
        f"with Fleet.open({store!r}) as house:\n"
        "    house.ask([{'type': 'Heartbeat', 'agent': 'a'}] * 1000)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    command = f"{sys.executable} -m tallystick audit export --format jsonl | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
