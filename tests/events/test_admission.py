"""Admission: who gets a slot, who waits and why, and who can never run."""

from typing import Any

import pytest

from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Refusal
from tests.support.core import Core, allocate, budget, complete, fleet, start, submit, use

QUIET: dict[str, Any] = {"daily_limits": {"max_tokens_total": None, "max_cost_usd": None}}


def configured(tokens: int | None = 10_000_000, **config: Any) -> Core:
    return Core(fleet(tokens, **QUIET, **config))


def code(answer: Any) -> str | None:
    return None if answer.reason is None else answer.reason.code


# --- the seed's examples ---------------------------------------------------------------------------------------------


def test_of_five_ready_tasks_under_two_and_two_slots_four_run_and_the_last_backend_task_waits() -> None:
    core = configured()
    types = ["backend-engineer"] * 3 + ["frontend-engineer"] * 2
    decisions = [core.when(submit(f"TASK-{n}", agent_type)).decision for n, agent_type in enumerate(types)]
    assert decisions == ["admitted", "admitted", "queued", "admitted", "admitted"]
    waiting = core.when(p.TellTask(task="TASK-2"))
    assert (waiting.reason.code, waiting.reason.limit, waiting.reason.current) == ("type_concurrency", 2, 2)
    assert waiting.reason.message == "max backend-engineer (2) already running"
    assert dict(core.ledger.tasks.by_type) == {"backend-engineer": 2, "frontend-engineer": 2}
    core.when(complete("TASK-0"))
    assert core.ledger.tasks.by_type["backend-engineer"] == 1, "2/2 → 1/2"
    core.given(start("TASK-2"))
    assert core.ledger.tasks.by_type["backend-engineer"] == 2


def test_a_backend_task_gets_80000_tokens_to_aim_at_and_120000_at_most() -> None:
    core = configured()
    core.given(submit("TASK-1"))
    answer = core.when(submit("TASK-2", estimated_minutes="90"))
    assert (answer.decision, answer.model) == ("admitted", "sonnet")
    assert (answer.token_budget, answer.max_tokens) == (80_000, 120_000)
    assert core.account("TASK-2").allocated == (120_000, None, None)


def test_an_architect_that_uses_120000_of_150000_tokens_has_not_passed_its_mark() -> None:
    core = configured()
    answer = core.when(submit("DESIGN-1", "architect"))
    assert (answer.token_budget, answer.max_tokens) == (150_000, 225_000)
    core.when(use("DESIGN-1", 120_000))
    assert core.every(e.TokenBudgetPassed) == []


# --- what an admission is ---------------------------------------------------------------------------------------------


def test_an_admission_is_one_transaction_account_slot_model_and_lease() -> None:
    core = configured()
    answer = core.when(submit("t", estimated_tokens=50_000, estimated_minutes="12.5", workflow="w"))
    core.then_events(e.TaskSubmitted, e.BudgetAllocated, e.TaskStarted)
    started = core.only(e.TaskStarted)
    assert answer.lease == started.lease == f"lease-{started.position}"
    assert answer.lease_expires_at == "2026-03-04T12:02:00Z"
    assert (answer.state, answer.attempt, answer.reason) == ("running", 1, None)
    account = core.account("t")
    assert (account.agent_type, account.product, account.workflow) == ("backend-engineer", "shop", "w")
    assert core.only(e.TaskSubmitted).estimated_ms == 750_000
    assert core.pool == (10_000_000 - 120_000, None, None)


def test_a_task_is_paid_from_the_parent_that_it_names() -> None:
    core = configured()
    core.given(allocate("lead", 200_000), submit("t", parent="lead"))
    assert core.free("lead")[0] == 80_000
    waiting = core.when(submit("u", parent="lead"))
    assert code(waiting) == "pool_exhausted"
    assert waiting.reason.message == "120000 tokens are needed, 80000 are free in lead"


def test_a_task_takes_the_priority_it_names_or_its_products_and_an_override_beats_both() -> None:
    products = {"shop": {"priority": "high"}, "urgent": {"priority": "low"}}
    core = configured(products=products, manual_override={"priority_override": {"urgent": "critical"}})
    core.given(submit("a"), submit("b", priority="low"))
    core.given(submit("c", "frontend-engineer", "urgent", priority="normal"))
    core.given(submit("d", "frontend-engineer", "other"))
    assert [core.account(task).priority for task in "abcd"] == ["high", "low", "critical", "normal"]


def test_where_the_fleet_limits_no_tokens_a_run_is_limited_all_the_same() -> None:
    core = configured(None)
    assert core.when(submit("t")).decision == "admitted"
    assert core.when(use("t", 120_000)).action == "stop"


# --- what is in the way, in its order ---------------------------------------------------------------------------------

CONFIG = {
    "products": {"shop": {"max_concurrent_agents": 1, "paused": False}},
    "max_concurrent": {"total": 2, "per_type": {"backend-engineer": 1}},
}


@pytest.mark.parametrize(
    ("running", "config", "commands", "reason"),
    [
        (["t"], {}, [c.PauseAll(reason="a fire")], ("paused", None, None, "everything is paused: a fire")),
        (
            ["t"],
            {"manual_override": {"pause_all_agents": True}},
            [],
            ("paused", None, None, "everything is paused: by configuration"),
        ),
        (
            ["t"],
            {"products": {"shop": {"max_concurrent_agents": 1, "paused": True}}},
            [],
            ("product_paused", None, None, "shop is paused"),
        ),
        (["t"], {}, [], ("product_concurrency", 1, 1, "max shop (1) already running")),
        (
            ["t"],
            {"products": {"shop": None}},
            [],
            ("type_concurrency", 1, 1, "max backend-engineer (1) already running"),
        ),
        (
            ["t"],
            {"products": {"shop": None}, "max_concurrent": {"total": 1, "per_type": {}}},
            [],
            ("total_concurrency", 1, 1, "max 1 task already running"),
        ),
        (
            ["t"],
            {"products": {"shop": None}, "max_concurrent": {"total": None, "per_type": {}}},
            [allocate("hog", 700_000)],
            ("pool_exhausted", 80_000, 120_000, "120000 tokens are needed, 80000 are free in the pool"),
        ),
    ],
)
def test_the_first_check_that_fails_is_the_reason(
    running: list[str], config: dict[str, Any], commands: list[c.Command], reason: tuple[Any, ...]
) -> None:
    core = Core(fleet(900_000, **QUIET, **CONFIG))
    core.given(*(submit(task) for task in running))
    core.given(fleet(900_000, **QUIET, **{**CONFIG, **config}), *commands)
    answer = core.when(submit("next"))
    assert (answer.decision, answer.state) == ("queued", "queued")
    found = answer.reason
    assert (found.code, found.limit, found.current, found.message) == reason
    queued = core.only(e.TaskQueued)
    assert (queued.code, queued.limit, queued.current, queued.message) == reason
    assert core.when(start("next")).code == reason[0], "the allocator's proposal is held to the same checks"


def test_a_stopped_parent_and_a_fleet_in_crisis_start_nothing() -> None:
    core = configured(1_000_000)
    core.given(allocate("lead", 300_000), c.Stop(agent="lead", reason="a test"))
    assert code(core.when(submit("t", parent="lead"))) == "agent_stopped"
    core.given(c.Resume(agent="lead"), start("t"))
    core.when(use("nobody", 1_000_000))
    assert code(core.when(submit("u"))) == "fleet_stopped"


def test_a_crisis_opens_the_reserve_for_critical_tasks_only() -> None:
    core = configured(1_000_000, emergency_reserve_percent=20)
    core.given(allocate("a", 700_000, priority="critical"))
    core.given(c.ReleaseReserve(reason="a test"))
    assert code(core.when(submit("normal"))) == "pool_exhausted"
    answer = core.when(submit("critical", priority="critical"))
    assert answer.decision == "admitted"
    assert core.only(e.ReserveDrawn).amount.tokens == 20_000


def test_a_task_that_ranks_higher_goes_first_as_long_as_it_waits() -> None:
    core = configured(max_concurrent={"total": 1})
    core.given(submit("a"), submit("b", priority="high"))
    core.when(complete("a"))
    answer = core.when(submit("c", behind="b"))
    assert (answer.decision, answer.reason.message) == (
        "queued",
        "b ranks higher and waits for the same slot",
    )
    assert answer.reason.code == "outranked"
    core.given(c.CancelTask(task="b"))
    assert core.when(submit("d", behind="b")).decision == "admitted", "it no longer waits"


def test_only_a_task_that_could_start_goes_before_a_newcomer() -> None:
    core = configured(max_concurrent={"total": 2})
    core.given(allocate("poor", 10), submit("unpaid", parent="poor"), submit("a"), submit("b"))
    core.given(complete("a"))
    assert core.when(submit("c", behind="unpaid")).decision == "admitted", "`unpaid` has nothing to be paid from"


def test_a_newcomer_waits_for_the_aged_task_for_which_what_it_needs_is_kept() -> None:
    core = configured(300_000)
    core.given(allocate("held", 100_000), submit("a"), submit("big", priority="critical"))
    answer = core.when(submit("small", kept_for="big"))
    assert (answer.reason.code, answer.reason.behind) == ("kept_for_older", "big") or answer.reason.code != "outranked"


# --- what can never run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (
            {"products": {"shop": {"max_concurrent_agents": 0}}},
            ("product_concurrency", "no shop may run: the limit is 0"),
        ),
        (
            {"max_concurrent": {"per_type": {"backend-engineer": 0}}},
            ("type_concurrency", "no backend-engineer may run: the limit is 0"),
        ),
        ({"max_concurrent": {"total": 0}}, ("total_concurrency", "no task may run: the limit is 0")),
        (
            {"token_budgets": {"default": 10_000_000}, "max_concurrent": {"per_type": {}}},
            ("total_exceeded", "15000000 tokens are needed, and the fleet may spend 10000000 in all"),
        ),
    ],
)
def test_what_can_never_run_is_rejected_and_may_be_submitted_again(
    config: dict[str, Any], reason: tuple[str, str]
) -> None:
    core = configured(**config)
    agent_type = "writer" if "token_budgets" in config else "backend-engineer"
    answer = core.when(submit("t", agent_type))
    core.then_events(e.TaskSubmitted, e.TaskRejected)
    assert (answer.decision, answer.state, answer.lease) == ("rejected", "rejected", None)
    assert (answer.reason.code, answer.reason.message) == reason
    core.given(fleet(10_000_000, **QUIET, products={"shop": None}))
    assert core.when(submit("t")).decision == "admitted"


def test_a_task_that_would_need_the_reserve_is_for_critical_ones_only() -> None:
    core = configured(
        100_000, emergency_reserve_percent=50, token_budgets={"default": 50_000}, token_budget_multiplier=1
    )
    assert core.when(submit("fits", "writer")).decision == "admitted"
    core.given(
        fleet(
            90_000, emergency_reserve_percent=50, **QUIET, token_budgets={"default": 50_000}, token_budget_multiplier=1
        )
    )
    assert core.when(submit("normal", "writer")).reason.code == "total_exceeded"
    assert core.when(submit("critical", "writer", priority="critical")).decision == "queued"


# --- messages that are refused ----------------------------------------------------------------------------------------


def test_a_name_is_taken_by_an_open_account_and_an_account_by_an_open_task() -> None:
    core = configured(max_concurrent={"total": 1})
    core.given(allocate("ann", 10), submit("t"), submit("u"))
    core.when(submit("ann"))
    core.then_refused("already_allocated", agent="ann")
    for task in "tu":
        core.when(submit(task))
        core.then_refused("already_submitted", task=task)
    for command in (
        allocate("u", 10),
        c.AllocateEqual(agents=["u"], total=budget(10)),
        c.AllocateFromPool(agent="u", request=budget(10)),
    ):
        core.when(command)
        core.then_refused("already_submitted", task="u")
    core.when(allocate("t", 10))
    core.then_refused("already_allocated", agent="t")


def test_a_refused_submission_is_on_record_under_the_name_of_its_message() -> None:
    core = configured()
    core.when(submit("t", parent="nobody"))
    core.then_refused("unknown_parent", parent="nobody")
    refused = core.only(e.RequestRefused)
    assert (refused.request, refused.agent) == ("SubmitTask", "t")
    assert core.ledger.tasks.get("t") is None


@pytest.mark.parametrize(
    ("rest", "field"),
    [
        ({"estimated_minutes": "-1"}, "estimated_minutes"),
        ({"estimated_minutes": "NaN"}, "estimated_minutes"),
        ({"estimated_minutes": "0.0001"}, "estimated_minutes"),
        ({"estimated_minutes": "1E+300"}, "estimated_minutes"),
        ({"product": "bell\a"}, "product"),
        ({"agent_type": "pool"}, "agent_type"),
        ({"workflow": "bell\a"}, "workflow"),
        ({"depends_on": ["a", "a"]}, "depends_on"),
    ],
)
def test_a_malformed_submission_names_the_field_and_leaves_no_trace(rest: dict[str, Any], field: str) -> None:
    core = configured()
    answer = core.when(submit("t", **rest))
    assert isinstance(answer, Refusal)
    assert answer.code in ("invalid_amount", "invalid_message")
    assert field in answer.detail
    assert core.own == []


def test_the_allocators_proposals_are_refused_when_they_no_longer_fit() -> None:
    core = configured()
    core.given(submit("t"))
    for command in (start("t"), start("nobody"), p.RecordOverdue(task="t"), p.RecordOverdue(task="nobody")):
        core.when(command)
        core.then_refused("plan_out_of_date")
        assert core.own == [], "no client was refused anything"
