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
    "raise": Order("raise {limit} to {most}", loosens=True),
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

_UNITS: Final = {"cost_usd": "USD", "time_seconds": "s", "concurrent": "at once"}
_OF_THE_FLEET: Final = {
    "pause": "PauseAll",
    "reset": "ResetBreaker",
    "reserve": "ReleaseReserve",
    "clock": "AcceptClock",
}


def words_of(link: Link) -> str:
    """What a link does, in words that name it."""
    limit = f"limit {link.limit}" + ("" if link.value is None else f" of {link.value}")
    most = "" if link.most is None else amount_of(str(link.measure), link.most)
    return ORDERS[link.order].words.format(agent=link.agent, limit=limit, most=most)


def amount_of(measure: str, amount: str) -> str:
    """An amount of a limit's measure in words: ``1,500 tokens``."""
    shown = f"{int(amount):,}" if amount.isascii() and amount.isdigit() else amount
    return f"{shown} {_UNITS.get(measure, measure.replace('_', ' '))}"


def message_of(link: Link) -> dict[str, Any]:
    """The message that a link sends, under its id: so it is decided once."""
    return {**_message(link), "id": link.id}


def _message(link: Link) -> dict[str, Any]:
    reason = f"by a link in the alert {link.alert}"
    match link.order:
        case "stop":
            return {"type": "Stop", "agent": link.agent, "reason": reason}
        case "resume":
            return {"type": "Resume", "agent": link.agent}
        case "raise":
            value = {} if link.value is None else {"value": link.value}
            return {"type": "ApproveLimit", "limit": link.limit, **value, "max": _most(link), "reason": reason}
        case order:
            return {"type": _OF_THE_FLEET[order], "reason": reason}


def _most(link: Link) -> dict[str, Any]:
    assert link.measure is not None, "a raise names a measure"
    assert link.most is not None, "and its new maximum"
    return {link.measure: link.most if "." in link.most else int(link.most)}
