"""Decide: ``decide(ledger, command, now, id, by)`` turns one command into events and an answer, or into a refusal.

It is pure: no clock, no I/O, no random numbers. What is due by the time of the command happens first, in its order. A
refusal is data, not an exception, and leaves the state as it was; a refused request is an event too, with the numbers
that refused it (a malformed message is not).
"""

import datetime as dt
from collections.abc import Sequence

import msgspec

from tallystick.config.amounts import Amounts, InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import breaker
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.answers import stamp
from tallystick.events.decide.clock import pass_time as pass_time
from tallystick.events.decide.handlers import HANDLERS
from tallystick.events.decide.plain import PLAIN as PLAIN
from tallystick.events.decide.plain_runs import ROWS, Made
from tallystick.events.decide.plain_runs import Asked as Asked
from tallystick.events.decide.plain_runs import has_rows as has_rows
from tallystick.events.decide.retry import with_time
from tallystick.events.decide.stretch import stretch_at
from tallystick.events.decide.turn import Decided as Decided
from tallystick.events.decide.turn import Turn, Waited
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger

MALFORMED = frozenset({"invalid_message", "invalid_amount"})
"""Refusals that are answered and forgotten: the message said nothing that could have happened."""
_ASKED = (p.PlaceTask, p.ApplyCorrection, p.ApplySource, p.RefuseLoosening, p.RefuseAccess)
"""What stands for a client's message: its refusal is recorded."""


def decide(
    ledger: Ledger, command: c.Command, now: dt.datetime, id: str, by: str, waited: Waited | None = None
) -> Decided:
    """Decide one command on the true state, and let the state follow.

    ``now`` may not be earlier than the ledger's own time; where it is, the ledger's time counts. The caller has made
    sure that ``id`` was not used before (see `Ledger.ids`). ``waited``: a `Reserve` has waited for room.
    """
    decided = decide_plainly(ledger, command, now, id, by) if waited is None else None
    return decide_generally(ledger, command, now, id, by, waited) if decided is None else decided


def decide_plainly(ledger: Ledger, command: c.Command, now: dt.datetime, id: str, by: str) -> Decided | None:
    """As `decide`, where a command is a plain case and its id is new; None, and nothing was done, where it is not."""
    plain = PLAIN.get(type(command))
    if plain is None or ledger.ids.get(id) is not None:
        return None
    at = ledger.looked_at = now if now > ledger.now else ledger.now
    stretch = stretch_at(ledger, at)
    if stretch is None:
        return None
    try:
        return plain(ledger, stretch, command, at, id, by)
    except InvalidAmount:
        return None


def decide_row(ledger: Ledger, asked: Sequence[Asked]) -> Made:
    """As `decide`, of facts that follow one another, up to the first that is of another kind or no plain case: of each
    its one event, and the answer.
    """
    command, now, _, _ = asked[0]
    stretch = stretch_at(ledger, now if now > ledger.now else ledger.now)
    return ROWS[type(command)](ledger, stretch, asked) if stretch is not None and has_rows(ledger) else []


def decide_generally(
    ledger: Ledger, command: c.Command, now: dt.datetime, id: str, by: str, waited: Waited | None = None
) -> Decided:
    """As `decide`, of a command that is no plain case, or is not known to be one."""
    turn = Turn(ledger, now, id, by, waited)
    # An opening comes before what fell due while the manager was away.
    if ledger.is_due(turn.now) and type(command) is not p.OpenFleet:
        turn.events = pass_time(ledger, now)
        turn.own = turn.leveled = len(turn.events)
    try:
        answer = HANDLERS[type(command)](turn, command)
    except InvalidAmount as error:
        answer = Refusal("invalid_amount", str(error), {"field": error.field})
    if len(turn.events) > turn.own and breaker.is_crossed(ledger):
        # In the transaction that crossed a line, whatever it was.
        breaker.record_crossings(turn)
    if type(answer) is Refusal:
        # The end of a run that comes too late is refused, but what the run used is a fact.
        kept = len(turn.events) == turn.own or type(command) is c.CompleteTask
        assert kept, f"{type(command).__name__} recorded something and then refused"
        if isinstance(command, c.Reserve) or (isinstance(command, c.Heartbeat) and command.hold is not None):
            answer = with_time(turn, command, answer)
            if waited is not None:
                answer.numbers["waited_since"] = stamp(waited.since)
        if answer.code not in MALFORMED and not command.is_query and not _is_unasked_proposal(command):
            _record_refusal(turn, command, answer)
    return Decided(turn.events, turn.own, answer)


def _is_unasked_proposal(command: c.Command) -> bool:
    """A specialist's proposal that no client asked for: it may come too late, and its refusal is not recorded."""
    asked = isinstance(command, _ASKED) or (isinstance(command, p.ApplyMoves) and command.asked)
    return command.group == "internal" and not asked


def _record_refusal(turn: Turn, command: c.Command, refusal: Refusal) -> None:
    ledger = turn.ledger
    if isinstance(command, p.PlaceTask):
        command = command.submitted
    if isinstance(command, p.ApplyCorrection | p.ApplySource):
        command = command.asked
    request = type(command).__name__
    agent = getattr(command, "agent", None) or getattr(command, "task", None)
    if isinstance(command, p.RefuseLoosening):
        request, agent = command.asked["type"], command.asked.get("agent")
    if isinstance(command, p.RefuseAccess):
        # The agent is among the numbers: it was not its own request, and is no sign of its life.
        request, agent = command.request, None
    turn.record(
        e.RequestRefused(
            request=request,
            code=refusal.code,
            detail=refusal.detail,
            agent=agent,
            numbers=msgspec.to_builtins(refusal.numbers),
        )
    )
    if refusal.code == "pool_exhausted" and not ledger.pool_exhausted_at:
        turn.record(e.PoolExhausted(available=Amounts(*ledger.pool)))
        alert(turn, "pool_exhausted", f"{type(command).__name__} was refused: {refusal.detail}", agent)
