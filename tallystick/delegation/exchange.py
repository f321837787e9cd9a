"""The exchange of a child fleet with its parent: what is recorded, sent and heard, one step after the other.

No thread, clock or network is in here. Whatever is sent again, late or never, and wherever the child fails between two
steps: what is under way is in its log, and is found there.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from tallystick.config.amounts import Amounts, Budget, InvalidAmount, Triple, edge
from tallystick.delegation.child_state import ChildState
from tallystick.delegation.rules import Rules
from tallystick.events import messages as c
from tallystick.events.messages import delegation as d
from tallystick.events.state.money import Money, less, money

_OWN_MATTER: Final = frozenset({"level", "zero_budget"})
"""What stops an account for its own budget: the child knows of that by itself."""
_NAMED_BEHIND: Final = frozenset({"ancestor_stop", "fleet_response", "product_pause"})
"""What stops an account as well, and is named behind its own budget."""
_GONE: Final = frozenset({"unknown_agent", "already_released"})


class Exchange:
    """Steps of one child. ``fleet`` is its id, ``begun`` the position at which this exchange began."""

    def __init__(self, fleet: str, rules: Rules, begun: int) -> None:
        self.fleet, self.rules = fleet, rules
        self._begun, self._heard_at, self._heard = begun, 0, 0
        self.answered = False
        """The parent has answered how the account stands, and that is recorded."""

    # --- what is recorded first ---------------------------------------------------------------------------------------

    def wish(self, at: ChildState, now: dt.datetime) -> c.Command | None:
        """What the child is to record before it is sent; None for nothing.

        So it is before the parent has answered: a log that is an old copy must not use its numbers again.
        """
        if not self.answered:
            return None
        if at.span is None and any(at.unreported):
            return d.ReportRange(id=c.internal_id(f"range-{at.position}"))
        drawn = self.rules.draw(at, now)
        if drawn is not None:
            return d.AskDraw(amount=drawn, id=c.internal_id(f"draw-{at.number + 1}"))
        back = self.rules.give_back(at, now)
        if back is not None:
            return d.AskReturn(amount=back, id=c.internal_id(f"return-{at.number + 1}"))
        return None

    # --- what is sent -------------------------------------------------------------------------------------------------

    def messages(self, at: ChildState) -> list[dict[str, Any]]:
        """What is sent to the parent, in one array: what is under way, and the question how the account stands."""
        sent = [] if self.answered else [self._message("Heartbeat", at, {})]
        if at.span is not None:
            place = {"first": at.span.first, "upto": at.span.upto}
            sent.append(self._message("ReportUsage", at, place, usage=_edge(at.span.amount)))
        if at.asked is not None:
            kind = "BorrowFromPool" if at.asked.kind == "draw" else "ReturnToPool"
            sent.append(self._message(kind, at, {"number": at.asked.number}, amount=edge(at.asked.amount)))
        if self.answered and at.ended and at.span is None and at.asked is None and not any(at.unreported):
            sent.append(self._message("ReleaseBudget", at, {}))
        return [*sent, {"type": "GetStatus", "agent": at.account}]

    def _message(self, kind: str, at: ChildState, place: Mapping[str, int], **more: Any) -> dict[str, Any]:
        """A message that the numbers in ``child`` make harmless when it comes again: its own id is a new one each time,
        so that what was refused once, as before an account is there, is not refused for ever.
        """
        return {"type": kind, "agent": at.account, "child": {"fleet": self.fleet, **place}, **more}

    # --- what is heard ------------------------------------------------------------------------------------------------

    def heard(
        self, sent: Sequence[Mapping[str, Any]], replies: Sequence[Mapping[str, Any]], now: dt.datetime
    ) -> d.HearParent | None:
        """What the child is to record of the answers; None where they say nothing."""
        command = d.HearParent()
        for message, reply in zip(sent, replies, strict=True):
            match message["type"]:
                case "GetStatus":
                    if not self._hear_status(command, reply):
                        return None
                case "ReportUsage":
                    command.booked = reply.get("ok", {}).get("booked") or 0
                case "BorrowFromPool" if "error" in reply:
                    command.refused = message["child"]["number"]
                    self.rules.refused(_offered(reply["error"]), now)
                case "BorrowFromPool":
                    self.rules.granted()
        self._heard += 1
        command.id = c.internal_id(f"heard-{self._begun}-{self._heard}")
        return command

    def recorded(self, command: d.HearParent) -> None:
        """The child has recorded what was heard: where that is how its account stands, it is no old copy."""
        if command.granted is not None:
            self.answered = True

    def _hear_status(self, command: d.HearParent, reply: Mapping[str, Any]) -> bool:
        """Take how the account stands; False where a newer answer was heard before."""
        if "error" in reply:
            command.stopped = _why_refused(reply["error"])
            # A fleet that has had an answer goes on within what it has, as while its parent is away.
            return reply["error"]["code"] in _GONE or not self.answered
        status = reply["ok"]
        child = status.get("child")
        if child is None:
            command.stopped = f"the account {status['agent']} is not for another fleet: allocate it with delegated"
            return True
        if child.get("fleet") != self.fleet:
            command.stopped = f"the account {status['agent']} is the total of the fleet {child.get('fleet')}"
            return True
        if child["position"] < self._heard_at:
            return False
        self._heard_at = child["position"]
        command.number, command.booked = child["number"], max(command.booked, child["booked"])
        command.granted = Amounts(*_triple(child["granted"]))
        if status["action"] == "stop":
            command.stopped = _why_stopped(status)
        return True


def _why_refused(error: Mapping[str, Any]) -> str:
    """Why a parent does not say how the account stands."""
    if error["code"] in _GONE:
        return f"the account is not open there ({error['detail']})"
    if error["code"] == "unauthenticated":
        return "it refuses: the key in $TALLYSTICK_PARENT_KEY is not valid there"
    return f"it refuses: {error['detail']}"


def _why_stopped(status: Mapping[str, Any]) -> str | None:
    """What stops an account beside its own budget; None where that alone does."""
    decided_by = status["decided_by"]
    is_own = decided_by in _OWN_MATTER
    named = _NAMED_BEHIND if is_own else (decided_by,)
    why = [one["detail"] for one in status["obstacles"] if one["decided_by"] in named]
    return why[0] if why else None if is_own else decided_by


def _edge(amount: Money) -> dict[str, Any]:
    return edge((amount[0] or None, amount[1] or None, amount[2] or None))


def _triple(shown: Mapping[str, Any]) -> Triple:
    """Internal units of what an edge shows."""
    return msgspec.convert(shown, Budget, strict=False).exact("granted")


def _offered(error: Mapping[str, Any]) -> Money | None:
    """What a parent that has refused a draw could grant; None where it does not say."""
    try:
        match error["code"]:
            case "pool_exhausted":
                return money(_triple(error["available"]))
            case "pool_share_exceeded":
                return less(money(_triple(error["allowed"])), money(_triple(error["drawn"])))
    except (InvalidAmount, KeyError, msgspec.ValidationError):
        pass
    return None
