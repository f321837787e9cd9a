"""The specialists beside a history that is being told: what they say to it, and, once they are on their own, what follows.

Two companies follow what happens from the first record on: one sees the log's events, the other those of the other
policy. As long as both say the same, the other policy gives them no reason to say anything else, and what the
specialists of the log really said, when they really said it, is what counts. Once they differ, the second company is
on its own: from then on its proposals are decided.
"""

import datetime as dt
from collections import deque
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import msgspec

from tallystick.actors.allocator import Allocator
from tallystick.actors.manager import JUDGES
from tallystick.actors.policies.rebalancing.figures import Figures, figures_of
from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import specialists
from tallystick.actors.runtime.messages import ALLOCATOR, Answered, Post, Proposal, Question, Recorded
from tallystick.actors.runtime.simulation import SpecialistGroup
from tallystick.events import messages as c
from tallystick.events.catalog import Event, TaskStarted
from tallystick.events.catalog.event import EPOCH
from tallystick.events.decide import Decided, decide, pass_time
from tallystick.events.decide.admission import may_give_way, obstacle
from tallystick.events.decide.turn import CLOCK, Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.tasks import NEVER
from tallystick.whatif.agent_histories import AgentHistories

IN_FLIGHT = dt.timedelta(seconds=1)
"""A proposal that the log does not have this long after it was made was refused there, which leaves no trace."""


Judged = tuple[c.Command, bool]
"""What answers a question, and whether it counts in place of the log's own answer."""


class TimePasses(c.Command):
    """In place of a proposal: something happens by itself now. It is never decided, and never stands in a log."""

    group: ClassVar[str] = "internal"


class Proposed(NamedTuple):
    """A proposal, and whether the core would accept it as things stood."""

    proposal: Proposal
    fits: bool


class ShadowSpecialists(SpecialistGroup):
    """The specialists behind one history; what happens in it is told from outside."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, specialists(), ManualClock(EPOCH))
        self.ledger = ledger
        self.proposed: list[Proposed] = []
        """What was proposed since this was last read."""
        self.allocator = Allocator(ledger, self)
        self._passed = EPOCH
        """Up to here it was said that time passes."""
        self._plan: c.Command | None = None
        self._fresh: list[Event] = []
        self._basis: tuple[object, ...] = ()
        self._figures = figures_of(ledger)
        self._look_at_the_clock()

    def due_at(self) -> dt.datetime | None:
        """When the next timer fires."""
        return None if self._first_due is None else self._first_due[0]

    def hear(self, events: Sequence[Event]) -> None:
        """What has just happened, which the ledger has followed."""
        self._fresh += events

    def rest(self) -> None:
        """Let all specialists take in what has happened, and propose what follows from it."""
        self._settle()

    def judge(self, asked: c.Command) -> c.Command:
        """The proposal that they would answer a question with: a plan of moves, or where a task is placed."""
        question = Question(asked, None, 0)
        if JUDGES[type(asked)] == ALLOCATOR:
            self.allocator.answer(question, self._clock.now())
        else:
            self._deliver(Post(JUDGES[type(asked)], question))
        self._settle()
        plan, self._plan = self._plan, None
        assert plan is not None, "a question is answered with a proposal"
        return plan

    def refuse(self, proposal: Proposal) -> None:
        """A proposal was refused: the allocator counts on its starts."""
        command = proposal.command
        if isinstance(command, p.StartTask):
            self.allocator.refused.append(command.task)
        elif isinstance(command, p.PreemptTask):
            self.allocator.refused.append(command.beneficiary)

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        """The log does not have what was refused, but the allocator needs to know: so the core is asked beforehand."""
        if proposal.answers is not None:
            self._plan = proposal.command
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
        moments = (self.allocator.due_at(), due if due > self._passed and due != NEVER else None)
        return min((at for at in moments if at is not None), default=None)

    def _wake_manager(self, now: dt.datetime) -> None:
        if self._passed < self.ledger.due_at() <= now:
            self._passed = self.ledger.due_at()
            self.take_proposal(Proposal(TimePasses(), CLOCK), now)
        self.allocator.wake(self._concerning_allocator(self._fresh), now)

    def _concerning_allocator(self, events: Sequence[Event]) -> Sequence[Event]:
        return () if Allocator.follows.isdisjoint(map(type, events)) else events

    def _settle(self) -> None:
        super()._settle()
        while self.allocator.refused:
            super()._settle()

    def _publish(self, now: dt.datetime) -> Sequence[Post]:
        fresh, self._fresh = self._fresh, []
        events = self._concerning_allocator(fresh)
        if events or self.allocator.refused:
            self.allocator.follow(events, now)
        return [Post("everyone", Recorded(fresh, self._how_it_stands()))] if fresh else []

    def _how_it_stands(self) -> Figures:
        """`figures_of` the ledger. All but the pool changes seldom, and every step asks for it."""
        ledger = self.ledger
        basis = (ledger.root.allocated, ledger.opening, ledger.rules, len(ledger.accounts))
        if basis != self._basis:
            self._basis, self._figures = basis, figures_of(ledger)
        return Figures(ledger.pool, self._figures.spendable, self._figures.minimum_share, ledger.in_crisis)


class OtherHistory(ShadowSpecialists):
    """The history under the other policy: what is put in is decided here."""

    def __init__(self) -> None:
        super().__init__(Ledger())
        self.histories = AgentHistories(self.ledger)
        self.events: list[Event] = []
        """What has happened since somebody looked."""
        self.starts: list[TaskStarted] = []
        """The tasks that have started since somebody looked."""
        self.acts = False
        """The specialists are on their own: what they propose is decided."""

    def put(self, command: c.Command, at: dt.datetime, id: str, by: str) -> Decided | None:
        """Decide a command by the other policy; None where its id is remembered, and a repeat changes nothing."""
        if id in self.ledger.ids:
            return None
        decided = decide(self.ledger, command, at, id, by)
        self._happened(decided.events)
        return decided

    def keep(self, event: Event, at: dt.datetime, id: str, by: str) -> None:
        """Take a recorded event over as it is: a decision that cannot be made anew."""
        turn = Turn(self.ledger, at, id, by)
        turn.record(msgspec.structs.replace(event))
        self._happened(turn.events)

    def propose(self, proposals: Sequence[Proposal], now: dt.datetime) -> None:
        """Decide what had only been said."""
        for proposal in proposals:
            if not self.take_proposal(proposal, now):
                self.refuse(proposal)

    def let_due_happen(self, now: dt.datetime) -> None:
        """Let happen what is due by itself."""
        if self.ledger.due_at() <= now:
            self._happened(pass_time(self.ledger, now))

    def _happened(self, events: list[Event]) -> None:
        self.histories.follow(events)
        self.events += events
        self.starts += [event for event in events if type(event) is TaskStarted]
        self.hear(events)

    def take_proposal(self, proposal: Proposal, now: dt.datetime) -> bool:
        if not self.acts or proposal.answers is not None:
            return super().take_proposal(proposal, now)
        if isinstance(proposal.command, TimePasses):
            self.let_due_happen(now)
            return True
        # Their ids name positions of this history: those of the log's own proposals must not be taken for the same.
        decided = self.put(proposal.command, now, f"{proposal.command.id}-what-if", proposal.by)
        return decided is not None and not isinstance(decided.answer, Refusal)


class Divergence(NamedTuple):
    """Where the specialists of the two histories first said different things. ``position`` is the log's by then."""

    position: int
    at: dt.datetime
    recorded: Sequence[c.Command]
    other: Sequence[c.Command]


class Shadows:
    """Both companies, side by side until they part."""

    def __init__(self, log: Ledger) -> None:
        self.other = OtherHistory()
        self.divergence: Divergence | None = None
        self._log: ShadowSpecialists | None = ShadowSpecialists(log)
        self._ledger = log
        self._in_flight: deque[tuple[dt.datetime, Proposal]] = deque()
        """What both said lately, and the log has not shown yet."""

    def pass_time(self, until: dt.datetime) -> None:
        """Fire what is due up to ``until`` in both, moment by moment."""
        while self._log is not None:
            moments = [at for at in (self._log.due_at(), self.other.due_at()) if at is not None and at <= until]
            now = min(moments, default=until)
            self._log.pass_time(now)
            self.other.pass_time(now)
            self._compare(now)
            if not moments:
                return
        self.other.pass_time(until)

    def due_at(self) -> dt.datetime | None:
        """When the next timer of anyone fires."""
        moments = [self.other.due_at(), None if self._log is None else self._log.due_at()]
        return min((at for at in moments if at is not None), default=None)

    def rest(self, recorded: Sequence[Event], now: dt.datetime) -> None:
        """Let both hear what has happened: in the log ``recorded``, in the other history what was put in."""
        if self._log is not None:
            self._log.hear(recorded)
            self._log.rest()
        self.other.rest()
        self._compare(now)

    def judge(self, asked: c.Command, now: dt.datetime) -> Judged:
        """What answers a question, and whether it counts: until they part, it is the log's own answer that does."""
        made = self.other.judge(asked)
        if self._log is not None:
            recorded = self._log.judge(asked)
            if _saying(recorded) == _saying(made):
                return made, False
            self._diverge(now, [recorded], [made], [])
        return made, True

    def arrived(self, command: c.Command) -> None:
        """The log shows a proposal: it is in flight no longer."""
        for number, (_, proposal) in enumerate(self._in_flight):
            if _about(proposal.command) == _about(command):
                del self._in_flight[number]
                return

    def _compare(self, now: dt.datetime) -> None:
        if self._log is None:
            return
        while self._in_flight and now - self._in_flight[0][0] > IN_FLIGHT:
            _, proposal = self._in_flight.popleft()
            self._log.refuse(proposal)
            self.other.refuse(proposal)
        recorded, made = self._log.proposed, self.other.proposed
        if not recorded and not made:
            return
        self._log.proposed, self.other.proposed = [], []
        if [_what(one) for one in recorded] == [_what(one) for one in made]:
            self._in_flight += [(now, one.proposal) for one in made if one.fits]
            return
        proposals = [one.proposal for one in made]
        self._diverge(now, [one.proposal.command for one in recorded], [one.command for one in proposals], proposals)

    def _diverge(
        self, now: dt.datetime, recorded: Sequence[c.Command], made: Sequence[c.Command], proposals: Sequence[Proposal]
    ) -> None:
        """From here on the others are on their own; what the log would have shown next, they said too."""
        self.divergence = Divergence(self._ledger.position, now, recorded, made)
        self._log = None
        self.other.acts = True
        lately = [proposal for at, proposal in self._in_flight if now - at <= IN_FLIGHT]
        self._in_flight.clear()
        self.other.propose([*lately, *proposals], now)
        self.other.rest()


def is_possible(ledger: Ledger, command: c.Command, now: dt.datetime) -> bool:
    """Whether the law would grant a start that is proposed, as things stand; of other proposals nobody needs to know."""
    tasks = ledger.tasks
    match command:
        case p.StartTask():
            task = tasks.get(command.task)
            return task is not None and task.state == "queued" and obstacle(ledger, task) is None
        case p.PreemptTask():
            task, victim = tasks.get(command.beneficiary), tasks.running.get(command.task)
            if task is None or task.state != "queued" or victim is None:
                return False
            return may_give_way(ledger, task, victim, now)
    return True


def _what(proposed: Proposed) -> tuple[c.Command, bool]:
    return _saying(proposed.proposal.command), proposed.fits


def _about(command: c.Command) -> tuple[object, ...]:
    """Whom or what a proposal is about, whatever it says."""
    return (type(command), *(getattr(command, name, None) for name in ("agent", "task", "beneficiary")))


def _saying(command: c.Command) -> c.Command:
    """What a proposal says; ids tell when it was said, and behind which position."""
    return msgspec.structs.replace(command, id=None)
