"""What every message is made of: the head that commands share, and the kinds of their fields."""

import hashlib
from typing import Annotated, ClassVar, get_args

import msgspec

from tallystick.config.kinds import LABELS_MAX, NAME_MAX, Priority

INTERNAL_ID = "~"
"""Ids that begin so are the fleet's own; a client that could take one could suppress a message of the fleet."""
MESSAGES_MAX = 1_000
"""How many messages one envelope may carry; they are committed together."""
DEPENDENCIES_MAX = 10_000
"""How many tasks one task may wait for."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_MAX)]
LimitName = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_MAX + 2)]
"""The name of a limit: one of an account is the account's id, and a number behind a slash."""
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
Labels = Annotated[dict[Name, Name], msgspec.Meta(max_length=LABELS_MAX)]
"""Free ``key: value`` pairs, at most 16."""
PRIORITIES: tuple[Priority, ...] = get_args(Priority)
_DIGITS = 16


def internal_id(text: str) -> str:
    """The id of a message of the fleet's own. One that would be too long ends in a digest of the whole."""
    id = INTERNAL_ID + text
    if len(id) <= NAME_MAX:
        return id
    return f"{id[: NAME_MAX - _DIGITS - 1]}#{hashlib.sha256(id.encode()).hexdigest()[:_DIGITS]}"


class Command(
    msgspec.Struct,
    tag_field="type",
    tag=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    gc=False,
):
    """One message. ``id`` is chosen by the sender, or assigned on arrival where it is absent."""

    query: ClassVar[bool] = False
    """A query changes nothing, leaves no event and has no memory of its id."""
    group: ClassVar[str]

    id: Name | None = None

    @property
    def is_query(self) -> bool:
        """Whether this message changes nothing: one of a kind that never does, or one that asks for no change."""
        return type(self).query
