"""Reports, settlements and holds of this process that follow one another, taken together and decided in one go."""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from tallystick.actors.forbidden import Decider
from tallystick.actors.judges import FACTS
from tallystick.actors.runtime.messages import Envelope
from tallystick.config.spelling import misspelled
from tallystick.events import decide as core
from tallystick.events import messages as c
from tallystick.events.log.codec import encode_answer
from tallystick.events.log.sealing import Line, Origin

_MOST: Final = 256
"""So many are decided in one go at most: from there on, more of them are hardly quicker."""


class FactRow:
    """Envelopes with nothing but facts and holds, which wait to be decided until something else happens, or the
    commit.
    """

    def __init__(self) -> None:
        self._taken: list[tuple[Envelope, dt.datetime]] = []
        self._size = 1
        """How many are tried in one go: twice as many as before, where all of those were plain."""

    def takes(self, envelope: Envelope, now: dt.datetime) -> bool:
        """Take an envelope behind those that are there, if all in it may wait here; whether it was taken."""
        if envelope.peer or not all(map(_may_be_taken, envelope.commands)):
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
            row = asked[done : _end(asked, done, min(self._size, most))]
            if len(row) > 1:
                decided = core.decide_row(manager.ledger, row)
                for (envelope, slot), (event, answer) in zip(places[done : done + len(decided)], decided, strict=True):
                    answered = envelope.answers[slot] = encode_answer(answer)
                    origin = origin_of(None, envelope.trace) if envelope.trace else None
                    lines.append((event, envelope.asked[slot], answered, origin))
                done += len(decided)
                if len(decided) == len(row):
                    self._size = min(2 * self._size, _MOST)
                    continue
                self._size = 1
            (envelope, slot), (command, at, _, by) = places[done], asked[done]
            envelope.answers[slot] = manager.decide(command, envelope.asked[slot], by, at, trace=envelope.trace)
            done, self._size = done + 1, max(self._size, 2)


def _may_be_taken(command: c.Command) -> bool:
    """Whether nothing but the core has something to say to a command: it is a fact, or a hold under a name that does
    not wait for room.
    """
    if type(command) is c.Reserve:
        return command.wait_seconds is None and (command.id is None or misspelled(command.id) is None)
    return type(command) in FACTS


def _end(asked: Sequence[core.Asked], first: int, most: int) -> int:
    """Where the messages end that are of the kind of the ``first`` one, and ``most`` at most."""
    kind, end, last = type(asked[first][0]), first + 1, min(first + most, len(asked))
    while end < last and type(asked[end][0]) is kind:
        end += 1
    return end


def lines_of(decided: core.Decided, asked: bytes, answered: bytes, origin: Origin | None) -> list[Line]:
    """What is recorded of a command: what was asked and answered stands with the first event of its own."""
    return [
        (event, asked, answered, origin) if place == decided.own else (event, None, None, None)
        for place, event in enumerate(decided.events)
    ]


def origin_of(peer: bytes | None, trace: str | None) -> Origin | None:
    """Where a command came from, if that is to be recorded."""
    return (peer, trace) if peer or trace else None
