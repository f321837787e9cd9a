"""Benchmarks of the views: made again beside the live ones, and what that costs the writer."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.load import Load, running_load
from tallystick.events.log.store import open_store
from tallystick.projections.store.projector import Projector
from tallystick.projections.store.rebuilding import rebuild, renew
from tallystick.projections.store.runner import place_of
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.views.all_views import ALL_VIEWS, versions_of

VERSIONS = versions_of(ALL_VIEWS)
STEP = 37_000
"""Events after which the live views are restored, so that a rebuild is compared with something else."""


def keep_live(path: Path) -> None:
    """The live views of a log, up to its end, folded and restored many times over."""
    with closing(open_store(f"sqlite:///{path}")) as store, closing(ViewFile(f"{path}.views")) as view_store:
        renew(store, view_store)
        last = store.last()
        end = 0 if last is None else last.position
        for upto in range(STEP, end + STEP, STEP):
            Projector(store, view_store).catch_up(min(upto, end))


def rebuild_rate(path: Path) -> float:
    """Events per second of a rebuild of all views, their bytes compared with the live ones, and exchanged."""
    with closing(open_store(f"sqlite:///{path}")) as store, closing(ViewFile(f"{path}.views")) as view_store:
        began = time.perf_counter()
        done = rebuild(store, view_store, list(VERSIONS))
        rate = done.position / (time.perf_counter() - began)
        assert done.before == VERSIONS, "the bytes were compared"
    return rate


class Writer:
    """A live fleet with a log of some length, and a rebuild of its views that can be going on."""

    def __init__(self, load: Load, url: str) -> None:
        self._load = load
        self._url = url

    def alone(self) -> float:
        """Reports per second with nothing but a projector beside it."""
        return self._load.pipelined()

    def beside_a_rebuild(self) -> float:
        """The same while the views are rebuilt, again and again, in processes of their own."""
        with rebuilding(self._url):
            return self._load.pipelined()


@contextmanager
def writing(events: int) -> Iterator[Writer]:
    """A writer whose log has ``events`` events behind it."""
    with running_load() as (load, store):
        for _ in range(0, events, 1_000):
            load.fleet.ask([load.report() for _ in range(1_000)])
        yield Writer(load, store.url)


@contextmanager
def rebuilding(url: str) -> Iterator[None]:
    """Rebuilds, one after the other, from the moment on that the first is at its work."""
    command = [sys.executable, "-m", "tallystick", "projections", "rebuild", "--store", url]
    stopping = threading.Event()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL)]

    def again() -> None:
        while not stopping.is_set():
            assert running[-1].wait() == 0
            if not stopping.is_set():
                running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))

    place = place_of(url)
    assert place is not None
    with closing(ViewFile(place.views, side="rebuilt")) as beside:
        while beside.reached().position == 0 and running[0].poll() is None:
            time.sleep(0.01)
    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        running[-1].wait()
