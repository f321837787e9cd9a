"""Plain messages are answered over HTTP as they are in process, field by field, also those that are none."""

from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tallystick import Client, Fleet
from tallystick.config.amounts import Usage
from tallystick.events import messages as c

ASKED: list[Any] = [
    {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000, "cost_usd": Decimal("0.5")}, "id": "open"},
    {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1_000, "cost_usd": "0.5"}, "id": "open"},
    {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1}, "id": "open"},
    {"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1}},
    c.ReportUsage(agent="a", usage=Usage(10, None, None)),
    {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1, "cost_usd": 0.25}},
    {"type": "ReportUsage", "agent": "a", "provider_usage": SimpleNamespace(input_tokens=5, output_tokens=1)},
    {"type": "ReportUsage", "agent": "a", "usage": {"tokens": -1}},
    b'{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}',
    '{"type": "GetStatus", "agent": "nobody"}',
    b'{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1e400}}',
    b"{",
    b"\xff",
    "",
    7,
    None,
    {},
    {"type": "Nope"},
    {"type": "GetStatus", "agent": "a", "id": "~internal"},
    {"type": "GetStatus", "agent": object()},
    {"type": "Reserve", "agent": "a", "estimate": {"tokens": 10_000}, "id": "r-1"},
    {"type": "Reserve", "agent": "a", "estimate": {"tokens": 10_000}, "id": "r-1", "wait_seconds": 5},
    {"type": "Reserve", "agent": "a", "estimate": {"tokens": 1}, "wait_seconds": -1},
    {"type": "Settle", "hold": "none", "usage": {"tokens": 1}},
    {"type": "GetTask", "task": "none"},
    [],
    [{"type": "GetStatus", "agent": "nobody"}, b"{", {"type": "GetTask", "task": "none"}, 7],
    (b"{", 7),
    [{"type": "GetTask", "task": "none"}] * 1_001,
]


@pytest.fixture(scope="module")
def in_process(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder: Path = tmp_path_factory.mktemp("in-process")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with Fleet.open("memory:", notify=False) as fleet:
            return [fleet.ask(message) for message in ASKED]


def test_the_answers_are_the_same(fleet: Client, in_process: list[Any]) -> None:
    for message, expected in zip(ASKED, in_process, strict=True):
        assert fleet.ask(message) == expected, message


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_json_cannot_say_is_refused_and_not_left_out(fleet: Client, number: float) -> None:
    """As text it would become null, and the rest of the message would be taken without it."""
    fleet.ask({"type": "AllocateBudget", "agent": "n", "budget": {"tokens": 1_000}, "id": "n"})
    commands = [c.ReportUsage(agent="n", usage=usage) for usage in (Usage(5, None, number), Usage(5, number, None))]
    commands.append(c.ReportUsage(agent="n", usage=Usage(number, 5, None)))
    mappings = [
        {"type": "ReportUsage", "agent": "n", "usage": {"tokens": 5, "cost_usd": number}},
        {"type": "ReportUsage", "agent": "n", "usage": {"tokens": number, "cost_usd": 5}},
    ]
    for answer in (*map(fleet.ask, commands), *map(fleet.ask, mappings), *fleet.ask([*commands, *mappings])):
        assert answer["error"]["code"] in ("invalid_amount", "invalid_message")
    named = {"type": "ReportUsage", "agent": "n", "usage": {"tokens": 5}, "id": "null"}
    assert fleet.ask(named)["ok"]["remaining"]["tokens"] == 995


def test_a_message_without_an_id_is_named_before_it_is_sent(fleet: Client) -> None:
    message = {"type": "AllocateBudget", "agent": "named", "budget": {"tokens": 1_000}}
    fleet.ask(message)
    assert "id" not in message
    report = {"type": "ReportUsage", "agent": "named", "usage": {"tokens": 10}}
    answers = [fleet.ask(report), *fleet.ask([report, report])]
    assert [answer["ok"]["remaining"]["tokens"] for answer in answers] == [990, 980, 970]
