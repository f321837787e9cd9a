"""Benchmarks of ``audit export``: how fast, and in how much memory, each in a process of its own."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tallystick.cli.main import main
from tallystick.events.log.store import open_store

FORMS = ("jsonl", "csv", "parquet")


class Exported(NamedTuple):
    """Events per second, and the most memory that was resident."""

    rate: float
    peak_bytes: int


def exported(path: Path, form: str) -> Exported:
    """What it takes to export a log to a file."""
    script = f"from benchmarks.exports import export; export({str(path)!r}, {form!r})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rate, peak_bytes = run.stdout.split()
    return Exported(float(rate), int(peak_bytes))


def export_rate(path: Path, form: str) -> float:
    """Events per second that are exported."""
    return exported(path, form).rate


def export(path: str, form: str) -> None:
    """What `exported` runs."""
    events = length(path)
    with tempfile.TemporaryDirectory() as folder:
        args = ["audit", "export", "--store", f"sqlite:///{path}", "--format", form, "--out", f"{folder}/log"]
        began = time.perf_counter()
        try:
            main(args)
        except SystemExit as end:
            if end.code:
                raise
        seconds = time.perf_counter() - began
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (peak_kb,) = (int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(events / seconds, peak_kb * 1024)


def reading_rate(path: Path) -> float:
    """Events per second that the store hands over."""
    store = open_store(f"sqlite:///{path}")
    began = time.perf_counter()
    events = sum(1 for _ in store.read())
    rate = events / (time.perf_counter() - began)
    store.close()
    return rate


def length(path: str) -> int:
    store = open_store(f"sqlite:///{path}")
    last = store.last()
    store.close()
    return 0 if last is None else last.position
