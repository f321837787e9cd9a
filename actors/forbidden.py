"""What keeps a message of another process, or of a caller over HTTP, from being decided."""

import datetime as dt
from typing import Protocol

from tallystick.actors.runtime.messages import Envelope
from tallystick.events import messages as c
from tallystick.events.decide import loosening, permissions
from tallystick.events.decide.caller_labels import without_foreign_labels
from tallystick.events.log.codec import encode_answer, encode_command
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger


class Decider(Protocol):
    """The part of the manager that decides."""

    ledger: Ledger

    def decide(
        self,
        command: c.Command,
        asked: bytes,
        by: str,
        now: dt.datetime,
        *,
        peer: bytes | None = None,
        trace: str | None = None,
    ) -> bytes: ...


def forbidden(core: Decider, envelope: Envelope, slot: int, now: dt.datetime) -> bytes | None:
    """The refusal of a message that its sender may not send; None where it may.

    It is recorded as a command of the fleet's own; that of a query, which leaves no trace, is not. What an agent
    reports is taken without the labels that it may not set.
    """
    command, caller = envelope.commands[slot], envelope.caller
    if caller is not None and caller.role == "agent":
        kept = without_foreign_labels(core.ledger, command)
        if kept is not command:
            command = envelope.commands[slot] = kept
            envelope.asked[slot] = encode_command(kept)
    instead: p.RefuseAccess | p.RefuseLoosening | None = None
    if caller is not None:
        instead = permissions.refusal_of(core.ledger, command, caller)
    # Who is an operator by a key of the service needs no other.
    if instead is None and (caller is None or caller.role != "operator"):
        instead = loosening.refusal_of(core.ledger, command, envelope.asked[slot], envelope.key)
    if instead is None:
        return None
    # How another's budget stands is not for this sender either.
    envelope.note = None
    if command.is_query and isinstance(instead, p.RefuseAccess):
        return encode_answer(permissions.denied(instead))
    return core.decide(instead, encode_command(instead), envelope.by, now, peer=envelope.peer, trace=envelope.trace)
