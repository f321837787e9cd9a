"""Usage that arrives as telemetry (OTLP): which account it is of, its labels, and which signal of a program counts."""

from collections.abc import Mapping
from typing import Final

import msgspec

from tallystick.config.errors import Unfit
from tallystick.config.kinds import LABELS_MAX, Name
from tallystick.config.section import Section

_ATTRIBUTES_MAX: Final = 16
_TEXTS: Final = (
    *("gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions", "gen_ai.prompt"),
    *("gen_ai.completion", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result", "gen_ai.content"),
    *("prompt", "response", "request_text", "response_text", "body", "ai.prompt", "ai.response.text"),
    *("ai.response.object", "ai.toolCall.args", "ai.toolCall.result", "input.value", "output.value"),
)
"""Attributes with what was said to a model, or by it, under these names and below them (``ai.prompt.messages``)."""


def _account() -> tuple[Name, ...]:
    return (
        *("tallystick.account", "session.id", "gen_ai.conversation.id", "conversation.id"),
        *("ai.telemetry.metadata.sessionId", "gen_ai.agent.name", "service.name"),
    )


def _labels() -> Mapping[Name, tuple[Name, ...]]:
    return {
        "agent": ("agent.name", "gen_ai.agent.name"),
        "branch": ("branch", "vcs.ref.head.name"),
        "team": ("team", "team.id"),
        "user": ("user", "user.id"),
    }


class Telemetry(Section, frozen=True):
    """How exports become reports.

    ``account``: the first of these attributes that is there names the account. ``labels``: by label, the attributes of
    which the first that is there is its value. ``metrics_of``: the programs (``service.name``) whose metrics count, in
    place of their spans and events.
    """

    account: tuple[Name, ...] = msgspec.field(default_factory=_account)
    labels: Mapping[Name, tuple[Name, ...]] = msgspec.field(default_factory=_labels)
    metrics_of: tuple[Name, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.account) <= _ATTRIBUTES_MAX:
            raise Unfit({("account",): f"1 to {_ATTRIBUTES_MAX} attributes"})
        if len(self.labels) > LABELS_MAX:
            raise Unfit({("labels",): f"at most {LABELS_MAX} labels"})
        _check_no_text(("account",), self.account)
        for label, attributes in self.labels.items():
            if not 0 < len(attributes) <= _ATTRIBUTES_MAX:
                raise Unfit({("labels", label): f"1 to {_ATTRIBUTES_MAX} attributes"})
            _check_no_text(("labels", label), attributes)


def _check_no_text(key: tuple[str, ...], attributes: tuple[Name, ...]) -> None:
    for name in attributes:
        if any(name == text or name.startswith(f"{text}.") for text in _TEXTS):
            raise Unfit({key: f"attributes without the text of prompts and replies: {name} has it"})
