"""An agent's key sets no label by which a limit counts; what was used is recorded all the same."""

from typing import Any

import pytest

from tallystick.config.amounts import Usage
from tallystick.events import messages as c
from tallystick.events.decide.caller_labels import without_foreign_labels
from tallystick.events.decide.permissions import Caller, refusal_of
from tests.support.core import Core, allocate, budget, fleet, hold

LIMITS = [
    {"name": "by-user", "per": "label:user", "window": "day", "max": {"tokens": 100}},
    {"name": "of-team", "match": {"label:team": "red"}, "window": "day", "max": {"tokens": 100}},
    {"name": "by-workflow", "per": "workflow", "window": "day", "max": {"tokens": 100}},
]
AGENT = Caller("agent", "a")


@pytest.fixture
def core() -> Core:
    """a is ann's, of the product shop; shop has tokens of its own per day, and web has not."""
    products = {"shop": {"token_budget_daily": 1_000}, "web": {}}
    made = Core(fleet(1_000_000, limits=LIMITS, products=products))
    labels = {"user": "ann", "site": "north"}
    made.given(allocate("a", 500, labels=labels, product="shop", workflow="w", agent_type="coder"))
    return made.given(hold("a", "h", 5))


def opening(**more: Any) -> c.AllocateBudget:
    return allocate("b", 10, parent="a", **more)


def submitting(**more: Any) -> c.SubmitTask:
    return c.SubmitTask(**{"task": "t", "agent_type": "qa", "product": "shop", "parent": "a", **more})


CASES: dict[str, tuple[c.Command, str | None]] = {
    "an account without labels": (opening(), None),
    "an account with the same label": (opening(labels={"user": "ann"}), None),
    "an account with another user": (opening(labels={"user": "bob"}), "labels.user: found bob"),
    "an account in a team": (opening(labels={"team": "blue"}), "labels.team: found blue"),
    "an account with a label that counts nowhere": (opening(labels={"site": "south", "x": "y"}), None),
    "an account of the same product and workflow": (opening(product="shop", workflow="w"), None),
    "an account of another workflow": (opening(workflow="v"), "workflow: found v"),
    "an account of another product": (opening(product="web"), "product: found web"),
    "an account of another type": (opening(agent_type="qa"), None),
    "a task of its product": (submitting(), None),
    "a task of another product": (submitting(product="web"), "product: found web"),
    "a task of another user": (submitting(labels={"user": "bob"}), "labels.user: found bob"),
    "a hold of another user, whom the account's wins over": (hold("a", "x", 1, labels={"user": "bob"}), None),
    "a hold in a team": (hold("a", "x", 1, labels={"team": "red"}), "labels.team: found red"),
    "a hold with a label that counts nowhere": (hold("a", "x", 1, labels={"x": "y"}), None),
}


@pytest.mark.parametrize(("command", "why"), CASES.values(), ids=CASES)
def test_what_an_agent_opens_or_holds_counts_where_its_account_does(
    core: Core, command: c.Command, why: str | None
) -> None:
    refused = refusal_of(core.ledger, command, AGENT)
    assert (refused is None) == (why is None)
    assert refused is None or refused.why.startswith(f"{why}, and a limit counts by it: the one of a is ")
    assert refusal_of(core.ledger, command, Caller("orchestrator")) is None


def test_an_account_that_says_nothing_gives_no_choice_either(core: Core) -> None:
    core.given(allocate("c", 50))
    lead = Caller("agent", "c")
    assert refusal_of(core.ledger, allocate("d", 1, parent="c", product="web"), lead) is None, "it has no limit"
    for more in ({"product": "shop"}, {"workflow": "w"}, {"labels": {"user": "bob"}}):
        assert refusal_of(core.ledger, allocate("d", 1, parent="c", **more), lead) is not None, more


@pytest.mark.parametrize(
    "command",
    [
        c.ReportUsage(agent="a", usage=Usage(tokens=5), labels={"team": "red", "user": "bob", "x": "y"}),
        c.Settle(hold="h", usage=Usage(tokens=5), labels={"team": "red", "user": "bob", "x": "y"}),
        c.CancelHold(hold="h", labels={"team": "red", "user": "bob", "x": "y"}),
    ],
)
def test_a_report_loses_the_label_and_nothing_else(core: Core, command: Any) -> None:
    assert refusal_of(core.ledger, command, AGENT) is None
    kept = without_foreign_labels(core.ledger, command)
    assert kept == type(command)(**{**_fields(command), "labels": {"user": "bob", "x": "y"}})


def _fields(command: c.Command) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}


def test_what_has_no_such_label_stays_as_it_is(core: Core) -> None:
    for labels in (None, {}, {"x": "y"}, {"user": "bob"}):
        report = c.ReportUsage(agent="a", usage=Usage(tokens=5), labels=labels)
        assert without_foreign_labels(core.ledger, report) is report
    stranger = c.ReportUsage(agent="no one", usage=Usage(tokens=5), labels={"user": "bob"})
    kept = without_foreign_labels(core.ledger, stranger)
    assert isinstance(kept, c.ReportUsage)
    assert kept.labels is None
    grant = c.AllocateFromPool(agent="a", request=budget(5))
    assert without_foreign_labels(core.ledger, grant) is grant
