"""Which orders answer which alert, and which message each of them sends."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tallystick.approvals.links import Link


class Order(NamedTuple):
    """What a link may do. ``words`` name it; ``loosens``: it is for recipients of ``may_loosen`` only."""

    words: str
    loosens: bool


ORDERS: Final[Mapping[str, Order]] = {
    "stop": Order("stop {agent} and its sub-agents", loosens=False),
    "resume": Order("resume {agent} after a stop", loosens=True),
    "pause": Order("pause the whole fleet", loosens=False),
    "raise": Order("raise {limit} to {most} {measure}", loosens=True),
    "reset": Order("close the circuit breaker for today", loosens=True),
    "reserve": Order("open the emergency reserve", loosens=True),
    "clock": Order("accept the machine's clock", loosens=True),
}

_OF_AN_AGENT: Final = ("stop", "resume")
_OF_A_LIMIT: Final = ("raise", "pause")
ANSWERS: Final[Mapping[str, tuple[str, ...]]] = {
    "budget_exhausted": _OF_AN_AGENT,
    "exhaustion_expected": _OF_AN_AGENT,
    "loop_suspected": _OF_AN_AGENT,
    "overdraft_exceeded": _OF_AN_AGENT,
    "daily_tokens_near": _OF_A_LIMIT,
    "daily_tokens_reached": _OF_A_LIMIT,
    "daily_cost_near": _OF_A_LIMIT,
    "daily_cost_reached": _OF_A_LIMIT,
    "limit_near": _OF_A_LIMIT,
    "limit_reached": _OF_A_LIMIT,
    "breaker_tripped": ("reset", "pause"),
    "pool_exhausted": ("reserve", "pause"),
    "fleet_stop": ("reserve", "pause"),
    "fleet_stop_all": ("reserve", "pause"),
    "clock_ahead": ("clock",),
}
"""By code of an alert, the orders that answer it; alerts of other codes have no links."""


def words_of(link: Link) -> str:
    """What a link does, in words that name it."""
    limit = f"limit {link.limit}" + ("" if link.value is None else f" of {link.value}")
    return ORDERS[link.order].words.format(agent=link.agent, limit=limit, most=link.most, measure=link.measure)


def message_of(link: Link) -> dict[str, Any]:
    """The message that a link sends, under its id: so it is decided once."""
    reason = f"by a link in the alert {link.alert}"
    messages: dict[str, dict[str, Any]] = {
        "stop": {"type": "Stop", "agent": link.agent, "reason": reason},
        "resume": {"type": "Resume", "agent": link.agent},
        "pause": {"type": "PauseAll", "reason": reason},
        "raise": {"type": "ApproveLimit", "limit": link.limit, "reason": reason, "max": _most(link)},
        "reset": {"type": "ResetBreaker", "reason": reason},
        "reserve": {"type": "ReleaseReserve", "reason": reason},
        "clock": {"type": "AcceptClock", "reason": reason},
    }
    message = {**messages[link.order], "id": link.id}
    if link.order == "raise" and link.value is not None:
        message["value"] = link.value
    return message


def _most(link: Link) -> dict[str, Any]:
    assert link.measure is not None, "a raise names a measure"
    assert link.most is not None, "and its new maximum"
    return {link.measure: link.most if "." in link.most else int(link.most)}
