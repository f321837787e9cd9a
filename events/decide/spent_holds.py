"""Holds whose expiry counts as used what they still had, and the late settlement that says what it really was."""

from typing import Any

from msgspec.structs import replace

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide.answers import enforcement
from tallystick.events.decide.corrections import book_correction, correction, impossible
from tallystick.events.decide.levels import relevel_under
from tallystick.events.decide.limits import record_lines, touched_by_use
from tallystick.events.decide.own_limits import ratio
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Enforcement
from tallystick.events.state.accounts import Hold
from tallystick.events.state.money import minus
from tallystick.events.state.paid_records import Forgotten, paid
from tallystick.events.state.remembered import EndedHold

SETTLED_LATE = "settled after its expiry"


def spend_hold(turn: Turn, hold: Hold) -> None:
    """End a hold whose owner is silent: what it still has counts as used."""
    turn.ledger.limits.touched = []
    turn.record(_spent(turn, hold))
    record_lines(turn, touched_by_use(turn.ledger))
    relevel_under(turn, hold.account)


def _spent(turn: Turn, hold: Hold) -> e.HoldSpent:
    """The end of a hold whose owner is silent, and which the provider may have billed."""
    tokens, time_ms, cost_nanos = hold.amount
    account, task = hold.account, turn.ledger.tasks.running.get(hold.account.id)
    limited = hold.limited
    split: dict[str, Any] = {}
    if limited is not None:
        # Only limits count them.
        split["requests"] = limited.requests or None
        if limited.split:
            split |= {"input_tokens": limited.input, "output_tokens": limited.output}
    return e.HoldSpent(
        hold=hold.id,
        agent=account.id,
        tokens=tokens,
        time_ms=time_ms,
        cost_nanos=cost_nanos,
        model=hold.model or account.model or (None if task is None else task.model),
        day=turn.ledger.day.date or turn.now.date().isoformat(),
        **split,
    )


def replace_spent(turn: Turn, command: c.Settle, ended: EndedHold, used: dict[str, Any]) -> Enforcement | None:
    """Let what was used count instead of what the expiry of its hold had booked; None where that cannot be, since it
    is not known any more who was charged.

    ``used`` are the fields of an event that say what was used (see `as_used`). A first part replaces all of it; what
    comes after that is added.
    """
    ledger, record = turn.ledger, ended.spent
    assert record is not None
    before = ended.counted or e.Said.by(record)
    said = e.Said(**{name: used[name] for name in e.Said.__struct_fields__ if name in used})
    after = said if said.model is not None else replace(said, model=before.model)
    pays = paid(ledger, record, lambda agent, position: None)
    if isinstance(pays, Forgotten) or impossible(record, pays, minus(after.units, before.units)) is not None:
        return None
    asked = c.CorrectUsage(position=record.position, reason=SETTLED_LATE, model=said.model)
    given = p.ApplyCorrection(asked=asked, record=record, day=record.day, model=before.model)
    event = correction(ledger, given, pays, before, after)
    event.settles, event.partial = True, not command.final
    event.source_id = used.get("source_id")
    # Nothing can fail after this line.
    book_correction(turn, pays, event)
    account = ledger.same_account(ended.agent, ended.life)
    part = 0.0 if account is None else ratio(ledger, account)
    answer = enforcement(turn, ended.agent, account, part, None, ledger.lives.get(ended.life))
    answer.late, answer.unpriced, answer.base_tier = True, after.unpriced, after.base_tier
    answer.repaired = used["repaired"]
    return answer
