"""The shape of a recommendation, whatever it is about."""

from typing import Any

import msgspec


class Recommendation(msgspec.Struct, frozen=True):
    """A recommendation for people, and the numbers that it was made of."""

    code: str
    text: str
    numbers: dict[str, Any]
