"""Forecasts, and what really happened, for the record. None of it moves money."""

from tallystick.events import catalog as e
from tallystick.events.decide.alerts import alert
from tallystick.events.decide.refusals import unknown_agent
from tallystick.events.decide.turn import Turn
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Done, Refusal


def record_forecast(turn: Turn, command: p.RecordForecast) -> Done | Refusal:
    """Keep a forecast until the truth is known."""
    account = turn.ledger.accounts.get(command.agent)
    if account is None:
        return unknown_agent(turn.ledger, command.agent)
    if command.opened_at not in (None, account.opened_at):
        return Refusal("plan_out_of_date", f"{account.id} was released, and is another account now")
    # Nothing can fail after this line.
    turn.record(e.ForecastMade(agent=command.agent, why=command.why, predictions=command.predictions))
    return Done()


def record_score(turn: Turn, command: p.RecordScore) -> Done:
    """Score earlier forecasts by what happened; the agent may be gone by now."""
    turn.record(
        e.ForecastScored(
            agent=command.agent,
            agent_type=command.agent_type,
            model=command.model,
            dimension=command.dimension,
            actual=command.actual,
            forecasts=command.forecasts,
        )
    )
    return Done()


def record_run(turn: Turn, command: p.RecordRun) -> Done:
    """Remember how a run that has ended went."""
    turn.record(
        e.RunLearned(
            agent=command.agent,
            agent_type=command.agent_type,
            model=command.model,
            steps=command.steps,
            consumed=command.consumed,
            elapsed_ms=command.elapsed_ms,
            growth=command.growth,
            head=command.head,
            exhausted=command.exhausted,
        )
    )
    return Done()


def record_anomaly(turn: Turn, command: p.RecordAnomaly) -> Done:
    """Note a step that stands out. A loop wastes budget until it is stopped: operators are alerted."""
    turn.record(
        e.AnomalyFound(
            agent=command.agent,
            anomaly=command.anomaly,
            dimension=command.dimension,
            step=command.step,
            amount=command.amount,
            low=command.low,
            high=command.high,
            message=command.message,
        )
    )
    if command.anomaly == "loop":
        alert(turn, "loop_suspected", f"{command.agent}: {command.message}", command.agent)
    return Done()
