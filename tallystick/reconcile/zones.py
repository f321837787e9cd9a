"""Time zones in which a bill may begin its days."""

from typing import Final

QUARTER_MS: Final = 900_000
OFFSETS_MS: Final = tuple(
    quarters * QUARTER_MS
    for quarters in sorted((*range(-48, 57, 4), -38, -14, 14, 18, 22, 23, 26, 35, 38, 42, 51), key=abs)
    if quarters
)
"""How far zones of this world are ahead of UTC, the nearest first; some in parts of an hour."""


def shown_offset(offset_ms: int) -> str:
    """``UTC-08:00``."""
    minutes = abs(offset_ms) // 60_000
    return f"UTC{'-' if offset_ms < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
