"""The log's own policy asked again: each decision, reply and digest made anew must be the recorded one, byte for byte.

Only the words of a sentence for people may be others, where another version of tallystick wrote the log. What was
decided by another version of the rules is followed as it is recorded, and not decided again (`stretches`).
"""

from collections.abc import Sequence

from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event, RequestRefused
from tallystick.events.catalog.rules_version import FIRST_RULES
from tallystick.events.decide import Asked, decide, decide_row, has_rows, pass_time
from tallystick.events.decide.sources import is_larger
from tallystick.events.decide.turn import Turn
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.codec import GENESIS, TAIL, digest_of, encode_answer, record_body, seal
from tallystick.events.log.correction import with_facts
from tallystick.events.log.lookup import Records, Taken
from tallystick.events.log.reading import event_of
from tallystick.events.log.replaying import Replay
from tallystick.events.log.sources import SourcesOfLog
from tallystick.events.log.store import Record
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tallystick.whatif import calendar_facts
from tallystick.whatif.mismatch import Mismatch
from tallystick.whatif.sentences import event_as_worded, reply_as_worded
from tallystick.whatif.steps import REFUSED, Step
from tallystick.whatif.stretches import Stretches

PLAN_REFUSED = "plan_out_of_date"
"""The only refusal of a plan that is recorded."""


class Reproduction:
    """A log whose decisions are made anew by the policy that was in force. `take` every step in order, then `finish`.

    What comes out the same needs no other proof: its bytes, and those of all before it, are the recorded ones.
    ``unmarked`` is the version of the rules by which a log was decided that names none. ``log`` is where records are
    looked up that a correction speaks of; without it they are kept in memory as they are taken.
    """

    def __init__(self, unmarked: int = FIRST_RULES, log: Records | None = None) -> None:
        self.messages = 0
        self.facts = 0
        self.decisions = 0
        self.kept = 0
        """Events of other rules: facts and decisions that were not made again."""
        self.reworded = 0
        """Records that this version would write with another sentence for people, and else with the same bytes."""
        self.calendar = 0
        """Ends of days and periods that this machine's time-zone data have elsewhere: they are taken from the log."""
        self.stretches = Stretches(unmarked)
        self.proved: list[tuple[Event, bytes]] = []
        """The events of the newest step that are as recorded, each with the digest of its record."""
        self._digest = GENESIS
        self._taken = Taken()
        self._log = self._taken if log is None else log
        self.sources = SourcesOfLog()
        self.ledger = Ledger()

    def take(self, step: Step) -> Mismatch | None:
        """Make one step anew. Returns the first record that is not as recorded, if there is one.

        Raises:
            BrokenChain: a record is not what was written.
        """
        self.proved = []
        if self._log is self._taken:
            self._taken.records += step.records
        if not self.stretches.take(step):
            self._follow(step)
            return None
        used = self._used_before(step)
        if used is not None:
            return used
        events, own, reply = self._decide(step)
        records = step.records
        answered: Mismatch | None = None
        for index, event in enumerate(events):
            record = records[index] if index < len(records) else None
            first = index == own and bool(step.own)
            replied = reply if first else None
            if record is None or not (
                self._is_made(record, step, event, replied) or self._has_other_calendar(record, step, event, replied)
            ):
                found = Mismatch(event.position, self._proved(record), event, step.reply, reply)
                if record is None or not first or not self._is_made(record, step, found.new or event, step.reply):
                    return found
                # Only the reply is another. What differs in a later event says more about it.
                answered = found
            assert record is not None
            self._keep(event, digest_of(record.data))
        if len(records) > len(events):
            record = records[len(events)]
            return Mismatch(record.position, self._proved(record), None, step.reply, reply)
        self.messages += bool(step.own)
        return answered

    def take_row(self, steps: Sequence[Step]) -> "tuple[int, Mismatch | None]":
        """Make steps of a row (`rows_of`) anew in one go, as far as they are plain cases; their records were proved to
        follow one another. Returns how many came out, and what is otherwise about the next one, if it is that.
        """
        self.proved = []
        if not self.stretches.are_ours or not has_rows(self.ledger):
            return 0, None
        asked: list[Asked] = []
        for step in steps:
            try:
                asked.append((step.command, step.at, step.id, step.by))
            except BrokenChain:
                break  # it is named where it is decided by itself
        made = decide_row(self.ledger, asked) if asked else []
        came_out, found = 0, None
        for step, (event, answer) in zip(steps, made, strict=False):
            reply, record = encode_answer(answer), step.own[0]
            body = record_body(event, step.request, reply, step.peer, step.trace)
            if record.data[:-TAIL] != body and not self._is_made(record, step, event, reply):
                found = Mismatch(event.position, self._proved(record), event, step.reply, reply)
                if self._is_made(record, step, event, step.reply):
                    self._keep_step(step, event)  # only the reply is another
                break
            self._keep_step(step, event)
            came_out += 1
        if came_out:
            self.stretches.take_row(steps[:came_out])
        return came_out, found

    def _keep_step(self, step: Step, event: Event) -> None:
        """Go on behind a step with one event, which is as recorded."""
        self._keep(event, digest_of(step.own[0].data))
        self.messages += 1
        if self._log is self._taken:
            self._taken.records += step.own

    def finish(self) -> None:
        """After the last step: check that nothing was lost.

        Raises:
            BrokenInvariant: the money is not where the accounts say it is.
        """
        check_conserved(self.ledger)

    def _is_made(self, record: Record, step: Step, event: Event, reply: bytes | None) -> bool:
        """Whether a record is what comes of an event, with its command and reply where it is the command's first."""
        request = None if reply is None else step.request
        data, _ = seal(event, request, reply, self._digest, step.peer, step.trace)
        if record.data != data:
            worded = None if reply is None else reply_as_worded(step.reply, reply)
            data, _ = seal(event_as_worded(record, event), request, worded, self._digest, step.peer, step.trace)
            self.reworded += record.data == data
        return record == Record(event.position, STORED_NAME[type(event)], data)

    def _has_other_calendar(self, record: Record, step: Step, event: Event, reply: bytes | None) -> bool:
        """Whether a record is what comes of an event but for when a day or a period ends: then that is taken over."""
        taken = calendar_facts.as_in_the_log(record, event)
        if taken is None or not self._is_made(record, step, taken, reply):
            return False
        calendar_facts.put(self.ledger, taken)
        self.calendar += 1
        return True

    def _keep(self, event: Event, digest: bytes) -> None:
        """Go on behind an event that is as recorded."""
        self._digest = digest
        self.sources.note(event)
        self.proved.append((event, digest))
        self.facts += event.kind == "fact"
        self.decisions += event.kind == "decision"

    def _used_before(self, step: Step) -> Mismatch | None:
        """A command under an id that was used before: the manager would have answered it out of the log."""
        if not step.own or step.id not in self.ledger.ids or step.command.query:
            return None
        first = step.records[0]
        return Mismatch(first.position, self._proved(first), None, step.reply, b"")

    def _follow(self, step: Step) -> None:
        """Let the state follow what was decided by other rules."""
        replay = Replay(self.ledger, self._digest)
        for record in step.records:
            event = replay.prove(record)
            replay.apply(event)
            self.kept += 1
            self._digest = replay.digest
            self.sources.note(event)
            self.proved.append((event, replay.digest))

    def _decide(self, step: Step) -> tuple[list[Event], int, bytes]:
        """The events of a step, where the command's own begin, and its reply."""
        if not step.own:
            return pass_time(self.ledger, step.at), 0, b""
        if step.own[0].name == REFUSED and isinstance(step.command, c.Rebalance):
            return self._refuse_again(step)
        command = step.decided_by()
        # What an event says of a record, or of its source, is not believed: the log has it.
        command = with_facts(command, self.ledger, self.sources.find, is_larger, self._log)
        decided = decide(self.ledger, command, step.at, step.id, step.by, step.waited())
        return decided.events, decided.own, encode_answer(decided.answer)

    def _refuse_again(self, step: Step) -> tuple[list[Event], int, bytes]:
        """A plan that was refused is not in the log, but only its refusal. A plan can be refused only so."""
        due = pass_time(self.ledger, step.at)
        turn = Turn(self.ledger, step.at, step.id, step.by)
        recorded = event_of(step.own[0])
        assert isinstance(recorded, RequestRefused)
        turn.record(RequestRefused(request="ApplyMoves", code=PLAN_REFUSED, detail=recorded.detail))
        answer = Refusal(PLAN_REFUSED, recorded.detail)
        return [*due, *turn.events], len(due), encode_answer(answer)

    def _proved(self, record: Record | None) -> Event | None:
        """The event of a record that was not reproduced. Another decision is one only if the record is unchanged.

        Raises:
            BrokenChain: it was changed, or it is not the next one.
        """
        if record is None:
            return None
        before = Ledger()
        before.position = self.facts + self.decisions + self.kept
        return Replay(before, self._digest).prove(record)
