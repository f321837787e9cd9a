"""What the tests of the command queue ask, and how they read the answers."""

from typing import Any

from tallystick.actors.runtime.fleet import Fleet

REPORT = {"type": "ReportUsage", "agent": "a", "usage": {"tokens": 5}}
STATUS = {"type": "GetGlobalStatus"}


def report(id: str | None = None, **usage: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"type": "ReportUsage", "agent": "a", "usage": usage or {"tokens": 5}}
    return message if id is None else {**message, "id": id}


def code(reply: Any) -> str:
    return str(reply["error"]["code"])


def spent(fleet: Fleet) -> int:
    return fleet._manager.ledger.spent[0]
