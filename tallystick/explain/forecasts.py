"""Explains forecasts, what came of them, and anomalies."""

from tallystick.events import catalog as e
from tallystick.explain.row import Row, Rows, Style, unit
from tallystick.wording import counted

_WHY_FORECAST = {
    "shown": "it was shown",
    "warning": "to warn of it",
    "demand": "to plan by it",
    "stage": "another tenth was consumed",
}


def _says_forecast(event: e.ForecastMade, say: Style) -> str:
    predictions = ", ".join(
        f"{unit(p.dimension)} expected to be used up at report {p.predicted:.1f}"
        f" (80 % interval {p.low:.1f} to {p.high:.1f}; {p.method})"
        for p in event.predictions
    )
    return f"a forecast for {event.agent} ({_WHY_FORECAST[event.why]}): {predictions}"


def _says_scored(event: e.ForecastScored, say: Style) -> str:
    forecasts = f"{counted(len(event.forecasts), 'forecast')} had said report"
    steps = ", ".join(f"{outcome.predicted:.1f}" for outcome in event.forecasts)
    return f"{event.agent} has used up its {unit(event.dimension)} at report {event.actual:.1f}: {forecasts} {steps}"


ROWS: Rows = {
    e.ForecastMade: Row(_says_forecast),
    e.ForecastScored: Row(_says_scored),
    e.RunLearned: Row(
        lambda x, say: (
            f"the run of {x.agent} was recorded for future forecasts:"
            f" {say.amounts(x.consumed)} in {counted(x.steps, 'step')}"
        )
    ),
    e.AnomalyFound: Row(lambda x, say: f"step {x.step} of {x.agent} stands out: {x.message}"),
}
