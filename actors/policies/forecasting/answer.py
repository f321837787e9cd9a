"""The answer to `Forecast`: what is expected of an agent, in the names and units of the wire."""

from tallystick.actors.policies.forecasting.curves import Curves
from tallystick.actors.policies.forecasting.durations import in_seconds
from tallystick.actors.policies.forecasting.exhaustion import Exhaustion, total
from tallystick.actors.policies.forecasting.final_usage import Finished
from tallystick.actors.policies.forecasting.forecaster import Forecaster, own_use
from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, TIME, dollars, seconds
from tallystick.events.decide.answers import stamp
from tallystick.events.messages.replies import ForecastReply, Number, Prospect
from tallystick.events.state.accounts import Account


def forecast_of(account: Account, forecaster: Forecaster, curves: Curves) -> ForecastReply:
    """All that is expected as of the agent's last report; what cannot be known is None. ``curves``: how far runs go."""
    run = forecaster.runs.get(account.id)
    if run is None:
        return ForecastReply(account.id, None, 0, {})
    exhaustions = {exhaustion.dimension: exhaustion for exhaustion in forecaster.exhaustions(account)}
    finished = curves.finished((account.agent_type, run.model))
    pace = forecaster.pace(account, run)
    forecasts = {
        EDGE_NAMES[d]: _prospect(account, d, exhaustions.get(d), finished[d], pace)
        for d in DIMENSIONS
        if account.allocated[d] is not None
    }
    return ForecastReply(account.id, stamp(run.last_at), run.steps, forecasts)


def _prospect(
    account: Account, d: int, exhaustion: Exhaustion | None, finished: Finished, pace: float | None
) -> Prospect:
    own, mark = own_use(account, d)
    intervals: dict[str, list[Number | str]] = {}
    in_all = total(finished, own)
    if in_all is not None:
        intervals["estimated_total"] = [_edge(in_all[1], d), _edge(in_all[2], d)]
    steps = time = confidence = None
    method = "used_up" if own >= mark else "too_early"
    if exhaustion is not None:
        left = exhaustion.left
        steps = round(left.estimate, 2)
        intervals["steps_to_exhaustion"] = [round(left.low, 2), round(left.high, 2)]
        method = exhaustion.course.method
        confidence = None if exhaustion.confidence is None else round(exhaustion.confidence, 4)
        if pace is not None:
            until = in_seconds(left, exhaustion.steps, pace)
            time = round(until.estimate, 1)
            intervals["time_to_exhaustion_seconds"] = [round(until.low, 1), round(until.high, 1)]
    elif own >= mark:
        steps = time = 0
    return Prospect(
        estimated_total=None if in_all is None else _edge(in_all[0], d),
        projected_overage=None if in_all is None else _edge(max(0, in_all[0] - mark), d),
        time_to_exhaustion_seconds=time,
        steps_to_exhaustion=steps,
        confidence=confidence,
        interval_80=intervals,
        method=method,
    )


def _edge(units: int, d: int) -> Number | str:
    return dollars(units) if d == COST else seconds(units) if d == TIME else units
