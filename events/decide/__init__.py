"""Decide: ``decide(ledger, command, now, id, by)`` turns one command into events and an answer, or into a refusal.

It is the whole of the law's judgement: no clock, no I/O, no chance. What is due by the time of the command happens
first, in its order. A refusal is data, not an exception, and leaves the state as it was; a refused request is an event
too, with the numbers that refused it (a malformed message is not).
"""

import datetime as dt
from collections.abc import Callable
from typing import Any

import msgspec

from tallystick.config.amounts import Amounts, InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.decide import (
    allocate,
    breaker,
    day_answers,
    days,
    ending,
    enforce,
    leases,
    operate,
    placing,
    queries,
    reallocate,
    release,
    task_answers,
    track,
)
from tallystick.events.decide import deliveries as notify
from tallystick.events.decide import forecasts as foresee
from tallystick.events.decide.levels import alert
from tallystick.events.decide.turn import CLOCK, Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal, Reply
from tallystick.events.state.ledger import Ledger

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
        turn.events = pass_time(ledger, now)
        turn.own = len(turn.events)
    try:
        answer = _HANDLERS[type(command)](turn, command)
    except InvalidAmount as error:
        answer = Refusal("invalid_amount", str(error), {"field": error.field})
    if len(turn.events) > turn.own and breaker.is_crossed(ledger):
        # In the transaction that crossed a line, whatever it was.
        breaker.look(turn)
    if type(answer) is Refusal:
        # The end of a run that comes too late is refused, but what the run used is a fact.
        kept = len(turn.events) == turn.own or type(command) is c.CompleteTask
        assert kept, f"{type(command).__name__} recorded something and then refused"
        if answer.code not in MALFORMED and not command.query and not _is_mere_proposal(command):
            _record_refusal(turn, command, answer)
    return Decided(turn.events, turn.own, answer)


def _is_mere_proposal(command: c.Command) -> bool:
    """Our own people's proposals may come too late; nobody asked for them, and nobody was refused anything."""
    asked = isinstance(command, p.PlaceTask) or (isinstance(command, p.ApplyMoves) and command.asked)
    return command.group == "internal" and not asked


def pass_time(ledger: Ledger, now: dt.datetime) -> list[e.Event]:
    """Let everything happen that is due by ``now`` (see `Ledger.due_at`), each in its order; the events of it.

    A hold or a lease expires, a day or a period begins. The events are caused by `CLOCK` and have the id "".
    """
    turn = Turn(ledger, now, "", CLOCK)
    while ledger.due_at() <= turn.now:
        due = ledger.due_at()
        if ledger.expiries and ledger.expiries[0][0] == due:
            track.end_hold(turn, ledger.holds[ledger.expiries[0][1]], "expired")
        elif ledger.tasks.due_at() == due and not ledger.is_paused:
            leases.lose_lease(turn, ledger.tasks.running[ledger.tasks.leases[0][1]])
        elif ledger.day.ends_at == due:
            days.begin_day(turn)
        else:
            operate.renew_period(turn)
        if breaker.is_crossed(ledger):
            breaker.look(turn)
    return turn.events


def _record_refusal(turn: Turn, command: c.Command, refusal: Refusal) -> None:
    ledger = turn.ledger
    if isinstance(command, p.PlaceTask):
        command = command.submitted
    agent = getattr(command, "agent", None) or getattr(command, "task", None)
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
    c.ReportUsage: leases.report_usage,
    c.Reserve: track.reserve,
    c.Settle: track.settle,
    c.CancelHold: track.cancel_hold,
    c.Heartbeat: leases.heartbeat,
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
    p.PlaceTask: placing.place_task,
    p.StartTask: placing.start_task,
    p.PreemptTask: placing.preempt_task,
    c.CompleteTask: ending.complete_task,
    c.CancelTask: ending.cancel_task,
    p.ExpireLease: _nothing_but_time,
    p.RecordOverdue: task_answers.record_overdue,
    p.TellTask: task_answers.tell_task,
    p.TellQueue: task_answers.tell_queue,
    c.SetTotalBudget: operate.set_total_budget,
    c.PauseAll: operate.pause_all,
    c.ResumeAll: operate.resume_all,
    c.OverridePriority: day_answers.override_priority,
    c.ApproveLimit: breaker.approve_limit,
    c.ResetBreaker: breaker.reset_breaker,
    c.ReleaseReserve: operate.release_reserve,
    c.LoadConfig: operate.load_config,
    p.LoadPrices: operate.load_prices,
    p.ExpireHolds: _nothing_but_time,
    p.RenewPeriod: _nothing_but_time,
    p.BeginDay: _nothing_but_time,
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
