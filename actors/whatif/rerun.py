"""A log put to another policy: its facts step by step, every decision made anew, and both histories side by side."""

from collections.abc import Sequence
from typing import NamedTuple

from tallystick.actors.whatif.courses import Courses
from tallystick.actors.whatif.differing import Answered, Comparison, Difference, told_by, told_in
from tallystick.actors.whatif.fates import Fates
from tallystick.actors.whatif.onlookers import Companies, Parting
from tallystick.actors.whatif.question import Question
from tallystick.actors.whatif.steps import Step
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.audit import Replay
from tallystick.events.catalog import Event, RequestRefused
from tallystick.events.decide.levels import STOP
from tallystick.events.decide.turn import CLOCK
from tallystick.events.ledger import Ledger, check_conserved
from tallystick.events.replies import Refusal, Reply

_ORDERS = c.LoadConfig | p.LoadPrices | c.SetTotalBudget
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
        self._comparison = Comparison()
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
        others = self._others
        self._give_back()
        self._companies.pass_time(step.at)
        recorded = [self._follow(self._log.prove(record)) for record in step.due]
        if others.ledger.due_at() <= step.at:
            others.put(p.ExpireHolds(), step.at, "", CLOCK)
        asked = self._ask(step) if step.own else _NOTHING
        recorded += asked.events
        self.recorded.follow(recorded)
        self._companies.rest(recorded, step.at)
        self._note_freed()
        made, others.made = others.made, []
        if self.difference is None:
            # What the log said to an order that is not put in here has no like.
            compared = recorded if asked.is_compared else recorded[: len(step.due)]
            self.difference = self._comparison.step(step, asked.answered, compared, made)
        return recorded

    def finish(self) -> None:
        """After the last step: prove the law on what was made up, and read off how the agents stand.

        Raises:
            BrokenLaw: the money of the other history is not where its accounts say it is.
        """
        self._give_back()
        check_conserved(self.other)
        self.difference = self.difference or self._comparison.end()
        self.recorded.finish()
        self.made.finish()

    def _give_back(self) -> None:
        for hold in self._nobodys:
            self._others.put(c.CancelHold(hold=hold), self.other.now, f"{c.HOUSE}what-if-{hold}", CLOCK)
        self._nobodys.clear()

    def _follow(self, event: Event) -> Event:
        self._log.apply(event)
        return event

    def _ask(self, step: Step) -> "_Asked":
        """Put in what a step asked, and let the log follow what it led to there."""
        others, log = self._others, self._log
        self.messages += 1
        command = step.command
        request = type(command).__name__
        first = log.prove(step.own[0])
        refused = isinstance(first, RequestRefused)
        behind = len(others.made)
        answer, is_compared = None, True
        if isinstance(command, _ORDERS):
            is_compared = self._order(step, command) or not refused
        elif isinstance(command, c.Rebalance):
            self._rebalance(step, command, first)
        elif command.group == "internal":
            self._take_proposal(step, command)
        else:
            answer = self._put(step, command, refused)
        own = [self._follow(first), *(self._follow(log.prove(record)) for record in step.own[1:])]
        self.fates.count(own, others.made[behind:])
        if not isinstance(command, _TELLING):
            return _Asked(own, Answered(request), is_compared)
        told_in_log, told = told_in(step.answered), told_by(answer)
        for courses, one in ((self.recorded, told_in_log), (self.made, told)):
            if one is not None and one.wait_seconds:
                courses.told_to_wait(one.agent, one.wait_seconds)
        return _Asked(own, Answered(request, told_in_log, told))

    def _order(self, step: Step, command: c.Command) -> bool:
        """Put in an order about what is asked; whether anything of it was put in."""
        put_in = self.question.instead_of(command)
        for one in put_in:
            self._others.put(one, step.at, one.id or step.id, step.by)
        return bool(put_in)

    def _take_proposal(self, step: Step, command: c.Command) -> None:
        """Put in what the specialists of the log proposed, as long as those of the other history say the same."""
        if not self._others.act:
            self._companies.arrived(command)
            self._others.put(command, step.at, step.id, step.by)

    def _put(self, step: Step, command: c.Command, refused: bool) -> Reply | Refusal | None:
        """Put in a message from outside, as far as it would have been sent; what is answered, None where it is not."""
        put = self.fates.of(command, refused, self.log, self.other)
        if put is None:
            return None
        decided = self._others.put(put, step.at, step.id, step.by)
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


class _Asked(NamedTuple):
    """A message that was put in: what it led to in the log, and how it was answered on either side."""

    events: Sequence[Event]
    answered: Answered | None = None
    is_compared: bool = True


_NOTHING = _Asked(())
