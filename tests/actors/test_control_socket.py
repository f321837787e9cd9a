"""The control socket: the same messages and replies as in the program, within bounds, and nothing hurts the fleet."""

import contextlib
import json
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick import Fleet
from tallystick.actors.runtime import control_connection, control_peer, control_place, control_socket
from tallystick.actors.runtime.control_client import ask
from tallystick.actors.runtime.control_place import NoPlace, check_safe
from tallystick.actors.runtime.control_socket import ControlSocket, is_live
from tallystick.events.log.codec import exchange_of
from tests.support.asking import STATUS, code, report, spent
from tests.support.control import Client, client
from tests.support.running import QUIET, OpenFleet
from tests.support.store_processes import child, line_of
from tests.support.stores import SECONDS, GatedStore
from tests.support.threads import at_once

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no Unix sockets")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.db"


@pytest.fixture
def fleet(path: Path) -> Iterator[Fleet]:
    with Fleet.open(f"sqlite:///{path}", QUIET, notify=False) as fleet:
        yield fleet


@pytest.fixture
def gated(open_fleet: OpenFleet, tmp_path: Path) -> Iterator[tuple[Fleet, GatedStore, ControlSocket]]:
    """A fleet whose store can be made to wait, with a socket of its own."""
    store = GatedStore()
    fleet = open_fleet(store)
    control = ControlSocket(Path(os.environ["XDG_RUNTIME_DIR"]) / "gated.sock", fleet._intake, SECONDS).started()
    fleet._control = control
    yield fleet, store, control
    store.gate.set()
    fleet.close()


def last_record(fleet: Fleet) -> Any:
    record = fleet._store.last()
    assert record is not None
    return record


# --- messages and replies ---------------------------------------------------------------------------------------------


def test_it_takes_the_same_messages_and_gives_the_same_replies(fleet: Fleet) -> None:
    with client(fleet.control_socket) as one:
        assert one.ask(report("r-1"))["ok"]["agent"] == "a"
        assert one.ask(STATUS) == fleet.ask(STATUS)
        assert one.ask(report("r-1")) == fleet.ask(report("r-1"))
        together = one.ask([report("r-2"), {"type": "NoSuch"}, report("r-3")])
    assert ["ok" in reply for reply in together] == [True, False, True]
    assert code(together[1]) == "invalid_message"
    assert spent(fleet) == 15


def test_a_reply_names_its_request_and_comes_when_it_is_known(fleet: Fleet) -> None:
    fleet.ask({"type": "SetTotalBudget", "budget": {"tokens": 100}})
    fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 100}})
    fleet.ask({"type": "Reserve", "id": "all", "agent": "a", "estimate": {"tokens": 100}})
    waits = {"type": "Reserve", "id": "h", "agent": "a", "estimate": {"tokens": 100}, "wait_seconds": 60}
    with client(fleet.control_socket) as one:
        one.request(waits, request="hold")
        one.request({"type": "CancelHold", "hold": "all"}, request=2)
        answers = [one.next(), one.next()]
    assert {answer["request"]: "ok" in answer["reply"] for answer in answers if answer} == {"hold": True, 2: True}


def test_who_asks_is_the_name_that_is_said_or_the_user(fleet: Fleet) -> None:
    with client(fleet.control_socket) as one:
        one.ask({"type": "PauseAll", "reason": "x"}, by="ada")
        assert json.loads(last_record(fleet).data)["by"] == "ada"
        one.ask({"type": "ResumeAll"})
    assert json.loads(last_record(fleet).data)["by"] == control_peer.own_peer().user


def test_the_asking_process_is_in_the_record_and_what_the_program_asks_has_none(fleet: Fleet) -> None:
    with client(fleet.control_socket) as one:
        one.ask(report())
    found = json.loads(bytes(exchange_of(last_record(fleet).data).peer))
    assert found == {"user": control_peer.own_peer().user, "uid": os.geteuid(), "process": os.getpid()}
    fleet.ask(report())
    assert not bytes(exchange_of(last_record(fleet).data).peer)


def test_where_the_system_does_not_say_who_asks_it_is_recorded_as_unknown(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(control_peer.socket, "SO_PEERCRED")
    monkeypatch.setattr(control_peer.sys, "platform", "plan9")
    with client(fleet.control_socket) as one:
        one.ask(report())
    found = json.loads(bytes(exchange_of(last_record(fleet).data).peer))
    assert found == {"user": None, "uid": None, "process": None}


# --- many, and at the worst moment ------------------------------------------------------------------------------------


def test_fifty_clients_at_once_get_one_answer_per_request_and_all_counts_once(fleet: Fleet) -> None:
    def work(number: int) -> None:
        with client(fleet.control_socket) as one:
            for n in range(10):
                one.request(report(f"c-{number}-{n}", tokens=1), request=n)
            found = [answer for answer in (one.next() for _ in range(10)) if answer is not None]
        assert sorted(answer["request"] for answer in found) == list(range(10))
        assert all("ok" in answer["reply"] for answer in found)

    at_once(50, work)
    assert spent(fleet) == 500


def test_a_client_that_leaves_before_its_answer_loses_nothing(
    gated: tuple[Fleet, GatedStore, ControlSocket],
) -> None:
    fleet, store, control = gated
    store.shut()
    one = Client(control.path)
    one.request(report("r-1"))
    assert store.entered.wait(SECONDS)
    one.close()
    store.gate.set()
    with client(control.path) as again:
        assert "ok" in again.ask(report("r-1"))
    assert spent(fleet) == 5


def test_a_fleet_that_is_closed_answers_what_it_has_taken_and_removes_its_socket(
    gated: tuple[Fleet, GatedStore, ControlSocket],
) -> None:
    fleet, store, control = gated
    store.shut()
    with client(control.path) as one:
        one.request(report())
        assert store.entered.wait(SECONDS)
        closing = threading.Thread(target=fleet.close)
        closing.start()
        store.gate.set()
        answer = one.next()
        assert answer is not None
        assert "ok" in answer["reply"]
        assert one.next() is None
    closing.join(SECONDS)
    assert not control.path.exists()
    assert ask(control.path, b'{"type":"GetGlobalStatus"}', "ada") is None


# --- bounds and hostile clients ---------------------------------------------------------------------------------------

HOSTILE = {
    "no JSON": b"pause\n",
    "no object": b"[1, 2]\n",
    "no message": b'{"by":"ada"}\n',
    "an unknown field": b'{"message":{"type":"GetGlobalStatus"},"as":"ada"}\n',
    "half a character": b'{"message":{"type":"GetStatus","agent":"\xc3\x28"}}\n',
    "another encoding": '{"message":{"type":"GetGlobalStatus"}}'.encode("utf-16-be") + b"\n",
    "an empty name": b'{"message":{"type":"GetGlobalStatus"},"by":"\\n"}\n',
    "an empty line": b"\n",
    "null": b'{"message":null}\n',
    "deep": b'{"message":' + b"[" * 5_000 + b"\n",
    "zeros": bytes(1_000) + b"\n",
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_request_is_answered_so_and_the_next_one_is_taken(fleet: Fleet, line: bytes) -> None:
    with client(fleet.control_socket) as one:
        one.say(line)
        answer = one.next()
        assert answer is not None
        assert code(answer["reply"]) == "invalid_message"
        assert one.ask(STATUS) == fleet.ask(STATUS)


def test_a_request_that_is_too_long_is_answered_so_and_the_connection_ends(fleet: Fleet) -> None:
    with client(fleet.control_socket) as one:
        one.say(b"x" * (control_connection.FRAME_MAX + 1))
        answer = one.next()
        assert answer is not None
        assert f"allowed are {control_connection.FRAME_MAX}" in answer["reply"]["error"]["detail"]
    assert "ok" in fleet.ask(STATUS)


def test_half_a_request_is_answered_so_and_carries_out_nothing(fleet: Fleet) -> None:
    with client(fleet.control_socket) as one:
        one.say(json.dumps({"message": report()}).encode())
        one.socket.shutdown(socket.SHUT_WR)
        answer = one.next()
        assert answer is not None
        assert "without one" in answer["reply"]["error"]["detail"]
        assert one.next() is None
    assert spent(fleet) == 0


def test_a_client_that_says_no_more_still_gets_its_answer(fleet: Fleet) -> None:
    with client(fleet.control_socket) as one:
        one.request(report())
        one.socket.shutdown(socket.SHUT_WR)
        answer = one.next()
        assert answer is not None
        assert "ok" in answer["reply"]


def test_a_client_that_is_too_slow_is_answered_so_and_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "IDLE_SECONDS", 0.05)
    with Fleet.open(f"sqlite:///{path}", QUIET, notify=False) as fleet, client(fleet.control_socket) as one:
        with contextlib.suppress(BrokenPipeError):  # this thread may have been too slow for half a request, too
            one.say(b'{"message":')
        answer = one.next()
        assert answer is not None
        assert code(answer["reply"]) == "idle"
        assert one.next() is None


def test_a_client_that_does_not_read_is_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "IDLE_SECONDS", 0.05)
    with Fleet.open(f"sqlite:///{path}", QUIET, notify=False) as fleet, client(fleet.control_socket) as one:
        line = b'{"message":{"type":"NoSuch"}}\n'
        with pytest.raises(OSError, match=r"(?i)pipe|reset"):
            one.say(line * 1_000_000)
        assert "ok" in fleet.ask(STATUS)


def test_beyond_its_bounds_a_connection_is_answered_busy_and_all_before_are_answered(
    gated: tuple[Fleet, GatedStore, ControlSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_connection, "REQUESTS_MAX", 3)
    _, store, control = gated
    store.shut()
    with client(control.path) as one:
        for n in range(5):
            one.request(report(), request=n)
        early = [one.next(), one.next()]
        assert [(answer["request"], code(answer["reply"])) for answer in early if answer] == [(3, "busy"), (4, "busy")]
        store.gate.set()
        late = [answer for answer in (one.next(), one.next(), one.next()) if answer]
    assert [(answer["request"], "ok" in answer["reply"]) for answer in late] == [(0, True), (1, True), (2, True)]


def test_one_connection_too_many_is_answered_busy(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "CONNECTIONS_MAX", 1)
    with client(fleet.control_socket) as first:
        first.ask(STATUS)
        with client(fleet.control_socket) as second:
            answer = second.next()
            assert answer is not None
            assert code(answer["reply"]) == "busy"
        assert "ok" in first.ask(STATUS)


# --- its place --------------------------------------------------------------------------------------------------------


def test_only_its_user_may_reach_it(fleet: Fleet) -> None:
    path = fleet.control_socket
    assert path is not None
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_path_of_the_store_may_be_long_and_reached_by_a_link(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    with Fleet.open(f"sqlite:///{folder}/fleet.db", QUIET, notify=False) as fleet:
        assert list(control_place.places_of(f"sqlite:///{tmp_path}/link/fleet.db")) == [fleet.control_socket]


def test_a_directory_that_is_not_its_users_own_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "own").mkdir(mode=0o700)
    for name, uid, why in (
        ("open", os.geteuid(), "0755"),
        ("link", os.geteuid(), "is a link"),
        ("own", 12345, "12345"),
    ):
        with pytest.raises(NoPlace, match=why):
            check_safe(tmp_path / name, uid)
    check_safe(tmp_path / "own", os.geteuid())


def test_where_no_directory_is_safe_the_fleet_opens_without_and_the_client_does_not_trust_it(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "open").mkdir(mode=0o777)
    (tmp_path / "open").chmod(0o777)
    monkeypatch.setattr(control_place, "_directories", lambda uid: iter([tmp_path / "open"]))
    with Fleet.open(f"sqlite:///{path}", QUIET, notify=False) as fleet:
        assert fleet.control_socket is None
        found = control_place.socket_of(f"sqlite:///{path}")
        assert found is not None
        (tmp_path / "open" / found.name).touch()
        assert list(control_place.places_of(f"sqlite:///{path}")) == []
        assert "ok" in fleet.ask(STATUS)


def test_without_unix_sockets_the_fleet_opens_without(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with Fleet.open(f"sqlite:///{path}", QUIET, notify=False) as fleet:
        assert fleet.control_socket is None
        assert "ok" in fleet.ask(STATUS)


def test_a_store_in_memory_and_a_fleet_under_a_clock_of_its_own_have_none(open_fleet: OpenFleet, path: Path) -> None:
    with Fleet.open("memory:", QUIET, notify=False) as fleet:
        assert fleet.control_socket is None
    assert open_fleet(f"sqlite:///{path}").control_socket is None


def test_a_socket_that_a_dead_process_left_is_replaced_and_a_live_one_is_not(path: Path) -> None:
    with Fleet.open(f"sqlite:///{path}", QUIET, notify=False) as fleet:
        place = fleet.control_socket
        assert place is not None
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    assert not is_live(place)
    with Fleet.open(f"sqlite:///{path}", notify=False) as fleet:
        assert fleet.control_socket == place
        assert is_live(place)
        assert ControlSocket.open(f"sqlite:///{path}", fleet._intake) is None
        assert is_live(place)
    assert not place.exists()


_FORKS = """
import os, sys
from tallystick import Fleet
fleet = Fleet.open(sys.argv[1], notify=False)
if not (child := os.fork()):
    sys.stdin.read()
    os._exit(0)
print(fleet.control_socket, flush=True)
sys.stdin.readline()
os._exit(1)
"""


def test_a_fork_does_not_make_a_dead_fleet_look_alive(path: Path) -> None:
    with child(_FORKS, f"sqlite:///{path}") as process:
        place = Path(line_of(process))
        assert is_live(place)
        process.kill()
        process.wait(SECONDS)
        assert not is_live(place)


def test_an_idle_socket_costs_no_processor_time(fleet: Fleet) -> None:
    """Its thread waits in the system for as long as nothing comes: it has no timer."""
    assert fleet._control is not None
    found: list[int] = []
    looked = threading.Event()

    def look() -> None:
        found.append(len(fleet._control._loop._scheduled))  # type: ignore[union-attr, attr-defined]
        looked.set()

    fleet._control._loop.call_soon_threadsafe(look)
    assert looked.wait(SECONDS)
    assert found == [0]
