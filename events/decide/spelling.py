"""Names in messages: what opens something under one is refused if it is misspelled, what reports under one is repaired.

A name that the fleet knows already stays valid as it is spelled. Ids of messages are names, too: see `misspelled_id`.
"""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TypeVar

import msgspec

from tallystick.config.spelling import are_plain, misspelled, repaired
from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.accounts import RESERVED_NAMES
from tallystick.events.state.ledger import Ledger

Report = TypeVar("Report", bound=c.ReportUsage | c.Settle)


def bad_name(ledger: Ledger, name: str, field: str) -> Refusal | None:
    """Why nothing may be opened under a name: the fleet reserves it, or it is misspelled and not known."""
    if name in RESERVED_NAMES:
        return Refusal("invalid_message", f"{field}: found {name!r}, which is a name that the fleet reserves")
    return misspelling(ledger, name, field)


def misspelling(ledger: Ledger, name: str, field: str) -> Refusal | None:
    """Why a name may not be used as a label: it is misspelled, and not known."""
    wrong = misspelled(name)
    if wrong is None or is_known(ledger, name):
        return None
    text = f"{field}: found {name!a} with {wrong.character}, allowed is {wrong.allowed}"
    return Refusal("invalid_message", text, {"field": field, "character": wrong.character})


def first_misspelling(ledger: Ledger, names: Iterable[tuple[str, str | None]]) -> Refusal | None:
    """Why one of several labels, each with its field, may not be used."""
    for field, name in names:
        refusal = None if name is None else misspelling(ledger, name, field)
        if refusal is not None:
            return refusal
    return None


def notes_misspelled(ledger: Ledger, command: c.Reserve | c.CancelHold) -> Refusal | None:
    """Why a message's ``operation`` or ``labels`` may not be used."""
    return first_misspelling(ledger, [("operation", command.operation), *free_labels(command.labels)])


def free_labels(labels: dict[str, str] | None) -> list[tuple[str, str | None]]:
    """The keys and values of free labels, each with its field."""
    return [("labels", name) for pair in (labels or {}).items() for name in pair]


def is_known(ledger: Ledger, name: str) -> bool:
    """Whether the fleet knows a name as it is spelled. It looks through all accounts and tasks if need be: misspelled
    names are few.
    """
    if name in ledger.accounts or name in ledger.released or name in ledger.stops or name in ledger.tasks.known:
        return True
    if ledger.known_elsewhere is not None and ledger.known_elsewhere(name):
        return True
    config = ledger.rules.config
    for names in (config.products, config.token_budgets, config.max_concurrent.per_type, config.models):
        if name in names:
            return True
    return name in config.manual_override.priority_override or any(name in labels for labels in _labels(ledger))


def _labels(ledger: Ledger) -> Iterator[tuple[str | None, ...]]:
    for account in ledger.accounts.values():
        yield account.agent_type, account.product, account.workflow
    for closed in ledger.lives.values():
        yield closed.agent_type, closed.budget_product, closed.workflow
    for task in ledger.tasks.known.values():
        yield task.agent_type, task.product, task.workflow, task.wanted_model


# --- ids of messages --------------------------------------------------------------------------------------------------

_FACTS = (c.ReportUsage, c.Settle, c.CompleteTask)
"""Messages that say what was used: they are never lost over an id."""
_ID_KEPT, _DIGITS = 100, 12


def misspelled_id(ledger: Ledger, command: c.Command) -> Refusal | None:
    """Why a message may not have its id: it is misspelled, and not one that the fleet remembers.

    A query leaves no trace of its id, and a fact is recorded under another one (`recorded_id`).
    """
    if type(command).query or isinstance(command, _FACTS) or command.id is None:
        return None
    wrong = misspelled(command.id)
    if wrong is None or command.id in ledger.ids:
        return None
    text = f"id: found {command.id!a} with {wrong.character}, allowed is {wrong.allowed}"
    return Refusal("invalid_message", text, {"field": "id", "character": wrong.character})


def recorded_id(ledger: Ledger, command: c.Command) -> str:
    """The id under which a message is recorded and remembered: its own, or for a fact under a misspelled id what that
    shows, with a digest of it, so that ids that look alike stay apart.
    """
    id = command.id or ""
    if are_plain(id) or misspelled(id) is None or not isinstance(command, _FACTS) or id in ledger.ids:
        return id
    return f"{repaired(id)[:_ID_KEPT].rstrip()}#{hashlib.sha256(id.encode()).hexdigest()[:_DIGITS]}"


def is_renamed(id: str, command: c.Command) -> bool:
    """Whether a message is recorded under another id than the one that it came with, which was misspelled."""
    return command.id is not None and command.id != id and misspelled(command.id) is not None


# --- reports ----------------------------------------------------------------------------------------------------------


def legible(ledger: Ledger, command: Report) -> Report:
    """A report with its names repaired, or itself where nothing is wrong with them: usage is a fact, whatever the name.

    A name that the fleet knows is left as it is.
    """
    changed: dict[str, object] = {}
    for field in _NAMED[type(command)]:
        name = getattr(command, field)
        if name is not None and misspelled(name) is not None and not _stays(ledger, field, name):
            changed[field] = repaired(name)
    written: dict[str, str] | None = getattr(command, "labels", None)
    if written:
        labels = {repaired(key): repaired(value) for key, value in written.items()}
        if labels != written:
            changed["labels"] = labels
    return msgspec.structs.replace(command, **changed) if changed else command


_NAMED: dict[type, tuple[str, ...]] = {
    c.ReportUsage: ("agent", "task", "model", "operation", "source_id"),
    c.Settle: ("model", "operation", "source_id"),
}
"""The fields of a report that are names."""


def _stays(ledger: Ledger, field: str, name: str) -> bool:
    """Whether a misspelled name is the fleet's own spelling: of an account, a task or a model with a price."""
    if field == "model":
        return ledger.rules.has_price(name)
    return field not in ("operation", "source_id") and is_known(ledger, name)
