"""A log put to another policy: its facts step by step, every decision made anew, and both histories side by side."""

from collections.abc import Sequence

from tallystick.actors.whatif.courses import Courses
from tallystick.actors.whatif.differing import Difference, first_unlike, is_like, told_by, told_in
from tallystick.actors.whatif.fates import Fates
from tallystick.actors.whatif.onlookers import Companies, Parting
from tallystick.actors.whatif.question import Question
from tallystick.actors.whatif.steps import Step
from tallystick.events import commands as c
from tallystick.events.audit import Replay
from tallystick.events.catalog import Event, RequestRefused
from tallystick.events.decide.levels import STOP
from tallystick.events.decide.turn import CLOCK
from tallystick.events.ledger import Ledger, check_conserved
from tallystick.events.replies import Refusal, Reply

_ORDERS = c.LoadConfig | c.LoadPrices | c.SetTotalBudget
"""What a question may stand in for."""
_TELLING = c.ReportUsage | c.Settle | c.Heartbeat
"""What is answered with what the agent may do now."""


class Rerun:
    """The facts of a log under a `Question`. `take` every step of the log in order, then `finish`.

    ``recorded`` is what became of everyone in the log, ``made`` under the other policy; ``fates`` what of the log's
    messages was not put in, and what that saved.
    """

    def __init__(self, question: Question) -> None:
        self.question = question
        self.fates = Fates()
        self.messages = 0
        """How many messages were put to the other policy, those that were passed over included."""
        self._log = Replay()
        self._companies = Companies(self._log.ledger)
        self._others = self._companies.others
        self.recorded = Courses(self._log.ledger)
        self.made = self._others.courses
        self._nobodys: list[str] = []
        """Holds that nobody will settle: they are given back before anything else happens."""
        self.difference: Difference | None = None
        """The first decision that differs."""

    @property
    def log(self) -> Ledger:
        """The state that the log adds up to, so far."""
        return self._log.ledger

    @property
    def other(self) -> Ledger:
        """The state under the other policy, so far."""
        return self._others.ledger

    @property
    def digest(self) -> bytes:
        """That of the log's newest record."""
        return self._log.digest

    @property
    def parting(self) -> Parting | None:
        """Where the specialists were on their own from, if they ever were."""
        return self._companies.parting

    def take(self, step: Step) -> Sequence[Event]:
        """Put one step of the log to the other policy; what the log has of it.

        1. Let time pass: timers of the specialists, then what the law does by itself.
        2. Put in what was asked, as far as it would have been asked.
        3. Let the log's own history follow.
        4. Let the specialists hear of both, and compare.

        Raises:
            BrokenChain: a record is not what was written.
        """
        others, log = self._others, self._log
        parting = self.parting
        self._give_back()
        self._companies.pass_time(step.at)
        recorded = [self._follow(log.prove(record)) for record in step.due]
        if others.ledger.due_at() <= step.at:
            others.put(c.ExpireHolds(), step.at, "", CLOCK)
        request, told_in_log, told = "", None, None
        if step.own:
            self.messages += 1
            command = step.command
            request = type(command).__name__
            first = log.prove(step.own[0])
            behind = len(others.made)
            answer = self._put(step, command, first)
            own = [self._follow(first), *(self._follow(log.prove(record)) for record in step.own[1:])]
            self.fates.count(own, others.made[behind:])
            recorded += own
            if isinstance(command, _TELLING):
                told_in_log, told = told_in(step.answered), told_by(answer)
        self.recorded.follow(recorded)
        self._companies.rest(recorded, step.at)
        for courses, one in ((self.recorded, told_in_log), (self.made, told)):
            if one is not None and one.wait_seconds:
                courses.told_to_wait(one.agent, one.wait_seconds)
        self._note_freed()
        made, others.made = others.made, []
        if self.difference is None:
            unlike = first_unlike(recorded, made)
            if unlike is not None or not is_like(told_in_log, told):
                parted = None if parting is self.parting else self.parting
                place, events = step.records[0].position, unlike or (None, None)
                self.difference = Difference(place, step.at, step.by, request, *events, told_in_log, told, parted)
        return recorded

    def finish(self) -> None:
        """After the last step: prove the law on what was made up, and read off how the agents stand.

        Raises:
            BrokenLaw: the money of the other history is not where its accounts say it is.
        """
        self._give_back()
        check_conserved(self.other)
        self.recorded.finish()
        self.made.finish()

    def _give_back(self) -> None:
        for hold in self._nobodys:
            self._others.put(c.CancelHold(hold=hold), self.other.now, f"{c.HOUSE}what-if-{hold}", CLOCK)
        self._nobodys.clear()

    def _follow(self, event: Event) -> Event:
        self._log.apply(event)
        return event

    def _put(self, step: Step, command: c.Command, first: Event) -> Reply | Refusal | None:
        """Put a recorded command to the other policy; what it answers, None where it was not put in.

        ``first`` is the first event that it led to in the log, whose state is still that before it.
        """
        others = self._others
        if isinstance(command, _ORDERS):
            for one in self.question.instead_of(command):
                others.put(one, step.at, one.id or step.id, step.by)
            return None
        if isinstance(command, c.Rebalance):
            self._rebalance(step, command, first)
            return None
        if command.group == "internal":
            if not others.act:
                self._companies.arrived(command)
                others.put(command, step.at, step.id, step.by)
            return None
        refused = isinstance(first, RequestRefused)
        put = self.fates.of(command, refused, self.log, self.other)
        if put is None:
            return None
        decided = others.put(put, step.at, step.id, step.by)
        answer = None if decided is None else decided.answer
        if self.fates.decided(put, refused, answer, self.log):
            self._nobodys.append(step.id)
        return answer

    def _rebalance(self, step: Step, asked: c.Rebalance, first: Event) -> None:
        """Answer a `Rebalance`: with the log's own plan as long as the specialists have no other one."""
        plan = self._companies.plans(asked, step.at)
        if plan is not None:
            plan.id = step.id
            self._others.put(plan, step.at, step.id, step.by)
        elif isinstance(first, RequestRefused):
            # The log does not have a plan that was refused, only why it was.
            self._others.keep(first, step.at, step.id, step.by)
        else:
            self._others.put(step.plan(), step.at, step.id, step.by)

    def _note_freed(self) -> None:
        """An agent that the log has stopped, and the other policy has not, would have gone on with what nobody knows."""
        for agent in self.recorded.changed | self.made.changed:
            if agent in self.other.accounts and self.recorded.action(agent) == STOP != self.made.action(agent):
                self.fates.unknown.add(agent)
        self.recorded.changed.clear()
        self.made.changed.clear()
