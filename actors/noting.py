"""Notes beside answers: how the budget stands that a message was about."""

import datetime as dt
from collections.abc import Iterable

from tallystick.actors.runtime.messages import Envelope
from tallystick.events.decide.budget_notes import account_of, noted_budget
from tallystick.events.state.ledger import Ledger


def note_budgets(ledger: Ledger, answered: Iterable[Envelope], now: dt.datetime) -> None:
    """Fill in the notes of envelopes with a single command, where there is one and the account is open."""
    for envelope in answered:
        note = envelope.note
        if note is None or envelope.open or len(envelope.commands) != 1:
            continue
        account = account_of(ledger, envelope.commands[0])
        if account is not None:
            note.allocated, note.remaining, note.level, note.action = noted_budget(ledger, account, now)
