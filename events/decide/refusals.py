"""Refusals that many messages share: unknown names, and holds that have ended."""

from typing import Any

from tallystick.events.messages.replies import Refusal
from tallystick.events.messages.task_replies import shown_time
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.remembered import EndedHold, EndedName


def unknown_agent(ledger: Ledger, agent: str) -> Refusal:
    """An id without an open account: released before, or never seen."""
    if agent in ledger.released:
        return Refusal("already_released", f"{agent} was released", {"agent": agent})
    return Refusal("unknown_agent", f"no account is open for {agent}: allocate a budget first", {"agent": agent})


def unknown_hold(hold_id: str) -> Refusal:
    """A hold that never was, or that the memory of ids has forgotten."""
    return Refusal("unknown_hold", f"no hold {hold_id} is known: holds are named by the id of their Reserve", {})


def hold_ended(hold_id: str, ended: EndedHold) -> Refusal:
    """A hold that has ended: how, and when."""
    return Refusal("hold_ended", *_end_of_hold(hold_id, ended))


def already_settled(hold_id: str, ended: EndedHold) -> Refusal:
    """A second settlement."""
    return Refusal("already_settled", *_end_of_hold(hold_id, ended))


def _end_of_hold(hold_id: str, ended: EndedHold) -> tuple[str, dict[str, Any]]:
    how, at = end_of(ended), shown_time(ended.at)
    return f"hold {hold_id} ended at {at}: {how}", {"hold": hold_id, "ended": how, "ended_at": at}


def end_of(ended: EndedName) -> str:
    """How a hold ended, in a word: one whose account was released was cancelled by that."""
    return "cancelled" if ended.how == "released" else ended.how


def unknown_task(name: str) -> Refusal:
    """A task that never was, or that the memory of ids has forgotten."""
    return Refusal("unknown_task", f"no task {name} is known", {"task": name})
