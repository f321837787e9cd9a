"""The kinds of values that settings have: each with its bounds, and with the words that say what is allowed.

Numbers that need not be whole are ``Decimal``, taken from the text as it was written, so that a threshold of 0.9
is nine tenths exactly.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from tallystick.config.amounts import AMOUNT_MAX, NANOS_PER_DOLLAR

Priority = Literal["critical", "high", "normal", "low"]

NAME_MAX: Final = 128
LABELS_MAX: Final = 16
"""So many free labels at most."""
_NUMBER_MAX: Final = AMOUNT_MAX // NANOS_PER_DOLLAR
_DIGITS_MAX: Final = 28


@dataclass(frozen=True)
class Bounds:
    """What a decimal number may be: from ``least`` (or above it, where ``above``) to ``most``, ``decimals`` fine."""

    least: int
    most: int
    above: bool
    decimals: int

    def hold(self, number: Decimal) -> bool:
        """Whether the number is within the bounds and is kept without rounding."""
        # The size is checked first, so that 1E+999999 costs nothing.
        if (
            not number.is_finite()
            or len(number.as_tuple().digits) > _DIGITS_MAX
            or abs(number.adjusted()) > _DIGITS_MAX
        ):
            return False
        if not self.least <= number <= self.most or (self.above and number == self.least):
            return False
        return number == round(number, self.decimals)


def _number(*, least: int = 0, most: int = _NUMBER_MAX, above: bool = False, decimals: int = 9) -> Meta:
    bounds = Bounds(least, most, above, decimals)
    words = f"a number {'above' if above else 'from'} {least}"
    words += f", at most {most}" if above else f" to {most}"
    schema: dict[str, Any] = {"exclusiveMinimum" if above else "minimum": least, "maximum": most}
    return Meta(
        description=f"{words}, with at most {decimals} decimals", extra_json_schema=schema, extra={"bounds": bounds}
    )


Count = Annotated[int, Meta(ge=0, le=AMOUNT_MAX, description=f"a whole number from 0 to {AMOUNT_MAX}")]
Positive = Annotated[int, Meta(ge=1, le=AMOUNT_MAX, description=f"a whole number from 1 to {AMOUNT_MAX}")]
Name = Annotated[str, Meta(min_length=1, max_length=NAME_MAX, description=f"a name of 1 to {NAME_MAX} characters")]
ConditionText = Annotated[
    str, Meta(min_length=1, max_length=4096, description="a text of 1 to 4096 characters", extra={"condition": True})
]
Text = Annotated[str, Meta(min_length=1, max_length=4096, description="a text of 1 to 4096 characters")]

KeyDigest = Annotated[
    str,
    Meta(
        pattern=r"^sha256:[0-9a-f]{64}(?!\n)$",
        description="'sha256:' and the SHA-256 of the key in 64 hex digits, not the key itself",
    ),
]
"""A key as it may be seen: what is found instead may be the key, so no error shows it."""
SecretPlace = Annotated[
    str,
    Meta(
        pattern=r"^(\$\{TALLYSTICK_[A-Za-z0-9_]+\}|file:[^\n]+)(?!\n)$",
        max_length=4096,
        description="where the secret is, ${TALLYSTICK_NAME} or file:PATH, and not the secret itself",
    ),
]
"""Where a secret is: what is found instead may be the secret."""
BatchMax = Annotated[int, Meta(ge=1, le=1_000, description="a whole number from 1 to 1000")]

Ratio = Annotated[Decimal, _number(above=True, most=1)]
"""A part of something that is never nothing."""
Share = Annotated[Decimal, _number(most=1)]
Threshold = Annotated[Decimal, _number(above=True)]
Percent = Annotated[Decimal, _number(most=100)]
Weight = Annotated[Decimal, _number()]
PositiveWeight = Annotated[Decimal, _number(above=True)]
Multiplier = Annotated[Decimal, _number(least=1)]
Dollars = Annotated[Decimal, _number()]
Seconds = Annotated[Decimal, _number(decimals=3)]
PositiveSeconds = Annotated[Decimal, _number(above=True, decimals=3)]
TokenWeight = Annotated[Decimal, _number(most=1_000)]
WindowMinutes = Annotated[int, Meta(ge=1, le=1_440, description="a whole number from 1 to 1440")]
Minutes = Annotated[Decimal, _number()]
Hours = Annotated[Decimal, _number(above=True)]
