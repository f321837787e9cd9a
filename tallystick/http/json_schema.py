"""What the schemas of messages say otherwise than the library does that makes them: numbers, and texts as Markdown."""

import inspect
import re
from typing import Any, Final

DECIMAL: Final[dict[str, Any]] = {"type": "string", "format": "decimal"}
"""How a decimal number comes out of the library."""
NUMBER: Final[dict[str, Any]] = {
    "type": ["number", "string"],
    "format": "decimal",
    "pattern": r"^-?[0-9]{1,19}(\.[0-9]{1,9})?$",
}
"""What a decimal number may be written as. Others are read too (``1e3``), but need not be known."""
_LITERAL: Final = re.compile(r"``(.+?)``")


def markdown(text: str) -> str:
    """A docstring as Markdown."""
    return _LITERAL.sub(r"`\1`", inspect.cleandoc(text))
