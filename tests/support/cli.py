"""What tests of the command line share: how a command is run, and what it prints."""

import json
from collections.abc import Callable

from click.testing import Result

SCENARIO = [
    {
        "at": "2026-03-04T12:00:00Z",
        "type": "AllocateBudget",
        "agent": "a",
        "budget": {"tokens": 50000, "cost_usd": "1.5"},
    },
    {
        "at": "2026-03-04T12:00:10Z",
        "type": "AllocateBudget",
        "agent": "a-sub",
        "parent": "a",
        "budget": {"tokens": 5000},
    },
    {"at": "2026-03-04T12:00:20Z", "type": "ReportUsage", "agent": "a", "usage": {"tokens": 30000}, "by": "a"},
    {"at": "2026-03-04T12:00:30Z", "type": "Reserve", "agent": "a", "estimate": {"tokens": 10000}, "id": "h-1"},
    {"at": "2026-03-04T12:00:40Z", "type": "Reserve", "agent": "a", "estimate": {"tokens": 10000}, "id": "h-2"},
    {"at": "2026-03-04T12:10:30Z", "type": "ReportUsage", "agent": "a", "usage": {"tokens": 20000, "time_seconds": 2}},
    {"at": "2026-03-04T12:10:40Z", "type": "Settle", "hold": "h-1", "usage": {"tokens": 900}},
    {"at": "2026-03-04T12:10:50Z", "type": "BorrowFromPool", "agent": "a", "amount": {"tokens": 100000}},
    {
        "at": "2026-03-04T12:10:51Z",
        "type": "ReportUsage",
        "agent": "stranger",
        "model": "no-such",
        "input_tokens": 3000,
    },
    {"at": "2026-03-04T12:10:52Z", "type": "Stop", "agent": "a", "reason": "that is enough"},
    {"at": "2026-03-04T12:10:53Z", "type": "Reserve", "agent": "a-sub", "estimate": {"tokens": 1}, "id": "h-3"},
    {"at": "2026-03-04T12:10:54Z", "type": "Reserve", "agent": "a-sub", "estimate": {"tokns": 1}},
    {"at": "2026-03-04T12:10:55Z", "type": "GetStatus", "agent": "a"},
]
"""Levels, a cover, an expiry, a late settlement, moves by the reallocator, an unknown model, a stop, refusals."""


Run = Callable[..., Result]


def lines(messages: list[dict[str, object]]) -> str:
    return "".join(f"{json.dumps(message)}\n" for message in messages)
