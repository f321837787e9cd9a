"""Notify: what became of an alert on its way to a person. What was told once is never told again."""

from tallystick.events import catalog as e
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal


def record_delivery(turn: Turn, command: p.RecordDelivery) -> Done | Refusal:
    """An address has accepted an alert."""
    refusal = _not_owed(turn, command)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(e.AlertDelivered(alert=command.alert, to=command.to, address=command.address))
    return Done()


def give_up_delivery(turn: Turn, command: p.GiveUpDelivery) -> Done | Refusal:
    """An address has refused an alert too often."""
    refusal = _not_owed(turn, command)
    if refusal is not None:
        return refusal
    # Nothing can fail after this line.
    turn.record(
        e.AlertDeliveryFailed(
            alert=command.alert,
            to=command.to,
            address=command.address,
            reason="not_accepted",
            attempts=command.attempts,
        )
    )
    return Done()


def _not_owed(turn: Turn, command: p.RecordDelivery | p.GiveUpDelivery) -> Refusal | None:
    notice = turn.ledger.outbox.get(command.alert)
    if notice is not None and (command.to, command.address) in notice.owed:
        return None
    detail = f"{command.alert} does not wait for {command.to} at {command.address}"
    return Refusal("not_owed", detail, {"alert": command.alert, "to": command.to})
