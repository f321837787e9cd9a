"""Views in processes of their own: a projector and a rebuild, killed at any moment, stopped, left without a store."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from functools import cache
from pathlib import Path
from random import Random

import pytest

from tallystick.events.catalog import Event
from tallystick.events.log.store import open_store
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_sides import Side
from tallystick.projections.views.all_views import ALL_VIEWS
from tests.support.view_logs import bring_up, busy_fleet, rows_in, views_of, write

PATIENCE_SECONDS = 120.0
SMALL_PAGES = "from tallystick.projections.store import projector; projector.PAGE = 500; "
FOLLOW = SMALL_PAGES + "import sys; from tallystick.projections.__main__ import main; sys.exit(main())"
REBUILD = SMALL_PAGES + "from tallystick.cli.main import main; main(['projections', 'rebuild'])"
ALL = [kind.name for kind in ALL_VIEWS]


@contextmanager
def child(program: str, *arguments: str, url: str = "") -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", program, *arguments]
    environment = {**os.environ, "TALLYSTICK_STORE": url}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def projector(url: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return child(FOLLOW, url)


def position_of(url: str, side: Side = "live") -> int:
    with closing(ViewFile(str(views_of(url)), side=side)) as view_store:
        return view_store.reached().position


def wait_until_at(url: str, position: int) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while position_of(url) < position:
        assert time.monotonic() < until, "the projector does not move on"
        time.sleep(0.02)


def drop_views(url: str, names: list[str] | None = None) -> None:
    with closing(ViewFile(str(views_of(url)))) as view_store:
        view_store.drop(names)


@cache
def long_log() -> Sequence[Event]:
    """A log that takes a while to fold."""
    return busy_fleet(10_000)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fleet with a long log."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    with closing(open_store(url, writer=True)) as store:
        write(store, long_log())
    return url


def test_rows_are_those_of_a_rebuild_however_often_the_projector_was_killed(url: str) -> None:
    end, dice, until = len(long_log()), Random(3), time.monotonic() + PATIENCE_SECONDS
    reached = [0]
    while len(reached) <= 5:
        with projector(url) as process:
            wait_until_at(url, min(reached[-1] + 1, end))
            time.sleep(dice.random() * 0.1)
            process.send_signal(signal.SIGKILL)
            process.wait()
        reached.append(position_of(url))
        if not any(0 < position < end for position in reached):
            # Where this process was too slow to kill it at its work, all begins again.
            assert time.monotonic() < until, "no projector was killed at its work"
            drop_views(url)
            reached = [0]
    assert reached == sorted(reached)

    assert bring_up(url) == end
    rows = rows_in(views_of(url))
    drop_views(url)
    bring_up(url)
    assert rows_in(views_of(url)) == rows


@pytest.mark.parametrize("dropped", [None, "agents"])
def test_a_rebuild_that_is_killed_at_any_moment_leaves_the_live_views_as_they_are(
    url: str, dropped: str | None
) -> None:
    end, dice = len(long_log()), Random(5)
    bring_up(url)
    whole = rows_in(views_of(url))
    if dropped is not None:
        drop_views(url, [dropped])
    live = rows_in(views_of(url))
    left = []
    for _ in range(6):
        moment = dice.randrange(end + 2_500)
        with child(REBUILD, url=url) as process:
            while process.poll() is None and position_of(url, "rebuilt") < moment:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
            is_done = process.wait() == 0
        assert rows_in(views_of(url)) in ((whole,) if is_done else (live, whole))
        left.append(position_of(url, "rebuilt"))
    assert any(0 < position < end for position in left), "no rebuild was killed at its work"

    with child(REBUILD, url=url) as process:
        _, said = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, said) == (0, b"")
    assert rows_in(views_of(url)) == whole
    assert position_of(url, "rebuilt") == 0


def test_a_projector_that_is_stopped_has_written_what_it_read(tmp_path: Path) -> None:
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
