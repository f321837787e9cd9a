"""What is kept of forecasts and finished runs, for the next forecasts (see `Ledger.history`)."""

from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import still_open, without_scored
from tallystick.events.state.ledger import Ledger


def keep_forecast(ledger: Ledger, event: e.ForecastMade) -> None:
    """Predictions wait until they can be scored."""
    account = ledger.accounts[event.agent]
    account.forecasts = still_open([*(account.forecasts or ()), *event.predictions])


def score_forecast(ledger: Ledger, event: e.ForecastScored) -> None:
    """Predictions were scored: history learns how good they were, and the account forgets them."""
    ledger.history.fold(event)
    account = ledger.accounts.get(event.agent)
    if account is not None and account.forecasts is not None:
        account.forecasts = without_scored(account.forecasts, event) or None


def learn_run(ledger: Ledger, event: e.RunLearned) -> None:
    """History learns from a finished run."""
    ledger.history.fold(event)
