"""By which version of the rules a log was decided.

The number is raised whenever the same commands, in the same state, lead to other decisions than before
(`tests/logs/test_decisions.py` notices). A log says where a version begins: in its first `ConfigLoaded`, and in a
`RulesAdopted` where a newer program goes on with it. What says nothing is of version 1.
"""

from typing import ClassVar, Final

from tallystick.events.catalog.event import Event, Kind

FIRST_RULES: Final = 1
"""The version of a log that names none."""
RULES_VERSION = 10
"""The version by which this program decides."""


class OnlyNewerKnows(ValueError):
    """A newer program wrote this, and this one does not know it; the text says what to do."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: use the newer tallystick that wrote it")


def check_known(rules: int) -> None:
    """Refuse what a newer program decided: its events may mean something that this one does not know.

    Raises:
        OnlyNewerKnows: it is so.
    """
    if rules > RULES_VERSION:
        raise OnlyNewerKnows(
            f"from here on the log was decided by version {rules} of the rules, and this tallystick knows versions up"
            f" to {RULES_VERSION}"
        )


class RulesAdopted(Event, kw_only=True, tag="rules-adopted.v1"):
    """A program that decides by a newer version of the rules goes on with a log: from here on they are in force."""

    kind: ClassVar[Kind] = "fact"
    rules: int

    def __post_init__(self) -> None:
        check_known(self.rules)
