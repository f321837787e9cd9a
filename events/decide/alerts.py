"""Alerts to operators: raised here, and what became of each on its way."""

from tallystick.events import catalog as e
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal
from tallystick.events.state.outbox import OUTBOX_MAX, addressed


def alert(turn: Turn, code: str, message: str, agent: str | None = None, to: str | None = None) -> None:
    """Tell the operators, by an event: all names of ``notifications``, or only the one that it is for.

    Where too many alerts wait to be delivered, the oldest is given up first: nothing is lost without an event.
    """
    ledger = turn.ledger
    names = addressed(ledger.rules.config, to)
    if names and len(ledger.outbox) >= OUTBOX_MAX:
        oldest = next(iter(ledger.outbox.values()))
        for name, address in oldest.owed:
            turn.record(
                e.AlertDeliveryFailed(alert=oldest.alert, to=name, address=address, reason="outbox_full", attempts=0)
            )
    alert_id = f"{code}-{ledger.position + 1}"
    turn.record(e.AlertRaised(alert=alert_id, code=code, message=message, agent=agent, notify=names))


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


def record_given_up(turn: Turn, command: p.RecordGivenUp) -> Done:
    """A specialist is there no more: operators learn of it, and status shows it until the fleet is started again."""
    turn.record(e.SpecialistGivenUp(specialist=command.specialist, reason=command.reason))
    message = f"the {command.specialist} has failed too often and was given up: {command.reason}"
    alert(turn, "specialist_given_up", message)
    return Done()


def record_restored(turn: Turn, command: p.RecordRestored) -> Done:
    """A specialist is there again."""
    turn.record(e.SpecialistRestored(specialist=command.specialist))
    return Done()
