"""The log's own policy asked again: each decision, reply and digest made anew must be the recorded one, byte for byte.

Only the words of a sentence for people may be others, where another version of tallystick wrote the log. What was
decided by another version of the rules is followed as it is recorded, and not decided again (`stretches`).
"""

import contextlib
from typing import Any, NamedTuple

import msgspec

from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event
from tallystick.events.catalog.rules_version import FIRST_RULES
from tallystick.events.decide import decide, pass_time
from tallystick.events.decide.turn import Turn
from tallystick.events.log.audit import Replay
from tallystick.events.log.codec import GENESIS, decode_event, encode_answer, seal
from tallystick.events.log.store import Record
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.steps import REFUSED, Step
from tallystick.whatif.stretches import Stretches


class Mismatch(NamedTuple):
    """The first record that was not reproduced: the event that the log has there, and the one that was made anew.
    Each is None where there is none.

    ``recorded_reply`` is the reply that the log has to the command, ``new_reply`` the one that was made anew.
    """

    position: int
    recorded: Event | None
    new: Event | None
    recorded_reply: bytes
    new_reply: bytes


class Reproduction:
    """A log whose decisions are made anew by the policy that was in force. `take` every step in order, then `finish`.

    What comes out the same needs no other proof: its bytes, and those of all before it, are the recorded ones.
    ``unmarked`` is the version of the rules by which a log was decided that names none.
    """

    def __init__(self, unmarked: int = FIRST_RULES) -> None:
        self.messages = 0
        self.facts = 0
        self.decisions = 0
        self.kept = 0
        """Events of other rules: facts and decisions that were not made again."""
        self.reworded = 0
        """Records that this version would write with another sentence for people, and else with the same bytes."""
        self.stretches = Stretches(unmarked)
        self._digest = GENESIS
        self._ledger = Ledger()

    def take(self, step: Step) -> Mismatch | None:
        """Make one step anew. Returns the first record that is not as recorded, if there is one.

        Raises:
            BrokenChain: a record is not what was written.
        """
        if not self.stretches.take(step):
            self._follow(step)
            return None
        events, own, reply = self._decide(step)
        records = step.records
        for index, event in enumerate(events):
            record = records[index] if index < len(records) else None
            request, replied = (step.request, reply) if index == own and step.own else (None, None)
            data, digest = seal(event, request, replied, self._digest)
            if record is not None and record.data != data:
                reworded = None if replied is None else _reply_as_worded(step.reply, replied)
                data, digest = seal(_event_as_worded(record, event), request, reworded, self._digest)
                self.reworded += record.data == data
            if record != Record(event.position, STORED_NAME[type(event)], data):
                return Mismatch(event.position, self._proved(record), event, step.reply, reply)
            self._digest = digest
            self.facts += event.kind == "fact"
            self.decisions += event.kind == "decision"
        if len(records) > len(events):
            record = records[len(events)]
            return Mismatch(record.position, self._proved(record), None, step.reply, reply)
        self.messages += bool(step.own)
        return None

    def finish(self) -> None:
        """After the last step: check that nothing was lost.

        Raises:
            BrokenInvariant: the money is not where the accounts say it is.
        """
        check_conserved(self._ledger)

    def _follow(self, step: Step) -> None:
        """Let the state follow what was decided by other rules."""
        replay = Replay(self._ledger, self._digest)
        for record in step.records:
            event = replay.prove(record)
            replay.apply(event)
            self.kept += 1
        self._digest = replay.digest

    def _decide(self, step: Step) -> tuple[list[Event], int, bytes]:
        """The events of a step, where the command's own begin, and its reply."""
        if not step.own:
            return pass_time(self._ledger, step.at), 0, b""
        if step.own[0].name == REFUSED and isinstance(step.command, c.Rebalance):
            return self._refuse_again(step)
        decided = decide(self._ledger, step.decided_by(), step.at, step.id, step.by)
        return decided.events, decided.own, encode_answer(decided.answer)

    def _refuse_again(self, step: Step) -> tuple[list[Event], int, bytes]:
        """A plan that was refused is not in the log, but only its refusal, which is taken over as it is."""
        due = pass_time(self._ledger, step.at)
        turn = Turn(self._ledger, step.at, step.id, step.by)
        first = step.own[0]
        turn.record(msgspec.structs.replace(decode_event(first.data, first.name)))
        return [*due, *turn.events], len(due), step.reply

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


# --- sentences for people --------------------------------------------------------------------------------------------

_SENTENCES = ("detail", "message", "reason_queued")
"""Fields of events and replies that hold a sentence. Another version of tallystick may have other words there."""


def _event_as_worded(record: Record, event: Event) -> Event:
    """An event with the sentence that a record has in its place."""
    names = [name for name in _SENTENCES if hasattr(event, name)]
    if names and record.name == STORED_NAME[type(event)]:
        with contextlib.suppress(msgspec.MsgspecError, ValueError):
            recorded = decode_event(record.data, record.name)
            return msgspec.structs.replace(event, **{name: getattr(recorded, name) for name in names})
    return event


def _reply_as_worded(recorded: bytes, reply: bytes) -> bytes:
    """A reply with the sentences that the recorded reply has in their places."""
    if not recorded:
        return reply
    return msgspec.json.encode(_as_worded(msgspec.json.decode(recorded), msgspec.json.decode(reply)))


def _as_worded(recorded: Any, new: Any) -> Any:
    if isinstance(recorded, dict) and isinstance(new, dict):
        return {
            name: recorded[name]
            if name in _SENTENCES and isinstance(value, str) and isinstance(recorded.get(name), str)
            else _as_worded(recorded.get(name), value)
            for name, value in new.items()
        }
    if isinstance(recorded, list) and isinstance(new, list) and len(recorded) == len(new):
        return [_as_worded(*pair) for pair in zip(recorded, new, strict=True)]
    return new
