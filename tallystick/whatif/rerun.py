"""A log put to another policy: its facts step by step, every decision made anew, and both histories side by side."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event, HoldSpent, RequestRefused, UsageCorrected
from tallystick.events.catalog.event import EPOCH
from tallystick.events.decide.levels import STOP
from tallystick.events.decide.spelling import is_known
from tallystick.events.decide.turn import CLOCK
from tallystick.events.log.reading import event_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.store import Record
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal, Reply
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.money import ZERO
from tallystick.whatif.agent_histories import AgentHistories
from tallystick.whatif.comparison import (
    Answered,
    Comparison,
    Difference,
    new_instruction,
    recorded_instruction,
)
from tallystick.whatif.corrections import Corrections
from tallystick.whatif.message_filter import MessageFilter, Usage, usage_in
from tallystick.whatif.question import Question
from tallystick.whatif.recorded_runs import RecordedRuns, Run
from tallystick.whatif.shadow_specialists import Divergence, Judged, Shadows
from tallystick.whatif.shifted_runs import ShiftedRuns, with_lease
from tallystick.whatif.steps import Step
from tallystick.whatif.stretches import Stretches

_INSTRUCTING = c.ReportUsage | c.Settle | c.Heartbeat
"""What is answered with what the agent may do now."""


class Rerun:
    """The facts of a log under a `Question`. `take` every step of the log in order, then `finish`.

    ``recorded`` is the history that the log has, ``other`` the one under the other policy; ``message_filter`` says
    which of the log's messages were not sent, and what that saved; ``shifted`` has the runs of tasks that started at
    another time.
    ``runs`` are those of the same log.
    """

    def __init__(self, question: Question, runs: RecordedRuns) -> None:
        self.question = question
        self.message_filter = MessageFilter()
        self.messages = 0
        """How many messages were put to the other policy, those that were not sent included."""
        self.difference: Difference | None = None
        """The first decision that differs."""
        self._log = Replay()
        self._shadows = Shadows(self._log.ledger)
        self._other = self._shadows.other
        self.recorded = AgentHistories(self._log.ledger)
        self.other = self._other.histories
        self.shifted = ShiftedRuns(runs, self.other.ledger)
        self.message_filter.corrected = runs.corrected
        self.message_filter.stopped_since = self.other.stopped_since
        self._other.corrections = Corrections(runs.corrected, self._other.sources)
        self._runs = runs
        self._now = EPOCH
        self._holds_to_cancel: list[str] = []
        """Holds that will never be settled: they are given back before anything else happens."""
        self._comparison = Comparison()
        self._is_ours = True
        """Whether the step at hand was decided by our version of the rules."""
        self.other.ledger.known_elsewhere = self._log_knows
        self.stretches = Stretches()

    @property
    def divergence(self) -> Divergence | None:
        """Where the specialists of the other history first proposed something else, if they ever did."""
        return self._shadows.divergence

    def take(self, step: Step) -> Sequence[Event]:
        """Put one step of the log to the other policy; returns the step's events in the log.

        1. Let time pass: timers of the specialists, messages of shifted runs, then what is due in the core.
        2. Send the step's message, as far as it would have been sent.
        3. Let the log's own history follow.
        4. Let the specialists follow both, and compare.

        Raises:
            BrokenChain: a record is not what was written.
        """
        other = self._other
        is_ours = self._is_ours = self.stretches.take(step)
        self._now = step.at
        self._pass_time(step.at)
        self._cancel_holds()
        sent = self._sent(step) if step.own else None
        # A submission is judged before the specialists have followed what is due in the core at that moment.
        judged = self._shadows.judge(sent, step.at) if isinstance(sent, c.SubmitTask) else None
        recorded = self._follow(step.due)
        other.let_due_happen(step.at)
        put = self._put_step(step, sent, judged) if step.own else _NOTHING
        recorded += put.events
        self.recorded.follow(recorded)
        self._note_starts(self._runs.started(step))
        for run in self._runs.cut(step):
            self.shifted.cut_in_log(run, step.at)
        self._shadows.rest(recorded, step.at)
        self._note_starts()
        self._note_freed_agents()
        events, other.events = other.events, []
        if self.difference is None and is_ours:
            # What the log decided about an order that is not put in here has no counterpart.
            compared = recorded if put.is_compared else recorded[: len(step.due)]
            self.difference = self._comparison.step(step, put.answered, compared, events)
        return recorded

    def finish(self) -> None:
        """After the last step: check the other history, and read off how the agents stand.

        Raises:
            BrokenInvariant: the money of the other history is not where its accounts say it is.
        """
        self._cancel_holds()
        self.message_filter.count_sources()
        self.message_filter.count_spent(self.recorded.spent, self.other.spent)
        self.message_filter.count_shifted(self.shifted.used_less.items())
        check_conserved(self.other.ledger)
        self.difference = self.difference or self._comparison.end()
        self.recorded.finish(self._now)
        self.other.finish(self._now)

    def _log_knows(self, name: str) -> bool:
        """Whether the log took a name as it is spelled: names of its messages are not judged anew."""
        return not self._is_ours or is_known(self.recorded.ledger, name)

    # --- the log's own history ----------------------------------------------------------------------------------------

    def _follow(self, records: Sequence[Record]) -> list[Event]:
        """Prove and apply records of the log; their events."""
        return [self._apply(self._log.prove(record)) for record in records]

    def _apply(self, event: Event) -> Event:
        self._log.apply(event)
        return event

    # --- time, and the runs of tasks ----------------------------------------------------------------------------------

    def _pass_time(self, until: dt.datetime) -> None:
        """Fire every timer that is due, and send the messages of shifted runs, moment by moment."""
        shadows, shifted = self._shadows, self.shifted
        while (sends_at := shifted.due_at()) is not None and sends_at <= until:
            fires_at = shadows.due_at()
            if fires_at is not None and fires_at < sends_at:
                shadows.pass_time(fires_at)
            else:
                shadows.pass_time(sends_at)
                self._send_shifted(sends_at)
            self._note_starts()
        shadows.pass_time(until)
        self._note_starts()

    def _note_starts(self, in_log: Mapping[str, Run] | None = None) -> None:
        """Take note of the tasks that have started here; ``in_log`` are the runs that the same step of the log
        started.
        """
        starts, self._other.starts = self._other.starts, []
        for event in starts:
            self.shifted.start(event, (in_log or {}).get(event.task))

    def _send_shifted(self, at: dt.datetime) -> None:
        """Send the next message of a shifted run. What it leads to has no counterpart at this moment of the log."""
        self._cancel_holds()
        due = self.shifted.pop()
        if due is None:
            return
        other = self._other
        first = len(other.events)
        command = self.message_filter.sent_by_shifted(due.command, self.other.ledger)
        if command is not None:
            if isinstance(command, c.SubmitTask):
                command = other.judge(command)
            decided = other.put(command, at, due.id, due.by)
            if decided is not None:
                is_refusal = isinstance(decided.answer, Refusal)
                due.run.is_done = due.run.is_done or (isinstance(command, c.CompleteTask) and not is_refusal)
                if self.message_filter.note_answer(command, due.refused, decided.answer, self.other.ledger):
                    self._holds_to_cancel.append(due.id)
        usage = usage_in(other.events[first:])
        if usage is not None:
            self.shifted.used_here(usage)
            self._put_late_corrections(at)
        self._shadows.rest((), at)
        del other.events[first:]

    def _cancel_holds(self) -> None:
        for hold in self._holds_to_cancel:
            id = c.internal_id(f"what-if-{hold}")
            self._other.put(c.CancelHold(hold=hold), self.other.ledger.now, id, CLOCK)
        self._holds_to_cancel.clear()

    # --- messages -----------------------------------------------------------------------------------------------------

    def _sent(self, step: Step) -> c.Command | None:
        """A step's message as it would be sent here; None if it belongs to a run that is shifted here, or that has
        ended here and whose owner knows.
        """
        command, recorded = step.command, self._runs.sender(step)
        if recorded is None:
            return command
        run = self.shifted.in_step(recorded)
        if run is None:
            return None
        task = self.recorded.ledger.tasks.running.get(recorded.task)
        goes_on_in_log = task is not None and task.lease == recorded.lease
        if goes_on_in_log and not self.shifted.sends_on(run):
            return None
        return with_lease(command, run)

    def _put_step(self, step: Step, sent: c.Command | None, judged: Judged | None) -> "_Put":
        """Put in a step's message, and let the log follow what it led to there."""
        self.messages += 1
        first = self._log.prove(step.own[0])
        refused = isinstance(first, RequestRefused)
        already = len(self._other.events)
        answer, is_compared = None, True
        match sent:
            case None:
                is_compared = False
            case c.LoadConfig() | p.LoadPrices() | p.AdoptRules() | c.SetTotalBudget():
                is_compared = self._put_order(step, sent) or not refused
            case c.Rebalance():
                self._put_plan(step, sent, first)
            case c.SubmitTask():
                assert judged is not None
                placed, counts = judged
                assert isinstance(placed, p.PlaceTask)
                self._other.put(placed if counts else step.placement(placed), step.at, step.id, step.by)
            case c.CorrectUsage():
                self._put_correction(step, sent, first)
            case c.Command(group="internal"):
                self._put_proposal(step, sent)
            case _:
                answer = self._put(step, sent, refused)
        events = [self._apply(first), *self._follow(step.own[1:])]
        if sent is not None:
            self.message_filter.count(events, self._other.events[already:])
        elif (usage := usage_in(events)) is not None:
            self.shifted.used_in_log(usage)
        answered = self._answered(step, answer)
        return _Put(events, answered, is_compared)

    def _answered(self, step: Step, answer: Reply | Refusal | None) -> Answered:
        """What the agent was instructed to do in the log and here."""
        command = step.command
        if not isinstance(command, _INSTRUCTING):
            return Answered(type(command).__name__)
        answered = Answered(type(command).__name__, recorded_instruction(step.reply), new_instruction(answer))
        self.recorded.follow_instruction(answered.recorded)
        self.other.follow_instruction(answered.other)
        return answered

    def _put_order(self, step: Step, command: c.Command) -> bool:
        """Put in what replaces an order of the log; whether anything does."""
        log = self.recorded.ledger
        commands = self.question.instead_of(command, log.rules.loaded if log.configured else None)
        for one in commands:
            self._other.put(one, step.at, one.id or step.id, step.by)
        return bool(commands)

    def _put_plan(self, step: Step, asked: c.Rebalance, first: Event) -> None:
        """Answer a `Rebalance`: with the log's own plan as long as the specialists have no other one."""
        plan, counts = self._shadows.judge(asked, step.at)
        if counts:
            plan.id = step.id
            self._other.put(plan, step.at, step.id, step.by)
        elif isinstance(first, RequestRefused):
            # The log does not have a plan that was refused, only the refusal.
            self._other.keep(first, step.at, step.id, step.by)
        else:
            self._other.put(step.plan(), step.at, step.id, step.by)

    def _put_correction(self, step: Step, asked: c.CorrectUsage, first: Event) -> None:
        """Correct what was used here: where the other policy has prevented it, there is nothing to correct."""
        if isinstance(first, RequestRefused):
            self._other.keep(first, step.at, step.id, step.by)
            return
        events = (event_of(record) for record in step.own if record.name == STORED_NAME[UsageCorrected])
        corrected = next(event for event in events if isinstance(event, UsageCorrected))
        command = self._other.corrections.command(corrected, asked, step.id, step.by)
        if command is not None:
            decided = self._other.put(command, step.at, step.id, step.by)
            if corrected.source_id is not None:
                made = () if decided is None else decided.events
                here = next((event.difference for event in made if isinstance(event, UsageCorrected)), ZERO)
                self.message_filter.count_correction(corrected, here)
        elif isinstance(corrected.record, HoldSpent) and corrected.record.hold in self.recorded.spent:
            return  # It is compared at the end, as it is then.
        elif not self.message_filter.count_correction(corrected):
            self.shifted.used_in_log(Usage(corrected.agent, corrected.difference))

    def _put_late_corrections(self, at: dt.datetime) -> None:
        """A run that is shifted has reported what the log had corrected by now."""
        for late in self._other.corrections.late():
            decided = self._other.put(late.command, at, late.id, late.by)
            for event in () if decided is None else decided.events:
                if isinstance(event, UsageCorrected):
                    self.shifted.used_here(Usage(event.agent, event.difference))

    def _put_proposal(self, step: Step, command: c.Command) -> None:
        """Put in what the specialists of the log proposed, as long as those of the other history propose the same."""
        if not self._other.acts:
            self._shadows.arrived(command)
            decided = self._other.put(command, step.at, step.id, step.by)
            if decided is not None and isinstance(decided.answer, Refusal):
                self._other.withdraw(command)

    def _put(self, step: Step, command: c.Command, refused: bool) -> Reply | Refusal | None:
        """Send a message from outside, as far as it would have been sent; the answer, None where it is not sent."""
        log = self.recorded.ledger
        sent = self.message_filter.sent(command, refused, log, self.other.ledger)
        if sent is None:
            return None
        decided = self._other.put(sent, step.at, step.id, step.by, step.waited())
        answer = None if decided is None else decided.answer
        if self.message_filter.note_answer(sent, refused, answer, log):
            self._holds_to_cancel.append(step.id)
        return answer

    def _note_freed_agents(self) -> None:
        """What an agent would have gone on to use is unknown where the log has stopped it, and the other policy has
        not.
        """
        for agent in self.recorded.changed | self.other.changed:
            if agent in self.other.ledger.accounts and self.recorded.action(agent) == STOP != self.other.action(agent):
                self.message_filter.unknown.add(agent)
        self.recorded.changed.clear()
        self.other.changed.clear()


class _Put(NamedTuple):
    """A step's message that was put in: what it led to in the log, and how it was answered in both histories."""

    events: Sequence[Event]
    answered: Answered | None = None
    is_compared: bool = True


_NOTHING = _Put(())
