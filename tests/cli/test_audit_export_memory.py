"""``audit export``: the memory that it takes does not grow with the log."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.events import catalog as e
from tests.support.cli_logs import Entry, sealed, store_of
from tests.support.core import START

EVENTS, SHORT = 40_000, 10_000
REPLY_BYTES = 1_000
GROUP_BYTES = 2_000_000
"""Such that the short log, too, fills some row groups of Parquet; the long one is 40 MB and more longer."""

PEAK = """
import sys
from pathlib import Path
from tallystick.cli import parquet
from tallystick.cli.main import main

parquet.GROUP_BYTES = int(sys.argv[1])
try:
    main(sys.argv[2:])
except SystemExit as end:
    assert end.code == 0, end.code
# The kernel's mark of this process alone; that of getrusage begins with the parent's.
(peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(peak)
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> str:
    def entries() -> Iterator[Entry]:
        answered = b'{"ok":"%b"}' % (b"x" * REPLY_BYTES)
        for position in range(1, EVENTS + 1):
            yield Entry(
                e.UsageReported(position=position, at=START, id=f"c-{position}", by="a", agent="a", tokens=position),
                b'{"type":"ReportUsage","id":"c-%d"}' % position,
                answered,
            )

    return store_of(tmp_path_factory.mktemp("long") / "log.db", sealed(entries()))


@pytest.mark.usefixtures("loading")
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's mark of a process's memory is Linux's")
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_log_of_four_times_the_length_takes_the_same_memory(log: str, tmp_path: Path, form: str) -> None:
    def peak_kb(after: int) -> int:
        args = ["audit", "export", "--store", log, "--format", form, "--after", str(after), "--out", "log"]
        child = [sys.executable, "-c", PEAK, str(GROUP_BYTES), *args]
        done = subprocess.run(child, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
        return int(done.stdout)

    short, long = peak_kb(EVENTS - SHORT), peak_kb(0)
    assert long < 1.15 * short, f"{short} kB for {SHORT:,} events, {long} kB for {EVENTS:,}"
