"""Subjects as scopes, and scopes as accounts: ``tenant:acme/workspace:prod`` is the name of an account."""

from collections.abc import Mapping
from typing import Final

import msgspec

from tallystick.config.kinds import LABELS_MAX, NAME_MAX
from tallystick.cycles.wire import Subject, invalid

LEVELS: Final = ("tenant", "workspace", "app", "workflow", "agent", "toolset")
"""From the widest to the narrowest, as the protocol has them."""


def scopes_of(subject: Subject) -> list[str]:
    """The scopes of a subject, the widest first: each level that is named, below those before it.

    Raises:
        Unreadable: no level is named.
    """
    scopes: list[str] = []
    for level in LEVELS:
        name = getattr(subject, level)
        if name is not None:
            scopes.append(f"{scopes[-1]}/{level}:{name}" if scopes else f"{level}:{name}")
    if not scopes:
        raise invalid(f"subject: found no level, needed is one of {', '.join(LEVELS)}")
    return scopes


def accounts_of(scopes: list[str]) -> list[str]:
    """Those scopes that may have an account: of the others the name is too long for one."""
    return [scope for scope in scopes if len(scope) <= NAME_MAX]


def segments(scope: str) -> dict[str, str] | None:
    """The levels of a scope; None where the text is no scope."""
    found = dict[str, str]()
    for part in scope.split("/"):
        level, colon, name = part.partition(":")
        if level not in LEVELS or not colon or not name or level in found:
            return None
        found[level] = name
    return found if list(found) == [level for level in LEVELS if level in found] else None


def is_within(scope: str, outer: str) -> bool:
    """Whether a scope is another one, or below it."""
    return scope == outer or scope.startswith(f"{outer}/")


def labels_of(subject: Subject) -> dict[str, str]:
    """A subject as labels: its levels, and its own dimensions.

    Raises:
        Unreadable: there are more, or longer ones, than a hold may have.
    """
    labels = {level: getattr(subject, level) for level in LEVELS if getattr(subject, level) is not None}
    for name, value in subject.dimensions.items():
        if name in LEVELS:
            raise invalid(f"subject.dimensions: found {name!r}, which is a level of the subject")
        if not 0 < len(name) <= NAME_MAX or not 0 < len(value) <= NAME_MAX:
            allowed = f"allowed are 1 to {NAME_MAX} characters"
            raise invalid(f"subject.dimensions: found {name!r:.60}: {value!r:.60}, {allowed}")
        labels[name] = value
    if len(labels) > LABELS_MAX:
        found = f"found {len(labels)} levels and dimensions"
        raise invalid(f"subject: {found}, allowed are {LABELS_MAX}")
    return labels


def subject_of(labels: Mapping[str, str]) -> dict[str, object]:
    """The subject whose labels these are."""
    levels: dict[str, object] = {level: labels[level] for level in LEVELS if level in labels}
    dimensions = {name: value for name, value in labels.items() if name not in LEVELS}
    return {**levels, "dimensions": dimensions} if dimensions else levels


def path_of(labels: Mapping[str, str]) -> list[str]:
    """The scopes of the subject whose labels these are."""
    return scopes_of(msgspec.convert({level: labels[level] for level in LEVELS if level in labels}, Subject))
