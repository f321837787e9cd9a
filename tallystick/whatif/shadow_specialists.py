"""The specialists beside a history: what they propose in it, and, once they have diverged, what is decided about that.

Two groups of specialists, each with an allocator, follow what happens from the first record on: one sees the log's
events, the other those of the other policy. As long as both propose the same, the other policy gives them no reason
to propose
anything else: then what counts is what the specialists of the log really proposed, and when. Once they diverge, the
proposals of the second group are decided.
"""

import datetime as dt
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from tallystick.actors.allocator import Allocator
from tallystick.actors.judges import JUDGES
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.messages import ALLOCATOR, Answered, Post, Proposal, Question, Recorded
from tallystick.actors.runtime.simulation import SpecialistGroup
from tallystick.actors.runtime.team import specialists
from tallystick.events import messages as c
from tallystick.events.catalog import Event, TaskStarted
from tallystick.events.catalog.event import EPOCH
from tallystick.events.decide import Decided, decide, pass_time
from tallystick.events.decide.admission import may_give_way, obstacle
from tallystick.events.decide.turn import CLOCK, Turn, Waited
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.calendar import NEVER
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.agent_histories import AgentHistories
from tallystick.whatif.corrections import Corrections
from tallystick.whatif.sources import Sources

IN_FLIGHT = dt.timedelta(seconds=1)
"""A proposal that the log does not have this long after it was made was refused there, which leaves no trace."""

Judged = tuple[c.Command, bool]
"""The answer to a question, and whether it counts in place of the log's own answer."""


class TimePasses(c.Command):
    """In place of a proposal: something happens by itself now. It is never decided, and never stands in a log."""

    group: ClassVar[str] = "internal"


class Proposed(NamedTuple):
    """A proposal, and whether the core would accept it as things stood."""

    proposal: Proposal
    fits: bool

    @property
    def compared(self) -> tuple[c.Command, bool]:
        return _without_id(self.proposal.command), self.fits


class ShadowSpecialists(SpecialistGroup):
    """The specialists and the allocator behind one history. What they propose is noted, and not decided here."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, specialists(), ManualClock(EPOCH))
        self.ledger = ledger
        self.proposed: list[Proposed] = []
        """What was proposed since this was emptied."""
        self._allocator = Allocator(ledger, self)
        self._noted_due = EPOCH
        """Up to here it was noted that time passes."""
        self._answer: c.Command | None = None
        self._fresh: list[Event] = []
        self._look_at_the_clock()

    def due_at(self) -> dt.datetime | None:
        """When the next timer fires."""
        return None if self._first_due is None else self._first_due[0]

    def follow(self, events: Sequence[Event]) -> None:
        """Note what has just happened, which the ledger has followed. The specialists learn of it with `rest`."""
        self._fresh += events

    def rest(self) -> None:
        """Let all specialists take in what has happened, and propose what follows from it."""
        self._settle()

    def judge(self, asked: c.Command) -> c.Command:
        """The proposal that answers a question: a plan of moves, or where a task is placed."""
        question, judge = Question(asked, None, 0), JUDGES[type(asked)]
        if judge == ALLOCATOR:
            self._allocator.answer(question, self._clock.now())
        else:
            self._deliver(Post(judge, question))
        self._settle()
        answer, self._answer = self._answer, None
        assert answer is not None, "a question is answered with a proposal"
        return answer

    def withdraw(self, command: c.Command) -> None:
        """A proposal was refused: a start counts as made until the allocator takes it back."""
        task = _started_by(command)
        if task is not None:
            self._allocator.refused.append(task)

    # --- in the manager's place ---------------------------------------------------------------------------------------

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        """Note a proposal; whether it counts as accepted.

        The log does not show what it refused, but the allocator must know it to go on: so the core is asked beforehand.
        """
        if isinstance(proposal.command, p.ApplyMoves):
            self._allocator.keep_money(proposal.command, now)
        if proposal.answers is not None:
            self._answer = proposal.command
            return True
        fits = is_possible(self.ledger, proposal.command, now)
        self.proposed.append(Proposed(proposal, fits))
        return fits

    def take_answer(self, answered: Answered) -> None:
        raise AssertionError("no question is asked here that is answered without a proposal")

    def _decide(self, message: Any, now: dt.datetime) -> None:
        assert isinstance(message, Proposal), "only specialists send messages here"
        self.take_proposal(message, now)

    def _manager_due_at(self) -> dt.datetime | None:
        due = self.ledger.due_at()
        moments = (self._allocator.due_at(), due if due > self._noted_due and due != NEVER else None)
        return min((at for at in moments if at is not None), default=None)

    def _wake_manager(self, now: dt.datetime) -> None:
        due = self.ledger.due_at()
        if self._noted_due < due <= now:
            self._noted_due = due
            self.take_proposal(Proposal(TimePasses(), CLOCK), now)
        self._allocator.wake(self._concerning_allocator(self._fresh), now)

    def _publish(self, now: dt.datetime) -> Sequence[Post]:
        events: list[Event] = []
        while self._fresh or self._allocator.refused:
            fresh, self._fresh = self._fresh, []
            concerning = self._concerning_allocator(fresh)
            if concerning or self._allocator.refused:
                self._allocator.follow(concerning, now)
            events += fresh
        return [Post("everyone", Recorded(events))] if events else []

    def _concerning_allocator(self, events: Sequence[Event]) -> Sequence[Event]:
        return () if Allocator.follows.isdisjoint(map(type, events)) else events


class OtherHistory(ShadowSpecialists):
    """The history under the other policy: messages are decided here, and proposals too as soon as ``acts`` is set."""

    def __init__(self) -> None:
        super().__init__(Ledger())
        self.histories = AgentHistories(self.ledger)
        self.events: list[Event] = []
        """What has happened since this was emptied."""
        self.starts: list[TaskStarted] = []
        """The tasks that have started since this was emptied."""
        self.acts = False
        self.sources = Sources()
        self.corrections = Corrections(frozenset(), self.sources)

    def put(
        self, command: c.Command, at: dt.datetime, id: str, by: str, waited: Waited | None = None
    ) -> Decided | None:
        """Decide a command by the other policy; None where its id is known, and a repeat changes nothing."""
        if id in self.ledger.ids:
            return None
        decided = decide(self.ledger, self.sources.with_facts(command), at, id, by, waited)
        self._happened(decided.events)
        return decided

    def keep(self, event: Event, at: dt.datetime, id: str, by: str) -> None:
        """Take a recorded event over as it is: a decision that cannot be made anew."""
        turn = Turn(self.ledger, at, id, by)
        turn.record(msgspec.structs.replace(event))
        self._happened(turn.events)

    def let_due_happen(self, now: dt.datetime) -> None:
        """Let happen what is due by itself."""
        if self.ledger.due_at() <= now:
            self._happened(pass_time(self.ledger, now))

    def act(self, proposals: Sequence[Proposal], now: dt.datetime) -> None:
        """Decide proposals from now on, beginning with these."""
        self.acts = True
        for proposal in proposals:
            if not self.take_proposal(proposal, now):
                self.withdraw(proposal.command)
        self.rest()

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        if not self.acts or proposal.answers is not None:
            return super().take_proposal(proposal, now)
        if isinstance(proposal.command, p.ApplyMoves):
            self._allocator.keep_money(proposal.command, now)
        if isinstance(proposal.command, TimePasses):
            self.let_due_happen(now)
            return True
        # Their ids name positions of this history, and must not be taken for those of the log's own proposals.
        decided = self.put(proposal.command, now, f"{proposal.command.id}-what-if", proposal.by)
        return decided is not None and not isinstance(decided.answer, Refusal)

    def _happened(self, events: list[Event]) -> None:
        self.corrections.follow(events, self.ledger)
        self.sources.follow(events, self.ledger)
        self.histories.follow(events)
        self.events += events
        self.starts += [event for event in events if type(event) is TaskStarted]
        self.follow(events)


class Divergence(NamedTuple):
    """Where the specialists of the two histories first proposed different things. ``position`` is the log's by then."""

    position: int
    at: dt.datetime
    recorded: Sequence[c.Command]
    other: Sequence[c.Command]


class Shadows:
    """The specialists of both histories, side by side until they diverge."""

    def __init__(self, log: Ledger) -> None:
        self.other = OtherHistory()
        self.divergence: Divergence | None = None
        self._log: ShadowSpecialists | None = ShadowSpecialists(log)
        self._ledger = log
        self._in_flight: deque[tuple[dt.datetime, Proposal]] = deque()
        """What both proposed lately, and the log has not shown yet."""

    def due_at(self) -> dt.datetime | None:
        """When the next timer of either fires."""
        moments = [self.other.due_at(), None if self._log is None else self._log.due_at()]
        return min((at for at in moments if at is not None), default=None)

    def pass_time(self, until: dt.datetime) -> None:
        """Fire what is due up to ``until`` in both, moment by moment."""
        while self._log is not None:
            due = self.due_at()
            now = until if due is None else min(due, until)
            self._log.pass_time(now)
            self.other.pass_time(now)
            self._compare(now)
            if due is None or due > until:
                return
        self.other.pass_time(until)

    def rest(self, recorded: Sequence[Event], now: dt.datetime) -> None:
        """Let both take in what has happened: in the log ``recorded``, in the other history what was put in."""
        if self._log is not None:
            self._log.follow(recorded)
            self._log.rest()
        self.other.rest()
        self._compare(now)

    def judge(self, asked: c.Command, now: dt.datetime) -> Judged:
        """The answer to a question, and whether it counts: until they diverge, the log's own answer does."""
        other = self.other.judge(asked)
        if self._log is not None:
            recorded = self._log.judge(asked)
            if _without_id(recorded) == _without_id(other):
                return other, False
            self._diverge(now, [recorded], [other])
        return other, True

    def arrived(self, command: c.Command) -> None:
        """The log shows a proposal: it is in flight no longer."""
        for index, (_, proposal) in enumerate(self._in_flight):
            if _about(proposal.command) == _about(command):
                del self._in_flight[index]
                return

    def _compare(self, now: dt.datetime) -> None:
        if self._log is None:
            return
        while self._in_flight and now - self._in_flight[0][0] > IN_FLIGHT:
            _, proposal = self._in_flight.popleft()
            self._log.withdraw(proposal.command)
            self.other.withdraw(proposal.command)
        recorded, other = self._log.proposed, self.other.proposed
        if [one.compared for one in recorded] == [one.compared for one in other]:
            self._in_flight += [(now, one.proposal) for one in other if one.fits]
            self._log.proposed, self.other.proposed = [], []
        else:
            self._diverge(now, *([one.proposal.command for one in both] for both in (recorded, other)))

    def _diverge(self, now: dt.datetime, recorded: Sequence[c.Command], other: Sequence[c.Command]) -> None:
        """From here on the proposals of the other history are decided; also those that the log would have shown
        next.
        """
        self.divergence = Divergence(self._ledger.position, now, recorded, other)
        self._log = None
        in_flight = [proposal for at, proposal in self._in_flight if now - at <= IN_FLIGHT]
        self._in_flight.clear()
        self.other.act([*in_flight, *(one.proposal for one in self.other.proposed)], now)


def _started_by(command: c.Command) -> str | None:
    """The task that a proposal would start; None where it is no such proposal."""
    match command:
        case p.StartTask():
            return command.task
        case p.PreemptTask():
            return command.beneficiary
    return None


def is_possible(ledger: Ledger, command: c.Command, now: dt.datetime) -> bool:
    """Whether the core would accept a proposal, as things stand. Only of starts it needs to be known."""
    tasks, name = ledger.tasks, _started_by(command)
    if name is None:
        return True
    task = tasks.get(name)
    if task is None or task.state != "queued":
        return False
    if isinstance(command, p.PreemptTask):
        victim = tasks.running.get(command.task)
        return victim is not None and may_give_way(ledger, task, victim, now)
    return obstacle(ledger, task) is None


def _about(command: c.Command) -> tuple[object, ...]:
    """What a proposal is about, whatever it proposes."""
    return (type(command), *(getattr(command, name, None) for name in ("agent", "task", "beneficiary")))


def _without_id(command: c.Command) -> c.Command:
    """A proposal without its id, which tells when it was made, and behind which position."""
    return msgspec.structs.replace(command, id=None)
