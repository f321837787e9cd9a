"""How much models answered to agents of a type: what a hold that names no estimate sets aside for the output.

It is the core's own memory, in whole tokens: of each agent type and model the last outputs. The kind that was least
recently taught is forgotten first.
"""

from collections import deque
from fractions import Fraction
from math import ceil
from typing import Any

OUTPUTS_KEPT = 256
OUTPUTS_LEAST = 20
"""With fewer, nothing is learned yet."""
KINDS_MAX = 1_000

Kind = tuple[str | None, str]
"""Agent type (None: none was named) and model."""


class Outputs:
    """The memory of all kinds. It holds no more than its bounds say, and equal events make equal memories."""

    def __init__(self) -> None:
        self._kinds: dict[Kind, deque[int]] = {}

    def note(self, agent_type: str | None, model: str, tokens: int) -> None:
        """An operation of an agent of a type has ended with so many tokens of output."""
        kind = (agent_type, model)
        kept = self._kinds.pop(kind, None)
        if kept is None:
            kept = deque(maxlen=OUTPUTS_KEPT)
            if len(self._kinds) >= KINDS_MAX:
                del self._kinds[next(iter(self._kinds))]
        self._kinds[kind] = kept
        kept.append(tokens)

    def quantile(self, agent_type: str | None, model: str, part: Fraction) -> int | None:
        """The smallest of the last outputs that at least ``part`` of them are not above (nearest rank); None where too
        few are known.
        """
        kept = self._kinds.get((agent_type, model))
        if kept is None or len(kept) < OUTPUTS_LEAST:
            return None
        return sorted(kept)[max(1, ceil(part * len(kept))) - 1]

    def dump(self) -> list[Any]:
        """All of it as lists and numbers, equal for equal memories."""
        return [[*kind, *kept] for kind, kept in self._kinds.items()]

    @classmethod
    def load(cls, dumped: list[Any]) -> "Outputs":
        outputs = cls()
        for agent_type, model, *kept in dumped:
            outputs._kinds[agent_type, model] = deque(kept, maxlen=OUTPUTS_KEPT)
        return outputs
