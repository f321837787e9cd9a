"""Holds that wait for room (`Reserve{wait_seconds}`): one queue per counter or payer that is in the way.

A queue is in the order of priority, then arrival, and only its first is tried: when something that it waits for comes
back, or at the moment at which a window will have room. What waits is kept here and nowhere else: nothing of it is
recorded before it is decided, and it ends with the manager.
"""

import bisect
import datetime as dt
from collections.abc import Sequence
from typing import Any, Protocol

from tallystick.actors.runtime.deadlines import Deadlines
from tallystick.actors.runtime.messages import Envelope, Question
from tallystick.actors.runtime.pending import refused
from tallystick.config.amounts import InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.amounts import wait_ms
from tallystick.events.decide.permissions import refusal_of
from tallystick.events.decide.turn import Waited
from tallystick.events.decide.waiting import (
    ENDS,
    Key,
    brought_back,
    in_the_way,
    in_words,
    is_to_wait_for,
    taken_from,
    tried,
)
from tallystick.events.log.codec import encode_command, is_same
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.calendar import NEVER, later
from tallystick.events.state.ledger import Ledger

WAITING_MAX = 10_000
"""So many callers wait at once; one more is refused at once, if it would have to wait."""
_GONE = refused("wait_over", "its caller has gone away")
_MILLISECOND = dt.timedelta(milliseconds=1)
_Rank = tuple[int, int]
"""Priority, then arrival."""


class Core(Protocol):
    """Who decides what waits: the manager."""

    ledger: Ledger

    def try_out(self, command: c.Reserve, by: str, now: dt.datetime) -> Reply | Refusal:
        """How a `Reserve` would be answered now."""

    def decide(
        self,
        command: c.Command,
        asked: bytes,
        by: str,
        now: dt.datetime,
        waited: Waited | None = None,
        peer: bytes | None = None,
        trace: str | None = None,
    ) -> bytes:
        """Decide one command; the answer."""

    def settle(self, question: Question, answer: bytes) -> None:
        """Answer a question with the next commit."""


def may_wait(ledger: Ledger, command: c.Reserve) -> bool:
    """Whether a `Reserve` has to be decided for the first time, and says well how long it waits."""
    if command.dry_run or command.id in ledger.ids:
        return False
    try:
        return wait_ms(command.wait_seconds) > 0
    except InvalidAmount:
        return False


class _Waiting:
    """One `Reserve`, and all that wait for its outcome."""

    __slots__ = ("asked", "by", "command", "id", "key", "peer", "questions", "rank", "since", "trace", "until")

    def __init__(self, command: c.Reserve, question: Question, rank: _Rank, since: dt.datetime) -> None:
        self.command = command
        self.id = command.id or ""
        self.asked: bytes = question.envelope.asked[question.slot]
        self.by: str = question.envelope.by
        self.peer: bytes | None = question.envelope.peer
        self.trace: str | None = question.envelope.trace
        self.questions = [question]
        self.rank = rank
        self.since = since
        self.until = later(since, wait_ms(command.wait_seconds) * _MILLISECOND)
        self.key: Key = ()
        """What it waits for."""


class HoldWaits:
    """Who waits for what. It is falsy where no one waits: that is all that a message asks then."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._ledger = core.ledger
        self._queues: dict[Key, list[tuple[_Rank, _Waiting]]] = {}
        self._by_id: dict[str, _Waiting] = {}
        self._due: Deadlines[Key] = Deadlines()
        """When the first of a queue will have room, if nothing else happens."""
        self._until: Deadlines[str] = Deadlines()
        self._arrivals = 0
        self.count = 0
        """How many callers wait."""

    def __bool__(self) -> bool:
        return self.count > 0

    def due_at(self) -> dt.datetime:
        """When `wake` is to be called next; `NEVER`."""
        return min(self._due.first() or NEVER, self._until.first() or NEVER)

    # --- who comes and goes -------------------------------------------------------------------------------------------

    def ask(self, question: Question, now: dt.datetime) -> None:
        """Take a `Reserve` that may wait (see `may_wait`): it is decided now where that is possible, and else waits."""
        command: Any = question.command
        waiting = self._by_id.get(command.id)
        if question.envelope.in_array:
            text = "wait_seconds: a Reserve that waits is sent alone, not in an array"
            self._core.settle(question, refused("invalid_message", text, field="wait_seconds"))
        elif waiting is not None:
            self._join(waiting, question)
        else:
            self._begin(command, question, now)

    def _begin(self, command: c.Reserve, question: Question, now: dt.datetime) -> None:
        account = self._ledger.accounts.get(command.agent)
        priority = 0 if account is None else c.PRIORITIES.index(account.priority)
        self._arrivals += 1
        waiting = _Waiting(command, question, (priority, self._arrivals), now)
        found = self._what_keeps(waiting, now)
        if found is None:
            self._decide(waiting, None, now)
        elif self._has_place(question):
            if not self.count:
                self._ledger.limits.freed = set()
            self.count += 1
            self._by_id[waiting.id] = waiting
            self._until.set(waiting.id, waiting.until)
            self._put(waiting, *found)

    def _join(self, waiting: _Waiting, question: Question) -> None:
        """The same message again: its outcome is the same."""
        asked, id = question.envelope.asked[question.slot], waiting.id
        if waiting.asked != asked and not is_same(waiting.asked, asked):
            text = f"{id} waits for room with another message: choose a new id"
            self._core.settle(question, refused("idempotency_conflict", text, id=id))
        elif self._has_place(question):
            waiting.questions.append(question)
            self.count += 1

    def _has_place(self, question: Question) -> bool:
        """Whether one more may wait; else it is answered."""
        if self.count < WAITING_MAX:
            return True
        text = f"{WAITING_MAX} wait for room already: ask again without wait_seconds, or later"
        self._core.settle(question, refused("too_many_waiting", text, limit=WAITING_MAX, retry_after_seconds=1))
        return False

    def leave(self, envelope: Envelope, now: dt.datetime) -> None:
        """The caller of an envelope has gone away: what only it waited for is not asked any more."""
        for command in envelope.commands:
            waiting = self._by_id.get(command.id or "")
            if waiting is not None:
                self._look_who_is_gone(waiting, now)

    def _look_who_is_gone(self, waiting: _Waiting, now: dt.datetime) -> None:
        was_first = self._is_first(waiting)
        self._drop_gone(waiting, now)
        if was_first and waiting.id not in self._by_id:
            self._try(waiting.key, now)

    # --- when something happens ---------------------------------------------------------------------------------------

    def follow(self, events: Sequence[e.Event], now: dt.datetime) -> bool:
        """Decide what can be decided after these events; whether there was anything."""
        before = self.count
        freed, self._ledger.limits.freed = self._ledger.limits.freed or (), set()
        keys = brought_back(self._ledger, events)
        if keys is None:
            keys = set(self._queues)
        keys.update(("limit", *counter) for counter in freed)
        kinds = set(map(type, events))
        if e.KeyRevoked in kinds:
            for waiting in list(self._by_id.values()):
                if waiting.id in self._by_id:
                    self._look_who_is_gone(waiting, now)
        if e.BudgetReleased in kinds:
            self._end(lambda waiting: waiting.command.agent not in self._ledger.accounts, now)
        if not ENDS.isdisjoint(kinds):
            self._end(lambda waiting: self._what_keeps(waiting, now) is None, now)
        for key in sorted(keys & self._queues.keys()):
            self._try(key, now)
        return self.count != before

    def wake(self, now: dt.datetime) -> None:
        """Try what may have room by now, then end the waits that are over."""
        for key in self._due.pop_due(now):
            self._try(key, now)
        for id in self._until.pop_due(now):
            waiting = self._by_id[id]
            found, was_first = self._what_keeps(waiting, now), self._is_first(waiting)
            self._finish(waiting, None if found is None else in_words(found[0]), now)
            if was_first:
                self._try(waiting.key, now)

    def _end(self, is_over: Any, now: dt.datetime) -> None:
        """Decide those that are refused for good, wherever they are in their queue."""
        for waiting in [one for one in self._by_id.values() if is_over(one)]:
            self._finish(waiting, None, now)

    # --- queues -------------------------------------------------------------------------------------------------------

    def _what_keeps(self, waiting: _Waiting, now: dt.datetime) -> tuple[Key, dt.datetime | None] | None:
        """What one waits for, and when it will have room; None where it can be decided now."""
        answer = tried(self._ledger, waiting.command, now, waiting.by)
        if isinstance(answer, Refusal) and not is_to_wait_for(answer):
            return None
        if self._queues:
            # When there will be room for it is not asked, as long as others come before.
            for key in taken_from(self._ledger, waiting.command):
                queue = self._queues.get(key)
                if queue and queue[0][0] < waiting.rank:
                    return key, None
        if isinstance(answer, Refusal):
            answer = self._core.try_out(waiting.command, waiting.by, now)
        if isinstance(answer, Refusal):
            seconds = answer.numbers["retry_after_seconds"]
            at = None if seconds is None else later(now, max(_MILLISECOND, dt.timedelta(seconds=seconds)))
            return in_the_way(self._ledger, waiting.command, answer), at
        return None

    def _try(self, key: Key, now: dt.datetime) -> None:
        """Decide the first of a queue, and those behind it, until one has to wait on."""
        while queue := self._queues.get(key):
            waiting = queue[0][1]
            self._drop_gone(waiting, now)
            if waiting.id not in self._by_id:
                continue
            found = self._what_keeps(waiting, now)
            if found is None:
                self._finish(waiting, None, now)
            elif found[0] == key:
                self._look_at(key, found[1])
                return
            else:
                self._take_out(waiting)
                self._put(waiting, *found)

    def _put(self, waiting: _Waiting, key: Key, at: dt.datetime | None) -> None:
        queue = self._queues.setdefault(key, [])
        bisect.insort(queue, (waiting.rank, waiting))
        waiting.key = key
        if queue[0][1] is waiting:
            self._look_at(key, at)

    def _look_at(self, key: Key, at: dt.datetime | None) -> None:
        if at is None:
            self._due.drop(key)
        else:
            self._due.set(key, at)

    def _is_first(self, waiting: _Waiting) -> bool:
        return self._queues[waiting.key][0][1] is waiting

    def _take_out(self, waiting: _Waiting) -> None:
        queue = self._queues[waiting.key]
        del queue[bisect.bisect_left(queue, waiting.rank, key=lambda entry: entry[0])]
        if not queue:
            del self._queues[waiting.key]
            self._due.drop(waiting.key)

    def _drop_gone(self, waiting: _Waiting, now: dt.datetime) -> None:
        """Forget the callers that have gone away or may not ask any more, and the wait itself where all have."""
        for question in list(waiting.questions):
            is_gone = question.envelope.gone
            answer = _GONE if is_gone else self._denied(waiting.command, question.envelope, now)
            if answer is not None:
                waiting.questions.remove(question)
                self.count -= 1
                self._core.settle(question, answer)
        if not waiting.questions:
            self._forget(waiting)

    def _denied(self, command: c.Reserve, envelope: Envelope, now: dt.datetime) -> bytes | None:
        """The refusal where a caller may not send now what it might when its wait began: its key was revoked."""
        instead = None if envelope.caller is None else refusal_of(self._ledger, command, envelope.caller)
        if instead is None:
            return None
        envelope.note = None
        asked = encode_command(instead)
        return self._core.decide(instead, asked, envelope.by, now, None, envelope.peer, envelope.trace)

    def _forget(self, waiting: _Waiting) -> None:
        self._take_out(waiting)
        self._until.drop(waiting.id)
        del self._by_id[waiting.id]
        if not self.count:
            self._ledger.limits.freed = None

    def _finish(self, waiting: _Waiting, behind: str | None, now: dt.datetime) -> None:
        """Decide one for good."""
        self.count -= len(waiting.questions)
        self._forget(waiting)
        self._decide(waiting, Waited(waiting.since, behind), now)

    def _decide(self, waiting: _Waiting, waited: Waited | None, now: dt.datetime) -> None:
        """Record the outcome, and answer all who have asked for it."""
        peer, trace = waiting.peer, waiting.trace
        answer = self._core.decide(waiting.command, waiting.asked, waiting.by, now, waited, peer, trace)
        for question in waiting.questions:
            self._core.settle(question, answer)
