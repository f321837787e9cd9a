"""What the tests of ``tallystick whatif`` share: a quiet fleet's settings, messages of scenarios, and the answer."""

import json
from typing import Any

from tests.support.cli import Run

LIMITS = """\
total_budget: {tokens: 10000}
emergency_reserve_percent: 0
minimum_share_percent: 0
max_pool_share_percent: 100
reallocation: {enabled: false}
"""


def message(second: int, **fields: Any) -> dict[str, Any]:
    return {"at": f"2026-03-04T12:00:{second:02}Z", **fields}


def report(second: int, agent: str, tokens: int, **rest: Any) -> dict[str, Any]:
    return message(second, type="ReportUsage", agent=agent, usage={"tokens": tokens}, by=agent, **rest)


def answer(run: Run, *args: str) -> Any:
    result = run("whatif", *args, "--json")
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return json.loads(result.stdout)
