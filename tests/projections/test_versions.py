"""The bytes of a view's version are always the same: rows that an older program has kept are gone on with."""

import datetime as dt
import hashlib

import pytest

from tallystick.config.amounts import Amounts
from tallystick.events import catalog as e
from tallystick.events.catalog.forecasts import Outcome, Prediction
from tallystick.projections.store.runner import catch_up
from tallystick.projections.store.view_store import MemoryViewStore
from tallystick.projections.views.all_views import ALL_VIEWS
from tests.support.view_logs import rows_of, stored

AT = dt.datetime(2026, 3, 4, 12, 0, tzinfo=dt.UTC)
TEN = Amounts(10_000, None, 10_000_000_000)

PREDICTION = Prediction(
    dimension="tokens", stage=3, mark=900, step=4, predicted=9.0, low=8.0, high=11.0, baseline=12.0,
    confidence=None, method="linear_growth",
)  # fmt: skip
CAME = Outcome(stage=3, step=4, predicted=9.0, low=8.0, high=11.0, baseline=12.0)
HAPPENED: list[e.Event] = [
    e.ConfigLoaded(config={"models": {"new": {"id": "new-1"}}}, sha256="0"),
    e.TotalBudgetSet(budget=TEN, total=TEN, reserve=Amounts(1_000), overdraft=Amounts(0)),
    e.PricesLoaded(prices={}, sha256="0"),
    e.BudgetAllocated(agent="ann", amount=Amounts(4_000, None, 5_000_000_000), priority="high", agent_type="qa"),
    e.BudgetAllocated(agent="ann/1", amount=Amounts(1_000), parent="ann", product="shop", workflow="w"),
    e.BudgetAllocated(agent="bob", amount=Amounts(500), on_demand=True),
    e.UsageReported(agent="ann", tokens=300, time_ms=1_500, cost_nanos=20, model="new", unpriced=True),
    e.UsageReported(agent="ann/1", tokens=990),
    e.LevelChanged(agent="ann/1", before="green", level="red", percentage=0.99, dimension="tokens"),
    e.HoldPlaced(hold="h-1", agent="ann", amount=Amounts(50), ttl_ms=1_000, expires_at=AT),
    e.HoldPlaced(hold="h-2", agent="bob", amount=Amounts(20), ttl_ms=1_000, expires_at=AT),
    e.HoldPlaced(hold="h-3", agent="bob", amount=Amounts(30, 10), ttl_ms=1_000, expires_at=AT),
    e.HoldSettled(hold="h-2", agent="bob", tokens=25),
    e.HoldPlaced(
        hold="h-4", agent="bob", amount=Amounts(9), ttl_ms=1_000, expires_at=AT, spends=True, estimated_by="quantile",
    ),
    e.HoldSpent(hold="h-4", agent="bob", tokens=9, day="2026-03-04"),
    e.BudgetAllocated(agent="gus", amount=Amounts(100), lease_ms=1_000),
    e.BudgetDrawn(agent="bob", amount=Amounts(100), borrowed=True),
    e.Covered(source="pool", target="bob", amount=Amounts(7), cause="under_estimate"),
    e.ReserveDrawn(agent="ann", amount=Amounts(200)),
    e.AgentThrottled(agent="bob", rate="0.5"),
    e.AgentStopped(agent="ann", reason="enough"),
    e.AlertRaised(alert="a-1", code="overdraft", message="…"),
    e.FleetResponseChanged(before="none", response="throttle", pressure=0.9, dimension="tokens"),
    e.BudgetReleased(agent="ann/1", allocated=Amounts(1_000), consumed=Amounts(990), unused=Amounts(10)),
    e.UsageReported(agent="ann/1", tokens=5, charged="ann", late=True),
    e.UsageReported(agent="eve", tokens=3, unallocated=True),
    e.FleetPaused(reason="lunch"),
    e.LevelChanged(agent="bob", before="green", level="black", percentage=1.2, dimension="tokens"),
    e.ExhaustionWarned(agent="ann", exhausted_in_seconds=90, method="linear_growth"),
    e.ForecastMade(agent="bob", why="stage", predictions=[PREDICTION]),
    e.ForecastScored(agent="bob", dimension="tokens", actual=9.5, forecasts=[CAME]),
    e.AnomalyFound(agent="bob", anomaly="loop", dimension="tokens", step=12, amount=5, message="12 steps of 5 tokens"),
    e.RequestRefused(request="BorrowFromPool", code="pool_exhausted", detail="…", agent="bob"),
    e.BudgetMoved(source="pool", target="bob", amount=Amounts(50), reason="…", strategy="demand"),
    e.DayBegan(date="2026-03-04", ends_at=AT + dt.timedelta(hours=12)),
    e.TaskSubmitted(task="t", agent_type="qa", product="shop", estimated_tokens=50),
    e.TaskQueued(task="t", code="total_concurrency", message="…", expected_start=AT),
    e.BudgetAllocated(agent="t", amount=Amounts(150), agent_type="qa", product="shop", for_task=True),
    e.TaskStarted(
        task="t", attempt=1, lease="l-1", expires_at=AT, model="new", because="default", token_budget=100,
        max_tokens=150, queued_at=AT, expected_start=AT,
    ),
    e.UsageReported(agent="t", tokens=30, cost_nanos=7),
    e.TaskCompleted(
        task="t", outcome="completed", lease="l-1", attempt=1, agent_type="qa", product="shop", model="new",
        estimated_tokens=50, consumed=Amounts(30), elapsed_ms=0,
    ),
    e.BudgetReleased(agent="t", allocated=Amounts(150), consumed=Amounts(30), unused=Amounts(120)),
    e.TaskSubmitted(task="u", agent_type="qa", product="shop", estimated_tokens=50),
    e.BudgetAllocated(agent="u", amount=Amounts(150), agent_type="qa", product="shop", for_task=True),
    e.TaskStarted(
        task="u", attempt=1, lease="l-2", expires_at=AT, model="new", because="default", token_budget=100,
        max_tokens=150, queued_at=AT,
    ),
    e.SpecialistGivenUp(specialist="tracker", reason="…"),
    e.TaskRetried(task="t", reason="…"),
    e.BillReconciled(
        bill="0", provider="openai", first_day="2026-03-01", last_day="2026-03-03", billed_nanos=9, explained_nanos=9,
        reported_nanos=7,
    ),
]  # fmt: skip

DIGESTS = {
    ("fleet", 8): "ac29675dc88fce57",
    ("holds", 4): "8dd4f6dc7061298b",
    ("agents", 8): "3ab16c3e0ce569fe",
    ("timeline", 1): "143f39ed2aba4698",
    ("forecasts", 1): "69d048d61638d482",
    ("accuracy", 1): "f44ddd0b9a86225e",
    ("hours", 1): "55c93a12c51cd074",
    ("cost", 4): "6efef860a4caf1f8",
    ("breakdown", 1): "6bfcd030b1119858",
    ("tasks", 6): "73c35d53c0e1efb9",
    ("pace", 2): "f939054333eec0dd",
    ("alerts", 1): "f4f7592dd08ee4eb",
}
"""Of the rows of each version of a view."""


@pytest.mark.parametrize("kind", ALL_VIEWS, ids=lambda kind: kind.name)
def test_a_version_always_makes_the_same_rows(kind: type) -> None:
    for position, event in enumerate(HAPPENED, start=1):
        event.position, event.at = position, AT
    view_store = MemoryViewStore()
    catch_up(stored(HAPPENED), view_store)
    rows = [row for row in rows_of(view_store) if row[0] == kind.name]
    digest = hashlib.sha256(repr(rows).encode()).hexdigest()[:16]
    assert digest == DIGESTS[kind.name, kind.version], "other rows need a higher version, and its digest here"
