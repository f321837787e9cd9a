"""What keeps a message of another process, or of a caller over HTTP, from being decided."""

import datetime as dt
from typing import Protocol

import msgspec

from tallystick.actors.from_log import FromLog
from tallystick.actors.runtime.messages import Envelope
from tallystick.events import messages as c
from tallystick.events.decide import loosening, permissions
from tallystick.events.decide.caller_labels import without_foreign_labels
from tallystick.events.decide.sources import is_larger
from tallystick.events.log.codec import encode_answer, encode_command
from tallystick.events.messages import proposals as p
from tallystick.events.state.ledger import Ledger


class Decider(Protocol):
    """The part of the manager that decides."""

    ledger: Ledger
    from_log: FromLog

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
    reports is taken without the labels that it may not set, and without the source of another's usage.
    """
    command, caller = envelope.commands[slot], envelope.caller
    if caller is not None and caller.role == "agent":
        assert caller.agent is not None, "a caller of this role has an agent"
        kept = _without_foreign_source(core, caller.agent, without_foreign_labels(core.ledger, command))
        if kept is not command:
            command = envelope.commands[slot] = kept
            envelope.asked[slot] = encode_command(kept)
    instead: p.RefuseAccess | p.RefuseLoosening | None = None
    if caller is not None:
        instead = permissions.refusal_of(core.ledger, command, caller) or _larger_of_another(core, command, caller)
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


def _without_foreign_source(core: Decider, agent: str, command: c.Command) -> c.Command:
    """What an agent reports, without a source of which another's record says less; or itself.

    It would be booked on the other's account. What it says no more of is a repeat for all.
    """
    if not isinstance(command, c.Sourced) or command.source_id is None:
        return command
    known = core.from_log.with_facts(command)
    if not isinstance(known, p.ApplySource) or permissions.acts_for(core.ledger, agent, known.record.agent):
        return command
    if not is_larger(core.ledger.rules, command, known.record, known.last):
        return command
    return msgspec.structs.replace(command, source_id=None)


def _larger_of_another(core: Decider, command: c.Command, caller: permissions.Caller) -> p.RefuseAccess | None:
    """The refusal of telemetry that says more of a source than an account which was opened by a message has reported:
    it would be booked there. None where it says no more, or may say it.
    """
    if caller.role != "telemetry" or not isinstance(command, c.Sourced) or command.source_id is None:
        return None
    known = core.from_log.with_facts(command)
    if not isinstance(known, p.ApplySource) or not is_larger(core.ledger.rules, command, known.record, known.last):
        return None
    why = permissions.opened_by_message(core.ledger, known.record.agent)
    return None if why is None else permissions.access_refused(core.ledger, command, caller, why)
