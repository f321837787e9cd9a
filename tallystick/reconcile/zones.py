"""Time zones in which a bill may begin its days."""

from typing import Final

QUARTER_MS: Final = 900_000
_HOURS: Final = tuple(hour * 4 for hour in sorted(range(-12, 15), key=abs) if hour)
_PARTS: Final = (14, -14, 18, 22, 23, 26, 35, 38, -38, 42, 51)
OFFSETS_MS: Final = tuple(quarters * QUARTER_MS for quarters in (*_HOURS, *_PARTS))
"""How far zones of this world are ahead of UTC: those of whole hours first, the nearest first; then the others."""


def shown_offset(offset_ms: int) -> str:
    """``UTC-08:00``."""
    minutes = abs(offset_ms) // 60_000
    return f"UTC{'-' if offset_ms < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
