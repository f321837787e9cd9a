"""The manager: front door and only writer. Takes messages, decides by the law, commits in groups, answers, publishes.

`Manager` is a plain object: whoever drives it says what time it is. Its thread is in `actors/desk.py`.
"""

import datetime as dt
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from tallystick.actors.runtime.messages import (
    ALLOCATOR,
    MANAGER,
    REALLOCATOR,
    REPORTER,
    TRACKER,
    Answered,
    Envelope,
    Heard,
    Post,
    Proposal,
    Question,
    Recorded,
    Refused,
    figures_of,
)
from tallystick.actors.runtime.pending import answer_all, answer_with, refused
from tallystick.actors.runtime.specialist import Specialist
from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.decide import decide
from tallystick.events.log import snapshot
from tallystick.events.log.codec import (
    decode_command,
    encode_answer,
    encode_command,
    exchange_of,
    seal,
)
from tallystick.events.log.store import Record, Store, StoreError
from tallystick.events.messages import proposals as p
from tallystick.events.state.conservation import BrokenInvariant, check_conserved
from tallystick.events.state.ledger import Ledger

SNAPSHOT_EVERY = 100_000
"""Events between two snapshots: what a restart reads at most behind one."""

log = structlog.wrap_logger(logging.getLogger("tallystick.manager"))

JUDGES: Mapping[type[c.Command], str] = {
    c.Rebalance: REALLOCATOR,
    c.Forecast: TRACKER,
    c.GenerateReport: REPORTER,
    c.SubmitTask: ALLOCATOR,
    c.GetTask: ALLOCATOR,
    c.GetQueue: ALLOCATOR,
}
"""Who is asked about commands that need judgement, or more than the state, before they can be answered."""

_ERROR = b'{"error"'

Hear = Callable[[Sequence[Any], dt.datetime], Sequence[Post]]
"""How one who is consulted takes messages: what follows from them."""

_Line = tuple[Event, bytes | None, bytes | None]
"""An event, and on the first of a command what was asked and answered."""


class Halted(Exception):
    """The fleet stopped: nothing can be decided on a state that the store may not have. The text says why."""


class Manager:
    """Decides one command after the other on the one state, and makes them durable together.

    ``digest`` is that of the newest record in the store (32 bytes).
    """

    def __init__(self, ledger: Ledger, store: Store, digest: bytes) -> None:
        self.ledger = ledger
        self.halted: str | None = None
        self._store = store
        self._digest = digest
        self._lines: list[_Line] = []
        self._waiting: list[Envelope] = []
        self._questions: list[Post] = []
        self._judged: dict[tuple[Envelope, int], Post] = {}
        """What specialists were asked and have not answered, by envelope and place in it."""
        self._refusals: list[Post] = []
        """What proposers are told with the next commit."""
        self.taken = 0
        """How many messages were taken: where it stands still, nothing goes on."""
        self._beside: dict[str, tuple[Specialist, Hear]] = {}
        self._heard = 0
        """How many of the lines were told to those beside the manager."""
        self._snapshot_due = (ledger.position // SNAPSHOT_EVERY + 1) * SNAPSHOT_EVERY

    @property
    def has_work(self) -> bool:
        """Something was taken that is not committed."""
        return bool(self._waiting or self._lines or self._refusals)

    def asked_of(self, judge: str) -> list[Post]:
        """What a specialist was asked and has not answered: for whoever takes its place."""
        return [post for post in self._judged.values() if post.to == judge]

    def take(self, envelope: Envelope, now: dt.datetime) -> None:
        """Decide the commands of an envelope; their answers wait for the commit."""
        self.taken += 1
        if self.halted is not None:
            self._refuse(envelope, self.halted)
            return
        self._waiting.append(envelope)
        for slot, command in enumerate(envelope.commands):
            judge = JUDGES.get(type(command))
            # A query is asked anew each time; a command that was answered before is not.
            if judge is not None and (command.query or command.id not in self.ledger.ids):
                envelope.open += 1
                question = Question(command, envelope, slot)
                self._judged[envelope, slot] = post = Post(judge, question)
                if judge in self._beside:
                    self._consult(judge, now, question)
                else:
                    self._questions.append(post)
            else:
                envelope.answers[slot] = self._decide(command, envelope.asked[slot], envelope.by, now)

    def seat(self, person: Specialist, hear: Hear) -> None:
        """Let a specialist sit beside the manager: it is consulted on the spot, where others are sent their questions."""
        self._beside[person.name] = (person, hear)

    def _consult(self, name: str, now: dt.datetime, question: Question | None = None) -> bool:
        """Let one beside the manager have its say, on what it is asked and the news; whether there was anything.

        It hears what was decided and refused since it was last consulted; what it proposes is decided at once.
        """
        person, hear = self._beside[name]
        messages = self._news_for(person)
        if question is not None:
            messages.append(question)
        elif not messages:
            return False
        for post in hear(messages, now):
            assert post.to == MANAGER, f"{name} is consulted, and has nothing to say to {post.to}"
            self.hear(post.message, now)
        return True

    def _news_for(self, person: Specialist) -> list[Any]:
        messages: list[Any] = []
        if self._heard < len(self._lines):
            events = [line[0] for line in self._lines[self._heard :]]
            self._heard = len(self._lines)
            if not person.follows.isdisjoint(map(type, events)):
                messages.append(Heard(events, self.ledger.pool))
        if self._refusals:
            messages += [post.message for post in self._refusals if post.to == person.name]
            self._refusals = [post for post in self._refusals if post.to != person.name]
        return messages

    def hear(self, message: Proposal | Answered, now: dt.datetime) -> None:
        """Take what a specialist says."""
        if isinstance(message, Proposal):
            self.take_proposal(message, now)
        else:
            self.take_answer(message)

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> None:
        """Decide what a specialist proposes, by the same law; what a question asked is what the log will say.

        Where the question was a query, which has no memory of its id, the log names the proposal itself.
        """
        self.taken += 1
        question = proposal.answers
        if self.halted is not None:
            if question is not None:
                self._refuse(question.envelope, self.halted)
            return
        if question is None:
            answer = self._decide(proposal.command, encode_command(proposal.command), proposal.by, now)
            if proposal.needs_refusal_notice and answer.startswith(_ERROR):
                self._refusals.append(Post(proposal.by, Refused(proposal.command)))
            return
        if question.command.query:
            asked = encode_command(proposal.command)
        else:
            proposal.command.id = question.command.id
            asked = question.envelope.asked[question.slot]
        self._settle(question, self._decide(proposal.command, asked, question.envelope.by, now))

    def take_answer(self, answered: Answered) -> None:
        """Hand on the answer to a question that changes nothing, with the next commit."""
        self.taken += 1
        question = answered.question
        if self.halted is not None:
            self._refuse(question.envelope, self.halted)
        else:
            self._settle(question, answered.answer)

    def _settle(self, question: Question, answer: bytes) -> None:
        envelope: Envelope = question.envelope
        envelope.answers[question.slot] = answer
        envelope.open -= 1
        del self._judged[envelope, question.slot]
        self._waiting.append(envelope)

    def _decide(self, command: c.Command, asked: bytes, by: str, now: dt.datetime) -> bytes:
        """The answer to one command, with what it caused kept for the next commit."""
        id = command.id
        assert id is not None
        if not command.query:
            position = self.ledger.ids.get(id)
            if position is not None:
                return self._repeated(id, asked, position)
        decided = decide(self.ledger, command, now, id, by)
        answered = encode_answer(decided.answer)
        lines, own = self._lines, decided.own
        for i, event in enumerate(decided.events):
            lines.append((event, asked, answered) if i == own else (event, None, None))
        return answered

    def _repeated(self, id: str, asked: bytes, position: int) -> bytes:
        """The recorded outcome of an id that was used before; another body under the same id is a conflict."""
        before = self._exchange_at(position)
        if before is None:
            return refused("idempotency_conflict", f"{id} names something that the fleet did itself", id=id)
        if before[0] != asked and not _is_same(before[0], asked):
            return refused(
                "idempotency_conflict",
                f"{id} was used before for another message, at position {position}: choose a new id",
                id=id,
                position=position,
            )
        return before[1]

    def _exchange_at(self, position: int) -> tuple[bytes, bytes] | None:
        """What was asked and answered at a position, in the batch at hand or in the store."""
        first = self._lines[0][0].position if self._lines else self.ledger.position + 1
        if position >= first:
            _, asked, answered = self._lines[position - first]
            return None if asked is None or answered is None else (asked, answered)
        record = self._store.record(position)
        assert record is not None, f"the log has no record at {position}"
        exchange = exchange_of(record.data)
        asked, answered = bytes(exchange.command), bytes(exchange.reply)
        return (asked, answered) if asked and answered else None

    def commit(self, now: dt.datetime) -> list[Post]:
        """Make what was taken durable, answer it, and say what there is to publish.

        The steps: hear those beside the manager; prove the law on what was touched; append, synced; answer; publish. Where one fails, the fleet
        stops: nothing of the batch is answered as done, and a restart replays the log.

        Raises:
            Halted: the law is broken, or the store could not write.
        """
        for name in self._beside:
            while self._consult(name, now):
                pass
        lines, waiting, told = self._lines, self._waiting, self._questions + self._refusals
        events = [line[0] for line in lines]
        if lines:
            try:
                check_conserved(self.ledger, events)
                self._append(lines)
            except (StoreError, BrokenInvariant) as error:
                self.halt(str(error))
                raise Halted(str(error)) from error
        # Only now: after any other error, whoever stops the fleet still knows who waits.
        self._lines, self._waiting, self._questions, self._refusals = [], [], [], []
        self._heard = 0
        answer_all(waiting)
        posts: list[Post] = []
        if events:
            posts.append(Post("everyone", Recorded(events, figures_of(self.ledger))))
        posts += told
        if self.ledger.position >= self._snapshot_due:
            self._take_snapshot(now)
        return posts

    def _append(self, lines: Sequence[_Line]) -> None:
        records, digest = [], self._digest
        for event, asked, answered in lines:
            data, digest = seal(event, asked, answered, digest)
            records.append(Record(event.position, STORED_NAME[type(event)], data))
        self._store.append(records)
        self._digest = digest

    def _take_snapshot(self, now: dt.datetime) -> None:
        """Keep the state for a quick restart, and its hash in the log; one that cannot be kept is done without."""
        self._snapshot_due += SNAPSHOT_EVERY
        position = self.ledger.position
        data = snapshot.dump(self.ledger)
        try:
            self._store.save_snapshot(position, data)
        except StoreError as error:
            log.warning("snapshot_not_kept", position=position, reason=str(error))
            return
        command = p.RecordSnapshot(
            position=position, sha256=snapshot.fingerprint(data), id=f"{c.INTERNAL_ID}snapshot-{position}"
        )
        self._decide(command, encode_command(command), "manager", now)

    def halt(self, reason: str) -> None:
        """Stop: whatever waits is told, whatever comes is refused."""
        self.halted = reason
        log.critical("house_halted", reason=reason)
        self.give_up(reason)

    def give_up(self, reason: str) -> None:
        """Tell all who still wait that nobody will answer them."""
        # An envelope may wait for several answers.
        waiting = dict.fromkeys([*self._waiting, *(envelope for envelope, _ in self._judged)])
        self._lines, self._waiting, self._questions, self._refusals, self._judged = [], [], [], [], {}
        self._heard = 0
        for envelope in waiting:
            self._refuse(envelope, reason)

    @staticmethod
    def _refuse(envelope: Envelope, reason: str) -> None:
        answer_with(envelope, halted_answer(reason))


def _is_same(one: bytes, other: bytes) -> bool:
    """Whether two messages say the same, however they write it; a signalling NaN is like nothing."""
    try:
        return decode_command(one) == decode_command(other)
    except ArithmeticError:
        return False


def halted_answer(reason: str) -> bytes:
    """What a halted fleet answers. Whether the command was done, a restart will tell: send it again with the same id."""
    detail = f"the fleet has stopped and must be started again: {reason}"
    return refused("halted", detail)
