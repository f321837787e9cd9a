"""Facts that follow one another: reports and settlements of this process, taken together and decided in one go."""

import datetime as dt
from typing import Final

from tallystick.actors.forbidden import Decider
from tallystick.actors.judges import FACTS
from tallystick.actors.runtime.messages import Envelope
from tallystick.events import decide as core
from tallystick.events.log.codec import encode_answer
from tallystick.events.log.sealing import Line, Origin

_MOST: Final = 256
"""So many are decided in one go at most: from there on, more of them are hardly quicker."""


class FactRow:
    """Envelopes with nothing but facts, which wait to be decided until something else happens, or the commit."""

    def __init__(self) -> None:
        self._taken: list[tuple[Envelope, dt.datetime]] = []
        self._size = 1
        """How many reports are tried in one go: twice as many as before, where all of those were plain."""

    def takes(self, envelope: Envelope, now: dt.datetime) -> bool:
        """Take an envelope behind those that are there, if it has nothing but facts; whether it was taken."""
        if envelope.peer or not FACTS.issuperset(map(type, envelope.commands)):
            return False
        self._taken.append((envelope, now))
        return True

    def decide(self, manager: Decider, lines: list[Line]) -> None:
        """Decide all that are there: plain ones in one go, others one by one by ``manager``; what is recorded is added
        to ``lines``.
        """
        if not self._taken:
            return
        taken, self._taken = self._taken, []
        asked = [(one, at, one.id or "", envelope.by) for envelope, at in taken for one in envelope.commands]
        places = [(envelope, slot) for envelope, _ in taken for slot in range(len(envelope.commands))]
        done, most = 0, _MOST if core.has_rows(manager.ledger) else 1
        while done < len(asked):
            if 1 < self._size <= most:
                row = asked[done : done + self._size]
                decided = core.decide_row(manager.ledger, row)
                for (envelope, slot), (event, answer) in zip(places[done : done + len(decided)], decided, strict=True):
                    answered = envelope.answers[slot] = encode_answer(answer)
                    lines.append((event, envelope.asked[slot], answered, origin_of(None, envelope.trace)))
                done += len(decided)
                if len(decided) == len(row):
                    self._size = min(2 * self._size, _MOST)
                    continue
                self._size = 1
            (envelope, slot), (command, at, _, by) = places[done], asked[done]
            envelope.answers[slot] = manager.decide(command, envelope.asked[slot], by, at, trace=envelope.trace)
            done, self._size = done + 1, max(self._size, 2)


def lines_of(decided: core.Decided, asked: bytes, answered: bytes, origin: Origin | None) -> list[Line]:
    """What is recorded of a command: what was asked and answered stands with the first event of its own."""
    return [
        (event, asked, answered, origin) if place == decided.own else (event, None, None, None)
        for place, event in enumerate(decided.events)
    ]


def origin_of(peer: bytes | None, trace: str | None) -> Origin | None:
    """Where a command came from, if that is to be recorded."""
    return (peer, trace) if peer or trace else None
