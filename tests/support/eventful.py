"""A fleet in which everything happens, for tests of views."""

import datetime as dt
from decimal import Decimal

from tallystick.config.amounts import Amounts
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.state.outputs import OUTPUTS_LEAST
from tallystick.projections.views.agent_rows import AgentRow
from tests.support.core import Core, allocate, budget, fleet, hold, settle, submit, use
from tests.support.strategies import Step
from tests.support.view_logs import status_of


def row(core: Core, agent: str) -> AgentRow:
    found = status_of(core).agent(agent)
    assert found is not None
    return found


def run(steps: list[Step]) -> Core:
    core = Core()
    for command, seconds in steps:
        core.wait(seconds)
        core.when(command)
    return core


def eventful() -> Core:
    """A fleet to which everything happens that a row can tell."""
    small = {"token_budgets": {"default": 20, "backend-engineer": 20}, "enforcement": {"stop_at": "0.95"}}
    core = Core(fleet(10_000, "100", emergency_reserve_percent=10, period="day", **small))
    core.given(allocate("ann", 1_000, "5", agent_type="qa", product="shop", workflow="w"))
    core.given(allocate("ann/1", 300, parent="ann"), allocate("bob", 2_000))
    core.given(p.LoadPrices(prices={"known": {"input": 1, "output": 1}}))
    core.given(submit("task"), c.ReportUsage(task="task", usage=budget(5)))
    core.given(hold("ann", "h-1", 20), hold("bob", "h-2", 20, "0.5"), hold("ann/1", "h-3", 5, ttl_seconds=None))
    core.given(use("ann/1", 100), use("ann", 10, "0.25", "1.5"), settle("h-2", 30, "0.1"))
    core.given(c.BorrowFromPool(agent="bob", amount=budget(100)), c.ReturnToPool(agent="bob", amount=budget(40)))
    core.given(c.Throttle(agent="bob", rate=Decimal("0.25")), c.Stop(agent="ann/1", reason="enough"))
    idle = p.Move(source="bob", target="pool", amount=Amounts(50), reason="idle", strategy="idle")
    core.wait(61).given(p.ApplyMoves(moves=[idle]), p.WarnAgent(agent="bob", exhausted_in_seconds=90, method="average"))
    core.given(allocate("cyd", 100, "1"), use("cyd", 96), allocate("dee", 50), use("dee", 80), use("eve", 3))
    core.given(allocate("fay", 20, overdraft_max=budget(1)), use("fay", 30), use("fay", 2))
    core.given(c.LoadConfig(config={"enforcement": {"last_call": {"percent": 10}}}))
    core.given(allocate("gus", 100, lease_seconds=Decimal(90_000)), use("gus", 92))
    known = {"model": "known", "input_tokens": 1}
    core.given(*[c.ReportUsage(agent="cyd", output_tokens=1, **known)] * OUTPUTS_LEAST)
    core.given(c.Reserve(agent="bob", id="h-4", **known), c.Settle(hold="h-4", output_tokens=9, **known))
    core.given(c.Reserve(agent="gus", id="h-5", estimate=budget(8), last_call=True), c.CancelHold(hold="h-5"))
    core.given(allocate("hal", 90), hold("hal", "h-6", 30))
    core.given(c.Settle(hold="h-6", usage=budget(20), final=False), settle("h-6", 10))
    core.given(c.LoadConfig(config={"accounts": {"auto": {}}}), use("ida", 1))
    core.given(c.LoadConfig(config={"accounts": {"auto": None}}))
    monthly = {"window": "month", "max": {"tokens": 50}}
    core.given(c.AllocateBudget(agent="jan", limits=[monthly], labels={"user": "jan"}), use("jan", 45))
    core.given(c.ReleaseBudget(agent="dee"), use("dee", 5), c.PauseAll(reason="lunch"), c.ReleaseReserve(reason="go"))
    core.given(c.ReleaseBudget(agent="ann/1"), use("ann/1", 7), use("bob", 8_500))
    core.given(c.ReportUsage(agent="bob", usage=budget(1), model="unheard-of"))
    core.wait(86_400).given(use("bob", 1))
    for before in (2 * 86_400, 3_600 * 23, 3_600 * 5, 30):
        at = core.now - dt.timedelta(seconds=before)
        core.given(c.ReportUsage(agent="bob", source_id=f"s-{before}", usage=budget(9), occurred_at=at))
    core.given(
        c.ReportUsage(agent="bob", usage=budget(2)), c.ReportUsage(agent="late", usage=budget(2), occurred_at=at)
    )
    bill = {"bill": "b-1", "provider": "openai", "first_day": core.now.date(), "last_day": core.now.date()}
    dollars = {"billed_usd": Decimal(5), "explained_usd": Decimal(4), "reported_usd": Decimal(3)}
    core.given(c.RecordReconciliation(**bill, **dollars, short=["bob"]))
    core.given(p.NoteClock(apart_ms=-90_000))
    return core.given(p.RecordGivenUp(specialist="tracker", reason="ValueError: boom"))
