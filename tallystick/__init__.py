"""tallystick: the budget office for fleets of LLM agents."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tallystick.fleet import Fleet

__all__ = ["Fleet", "__version__"]
__version__: str


def __getattr__(name: str) -> Any:
    """`Fleet` is loaded when it is first used: the rooms below import this package. So is what tells the version."""
    if name == "Fleet":
        from tallystick.fleet import Fleet  # noqa: PLC0415 - at the top it would import itself

        return Fleet
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415 - loads a parser of mail, for what few ask

        return version("tallystick")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
