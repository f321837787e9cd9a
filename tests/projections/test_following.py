"""A projector in a process of its own: killed at any moment, stopped, and left without its store."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from tallystick.events.store import open_store
from tallystick.projections.projector import catch_up, open_keeper
from tests.projections.logs import busy_fleet, rows_in, write

PATIENCE_SECONDS = 20.0


@contextmanager
def projector(url: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "tallystick.projections", url], stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def position_of(url: str) -> int:
    keeper = open_keeper(url)
    try:
        return keeper.live().position
    finally:
        keeper.close()


def wait_until_at(url: str, position: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while position_of(url) < position:
        assert time.monotonic() < until, "the projector does not move on"
        time.sleep(0.02)


def test_rows_are_those_of_a_rebuild_however_often_the_projector_was_killed(tmp_path: Path) -> None:
    url, dice = f"sqlite:///{tmp_path}/fleet.db", Random(3)
    store = open_store(url, writer=True)
    log = busy_fleet(40_000)
    write(store, log)
    reached = [0]
    for _ in range(5):
        with projector(url) as process:
            wait_until_at(url, min(reached[-1] + 1, len(log)))
            time.sleep(dice.random() * 0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
        reached.append(position_of(url))
    assert reached == sorted(reached)
    assert any(0 < position < len(log) for position in reached), "no projector was killed at its work"

    keeper = open_keeper(url)
    assert catch_up(store, keeper) == len(log)
    keeper.close()
    rows = rows_in(tmp_path / "fleet.db.views")
    for path in tmp_path.glob("fleet.db.views*"):
        path.unlink()
    keeper = open_keeper(url)
    catch_up(store, keeper)
    keeper.close()
    store.close()
    assert rows_in(tmp_path / "fleet.db.views") == rows


def test_a_projector_that_is_told_to_stop_has_written_what_it_read(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    store = open_store(url, writer=True)
    log = busy_fleet(300)
    write(store, log)
    with projector(url) as process:
        wait_until_at(url, len(log))
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    store.close()


def test_a_projector_stops_when_its_store_is_gone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    store = open_store(url, writer=True)
    log = busy_fleet(10)
    write(store, log)
    with projector(url) as process:
        wait_until_at(url, len(log))
        store.close()
        (tmp_path / "fleet.db").unlink()
        assert process.wait(PATIENCE_SECONDS) == 0


def test_a_projector_without_a_store_says_so_in_one_line(tmp_path: Path) -> None:
    with projector(f"sqlite:///{tmp_path}/none.db") as process:
        assert process.wait(PATIENCE_SECONDS) == 1
        assert process.stderr is not None
        assert process.stderr.read().decode().count("\n") == 1
