"""Starting, looking at and ending the fleets' part of a Ray cluster."""

import contextlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import ray
from ray._private.services import find_bootstrap_address
from ray.exceptions import GetTimeoutError, RayError

from tallystick.cluster.actors import Place, Settings, Starter, encode, options
from tallystick.cluster.errors import ClusterError
from tallystick.cluster.places import NAMESPACE, STARTER, shard_name

START_SECONDS: Final = 60.0
CLOSE_SECONDS: Final = 45.0
ANSWER_SECONDS: Final = 5.0
HEALTH: Final = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""So that a machine that does not answer is given up after three seconds. Ray reads it where its head starts."""
_OBJECT_STORE: Final = 100_000_000
"""Bytes of memory for Ray's objects: what we send is smaller than what it puts there."""
_LOOK_SECONDS: Final = 0.2
_decode_place = msgspec.json.Decoder(Place).decode
_decode_settings = msgspec.json.Decoder(Settings).decode


@contextlib.contextmanager
def connected(address: str) -> Iterator[None]:
    """In the Ray cluster at an address; ``auto`` is the one of this machine.

    Raises:
        ClusterError: none is there, or it does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _check_there(address)
    try:
        ray.init(address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {_first_line(error)}") from error
    try:
        yield
    except RayError as error:
        raise ClusterError(f"the cluster does not answer: {_first_line(error)}") from error
    finally:
        ray.shutdown()


@contextlib.contextmanager
def connected_or_started(address: str) -> Iterator[tuple[int, str] | None]:
    """`connected`; where no address is given and no Ray runs here, it is started: by which process, on which machine.

    Raises:
        ClusterError: it cannot be had.
    """
    head = None
    if address == "auto" and not _runs_here():
        head = start_ray()
    with connected(address):
        yield head


def _runs_here() -> bool:
    try:
        with connected("auto"):
            return True
    except ClusterError:
        return False


def _check_there(address: str) -> None:
    """Ray itself would try for minutes to reach a cluster that has ended, and whose address it has kept.

    Raises:
        ClusterError: nothing listens at the address.
    """
    found = find_bootstrap_address(None) if address == "auto" else address
    if found is None:
        raise ClusterError("no Ray cluster is on this machine: name one by --address")
    host, _, port = found.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), ANSWER_SECONDS).close()
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Ray cluster is at {found}: {error}") from error


def start_ray() -> tuple[int, str]:
    """Start Ray on this machine; the process that runs it, and this machine's name.

    Raises:
        ClusterError: it did not start.
    """
    program = shutil.which("ray", path=str(Path(sys.executable).parent)) or shutil.which("ray")
    if program is None:
        raise ClusterError("the program ray is not there: pip install 'tallystick[ray]'")
    arguments = ["start", "--head", "--block", "--port=0", "--include-dashboard=false", "--disable-usage-stats"]
    started = subprocess.Popen(  # noqa: S603 - the program beside our own, and arguments of our own
        [program, *arguments, f"--object-store-memory={_OBJECT_STORE}", "--include-log-monitor=false"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, **HEALTH},
    )
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if started.poll() is not None:
            raise ClusterError(f"ray start ended with exit code {started.returncode}: run it by hand to see why")
        with contextlib.suppress(ClusterError), connected("auto"):
            return started.pid, socket.gethostname()
        time.sleep(_LOOK_SECONDS)
    started.terminate()
    raise ClusterError(f"Ray did not start within {START_SECONDS:g} s")


def up(settings: Settings, head: tuple[int, str] | None = None) -> list[Place]:
    """Make the shards and fronts, or as many shards as there are to be now; where they are, once all answer.

    ``head`` is what `start_ray` gave, where it was called.

    Raises:
        ClusterError: a cluster with other settings is there, or it does not answer.
    """
    found = settings_in_force()
    if found is not None:
        wanted = msgspec.structs.replace(settings, head=found.head)
        if msgspec.structs.replace(wanted, shards=found.shards) != found:
            raise ClusterError("a cluster with another store, address or names is up: tallystick cluster down first")
        if wanted != found:
            _resize(found, wanted)
    else:
        _new_starter(msgspec.structs.replace(settings, head=head))
    names = _get(_starter().look.remote(), START_SECONDS)
    until = time.monotonic() + START_SECONDS
    return [_answered(name, until) for name in names]


def settings_in_force() -> Settings | None:
    """What the cluster was made with; None where there is none.

    Raises:
        ClusterError: its starter does not answer.
    """
    if STARTER not in names():
        return None
    try:
        return _decode_settings(_get(_starter().settings.remote(), START_SECONDS))
    except GetTimeoutError as error:
        raise ClusterError(f"the starter of the cluster did not answer within {START_SECONDS:g} s") from error


def names() -> list[str]:
    """All actors of ours, whatever their state."""
    return sorted(ray.util.list_named_actors())


def places() -> list[Place]:
    """Where the shards and fronts are. One that does not answer has a problem that says so."""
    asked = {name: actor.place.remote() for name, actor in _there(names()).items() if name != STARTER}
    found = []
    for name, place in asked.items():
        try:
            found.append(_decode_place(_get(place, ANSWER_SECONDS)))
        except (GetTimeoutError, RayError) as error:
            why = f"does not answer: {_first_line(error)}"
            found.append(Place(name, "", 0, 0, problem=why))
    return found


def down() -> Settings | None:
    """Finish what was taken, close all fleets, and end our actors; with which settings they ran.

    Raises:
        ClusterError: the starter does not answer.
    """
    settings = settings_in_force()
    if STARTER in names():
        _end([STARTER])
    fronts = [name for name in names() if name.startswith("front-")]
    _end(fronts)
    _end(names())
    return settings


def stop_ray(head: tuple[int, str]) -> bool:
    """End the Ray that `start_ray` has started, where this is its machine; whether it was ended."""
    pid, machine = head
    if machine != socket.gethostname():
        return False
    try:
        os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + CLOSE_SECONDS
        while time.monotonic() < until:
            os.kill(pid, 0)
            time.sleep(_LOOK_SECONDS)
    except ProcessLookupError:
        return True
    return False


def _resize(found: Settings, wanted: Settings) -> None:
    """Another number of shards: new ones are made, fleets move, and those that are too many end when theirs have."""
    ray.kill(_starter())
    _new_starter(wanted)
    _get(_starter().look.remote(), START_SECONDS)
    for name, actor in _there(names()).items():
        if name != STARTER:
            _get(actor.resize.remote(wanted.shards), START_SECONDS)
    _end([shard_name(number) for number in range(wanted.shards, found.shards)])


def _new_starter(settings: Settings) -> None:
    ray.remote(Starter).options(**options(STARTER)).remote(encode(settings))


def _starter() -> Any:
    return ray.get_actor(STARTER)


def _answered(name: str, until: float) -> Place:
    """Where an actor is, once it answers.

    Raises:
        ClusterError: it does not within the time.
    """
    try:
        actor: Any = ray.get_actor(name)
        return _decode_place(_get(actor.place.remote(), max(1.0, until - time.monotonic())))
    except (GetTimeoutError, RayError, ValueError) as error:
        raise ClusterError(f"{name} did not start: {_first_line(error)}") from error


def _end(ended: list[str]) -> None:
    actors = list(_there(ended).values())
    closing: list[Any] = [actor.close.remote() for actor in actors]
    if closing:
        ray.wait(closing, num_returns=len(closing), timeout=CLOSE_SECONDS)
    for actor in actors:
        ray.kill(actor)


def _there(wanted: list[str]) -> dict[str, Any]:
    """The actors of these names. One that was ended just now is still named for a while, and is none."""
    found = {}
    for name in wanted:
        with contextlib.suppress(ValueError):
            found[name] = ray.get_actor(name)
    return found


def _get(call: Any, seconds: float) -> Any:
    return ray.get(call, timeout=seconds)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
