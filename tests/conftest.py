"""What tests of several rooms share: a clock that stands still, and fleets that are closed whatever happens."""

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log.store import Store
from tests.support.core import START
from tests.support.examples import THOROUGH
from tests.support.few_prices import few_prices
from tests.support.limits import with_seed_limits
from tests.support.running import QUIET, OpenFleet
from tests.support.started import SERVER, Started

# Hundreds of tests start processes. A user's program is compiled once, and so is theirs, whatever the shell says that
# the tests are started from: without this, half of the start of each is spent on compiling.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Programs that are killed leave what they have written in memory as they do on a disk, and no test cuts the power: no
# commit of a test waits for a disk where memory has room for all that tests write.
_MEMORY, _ROOM_BYTES = "/dev/shm", 4_000_000_000  # noqa: S108 - folders of each test's own are made in it
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES:
    os.environ["TMPDIR"] = tempfile.tempdir = _MEMORY

# No test finds a fleet, a key or settings of the person who runs it.
_OF_A_PERSON = ("STORE", "CONFIG", "PRICES", "KEY", "OPERATOR_KEY", "PARENT_KEY", "ADVERTISE", "OIDC_")
for _name in [*os.environ]:
    if _name == "FORCE_COLOR" or _name.startswith(tuple(f"TALLYSTICK_{one}" for one in _OF_A_PERSON)):
        del os.environ[_name]

# The same cases each time, and no deadline: a slow machine must not fail a test. Only a thorough run looks for a
# smaller case of a failure, which may take minutes.
_PHASES = tuple(Phase) if THOROUGH else (Phase.explicit, Phase.reuse, Phase.generate, Phase.target)
settings.register_profile(
    "fleet", deadline=None, derandomize=True, phases=_PHASES, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("fleet")


_SEARCHES = (10_000, 10, 100)
"""How seldom garbage is searched for. A fleet that closes lets searches see again all that was loaded, and each that
looks through all of it takes half a second: at Python's own thresholds, they were a sixteenth of the work of all tests.
"""
_LONG = ("tests/cluster/", "tests/docs/test_pages.py", "tests/fuzz/", "tests/simulation/")
"""Where one test may take longer than many others together."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is loaded and collected stays to the end: no collection of garbage looks through its million objects."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*_SEARCHES)
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first: no process goes on alone with one of them at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))


@pytest.fixture(scope="session", autouse=True)
def _own_runtime_directory() -> Iterator[None]:
    """Control sockets of tests are not where those of the user who runs them are. Their paths are short enough."""
    with tempfile.TemporaryDirectory(prefix="ts-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        yield


@pytest.fixture(scope="session", autouse=True)
def _prepared_programs() -> Iterator[None]:
    """Programs of the package that tests start need not load it; see `started`."""
    if sys.platform != "linux":
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Started)
        yield
    SERVER.close()


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that this test starts load the package, because the test is about what that does or takes."""
    monkeypatch.setattr(subprocess, "Popen", Started.__base__)


@pytest.fixture(scope="session", autouse=True)
def _own_priority() -> Iterator[None]:
    """A command that gives way to a running fleet would keep the process of the tests behind all others for good."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.nice", lambda _: 0, raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _own_program_log() -> Iterator[None]:
    """A server under test that runs in the tests' own process leaves where that process logs as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tallystick.http.server.log_requests", lambda: None)
        yield


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def open_fleet(clock: ManualClock) -> Iterator[OpenFleet]:
    """``open_fleet(store="memory:", notify=None, **config)``: a fleet under the test's clock, closed at the end."""
    opened: list[Fleet] = []

    def open_(store: Store | str = "memory:", notify: bool | None = None, **config: Any) -> Fleet:
        settings = from_mapping(with_seed_limits({**QUIET, **config}))
        prices = few_prices() if store == "memory:" else None
        fleet = Fleet.open(store, settings, prices, clock=clock, notify=notify)
        opened.append(fleet)
        return fleet

    yield open_
    for fleet in opened:
        fleet.close()
