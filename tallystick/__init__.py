"""tallystick: the budget office for fleets of LLM agents."""

from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.door import Fleet

__all__ = ["Fleet", "__version__"]
__version__ = metadata.version("tallystick")


def __getattr__(name: str) -> Any:
    """`Fleet`, the door for Python programs, loaded when it is asked for: the rooms below import this package."""
    if name == "Fleet":
        from tallystick.door import Fleet  # noqa: PLC0415 - at the top it would import itself

        return Fleet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
