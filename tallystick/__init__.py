"""tallystick: the budget office for fleets of LLM agents."""

from importlib import metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.fleet import Fleet

__all__ = ["Fleet", "__version__"]
__version__ = metadata.version("tallystick")


def __getattr__(name: str) -> Any:
    """`Fleet` is loaded when it is first used: the rooms below import this package."""
    if name == "Fleet":
        from tallystick.fleet import Fleet  # noqa: PLC0415 - at the top it would import itself

        return Fleet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
