"""What is decided without a reservation: may this be done, and what was used without asking."""

from typing import Any, Final

from tallystick.cycles import notes
from tallystick.cycles.asking import Asking, Json, Who, first_id, owner_of, replied
from tallystick.cycles.errors import (
    CLOSED,
    DEBT,
    EXCEEDED,
    FROZEN,
    NOT_FOUND,
    OVER_LIMIT,
    SLOW,
    TENANT_CLOSED,
    Fault,
)
from tallystick.cycles.memory import Memory
from tallystick.cycles.reservations import Plan, Reservations, plan_of
from tallystick.cycles.subjects import accounts_of
from tallystick.cycles.units import Named
from tallystick.cycles.wire import Create, Decide, Event

EVENT: Final = "evt"
_DENIES: Final = {
    **{code: code for code in (EXCEEDED, FROZEN, CLOSED, TENANT_CLOSED, OVER_LIMIT, DEBT, SLOW)},
    NOT_FOUND: "BUDGET_NOT_FOUND",
}
"""The reason of a denial for each error that is one: `SLOW` says that waiting helps."""
_MOMENT: Final = "1"
"""Seconds for which what an event takes is held: it is settled in the same turn."""


class Decisions:
    """``/decide``, dry runs, and ``/events`` of one fleet."""

    def __init__(self, asking: Asking, reservations: Reservations) -> None:
        self._asking, self._reservations, self._memory = asking, reservations, Memory()

    async def decide(self, who: Who, asked: Decide) -> Json:
        """``POST /v1/decide``: what a reservation would be answered now. Nothing is reserved or recorded."""
        subject = who.effective(asked.subject)
        plan = Plan.of(subject, asked.estimate, asked.action.kind)
        return await self._answered("decide", who, asked, plan)

    async def try_out(self, who: Who, asked: Create) -> Json:
        """``POST /v1/reservations`` with ``dry_run``: as `decide`, with what would be reserved."""
        plan = plan_of(who, asked)
        answer = await self._answered("dry_run", who, asked, plan)
        answer["scope_path"] = plan.scopes[-1]
        if answer["decision"] == "ALLOW":
            answer["reserved"] = Named(asked.estimate.unit, asked.estimate.amount).shown()
        return answer

    async def _answered(self, endpoint: str, who: Who, asked: Decide, plan: Plan) -> Json:
        await self._asking.check_may_spend(who, {**plan.message, "dry_run": True}, plan.scopes)
        owner = owner_of(plan.scopes[0])
        answer: Any = self._memory.find(endpoint, owner, asked)
        if answer is None:
            answer = await self._decided(who, plan)
            self._memory.keep(endpoint, owner, asked, answer)
        return dict(answer)

    async def _decided(self, who: Who, plan: Plan) -> Json:
        try:
            fault = await self._reservations.tried(who, plan)
        except Fault as refused:
            fault = refused
        answer: Json = {"decision": "ALLOW" if fault is None else "DENY", "affected_scopes": plan.scopes}
        if fault is None:
            return answer
        if fault.code not in _DENIES or (fault.code == SLOW and fault.details.get("code") != "throttled"):
            raise fault
        answer["reason_code"] = _DENIES[fault.code]
        if fault.retry_after_seconds is not None:
            answer["retry_after_ms"] = int(fault.retry_after_seconds * 1_000)
        return answer

    async def event(self, who: Who, asked: Event) -> Json:
        """``POST /v1/events``: what was used is booked, at once and for all scopes.

        Raises:
            Fault: there is no budget, or with ``REJECT`` not enough of it; nothing is booked.
        """
        subject = who.effective(asked.subject)
        plan = Plan.of(subject, asked.actual, asked.action.kind)
        await self._asking.check_may_spend(who, plan.message, plan.scopes)
        owner = owner_of(plan.scopes[0])
        answer: Any = self._memory.find("events", owner, asked)
        if answer is None:
            id = first_id(EVENT, owner, asked.idempotency_key)
            if asked.overage_policy == "REJECT" and asked.actual.amount:
                id = await self._if_there_is_room(who, asked, plan, id)
            else:
                await self._booked(who, asked, plan, id)
            charged = Named(asked.actual.unit, asked.actual.amount).shown()
            answer = {"status": "APPLIED", "event_id": id, "charged": charged}
            self._memory.keep("events", owner, asked, answer)
        return dict(answer)

    async def _booked(self, who: Who, asked: Event, plan: Plan, id: str) -> None:
        """Book it whether there is room or not: it was used."""
        agent = await self._reservations.payer(plan)
        said = {name: plan.message[name] for name in ("operation", "labels")}
        message = {"type": "ReportUsage", "id": id, "usage": plan.message["estimate"], **said, **_model_of(asked)}
        answer = await self._asking.ask(who, {**message, "agent": agent})
        for earlier in accounts_of(plan.scopes):
            # When it was booked, another scope may have been the narrowest with an account. The id is used: it is
            # booked no second time.
            if "error" in answer and answer["error"]["code"] == "idempotency_conflict" and earlier != agent:
                answer = await self._asking.ask(who, {**message, "agent": earlier})
        replied(answer)

    async def _if_there_is_room(self, who: Who, asked: Event, plan: Plan, id: str) -> str:
        """Hold it and settle the hold in one turn; the id of the hold."""
        reason = notes.of_event(asked)
        plan = plan._replace(message={**plan.message, "reason": reason, "ttl_seconds": _MOMENT, "overage": "reject"})
        use = {"type": "Settle", "usage": plan.message["estimate"], "operation": asked.action.kind, **_model_of(asked)}
        placed = await self._reservations.place(who, plan, id, (use,))
        for answer in placed.answers:
            replied(answer)
        return placed.id


def _model_of(asked: Event) -> Json:
    """The model of a cost. Of tokens none is said: they would be priced, and only one unit is charged."""
    if asked.actual.unit == "TOKENS" or asked.metrics is None or not asked.metrics.model_version:
        return {}
    return {"model": asked.metrics.model_version}
