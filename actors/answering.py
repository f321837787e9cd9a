"""Giving the answers of a batch: only while the writer's place is confirmed, and not later than that can be known."""

import datetime as dt
import threading
from collections.abc import Sequence

from tallystick.actors.missing import away_answer, halted_answer
from tallystick.actors.noting import note_budgets
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.pending import answer_all, answer_with
from tallystick.events.log.store import Record, Store
from tallystick.events.state.ledger import Ledger


class Answering:
    """Answers for the manager, in its thread; `turn_away` may be called from any."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = store.away
        """Why nothing can be answered as done now; None where it can."""
        self._unwritten: Sequence[Envelope] = ()
        """Whose batch is being written: where that takes too long, they are turned away."""
        self._giving = threading.Lock()

    def refuses(self, envelope: Envelope, halted: str | None) -> bool:
        """Answer an envelope where the fleet has stopped or its store is away; whether that was so."""
        if halted is not None:
            answer_with(envelope, halted_answer(halted))
        elif (away := self._store.away()) is not None:
            answer_with(envelope, away_answer(away))
        else:
            return False
        return True

    def write(self, records: Sequence[Record], sources: Sequence[tuple[str, int]], asked: Sequence[Envelope]) -> None:
        """Write a batch, which may wait for the store: meanwhile, those who have ``asked`` may be turned away.

        Raises:
            StoreError: it was not written.
        """
        self._unwritten = asked
        try:
            self._store.append(records, sources)
        finally:
            with self._giving:
                self._unwritten = ()

    def turn_away(self, why: str) -> None:
        """Answer those whose batch is still being written that the store is away. What they asked may come to be done.

        An envelope that also waits for a specialist is answered with the specialist's answer.
        """
        with self._giving:
            envelopes, self._unwritten = self._unwritten, ()
            for envelope in envelopes:
                if not envelope.open:
                    answer_with(envelope, away_answer(why))

    def answer(self, ledger: Ledger, envelopes: Sequence[Envelope], now: dt.datetime, *, written: bool) -> None:
        """Give the answers that are complete.

        A batch that was ``written`` has shown that no other writer was there. One without events has not: what it says
        of the state is given only where the store confirms the writer's place after it was decided.
        """
        away = None if written else self._store.away()
        if away is None:
            note_budgets(ledger, envelopes, now)
            answer_all(envelopes)
            return
        for envelope in envelopes:
            if not envelope.open:
                answer_with(envelope, away_answer(away))
