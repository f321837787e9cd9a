"""A specialist in the manager's turn: it sees the state behind its batch, keeps no one waiting, and may fail."""

import datetime as dt
from typing import Any

import pytest

from tallystick.actors.runtime import manager_actor
from tallystick.actors.runtime.guest import Guest
from tallystick.actors.runtime.messages import MANAGER, TRACKER, Batch, Post, SurveyWanted
from tallystick.actors.runtime.specialist import Crashed, Probe
from tallystick.events import catalog as e
from tallystick.events.state.ledger import Ledger
from tests.support.core import START
from tests.support.running import OpenFleet

pykka = pytest.importorskip("pykka")


class Host:
    """Counts the turns that it is asked for and has not given."""

    def __init__(self) -> None:
        self.inbox: list[Any] = []

    def tell(self, message: Any) -> None:
        self.inbox.append(message)

    def is_alive(self) -> bool:
        return True


class Echo:
    """Proposes each word; ``again`` is a task of two parts, ``for ever`` one without end, ``fail`` an error."""

    name = TRACKER
    follows: frozenset[type[e.Event]] = frozenset()

    def begin(self, ledger: Ledger) -> None: ...

    def handle(self, message: Any, now: dt.datetime) -> list[Post]:
        if message == "fail":
            raise ValueError("out of words")
        if message == "again":
            return [Post(TRACKER, "rest")]
        if message == "for ever":
            return [Post(MANAGER, "once"), Post(TRACKER, message)]
        return [Post(MANAGER, message)]

    def due_at(self) -> dt.datetime | None:
        return None


class Room:
    """A guest, its host, and what it sent."""

    def __init__(self) -> None:
        self.host, self.sent, self.crashed = Host(), list[Any](), list[Crashed]()
        self.took_ms = 0
        self.guest = Guest(Echo(), self.host, self._now, self._deliver, self.crashed.append)

    def _now(self) -> dt.datetime:
        """Each time a millisecond later."""
        self.took_ms += 1
        return START + dt.timedelta(milliseconds=self.took_ms)

    def turn(self, share_ms: int = 0) -> None:
        """Let it work when the host comes to its message."""
        self.host.inbox.pop().reached()
        self.guest.work(dt.timedelta(milliseconds=share_ms))

    def _deliver(self, post: Post) -> None:
        if post.to == TRACKER:
            self.guest.tell(post.message)
        else:
            self.sent += post.message.messages if isinstance(post.message, Batch) else [post.message]


def test_messages_are_handled_in_the_hosts_turn_and_not_before() -> None:
    room = Room()
    room.guest.tell("one")
    room.guest.tell(Batch(["two", "three"]))
    assert room.sent == []
    assert len(room.host.inbox) == 1, "one message for all that waits, or they would become ever more under load"
    room.turn()
    assert room.host.inbox == []
    assert room.sent == ["one", "two", "three"]


def test_what_takes_several_turns_leaves_one_to_others_and_is_not_done_before() -> None:
    room, reached = Room(), list[str]()
    room.guest.tell("again")
    room.guest.tell(Probe(lambda: reached.append("done")))
    room.turn()
    assert (room.sent, reached) == ([], [])
    assert len(room.host.inbox) == 1, "the host is asked for another turn"
    room.guest.work()
    assert (room.sent, reached) == (["rest"], ["done"])
    room.guest.tell("again")
    assert len(room.host.inbox) == 1, "it has been asked already"


def test_what_takes_several_turns_goes_on_for_as_long_as_its_share_of_this_one_lasts() -> None:
    room, reached = Room(), list[str]()
    room.guest.tell("for ever")
    room.guest.tell(Probe(lambda: reached.append("done")))
    room.turn()
    assert room.sent == ["once"]
    room.turn(share_ms=9)
    assert 3 <= len(room.sent) <= 6
    before = len(room.sent)
    room.turn(share_ms=90)
    assert len(room.sent) > before + 20
    assert not reached
    assert len(room.host.inbox) == 1
    room.guest.tell("fail")
    room.turn(share_ms=90)
    assert not room.guest.is_alive()
    assert not reached


def test_an_error_ends_it_with_what_must_not_be_lost_and_what_came_before_counts() -> None:
    room = Room()
    wanted = SurveyWanted(None)
    room.guest.tell(Batch(["one", "fail", "two", wanted]))
    room.guest.work()
    assert room.sent == ["one"]
    assert room.crashed == [Crashed(TRACKER, "ValueError: out of words", (wanted,))]
    assert not room.guest.is_alive()
    with pytest.raises(pykka.ActorDeadError):
        room.guest.tell("three")
    room.guest.work()
    assert len(room.crashed) == 1


def test_what_has_come_to_stay_is_left_out_of_collections_as_a_fleet_grows(
    open_fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manager_actor, "AT_REST_MORE", 3)
    fleet, frozen = open_fleet(), list[int]()
    monkeypatch.setattr(manager_actor.gc, "freeze", lambda: frozen.append(len(fleet._manager.ledger.accounts)))

    def ask(kind: str, *agents: str, **fields: object) -> None:
        for agent in agents:
            assert "ok" in fleet.ask({"type": kind, "agent": agent, **fields})
        fleet.quiesce()

    ask("AllocateBudget", *"abcdefg", budget={"tokens": 10})
    assert frozen == [3, 6]
    ask("ReleaseBudget", *"abcdefg")
    ask("AllocateBudget", *"hij", budget={"tokens": 10})
    assert frozen == [3, 6, 3], "what came in the place of others came to stay, too"
