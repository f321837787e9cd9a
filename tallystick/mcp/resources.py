"""The resources: what the commands of the same names show, and what is known of one agent or one workflow."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from tallystick.events import messages as c
from tallystick.events.decide.permissions import OTHER_PATHS, Caller
from tallystick.events.messages import NAME_MAX, Command

SCHEME: Final = "tallystick://"
ROWS: Final = "100"
"""Rows of a view at most: what is read goes into a model's context."""


class Shown(NamedTuple):
    """A view that is a resource: what it shows, and what else is asked of it."""

    text: str
    asked: Mapping[str, str] = {}


VIEWS: Final[Mapping[str, Shown]] = {
    "status": Shown("The period's budget, the pool, and the agents that used most.", {"limit": ROWS}),
    "limits": Shown("The limits within windows: how far each is used, and until when.", {"limit": ROWS}),
    "dashboard": Shown("One page of figures: budget, levels, pressure, tasks, alerts."),
    "cost": Shown("What today costs, by model, and what it will cost by the end of the day."),
    "forecast": Shown("When agents and workflows will have used what they have."),
    "queue": Shown("The tasks that wait, in the order in which they will start, and those that run.", {"limit": ROWS}),
    "tasks": Shown("The tasks: their states, and what they used.", {"limit": ROWS}),
    "alerts": Shown("The newest alerts.", {"limit": ROWS}),
}
"""The resources without a parameter, ``tallystick://NAME``: what the command of this name prints with ``--json``."""


class Asked(NamedTuple):
    """A resource that is the reply to a question, for each agent or workflow: its URI, what it says, and as what."""

    uri: str
    name: str
    text: str
    message: type[Command]
    field: str
    media: str = "application/json"


MARKDOWN: Final = "text/markdown"
QUESTIONS: Final = (
    Asked("tallystick://agents/{agent}/status", "agent-status", "How an agent's budget stands.", c.GetStatus, "agent"),
    Asked("tallystick://agents/{agent}/limits", "agent-limits", "The limits that bind an agent.", c.GetLimits, "agent"),
    Asked(
        "tallystick://agents/{agent}/forecast", "agent-forecast", "How long its budget will last.", c.Forecast, "agent"
    ),
    Asked(
        "tallystick://reports/{workflow}",
        "report",
        "What became of a workflow: its agents, how they used what they were given, and what to do better.",
        c.GenerateReport,
        "workflow",
        MARKDOWN,
    ),
)
_PATTERNS: Final = tuple((re.compile(re.sub(r"\\{\w+\\}", "([^/]+)", re.escape(one.uri))), one) for one in QUESTIONS)


class Question(NamedTuple):
    """What is asked for a resource: a view, or a question about one agent or workflow."""

    view: str | None = None
    asked: Asked | None = None
    id: str = ""


def question_of(uri: str) -> Question | None:
    """What is asked for a URI; None where there is no such resource."""
    name = uri.removeprefix(SCHEME).rstrip("/")
    if uri.startswith(SCHEME) and name in VIEWS:
        return Question(view=name)
    for pattern, asked in _PATTERNS:
        found = pattern.fullmatch(uri)
        if found is not None and 0 < len(id := unquote(found[1])) <= NAME_MAX:
            return Question(asked=asked, id=id)
    return None


def may_read_views(caller: Caller | None) -> bool:
    """Whether a caller may read what is of the whole fleet."""
    return caller is None or caller.role in OTHER_PATHS


def questions_for(caller: Caller | None) -> tuple[Asked, ...]:
    """The questions that a caller may ask: an agent's program only those about agents."""
    is_agent = caller is not None and caller.role == "agent"
    return tuple(one for one in QUESTIONS if one.field == "agent" or not is_agent)


def uri_for(asked: Asked, id: str) -> str:
    """The URI of a resource of one agent or workflow."""
    return asked.uri.replace(f"{{{asked.field}}}", quote(id, safe=""))
