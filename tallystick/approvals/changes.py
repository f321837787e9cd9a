"""What a link would change, as the fleet stands: asked of the fleet for each page, and once more before it is done."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from tallystick.approvals.links import Link
from tallystick.approvals.orders import amount_of

Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks the fleet: ``{"ok": …}`` or ``{"error": …}``."""


class Row(NamedTuple):
    """One thing that changes."""

    what: str
    now: str
    then: str


class Change(NamedTuple):
    """What would change, and what is so beside it. ``problem``: why it cannot be done now, in words."""

    rows: Sequence[Row] = ()
    facts: Sequence[tuple[str, str]] = ()
    problem: str | None = None

    @property
    def seen(self) -> str:
        """What a reader has seen of what changes: where that is another, the page is shown again."""
        return "; ".join(f"{row.what}: {row.now}" for row in self.rows)


async def change_of(link: Link, ask: Ask) -> Change:
    """What a link would change now."""
    match link.order:
        case "raise":
            return await _raise(link, ask)
        case "stop" | "resume":
            return await _agent(link, ask)
        case _:
            return await _fleet(link, ask)


async def _raise(link: Link, ask: Ask) -> Change:
    asked = {"type": "GetLimits", "limit": link.limit, "count": 1}
    if link.value is not None and link.value != "fleet":
        asked["value"] = link.value
    answer = await ask(asked)
    if "error" in answer:
        return Change(problem=answer["error"]["detail"])
    measure, most = str(link.measure), str(link.most)
    found = [one for one in answer["ok"]["limits"] if measure in one["max"]]
    if not found:
        return Change(problem=f"limit {link.limit} has no maximum of {measure} any more")
    stands = found[0]
    now = str(stands["max"][measure])
    ends = stands.get("ends_at")
    how_long = f"until {ends}" if ends else "until it is revoked" if stands["window"] == "total" else "for one window"
    of = "" if link.value in (None, "fleet") else f" of {link.value}"
    row = Row(
        f"limit {link.limit}{of} ({stands['window']})",
        amount_of(measure, now),
        f"{amount_of(measure, most)}, {how_long}",
    )
    used = (stands["used"].get(measure), stands["held"].get(measure))
    facts = [(name, amount_of(measure, str(one))) for name, one in zip(("used", "held"), used, strict=True) if one]
    try:
        is_there = Decimal(now) >= Decimal(most)
    except InvalidOperation:
        is_there = False
    return Change([row], facts, f"it is {amount_of(measure, now)} already" if is_there else None)


async def _agent(link: Link, ask: Ask) -> Change:
    answer = await ask({"type": "GetStatus", "agent": link.agent})
    if "error" in answer:
        return Change(problem=answer["error"]["detail"])
    found = answer["ok"]
    now = f"{found['action']} (decided by {found['decided_by']})"
    then = "stop, until it is resumed" if link.order == "stop" else "what its budget and limits allow"
    facts = [(name, _amounts(found[name])) for name in ("allocated", "consumed", "held", "remaining")]
    sub = " and its sub-agents" if link.order == "stop" else ""
    return Change([Row(f"what {link.agent}{sub} may do", now, then)], [(name, text) for name, text in facts if text])


async def _fleet(link: Link, ask: Ask) -> Change:
    answer = await ask({"type": "GetGlobalStatus", "limit": 0})
    if "error" in answer:
        return Change(problem=answer["error"]["detail"])
    found = answer["ok"]
    apart = found.get("clock_apart_seconds", 0)
    rows = {
        "pause": Row(
            "the whole fleet", "paused" if found["paused"] else "runs", "paused, until an operator resumes it"
        ),
        "reset": Row("the circuit breaker", "as the alert says", "closed; what still holds trips it no more today"),
        "reserve": Row("the reserve", _amounts(found["reserve"]) or "nothing", "open to critical agents"),
        "clock": Row("the fleet's time", f"{apart} s behind the machine's clock", "follows the machine's clock"),
    }
    problem = "it is paused already" if link.order == "pause" and found["paused"] else None
    if link.order == "clock" and not apart:
        problem = "the fleet's time follows the machine's clock already"
    facts = [("used in this period", _amounts(found["total_consumed"])), ("open agents", str(found["agent_count"]))]
    return Change([rows[link.order]], [(name, text) for name, text in facts if text], problem)


def _amounts(edge: Mapping[str, Any]) -> str:
    """Amounts in words."""
    names = {"tokens": "{:,} tokens", "time_seconds": "{} s", "cost_usd": "{} USD"}
    return ", ".join(text.format(edge[name]) for name, text in names.items() if edge.get(name) is not None)
