"""A plan of moves is made with the fleet's figures as they are, also just after the total has changed."""

import datetime as dt
from typing import Any

from tallystick.config.loader import from_mapping
from tests.support.core import START
from tests.support.driving import simulated

QUIET = {"enforcement": {"warn_before_exhaustion_seconds": 0}}


def at(seconds: float, **message: Any) -> tuple[dt.datetime, dict[str, Any]]:
    return START + dt.timedelta(seconds=seconds), {
        **message,
        "id": f"{message['type']}-{seconds}-{message.get('agent')}",
    }


def test_an_idle_agent_gives_back_after_a_new_total_and_the_plan_is_not_out_of_date() -> None:
    outcome = simulated(
        [
            at(0, type="AllocateBudget", agent="a", budget={"tokens": 400}),
            at(0, type="AllocateBudget", agent="b", budget={"tokens": 4_000}),
            at(1, type="SetTotalBudget", budget={"tokens": 20_000}),
            at(600, type="Rebalance"),
            at(601, type="GetStatus", agent="b"),
        ],
        from_mapping({"total_budget": {"tokens": 5_000}, **QUIET}),
    )
    assert "ok" in outcome.replies[3]
    assert outcome.replies[4]["ok"]["allocated"] == {"tokens": 2_000}


def test_an_idle_agent_gives_back_after_a_renewal_with_rollover_and_the_plan_is_not_out_of_date() -> None:
    a_day = 12 * 3_600
    outcome = simulated(
        [
            at(0, type="AllocateBudget", agent="a", budget={"tokens": 400}),
            at(0, type="AllocateBudget", agent="b", budget={"tokens": 4_000}),
            at(a_day - 5, type="ReportUsage", agent="b", usage={"tokens": 1}),
            at(a_day + 70, type="Rebalance"),
            at(a_day + 71, type="GetStatus", agent="b"),
        ],
        from_mapping({"total_budget": {"tokens": 5_000, "period": "day", "rollover": True}, **QUIET}),
    )
    assert "ok" in outcome.replies[3]
    assert outcome.replies[4]["ok"]["allocated"]["tokens"] < 4_000
