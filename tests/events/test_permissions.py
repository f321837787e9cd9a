"""Who may do what, cell by cell: the table of the reference, and what becomes of a message of each role."""

import re
from decimal import Decimal
from typing import Any

import pytest

from tallystick.events import messages as c
from tallystick.events.catalog import RequestRefused
from tallystick.events.decide.permissions import MESSAGES, PATHS, ROLES, Caller, acts_for, refusal_of
from tallystick.events.log.codec import read_message
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, fleet, hold, settle, submit, use
from tests.support.messages import good
from tests.support.pages import PROJECT


def _rows() -> dict[str, dict[str, str]]:
    page = (PROJECT / "docs/reference/http.md").read_text(encoding="utf-8").split("\n## Access\n")[1]
    lines = [line for line in page.split("\n## ")[0].splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]
    assert sorted(head[1:]) == sorted(ROLES)
    return {name: dict(zip(head[1:], cells, strict=True)) for name, *cells in body}


TABLE = _rows()
"""By message, and path that is read: each role's cell, as the reference has it."""
CELLS = [(kind, role, TABLE[kind.__name__][role]) for kind in c.WIRE for role in ROLES]


@pytest.fixture
def core() -> Core:
    """a has b below it, and b has c; other stands beside them. Tasks: run is below b, far is not below a."""
    config = {"products": {"shop": {}}, "accounts": {"auto": {}}}
    made = Core(fleet(1_000_000, **config))
    made.given(allocate("a", 500_000), allocate("b", 300_000, parent="a"))
    made.given(allocate("c", 5_000, parent="b"), allocate("other", 10_000))
    made.given(hold("c", "mine", 100), hold("other", "theirs", 100))
    made.given(submit("run", parent="b"), submit("far"))
    return made


OWN: dict[type[c.Command], dict[str, Any]] = {
    c.AllocateBudget: {"agent": "new", "parent": "b"},
    c.SubmitTask: {"task": "new", "parent": "a"},
    c.Settle: {"hold": "mine"},
    c.CancelHold: {"hold": "mine"},
    c.GetHolds: {"agent": "c"},
    c.GetLimits: {"agent": "c"},
    c.Throttle: {"agent": "b"},
    c.Stop: {"agent": "b"},
    **{key: {"task": "run"} for key in (c.GetTask, c.CompleteTask, c.CancelTask, c.RetryTask)},
}
"""What makes a message the agent a's own, beside its ``agent``; and what makes it another's."""
FOREIGN: dict[type[c.Command], dict[str, Any]] = {
    c.AllocateBudget: {"agent": "new", "parent": "other"},
    c.SubmitTask: {"task": "new", "parent": "other"},
    c.Settle: {"hold": "theirs"},
    c.CancelHold: {"hold": "theirs"},
    **{key: {"task": "far"} for key in (c.GetTask, c.CompleteTask, c.CancelTask, c.RetryTask)},
}


def made(kind: type[c.Command], fields: dict[str, Any]) -> c.Command:
    message = good(kind)
    if "agent" in kind.__struct_fields__ and "agent" not in fields:
        fields = {**fields, "agent": "a"}
    read = read_message(message | fields, lambda: "new")
    assert not isinstance(read, Refusal), read.detail
    return read[0]


def test_every_message_and_every_path_has_a_row_and_no_other() -> None:
    assert set(MESSAGES) == set(c.WIRE)
    assert set(TABLE) == {kind.__name__ for kind in MESSAGES} | {f"GET {path}" for path in PATHS}
    for path, roles in PATHS.items():
        assert {role for role, cell in TABLE[f"GET {path}"].items() if cell == "yes"} == roles


@pytest.mark.parametrize(("kind", "role", "cell"), CELLS, ids=[f"{kind.__name__}-{role}" for kind, role, _ in CELLS])
def test_a_role_may_do_what_the_table_says(core: Core, kind: type[c.Command], role: Any, cell: str) -> None:
    caller = Caller(role, "a" if role == "agent" else None)
    mine = made(kind, {"agent": "session-1"} if cell == "auto" else OWN.get(kind, {}))
    refused = refusal_of(core.ledger, mine, caller)
    assert (refused is None) == (cell in ("yes", "own", "auto"))
    if refused is not None:
        assert (refused.role, refused.request) == (role, kind.__name__)
    if cell in ("own", "auto"):
        other = made(
            kind, {**({"agent": "other"} if "agent" in kind.__struct_fields__ else {}), **FOREIGN.get(kind, {})}
        )
        assert refusal_of(core.ledger, other, caller) is not None


def test_a_refusal_is_recorded_and_leaves_the_id_free_and_the_agent_unheard(core: Core) -> None:
    refused = refusal_of(core.ledger, c.Stop(agent="other", reason="…", id="mine-1"), Caller("agent", "a"))
    assert refused is not None
    core.wait(60).when(refused, id=refused.id)
    refusal = core.then_refused("access_denied", role="agent", agent="other")
    assert refusal.detail == "other is neither a nor below it"
    event = core.only(RequestRefused)
    assert (event.request, event.code, event.agent) == ("Stop", "access_denied", None)
    assert "mine-1" not in core.ledger.ids


AGENT = Caller("agent", "a")
MORE: dict[str, tuple[c.Command, bool]] = {
    "opens an account below itself": (allocate("x", 1, parent="a"), True),
    "opens its own account": (allocate("a", 1), False),
    "opens an account beside itself": (allocate("x", 1), False),
    "opens a critical account": (allocate("x", 1, parent="a", priority="critical"), False),
    "opens a low account": (allocate("x", 1, parent="a", priority="low"), True),
    "submits a critical task": (
        c.SubmitTask(task="x", agent_type="t", product="shop", parent="a", priority="critical"),
        False,
    ),
    "submits a task without a parent": (c.SubmitTask(task="x", agent_type="t", product="shop"), False),
    "draws for itself": (c.AllocateFromPool(agent="a", request=allocate("x", 1).budget), True),
    "opens an account by drawing": (c.AllocateFromPool(agent="new", request=allocate("x", 1).budget), False),
    "borrows for itself": (c.BorrowFromPool(agent="a", amount=allocate("x", 1).budget), True),
    "borrows for one below it": (c.BorrowFromPool(agent="c", amount=allocate("x", 1).budget), True),
    "borrows for one beside it": (c.BorrowFromPool(agent="other", amount=allocate("x", 1).budget), False),
    "opens an account by borrowing": (c.BorrowFromPool(agent="new", amount=allocate("x", 1).budget), False),
    "releases itself": (c.ReleaseBudget(agent="a"), True),
    "stops itself": (c.Stop(agent="a", reason="…"), False),
    "reports for a task below it": (c.ReportUsage(task="run"), True),
    "reports for a task beside it": (c.ReportUsage(task="far"), False),
    "reports for itself and a foreign task": (c.ReportUsage(agent="a", task="far"), False),
    "reports for nobody": (c.ReportUsage(), False),
    "keeps its hold alive": (c.Heartbeat(hold="mine"), True),
    "keeps another's hold alive": (c.Heartbeat(hold="theirs"), False),
    "asks for a hold": (c.GetHolds(hold="mine"), True),
    "asks for another's hold": (c.GetHolds(hold="theirs"), False),
    "asks for all holds": (c.GetHolds(), False),
    "asks for all limits": (c.GetLimits(), False),
    "settles what nobody holds": (settle("no such", 1), True),
}


@pytest.mark.parametrize(("command", "may"), MORE.values(), ids=MORE)
def test_an_agent_acts_for_itself_and_those_below(core: Core, command: c.Command, may: bool) -> None:
    assert (refusal_of(core.ledger, command, AGENT) is None) == may


TELEMETRY = Caller("telemetry")
REPORTED: dict[str, tuple[c.ReportUsage, bool]] = {
    "for an id that has no account": (c.ReportUsage(agent="new"), True),
    "for an account that has opened by itself": (c.ReportUsage(agent="session"), True),
    "for one that has, and was released": (c.ReportUsage(agent="ended"), True),
    "for an account that was opened by a message": (c.ReportUsage(agent="other"), False),
    "for one that was, and is released": (c.ReportUsage(agent="gone"), False),
    "for a task": (c.ReportUsage(task="far"), False),
    "for a task, as an agent": (c.ReportUsage(agent="far"), False),
    "for an account and a task": (c.ReportUsage(agent="session", task="far"), False),
    "for the fleet of a delegated account": (
        c.ReportUsage(agent="session", child=c.FromChild(fleet="f", first=1, upto=2)),
        False,
    ),
    "for the fleet itself": (c.ReportUsage(agent="pool"), False),
    "for no one": (c.ReportUsage(), False),
}


@pytest.mark.parametrize(("command", "may"), REPORTED.values(), ids=REPORTED)
def test_a_key_for_telemetry_reports_for_accounts_that_open_by_themselves(
    core: Core, command: c.ReportUsage, may: bool
) -> None:
    core.given(use("session", 5), use("ended", 5), allocate("gone", 10))
    core.given(c.ReleaseBudget(agent="ended"), c.ReleaseBudget(agent="gone"))
    assert (refusal_of(core.ledger, command, TELEMETRY) is None) == may
    core.given(c.LoadConfig(config={"accounts": {"auto": None}}))
    assert refusal_of(core.ledger, command, TELEMETRY) is not None, "then none opens by itself"


def test_what_was_below_an_agent_stays_its_own_after_its_end(core: Core) -> None:
    core.given(settle("mine", 5), c.CancelHold(hold="theirs"))
    assert refusal_of(core.ledger, settle("mine", 5), AGENT) is None
    assert refusal_of(core.ledger, settle("theirs", 5), AGENT) is not None
    core.given(c.ReleaseBudget(agent="c"))
    assert acts_for(core.ledger, "a", "c")
    assert acts_for(core.ledger, "b", "c")
    assert not acts_for(core.ledger, "other", "c")
    # Under its id another account is opened, which is another's.
    core.given(allocate("c", 10, parent="other"))
    assert not acts_for(core.ledger, "a", "c")
    assert acts_for(core.ledger, "other", "c")
    assert not acts_for(core.ledger, "a", "nobody")


def test_a_faster_throttle_is_not_the_agents_to_order(core: Core) -> None:
    core.given(c.Throttle(agent="b", rate=Decimal("0.5")))
    assert refusal_of(core.ledger, c.Throttle(agent="b", rate=Decimal("0.4")), AGENT) is None
    assert refusal_of(core.ledger, c.Throttle(agent="b", rate=Decimal("0.6")), AGENT) is not None


def test_a_revoked_key_sends_nothing_more(core: Core) -> None:
    core.given(c.CreateKey(key="ann", role="operator", sha256="a" * 64))
    caller = Caller("operator", None, "ann")
    assert refusal_of(core.ledger, c.ResumeAll(), caller) is None
    core.given(c.RevokeKey(key="ann"))
    assert refusal_of(core.ledger, c.ResumeAll(), caller) is not None


CEILING: dict[str, tuple[dict[str, Any], bool]] = {
    "a raise up to it": ({"type": "ApproveLimit", "max_cost_usd": 50}, True),
    "a raise above it": ({"type": "ApproveLimit", "max_cost_usd": "50.01"}, False),
    "a raise of a limit up to it": ({"type": "ApproveLimit", "limit": "m", "max": {"cost_usd": 50}}, True),
    "a raise of a limit above it": ({"type": "ApproveLimit", "limit": "m", "max": {"cost_usd": 51}}, False),
    "a raise in tokens": ({"type": "ApproveLimit", "max_tokens_total": 5}, False),
    "a raise of a limit in tokens": (
        {"type": "ApproveLimit", "limit": "m", "max": {"cost_usd": 1, "tokens": 5}},
        False,
    ),
    "the end of a raise": ({"type": "ApproveLimit", "limit": "m", "max": {}}, True),
    "a raise that is no number": ({"type": "ApproveLimit", "max_cost_usd": -1}, True),
    "a total up to it": ({"type": "SetTotalBudget", "budget": {"cost_usd": 50}}, True),
    "a total above it": ({"type": "SetTotalBudget", "budget": {"cost_usd": 60}}, False),
    "no total": ({"type": "SetTotalBudget", "budget": {"cost_usd": None}}, False),
    "more tokens": ({"type": "SetTotalBudget", "budget": {"tokens": 2_000_000}}, False),
    "fewer tokens": ({"type": "SetTotalBudget", "budget": {"tokens": 500_000}}, True),
    "a setting": ({"type": "LoadConfig", "config": {"emergency_reserve_percent": 0}}, True),
    "a looser setting": ({"type": "LoadConfig", "config": {"daily_limits": {"max_cost_usd": 900}}}, False),
    "an open reserve": ({"type": "ReleaseReserve", "reason": "…"}, False),
    "a reset breaker": ({"type": "ResetBreaker", "reason": "…"}, False),
    "a correction": ({"type": "CorrectUsage", "position": 5, "reason": "…"}, False),
    "another clock": ({"type": "AcceptClock"}, False),
    "a pause": ({"type": "PauseAll", "reason": "…"}, True),
    "the end of a pause": ({"type": "ResumeAll"}, True),
    "another order of products": ({"type": "OverridePriority", "product": "shop", "priority": "low"}, True),
    "a key of an agent": ({**good(c.CreateKey), "role": "agent", "agent": "x"}, True),
    "a key with a lower ceiling": ({**good(c.CreateKey), "role": "operator", "approve_up_to_usd": 50}, True),
    "a key with a higher ceiling": ({**good(c.CreateKey), "role": "operator", "approve_up_to_usd": 51}, False),
    "a key without a ceiling": ({**good(c.CreateKey), "role": "operator"}, False),
}


@pytest.mark.parametrize(("message", "may"), CEILING.values(), ids=CEILING)
def test_a_ceiling_bounds_what_an_operator_approves(message: dict[str, Any], may: bool) -> None:
    core = Core(fleet(1_000_000, "40", daily_limits={"max_cost_usd": 5}))
    read = read_message(message, lambda: "new")
    assert not isinstance(read, Refusal), read.detail
    assert refusal_of(core.ledger, read[0], Caller("operator")) is None
    refused = refusal_of(core.ledger, read[0], Caller("operator", approve_up_to_nanos=50_000_000_000))
    assert (refused is None) == may
    assert refused is None or re.match("this key approves up to 50.00 USD, ", refused.why)


@pytest.mark.parametrize(
    ("role", "ceiling", "may"),
    [
        ("operator", None, False),
        ("operator", "50.01", False),
        ("operator", "50", True),
        ("operator", "1", True),
        ("orchestrator", None, True),
        ("agent", None, True),
    ],
)
def test_a_ceiling_bounds_whose_keys_an_operator_ends(role: Any, ceiling: str | None, may: bool) -> None:
    core = Core(fleet(1_000_000))
    most = None if ceiling is None else Decimal(ceiling)
    agent = "a" if role == "agent" else None
    core.given(c.CreateKey(key="k", role=role, sha256="a" * 64, agent=agent, approve_up_to_usd=most))
    revoke = c.RevokeKey(key="k")
    assert refusal_of(core.ledger, revoke, Caller("operator")) is None
    refused = refusal_of(core.ledger, revoke, Caller("operator", approve_up_to_nanos=50_000_000_000))
    assert (refused is None) == may
    assert refused is None or refused.why.startswith("this key approves up to 50.00 USD, and k ")


def test_what_is_no_key_any_more_is_answered_so_whatever_the_ceiling() -> None:
    core = Core(fleet(1_000_000))
    core.given(c.CreateKey(key="k", role="operator", sha256="a" * 64), c.RevokeKey(key="k"))
    low = Caller("operator", approve_up_to_nanos=1)
    assert refusal_of(core.ledger, c.RevokeKey(key="k"), low) is None
    assert refusal_of(core.ledger, c.RevokeKey(key="no such"), low) is None


LIMIT = {"window": "hour", "max": {"tokens": 100}}


@pytest.mark.parametrize("limits", [[LIMIT], []], ids=["with limits", "without"])
def test_an_agent_does_not_begin_its_own_limits_anew(limits: list[dict[str, Any]]) -> None:
    core = Core(fleet(1_000_000, accounts={"auto": {"limits": limits}}))
    core.given(c.ReportUsage(agent="ann", usage=allocate("x", 90).budget))
    assert core.ledger.accounts["ann"].terms.auto
    release = c.ReleaseBudget(agent="ann")
    refused = refusal_of(core.ledger, release, Caller("agent", "ann"))
    assert (refused is None) == (not limits)
    assert refused is None or refused.why.endswith("which would count anew: it is released when idle")
    for role in ("orchestrator", "operator"):
        assert refusal_of(core.ledger, release, Caller(role)) is None


def test_an_agent_that_has_released_itself_opens_itself_in_no_way(core: Core) -> None:
    core.given(c.ReleaseBudget(agent="c"))
    own = Caller("agent", "c")
    assert refusal_of(core.ledger, allocate("c", 1), own) is not None
    assert refusal_of(core.ledger, allocate("c", 1, parent="b"), own) is not None
    core.wait(60).when(allocate("c", 1, parent="c"))
    core.then_refused("unknown_parent", parent="c")
