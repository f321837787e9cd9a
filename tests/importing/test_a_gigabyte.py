"""A gigabyte of sessions, imported twice, in bounded memory; `make imports` runs it and says what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.usage_files import answer

pytestmark = pytest.mark.import_long

MEGABYTES = int(os.environ.get("TALLYSTICK_IMPORT_MEGABYTES", "1000"))
RESIDENT_MAX = 400
"""Megabytes of a process that imports, of which about 85 are the program itself."""
CALLS_OF_A_FILE = 3_000


def generated(folder: Path) -> tuple[int, int]:
    """Sessions of calls with three lines each, and one of a user; how many calls and lines they have."""
    row = json.dumps(answer("msg_CALL", "req_CALL", 0, 77777))
    row = row.replace('"the word', '"' + "x" * 700 + " the word")
    user = json.dumps({"type": "user", "message": {"role": "user", "content": "y" * 1500}})
    calls = written = 0
    folder.mkdir()
    while written < MEGABYTES * 1_000_000:
        with (folder / f"{calls}.jsonl").open("w") as file:
            for _ in range(CALLS_OF_A_FILE):
                calls += 1
                mine = row.replace("CALL", f"{calls:09d}")
                lines = [user, *(mine.replace(": 77777", f": {100 * n}") for n in (1, 2, 3))]
                written += file.write("\n".join(lines) + "\n")
    return calls, 4 * calls


def measured(folder: Path, *args: str) -> tuple[dict[str, Any], float, float]:
    """What an import says, its seconds of processor time, and its peak of resident megabytes."""
    command = [sys.executable, "-m", "tallystick", "import", "claude-code", "projects", "--json", *args]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    assert process.returncode == 0
    return json.loads(said), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="the system does not say what a process had in memory")
def test_a_gigabyte_of_sessions_is_imported_in_bounded_memory(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls, lines = generated(tmp_path / "projects")
    for args, expected in (
        (("--dry-run",), {"recorded": calls, "known": 0}),
        ((), {"recorded": calls, "known": 0}),
        ((), {"recorded": 0, "known": calls}),
    ):
        told, seconds, megabytes = measured(tmp_path, *args)
        with capsys.disabled():
            print(  # noqa: T201 - what `make imports` is for
                f"\n{MEGABYTES} MB, {lines:,} lines, {calls:,} calls, {'dry run' if args else 'import'}"
                f" ({expected['known']:,} known): {seconds:.0f} cpu-s, {lines / seconds:,.0f} lines per cpu-s,"
                f" {megabytes:.0f} MB"
            )
        assert {name: told[name] for name in expected} == expected
        assert told["lines"] == lines
        assert megabytes < RESIDENT_MAX
