"""The answer to `Forecast`: what is foreseen of an agent, in the words and units of the edges."""

from tallystick.actors.forecaster import Forecaster, own_use
from tallystick.actors.policies.durations import in_seconds
from tallystick.actors.policies.exhaustion import Exhaustion, total
from tallystick.actors.policies.final_usage import Finished, finished_of
from tallystick.config.amounts import COST, DIMENSIONS, EDGE_NAMES, TIME, dollars, seconds
from tallystick.events.decide.answers import stamp
from tallystick.events.evolve.account_read_model import AccountModel
from tallystick.events.messages.replies import Foreseen, Number, Prospect


def foreseen(standing: AccountModel, foresight: Forecaster) -> Foreseen:
    """All that is foreseen as of the agent's last report; what nobody can know is None."""
    run = foresight.runs.get(standing.id)
    if run is None:
        return Foreseen(standing.id, None, 0, {})
    outlooks = {outlook.dimension: outlook for outlook in foresight.outlooks(standing)}
    runs = tuple(foresight.known(standing, run).runs())
    pace = foresight.pace(standing, run)
    forecasts = {
        EDGE_NAMES[d]: _prospect(standing, d, outlooks.get(d), finished_of(runs, d), pace)
        for d in DIMENSIONS
        if standing.allocated[d] is not None
    }
    return Foreseen(standing.id, stamp(run.last_at), run.steps, forecasts)


def _prospect(
    standing: AccountModel, d: int, outlook: Exhaustion | None, finished: Finished, pace: float | None
) -> Prospect:
    own, mark = own_use(standing, d)
    intervals: dict[str, list[Number | str]] = {}
    in_all = total(finished, own)
    if in_all is not None:
        intervals["estimated_total"] = [_edge(in_all[1], d), _edge(in_all[2], d)]
    steps = time = confidence = None
    method = "used_up" if own >= mark else "too_early"
    if outlook is not None:
        left = outlook.left
        steps = round(left.estimate, 2)
        intervals["steps_to_exhaustion"] = [round(left.low, 2), round(left.high, 2)]
        method = outlook.course.method
        confidence = None if outlook.confidence is None else round(outlook.confidence, 4)
        if pace is not None:
            until = in_seconds(left, outlook.steps, pace)
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
