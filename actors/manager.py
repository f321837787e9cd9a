"""The manager: takes messages in and is the only writer. It decides, commits in groups, answers and publishes.

`Manager` is a plain object: its caller says what time it is. Its thread is in `runtime/manager_actor.py`. It owns the
one clock of the core (`due_at`, `wake`), and consults the allocator in its own turn.
"""

import datetime as dt
import logging
from collections.abc import Callable

import structlog
from msgspec.structs import replace

from tallystick.actors.allocator import Allocator
from tallystick.actors.answering import Answering
from tallystick.actors.errors import Halted
from tallystick.actors.exchanges import answered_before
from tallystick.actors.fact_row import FactRow, lines_of, origin_of
from tallystick.actors.forbidden import forbidden
from tallystick.actors.from_log import FromLog, needs_log
from tallystick.actors.hold_waits import HoldWaits, may_wait
from tallystick.actors.judges import JUDGES
from tallystick.actors.keeping import Made, keep_snapshot, made_of
from tallystick.actors.missing import Missing, away_answer, halted_answer
from tallystick.actors.runtime.messages import (
    ALLOCATOR,
    MANAGER,
    REALLOCATOR,
    Answered,
    Envelope,
    Post,
    Proposal,
    Question,
    Recorded,
)
from tallystick.actors.runtime.pending import answer_with
from tallystick.actors.runtime.supervision import Crashes
from tallystick.events import decide as core
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.decide.spelling import misspelled_id, recorded_id
from tallystick.events.decide.turn import Waited
from tallystick.events.log.codec import encode_answer, encode_command
from tallystick.events.log.sealing import Line, Sealed
from tallystick.events.log.store import Store, StoreAway, StoreError
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.conservation import BrokenInvariant, check_conserved
from tallystick.events.state.ledger import Ledger

SNAPSHOT_EVERY = 100_000
"""Events between two snapshots: what a restart reads at most behind one."""

log = structlog.wrap_logger(logging.getLogger("tallystick.manager"))

_REASON_MAX, _ERROR = 500, b'{"error"'


class Manager:
    """Decides one command after the other on the one state, and makes them durable together.

    ``digest`` is that of the newest record in the store (32 bytes). ``crashes`` says how often the allocator may fail
    and be replaced; without it, its errors are raised.
    """

    def __init__(self, ledger: Ledger, store: Store, digest: bytes, crashes: Crashes | None = None) -> None:
        self.ledger = ledger
        self.halted: str | None = None
        self.taken = 0
        """How many messages were taken: where it stands still, nothing goes on."""
        self._store = store
        self.from_log = FromLog(store, lambda: (self.ledger, self._lines))
        self._digest = digest
        self._lines: list[Line] = []
        self._waiting: list[Envelope] = []
        self._facts = FactRow()  # taken, and decided before anything else happens
        self._questions: list[Post] = []
        """What specialists are asked with the next commit."""
        self._open: dict[tuple[Envelope, int], Post] = {}
        """What specialists were asked and have not answered, by envelope and place in it."""
        self.answering = Answering(store)
        self._snapshot_due = (ledger.position // SNAPSHOT_EVERY + 1) * SNAPSHOT_EVERY
        self.is_made_elsewhere: Callable[[Ledger], bool] = lambda ledger: False
        """Begins a snapshot of a large state elsewhere, which comes by `keep`; false where it is made in this turn."""
        self._crashes, self._missing = crashes, Missing()
        self._core_error: Exception | None = None
        """An error of the core while the allocator was at work: it is not the allocator's."""
        self._followed = 0
        """How many of the lines the allocator was given."""
        self._allocator: Allocator | None = Allocator(ledger, self)
        self._allocator_due: dt.datetime | None = None
        """When it wants to look again; None: it has worked since it was asked. (No allocator: it was given up.)"""
        self.waits = HoldWaits(self)
        self._waits_followed = 0
        """How many of the lines those who wait for room were tried after."""

    # --- what comes in ------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Something was taken that is not committed."""
        return bool(self._waiting or self._lines or self._questions or self._was_refused)

    @property
    def _was_refused(self) -> bool:
        """The allocator has to take back a start that was refused."""
        return self._allocator is not None and bool(self._allocator.refused)

    def open_questions(self, specialist: str) -> list[Post]:
        """What a specialist was asked and has not answered: for the one that takes its place."""
        return [post for post in self._open.values() if post.to == specialist]

    def take(self, envelope: Envelope, now: dt.datetime) -> None:
        """Decide the commands of an envelope, facts with those that follow; their answers wait for the commit."""
        self.taken += 1
        if self.answering.refuses(envelope, self.halted):
            return
        if self.waits.count:
            self._try_waits(now)
        self._waiting.append(envelope)
        if self.waits.count or not self._facts.takes(envelope, now):
            self._facts.decide(self, self._lines)
            self._take_from(envelope, 0, now)

    def _take_from(self, envelope: Envelope, first: int, now: dt.datetime) -> None:
        """Decide the commands of an envelope from a place on. What stands behind a plan sees it, and waits for it."""
        peer, trace = envelope.peer, envelope.trace
        for slot in range(first, len(envelope.commands)):
            command = envelope.commands[slot]
            wrong = misspelled_id(self.ledger, command)
            refusal = encode_answer(wrong) if wrong else forbidden(self, envelope, slot, now) if peer else None
            if refusal is not None:
                envelope.answers[slot] = refusal
                continue
            # As they are from here on: an agent's may have lost labels.
            command, asked = envelope.commands[slot], envelope.asked[slot]
            # A query is asked anew each time; a command that was answered before is not.
            if (judge := JUDGES.get(type(command))) and (command.is_query or command.id not in self.ledger.ids):
                self._ask(judge, Question(command, envelope, slot), now)
                if judge == REALLOCATOR and (envelope, slot) in self._open:
                    return
            elif type(command) is c.Reserve and command.wait_seconds and may_wait(self.ledger, command):
                self._ask(MANAGER, Question(command, envelope, slot), now)
            else:
                answer = envelope.answers[slot] = self.decide(command, asked, envelope.by, now, peer=peer, trace=trace)
                if type(command) is c.SubmitTask and command.wait_seconds and not answer.startswith(_ERROR):
                    self._ask(ALLOCATOR, Question(command, envelope, slot), now)

    def _ask(self, judge: str, question: Question, now: dt.datetime) -> None:
        if (answer := self._missing.answer_for(judge)) is not None:
            question.envelope.answers[question.slot] = answer
            return
        question.envelope.open += 1
        post = self._open[question.envelope, question.slot] = Post(judge, question)
        if judge == MANAGER:
            if not self.waits.count:
                self._waits_followed = len(self._lines)
            self.waits.ask(question, now)
        elif judge == ALLOCATOR:
            # A task that waits gets a slot before one that comes together with the message that frees it.
            self._tell_allocator(now)
            self._consult(lambda allocator: allocator.answer(question, now), now)
        else:
            self._questions.append(post)

    # --- holds that wait for room -------------------------------------------------------------------------------------

    def _try_waits(self, now: dt.datetime) -> bool:
        """Decide holds that waited for what has happened, before what comes after that; whether there were any."""
        followed, self._waits_followed = self._waits_followed, len(self._lines)
        fresh = self._lines[followed:] if self.waits.count else ()
        return bool(fresh) and self.waits.follow([line[0] for line in fresh], now)

    def try_out(self, command: c.Reserve, by: str, now: dt.datetime) -> Reply | Refusal:
        """How a `Reserve` would be answered now."""
        decided = core.decide(self.ledger, replace(command, dry_run=True), now, command.id or "", by)
        self._lines += [(event, None, None, None) for event in decided.events]
        return decided.answer

    # --- specialists --------------------------------------------------------------------------------------------------

    def give_up_specialist(self, name: str, reason: str, now: dt.datetime) -> None:
        """A specialist is there no more: what waits for it is answered now, and what comes later at once."""
        if self.halted is not None:
            return
        self._missing.add(name, reason)
        command = p.RecordGivenUp(
            specialist=name, reason=reason[:_REASON_MAX], id=c.internal_id(f"given-up-{name}-{self.ledger.position}")
        )
        self.decide(command, encode_command(command), "manager", now)
        for post in list(self._open.values()):
            if (answer := self._missing.answer_for(post.to)) is not None:
                self.settle(post.message, answer)

    def receive(self, message: Proposal | Answered, now: dt.datetime) -> None:
        """Take what a specialist sends."""
        self._facts.decide(self, self._lines)
        if isinstance(message, Proposal):
            self.take_proposal(message, now)
        else:
            self.take_answer(message)

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        """Decide what a specialist proposes; whether it was accepted.

        Where it answers a question, the log keeps what the question asked. A query has no memory of its id: there the
        log keeps the proposal itself.
        """
        self.taken += 1
        command, question = proposal.command, proposal.answers
        if self.halted is not None:
            if question is not None:
                answer_with(question.envelope, halted_answer(self.halted))
            return False
        if question is not None and not self._is_open(question):
            return False
        if isinstance(plan := command, p.ApplyMoves):
            self._tell_allocator(now)
            self._consult(lambda allocator: allocator.keep_money(plan, now), now)
        asked, by, peer, trace = b"", proposal.by, None, None
        if question is not None:
            by, peer, trace = question.envelope.by, question.envelope.peer, question.envelope.trace
            if not (question.command.is_query or isinstance(command, p.TellTask)):
                command.id = question.command.id
                asked = question.envelope.asked[question.slot]
        try:
            answer = self.decide(command, asked or encode_command(command), by, now, peer=peer, trace=trace)
        except Exception as error:
            self._core_error = error
            raise
        accepted = not answer.startswith(_ERROR)
        # Who waits for a task that was placed now is answered by the allocator.
        placed = command.submitted.wait_seconds if isinstance(command, p.PlaceTask) else None
        if question is not None and not (accepted and placed):
            self.settle(question, answer)
        return accepted

    def take_answer(self, answered: Answered) -> None:
        """Hand on the answer to a question that changes nothing, with the next commit."""
        self.taken += 1
        question = answered.question
        if self.halted is not None:
            answer_with(question.envelope, halted_answer(self.halted))
        elif self._is_open(question):
            self.settle(question, answered.answer)

    def _is_open(self, question: Question) -> bool:
        """Whether a question waits for its answer: where a specialist was replaced, two may answer it."""
        return (question.envelope, question.slot) in self._open

    # --- the clock ----------------------------------------------------------------------------------------------------

    def due_at(self) -> dt.datetime | None:
        """When `wake` is to be called next: something happens by itself, or the allocator wants to look again."""
        if self.halted is not None:
            return None
        if self._allocator_due is None:
            self._allocator_due = (self._allocator and self._allocator.due_at()) or NEVER
        due = min(self.ledger.due_at(), self._allocator_due, self.waits.due_at())
        return None if due == NEVER else due

    def wake(self, now: dt.datetime) -> None:
        """Let happen what is due: holds and leases expire, the day and the period begin; then the allocator's part."""
        self.taken += 1
        self._facts.decide(self, self._lines)
        if self.halted is None:
            self._lines += [(event, None, None, None) for event in core.pass_time(self.ledger, now)]
            events = self._news()
            self._consult(lambda allocator: allocator.wake(events, now), now)
            self.waits.wake(now)

    # --- the allocator ------------------------------------------------------------------------------------------------

    def _news(self) -> list[Event]:
        """The events that the allocator was not given yet, if any of them concerns it."""
        events = [line[0] for line in self._lines[self._followed :]]
        return [] if Allocator.follows.isdisjoint(map(type, events)) else events

    def _tell_allocator(self, now: dt.datetime) -> bool:
        """Let the allocator follow what was decided, and decide what it proposes; whether there was anything."""
        events, self._followed = self._news(), len(self._lines)
        if not events and not self._was_refused:
            return False
        self._consult(lambda allocator: allocator.follow(events, now), now)
        return True

    def _consult(self, work: Callable[[Allocator], None], now: dt.datetime) -> None:
        """Let the allocator work. Where it fails, another begins from the ledger, and answers the open questions."""
        self._allocator_due = None
        while ALLOCATOR not in self._missing:
            try:
                if self._allocator is None:
                    self._followed = len(self._lines)
                    self._allocator = Allocator(self.ledger, self)
                    work = lambda allocator: allocator.resume(self.open_questions(ALLOCATOR), now)  # noqa: E731
                work(self._allocator)
            except Exception as error:
                if self._crashes is None or error is self._core_error:
                    raise
                self._allocator = None
                reason = f"{type(error).__name__}: {error}"
                if not self._crashes.note(ALLOCATOR, reason, now):
                    self.give_up_specialist(ALLOCATOR, reason, now)
            else:
                return

    # --- deciding -----------------------------------------------------------------------------------------------------

    def settle(self, question: Question, answer: bytes) -> None:
        """Answer a question with the next commit."""
        envelope: Envelope = question.envelope
        envelope.answers[question.slot] = answer
        envelope.open -= 1
        del self._open[envelope, question.slot]
        self._waiting.append(envelope)
        if isinstance(question.command, c.Rebalance):
            self._take_from(envelope, question.slot + 1, self.ledger.now)

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
        """The answer to one command, with what it caused kept for the next commit."""
        self._facts.decide(self, self._lines)
        ledger, id = self.ledger, command.id
        decided = None if id is None or waited is not None else core.decide_plainly(ledger, command, now, id, by)
        if decided is None:
            id = recorded_id(ledger, command)
            try:
                if (before := ledger.ids.get(id)) is not None and not command.is_query:
                    return answered_before(id, asked, before, self._lines, self._store, ledger)
                command = self.from_log.with_facts(command) if (old := needs_log(command)) else command
            except StoreAway as away:
                return away_answer(str(away))
            decided = core.decide_generally(ledger, command, now, id, by, waited)
            if old:
                self.from_log.note(decided.events)
        answered = encode_answer(decided.answer)
        self._lines += lines_of(decided, asked, answered, origin_of(peer, trace))
        return answered

    def commit(self, now: dt.datetime) -> list[Post]:
        """Make what was taken durable, answer it, and say what there is to publish.

        The steps: let the allocator follow; check conservation on what was touched; append, synced; answer; publish.
        Where one fails, the fleet stops: nothing of the batch is answered as done, and a restart replays the log.

        Raises:
            Halted: an invariant is broken, or the store could not write.
        """
        self._facts.decide(self, self._lines)
        while self._tell_allocator(now) or self._try_waits(now):
            pass
        lines, waiting, questions = self._lines, self._waiting, self._questions
        events, posts = [line[0] for line in lines], list[Post]()
        if lines:
            try:
                check_conserved(self.ledger, events)
                records = Sealed(lines, self._digest)
                self.answering.write(records, self.from_log.sources.take(), waiting)
                self._digest = records.digest
                posts.append(Post("everyone", Recorded(events, records)))
            except (StoreError, BrokenInvariant) as error:
                self.halt(str(error))
                raise Halted(str(error)) from error
        # Only now: after any other error, `halt` must still know who waits.
        self._lines, self._waiting, self._questions, self._followed, self._waits_followed = [], [], [], 0, 0
        self.answering.answer(self.ledger, waiting, now, written=bool(lines))
        if self.ledger.position >= self._snapshot_due:
            self._snapshot_due += SNAPSHOT_EVERY
            if not self.is_made_elsewhere(self.ledger):
                self.keep(made_of(self.ledger), now)
        return [*posts, *questions]

    def keep(self, made: Made, now: dt.datetime) -> None:
        """Keep a snapshot of a state that is written; none where the fleet has stopped."""
        if self.halted is None and (command := keep_snapshot(made, self._store)) is not None:
            self.decide(command, encode_command(command), "manager", now)

    def halt(self, reason: str) -> None:
        """Stop: what waits is answered with the reason, and what comes is refused."""
        self.halted = reason
        log.critical("fleet_halted", reason=reason)
        self.give_up(reason)

    def give_up(self, reason: str) -> None:
        """Answer all who still wait that their messages will not be carried out now."""
        # An envelope may wait for several answers.
        waiting = dict.fromkeys([*self._waiting, *(envelope for envelope, _ in self._open)])
        self._lines, self._waiting, self._questions, self._open, self._followed = [], [], [], {}, 0
        self.waits, self._waits_followed, self._facts = HoldWaits(self), 0, FactRow()
        for envelope in waiting:
            answer_with(envelope, halted_answer(reason))
