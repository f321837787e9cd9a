"""A log put to another policy: its facts step by step, every decision made anew, and both histories side by side."""

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tallystick.actors.runtime.messages import Proposal
from tallystick.events import messages as c
from tallystick.events.catalog import Event, RequestRefused
from tallystick.events.catalog.event import EPOCH
from tallystick.events.decide.levels import STOP
from tallystick.events.decide.turn import CLOCK
from tallystick.events.log.audit import Replay
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.agent_histories import AgentHistories
from tallystick.whatif.divergence import Answered, Comparison, Difference, told_by, told_in
from tallystick.whatif.message_filter import MessageFilter, usage_of
from tallystick.whatif.question import Question
from tallystick.whatif.runs import Run, Runs, Scripts
from tallystick.whatif.shadow_specialists import Divergence, Judged, ShadowGroups
from tallystick.whatif.shifted_runs import ShiftedRuns, with_lease
from tallystick.whatif.steps import Step

_ORDERS = c.LoadConfig | p.LoadPrices | c.SetTotalBudget
"""What a question may stand in for."""
_TELLING = c.ReportUsage | c.Settle | c.Heartbeat
"""What is answered with what the agent may do now."""


class Rerun:
    """The facts of a log under a `Question`. `take` every step of the log in order, then `finish`.

    ``recorded`` is what became of everyone in the log, ``made`` under the other policy; ``fates`` what of the log's
    messages was not put in, and what that saved; ``moving`` the runs of tasks that started at another time. ``scripts``
    are the runs of the same log.
    """

    def __init__(self, question: Question, scripts: Scripts) -> None:
        self.question = question
        self.fates = MessageFilter()
        self.messages = 0
        """How many messages were put to the other policy, those that were passed over included."""
        self._log = Replay()
        self._companies = ShadowGroups(self._log.ledger)
        self._others = self._companies.others
        self.recorded = AgentHistories(self._log.ledger)
        self.made = self._others.courses
        self.moving = ShiftedRuns(scripts, self._others.ledger)
        self._runs = Runs()
        self._now = EPOCH
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
    def parting(self) -> Divergence | None:
        """Where the specialists were on their own from, if they ever were."""
        return self._companies.parting

    def take(self, step: Step) -> Sequence[Event]:
        """Put one step of the log to the other policy; what the log has of it.

        1. Let time pass: timers of the specialists, what moved runs send, then what the law does by itself.
        2. Put in what was asked, as far as it would have been asked.
        3. Let the log's own history follow.
        4. Let the specialists hear of both, and compare.

        Raises:
            BrokenChain: a record is not what was written.
        """
        others, run = self._others, self._runs.take(step)
        self._now = step.at
        self._pass_time(step.at)
        self._give_back()
        sent = self._sent(step, run) if step.own else None
        # Whoever judges a submission has not heard yet of what the law does by itself at that moment.
        judged = self._companies.judge(sent, step.at) if isinstance(sent, c.SubmitTask) else None
        recorded = [self._follow(self._log.prove(record)) for record in step.due]
        others.let_due_happen(step.at)
        asked = self._ask(step, sent, judged) if step.own else _NOTHING
        recorded += asked.events
        self.recorded.follow(recorded)
        self._begin_runs(self._runs.started)
        for ended in self._runs.ended:
            self.moving.cut_in_log(ended, step.at)
        self._companies.rest(recorded, step.at)
        self._begin_runs({})
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
            BrokenInvariant: the money of the other history is not where its accounts say it is.
        """
        self._give_back()
        self.fates.settle_moved(self.moving.differences())
        check_conserved(self.other)
        self.difference = self.difference or self._comparison.end()
        self.recorded.finish(self._now)
        self.made.finish(self._now)

    def _give_back(self) -> None:
        for hold in self._nobodys:
            self._others.put(c.CancelHold(hold=hold), self.other.now, f"{c.INTERNAL_ID}what-if-{hold}", CLOCK)
        self._nobodys.clear()

    def _follow(self, event: Event) -> Event:
        self._log.apply(event)
        return event

    # --- runs of tasks ------------------------------------------------------------------------------------------------

    def _pass_time(self, until: dt.datetime) -> None:
        """Fire every timer that is due, and put in what moved runs send, moment by moment."""
        companies, moving = self._companies, self.moving
        while True:
            sends, fires = moving.due_at(), companies.due_at()
            if sends is None or sends > until:
                break
            if fires is not None and fires < sends:
                companies.pass_time(fires)
            else:
                companies.pass_time(sends)
                self._send(sends)
            self._begin_runs({})
        companies.pass_time(until)
        self._begin_runs({})

    def _begin_runs(self, in_log: Mapping[str, Run]) -> None:
        """Take note of the tasks that have started here; ``in_log`` are those that the same step of the log started."""
        starts = self._others.starts
        while starts:
            event = starts.pop(0)
            self.moving.begin(event, in_log.get(event.task))

    def _send(self, at: dt.datetime) -> None:
        """Put in what a moved run sends now. What it leads to has no like at this moment of the log."""
        self._give_back()
        due = self.moving.pop()
        if due is None:
            return
        others = self._others
        behind = len(others.made)
        command = self.fates.of_moved(due.command, self.other)
        if command is not None:
            if isinstance(command, c.SubmitTask):
                command = others.judge(command)
            decided = others.put(command, at, due.id, due.by)
            if decided is not None:
                is_refusal = isinstance(decided.answer, Refusal)
                due.here.is_done = due.here.is_done or (isinstance(command, c.CompleteTask) and not is_refusal)
                if self.fates.decided(command, due.refused, decided.answer, self.other):
                    self._nobodys.append(due.id)
        used = usage_of(others.made[behind:])
        if used is not None:
            self.moving.used_here(used.agent, (used.tokens, used.time_ms, used.cost_nanos))
        self._companies.rest((), at)
        del others.made[behind:]

    def _pass_over(self, step: Step, command: c.Command, own: Sequence[Event]) -> "_Asked":
        """A message of a run that is moved here: it was sent at another time, or will be."""
        used = usage_of(own)
        if used is not None:
            self.moving.used_in_log(used.agent, (used.tokens, used.time_ms, used.cost_nanos))
        told = told_in(step.answered) if isinstance(command, _TELLING) else None
        if told is not None and told.wait_seconds:
            self.recorded.told_to_wait(told.agent, told.wait_seconds)
        return _Asked(own, Answered(type(command).__name__, told), is_compared=False)

    def _in_step(self, command: c.Command, run: Run) -> c.Command | None:
        """A message of a run as it is sent here; None where the run is moved, or has ended here and its owner knows."""
        here = self.moving.in_step(run)
        if here is None:
            return None
        in_log = self.log.tasks.running.get(run.task)
        goes_on = in_log is not None and in_log.lease == run.lease
        if goes_on and not self.moving.obeys(here):
            return None
        return with_lease(command, here)

    # --- messages -----------------------------------------------------------------------------------------------------

    def _sent(self, step: Step, run: Run | None) -> c.Command | None:
        """What a step asked, as it is asked here; None where nobody would."""
        return step.command if run is None else self._in_step(step.command, run)

    def _ask(self, step: Step, sent: c.Command | None, judged: Judged | None) -> "_Asked":
        """Put in what a step asked, and let the log follow what it led to there."""
        others, log = self._others, self._log
        self.messages += 1
        command = step.command
        request = type(command).__name__
        first = log.prove(step.own[0])
        refused = isinstance(first, RequestRefused)
        behind = len(others.made)
        answer, is_compared = None, True
        if sent is None:
            return self._pass_over(step, command, [self._follow(first), *self._rest_of(step)])
        command = sent
        if isinstance(command, _ORDERS):
            is_compared = self._order(step, command) or not refused
        elif isinstance(command, c.Rebalance):
            self._rebalance(step, command, first)
        elif judged is not None:
            self._submit(step, judged)
        elif command.group == "internal":
            self._take_proposal(step, command)
        else:
            answer = self._put(step, command, refused)
        own = [self._follow(first), *self._rest_of(step)]
        self.fates.count(own, others.made[behind:])
        if not isinstance(command, _TELLING):
            return _Asked(own, Answered(request), is_compared)
        told_in_log, told = told_in(step.answered), told_by(answer)
        for courses, one in ((self.recorded, told_in_log), (self.made, told)):
            if one is not None and one.wait_seconds:
                courses.told_to_wait(one.agent, one.wait_seconds)
        return _Asked(own, Answered(request, told_in_log, told))

    def _rest_of(self, step: Step) -> Iterator[Event]:
        return (self._follow(self._log.prove(record)) for record in step.own[1:])

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
            decided = self._others.put(command, step.at, step.id, step.by)
            if decided is not None and isinstance(decided.answer, Refusal):
                self._others.refuse(Proposal(command, step.by))

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
        plan, counts = self._companies.judge(asked, step.at)
        if counts:
            plan.id = step.id
            self._others.put(plan, step.at, step.id, step.by)
        elif isinstance(first, RequestRefused):
            # The log does not have a plan that was refused, only why it was.
            self._others.keep(first, step.at, step.id, step.by)
        else:
            self._others.put(step.plan(), step.at, step.id, step.by)

    def _submit(self, step: Step, judged: Judged) -> None:
        """Take a task in: with the log's own judgement as long as the specialists have no other one."""
        placed, counts = judged
        assert isinstance(placed, p.PlaceTask)
        self._others.put(placed if counts else step.placement(placed), step.at, step.id, step.by)

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
