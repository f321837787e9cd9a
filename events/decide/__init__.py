"""Decide: ``decide(ledger, command, now, id, by)`` turns one command into events and an answer, or into a refusal.

It is the whole of the law's judgement: no clock, no I/O, no chance. What is due by the time of the command happens
first, in its order. A refusal is data, not an exception, and leaves the state as it was; a refused request is an event
too, with the numbers that refused it (a malformed message is not).
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from tallystick.events import catalog as e
from tallystick.events import commands as c
from tallystick.events import proposals as p
from tallystick.events.amounts import Amounts, InvalidAmount
from tallystick.events.decide import allocate, enforce, foresee, notify, operate, queries, reallocate, release, track
from tallystick.events.decide.levels import alert
from tallystick.events.decide.turn import CLOCK, Turn
from tallystick.events.ledger import Ledger
from tallystick.events.replies import Done, Refusal, Reply

MALFORMED = frozenset({"invalid_message", "invalid_amount"})
"""Refusals that are answered and forgotten: the message said nothing that could have happened."""


class Decided(msgspec.Struct):
    """What a command caused: events in order, of which its own begin at ``own``, and the answer."""

    events: list[e.Event]
    own: int
    answer: Reply | Refusal


def decide(ledger: Ledger, command: c.Command, now: dt.datetime, id: str, by: str) -> Decided:
    """Decide one command on the true state, and let the state follow.

    ``now`` may not be earlier than the ledger's own time; where it is, the ledger's time counts. The caller has made
    sure that ``id`` was not used before (see `Ledger.ids`).
    """
    turn = Turn(ledger, now, id, by)
    if ledger.due_at() <= turn.now:
        _let_due_happen(turn)
        turn.own = len(turn.events)
    try:
        answer = _HANDLERS[type(command)](turn, command)
    except InvalidAmount as error:
        answer = Refusal("invalid_amount", str(error), {"field": error.field})
    if type(answer) is Refusal:
        assert len(turn.events) == turn.own, f"{type(command).__name__} recorded something and then refused"
        if answer.code not in MALFORMED and not command.query and not _is_mere_proposal(command):
            _record_refusal(turn, command, answer)
    return Decided(turn.events, turn.own, answer)


def _is_mere_proposal(command: c.Command) -> bool:
    """Our own people's proposals may come too late; nobody asked for them, and nobody was refused anything."""
    return command.group == "internal" and not (isinstance(command, p.ApplyMoves) and command.asked)


def _let_due_happen(turn: Turn) -> None:
    """Whatever the clock has brought: at its moment a hold is gone, and a period begins, before anything else."""
    ledger = turn.ledger
    id, by = turn.id, turn.by
    turn.id, turn.by = "", CLOCK
    while ledger.due_at() <= turn.now:
        if ledger.expiries and ledger.expiries[0][0] == ledger.due_at():
            track.end_hold(turn, ledger.holds[ledger.expiries[0][1]], "expired")
        else:
            operate.renew_period(turn)
    turn.id, turn.by = id, by


def _record_refusal(turn: Turn, command: c.Command, refusal: Refusal) -> None:
    ledger = turn.ledger
    agent = getattr(command, "agent", None)
    turn.record(
        e.RequestRefused(
            request=type(command).__name__,
            code=refusal.code,
            detail=refusal.detail,
            agent=agent,
            numbers=msgspec.to_builtins(refusal.numbers),
        )
    )
    if refusal.code == "pool_exhausted" and not ledger.pool_exhausted_at:
        turn.record(e.PoolExhausted(available=Amounts(*ledger.pool)))
        alert(turn, "pool_exhausted", f"{type(command).__name__} was refused: {refusal.detail}", agent)


def _nothing_but_time(turn: Turn, command: c.Command) -> Done:
    """The clock's proposals: what was due has happened already."""
    return Done()


_HANDLERS: dict[type[c.Command], Callable[[Turn, Any], Any]] = {
    c.AllocateBudget: allocate.allocate_budget,
    c.AllocateEqual: allocate.allocate_equal,
    c.AllocateProportional: allocate.allocate_proportional,
    c.AllocateByPriority: allocate.allocate_by_priority,
    c.AllocateFromPool: allocate.allocate_from_pool,
    c.ReportUsage: track.report_usage,
    c.Reserve: track.reserve,
    c.Settle: track.settle,
    c.CancelHold: track.cancel_hold,
    c.Heartbeat: track.heartbeat,
    c.GetStatus: queries.get_status,
    c.GetGlobalStatus: queries.get_global_status,
    c.CheckEnforcement: queries.check_enforcement,
    c.GetEfficiency: queries.get_efficiency,
    c.Throttle: enforce.throttle,
    c.Stop: enforce.stop,
    c.Resume: enforce.resume,
    c.BorrowFromPool: allocate.borrow_from_pool,
    c.ReturnToPool: reallocate.return_to_pool,
    c.ReleaseBudget: release.release_budget,
    c.SetTotalBudget: operate.set_total_budget,
    c.PauseAll: operate.pause_all,
    c.ResumeAll: operate.resume_all,
    c.ReleaseReserve: operate.release_reserve,
    c.LoadConfig: operate.load_config,
    p.LoadPrices: operate.load_prices,
    p.ExpireHolds: _nothing_but_time,
    p.RenewPeriod: _nothing_but_time,
    p.ApplyMoves: reallocate.apply_moves,
    p.WarnAgent: enforce.warn_agent,
    p.RecordDelivery: notify.record_delivery,
    p.GiveUpDelivery: notify.give_up_delivery,
    p.RecordForecast: foresee.record_forecast,
    p.RecordScore: foresee.record_score,
    p.RecordRun: foresee.record_run,
    p.RecordAnomaly: foresee.record_anomaly,
    p.RecordSnapshot: operate.record_snapshot,
}
