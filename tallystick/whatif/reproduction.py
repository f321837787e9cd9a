"""The log's own policy asked again: every decision, reply and digest made anew must be the recorded one, byte for byte."""

from typing import NamedTuple

import msgspec

from tallystick.events import messages as c
from tallystick.events.catalog import STORED_NAME, Event, RequestRefused
from tallystick.events.decide import decide, pass_time
from tallystick.events.decide.turn import Turn
from tallystick.events.log.audit import Replay
from tallystick.events.log.codec import GENESIS, decode_event, encode_answer, seal
from tallystick.events.log.store import Record
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tallystick.whatif.steps import Step


class Unlike(NamedTuple):
    """The first record that was not made again: what the log has there, and what was made, None where nothing was.

    ``answered`` is the reply that the log has to the command, ``answer`` the one that was made.
    """

    position: int
    recorded: Event | None
    made: Event | None
    answered: bytes
    answer: bytes


class Reproduction:
    """A log whose decisions are made anew by the policy that was in force. `take` every step in order, then `finish`.

    What comes out the same needs no other proof: its bytes, and those of all before it, are the recorded ones.
    """

    def __init__(self) -> None:
        self.messages = 0
        self.facts = 0
        self.decisions = 0
        self._digest = GENESIS
        self._ledger = Ledger()

    def take(self, step: Step) -> Unlike | None:
        """Make one step anew; where it is not as recorded, what differs first.

        Raises:
            BrokenChain: a record is not what was written.
        """
        made, own, answer = self._made(step)
        records = step.records
        for place, event in enumerate(made):
            is_first = place == own and bool(step.own)
            asked, answered = (step.asked, answer) if is_first else (None, None)
            data, digest = seal(event, asked, answered, self._digest)
            record = records[place] if place < len(records) else None
            if record != Record(event.position, STORED_NAME[type(event)], data):
                return Unlike(event.position, self._proved(record), event, step.answered, answer)
            self._digest = digest
            self.facts += event.kind == "fact"
            self.decisions += event.kind == "decision"
        if len(records) > len(made):
            record = records[len(made)]
            return Unlike(record.position, self._proved(record), None, step.answered, answer)
        self.messages += bool(step.own)
        return None

    def finish(self) -> None:
        """After the last step: prove the law in full.

        Raises:
            BrokenInvariant: the money is not where the accounts say it is.
        """
        check_conserved(self._ledger)

    def _made(self, step: Step) -> tuple[list[Event], int, bytes]:
        """The events of a step, where the command's own begin, and its reply."""
        if not step.own:
            return pass_time(self._ledger, step.at), 0, b""
        if step.own[0].name == _REFUSED and isinstance(step.command, c.Rebalance):
            return self._refused_again(step)
        decided = decide(self._ledger, step.decided_by(), step.at, step.id, step.by)
        return decided.events, decided.own, encode_answer(decided.answer)

    def _refused_again(self, step: Step) -> tuple[list[Event], int, bytes]:
        """A plan that was refused is not in the log, only why it was: that is taken over as it is."""
        due = pass_time(self._ledger, step.at)
        turn = Turn(self._ledger, step.at, step.id, step.by)
        first = step.own[0]
        turn.record(msgspec.structs.replace(decode_event(first.data, first.name)))
        return [*due, *turn.events], len(due), step.answered

    def _proved(self, record: Record | None) -> Event | None:
        """The event of a record that was not made again; it is another decision only if nobody has changed the record.

        Raises:
            BrokenChain: it was changed, or it is not the next one.
        """
        if record is None:
            return None
        before = Ledger()
        before.position = self.facts + self.decisions
        return Replay(before, self._digest).prove(record)


_REFUSED = STORED_NAME[RequestRefused]
